"""What the machine wants done, in the imperative; what can happen to a run is in ``events``.

A command is carried out by the parent, which never answers it directly: what comes of it, if anybody has to
know, is an event. ``attempt`` comes back in that event, so that one of an attempt that was given up is told
apart.
"""

from __future__ import annotations

import dataclasses

from livereload_core.core.events import Child
from livereload_core.core.records import Record
from livereload_core.facts import Failure

__all__ = [
    "Activate",
    "AskCommit",
    "AskExport",
    "AskFreeze",
    "AskPrecopy",
    "AskQuiesce",
    "AskRehydrate",
    "AskResume",
    "AskRetire",
    "Check",
    "Collect",
    "Command",
    "Emit",
    "Exit",
    "FallBack",
    "GiveBack",
    "HideHold",
    "Kill",
    "ShowHold",
    "Spawn",
    "Terminate",
]


class Command:
    """Base of all commands."""

    __slots__ = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Collect(Command):
    """Wait for a git checkout to end, hash these files, answer ``Collected``."""

    files: frozenset[str]


@dataclasses.dataclass(frozen=True, slots=True)
class GiveBack(Command):
    """What was collected was not tried after all: collected again, it counts as changed again."""


@dataclasses.dataclass(frozen=True, slots=True)
class Check(Command):
    """Compile these files, answer ``Checked``."""

    files: frozenset[str]


@dataclasses.dataclass(frozen=True, slots=True)
class Spawn(Command):
    """Exec a fresh interpreter and know it as ``child``."""

    child: Child


@dataclasses.dataclass(frozen=True, slots=True)
class Activate(Command):
    """Let ``child`` import the user's code.

    Attributes:
        last_good: from the sources of the last committed generation instead of the disk.
    """

    child: Child
    attempt: int
    generation: int
    last_good: bool


@dataclasses.dataclass(frozen=True, slots=True)
class AskExport(Command):
    """Export while serving, without the contents of ``keys``."""

    child: Child
    attempt: int
    keys: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class AskPrecopy(Command):
    """Decode on trial what was exported, or the ``earlier`` state that was chosen."""

    child: Child
    attempt: int
    keys: tuple[str, ...] = ()
    earlier: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class AskQuiesce(Command):
    """Stop accepting and let requests in flight finish."""

    child: Child
    attempt: int


@dataclasses.dataclass(frozen=True, slots=True)
class AskFreeze(Command):
    """``export`` is false when the user gave the state up (reset), ``keys`` what he gave up of it.

    Attributes:
        needed: false when the new generation starts with another state, and this one is only to be kept.
    """

    child: Child
    attempt: int
    export: bool
    keys: tuple[str, ...] = ()
    needed: bool = True


@dataclasses.dataclass(frozen=True, slots=True)
class AskResume(Command):
    """Serve on: the attempt was given up."""

    child: Child
    attempt: int


@dataclasses.dataclass(frozen=True, slots=True)
class AskRehydrate(Command):
    """``with_state``: from the newest snapshot held, if there is one, or from the ``earlier`` one."""

    child: Child
    attempt: int
    with_state: bool
    keys: tuple[str, ...] = ()
    earlier: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class AskCommit(Command):
    """Accept from now on."""

    child: Child
    attempt: int


@dataclasses.dataclass(frozen=True, slots=True)
class AskRetire(Command):
    """Drain, shut down, exit; ``final`` when livecore itself stops."""

    child: Child
    final: bool


@dataclasses.dataclass(frozen=True, slots=True)
class Terminate(Command):
    """SIGTERM."""

    child: Child


@dataclasses.dataclass(frozen=True, slots=True)
class Kill(Command):
    """SIGKILL, with everything that the child started."""

    child: Child


@dataclasses.dataclass(frozen=True, slots=True)
class FallBack(Command):
    """The newest code died before it gave one answer: the generation before has the last good one."""


@dataclasses.dataclass(frozen=True, slots=True)
class ShowHold(Command):
    """Answer on all listeners with 503 and the failure."""

    failure: Failure


@dataclasses.dataclass(frozen=True, slots=True)
class HideHold(Command):
    """Stop answering for the program."""


@dataclasses.dataclass(frozen=True, slots=True)
class Emit(Command):
    """Tell people and programs."""

    record: Record


@dataclasses.dataclass(frozen=True, slots=True)
class Exit(Command):
    """Leave with this code; no child is left."""

    code: int
