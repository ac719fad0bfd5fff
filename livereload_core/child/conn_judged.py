"""Whether a connection could be handed over here and now, and why not: the judgement of a link.

Invariant: what is judged to move needs nothing but what the link exports, and the bytes in the socket.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any, NamedTuple

from livereload_core.child.conn_stream import OPAQUE, Stream
from livereload_core.wire.links import Kind

__all__ = ["IN_FLIGHT", "MOST_UNSENT", "MOVES", "SILENT", "Judged", "Verdict"]

MOST_UNSENT = 16 * 1024 * 1024
"""Bytes that the kernel has not taken above which a slow client keeps its old generation."""
SILENT = 0.25
"""Seconds without a call of receive() after which a WebSocket's handler counts as one that only pushes."""


class Verdict(NamedTuple):
    """Whether a connection can be handed over.

    Attributes:
        reason: why not, ``""`` when it can.
        passes: whether that ends by itself, so that waiting is worth while.
    """

    reason: str
    passes: bool = False


MOVES = Verdict("")
_GONE = Verdict("it is closing")
IN_FLIGHT = Verdict("a request in flight", passes=True)
_AT_WORK = Verdict("a handler at work", passes=True)
_SLOW = Verdict("a client that reads slowly", passes=True)


class Judged(Stream):
    """The half of a link that judges; whether it holds, and who waits for it, is the other half's."""

    __slots__ = ("_waiters",)

    def __init__(self, hub: Any, protocol: asyncio.BaseProtocol, number: int) -> None:
        super().__init__(hub, protocol, number)
        self._waiters: list[asyncio.Future[None]] = []

    def verdict(self) -> Verdict:
        """Judge whether another generation could go on here and now."""
        self.unfold()
        if self._lost or self.moved or self._farewell or self._transport.is_closing():
            return _GONE
        if self.replay is not None:
            return Verdict("it is just being taken over", passes=True)
        if self._kind is OPAQUE:
            return Verdict("it cannot be followed (TLS, HTTP/2, compression)")
        if self.policy != "resume" and (self._kind is not Kind.HTTP or self.in_flight()):
            return Verdict(f"the handler's policy is {self.policy!r}")
        verdict = {Kind.HTTP: self._http, Kind.WEBSOCKET: self._websocket, Kind.RAW: self._raw}[self._kind]()
        if not verdict.reason and self._tail() is None:
            return _SLOW
        return verdict

    @property
    def policy(self) -> str:
        """What its handler chose for the next edit."""
        return self._connection.policy if self._connection is not None else "resume"

    @property
    def has_chosen(self) -> bool:
        """Whether its handler has asked to go on by itself, whatever is spoken."""
        return self._connection is not None and self._connection.has_chosen

    def in_flight(self) -> bool:
        """Whether an HTTP request has begun and its answer is not whole."""
        if self._kind is not Kind.HTTP or self._lost:
            return False
        if self._final:
            return True
        if self.owes is not None:
            return self.owes
        requests, responses = self._requests, self._responses
        return self._early is not None or requests.finished + requests.head_complete > responses.finished

    def _http(self) -> Verdict:
        requests, responses = self._requests, self._responses
        if not self.in_flight():
            if responses.closes:
                return Verdict("it closes after its answer")
            if self.streams and requests.undecided and self._read_early and not self.reading:
                return _AT_WORK  # a word of a protocol of its own, perhaps
            return MOVES if requests.partial is not None else IN_FLIGHT
        if self._streams_events():
            return MOVES if responses.at_boundary and responses.at_event_boundary else IN_FLIGHT
        return IN_FLIGHT

    def _streams_events(self) -> bool:
        requests, responses = self._requests, self._responses
        head = responses.head
        return (
            self._early is None
            and responses.mid
            and head is not None
            and head.is_event_stream
            and self._head is not None
            and self._head.method == b"GET"
            and not requests.begun > requests.finished
            and requests.finished == responses.finished + 1
        )

    def _websocket(self) -> Verdict:
        client, server = self._client, self._server_frames
        assert client is not None
        assert server is not None
        if client.broken or server.broken:
            return Verdict("it does not speak WebSocket as it should")
        if client.closing or server.closing:
            return _GONE
        if not self.gate:
            return Verdict("it is not known how its program reads it")
        if self._session is not None:
            if self._session.loses and not self.has_chosen:
                return Verdict(f"its {self._session.name} session would be unknown to the new code")
            if not self._session.is_settled:
                return _AT_WORK
        if server.mid_message or not server.at_boundary:
            return Verdict("a message half sent", passes=True)
        if self.working:
            return _AT_WORK
        if self._waiters:
            return MOVES
        untaken = any(item.kind == "message" for item in client.pending)
        if self.receiving:
            return _AT_WORK if untaken else MOVES  # untaken: the handler has it in hand already
        silent = not client.messages and time.monotonic() - self._opened > SILENT
        return MOVES if silent else _AT_WORK

    def _raw(self) -> Verdict:
        if not self.streams or self._waiters or self.reading:
            return MOVES
        return _AT_WORK if self._has_read or self._unread else MOVES

    def _tail(self) -> bytes | None:
        """What was written and not taken by the kernel; None when it is not known, or too much."""
        size = self._transport.get_write_buffer_size()
        if not size:
            return b""
        if size > MOST_UNSENT:
            return None
        known = b"".join(self._unsent)
        if self._kind is Kind.HTTP and len(known) < size:
            known = b"".join([self._before_last, self._last])
        return known[-size:] if len(known) >= size else None
