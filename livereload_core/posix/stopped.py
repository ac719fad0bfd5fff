"""System calls that keep the GIL, for the moment in which every Python thread has to stand still.

``os.write()`` and friends release the GIL, and another thread would then change the very state whose bytes
are on their way. ``ctypes.PyDLL`` calls C without releasing it. Between two calls the interpreter itself may
hand the GIL over, once a waiting thread has waited for ``sys.getswitchinterval()``; :func:`standstill` makes
them wait longer than the section takes.

Threads that run C code without the GIL (BLAS, an event loop in C asleep in epoll_wait) go on, but cannot
touch a Python object. Where there is no memfd, a temporary file takes its place.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import itertools
import operator
import os
import socket
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from typing import Any

__all__ = [
    "DeadEnds",
    "flags",
    "hear",
    "is_listener",
    "memfd_write",
    "move",
    "position",
    "replace",
    "replacing",
    "send",
    "set_flags",
    "standstill",
]

_LIBC = ctypes.PyDLL(None, use_errno=True)
_POLLOUT = 0x004  # poll.h
_SOL_SOCKET = 1  # sys/socket.h, Linux
_SCM_RIGHTS = 1
_MSG_NOSIGNAL = 0x4000
_STREAM_CLOEXEC = socket.SOCK_STREAM | getattr(socket, "SOCK_CLOEXEC", 0)
_MFD_CLOEXEC_ALLOW_SEALING = 0x3
_MOST_FDS = 250  # the kernel takes 253 per message (SCM_MAX_FD)
_SEALS = 0x2 | 0x4 | 0x8  # shrink, grow, write


class _PollFd(ctypes.Structure):
    _fields_ = (("fd", ctypes.c_int), ("events", ctypes.c_short), ("revents", ctypes.c_short))


class _IoVec(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class _MsgHdr(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_void_p),
        ("namelen", ctypes.c_uint32),
        ("iov", ctypes.POINTER(_IoVec)),
        ("iovlen", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("controllen", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    )


class _CmsgHdr(ctypes.Structure):
    # on 64-bit machines the data follows without a gap (CMSG_ALIGN(16) == 16)
    _fields_ = (("length", ctypes.c_size_t), ("level", ctypes.c_int), ("type", ctypes.c_int))


def _typed() -> None:
    # without these a 64-bit size or pointer would pass through a C int
    _LIBC.write.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t)
    _LIBC.write.restype = ctypes.c_ssize_t
    _LIBC.sendmsg.argtypes = (ctypes.c_int, ctypes.POINTER(_MsgHdr), ctypes.c_int)
    _LIBC.sendmsg.restype = ctypes.c_ssize_t
    _LIBC.recv.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    _LIBC.recv.restype = ctypes.c_ssize_t
    _LIBC.poll.argtypes = (ctypes.POINTER(_PollFd), ctypes.c_ulong, ctypes.c_int)
    _LIBC.lseek.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int)
    _LIBC.lseek.restype = ctypes.c_int64
    _LIBC.usleep.argtypes = (ctypes.c_uint,)


_typed()


@contextlib.contextmanager
def standstill(longest: float = 0.25) -> Iterator[None]:
    """Keep other Python threads from asking for the GIL inside the block, for up to ``longest`` seconds.

    A thread that waits for the GIL asks for it after the interval that held when its wait began (or began
    anew). So the interval is raised, those who wait already are let past once, and from then on nobody asks
    before ``longest`` is over. The price: a thread that computes without pause may run for ``longest`` once
    before the block begins. That is why ``longest`` should be as short as the section allows.
    """
    before = sys.getswitchinterval()
    sys.setswitchinterval(max(longest, before))
    try:
        if len(sys._current_frames()) > 1:
            _LIBC.usleep(int(before * 1.2e6))  # holds the GIL: whoever waits has asked when this returns
            time.sleep(0)
        yield
    finally:
        sys.setswitchinterval(before)


def memfd_write(data: bytes, name: str = "livecore") -> int:
    """Write ``data`` into a new sealed anonymous file and return its fd (close-on-exec).

    Raises:
        OSError: no memory, or no fd left; nothing stays open.
    """
    if hasattr(os, "memfd_create"):
        fd = _checked("memfd_create", _LIBC.memfd_create(name.encode(), _MFD_CLOEXEC_ALLOW_SEALING))
    else:
        fd, path = tempfile.mkstemp(prefix=f"{name}-")
        os.unlink(path)
    try:
        _write_all(fd, data)
        if hasattr(fcntl, "F_ADD_SEALS"):
            _LIBC.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)  # a file without seals is as good to its reader
    except BaseException:
        os.close(fd)
        raise
    return fd


def send(fd: int, payload: bytes, fds: Sequence[int] = ()) -> None:
    """Send ``payload`` on a connected Unix socket, all ``fds`` with its first byte.

    Waits while the socket's buffer is full, also when the socket is non-blocking.

    Raises:
        ValueError: fds without a byte to carry them, or more than the kernel takes in one message.
        OSError: the other side is gone.
    """
    if len(fds) > _MOST_FDS:
        raise ValueError(f"{len(fds)} fds in one message; send at most {_MOST_FDS} at a time")
    if fds and not payload:
        raise ValueError("fds need at least one byte of payload to travel with")
    start = _start_of(payload)
    offset = 0
    while offset < len(payload):
        chunk = _IoVec(start + offset, len(payload) - offset)
        header = _MsgHdr(iov=ctypes.pointer(chunk), iovlen=1)
        control = _rights(fds) if offset == 0 and fds else None
        if control is not None:
            header.control = ctypes.addressof(control)
            header.controllen = ctypes.sizeof(control)
        sent = _LIBC.sendmsg(fd, ctypes.byref(header), _MSG_NOSIGNAL)
        if sent < 0:
            if _retry("sendmsg"):
                _wait(fd, _POLLOUT)
            continue
        offset += sent


def position(fd: int) -> int | None:
    """Return the position of an open file; None for what has none."""
    found = int(_LIBC.lseek(fd, 0, os.SEEK_CUR))
    return found if found >= 0 else None


def move(fd: int, offset: int) -> None:
    """Set the position of an open file, for all who hold it."""
    _LIBC.lseek(fd, offset, os.SEEK_SET)


def flags(fd: int) -> int:
    """Return the status flags of an open file (O_NONBLOCK, O_APPEND ...)."""
    return int(_LIBC.fcntl(fd, fcntl.F_GETFL))


def set_flags(fd: int, number: int) -> None:
    """Set them, for all who hold it."""
    _LIBC.fcntl(fd, fcntl.F_SETFL, number)


def is_listener(fd: int) -> bool:
    """Whether ``fd`` is a listening socket."""
    return _option(fd, socket.SO_ACCEPTCONN) > 0


def replacing(fd: int, by: int) -> tuple[Any, ...]:
    """Return :func:`replace` as one of the calls of :func:`hear`."""
    return _LIBC.dup2, by, fd


def replace(fd: int, by: int) -> None:
    """Let ``fd`` lead to the open file of ``by``. What it led to stays open for others.

    Raises:
        OSError: no such fd.
    """
    _checked("dup2", _LIBC.dup2(by, fd))


class DeadEnds:
    """Open files on which nothing happens: a socket whose peer is gone, and the null device."""

    def __init__(self) -> None:
        self._socket = self._null = -1

    def open(self) -> None:
        """Open them.

        Raises:
            OSError: no fd left; nothing stays open.
        """
        pair = (ctypes.c_int * 2)()
        _checked("socketpair", _LIBC.socketpair(socket.AF_UNIX, _STREAM_CLOEXEC, 0, pair))
        self._socket = pair[0]
        _LIBC.close(pair[1])
        try:
            null = _LIBC.open(os.devnull.encode(), os.O_RDWR | os.O_CLOEXEC)
            self._null = _checked("open", null)
        except BaseException:
            self.close()
            raise

    def like(self, fd: int) -> int:
        """Return the one that fits in the place of ``fd``; it stays ours."""
        return self._socket if _option(fd, socket.SO_TYPE) >= 0 else self._null

    def close(self) -> None:
        """Close them. Idempotent."""
        for fd in (self._socket, self._null):
            if fd >= 0:
                os.close(fd)
        self._socket = self._null = -1


def _option(fd: int, name: int) -> int:
    value, size = ctypes.c_int(), ctypes.c_uint32(4)
    found = _LIBC.getsockopt(fd, socket.SOL_SOCKET, name, ctypes.byref(value), ctypes.byref(size))
    return value.value if found == 0 else -1


def hear(
    fd: int, word: bytes, calls: Sequence[tuple[Any, ...]], size: int = 4096, *, busy: Sequence[int] = b"\0"
) -> bytes | None:
    """Wait for bytes on a blocking socket, and leave them there. With ``word`` among them, make ``calls``.

    All of it is one call of C code. Between two bytecodes the interpreter would hand the GIL over to a thread
    that has waited for longer than the switch interval, and verdicts take their time; here it cannot, so that
    no other thread runs between the arrival of the word and the calls.

    Args:
        fd: of the socket.
        word: what to look for in the first ``size`` bytes.
        calls: functions, each with its arguments. All have to be C code that keeps the GIL; what they return
            is not looked at.
        size: how many bytes are looked at.
        busy: one number, not 0 while another thread takes from the socket: what that has got would never be
            heard here, and with the GIL kept it could not tell. It is looked at in the same call of C code.

    Returns:
        the bytes; empty when the other side is gone, None when ``busy`` says so.
    """
    area = bytearray(size)
    buffer = (ctypes.c_char * size).from_buffer(area)
    wait = (_LIBC.recv, fd, buffer, size, socket.MSG_PEEK)
    heard = map(operator.contains, itertools.repeat(area), itertools.repeat(word))
    while True:
        # Iterators are lazy: nothing is looked for before recv() has returned.
        first = itertools.compress([wait], map(operator.not_, busy))
        steps = itertools.chain(first, itertools.compress(calls, heard))
        got = next(iter(list(itertools.starmap(operator.call, steps))), None)
        if got is None:
            return None
        if got >= 0:
            return bytes(area[:got])
        _retry("recv")


def _wait(fd: int, events: int) -> None:
    item = _PollFd(fd, events, 0)
    while _LIBC.poll(ctypes.byref(item), 1, -1) < 0:
        _retry("poll")


def _write_all(fd: int, data: bytes) -> None:
    start = _start_of(data)
    offset = 0
    while offset < len(data):
        written = _LIBC.write(fd, start + offset, len(data) - offset)
        if written < 0:
            _retry("write")
            continue
        offset += written


def _start_of(data: bytes) -> int:
    # the caller's reference keeps the bytes where they are; an address stays right beside null bytes
    return ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p).value or 0


def _rights(fds: Sequence[int]) -> ctypes.Array[ctypes.c_char]:
    head = ctypes.sizeof(_CmsgHdr)
    length = head + 4 * len(fds)
    align = ctypes.sizeof(ctypes.c_size_t)
    control = ctypes.create_string_buffer((length + align - 1) // align * align)
    _CmsgHdr.from_buffer(control).length = length
    _CmsgHdr.from_buffer(control).level = _SOL_SOCKET
    _CmsgHdr.from_buffer(control).type = _SCM_RIGHTS
    (ctypes.c_int * len(fds)).from_buffer(control, head)[:] = list(fds)
    return control


def _retry(call: str) -> bool:
    """Judge the error of a call: True to wait first, False to try again at once.

    Raises:
        OSError: it will not get better.
    """
    number = ctypes.get_errno()
    if number == errno.EINTR:
        return False
    if number in (errno.EAGAIN, errno.EWOULDBLOCK):
        return True
    raise OSError(number, f"{call}: {os.strerror(number)}")


def _checked(call: str, result: int) -> int:
    if result < 0:
        _retry(call)
        raise OSError(errno.EAGAIN, f"{call}: {os.strerror(errno.EAGAIN)}")
    return result
