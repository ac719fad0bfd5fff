"""Open files and pipes: the fd crosses, so nothing is opened, truncated or created again.

A file of Python has up to three layers, each an object of its own in the stream: text, buffer, raw. Only the
raw one has an fd. What the upper two hold in user space crosses, too:

    written, not yet flushed    is flushed. A pipe that takes no more is refused instead of waited for.
    read ahead of the program   seekable: the logical position crosses, and the new file goes there.
                                a pipe: the very bytes cross, and stand in the new file's buffer.

The new file shares its open file description (position, flags, locks) with the old one. A file that is only
written is therefore never moved: it goes on where its last byte is, also when an older snapshot is taken up.

Invariants:
    * While a file is looked at, no system call lets go of the GIL: ``tell``, ``seek`` and ``write`` of its
      raw layer are replaced for the moment (see :func:`_held`). Buffered files call them by name.
    * A look leaves the file as it was, for the program that goes on with it. Where what was read ahead has to
      be taken out and put back, no other thread may come in between (``Outgoing.need_quiet``).
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import io
import os
import stat
import sys
import weakref
from collections.abc import Iterator
from typing import Any

from livereload_core.state.buffers import newline_of, offset_of, place_of, read_ahead, refill
from livereload_core.state.descriptors import GoneError, incoming, libc, outgoing
from livereload_core.state.refusals import RefusedError

__all__ = ["FILES", "reduce_file", "reduce_temporary"]

FILES = (io.TextIOWrapper, io.BufferedReader, io.BufferedWriter, io.BufferedRandom, io.FileIO)

_STANDARD = ("stdin", "stdout", "stderr", "__stdin__", "__stdout__", "__stderr__")
_PIPE_BUF = 4096
"""Bytes that a pipe takes at once when it takes any (POSIX; Linux: one page)."""
_POLLOUT = 0x004  # poll.h
_OVERLAY = ("tell", "seek", "write", "read", "readinto")


def reduce_file(file: Any) -> Any:
    """Return the reduction of an open or closed file."""
    for name in _STANDARD:
        if file is getattr(sys, name):
            return getattr, (sys, name)
    if type(file) not in FILES:
        return NotImplemented
    if file.closed:
        return _make_closed, (type(file), getattr(file, "name", None), *_parameters(file), _attributes(file))
    if isinstance(file, io.FileIO):
        return _reduce_raw(file)
    return _reduce_text(file) if isinstance(file, io.TextIOWrapper) else _reduce_buffered(file)


def reduce_temporary(wrapper: Any) -> Any:
    """Return the reduction of what ``tempfile.NamedTemporaryFile()`` returned."""
    closer = getattr(wrapper, "_closer", None)
    if closer is None or not hasattr(closer, "delete"):
        raise RefusedError(
            "this Python's temporary files cannot be carried", "use tempfile.mkstemp(), and keep the path"
        )
    delete, on_close = closer.delete, getattr(closer, "delete_on_close", True)
    outgoing().at_cut(closer, "delete", False)
    return _make_temporary, (type(wrapper), wrapper.file, wrapper.name, delete, on_close)


def _make_temporary(cls: Any, file: Any, name: str, delete: bool, on_close: bool) -> Any:
    # It deletes nothing before the commit: until then the file is the old generation's.
    extra = {} if on_close else {"delete_on_close": False}
    wrapper = cls(file, name, delete=False, **extra)
    reference = weakref.ref(wrapper)

    def arm() -> None:
        wrapper = reference()
        if wrapper is None:
            return  # nobody took it: the file is that of a declaration that may come back
        wrapper._closer.delete = delete
        if "delete" in vars(wrapper):
            wrapper.delete = delete

    incoming().at_commit.append(arm)
    incoming().made(wrapper.close)
    return wrapper


# -- raw ------------------------------------------------------------------------------------------------


def _reduce_raw(file: io.FileIO) -> Any:
    fd = file.fileno()
    offset = offset_of(fd) if file.readable() else None
    return _make_raw, (outgoing().number(fd), file.mode, _attributes(file), offset)


def _make_raw(number: int, mode: str, attributes: dict[str, Any], offset: int | None) -> Any:
    try:
        fd, own_position = _opened(number)
    except GoneError:
        return _make_closed(io.FileIO, None, mode, None, None, None, False, False, attributes)
    if offset is not None and own_position:
        os.lseek(fd, offset, os.SEEK_SET)
    file = io.FileIO(fd, mode)
    vars(file).update(attributes)
    incoming().made(file.close, fd)
    return file


def _opened(number: int) -> tuple[int, bool]:
    """Return an fd for a file, and whether its position may be moved."""
    source = incoming()
    fd = source.source(number)
    if not source.scratch:
        return source.take(number), True
    if stat.S_ISREG(os.fstat(fd).st_mode):
        flags = _flags(fd) & (os.O_ACCMODE | os.O_APPEND)
        with contextlib.suppress(OSError):  # no /proc, or no right to open it again
            return os.open(f"/proc/self/fd/{fd}", flags | os.O_CLOEXEC), True
    return source.take(number), False


def _flags(fd: int) -> int:
    import fcntl

    return fcntl.fcntl(fd, fcntl.F_GETFL)


# -- buffered -------------------------------------------------------------------------------------------


def _reduce_buffered(file: Any) -> Any:
    raw = _raw_of(file)
    position, ahead = None, b""
    with _held(raw):
        if file.writable():
            _flush(file)
        if file.readable():
            if raw.seekable():
                position = file.tell()
            else:
                # Not without need: a thread that waits in a read holds the lock that peek() wants.
                ahead = file.peek(1) if read_ahead(file, raw) else b""
    return _make_buffered, (type(file), raw, position, ahead, _attributes(file))


def _make_buffered(cls: Any, raw: Any, position: int | None, ahead: bytes, attributes: dict[str, Any]) -> Any:
    if raw.closed:
        return _make_closed(cls, raw.name, raw.mode, None, None, None, False, False, attributes)
    file = cls(raw, max(io.DEFAULT_BUFFER_SIZE, len(ahead)))
    if position is not None and _may_move(raw):
        file.seek(position)
    if ahead:
        refill(file, raw, ahead)
    vars(file).update(attributes)
    incoming().made(file.close)
    return file


def _may_move(raw: io.FileIO) -> bool:
    """Whether the position is this generation's to move; in a trial only where the file was opened anew."""
    return not incoming().scratch or all(raw.fileno() != copy for _, copy in incoming().taken)


