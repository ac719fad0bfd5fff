"""Server-sent events (HTML standard, section 9.2.6): where events end, and the id that a client would name.

Only what may become an ``id`` field is kept; other lines are looked at and forgotten.
"""

from __future__ import annotations

import re

__all__ = ["EventScanner"]

_ID_LIMIT = 8 * 1024
"""Bytes of the longest line that is kept: a client sends the id back in a header, which servers bound so."""

_LINE_END = re.compile(rb"\r\n?|\n")
_BOM = b"\xef\xbb\xbf"


class EventScanner:
    """Follows the payload of one ``text/event-stream`` body.

    Attributes:
        last_event_id: what a client sends as Last-Event-ID: the id in force at the last blank line, or None
            when no event named one. ``b""``: a client has been told to forget it, and sends none.
        at_event_boundary: whether the payload so far ends with a blank line, or is empty.
    """

    __slots__ = ("_after_cr", "_id", "_line", "_started", "at_event_boundary", "last_event_id")

    def __init__(self) -> None:
        self.last_event_id: bytes | None = None
        self.at_event_boundary = True
        self._id: bytes | None = None  # in force from the next blank line on
        self._line = b""  # the line in progress, as far as it matters
        self._after_cr = False
        self._started = False  # whether what may be a byte order mark is behind

    def feed(self, data: bytes, start: int, end: int) -> None:
        """Take ``data[start:end]`` of the payload."""
        if start == end:
            return
        if self._after_cr:
            self._after_cr = False
            if data[start] == 0x0A:  # the second half of a CRLF whose line has been taken
                start += 1
        if (
            data.endswith(b"\n\n", start, end)
            and self._started
            and not self._line
            and not data.startswith(b"id", start)
            and data.find(b"\nid", start, end) < 0
            and data.find(b"\r", start, end) < 0
        ):
            # Whole events without an id, which is what nearly all writes are.
            self.last_event_id = self._id
            self.at_event_boundary = True
            return
        for match in _LINE_END.finditer(data, start, end):
            self._take(self._line + data[start : match.start()])
            start = match.end()
            self._line = b""
            self._after_cr = data[start - 1] == 0x0D
        if start < end:
            self._after_cr = False
            self._hold(data, start, end)

    def _hold(self, data: bytes, start: int, end: int) -> None:
        """Keep the line in progress while it may be an id, else only that it is not blank."""
        self.at_event_boundary = False
        if len(self._line) + end - start <= _ID_LIMIT:
            line = self._line + data[start:end]
            known = line if self._started else line.removeprefix(_BOM)
            if known.startswith(b"id") or b"id".startswith(known) or _BOM.startswith(line):
                self._line = line
                return
        self._line = b":"  # a comment: it is no id, however it goes on

    def _take(self, line: bytes) -> None:
        if not self._started:
            self._started = True
            line = line.removeprefix(_BOM)
        if not line:
            self.last_event_id = self._id
            self.at_event_boundary = True
            return
        self.at_event_boundary = False
        name, _, value = line.partition(b":")
        if name == b"id" and b"\0" not in value and len(line) <= _ID_LIMIT:
            self._id = value.removeprefix(b" ")
