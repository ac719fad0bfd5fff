"""The client's half of an HTTP/1.x connection: where its requests begin and end."""

from __future__ import annotations

import functools
from collections import deque

from livereload_core.framing.chunks import ChunkedBody
from livereload_core.framing.heads import (
    HEAD_LIMIT,
    METHOD_LIMIT,
    REQUEST_LINE,
    RequestHead,
    find_head_end,
)

__all__ = ["MAX_HEADS", "PARTIAL_LIMIT", "RequestFramer"]

PARTIAL_LIMIT = 64 * 1024
"""Bytes of an unfinished request that are kept, so that it can be replayed."""

MAX_HEADS = 16 * 1024
"""Heads that may wait for their owner, more than one read holds; a client that pipelines more is given up."""

_MEMO_LIMIT = 4096
"""Bytes of the longest request that is remembered."""

_PREFACE = b"PRI * HTTP/2.0\r\n"
_VERSION = b"HTTP/1.1\r\n"
_TOKEN_BYTES = b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

_IDLE, _HEAD, _LENGTH, _CHUNKED, _DEAD = range(5)


class RequestFramer:
    """Counts the requests that pass by and keeps the unfinished one.

    A client that speaks another protocol after an upgrade is not followed: its owner stops to feed.
    Should it have been too early, what it sent is in ``partial``, because no frame looks like a request.

    Attributes:
        finished: requests whose last byte was seen.
        heads: heads of requests in their order; the owner pops them.
        is_http: False for good once the bytes cannot be HTTP/1.x, or leave doubt about where a request ends.
        is_http2: whether the connection began with the preface of HTTP/2.
        undecided: whether too few bytes came to tell.
    """

    __slots__ = (
        "_bodyless",
        "_chunks",
        "_last",
        "_left",
        "_limit",
        "_raw",
        "_state",
        "finished",
        "heads",
        "is_http",
        "is_http2",
        "undecided",
    )

    def __init__(self, limit: int = PARTIAL_LIMIT) -> None:
        self.finished = 0
        self.heads: deque[RequestHead] = deque()
        self.is_http = True
        self.is_http2 = False
        self.undecided = True
        self._limit = limit
        self._state = _IDLE
        self._raw: bytearray | None = bytearray()  # of the unfinished request; None: longer than the limit
        self._left = 0
        self._chunks: ChunkedBody | None = None
        # A client on a kept-alive connection repeats itself: the same bytes are the same head.
        self._last: RequestHead | None = None
        self._bodyless = False

    @property
    def begun(self) -> int:
        """Requests of which at least one byte was seen."""
        return self.finished + (self._state != _IDLE)

    @property
    def partial(self) -> bytes | None:
        """The bytes since the last finished request; None when they are more than the limit.

        Line breaks that only separate requests are left out.
        """
        raw = self._raw
        return None if raw is None or len(raw) > self._limit else bytes(raw)

    @property
    def head_complete(self) -> bool:
        """Whether the unfinished request lacks only bytes of its body."""
        return self._state in (_LENGTH, _CHUNKED)

    def feed(self, data: bytes | bytearray | memoryview) -> None:
        """Take what the client sent next. Never raises for what is in it."""
        state = self._state
        if state == _IDLE:
            last = self._last
            if last is not None and data == last.raw and self._bodyless and len(self.heads) < MAX_HEADS:
                self.finished += 1
                self.heads.append(last)
                return
            if len(data) <= _MEMO_LIMIT and isinstance(data, bytes) and data.endswith(b"\n\r\n"):
                head = _lone_head(data)
                if head is not None and len(self.heads) < MAX_HEADS:
                    self._last, self._bodyless, self.undecided = head, True, False
                    self.finished += 1
                    self.heads.append(head)
                    return
        elif self._raw is None and state != _CHUNKED:
            # A body or a foreign stream of which nothing need be kept is counted without a look.
            if state == _DEAD:
                return
            size = len(data)
            if size < self._left:
                self._left -= size
                return
        self._follow(data if isinstance(data, bytes) else bytes(data))

    def _follow(self, data: bytes) -> None:
        pos, size = 0, len(data)
        begin = 0  # where in `data` the unfinished request begins, or goes on
        searched = 0
        if self._state == _HEAD and self._raw is not None:
            searched = max(0, len(self._raw) - 3)
            data = bytes(self._raw) + data
            size = len(data)
            self._raw.clear()
        while pos < size and self._state != _DEAD:
            if self._state == _IDLE:
                pos = begin = _skip_line_breaks(data, pos)
                if pos == size:
                    return
                self._state = _HEAD
                searched = pos
            if self._state == _HEAD:
                pos = self._head(data, begin, searched)
            elif self._state == _LENGTH:
                step = min(self._left, size - pos)
                self._left -= step
                pos += step
                if not self._left:
                    self._finish()
            else:
                pos = self._chunk(data, pos)
        if self._state != _IDLE:
            self._keep(data, begin)

    def _head(self, data: bytes, begin: int, searched: int) -> int:
        """Take a head if it is whole; return up to where ``data`` is understood."""
        end = find_head_end(data, searched)
        if end < 0:
            self._judge_beginning(data, begin)
            return len(data)
        if end - begin > HEAD_LIMIT or len(self.heads) >= MAX_HEADS:
            self._give_up()
            return end
        raw = data[begin:end]
        last = self._last
        head = last if last is not None and last.raw == raw else RequestHead.parse(raw)
        if head is None:
            self.is_http2 = not self.finished and data.startswith(_PREFACE, begin)
            self._give_up()
            return end
        self.undecided = False
        self._last = head
        self._bodyless = not head.chunked and not head.content_length
        self.heads.append(head)
        if head.chunked:
            self._state = _CHUNKED
            self._chunks = ChunkedBody()
        elif head.content_length:
            self._state = _LENGTH
            self._left = head.content_length
            if len(head.raw) + head.content_length > self._limit:
                self._raw = None
        else:
            self._finish()
        return end

    def _chunk(self, data: bytes, pos: int) -> int:
        chunks = self._chunks
        assert chunks is not None
        end = chunks.feed(data, pos)
        if chunks.broken:
            self._give_up()
        elif chunks.over:
            self._finish()
        return end

    def _judge_beginning(self, data: bytes, begin: int) -> None:
        """Tell from a head that is not whole whether it can become one."""
        if len(data) - begin > HEAD_LIMIT:
            self._give_up()
            return
        end = data.find(b"\n", begin)
        if end < 0:
            beginning = data[begin:]
            if not _may_become_request(beginning):
                self._give_up()
        elif REQUEST_LINE.match(data, begin):
            self.undecided = False
        elif not self.finished and data.startswith(_PREFACE, begin):
            self.is_http2 = True
            self._give_up()
        else:
            self._give_up()

    def _finish(self) -> None:
        self.finished += 1
        self._state = _IDLE
        self._chunks = None
        if self._raw is None:
            self._raw = bytearray()
        else:
            self._raw.clear()

    def _give_up(self) -> None:
        self._state = _DEAD
        self._left = 0
        self._chunks = None
        self.is_http = False
        self.undecided = False

    def _keep(self, data: bytes, begin: int) -> None:
        """Keep the unfinished request's bytes, unless they grow beyond use."""
        raw = self._raw
        if raw is None:
            return
        # A head is needed whole, even where the owner wants less to replay.
        limit = HEAD_LIMIT if self._state == _HEAD else self._limit
        if len(raw) + len(data) - begin > limit:
            self._raw = None
        else:
            raw += data[begin:] if begin else data


@functools.lru_cache(maxsize=256)
def _lone_head(data: bytes) -> RequestHead | None:
    """The head, for bytes that are one whole request without a body."""
    head = RequestHead.parse(data) if find_head_end(data) == len(data) else None
    return head if head is not None and not head.chunked and not head.content_length else None


def _skip_line_breaks(data: bytes, pos: int) -> int:
    """Pass the empty lines that some clients send between requests (RFC 9112, section 2.2)."""
    if data[pos] not in b"\r\n":
        return pos
    return len(data) - len(data[pos:].lstrip(b"\r\n"))


def _may_become_request(beginning: bytes) -> bool:
    """Whether a first line of which the end is missing is a request's so far."""
    if _PREFACE.startswith(beginning):
        return True
    method, space, rest = beginning.partition(b" ")
    if len(method) > METHOD_LIMIT or method.translate(None, _TOKEN_BYTES) or not method:
        return False
    target, space, version = rest.partition(b" ")
    if any(byte <= 0x20 or byte == 0x7F for byte in target) or (space and not target):
        return False
    return _VERSION.startswith(version) or _VERSION.replace(b".1", b".0").startswith(version)
