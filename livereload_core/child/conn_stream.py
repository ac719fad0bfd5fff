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
import time
from typing import TYPE_CHECKING, Any

from livereload_core.child.conn_direct import Direct
from livereload_core.child.conn_forwarding import Forwarding, learn_names
from livereload_core.child.conn_lane import (
    AN_ANSWER,
    LAST_REQUESTS,
    OUTSIDE,
    REQUESTS,
    Lane,
    lane,
    learn_answer,
    learn_last_request,
    learn_request,
)
from livereload_core.framing.http1 import RequestFramer, RequestHead, ResponseFramer, without_header
from livereload_core.framing.sessions import Session, recognise
from livereload_core.framing.websocket import ClientFrames, ServerFrames
from livereload_core.state.connection import Connection, current
from livereload_core.wire.links import BROKEN, CLEAN, ENDS, LOSES, Kind

if TYPE_CHECKING:
    from livereload_core.child.conn_marks import Marks
    from livereload_core.child.conn_replay import Reentry, Replay

__all__ = ["OPAQUE", "WISH", "Stream"]

OPAQUE = "opaque"  # HTTP/2, TLS inside of the stream, extensions, garbage: served, never handed over
WISH = b"sec-websocket-extensions"
"""The header that is left out of requests for a WebSocket."""
_ZEROS = memoryview(bytes(64 * 1024))
_HTTP = Kind.HTTP
_NOWHERE = memoryview(bytearray(1))
_UNCOUNTED = memoryview(bytearray(8)).cast("q")
_NO_CONTEXT = contextvars.Context()
_DRAINED = 0.05
"""Seconds between two looks at whether a slow client has caught up."""


