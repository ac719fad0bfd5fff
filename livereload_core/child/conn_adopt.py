"""Taking connections over: a fresh protocol of the new code on an old socket.

Few are under way at a time, those first whose clients wait, so that a client is answered as soon as it is
its turn, however many are idle. What one goes through is told in ``conn_replay``.

Invariants:
    * Nothing is read from or written to a socket before COMMIT.
    * Each connection is settled once: it goes on, or it is closed and counted with the reason.
    * The next edit finds all of them: none stays behind in the queue.
"""

from __future__ import annotations

import asyncio
import collections
import functools
import gc
import os
import select
import socket
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from livereload_core.child import conn_state, native
from livereload_core.child.conn_link import FAREWELL, SERVICE_RESTART, Link
from livereload_core.child.conn_replay import LEFT, Reentry, Replay
from livereload_core.child.conn_turns import Turns
from livereload_core.errors import ProtocolViolationError
from livereload_core.framing.websocket import close_frame
from livereload_core.posix import memfd
from livereload_core.wire import links as wire_links
from livereload_core.wire import messages as wire
from livereload_core.wire.links import Kind
from livereload_core.wire.links import Link as Record

if TYPE_CHECKING:
    from livereload_core.child.conn_hub import Connections, Server

__all__ = ["Adopter"]

LATE_SERVER = 2.0
"""Seconds after COMMIT in which the program may still open the server of a connection."""
BATCH = 8
"""Connections that are under way at once: who waits for an answer has it before the next are begun."""
TURN = 0.002
"""Seconds that the new code may take for a batch until the next is begun beside it."""

_NO_SERVER = "the new code has no server there that livecore knows"


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
        # The control thread adds to it while the loop's thread may be taking from it.
        self._expected: collections.deque[tuple[Record, socket.socket]] = collections.deque()
        self._as_told: set[int] = set()
        self._table: tuple[int, dict[int, Record]] | None = None
        self._reading = native.Lock()  # of the table, by two threads
        self._collects = False
        self._homeless: list[tuple[Record, socket.socket]] = []
        self._turns = Turns()
        self._begun: set[int] = set()
        self._next: asyncio.Handle | None = None
        self._open: set[int] = set()
        self._adopted = 0
        self._declined: collections.Counter[str] = collections.Counter()
        self._since = 0.0
        self._tasks: set[asyncio.Task[Any]] = set()
        hub.on_server = self._server_opened
        hub.arriving = self._hurry

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
        with self._reading:
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

    def _all_expected(self) -> list[tuple[Record, socket.socket]]:
        """Take what was announced; what is announced meanwhile is taken now, or by the next call."""
        expected = []
        while self._expected:
            expected.append(self._expected.popleft())
        with self._reading:
            self._forget_table()
        self._forget_ahead()
        return expected

    def decline_all(self, reason: str) -> None:
        """There is no loop to serve them in."""
        expected = self._all_expected()
        for record, sock in expected:
            self._close(sock)
            self._send(wire.Ended((record.number,)))
        if expected:
            self._send(wire.Settled(0, {reason: len(expected)}, 0.0))

    def begin(self) -> None:
        """COMMIT, in the thread of the loop: take over what was announced."""
        expected = self._all_expected()
        if not expected:
            return
        self._since = self._since or time.monotonic()
        if not self._open and gc.isenabled():
            # All that is made here stays; to look through it again and again finds nothing.
            self._collects = True
            gc.disable()
        self._open.update(record.number for record, _ in expected)
        self._turns.add(expected)
        self._take_some()

    def _take_some(self, most: int = BATCH) -> None:
        """Begin with the next few, and come again once they are through."""
        if self._next is not None:
            self._next.cancel()
        loop = asyncio.get_running_loop()
        # Set before the first of them can be through: that asks for the next ones itself.
        self._next = loop.call_later(TURN, self._take_some)
        for record, sock in self._turns.take(most):
            server = next((server for server in self._hub.servers if server.serves(record.local)), None)
            if server is not None:
                self._begun.add(record.number)
                self._take(record, sock, server)
                continue
            if not self._homeless:
                loop.call_later(LATE_SERVER, self._give_up)
            self._homeless.append((record, sock))
        if not self._turns:
            self._next.cancel()
            self._next = None
        elif not self._begun:
            self._take_soon()

    def _take_soon(self) -> None:
        if self._next is not None:
            self._next.cancel()
            self._next = asyncio.get_running_loop().call_soon(self._take_some)

    async def _hurry(self) -> None:
        """The next edit is near: begin with all that are left, so that it finds them."""
        if self._turns:
            self._take_some(sys.maxsize)
        if self._tasks:
            await asyncio.wait(self._tasks)

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
            self._settle(record, _NO_SERVER)

    def _take(self, record: Record, sock: socket.socket, server: Server) -> None:
        self._hub.waiting.discard(sock.fileno())
        if record.policy == "close":
            self._say_goodbye(record, sock)
            return
        if _has_left(sock):
            self._end(record, sock)
            self._settle(record, LEFT)
            return
        try:
            link = self._link(record, server)
            sock.setblocking(False)
            connecting = server.loop.create_task(server.loop.connect_accepted_socket(lambda: link, sock))
        except Exception as error:  # the new code's own factory fails: counted with its reason
            self._end(record, sock)
            self._settle(record, f"the new code failed: {type(error).__name__}: {error}")
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
        self._settle(record, "half of a message was lost with the process that died")

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
        link.replay = (Replay if replayed else Reentry)(link, record, functools.partial(self._settle, record))
        if self._hub.marks is not None and record.mark >= 0:
            link.give_mark(record.mark, self._hub.marks)
        link.await_replay(record)
        return link

    def _connected(self, task: asyncio.Task[Any], record: Record, sock: socket.socket) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self._end(record, sock)
            self._settle(record, f"the loop failed: {task.exception()}")

    def _end(self, record: Record, sock: socket.socket) -> None:
        self._close(sock)
        self._hub.states.pop(record.number, None)
        self._send(wire.Ended((record.number,)))

    def _settle(self, record: Record, reason: str) -> None:
        if record.number not in self._open:
            return  # an end is seen from more than one side
        self._begun.discard(record.number)
        if not self._begun:
            self._take_soon()
        if reason:
            self._declined[reason] += 1
        else:
            self._adopted += 1
        self._open.discard(record.number)
        if not self._open:
            if self._collects:
                self._collects = False
                gc.enable()
            took = time.monotonic() - self._since
            self._send(wire.Settled(self._adopted, dict(self._declined), took))
            self._adopted, self._since = 0, 0.0
            self._declined.clear()


def _has_left(sock: socket.socket) -> bool:
    """Whether the client is gone for good, so that nobody need be told."""
    poll = select.poll()
    poll.register(sock.fileno(), select.POLLIN)
    return any(event & (select.POLLHUP | select.POLLERR) for _, event in poll.poll(0))
