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

import codecs
import contextlib
import ctypes
import errno
import gc
import io
import os
import stat
import sys
import weakref
from collections.abc import Iterator
from typing import Any

from livereload_core.state.descriptors import GoneError, incoming, libc, outgoing
from livereload_core.state.refusals import RefusedError

__all__ = ["FILES", "reduce_file", "reduce_temporary"]

FILES = (io.TextIOWrapper, io.BufferedReader, io.BufferedWriter, io.BufferedRandom, io.FileIO)

_STANDARD = ("stdin", "stdout", "stderr", "__stdin__", "__stdout__", "__stderr__")
_NEWLINES = frozenset({"", "\n", "\r", "\r\n"})
_FAR = 1 << 40
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
    offset = _offset(fd) if file.readable() else None
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


def _offset(fd: int) -> int | None:
    offset: int = libc().lseek(fd, 0, os.SEEK_CUR)
    return offset if offset >= 0 else None


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
                ahead = file.peek(1) if _read_ahead(file, raw) else b""
    return _make_buffered, (type(file), raw, position, ahead, _attributes(file))


def _read_ahead(buffer: Any, raw: io.FileIO) -> int:
    """Return how many bytes a buffer holds that were not read from it; takes no lock."""
    held = vars(raw)["tell"]
    vars(raw)["tell"] = lambda: _FAR
    try:
        ahead: int = _FAR - buffer.tell()
    finally:
        vars(raw)["tell"] = held
    if raw.seekable():
        buffer.tell()  # its idea of where the raw file stands was led astray
    return ahead


def _make_buffered(cls: Any, raw: Any, position: int | None, ahead: bytes, attributes: dict[str, Any]) -> Any:
    if raw.closed:
        return _make_closed(cls, raw.name, raw.mode, None, None, None, False, False, attributes)
    file = cls(raw, max(io.DEFAULT_BUFFER_SIZE, len(ahead)))
    if position is not None and _may_move(raw):
        file.seek(position)
    if ahead:
        _refill(file, raw, ahead)
    vars(file).update(attributes)
    incoming().made(file.close)
    return file


def _may_move(raw: io.FileIO) -> bool:
    """Whether the position is this generation's to move; in a trial only where the file was opened anew."""
    return not incoming().scratch or all(raw.fileno() != copy for _, copy in incoming().taken)


def _refill(file: Any, raw: io.FileIO, data: bytes) -> None:
    """Put bytes into the empty buffer of a reader, as if it had read them."""
    given = False

    def readinto(area: Any) -> int:
        nonlocal given
        view = memoryview(area).cast("B")
        size = 0 if given else min(len(data), len(view))
        view[:size] = data[:size]
        given = True
        return size

    vars(raw)["readinto"] = readinto
    try:
        held = file.peek(1)
    finally:
        del vars(raw)["readinto"]
    if len(held) != len(data):
        raise RefusedError(f"holds {len(data)} unread bytes, more than its buffer has room for", "read them")


# -- text -----------------------------------------------------------------------------------------------


def _reduce_text(file: io.TextIOWrapper) -> Any:
    buffer: Any = file.buffer
    raw = _raw_of(buffer)
    cookie = None
    with _held(raw):
        if file.writable():
            _flush(file)
        if file.readable():
            cookie = _place_of(file, buffer, raw)
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
    return mode, file.encoding, file.errors, _newline_of(file), file.line_buffering, file.write_through


def _newline_of(file: io.TextIOWrapper) -> str | None:
    """Return the ``newline=`` with which a flushed text file was opened, which no attribute tells.

    The collector sees it: a file refers to encoding, newline (unless None), decoded text (if any), errors,
    in this order. Where only one of the two is there, the decoder tells which: a newline of its own has
    none that looks for line ends.
    """
    referents = gc.get_referents(file)
    words = _words(file)
    if not words or words[0] not in _NEWLINES:
        return None
    decoder = next((found for found in referents if isinstance(found, io.IncrementalNewlineDecoder)), None)
    if len(words) > 1 or decoder is None:
        return words[0]
    return None if words[0] or _translates(decoder) else ""