# -- text -----------------------------------------------------------------------------------------------


def _reduce_text(file: io.TextIOWrapper) -> Any:
    buffer: Any = file.buffer
    raw = _raw_of(buffer)
    cookie = None
    with _held(raw):
        if file.writable():
            _flush(file)
        if file.readable():
            cookie = place_of(file, buffer, raw)
        parameters = _parameters(file)
    return _make_text, (buffer, *parameters, cookie, _attributes(file))


def _make_text(
    buffer: Any,
    mode: str,
    encoding: str,
    errors: str,
    newline: str | None,
    line_buffering: bool,
    write_through: bool,
    cookie: int | None,
    attributes: dict[str, Any],
) -> Any:
    if buffer.closed:
        return _make_closed(
            io.TextIOWrapper,
            buffer.name,
            mode,
            encoding,
            errors,
            newline,
            line_buffering,
            write_through,
            attributes,
        )
    file = io.TextIOWrapper(buffer, encoding, errors, newline, line_buffering, write_through)
    if cookie is not None and _may_move(buffer.raw):
        file.seek(cookie)
    vars(file).update(attributes)
    incoming().made(file.close)
    return file


def _parameters(file: Any) -> tuple[Any, ...]:
    """Return mode, encoding, errors, newline, line_buffering, write_through."""
    mode = getattr(file, "mode", "")
    if not isinstance(file, io.TextIOWrapper):
        return mode, None, None, None, False, False
    return mode, file.encoding, file.errors, newline_of(file), file.line_buffering, file.write_through


# -- all layers -----------------------------------------------------------------------------------------


def _make_closed(
    cls: Any,
    name: Any,
    mode: str,
    encoding: str | None,
    errors: str | None,
    newline: str | None,
    line_buffering: bool,
    write_through: bool,
    attributes: dict[str, Any],
) -> Any:
    plus = cls is io.BufferedRandom or "+" in mode
    writes = plus or cls is io.BufferedWriter or not mode.startswith("r")
    file: Any = io.FileIO(os.devnull, "r+" if plus else "w" if writes else "r")
    file.name = name
    if cls is io.TextIOWrapper:
        file = io.TextIOWrapper(
            io.BufferedWriter(file) if writes else io.BufferedReader(file),
            encoding,
            errors,
            newline,
            line_buffering,
            write_through,
        )
    elif cls is not io.FileIO:
        file = cls(file)
    file.close()
    vars(file).update(attributes)
    return file


def _raw_of(buffer: Any) -> io.FileIO:
    raw = getattr(buffer, "raw", None)
    if type(raw) is io.FileIO and type(buffer) in FILES:
        return raw
    if type(raw).__name__ == "SocketIO":
        raise RefusedError(
            "a file that socket.makefile() made cannot be carried", "keep the socket, and make the file anew"
        )
    below = type(buffer if raw is None else raw)
    raise RefusedError(
        f"a file on top of {below.__module__}.{below.__qualname__} cannot be carried",
        "keep what it was made of, and make it anew",
    )


def _attributes(file: Any) -> dict[str, Any]:
    return {name: value for name, value in vars(file).items() if name not in _OVERLAY}


def _flush(file: Any) -> None:
    try:
        file.flush()
    except BlockingIOError:
        raise RefusedError(
            "holds bytes that the other end of the pipe does not take yet",
            "flush() it after writing, and read the other end",
        ) from None


@contextlib.contextmanager
def _held(raw: io.FileIO) -> Iterator[None]:
    """Let the layers above ``raw`` reach the system without letting go of the GIL while the block runs."""
    fd = raw.fileno()
    has_position = offset_of(fd) is not None  # and takes all at once; fstat() would let go of the GIL

    def tell() -> int:
        return seek(0, os.SEEK_CUR)

    def seek(offset: int, whence: int = os.SEEK_SET, /) -> int:
        return int(_checked(libc().lseek(fd, offset, whence)))

    def write(data: Any, /) -> int | None:
        view = memoryview(data).cast("B")
        if not has_position:
            if not _takes_more(fd):
                return None
            view = view[:_PIPE_BUF]
        return int(_checked(libc().write(fd, bytes(view), len(view))))

    overlay = {"tell": tell, "seek": seek, "write": write}
    vars(raw).update(overlay)
    try:
        yield
    finally:
        for name in overlay:
            vars(raw).pop(name, None)


class _PollFd(ctypes.Structure):
    _fields_ = (("fd", ctypes.c_int), ("events", ctypes.c_short), ("revents", ctypes.c_short))


def _takes_more(fd: int) -> bool:
    item = _PollFd(fd, _POLLOUT, 0)
    return bool(libc().poll(ctypes.byref(item), 1, 0) > 0)


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno() or errno.EIO
        raise OSError(number, os.strerror(number))
    return result