class Stream(asyncio.Protocol, Forwarding):
    """See the head of the module. Made by a server's protocol factory, in the loop's thread."""

    __slots__ = (
        "__weakref__",
        "_before_last",
        "_client",
        "_connection",
        "_context",
        "_count",
        "_early",
        "_early_number",
        "_eof",
        "_events",
        "_farewell",
        "_final",
        "_has_read",
        "_head",
        "_held",
        "_held_head",
        "_holding",
        "_hub",
        "_in_hand",
        "_kind",
        "_lane",
        "_last",
        "_looking",
        "_lost",
        "_mark",
        "_marks",
        "_opened",
        "_paused",
        "_read_early",
        "_received",
        "_requests",
        "_responses",
        "_send",
        "_server_frames",
        "_session",
        "_unheard",
        "_unread",
        "_unsent",
        "data_received",
        "gate",
        "generation",
        "is_closing",
        "mark",
        "moved",
        "number",
        "reading",
        "receiving",
        "replay",
        "resumed",
        "streams",
        "vaulted",
        "working",
        "write",
        "writelines",
    )

    def __init__(self, hub: Any, protocol: asyncio.BaseProtocol, number: int) -> None:
        super().__init__()
        self.number = number
        self.generation = hub.generation
        self.resumed = False
        self.vaulted = False
        self.replay: Replay | Reentry | None = None
        self.moved = False
        self.gate = ""
        self.streams = False
        self.reading = 0
        self.receiving = 0
        self.working = 0
        self._hub = hub  # child.conn_hub.Connections
        self._transport = None
        self._send: Any = None
        self._kind = Kind.HTTP
        self._requests = RequestFramer()
        self._responses = ResponseFramer()
        self._head: RequestHead | None = None
        self._early: bytearray | None = None
        self._early_number = 0
        self._client: ClientFrames | None = None
        self._server_frames: ServerFrames | None = None
        self._session: Session | None = None
        self._connection: Connection | None = None
        self._context = _NO_CONTEXT
        self._holding = False
        self._held: list[bytes] = []
        self._held_head = b""
        self._eof = False
        self._farewell = False
        self._paused = False
        self._lost = False
        self._last: Any = b""
        self._before_last: Any = b""
        self._unsent: list[bytes] = []
        self._looking = False
        self._unheard = True
        self._final = False
        self._unread = bytearray()
        self._has_read = False
        self._in_hand = False
        self._read_early = 0
        self.mark = -1
        self._mark = _NOWHERE
        self._count = _UNCOUNTED
        self._marks: Marks | None = None
        self._lane: Lane | None = None
        self._events = False
        self._opened = 0.0
        # Called for every piece that passes; a lane takes their places once it is known what repeats.
        self.data_received = self._data_received  # type: ignore[method-assign]
        self.write = self._write  # type: ignore[method-assign]
        self.writelines = self._writelines  # type: ignore[method-assign]
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

    def _knows(self, data: bytes) -> bool:
        """Deliver the first words of a client, if they are known and nothing has to be followed."""
        if self._hub.watching or self.replay is not None or self.resumed or self._last:
            return False  # somebody watches, it is not new, or the server has spoken first
        if data in REQUESTS:
            self._enter_lane()
            if self._lane is None:
                return False
            self._lane.received(data)
            return True
        if data not in LAST_REQUESTS:
            return False
        # The answer is the last thing on it: it is under way until the server closes, and goes nowhere.
        self._final = True
        self._mark[0] = ENDS
        self._count[0] += len(data)
        self.write = self._send  # type: ignore[method-assign]
        self.writelines = self._transport.writelines  # type: ignore[method-assign]
        self._received(data)
        return True

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
        # nothing of a connection that has ended waits for the collector
        self._lane = None
        self._context = _NO_CONTEXT
        self.data_received = _nothing  # type: ignore[method-assign]
        self.write = self._transport.write  # type: ignore[method-assign]
        self.writelines = self._transport.writelines  # type: ignore[method-assign]

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
            learn_last_request(asked, head)
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

    def _enter_lane(self) -> None:
        """Nothing is under way, and nobody watches."""
        if self._lane is None:
            if isinstance(self._protocol, asyncio.BufferedProtocol):
                return
            # Connections of uvloop share one context, and a variable that changes with each request is dear.
            self._lane = lane(
                self._context.run,
                self._received,
                self._data_received,
                self._send,
                self._write,
                Direct.of(self._transport),
                self._look_later,
                self._mark,
                self._count,
                self._transport.writelines,
                self._hub.heads(),
            )
            self.data_received = self._lane.received  # type: ignore[method-assign, assignment]
            self.write = self._lane.write  # type: ignore[method-assign, assignment]
            self.writelines = self._lane.writelines  # type: ignore[method-assign, assignment]
            self._transport.set_protocol(self)  # uvloop remembers the method
        self._lane.enter()

    def _close_lane(self) -> None:
        """No more HTTP is spoken, or to somebody else."""
        if self._lane is not None:
            self.unfold()
            self._lane = None
            self.data_received = self._data_received  # type: ignore[method-assign]
            self.write = self._write  # type: ignore[method-assign]
            self.writelines = self._writelines  # type: ignore[method-assign]
            self._transport.set_protocol(self)

    @property
    def owes(self) -> bool | None:
        """Whether an answer is owed, as the fast lane knows it; None outside of it."""
        owed = OUTSIDE if self._lane is None else self._lane.owes()
        return None if owed == OUTSIDE else owed != 0

    def unfold(self) -> None:
        """Leave the fast lane: let the framers see what passed by."""
        if self._lane is None:
            return
        passed = self._lane.leave()
        if passed.owed == OUTSIDE:
            return
        self._before_last, self._last = b"", passed.last
        if not passed.owed:
            return
        self._requests.feed(passed.request)
        self._head = head = self._requests.heads.popleft()
        self._responses.expect(head.method)
        if passed.owed != AN_ANSWER:
            self._responses.feed(passed.head)
            self._count_sent(passed.length - passed.owed)

    def _count_sent(self, count: int) -> None:
        """Let the framer see so many bytes of a body, of which only the number matters."""
        while count > 0:
            self._responses.feed(_ZEROS[:count])
            count -= len(_ZEROS)

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

    # -- following what passes -----------------------------------------------------------------------------

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
            if before_it > 0:
                self._received(split[:before_it])
            return
        self._held_head = b""
        self._received(split)

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
        if sum(session.sent(raw) for raw in taken):  # all of them, unlike any()
            self._hub.register(self)
        if not session.name:
            self._session = None  # its first message has told: there is none

    def _remember(self, data: Any) -> None:
        """Keep what the kernel may not have taken: the last bytes that were written."""
        size = self._transport.get_write_buffer_size()
        if not size:
            if self._unsent:
                self._unsent = []
                self.note()
            return
        if not self._unsent:
            self._mark[0] = ENDS
            self._look_later()
        unsent = self._unsent
        unsent.append(bytes(data))
        total = sum(map(len, unsent))
        while total - len(unsent[0]) >= size:
            total -= len(unsent.pop(0))

    def _look_later(self) -> None:
        """No loop tells when the last byte is out: look for it."""
        if not self._looking:
            self._looking = True
            asyncio.get_running_loop().call_later(_DRAINED, self._look_whether_sent)

    def _look_whether_sent(self) -> None:
        self._looking = False
        if self._lost or self.moved:
            return
        if self._transport.get_write_buffer_size():
            self._look_later()
        else:
            self._unsent = []
            if self._lane is not None:
                self._lane.looked()
            self.note()

    def note(self) -> None:
        """Mark what would be lost if this process were killed now."""
        if self.replay is not None:
            return  # what it has brought along, and nobody has yet, is marked until it goes on
        if self._unsent or self._kind is OPAQUE:
            mark = ENDS
        elif self._held:
            mark = self._lost_with_held(self._kind)
        elif self._client is not None:
            loses = self._in_hand or self._client.pending
            mark = BROKEN if self._client.unfinished else LOSES if loses else CLEAN
        elif self._kind is Kind.RAW:
            mark = LOSES if self._in_hand or self._unread else CLEAN
        elif self._events:
            mark = CLEAN if self._events_can_go_on() else ENDS
        else:
            owed = self.owes
            if owed is None:
                requests, responses = self._requests, self._responses
                owed = requests.begun > responses.finished or self._early is not None or responses.closes
                owed = owed or self._final
            mark = ENDS if owed or self._looking else CLEAN
        self._mark[0] = mark

    def _lost_with_held(self, kind: str) -> int:
        """What a death would leave of a connection whose client has said what is not delivered."""
        if self._unsent or kind not in (Kind.RAW, Kind.WEBSOCKET):
            return ENDS
        # It is not looked at before it is delivered: a frame may begin in it.
        return LOSES if kind == Kind.RAW else BROKEN

    def _events_can_go_on(self) -> bool:
        """Whether others can send the next event; notes the id behind which it would be."""
        responses = self._responses
        if not (responses.at_boundary and responses.at_event_boundary):
            return False
        name = responses.last_event_id
        # without one its client takes what comes; an empty one says to forget what it had asked for
        return name is None or (
            name != b"" and self._marks is not None and self._marks.note_id(self.mark, name)
        )

    def give_mark(self, offset: int, marks: Marks) -> None:
        """Write what is under way to this place from now on."""
        self.mark = offset
        self._marks = marks
        self._mark, self._count = marks.at(offset), marks.count(offset) if offset >= 0 else _UNCOUNTED
        if self._lane is not None:
            self._lane.mark(self._mark, self._count)
        self.note()

    def count_from(self, received: int | None) -> None:
        """So many bytes of the client's have come before there was a mark; None: nobody can tell."""
        self._count[0] = received or 0
        if self._lane is not None:
            self._lane.mark(self._mark, self._count)

    def lose_mark(self) -> None:
        """Write to it no more: it is another generation's."""
        self._marks, self._mark, self._count = None, _NOWHERE, _UNCOUNTED
        if self._lane is not None:
            self._lane.mark(_NOWHERE, _UNCOUNTED)

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


def _without_extensions(data: bytes, head: bytes) -> tuple[bytes, bytes]:
    """Leave the wish for extensions out of ``head``, and return all that is to pass and what is behind it.

    At most the three bytes in which no GET can be seen yet have passed before ``data``.
    """
    for passed in range(4):
        start = data.find(head[passed:])
        if start == 0 or (start > 0 and not passed):
            rest = data[start + len(head) - passed :]
            return data[:start] + without_header(head, WISH)[passed:] + rest, rest
    return data, b""  # as it came: with extensions it is not handed over
