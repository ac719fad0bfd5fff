"""The server's half of an HTTP/1.x connection: where responses begin, end, and can be continued."""

from __future__ import annotations

import functools
from collections import deque

from livereload_core.framing.chunks import ChunkedBody
from livereload_core.framing.eventstream import EventScanner
from livereload_core.framing.heads import HEAD_LIMIT, ResponseHead, find_head_end

__all__ = ["ResponseFramer", "simple_response_complete"]

_IDLE, _HEAD, _LENGTH, _CHUNKED, _UNTIL_CLOSE, _UPGRADED, _DEAD = range(7)

_UNKNOWN, _CLOSES = -1, -2
_SIMPLE_LIMIT = 4096
"""Bytes of the longest head that is judged cheaply."""
_STARTS = (b"HTTP/1.1 ", b"HTTP/1.0 ")
_SPECIAL_METHODS = (b"HEAD", b"CONNECT")
"""Answers to these have no body whatever their head says."""


def simple_response_complete(data: bytes) -> bool | None:
    """Judge cheaply whether a bytes object is one whole answer to a request that is neither HEAD nor CONNECT.

    Returns:
        True when it is whole by its Content-Length and keeps the connection open; False when bytes of the
        body are missing or the connection will close; None when only :class:`ResponseFramer` can tell, as for
        a head without a byte of its body, which may answer a HEAD request.
    """
    end = data.find(b"\r\n\r\n") + 4
    length = _simple_length(data[:end]) if 3 < end <= _SIMPLE_LIMIT else _UNKNOWN
    if length < 0:
        return False if length == _CLOSES else None
    missing = end + length - len(data)
    if missing == 0:
        return True
    return False if missing > 0 and len(data) > end else None


@functools.lru_cache(maxsize=256)
def _simple_length(raw: bytes) -> int:
    """The length of the body behind a head, `_UNKNOWN`, or `_CLOSES` when the connection ends with it."""
    head = ResponseHead.parse(raw) if find_head_end(raw) == len(raw) else None
    if head is None or head.chunked or head.status < 200 or head.header(b"content-length") is None:
        return _UNKNOWN
    return head.content_length if head.keep_alive else _CLOSES


