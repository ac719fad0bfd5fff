"""What is rare in a stream: heads in pieces, pipelines, upgrades to WebSocket, other protocols than HTTP."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from livereload_core.child.conn_marking import OPAQUE, Marking
from livereload_core.framing.http1 import RequestFramer, RequestHead, ResponseFramer, without_header
from livereload_core.framing.sessions import Session, recognise
from livereload_core.framing.websocket import ClientFrames, ServerFrames
from livereload_core.wire.links import Kind

__all__ = ["WISH", "Following"]

WISH = b"sec-websocket-extensions"
"""The header that is left out of requests for a WebSocket."""
HEAD_PATIENCE = 0.1
"""Seconds for which the beginning of a head waits for the rest: the program may be one that answers to it."""


class Following(Marking):
    """The half of a stream that follows what does not repeat; what it delivers to is the other half's."""

    __slots__ = (
        "_before_last",
        "_client",
        "_early",
        "_early_number",
        "_head",
        "_held_head",
        "_kind",
        "_last",
        "_opened",
        "_read_early",
        "_requests",
        "_responses",
        "_server_frames",
        "_session",
        "_unread",
        "streams",
    )

    _hub: Any
    _received: Any
    _holding: bool

    def __init__(self) -> None:
        super().__init__()
        self._kind = Kind.HTTP
        self._requests = RequestFramer()
        self._responses = ResponseFramer()
        self._head: RequestHead | None = None
        self._held_head = b""
        self._early: bytearray | None = None
        self._early_number = 0
        self._client: ClientFrames | None = None
        self._server_frames: ServerFrames | None = None
        self._session: Session | None = None
        self._opened = 0.0
        self.streams = False
        self._unread = bytearray()
        self._read_early = 0
        self._last: Any = b""
        self._before_last: Any = b""

    def _received_slowly(self, data: bytes) -> None:
        """The cases that are rare: split heads, pipelines, upgrades, other protocols."""
        requests = self._requests
        if self._early is not None:
            # between the wish for an upgrade and its answer: what comes may be frames already
            self._early += data
            self._received(data)
            return
        split = self._held_head + data if self._held_head else data
        number = requests.finished + requests.head_complete - len(requests.heads)
        for head in requests.heads:
            number += 1
            self._head = head
            self._responses.expect(head.method)
            if head.wants_websocket:
                split, rest = _without_extensions(split, head.raw)
                self._early, self._early_number = bytearray(rest), number
        requests.heads.clear()
        if self._early is None and not requests.is_http:
            if requests.is_http2:
                self._kind = OPAQUE
            else:
                self._became_raw()
            self._held_head = b""
            self._received(split)
            return
        partial = requests.partial
        if partial and not requests.head_complete and partial.startswith(b"GET ") and self._early is None:
            # perhaps the wish for a WebSocket, which can only be read whole
            before_it = len(split) - len(partial)
            self._held_head = partial[max(0, -before_it) :]  # less than "GET " has passed already
            asyncio.get_running_loop().call_later(HEAD_PATIENCE, self._let_head_pass, len(self._held_head))
            if before_it > 0:
                self._received(split[:before_it])
            return
        self._held_head = b""
        self._received(split)

    def _let_head_pass(self, length: int) -> None:
        """Nothing more has come of a head since so many bytes of it were held back."""
        if len(self._held_head) != length or self._lost or self.moved:
            return
        if self._holding:  # else whoever goes on gets it
            asyncio.get_running_loop().call_later(HEAD_PATIENCE, self._let_head_pass, length)
            return
        data, self._held_head = self._held_head, b""
        self._received(data)

    def _refused(self) -> None:
        """The wish for a WebSocket is not granted: what came after it are requests."""
        self._early = None
        for head in self._requests.heads:
            self._head = head
            self._responses.expect(head.method)
        self._requests.heads.clear()
        if not self._requests.is_http:
            self._kind = OPAQUE

    def _became_raw(self) -> None:
        self.is_raw()
        self._hub.register(self)

    def is_raw(self) -> None:
        """No HTTP is spoken on it, but a protocol of the program's own."""
        self._kind = Kind.RAW
        if self.streams:
            self._unread += (self._requests.partial or b"")[self._read_early :]
        self.note()

    def _upgraded(self, rest: bytes) -> None:
        head = self._responses.head
        if (
            self._early is None
            or head is None
            or head.status != 101
            or head.header(b"sec-websocket-extensions")
        ):
            self._kind = OPAQUE
            return
        self._kind = Kind.WEBSOCKET
        self._client, self._server_frames = ClientFrames(), ServerFrames()
        self._client.feed(bytes(self._early))
        self._server_frames.feed(rest)
        self._session = recognise(self._head, head) if self._head is not None else None
        if self._session is not None:
            self._session.answered(rest)
        self._early = None
        self._last = self._before_last = b""
        self._opened = time.monotonic()
        self.note()
        if self.replay is None:  # else the parent has known of it since its own first answer
            self._hub.register(self)

    def _follow_session(self, session: Session, messages: int) -> None:
        """A session inside of the stream goes on by these messages, which a handler takes."""
        assert self._client is not None
        taken = [item.raw for item in self._client.pending if item.kind == "message"][:messages]
        news = sum(session.sent(raw) for raw in taken)  # all of them, unlike any()
        if news and self.replay is None:  # else the handshake is played to new code, and known better
            self._hub.register(self)
        if not session.name:
            self._session = None  # its first message has told: there is none


def _without_extensions(data: bytes, head: bytes) -> tuple[bytes, bytes]:
    """Leave the wish for extensions out of ``head``, and return all that is to pass and what is behind it.

    Where more of it has passed already than the three bytes in which no GET can be seen yet, the wish may be
    out: with extensions the connection is not handed over.
    """
    for passed in range(len(head)):
        left = head[passed:]
        start = data.find(left) if not passed else 0 if data.startswith(left) else -1
        if start >= 0:
            rest = data[start + len(left) :]
            return (data[:start] + without_header(head, WISH)[passed:] + rest if passed < 4 else data), rest
    return data, b""
