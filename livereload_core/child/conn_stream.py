"""One connection of a server: a shim between the loop's transport and the server's protocol.

            loop's transport  ◀─────────  Stream ──────────▶  server's protocol
            (asyncio, uvloop)    writes     │      received   (uvicorn, aiohttp, websockets, streams, the
            user's)
                                            └─ counts framing as bytes pass

Towards the loop it is a Protocol, towards the server a Transport. No byte is changed, save that a client's
wish for WebSocket extensions is left out: a compression context could not be handed over.

How a connection is held, judged and handed over is in ``child.conn_link``, whose ``Link`` is what servers
get.

Invariants:
    * What passes while nothing is held passes at once: nothing is queued here, save the head of a request
      that may ask for a WebSocket until it is whole.
"""

from __future__ import annotations

import asyncio
import contextvars
from typing import TYPE_CHECKING, Any

from livereload_core.child.conn_arrival import learn_protocol
from livereload_core.child.conn_following import WISH
from livereload_core.child.conn_forwarding import learn_names
from livereload_core.child.conn_lane import learn_answer, learn_last_request, learn_request
from livereload_core.child.conn_laned import NO_CONTEXT, Laned
from livereload_core.child.conn_marking import OPAQUE
from livereload_core.state.connection import Connection, current
from livereload_core.wire.links import ENDS, LOSES, Kind

if TYPE_CHECKING:
    from livereload_core.child.conn_replay import Reentry, Replay

__all__ = ["OPAQUE", "WISH", "Stream"]

_HTTP = Kind.HTTP


