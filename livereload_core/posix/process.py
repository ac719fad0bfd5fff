"""Processes: exec a fresh interpreter, notice its end, never outlive the parent.

Kernel facts relied on:
    * PR_SET_PDEATHSIG is cleared by exec and bound to the *thread* that forked, so the child sets it itself
      after exec, and the parent execs from its main thread only. A parent that died in between is seen by
      comparing ``getppid()``.
    * A pidfd is readable once the process has ended (Linux 5.3); elsewhere a thread waits.
    * PR_SET_CHILD_SUBREAPER makes orphans of a generation our children, so that none is lost sight of. Those
      that have ended and were not waited for come with their status.
    * /proc/PID/stat tells the status of a process that has ended and was not waited for, to its owner (field
      52, Linux 3.5).
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import functools
import os
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

__all__ = [
    "Exits",
    "become_subreaper",
    "descendants",
    "die_with_parent",
    "give_way",
    "interpreter_flags",
    "pidfd_open",
    "raise_file_limit",
    "resident_bytes",
    "set_background",
    "spawn",
    "status_sentence",
    "widen_fd_table",
]

_ROOM = 4096
"""Open files for which a process of ours has room from its start: 32 KiB of the kernel's memory."""
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_PR_SET_CHILD_SUBREAPER = 36
_NICE = os.getpriority(os.PRIO_PROCESS, 0)
_BEHIND = 10
BACKGROUND_NICE = min(19, _NICE + _BEHIND)
"""Niceness of a spare: about a tenth of the time of a busy core, all of an idle one."""
_REMEMBERED = 4096
_FILE_LIMIT = resource.getrlimit(resource.RLIMIT_NOFILE)
_MOST_FILES = 1 << 20
_CAP_SYS_NICE = 23  # linux/capability.h


def _prctl(option: int, value: int) -> bool:
    if not sys.platform.startswith("linux"):
        return False
    return bool(ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0) == 0)


def die_with_parent(parent_pid: int) -> None:
    """Have the kernel kill this process when its parent dies; exit now if it is dead already."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:
        os._exit(1)


def become_subreaper() -> bool:
    """Adopt the orphans of our children; returns whether the system can."""
    return _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def widen_fd_table(count: int = _ROOM) -> None:
    """Have the kernel make room for so many open files now, within the limit; while there is one thread.

    The table grows by doubling. In a process with threads each step waits until no processor looks at the
    old one any more, which takes some ten milliseconds, and would fall into a pause.
    """
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = count if limit == resource.RLIM_INFINITY else min(count, limit)
    with contextlib.suppress(OSError):  # full already: then there is no more room either
        fd = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.close(fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, highest - 1))
        finally:
            os.close(fd)


def interpreter_flags() -> list[str]:
    """The options of this interpreter that a child has to be started with as well."""
    flags = ["-" + "O" * sys.flags.optimize] if sys.flags.optimize else []
    if sys.flags.dev_mode:
        flags.append("-Xdev")
    if sys.flags.utf8_mode:
        flags.append("-Xutf8")
    flags += [f"-W{option}" for option in sys.warnoptions]
    return flags


def spawn(
    module: str, channel: socket.socket, *, cwd: str, env: Mapping[str, str], extra: Sequence[str] = ()
) -> subprocess.Popen[bytes]:
    """Exec a fresh interpreter that runs ``module`` with our pid and the fd of ``channel`` as its arguments.

    ``-P`` keeps the working directory off ``sys.path`` until the child puts the user's folder there.
    stdin, stdout and stderr are inherited: the program owns the terminal as if it were started alone.

    Raises:
        OSError: no memory, no process or no fd left.
    """
    fd = channel.fileno()
    # Ctrl-C goes to the whole foreground group. An interpreter that is just booting would die of it with a
    # traceback of its own, so it starts with the signal blocked and unblocks it once it ignores it.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    command = [sys.executable, *interpreter_flags(), "-P", "-m", module, str(os.getpid()), str(fd), *extra]
    try:
        child = subprocess.Popen(command, pass_fds=(fd,), cwd=cwd, env=dict(env))
        if hasattr(resource, "prlimit") and resource.getrlimit(resource.RLIMIT_NOFILE) != _FILE_LIMIT:
            with contextlib.suppress(OSError):  # it has ended already
                resource.prlimit(child.pid, resource.RLIMIT_NOFILE, _FILE_LIMIT)
        return child
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def raise_file_limit() -> int:
    """Let this process have as many fds as it may; returns how many.

    Children get the limit that we came with (:func:`spawn`): a program shall find what it finds without us.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, _MOST_FILES)
    if soft < most:
        with contextlib.suppress(OSError, ValueError):  # macOS has a lower limit of its own
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def set_background(pid: int, *, background: bool) -> None:
    """Let a process give way to others, or stand among them again; a no-op where the system has no way.

    Niceness can be taken back only with CAP_SYS_NICE; without, SCHED_BATCH, a mild disadvantage, takes its
    place. Not SCHED_IDLE: on a busy machine such a process would not even get the time to die.
    """
    if not hasattr(os, "sched_setscheduler"):
        return
    with contextlib.suppress(OSError):  # gone, or not permitted: it keeps the priority that it has
        # Each thread has a priority of its own; a module that was imported ahead may have started some.
        for thread in os.listdir(f"/proc/{pid}/task"):
            if _may_set_priority():
                os.setpriority(os.PRIO_PROCESS, int(thread), BACKGROUND_NICE if background else _NICE)
            else:
                policy = os.SCHED_BATCH if background else os.SCHED_OTHER
                os.sched_setscheduler(int(thread), policy, os.sched_param(0))


