"""What the layers of a file of Python hold in user space, and where in the file that puts the program.

Python tells the position of a text file, but not in the midst of ``for line in file``, nor what a pipe has
read ahead. Both are found here, without a lock that a reading thread may hold, and put back where they have
to be taken out (then it has to be quiet: ``Outgoing.need_quiet``).

This module relies on what CPython's C code does in 3.11 to 3.13: upper layers call ``tell``, ``read`` and
``readinto`` of the layer below by name, and the collector is shown what a text file refers to, in the order
of its struct.
"""

from __future__ import annotations

import codecs
import gc
import io
import os
from typing import Any

from livereload_core.state.descriptors import libc, outgoing
from livereload_core.state.refusals import RefusedError

__all__ = ["newline_of", "offset_of", "place_of", "read_ahead", "refill"]

_NEWLINES = frozenset({"", "\n", "\r", "\r\n"})
_FAR = 1 << 40


def offset_of(fd: int) -> int | None:
    """Return the position of an open file; None for what has none."""
    offset: int = libc().lseek(fd, 0, os.SEEK_CUR)
    return offset if offset >= 0 else None


def read_ahead(buffer: Any, raw: io.FileIO) -> int:
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


def refill(file: Any, raw: io.FileIO, data: bytes) -> None:
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


def newline_of(file: io.TextIOWrapper) -> str | None:
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
    return len(_words(file)) > (newline_of(file) is not None)


def _translates(decoder: io.IncrementalNewlineDecoder) -> bool:
    state = decoder.getstate()
    decoder.reset()
    try:
        return decoder.decode(b"\r\n") == "\n"
    finally:
        decoder.setstate(state)


def place_of(file: io.TextIOWrapper, buffer: Any, raw: io.FileIO) -> int | None:
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
    ahead = read_ahead(buffer, raw)
    end = offset_of(raw.fileno()) or 0
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
        refill(buffer, raw, data + rest)
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
