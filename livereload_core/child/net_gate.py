"""The gate that every accept passes: held until COMMIT, shut at QUIESCE, gone after RETIRE.

         open()            shut()
    HELD ──────▶ OPEN ◀──────────▶ SHUT
                   │     open()      │
                   └───▶ GONE ◀──────┘       leave: never opens again

Invariants:
    * :attr:`Gate.lock` is held while the kernel accepts (a call that does not block), so that once the gate
      is shut nobody accepts.
    * Exactly one of two eventfds is readable: one while the gate is open, the other while it is not. They are
      what sleepers poll beside a listener; and forked processes share them, so that the workers of a
      pre-forking server follow the gate of the process that livecore talks to.
"""

from __future__ import annotations

import enum
import os
import select
import time

from livereload_core.child import native

__all__ = ["Gate", "GateState"]


class GateState(enum.Enum):
    """Whether connections may be accepted, and why not."""

    HELD = "held"
    OPEN = "open"
    SHUT = "shut"
    GONE = "gone"


_TRANSITIONS: dict[tuple[GateState, str], GateState] = {
    (GateState.HELD, "open"): GateState.OPEN,
    (GateState.OPEN, "shut"): GateState.SHUT,
    (GateState.SHUT, "open"): GateState.OPEN,
    (GateState.HELD, "leave"): GateState.GONE,
    (GateState.OPEN, "leave"): GateState.GONE,
    (GateState.SHUT, "leave"): GateState.GONE,
}


class Gate:
    """One gate per process, shared by all its listeners.

    Attributes:
        lock: guards the state, and an accept in the kernel; never held while anything blocks.
    """

    def __init__(self) -> None:
        self.lock = native.Lock()
        self._state = GateState.HELD
        flags = os.EFD_CLOEXEC | os.EFD_NONBLOCK
        self._open_fd = os.eventfd(0, flags)
        self._shut_fd = os.eventfd(1, flags)

    @property
    def state(self) -> GateState:
        """The state now; it may change at once unless :attr:`lock` is held."""
        return self._state

    @property
    def is_open(self) -> bool:
        """Whether connections may be accepted."""
        return self._state is GateState.OPEN

    def move(self, verb: str) -> bool:
        """Do ``open``, ``shut`` or ``leave`` with :attr:`lock` held; False where it changes nothing."""
        state = _TRANSITIONS.get((self._state, verb))
        if state is None:
            return False
        was_open, self._state = self.is_open, state
        if was_open != self.is_open:
            rising, falling = (
                (self._open_fd, self._shut_fd) if self.is_open else (self._shut_fd, self._open_fd)
            )
            os.eventfd_write(rising, 1)
            os.eventfd_read(falling)
        return True

    def wait_open(self, timeout: float | None) -> None:
        """Sleep until the gate opens, at most ``timeout`` seconds; it may have shut again on return."""
        _sleep(self._open_fd, timeout)

    def wait_shut(self, timeout: float | None) -> None:
        """Sleep until the gate shuts, at most ``timeout`` seconds."""
        _sleep(self._shut_fd, timeout)

    def wait_readable(self, fd: int, timeout: float | None) -> None:
        """Sleep until ``fd`` is readable or broken, the gate shuts, or ``timeout`` seconds are over.

        The gate counts because what is behind ``fd`` may be replaced while it is shut, and a sleeper in
        poll() would go on waiting for the file that was there before.
        """
        poller = select.poll()
        poller.register(fd, select.POLLIN)
        poller.register(self._shut_fd, select.POLLIN)
        poller.poll(_milliseconds(timeout))

    def follow(self) -> bool:
        """In a forked process: take over what the shared eventfds say; returns whether the state changed."""
        poller = select.poll()
        poller.register(self._open_fd, select.POLLIN)
        is_open = bool(poller.poll(0))
        if is_open == self.is_open:
            return False
        self._state = GateState.OPEN if is_open else GateState.SHUT
        return True

    def after_fork(self) -> None:
        """In a forked process: a lock that another thread held is held for ever, so it is made anew."""
        self.lock = native.Lock()

    def close(self) -> None:
        """Give the eventfds back; nobody may wait any more."""
        os.close(self._open_fd)
        os.close(self._shut_fd)


def _sleep(fd: int, timeout: float | None) -> None:
    poller = select.poll()
    poller.register(fd, select.POLLIN)
    for _, event in poller.poll(_milliseconds(timeout)):
        if event & select.POLLNVAL:
            # a program that closes all fds it does not know: fall back to looking again
            time.sleep(0.01)


def _milliseconds(timeout: float | None) -> float | None:
    return None if timeout is None else max(0.0, timeout * 1000)
