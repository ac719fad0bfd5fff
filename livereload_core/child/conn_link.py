"""One connection as a reload sees it: held, judged, exported, cut off, or given back.

    passing ──hold──▶ holding ──export──▶ exported ──cut──▶ gone (the next generation has it)
       ▲                 │                    │
       └─────release─────┴────────────────────┘

Invariants:
    * A link that holds gives its protocol nothing new; what comes belongs to whoever goes on.
    * Where :meth:`Link.verdict` (``child.conn_judged``) says that it moves, what :meth:`Link.export` tells,
      followed by the bytes in the socket, is the whole rest of the conversation.
    * After :meth:`Link.cut` nothing reaches the socket any more, whatever the old program does.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import socket
from collections.abc import Iterator
from typing import Any

from livereload_core.child.conn_judged import Judged
from livereload_core.child.conn_stream import WISH
from livereload_core.framing.http1 import RequestHead, ResponseHead, without_header
from livereload_core.framing.sessions import Session
from livereload_core.framing.websocket import close_frame
from livereload_core.posix import epoll
from livereload_core.wire.links import CLEAN, ENDS, Kind
from livereload_core.wire.links import Link as Record

__all__ = ["FAREWELL", "SERVICE_RESTART", "Link"]

FAREWELL = 1.0
"""Seconds in which a client may answer a close frame."""
SERVICE_RESTART = 1012
"""The close code that tells a WebSocket client to connect anew (IANA's registry of close codes)."""


class Link(Judged):
    """See the head of the module."""

    __slots__ = ("_asked", "_fileno", "_local", "_nobodys", "_released", "has_spoken", "told")

    def __init__(self, hub: Any, protocol: asyncio.BaseProtocol, number: int) -> None:
        super().__init__(hub, protocol, number)
        self._nobodys: socket.socket | None = None
        self._released = False
        self._fileno = -1
        self._local: Any = None
        self._asked: tuple[RequestHead | None, bytes] = None, b""
        self.has_spoken = False
        self.told: Record | None = None

    @property
    def holds_messages(self) -> bool:
        """Whether a handler of a WebSocket may take nothing now."""
        # A session inside of the stream is played to its handler while the client's own messages wait.
        return self._holding and self._kind is Kind.WEBSOCKET and self.replay is None

    @property
    def holds_bytes(self) -> bool:
        """Whether a handler of a protocol of its own may take nothing now."""
        return self._holding and self._kind is Kind.RAW

    # -- holding -------------------------------------------------------------------------------------------

    def hold(self) -> None:
        """Give nothing new to the protocol, once what is in flight has its answer."""
        if self._holding or (self.in_flight() and not self._streams_events()):
            return
        self.unfold()
        self._holding = True
        if self._paused and not self._released:
            # Its handler is asleep in send(): let it go on to where it waits for the client. What it writes
            # is carried like everything that the kernel has not taken.
            self._released = True
            self._protocol.resume_writing()

    def release(self) -> None:
        """Go on as if nothing had happened."""
        if not self._holding or self._farewell:
            return
        self._holding = False
        self.wake()
        if self._released:
            self._released = False
            if self._paused:
                self._protocol.pause_writing()
        held, self._held = self._held, []
        if held:
            # At once: were they delivered one by one, the mark would speak of the first and not of the rest.
            data = b"".join(held)
            self._count[0] -= len(data)  # counted when it came, and again now
            self.data_received(data)
            self.note()
        if self._eof:
            self._eof = False
            if not self.eof_received():
                self._transport.close()

    async def park(self) -> None:
        """Keep a handler that wants to receive, while the link holds."""
        while self._holding and not (self._farewell or self._lost or self.moved):
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            self._hub.looked_at(self)
            try:
                await waiter
            finally:
                if waiter in self._waiters:
                    self._waiters.remove(waiter)

    def wake(self) -> None:
        """Let handlers go that are parked."""
        if self._lost and self._nobodys is not None:
            self._nobodys.close()
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    # -- taking over ---------------------------------------------------------------------------------------

    def await_replay(self, record: Record) -> None:
        """Keep what the client sends until the new code is ready for it."""
        self._holding = True
        self._local = record.local
        if record.inbound:
            self._held.append(record.inbound)
        # Nobody else has any more what it brings along.
        self._mark[0] = (
            ENDS if record.outbound else self._lost_with_held(record.kind) if record.inbound else CLEAN
        )

    def replay_request(self, head: bytes) -> None:
        """Give the request, which the client sent to an earlier generation, to the protocol."""
        self._requests.feed(head)
        for request in self._requests.heads:
            self._head = request
            self._asked = request, request.raw  # the wish for extensions was left out when it was recorded
            self._responses.expect(request.method)
            if request.wants_websocket:
                self._early = bytearray()
                self._early_number = 1
        self._requests.heads.clear()
        self._received(head)

    def replay_answer(self, data: bytes) -> ResponseHead | None:
        """Follow the protocol's answer, which the client will not see; return its head once whole."""
        belongs = self._responses.feed(data)
        if self._responses.upgraded:
            self._upgraded(data[belongs:])
        head = self._responses.head
        if head is None or head.status < 101:
            return None
        self._events = self._responses.mid and head.is_event_stream
        return head

    @contextlib.contextmanager
    def at_work(self) -> Iterator[None]:
        """Something runs in here for messages that were taken."""
        self.working += 1
        try:
            yield
        finally:
            self.working -= 1
            if self._hub.watching:
                self._hub.looked_at(self)

    def replay_messages(self, frames: bytes) -> None:
        """Give the protocol what the client sent to an earlier generation."""
        assert self._client is not None
        self._client.feed(frames)
        self._received(frames)

    def replay_answers(self, data: bytes) -> None:
        """Follow the protocol's answers, of which the client sees only some."""
        if self._server_frames is not None:
            self._server_frames.feed(data)

    def goes_on(self, *, outbound: bytes, raw: bool = False, session: Session | None = None) -> None:
        """The new code has it: let out what the old one had said."""
        self._session = session
        if raw:
            self.is_raw()
        self.replay = None
        if self._events:
            self._mark[0] = ENDS  # until it is caught up with, and known behind which event
        if outbound:
            self.pass_on(outbound)
        told = self.told
        if session is not None and told is not None and not session.is_as_in(told.prologue, told.answers):
            self._hub.register(self)

    def pass_on(self, data: bytes) -> None:
        """Send what has been counted already."""
        self._send(data)
        self._remember(data)

    def say_after(self, outbound: bytes, data: bytes) -> None:
        """The server speaks from within connection_made(): its word comes behind ``outbound``."""
        replay, self.replay = self.replay, None
        if outbound and not self.has_spoken:
            self.has_spoken = True
            self.pass_on(outbound)
        self.write(data)
        self.replay = replay

    def catch_up(self) -> None:
        """Give the protocol what the old code had not taken, then what came meanwhile."""
        self.note()
        self.release()

    def decline(self, outbound: bytes) -> None:
        """The new code does not go on: say so in the words of the protocol, behind the old one's last."""
        self.replay = None
        if outbound:
            self._send(outbound)
        opens_websocket = self._head is not None and self._head.wants_websocket
        if opens_websocket and not self._lost:
            self._send(close_frame(SERVICE_RESTART, "service restart"))
            self._say_farewell()
        else:
            self._send = _nowhere
            self._transport.close()

    # -- handing over --------------------------------------------------------------------------------------

    def export(self, state: bytes = b"") -> Record:
        """Tell all that the next generation has to know; changes nothing."""
        self.unfold()
        kind = Kind.EVENTS if self._kind is Kind.HTTP and self._streams_events() else self._kind
        head, answer = self._head, self._responses.head
        opened = kind in (Kind.WEBSOCKET, Kind.EVENTS)
        # What never changes is found out once, most often when the parent is told, and not in the pause.
        if self._local is None:
            self._local = _name(self.get_extra_info("sockname"))
        if opened and head is not None and self._asked[0] is not head:
            self._asked = head, without_header(head.raw, WISH)
        return Record(
            self.number,
            kind,
            self._local,
            request=self._asked[1] if opened else b"",
            response=answer.raw if opened and answer is not None else b"",
            inbound=self._carried() + b"".join(self._held),
            outbound=self._tail() or b"",
            prologue=self._session.prologue if self._session is not None else b"",
            answers=self._session.answers if self._session is not None else b"",
            event_id=self._responses.last_event_id or b"" if kind is Kind.EVENTS else b"",
            generation=self.generation,
            state=state,
            mark=self.mark,
        )

    def is_as_told(self) -> bool:
        """Whether the parent knows already all that another generation has to; ``told`` is what it knows."""
        told, client = self.told, self._client
        if told is None or told.kind != self._kind or self._held or self._transport.get_write_buffer_size():
            return False
        if self._kind is Kind.HTTP:
            return not (self.in_flight() or self._requests.partial)
        if client is None:
            return self._kind is Kind.RAW and not self._unread
        if client.pending or client.unfinished:
            return False
        session = self._session
        return session is None or session.is_as_in(told.prologue, told.answers)

    def _carried(self) -> bytes:
        if self._client is not None:
            return self._client.carried()
        if self._kind is Kind.RAW:
            return bytes(self._unread)
        if self._requests.undecided and self._hub.is_users(self._protocol):
            return (
                self._held_head
            )  # a word of a protocol of the program's own: data_received() has had the rest
        return self._requests.partial or b""

    def cut(self) -> None:
        """The next generation has it: nothing of this one may touch the socket any more."""
        self.moved = True
        self._send = _nowhere
        self.lose_mark()
        self._transport.abort()
        if self._transport.get_write_buffer_size():
            self._keep_unsent_in()
        self.wake()

    def _keep_unsent_in(self) -> None:
        """Let the loop write what it has not written to nobody.

        asyncio forgets it in ``abort()``; uvloop would go on to write until it closes the socket in a turn of
        its own, and the next generation writes it as well.
        """
        fd = self.fileno()
        if fd < 0:
            return
        entries = epoll.take_out(fd)  # or the set would go on to tell of a socket that others keep open
        ours, self._nobodys = socket.socketpair()
        with ours:
            ours.setblocking(False)
            os.dup2(ours.fileno(), fd, inheritable=False)
        # libuv ends the process when an entry that it has made is not there to be changed
        epoll.put_back(dataclasses.replace(entry, inode=os.fstat(fd).st_ino) for entry in entries)

    def close_with_reason(self) -> None:
        """Close it so that the client knows to come again."""
        if self._lost or self.moved:
            return
        self._holding = False
        self.wake()
        server = self._server_frames
        if self._transport.is_closing() or server is None or server.closing or not server.at_boundary:
            self._transport.close()
            return
        self._send(close_frame(SERVICE_RESTART, "service restart"))
        self._say_farewell()

    def _say_farewell(self) -> None:
        """Close after the last word; bytes of the client's that nobody reads would reset it and lose that."""
        self._send = _nowhere
        self._holding = self._farewell = True
        self._mark[0] = ENDS
        transport = self._transport
        if transport.can_write_eof():
            transport.write_eof()
        asyncio.get_running_loop().call_later(FAREWELL, transport.close)

    def fileno(self) -> int:
        """The fd of the socket, -1 when it is closed."""
        if self._lost:
            return -1
        if self._fileno < 0:  # asked once: a loop closes it only after connection_lost()
            sock = self.get_extra_info("socket")
            self._fileno = -1 if sock is None else int(sock.fileno())
        return self._fileno


def _name(sockname: Any) -> Any:
    return tuple(sockname) if isinstance(sockname, (tuple, list)) else os.fsdecode(sockname or "")


def _nowhere(data: Any) -> None:
    pass
