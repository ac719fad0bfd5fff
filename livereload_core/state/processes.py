"""Child processes: they run on, and a later generation can wait for them.

Only the parent of a process learns how it ended, and the new generation is not that parent: first the old
one is, then the process that leads them all, which adopts orphans. So a restored ``Popen`` asks instead of
calling ``waitpid``: a pidfd tells *that* the process has ended, ``runtime.exit_status`` tells *how*. The
pidfd crosses with the snapshot, so the process is the same one for certain, whatever becomes of its number.

This is the one place that knows of private attributes of :class:`subprocess.Popen` (3.11 to 3.13):
``_internal_poll`` and ``_try_wait`` are what everything else in it goes through, ``_child_created`` keeps
``__del__`` quiet. Without them a running process is refused.
"""

from __future__ import annotations

import os
import select
import subprocess
import threading
import types
import weakref
from typing import Any

from livereload_core.state import runtime
from livereload_core.state.descriptors import GONE, GoneError, incoming, outgoing
from livereload_core.state.refusals import RefusedError

__all__ = ["reduce_popen"]

_PRIVATE = ("_internal_poll", "_try_wait", "_handle_exitstatus")
_OURS = "_livecore_remote"
_OWN = ("_waitpid_lock", "_internal_poll", "_try_wait", _OURS)


def reduce_popen(popen: Any) -> Any:
    """Return the reduction of a process, running or ended."""
    attributes = {name: value for name, value in vars(popen).items() if name not in _OWN}
    if popen.returncode is not None or not hasattr(popen, "pid"):
        return _make_popen, (type(popen), None, attributes)
    if not hasattr(os, "pidfd_open") or not all(hasattr(popen, name) for name in _PRIVATE):
        raise RefusedError(
            "a running child process cannot be carried on this system", "keep its pid, and make it anew"
        )
    number = _pidfd(popen)
    if number == GONE:
        attributes["returncode"] = popen.poll()
        return _make_popen, (type(popen), None, attributes)
    outgoing().process(popen.pid)
    # To what is left of the old code the process has ended: it can neither signal it nor wait for it.
    outgoing().at_cut(popen, "returncode", 0)
    return _make_popen, (type(popen), number, attributes)


def _pidfd(popen: Any) -> int:
    remote = vars(popen).get(_OURS)
    if remote is not None:
        return outgoing().number(remote.pidfd)
    try:
        return outgoing().own(("pidfd", popen.pid), lambda: os.pidfd_open(popen.pid))
    except ProcessLookupError:
        return GONE  # ended, and somebody else collected it: Popen itself knows what to make of that


def _make_popen(cls: Any, number: int | None, attributes: dict[str, Any]) -> Any:
    popen = cls.__new__(cls)
    vars(popen).update(attributes, _waitpid_lock=threading.Lock())
    if number is None:
        return popen
    try:
        pidfd = incoming().take(number)
    except GoneError:  # the snapshot is older than its end
        pidfd = None
    if incoming().scratch:
        popen._child_created = False
        if pidfd is not None:
            incoming().made(lambda: os.close(pidfd))
        return popen
    remote = _Remote(popen.pid, pidfd)
    vars(popen)[_OURS] = remote
    popen._try_wait = remote.try_wait
    popen._internal_poll = _Poll(popen)
    incoming().made(types.MethodType(_drop, popen), GONE if pidfd is None else pidfd)
    return popen


def _drop(popen: Any) -> None:
    """Let go of a process that runs on, without a word from ``__del__``."""
    popen._child_created = False
    vars(popen)[_OURS].close()


class _Remote:
    """A process whose parent is another one."""

    def __init__(self, pid: int, pidfd: int | None) -> None:
        self.pid = pid
        self._status: int | None = None
        self._end = None if pidfd is None else weakref.finalize(self, os.close, pidfd)
        self._pidfd = pidfd

    def close(self) -> None:
        """Close the pidfd. Idempotent."""
        self._pidfd = None
        if self._end is not None:
            self._end()

    @property
    def pidfd(self) -> int:
        """Readable once the process has ended."""
        return GONE if self._pidfd is None else self._pidfd

    def try_wait(self, flags: int) -> tuple[int, int]:
        """What ``os.waitpid(pid, flags)`` would return to the parent."""
        if self._status is None:
            if self._pidfd is not None:
                poll = select.poll()
                poll.register(self._pidfd, select.POLLIN)
                if not poll.poll(0 if flags & os.WNOHANG else None):
                    return 0, 0
            ask = runtime.exit_status
            status = None if ask is None else ask(self.pid)
            # As subprocess does it: a status that somebody else collected counts as 0.
            self._status = 0 if status is None else status
        return self.pid, self._status


class _Poll:
    """Takes the place of ``Popen._internal_poll``."""

    def __init__(self, popen: subprocess.Popen[Any]) -> None:
        self._popen = weakref.ref(popen)

    def __call__(self, _deadstate: int | None = None, *_: Any, **__: Any) -> int | None:
        popen: Any = self._popen()
        if popen is None:
            return _deadstate
        if popen.returncode is None and popen._waitpid_lock.acquire(False):
            try:
                if popen.returncode is None:
                    pid, status = popen._try_wait(os.WNOHANG)
                    if pid == popen.pid:
                        popen._handle_exitstatus(status)
            finally:
                popen._waitpid_lock.release()
        code: int | None = popen.returncode
        return code