def give_way() -> None:
    """Let this process, with all its threads, stand behind others for good; a no-op where there is no way."""
    with contextlib.suppress(OSError):  # no /proc, or a thread that ends meanwhile: it keeps its priority
        for thread in os.listdir("/proc/self/task"):
            nice = os.getpriority(os.PRIO_PROCESS, int(thread))
            os.setpriority(os.PRIO_PROCESS, int(thread), min(19, nice + _BEHIND))


@functools.cache
def _may_set_priority() -> bool:
    with contextlib.suppress(OSError, ValueError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("CapEff:"):
                return bool(int(line.split()[1], 16) >> _CAP_SYS_NICE & 1)
    return False


def pidfd_open(pid: int) -> int | None:
    """An fd that becomes readable when ``pid`` ends, or None where the system has none."""
    opener = getattr(os, "pidfd_open", None)
    if opener is None:
        return None
    try:
        return int(opener(pid))
    except OSError:
        return None


def status_sentence(returncode: int) -> str:
    """Say how a process ended: ``exit code 3`` or ``killed by SIGSEGV``."""
    if returncode >= 0:
        return f"exit code {returncode}"
    try:
        return f"killed by {signal.Signals(-returncode).name}"
    except ValueError:
        return f"killed by signal {-returncode}"


def descendants(pid: int, without: Collection[int] = frozenset()) -> list[int]:
    """All living descendants of ``pid``, parents before children; empty where there is no /proc.

    Args:
        pid: not itself among them.
        without: processes that are left out, with what they started.
    """
    found: list[int] = []
    queue = [pid]
    while queue:
        current = queue.pop(0)
        with contextlib.suppress(OSError):
            for listing in Path(f"/proc/{current}/task").glob("*/children"):
                children = [int(word) for word in listing.read_text().split()]
                children = [child for child in children if child not in without]
                found += children
                queue += children
    return found


class Exits:
    """How processes ended that a generation had started and that became ours when it left."""

    def __init__(self) -> None:
        self._known: dict[int, int] = {}

    def reap(self, known: Collection[int]) -> None:
        """Collect ended children that nobody waits for: orphans that we adopted as subreaper.

        Args:
            known: pids whose end somebody else collects.
        """
        for pid in descendants_direct(os.getpid()):
            if pid not in known:
                self._collect(pid)

    def status_of(self, pid: int) -> int | None:
        """Return the status of a process that has ended, as of ``os.waitpid``; None when it is not known.

        A generation that drains is still the parent of what it started; the status is read from outside then.
        """
        self._collect(pid)
        status = self._known.get(pid)
        return _status_of_zombie(pid) if status is None else status

    def _collect(self, pid: int) -> None:
        with contextlib.suppress(ChildProcessError):
            found, status = os.waitpid(pid, os.WNOHANG)
            if found:
                self._known.pop(pid, None)
                self._known[pid] = status
                while len(self._known) > _REMEMBERED:
                    del self._known[next(iter(self._known))]


def _status_of_zombie(pid: int) -> int | None:
    with contextlib.suppress(OSError, ValueError, IndexError):
        # the name, in parentheses, may hold blanks and parentheses
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        if fields[0] in "ZX":
            return int(fields[49])
    return None


def descendants_direct(pid: int) -> list[int]:
    """The living or ended direct children of ``pid``."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for listing in Path(f"/proc/{pid}/task").glob("*/children"):
            found += [int(word) for word in listing.read_text().split()]
    return found


def resident_bytes(pid: int) -> int:
    """Resident memory of ``pid`` in bytes, 0 when it is gone or the system has no /proc."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0
