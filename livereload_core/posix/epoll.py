"""Taking a file out of the process's epoll sets, and putting it back, behind the program's back.

A level-triggered set reports a listener with a pending connection again and again, so a loop whose accept is
closed would spin. Out of the set it sleeps; asyncio and libuv find their handler by the fd number in the
event, so that an entry that comes back with the same number, mask and data is the old entry.

Kernel facts relied on:
    * /proc/self/fdinfo/<epoll fd> lists the entries: ``tfd: 7 events: 19 data: 7 pos:0 ino:2d sdev:8``.
    * An entry belongs to (open file, fd number). It stays when the number is closed or pointed elsewhere
      while another fd keeps the file open: what is to leave has to be taken out *before* dup2().
    * epoll_ctl() may be called while another thread sleeps in epoll_wait().

select.epoll is not used: it closes the fd of a set that it was lent, and it would replace the data word.
"""

from __future__ import annotations

import ctypes
import dataclasses
import errno
import os
import re
from collections.abc import Collection, Iterable

from livereload_core.posix import stopped

__all__ = ["Entry", "forget", "put_back", "take_out"]

_CTL_ADD = 1  # sys/epoll.h
_CTL_DEL = 2
_GONE = frozenset({errno.ENOENT, errno.EBADF, errno.EEXIST, errno.EINVAL, errno.EPERM})
_ENTRY = rb"^tfd:\s*%d\s+events:\s*([0-9a-f]+)\s+data:\s*([0-9a-f]+).*?ino:\s*([0-9a-f]+)"


class _Event(ctypes.Structure):
    # the kernel packs the struct on x86-64 only, so that 32-bit programs see the same layout
    if os.uname().machine in ("x86_64", "AMD64"):
        _pack_ = 1
    _fields_ = (("events", ctypes.c_uint32), ("data", ctypes.c_uint64))


@dataclasses.dataclass(frozen=True, slots=True)
class Entry:
    """One entry of an epoll set, exactly as the program made it."""

    epoll_fd: int
    fd: int
    inode: int
    events: int
    data: int


def take_out(fd: int, besides: Collection[int] = ()) -> list[Entry]:
    """Remove ``fd`` from every epoll set of this process and return what was removed.

    Args:
        fd: what is to leave.
        besides: fds known to be no epoll sets: with a thousand connections open they are most of all.
    """
    try:
        inode = os.fstat(fd).st_ino
    except OSError:
        return []  # the program has closed it: it is in no set
    return [
        entry
        for epoll_fd in _epoll_fds(besides)
        for entry in _entries(epoll_fd, fd, inode)
        if _control(epoll_fd, _CTL_DEL, fd, None)
    ]


def put_back(entries: Iterable[Entry]) -> None:
    """Restore what :func:`take_out` removed, save where the program has closed the file or the set since."""
    for entry in entries:
        try:
            if os.fstat(entry.fd).st_ino != entry.inode or not _is_epoll(entry.epoll_fd):
                continue
        except OSError:
            continue  # closed by the program: nothing is left to be restored
        _control(entry.epoll_fd, _CTL_ADD, entry.fd, _Event(entry.events, entry.data))


def forget(fd: int, original: int, by: int) -> None:
    """Remove from every epoll set the entry that ``fd`` made before it was replaced.

    Args:
        fd: leads to another open file by now.
        original: another fd of the open file that it led to.
        by: what it is to lead to afterwards.
    """
    try:
        inode = os.fstat(original).st_ino
    except OSError:
        return
    for epoll_fd in _epoll_fds():
        if _entries(epoll_fd, fd, inode):
            # An entry is found by its number and the open file behind it: that has to be back for a moment.
            stopped.replace(fd, original)
            try:
                _control(epoll_fd, _CTL_DEL, fd, None, ctypes.PyDLL)
            finally:
                stopped.replace(fd, by)


def _epoll_fds(besides: Collection[int] = ()) -> list[int]:
    try:
        numbers = {int(number) for number in os.listdir("/proc/self/fd")}
    except OSError:
        return []  # no /proc (not Linux, or a bare chroot): the gate in accept() remains
    return [number for number in numbers.difference(besides) if _is_epoll(number)]


def _is_epoll(fd: int) -> bool:
    try:
        return os.readlink(f"/proc/self/fd/{fd}") == "anon_inode:[eventpoll]"
    except OSError:
        return False  # closed meanwhile, by us (the fd of listdir) or by another thread


def _entries(epoll_fd: int, fd: int, inode: int) -> list[Entry]:
    try:
        with open(f"/proc/self/fdinfo/{epoll_fd}", "rb") as file:
            text = file.read()
    except OSError:
        return []
    found = []
    for match in re.finditer(_ENTRY % fd, text, re.MULTILINE):
        events, data, owner = match.groups()
        if int(owner, 16) == inode:
            found.append(Entry(epoll_fd, fd, inode, int(events, 16), int(data, 16)))
    return found


def _control(
    epoll_fd: int, operation: int, fd: int, event: _Event | None, make: type[ctypes.CDLL] = ctypes.CDLL
) -> bool:
    """Call epoll_ctl(); False when the program got there first."""
    library = make(None, use_errno=True)
    if library.epoll_ctl(epoll_fd, operation, fd, ctypes.byref(event) if event is not None else None) == 0:
        return True
    number = ctypes.get_errno()
    if number not in _GONE:
        raise OSError(number, f"epoll_ctl: {os.strerror(number)}")
    return False
