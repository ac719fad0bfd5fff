"""Taking connections over: a fresh protocol of the new code on an old socket.

To the handler it is as after a reconnect that the client has not noticed::

    WebSocket, events   the recorded request is given to the new protocol; the head of its answer must agree
                        with the one that the client has, and is swallowed. Then the bytes flow.
    HTTP, raw           nothing is replayed: the new protocol goes on with what the old one had not read.

Invariants:
    * Nothing is read from or written to a socket before COMMIT.
    * Before anything of the new code reaches the client, what the old code wrote and the kernel had not taken
      is out; before anything new reaches the new code, what the old one had not taken is in.
    * Each connection is settled once: it goes on, or it is closed and counted with the reason.
"""

from __future__ import annotations

import asyncio
import collections
import gc
import os
import select
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from livereload_core.child import conn_state
from livereload_core.child.conn_link import FAREWELL, SERVICE_RESTART, Link
from livereload_core.errors import ProtocolViolationError
from livereload_core.framing.http1 import RequestHead, ResponseHead, with_header
from livereload_core.framing.sessions import Rehearsal, Session, recognise
from livereload_core.framing.websocket import close_frame
from livereload_core.posix import memfd
from livereload_core.wire import links as wire_links
from livereload_core.wire import messages as wire
from livereload_core.wire.links import Kind
from livereload_core.wire.links import Link as Record

if TYPE_CHECKING:
    from livereload_core.child.conn_hub import Connections, Server

__all__ = ["Adopter", "Reentry", "Replay"]

PATIENCE = 5.0
"""Seconds that the new code may take to answer a replayed handshake."""
LATE_SERVER = 2.0
"""Seconds after COMMIT in which the program may still open the server of a connection."""
BATCH = 20
"""Connections that are begun in one turn of the loop: what is there already is served between two turns."""

_NO_SERVER = "the new code has no server there that livecore knows"


class Reentry:
    """What a connection goes through on which nothing is replayed."""

    def __init__(self, link: Link, record: Record, settled: Callable[[str], None]) -> None:
        self._link = link
        self._record = record
        self._settled = settled

    def begin(self) -> None:
        """The protocol has its transport: go on."""
        record, link = self._record, self._link
        link.goes_on(outbound=b"" if link.has_spoken else record.outbound, raw=record.kind == Kind.RAW)
        link.catch_up(record.inbound)
        self._settled("")

    def written(self, data: bytes) -> None:
        """The server speaks first: behind what its predecessor had said."""
        self._link.say_after(self._record.outbound, data)

    def closed(self) -> None:
        """The new code closes it at once."""
        self._settled("the new code closed it at once")