class ResponseFramer:
    """Counts the responses that pass by and knows where another server could continue.

    Attributes:
        finished: final responses whose last byte was seen; 101 is one, other 1xx are not. A body that lasts
            until the connection ends never counts.
        interim: 1xx responses seen, without 101.
        head: of the response in progress, else of the last one; an interim one too.
        closes: a response has said, or implied by its form, that the connection ends after it.
        upgraded: HTTP is over: a 101, or a 2xx to CONNECT, was seen whole.
        is_http: False for good once the bytes are no HTTP/1.x, or leave doubt about where a response ends.
    """

    __slots__ = (
        "_chunks",
        "_events",
        "_left",
        "_methods",
        "_raw",
        "_repeat",
        "_state",
        "closes",
        "finished",
        "head",
        "interim",
        "is_http",
        "upgraded",
    )

    def __init__(self) -> None:
        self.finished = 0
        self.interim = 0
        self.head: ResponseHead | None = None
        self.closes = False
        self.upgraded = False
        self.is_http = True
        self._state = _IDLE
        self._methods: deque[bytes] = deque()
        self._raw = b""  # of a head that is not whole
        self._left = 0
        self._repeat = 0  # length of a whole answer with the last head; 0: it must be parsed again
        self._chunks: ChunkedBody | None = None
        self._events: EventScanner | None = None

    @property
    def begun(self) -> int:
        """Final responses of which at least one byte was seen, or an interim head that is not whole."""
        return self.finished + self.mid

    @property
    def mid(self) -> bool:
        """Whether a response has begun and not ended."""
        return _IDLE < self._state < _UPGRADED

    @property
    def at_boundary(self) -> bool:
        """Whether another server could go on here: between responses or chunks, or in a body until close."""
        if self._state == _CHUNKED:
            return self._chunks is not None and self._chunks.between
        return self._state in (_IDLE, _UNTIL_CLOSE, _UPGRADED)

    @property
    def last_event_id(self) -> bytes | None:
        """The id in force of the event stream in progress or last seen, see :class:`EventScanner`."""
        return None if self._events is None else self._events.last_event_id

    @property
    def at_event_boundary(self) -> bool:
        """Whether the event stream in progress, or last seen, stands behind a blank line or at its beginning.

        False where there is none, and where its content is encoded (compressed).
        """
        return self._events is not None and self._events.at_event_boundary

    def expect(self, method: bytes) -> None:
        """Tell the method of the next request, in order, before it is answered."""
        self._methods.append(method)

    def feed(self, data: bytes | bytearray | memoryview) -> int:
        """Take what the server sent next. Never raises for what is in it.

        Returns:
            how many bytes belong to HTTP: all, unless ``upgraded``.
        """
        size = len(data)
        state = self._state
        if state == _IDLE:
            if self._repeat == size and self._repeats(data):
                return size
        elif state >= _UNTIL_CLOSE:
            if state == _UPGRADED:
                return 0
            if self._events is None:
                return size
        elif state == _LENGTH:
            if size < self._left and self._events is None:
                self._left -= size
                return size
        elif state == _CHUNKED and isinstance(data, bytes):
            chunks = self._chunks
            assert chunks is not None
            end = chunks.feed(data, 0, self._events)
            if not chunks.over:
                return size
            self._end_chunks(chunks)
            return size if end == size or not self.is_http else end + self._follow(data[end:])
        return self._follow(data if isinstance(data, bytes) else bytes(data))

    def _repeats(self, data: bytes | bytearray | memoryview) -> bool:
        """Take a whole answer with the very head of the last one."""
        head, methods = self.head, self._methods
        if head is None or not isinstance(data, bytes) or not data.startswith(head.raw):
            return False
        if methods:
            if methods[0] in _SPECIAL_METHODS:
                return False
            methods.popleft()
        self.finished += 1
        return True

    def _follow(self, data: bytes) -> int:
        held = searched = 0
        if self._state == _HEAD:
            held = len(self._raw)
            searched = max(0, held - 3)
            data = self._raw + data
            self._raw = b""
        pos, size = 0, len(data)
        while pos < size:
            state = self._state
            if state in (_IDLE, _HEAD):
                self._state = _HEAD
                pos = self._head_at(data, pos, max(pos, searched))
            elif state == _LENGTH:
                pos = self._length(data, pos)
            elif state == _CHUNKED:
                pos = self._chunk(data, pos)
            elif state == _UNTIL_CLOSE:
                if self._events is not None:
                    self._events.feed(data, pos, size)
                pos = size
            elif state == _UPGRADED:
                break
            else:
                pos = size
        return pos - held

    def _head_at(self, data: bytes, begin: int, searched: int) -> int:
        """Take a head if it is whole; return up to where ``data`` is understood."""
        end = find_head_end(data, searched)
        if (end if end >= 0 else len(data)) - begin > HEAD_LIMIT:
            self._give_up()
            return len(data)
        if end < 0:
            self._raw = data[begin:]
            if not _may_become_response(self._raw):
                self._give_up()
            return len(data)
        method = self._methods[0] if self._methods else b"GET"
        head = ResponseHead.parse(data[begin:end], method)
        if head is None:
            self._give_up()
            return len(data)
        self.head = head
        self._repeat = 0
        self._events = None
        if head.status < 200 and head.status != 101:
            self.interim += 1
            self._state = _IDLE
            return end
        if self._methods:
            self._methods.popleft()
        self._begin_body(head, method)
        return end

    def _begin_body(self, head: ResponseHead, method: bytes) -> None:
        if head.status == 101 or (method == b"CONNECT" and head.status < 300):
            self.upgraded = True
            self.finished += 1
            self._state = _UPGRADED
            return
        if not head.keep_alive:
            self.closes = True
        if head.is_event_stream and head.header(b"content-encoding") in (None, b"identity"):
            self._events = EventScanner()
        elif not (head.chunked or head.until_close or method in _SPECIAL_METHODS):
            self._repeat = len(head.raw) + head.content_length
        if head.chunked:
            self._state = _CHUNKED
            self._chunks = ChunkedBody()
        elif head.until_close:
            self._state = _UNTIL_CLOSE
        elif head.content_length:
            self._state = _LENGTH
            self._left = head.content_length
        else:
            self._finish()

    def _length(self, data: bytes, pos: int) -> int:
        end = min(pos + self._left, len(data))
        if self._events is not None:
            self._events.feed(data, pos, end)
        self._left -= end - pos
        if not self._left:
            self._finish()
        return end

    def _chunk(self, data: bytes, pos: int) -> int:
        chunks = self._chunks
        assert chunks is not None
        end = chunks.feed(data, pos, self._events)
        if chunks.over:
            self._end_chunks(chunks)
        return end

    def _end_chunks(self, chunks: ChunkedBody) -> None:
        if chunks.broken:
            self._give_up()
        else:
            self._finish()

    def _finish(self) -> None:
        self.finished += 1
        self._state = _IDLE
        self._chunks = None

    def _give_up(self) -> None:
        self._state = _DEAD
        self._raw = b""
        self._chunks = self._events = None
        self.is_http = False


def _may_become_response(beginning: bytes) -> bool:
    """Whether a head that is not whole is one so far."""
    return (
        beginning.startswith(_STARTS)
        if len(beginning) >= 9
        else any(start.startswith(beginning) for start in _STARTS)
    )
