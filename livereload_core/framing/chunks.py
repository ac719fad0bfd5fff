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

_AT_SIZE, _IN_DATA, _AFTER_DATA, _IN_TRAILERS, _DONE, _BROKEN = range(6)


class Sink(Protocol):
    """Who is told of payload, without a copy of it."""

    def feed(self, data: bytes, start: int, end: int) -> None:
        """Take ``data[start:end]``."""


class ChunkedBody:
    """Follows one chunked body from behind its head to its end."""

    __slots__ = ("_left", "_line", "_state", "_trailers")

    def __init__(self) -> None:
        self._state = _AT_SIZE
        self._left = 0  # of the chunk's data, or of the line break after it
        self._line = b""  # the line in progress
        self._trailers = 0

    @property
    def done(self) -> bool:
        """Whether the last byte was seen."""
        return self._state == _DONE

    @property
    def broken(self) -> bool:
        """Whether the bytes are no chunked body; nothing more is known from then on."""
        return self._state == _BROKEN

    @property
    def between(self) -> bool:
        """Whether the stream stands exactly between two chunks: another chunk may follow from anybody."""
        return self._state == _AT_SIZE and not self._line

    def feed(self, data: bytes, start: int, sink: Sink | None = None) -> int:
        """Follow ``data[start:]`` and return where the body ends in it, or its length."""
        pos, size = start, len(data)
        while pos < size and self._state < _DONE:
            if self._state == _IN_DATA:
                step = min(self._left, size - pos)
                if sink is not None:
                    sink.feed(data, pos, pos + step)
                pos += step
                self._left -= step
                if not self._left:
                    self._state, self._left = _AFTER_DATA, 2
            elif self._state == _AFTER_DATA:
                pos = self._after_data(data, pos)
            else:
                pos = self._line_at(data, pos)
        return pos

    def _after_data(self, data: bytes, pos: int) -> int:
        step = min(self._left, len(data) - pos)
        at = 2 - self._left
        if data[pos : pos + step] != b"\r\n"[at : at + step]:
            self._state = _BROKEN
            return pos
        self._left -= step
        if not self._left:
            self._state = _AT_SIZE
        return pos + step

    def _line_at(self, data: bytes, pos: int) -> int:
        """Take a line with a size or a trailer, or what there is of it."""
        end = data.find(b"\n", pos) + 1
        if not end:
            self._line += data[pos:]
            if len(self._line) > (_LINE_LIMIT if self._state == _AT_SIZE else _TRAILER_LIMIT):
                self._state = _BROKEN
            return len(data)
        line = self._line + data[pos:end]
        self._line = b""
        if self._state == _AT_SIZE:
            self._size_line(line)
        else:
            self._trailer_line(line)
        return end

    def _size_line(self, line: bytes) -> None:
        match = _SIZE.fullmatch(line) if len(line) <= _LINE_LIMIT else None
        if match is None:
            self._state = _BROKEN
            return
        self._left = int(match[1], 16)
        self._state = _IN_DATA if self._left else _IN_TRAILERS

    def _trailer_line(self, line: bytes) -> None:
        self._trailers += len(line)
        if line in (b"\r\n", b"\n"):
            self._state = _DONE
        elif self._trailers > _TRAILER_LIMIT or _TRAILER.fullmatch(line) is None:
            self._state = _BROKEN