class Stream(asyncio.Protocol, Laned):
    """See the head of the module. Made by a server's protocol factory, in the loop's thread."""

    __slots__ = (
        "__weakref__",
        "_connection",
        "_eof",
        "_events",
        "_farewell",
        "_has_read",
        "_held",
        "_holding",
        "_hub",
        "_in_hand",
        "_lost",
        "_paused",
        "_received",
        "_unheard",
        "data_received",
        "gate",
        "generation",
        "is_closing",
        "moved",
        "number",
        "reading",
        "receiving",
        "replay",
        "vaulted",
        "working",
        "write",
        "writelines",
    )

    def __init__(self, hub: Any, protocol: asyncio.BaseProtocol, number: int) -> None:
        super().__init__()
        self.number = number
        self.generation = hub.generation
        self.vaulted = False
        self.replay: Replay | Reentry | None = None
        self.moved = False
        self.gate = ""
        self.reading = 0
        self.receiving = 0
        self.working = 0
        self._hub = hub  # child.conn_hub.Connections
        self._transport = None
        self._connection: Connection | None = None
        self._holding = False
        self._held: list[bytes] = []
        self._eof = False
        self._farewell = False
        self._paused = False
        self._lost = False
        self._unheard = True
        self._has_read = False
        self._in_hand = False
        self._events = False
        self.set_protocol(protocol)

    # -- towards the loop: a protocol ------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The loop's transport is there."""
        self._transport = transport
        self._send = transport.write  # type: ignore[attr-defined]
        learn_names(Stream, transport)
        # Servers ask it several times for each request: the loop's own method answers, without us between.
        self.is_closing = transport.is_closing  # type: ignore[method-assign]
        current.set(self)
        self._context = contextvars.copy_context()
        self._hub.enter(self)
        self._protocol.connection_made(self)
        if self.replay is not None:
            self.replay.begin()

    def _data_received(self, data: bytes) -> None:
        """The client has sent something."""
        if self._holding:
            if not self._farewell:
                self._held.append(data)
                self._mark[0] = max(self._mark[0], self._lost_with_held(self._kind))
                self._count[0] += len(data)
            return
        if current.get(None) is not self:
            current.set(self)
        if self._kind is _HTTP:
            if self._unheard:
                self._unheard = False
                if self._knows(data):
                    return
            elif self._lane is not None:
                self.unfold()
            self._mark[0] = ENDS
            self._count[0] += len(data)
            requests = self._requests
            requests.feed(data)
            heads = requests.heads
            if (
                len(heads) == 1
                and self._early is None
                and not self._held_head
                and not heads[0].wants_websocket
            ):
                self._head = head = heads.popleft()
                self._responses.expect(head.method)
                learn_request(data, head)
            elif heads or self._early is not None or not requests.head_complete:
                self._received_slowly(data)
                return
        else:
            if self._client is not None:
                self._client.feed(data)
                self.note()
            elif self._kind is Kind.RAW and self.streams:
                self._unread += data
                self._mark[0] = LOSES
            self._count[0] += len(data)
        self._received(data)

    def eof_received(self) -> bool | None:
        """The client will send nothing more."""
        if self._farewell:
            return None
        if self._holding or self.replay is not None:
            self._eof = True  # comes again, to whoever goes on
            return True
        received: bool | None = self._protocol.eof_received()
        return received

    def pause_writing(self) -> None:
        """The client reads slower than the server writes."""
        self._paused = True
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        """It has caught up."""
        self._paused = False
        self._protocol.resume_writing()
        if self._hub.watching:
            self._hub.looked_at(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """The end, from whichever side."""
        if self._lost:
            return
        self._lost = True
        self.wake()
        self._hub.leave(self)
        replay, self.replay = self.replay, None
        if replay is not None:
            replay.left()
        self._protocol.connection_lost(exc)
        # Nothing of a connection that has ended waits for the collector: the tasks of its handlers, which its
        # protocol may know, have it in their contexts.
        self._protocol, self._received = _NOBODY, _nothing
        self._lane = None
        self._context = NO_CONTEXT
        self.data_received = _nothing  # type: ignore[method-assign]
        self.write = self._transport.write
        self.writelines = self._transport.writelines

    # -- towards the server: a transport ---------------------------------------------------------------

    def _write(self, data: Any) -> None:
        """Send, and keep count of what is out."""
        if self.replay is not None:
            self.replay.written(bytes(data))
            return
        if self._kind is _HTTP:
            self._written(data)
        elif self._server_frames is not None:
            assert self._client is not None
            pongs = self._server_frames.feed(data)
            for payload in pongs:
                self._client.answered(payload)
            if pongs:
                self.note()
            if self._session is not None and self._session.answered(bytes(data)):
                self._hub.register(self)
        watching = self._hub.watching
        if watching:
            self._hub.speaks()
        self._send(data)
        if self._kind is _HTTP and not self._events:
            self._before_last, self._last = self._last, data
            if data and not self._responses.mid:
                self._note_answered()
        else:
            self._remember(data)
            if self._events:
                self.note()
        if watching:
            self._hub.looked_at(self)

    def _written(self, data: Any) -> None:
        """Follow an answer byte by byte."""
        if not data:
            return
        if self._lane is not None:
            self.unfold()
        responses = self._responses
        belongs = responses.feed(data)
        if responses.upgraded:
            self._upgraded(bytes(data[belongs:]))
            return
        if not responses.is_http:
            self._became_raw()
            return
        head = responses.head
        if head is None:
            return
        if self._early is not None and responses.begun >= self._early_number:
            self._refused()
        if responses.mid:
            if head.is_event_stream and not self._events:
                self._events = True
                self._hub.register(self)
            if self._events:
                self._mark[0] = ENDS  # until it is out
            return
        if self._events:
            self._events = False
            self._hub.register(self)  # or its request would be played to the next generation
        asked = self._head
        if asked is None or self._requests.finished != responses.finished:
            return
        if responses.closes:
            if learn_last_request(asked, head) and not self.streams:
                learn_protocol(self._protocol)
            return
        if self._held_head or self._requests.partial:
            return
        if asked.method not in (b"HEAD", b"CONNECT"):
            learn_answer(head)
        if not self._hub.watching:
            self._enter_lane()

    def _note_answered(self) -> None:
        """An answer is written, and perhaps not out."""
        if self._transport.get_write_buffer_size():
            self._look_later()
        else:
            self.note()

    def write_eof(self) -> None:
        """Close the sending half."""
        self.unfold()
        self._kind = OPAQUE
        self._transport.write_eof()

    def close(self) -> None:
        """Close once everything is out."""
        if self.replay is not None:
            self.replay.closed()
        else:
            self.unfold()
            self._transport.close()

    def abort(self) -> None:
        """Close at once."""
        if self.replay is not None:
            self.replay.closed()
        else:
            self.unfold()
            self._transport.abort()

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """The server changes its protocol (uvicorn does it for WebSocket)."""
        self._close_lane()
        self._protocol = protocol
        self._received: Any = (
            self._fill_buffers if isinstance(protocol, asyncio.BufferedProtocol) else protocol.data_received  # type: ignore[attr-defined]
        )

    def __repr__(self) -> str:
        return f"<connection {self.number}, {self._kind}, of {self._transport!r}>"

    # -- for the program, and for the gates --------------------------------------------------------------

    @property
    def connection(self) -> Connection:
        """What ``connection()`` returns in the handlers of this connection."""
        if self._connection is None:
            self._connection = Connection(
                resumed=self.resumed,
                generation=self.generation,
                keep=lambda: self._hub.states.setdefault(self.number, {}),
            )
        return self._connection

    @property
    def kind(self) -> str:
        """What is spoken on it."""
        return self._kind

    @property
    def loop_transport(self) -> Any:
        """The loop's own transport, for what needs it (sendfile, TLS)."""
        if self._lane is not None:
            self._lane.flush()
        return self._transport

    @property
    def holding(self) -> bool:
        """Whether a reload is under way and nothing new is given to the handler."""
        return self._holding

    def taken(self, messages: int = 1) -> None:
        """A handler has taken whole messages of a WebSocket."""
        if self._client is not None:
            if self._session is not None:
                self._follow_session(self._session, messages)
            self._client.take(messages)
            self._in_hand = True
            self.note()

    def asks(self) -> None:
        """A handler begins to receive: what it had taken before it has dealt with."""
        if self._in_hand:
            self._in_hand = False
            self.note()

    def taken_bytes(self, count: int) -> None:
        """A handler has read bytes of a protocol of its own."""
        self._has_read = True
        if self._kind is Kind.RAW:
            del self._unread[:count]
            self._in_hand = count > 0
            self.note()
        else:
            self._read_early += count

    def sent_by_kernel(self, count: int) -> None:
        """Count bytes of a body that left by sendfile()."""
        if self._kind is _HTTP and not self._final:
            self.unfold()
            self._count_sent(count)

    def becomes_opaque(self) -> None:
        """Its bytes cannot be followed any more (TLS inside of the stream)."""
        self._kind = OPAQUE
        self.note()

    def wake(self) -> None:
        """Let handlers go that are kept from receiving."""

    def _fill_buffers(self, data: bytes) -> None:
        """Feed a BufferedProtocol."""
        view = memoryview(data)
        while view:
            buffer = memoryview(self._protocol.get_buffer(len(view)))
            if not len(buffer):
                raise RuntimeError("get_buffer() returned an empty buffer")
            count = min(len(buffer), len(view))
            buffer[:count] = view[:count]
            self._protocol.buffer_updated(count)
            view = view[count:]


def _nothing(data: object) -> None:
    pass


_NOBODY = asyncio.Protocol()
"""In the place of the protocol of a connection that has ended: hears everything, and does nothing."""