class Replay:
    """A handshake that the client has behind it, played to new code; then that of a session inside of it.

    Attributes:
        session: the session inside of the stream, as the client knows it; None where nothing can be.
        ids: the names that the old code had given in its session, of which the new one has taken none yet.

    Args:
        link: holds what the client sends meanwhile.
        record: what the old generation told.
        settled: called once, with ``""`` or the reason why the new code does not go on.
    """

    def __init__(self, link: Link, record: Record, settled: Callable[[str], None]) -> None:
        self._link = link
        self._record = record
        self._settled = settled
        self._answer = b""
        self._timer: asyncio.TimerHandle | None = None
        self.session = _session_of(record)
        self.ids = self.session.ids() if self.session is not None else []
        self._rehearsal: Rehearsal | None = None
        self._seen = b""

    def begin(self) -> None:
        """The protocol has its transport: give it the request."""
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(
            PATIENCE, self._decline, "the new code did not answer the handshake in time"
        )
        head = self._record.request
        if self._record.kind == Kind.EVENTS and self._record.event_id:
            head = with_header(head, b"Last-Event-ID", self._record.event_id)
        try:
            self._link.replay_request(head)
        except Exception as error:
            self._decline(f"the new code failed: {type(error).__name__}: {error}")
            raise  # the loop logs it

    def written(self, data: bytes) -> None:
        """The new protocol answers: compare, and swallow the head."""
        if self._rehearsal is not None:
            self._link.replay_answers(data)
            self._rehearsed(self._rehearsal, data)
            return
        self._answer += data
        head = self._link.replay_answer(data)
        if head is None:
            if len(self._answer) > 64 * 1024:
                self._decline("the new code answers with something else")
            return
        reason = self._differs(head)
        if reason:
            self._decline(reason)
            return
        rest = self._answer[self._answer.index(head.raw) + len(head.raw) :]
        session, record = self.session, self._record
        if session is not None and session.loses and not self._link.has_chosen:
            self._decline(f"its {session.name} session is unknown to the new code")
        elif session is not None and record.answers:
            self._rehearsal = Rehearsal(session)
            self._rehearsed(self._rehearsal, rest)
            if self._link.replay is self:  # in a turn of its own, as below
                asyncio.get_running_loop().call_soon(self._link.replay_messages, record.prologue)
        else:
            self._go_on(rest)

    def _rehearsed(self, rehearsal: Rehearsal, data: bytes) -> None:
        """The new code goes through the session's own handshake."""
        seen, reason = rehearsal.answers(data)
        self._seen += seen
        if reason:
            self._decline(reason)
        elif rehearsal.is_over:
            self._go_on(self._seen)

    def _go_on(self, rest: bytes) -> None:
        if self._timer is not None:
            self._timer.cancel()
        record, link, session = self._record, self._link, self.session
        link.goes_on(outbound=record.outbound, session=session)
        if session is not None and session.greeting:
            link.replay_answers(session.greeting)
            link.pass_on(session.greeting)
        if rest:
            link.pass_on(rest)
        # in a turn of its own: the new protocol is in the midst of its answer
        asyncio.get_running_loop().call_soon(link.catch_up, record.inbound)
        self._settled("")

    def closed(self) -> None:
        """The new protocol closes the connection instead of answering."""
        self._decline("the new code closed it")

    def _differs(self, head: ResponseHead) -> str:
        before = ResponseHead.parse(self._record.response)
        if before is None:
            return "its handshake is not known"
        if head.status != before.status:
            return f"the new code answers with status {head.status}"
        names: tuple[bytes, ...] = (
            b"sec-websocket-accept",
            b"sec-websocket-protocol",
            b"sec-websocket-extensions",
        )
        if self._record.kind == Kind.EVENTS:
            if not head.is_event_stream:
                return "the new code does not answer with a stream of events"
            names = (b"transfer-encoding", b"content-encoding", b"content-length")
        for name in names:
            if head.header(name) != before.header(name):
                return f"the new code answers with another {name.decode()}"
        return ""

    def _decline(self, reason: str) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._link.replay is self:
            self._link.decline(self._record.outbound)
            self._settled(reason)


def _session_of(record: Record) -> Session | None:
    request, response = RequestHead.parse(record.request), ResponseHead.parse(record.response)
    if record.kind != Kind.WEBSOCKET or request is None or response is None:
        return None
    session = recognise(request, response)
    session.restore(record.prologue, record.answers)
    return session


