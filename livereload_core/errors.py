"""The exception tree: every error is named by who must act on it.

    LivecoreError
    ├── UsageError              the user: a wrong option, target or declaration; exit code 2
    │   └── PortBusyError       the user: the address is taken by another program; exit code 4
    ├── ReloadFailedError       nobody: the old code keeps serving, the next edit may fix it
    ├── StateError              the user's state: names the root and the path within it
    │   ├── CannotCarryError    a value that cannot cross into a new interpreter
    │   └── SnapshotError       a snapshot that is damaged, foreign or from a newer format
    └── ProtocolViolationError  us: a message that the wire format does not allow

A message says what, where and what next, in lower case, with ``!r`` for user values.
"""

from __future__ import annotations

__all__ = [
    "CannotCarryError",
    "LivecoreError",
    "PortBusyError",
    "ProtocolViolationError",
    "ReloadFailedError",
    "SnapshotError",
    "StateError",
    "UsageError",
]


class LivecoreError(Exception):
    """Root of all errors that this package raises on purpose."""


class UsageError(LivecoreError):
    """Something that the user wrote cannot work as it stands.

    Attributes:
        advice: one sentence that says what to do next, or ``""``.
    """

    exit_code = 2

    def __init__(self, message: str, *, advice: str = "") -> None:
        super().__init__(message if not advice else f"{message}; {advice}")
        self.advice = advice


class PortBusyError(UsageError):
    """Another program holds the address that was asked for."""

    exit_code = 4


class ReloadFailedError(LivecoreError):
    """A new generation was not proven; the old one keeps serving."""


class StateError(LivecoreError):
    """Preserved state is at fault; ``path`` says where, as in ``rooms["lobby"].lock``."""

    def __init__(self, message: str, *, path: str = "", remedy: str = "") -> None:
        text = f"{path}: {message}" if path else message
        super().__init__(text if not remedy else f"{text}; {remedy}")
        self.path = path
        self.remedy = remedy


class CannotCarryError(StateError):
    """A value cannot cross into a new interpreter."""


class SnapshotError(StateError):
    """A snapshot is damaged, foreign, or written by a newer format."""


class ProtocolViolationError(LivecoreError):
    """The other side of a channel sent what the wire format does not allow: a bug of ours."""
