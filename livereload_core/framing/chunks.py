r"""Chunked bodies (RFC 9112, section 7.1), counted as they pass.

::

    body = *( size-in-hex [ ";" extension ] CRLF data CRLF ) "0" [ ";" extension ] CRLF *( trailer CRLF ) CRLF

Line ends are CRLF, save in trailers, where a bare LF is taken as h11 takes it.
"""

from __future__ import annotations

import re
from typing import Protocol

__all__ = ["ChunkedBody", "Sink"]

_LINE_LIMIT = 16 * 1024
"""Bytes of the longest line with a size and extensions."""
_TRAILER_LIMIT = 64 * 1024
"""Bytes of all trailers together."""

_SIZE = re.compile(rb"([0-9A-Fa-f]{1,16})[ \t]*(?:;[^\r\n\0]*)?\r\n")
_TRAILER = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[^\r\n\0]*\r?\n")

_AT_SIZE, _IN_DATA, _AFTER_DATA, _IN_TRAILERS = range(4)


class Sink(Protocol):
    """Who is told of payload, without a copy of it."""

    def feed(self, data: bytes, start: int, end: int) -> None:
        """Take ``data[start:end]``."""


class ChunkedBody:
    """Follows one chunked body from behind its head to its end.

    Attributes:
        over: the last byte was seen, or the body is broken: nothing more is taken.
        broken: the bytes are no chunked body.
    """

    __slots__ = ("_left", "_line", "_state", "_trailers", "broken", "over")

    def __init__(self) -> None:
        self.over = False
        self.broken = False
        self._state = _AT_SIZE
        self._left = 0  # of the chunk's data, or of the line break after it
        self._line = b""  # the line in progress
        self._trailers = 0

    @property
    def between(self) -> bool:
        """Whether the stream stands exactly between two chunks: another chunk may follow from anybody."""
        return self._state == _AT_SIZE and not self._line and not self.over

    def feed(self, data: bytes, start: int, sink: Sink | None = None) -> int:
        """Follow ``data[start:]`` and return where the body ends in it, or its length."""
        pos, size = start, len(data)
        while pos < size and not self.over:
            state = self._state
            if state == _AT_SIZE:
                pos = self._at_size(data, pos, sink)
            elif state == _IN_DATA:
                step = min(self._left, size - pos)
                if sink is not None:
                    sink.feed(data, pos, pos + step)
                pos += step
                self._left -= step
                if not self._left:
                    self._state, self._left = _AFTER_DATA, 2
            elif state == _AFTER_DATA:
                pos = self._after_data(data, pos)
            else:
                pos = self._trailer(data, pos)
        return pos

    def _at_size(self, data: bytes, pos: int, sink: Sink | None) -> int:
        """Take the line with the size, and the whole chunk if it is there."""
        if self._line:
            return self._size_line(data, pos)
        match = _SIZE.match(data, pos, pos + _LINE_LIMIT)
        if match is None:
            return self._size_line(data, pos)
        begin = match.end()
        length = int(match[1], 16)
        end = begin + length
        if length and data[end : end + 2] == b"\r\n":
            if sink is not None:
                sink.feed(data, begin, end)
            return end + 2
        self._begin_data(length)
        return begin

    def _begin_data(self, length: int) -> None:
        self._left = length
        self._state = _IN_DATA if length else _IN_TRAILERS

    def _after_data(self, data: bytes, pos: int) -> int:
        step = min(self._left, len(data) - pos)
        at = 2 - self._left
        if data[pos : pos + step] != b"\r\n"[at : at + step]:
            self.over = self.broken = True
            return pos
        self._left -= step
        if not self._left:
            self._state = _AT_SIZE
        return pos + step

    def _size_line(self, data: bytes, pos: int) -> int:
        """Take a line that came in pieces or is none, or what there is of it."""
        line, end = self._whole_line(data, pos, _LINE_LIMIT)
        if line:
            match = _SIZE.fullmatch(line)
            if match is None:
                self.over = self.broken = True
            else:
                self._begin_data(int(match[1], 16))
        return end

    def _trailer(self, data: bytes, pos: int) -> int:
        line, end = self._whole_line(data, pos, _TRAILER_LIMIT)
        self._trailers += len(line)
        if line in (b"\r\n", b"\n"):
            self.over = True
        elif line and (self._trailers > _TRAILER_LIMIT or _TRAILER.fullmatch(line) is None):
            self.over = self.broken = True
        return end

    def _whole_line(self, data: bytes, pos: int, limit: int) -> tuple[bytes, int]:
        """Return the line in progress once its end is there, else ``b""``; and up to where it was taken."""
        end = data.find(b"\n", pos) + 1
        line = self._line + data[pos : end or len(data)]
        self._line = b"" if end else line
        if len(line) > limit:
            self.over = self.broken = True
            return b"", end or len(data)
        return (line if end else b""), end or len(data)