class Adopter:
    """Takes connections over for one generation.

    Args:
        hub: where they go.
        send: tells the parent what became of them.
    """

    def __init__(self, hub: Connections, send: Callable[[wire.Message], None]) -> None:
        self._hub = hub
        self._send = send
        self._ahead: dict[int, tuple[Record, socket.socket]] = {}
        self._expected: list[tuple[Record, socket.socket]] = []
        self._as_told: set[int] = set()
        self._table: tuple[int, dict[int, Record]] | None = None
        self._collects = False
        self._homeless: list[tuple[Record, socket.socket]] = []
        self._open = 0
        self._adopted = 0
        self._declined: collections.Counter[str] = collections.Counter()
        self._since = 0.0
        self._tasks: set[asyncio.Task[Any]] = set()
        hub.on_server = self._server_opened

    def prepare(self, numbers: Sequence[int], fds: Sequence[int]) -> None:
        """Note what may have to be adopted; from whatever thread. Owns all fds, the first is a table."""
        try:
            table = wire_links.unpack(memfd.read(fds[0]))
        finally:
            os.close(fds[0])
        for number, fd in zip(numbers, fds[1:], strict=True):
            os.set_inheritable(fd, False)
            self._ahead[number] = table[number], socket.socket(fileno=fd)
            self._hub.waiting.add(fd)

    def expect(
        self,
        numbers: Sequence[int],
        fds: Sequence[int],
        *,
        facts: Sequence[dict[str, Any]] = (),
        known: Iterable[int] = (),
    ) -> None:
        """Note what the parent announces; from whatever thread.

        Args:
            numbers: of connections.
            fds: a table in which the generation before tells of those of which there is news, then one for
                each of ``numbers``. Ours from now on.
            facts: what the parent knows of each of ``numbers``; empty where the table tells of all.
            known: numbers of further ones, which have been prepared.
        """
        table = self._read(fds[0])
        for at, (number, fd) in enumerate(zip(numbers, fds[1:], strict=True)):
            os.set_inheritable(fd, False)
            record = table.get(number)
            if record is None and facts:
                record = wire_links.from_json(number, facts[at])
                self._as_told.add(number)
            if record is None:
                raise ProtocolViolationError(f"nothing is told of connection {number}")
            self._expected.append((record, socket.socket(fileno=fd)))
            self._hub.waiting.add(fd)
        for number in known:
            record, sock = self._ahead.pop(number)
            if number not in table:
                self._as_told.add(number)
            self._expected.append((table.get(number, record), sock))

    def _forget_ahead(self) -> None:
        """What was prepared and not announced has ended, or stays with the generation before."""
        ahead, self._ahead = self._ahead, {}
        for _, sock in ahead.values():
            self._close(sock)

    def _close(self, sock: socket.socket) -> None:
        self._hub.waiting.discard(sock.fileno())
        sock.close()

    def _read(self, fd: int) -> dict[int, Record]:
        """Return the table behind ``fd``: all messages of one hand-over come with the same one."""
        if self._table is not None and os.path.sameopenfile(self._table[0], fd):
            os.close(fd)
            return self._table[1]
        self._forget_table()
        try:
            table = wire_links.unpack(memfd.read(fd))
        except BaseException:
            os.close(fd)
            raise
        self._table = fd, table  # open, so that no other file can look like it
        return table

    def _forget_table(self) -> None:
        if self._table is not None:
            os.close(self._table[0])
            self._table = None

    def decline_all(self, reason: str) -> None:
        """There is no loop to serve them in."""
        expected, self._expected = self._expected, []
        self._forget_table()
        self._forget_ahead()
        for record, sock in expected:
            self._close(sock)
            self._send(wire.Ended((record.number,)))
        if expected:
            self._send(wire.Settled(0, {reason: len(expected)}, 0.0))

    def begin(self) -> None:
        """COMMIT, in the thread of the loop: take over what was announced."""
        expected, self._expected = self._expected, []
        self._forget_table()
        self._forget_ahead()
        if not expected:
            return
        self._since = self._since or time.monotonic()
        if not self._open and gc.isenabled():
            # All that is made here stays; to look through it again and again finds nothing.
            self._collects = True
            gc.disable()
        self._open += len(expected)
        self._begin_batches(_who_waits_first(expected))

    def _begin_batches(self, expected: list[tuple[Record, socket.socket]]) -> None:
        for record, sock in expected[:BATCH]:
            server = next((server for server in self._hub.servers if server.serves(record.local)), None)
            if server is not None:
                self._take(record, sock, server)
                continue
            if not self._homeless:
                asyncio.get_running_loop().call_later(LATE_SERVER, self._give_up)
            self._homeless.append((record, sock))
        if expected[BATCH:]:
            asyncio.get_running_loop().call_soon(self._begin_batches, expected[BATCH:])

    def _server_opened(self, server: Server) -> None:
        homeless, self._homeless = self._homeless, []
        for record, sock in homeless:
            if server.serves(record.local):
                self._take(record, sock, server)
            else:
                self._homeless.append((record, sock))

    def _give_up(self) -> None:
        homeless, self._homeless = self._homeless, []
        for record, sock in homeless:
            self._end(record, sock)
            self._settle(_NO_SERVER)

    def _take(self, record: Record, sock: socket.socket, server: Server) -> None:
        self._hub.waiting.discard(sock.fileno())
        if record.policy == "close":
            self._say_goodbye(record, sock)
            return
        if _has_left(sock):
            self._end(record, sock)
            self._settle("the client had left")
            return
        try:
            link = self._link(record, server)
            sock.setblocking(False)
            connecting = server.loop.create_task(server.loop.connect_accepted_socket(lambda: link, sock))
        except Exception as error:  # the new code's own factory fails: counted with its reason
            self._end(record, sock)
            self._settle(f"the new code failed: {type(error).__name__}: {error}")
            return
        self._tasks.add(connecting)
        connecting.add_done_callback(lambda task: self._connected(task, record, sock))

    def _say_goodbye(self, record: Record, sock: socket.socket) -> None:
        """Half of a frame is gone with the process that had read it: nobody can go on behind it."""
        try:
            if record.kind == Kind.WEBSOCKET:
                sock.setblocking(False)
                sock.send(close_frame(SERVICE_RESTART, "service restart"))
            sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # the client was faster
        asyncio.get_running_loop().call_later(FAREWELL, self._end, record, sock)
        self._settle("half of a message was lost with the process that died")

    def _link(self, record: Record, server: Server) -> Link:
        link = Link(self._hub, server.factory(), record.number)
        link.vaulted = link.resumed = True
        if record.number in self._as_told:
            self._as_told.discard(record.number)
            link.told = record
        else:
            self._hub.refresh(link)
        self._hub.adopted()
        link.generation = record.generation
        if record.state:
            conn_state.apply(record.state, self._hub.states.setdefault(record.number, {}))
        replayed = record.kind in (Kind.WEBSOCKET, Kind.EVENTS)
        link.replay = (Replay if replayed else Reentry)(link, record, self._settle)
        if self._hub.marks is not None and record.mark >= 0:
            link.give_mark(record.mark, self._hub.marks)
        link.await_replay(record)
        return link

    def _connected(self, task: asyncio.Task[Any], record: Record, sock: socket.socket) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self._end(record, sock)
            self._settle(f"the loop failed: {task.exception()}")

    def _end(self, record: Record, sock: socket.socket) -> None:
        self._close(sock)
        self._hub.states.pop(record.number, None)
        self._send(wire.Ended((record.number,)))

    def _settle(self, reason: str) -> None:
        if reason:
            self._declined[reason] += 1
        else:
            self._adopted += 1
        self._open -= 1
        if not self._open:
            if self._collects:
                self._collects = False
                gc.enable()
            took = time.monotonic() - self._since
            self._send(wire.Settled(self._adopted, dict(self._declined), took))
            self._adopted, self._since = 0, 0.0
            self._declined.clear()


def _who_waits_first(expected: list[tuple[Record, socket.socket]]) -> list[tuple[Record, socket.socket]]:
    """Order connections so that clients who wait for an answer are served before those who are idle."""
    poll = select.poll()
    for _, sock in expected:
        poll.register(sock.fileno(), select.POLLIN)
    waiting = {fd for fd, _ in poll.poll(0)}
    return sorted(expected, key=lambda pair: not pair[0].inbound and pair[1].fileno() not in waiting)


def _has_left(sock: socket.socket) -> bool:
    """Whether the client is gone for good, so that nobody need be told."""
    poll = select.poll()
    poll.register(sock.fileno(), select.POLLIN)
    return any(event & (select.POLLHUP | select.POLLERR) for _, event in poll.poll(0))