def _words(file: io.TextIOWrapper) -> list[str]:
    return [word for word in gc.get_referents(file) if isinstance(word, str)][1:-1]


def _has_decoded(file: io.TextIOWrapper) -> bool:
    """Whether the file holds decoded text, given out or not."""
    return len(_words(file)) > (_newline_of(file) is not None)


def _translates(decoder: io.IncrementalNewlineDecoder) -> bool:
    state = decoder.getstate()
    decoder.reset()
    try:
        return decoder.decode(b"\r\n") == "\n"
    finally:
        decoder.setstate(state)


def _place_of(file: io.TextIOWrapper, buffer: Any, raw: io.FileIO) -> int | None:
    """Return the logical position of a text file; None for a pipe, whose text goes back into the buffer."""
    if not file.seekable():
        _drain(file, buffer, raw)
        return None
    try:
        return file.tell()
    except OSError as error:
        if error.errno is not None:
            raise
    # In the midst of "for line in file": Python keeps no position then. The text that it has read ahead and
    # not given out is the end of what was read, so its length tells.
    return _drain(file, buffer, raw)


def _drain(file: io.TextIOWrapper, buffer: Any, raw: io.FileIO) -> int:
    """Find out what the layers above ``raw`` have read ahead, where Python itself does not say so.

    Returns:
        where in the file it begins. In a pipe it is put back into the buffer, and the answer is 0.
    """
    decoder: Any = next((found for found in gc.get_referents(file) if hasattr(found, "getstate")), None)
    kept = b""
    if decoder is not None:
        kept, flags = decoder.getstate()
        kept += b"\r" if isinstance(decoder, io.IncrementalNewlineDecoder) and flags & 1 else b""
    ahead = _read_ahead(buffer, raw)
    end = _offset(raw.fileno()) or 0
    if not _has_decoded(file) and (raw.seekable() or not kept):
        # Also while a thread waits in a read of this very file: it has nothing left, or it would not wait.
        return end - ahead - len(kept)
    name = codecs.lookup(file.encoding).name
    if name not in ("utf-8", "ascii", "latin-1", "iso8859-1") and not name.startswith(("iso8859", "cp125")):
        raise RefusedError(
            f"its position cannot be told while it is read in the encoding {file.encoding}",
            "read it in binary mode, or line by line with readline() from a file on disk",
        )
    outgoing().need_quiet()
    vars(buffer)["read"] = lambda size=-1: b""  # the text layer finds the end, and gives out what it holds
    try:
        if decoder is not None:
            decoder.reset()
        text = file.read()
    finally:
        del vars(buffer)["read"]
    data = text.encode(file.encoding, file.errors or "strict")
    if raw.seekable():
        end -= ahead + len(kept)
        before = end - _length_before(raw.fileno(), end, text, data, file)
        file.seek(before)
        return before
    rest = kept + (buffer.read(ahead) if ahead else b"")
    if data or rest:
        _refill(buffer, raw, data + rest)
    return 0


def _length_before(fd: int, end: int, text: str, data: bytes, file: io.TextIOWrapper) -> int:
    """Return how many bytes before ``end`` are ``text``, whose line ends may have been translated."""
    newlines: int = text.count("\n")
    # A guess may begin in the middle of a character.
    errors = "replace" if file.errors in (None, "strict") else file.errors
    lengths: list[int] = [len(data), len(data) + newlines, *range(len(data), len(data) + newlines)]
    for length in lengths:
        if length > end:
            continue
        found = os.pread(fd, length, end - length).decode(file.encoding, errors)
        if found == text or found.replace("\r\n", "\n").replace("\r", "\n") == text:
            return length
    return len(data)


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
    regular = stat.S_ISREG(os.fstat(fd).st_mode)

    def tell() -> int:
        return seek(0, os.SEEK_CUR)

    def seek(offset: int, whence: int = os.SEEK_SET, /) -> int:
        return int(_checked(libc().lseek(fd, offset, whence)))

    def write(data: Any, /) -> int | None:
        view = memoryview(data).cast("B")
        if not regular:
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
