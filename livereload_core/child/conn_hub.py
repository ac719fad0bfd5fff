"""All connections of this process that could go over to another generation.

    serving ──quiesce──▶ holding ──export──▶ frozen ──cut──▶ leaving: what could not go is finished, then
       ▲                    │                  │              handed over late, or closed with a reason
       └──────resume────────┴──────────────────┘

Everything here runs in the thread of the main loop, save where a method says otherwise.

Invariant: only what the parent holds (see ``child.conn_vault``) is handed over.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import itertools
import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from livereload_core.child import conn_quiet, conn_state
from livereload_core.child.conn_arrival import Arrival, Arrivals
from livereload_core.child.conn_heads import Heads
from livereload_core.child.conn_judged import IN_FLIGHT, MOVES, Verdict
from livereload_core.child.conn_link import Link
from livereload_core.child.conn_server import Server
from livereload_core.child.conn_vault import Send, Vaulting
from livereload_core.child.net_descriptors import inode_of
from livereload_core.child.net_patches import Patches
from livereload_core.posix import memfd
from livereload_core.wire import links as wire_links
from livereload_core.wire import messages as wire
from livereload_core.wire.links import Kind

__all__ = ["Connections", "Server"]

ROUNDS = 6
"""Turns of the loop until a task that was woken by its last message has taken it, through all wrappers."""

_BUSY = Verdict("the program was busy", passes=True)
"""It did not come to its loop in time to be held: what its handlers have in hand is not known."""


class Connections(Vaulting):
    """See the head of the module.

    Attributes:
        generation: the number of this generation.
        states: what handlers keep with their connections, by number.
        watching: whether somebody wants to know of every answer: the next proves the generation, a reload
            waits for quiet, or the generation leaves.
        holding: whether a reload is under way.
        arrivals: those that have no link.
        parted: the inodes of sockets that another generation has: nothing may be done to them.
        waiting: fds of connections that are to be adopted.
    """

    def __init__(self) -> None:
        super().__init__()
        self.generation = 1
        self.states: dict[int, dict[str, Any]] = {}
        self.watching = False
        self.holding = False
        self.arrivals = Arrivals(self)
        self.servers: list[Server] = []
        self.on_server: Callable[[Server], None] | None = None
        self.arriving: Callable[[], Awaitable[None]] | None = None
        self._on_answer: Callable[[], None] | None = None
        self.waiting: set[int] = set()
        self._heads: Heads | None = None
        self._numbers = itertools.count(1)
        self._leaving = False
        self._waiting = 0
        self._quiet: asyncio.Future[None] | None = None
        self._busy: set[Link | Arrival] = set()
        self._judged: set[Link] = set()
        self._moved: list[Link] = []
        self._quiet_about_moved = False
        self.parted: set[int] = set()
        self._foreign: set[int] = set()
        self._is_user_path: Callable[[str], bool] = _nobodys

    @property
    def on_answer(self) -> Callable[[], None] | None:
        """Called once, when the first bytes of an answer are written; settable from any thread."""
        return self._on_answer

    @on_answer.setter
    def on_answer(self, callback: Callable[[], None] | None) -> None:
        self._on_answer = callback
        self._note_watching()

    def all(self) -> list[Link]:
        """Return the open connections; from any thread."""
        while True:
            try:
                return list(self.links.values())
            except RuntimeError:  # one was opened or closed meanwhile
                continue

    def filenos(self) -> set[int]:
        """Return the fds of the open connections, and of those to be adopted; from any thread."""
        arrivals = [arrival.fileno() for arrival in self.arrivals.all()]
        return self.waiting.union([link.fileno() for link in self.all()], arrivals)

    def in_flight(self) -> int:
        """Count the requests that have begun and are not answered; from any thread."""
        return sum(link.in_flight() for link in self.all()) + len(self.arrivals.last_ones())

    def count(self) -> int:
        """Count the open connections; from any thread."""
        return len(self.links) + len(self.arrivals.all())

    # -- set-up --------------------------------------------------------------------------------------------

    def attach(self, send: Send, generation: int, is_user_path: Callable[[str], bool]) -> None:
        """Begin to tell the parent of connections."""
        self._send = send
        self.generation = generation
        self._is_user_path = is_user_path

    def after_fork(self) -> None:
        """In a forked process: its connections are its own business."""
        self._send = None

    def server(self, loop: Any, factory: Callable[[], asyncio.BaseProtocol]) -> Server:
        """Return what makes links for a server that is about to be created."""
        return Server(self, loop, factory)

    def serves(self, server: Server, sockets: Sequence[Any]) -> None:
        """The server is there, and listens on these."""
        server.sockets = list(sockets)
        self.servers = [known for known in self.servers if any(s.fileno() >= 0 for s in known.sockets)]
        self.servers.append(server)
        if self.on_server is not None:
            self.on_server(server)

    def new_link(self, protocol: asyncio.BaseProtocol) -> Link:
        """Make the link of a new connection."""
        return Link(self, protocol, self.generation << 32 | next(self._numbers))

    # -- what links tell -----------------------------------------------------------------------------------

    def enter(self, link: Link) -> None:
        """A connection is open."""
        self.links[link.number] = link
        if self.holding or self._leaving:
            # accepted a moment before nobody accepted any more: what it asks is for whoever goes on
            link.hold()
            if self._leaving:
                asyncio.get_running_loop().call_soon(self._finish, link)
        if self._send is not None and not link.vaulted:
            self.refresh(link)

    def leave(self, link: Link) -> None:
        """A connection has ended, or was cut off."""
        self.links.pop(link.number, None)
        if not link.moved:
            self.states.pop(link.number, None)
            self.ended(link)
        if self.watching:
            self.settled(link)

    def is_users(self, protocol: object) -> bool:
        """Whether a protocol is the program's own, not a library's."""
        module = sys.modules.get(type(protocol).__module__)
        return self._is_user_path(getattr(module, "__file__", None) or "")

    def heads(self) -> Heads:
        """The heads of answers that wait in the loop that runs."""
        loop = asyncio.get_running_loop()
        if self._heads is None or self._heads.loop is not loop:
            self._heads = Heads(loop)
        return self._heads

    def speaks(self) -> None:
        """A first answer is about to leave: who has heard it has heard a generation that counts as proven."""
        callback, self._on_answer = self._on_answer, None
        if callback is not None:
            self._look()
            callback()

    def looked_at(self, link: Link) -> None:
        """Something about it has changed while somebody watches: judge it once its handler rests."""
        if (self.holding or self._leaving) and link.policy != "drain":
            # at once: a client that asks again and again would otherwise be ahead of us for ever
            link.hold()
        if link in self._busy and link not in self._judged:
            self._judged.add(link)
            asyncio.get_running_loop().call_soon(self._judge, link, ROUNDS)

    def _judge(self, link: Link, rounds: int) -> None:
        if rounds:
            asyncio.get_running_loop().call_soon(self._judge, link, rounds - 1)
            return
        self._judged.discard(link)
        if self._leaving:
            self._finish(link)
        elif link in self._busy:
            if self.holding:
                link.hold()
            if not link.in_flight() and not (self.holding and link.verdict().passes):
                self.settled(link)

    def settled(self, connection: Link | Arrival) -> None:
        """Nothing has to be waited for there any more."""
        self._busy.discard(connection)
        if not self._busy and self._quiet is not None and not self._quiet.done():
            self._quiet.set_result(None)

    # -- a reload, seen from the generation that serves ------------------------------------------------

    async def quiesce(self, grace: float) -> None:
        """Hold every connection, and wait until what is in flight is done, at most ``grace`` seconds."""
        if self.arriving is not None:
            await self.arriving()
        self.holding = True
        self._look()
        self._forget_states()
        for link in tuple(self.links.values()):
            link.hold()
        for _ in range(ROUNDS):
            await asyncio.sleep(0)
        passing = {link for link in self.links.values() if link.verdict().passes}
        await self._wait_for(
            passing.union(last for last in self.arrivals.last_ones() if last.passes()), grace
        )
        for link in self.links.values():
            if not link.vaulted and link.verdict() is MOVES:
                self.register(link)

    def _forget_states(self) -> None:
        """Forget what was kept with connections that stayed with an earlier generation and ended there."""
        foreign = self.states.keys() - self.links.keys()
        for number in foreign & self._foreign:
            del self.states[number]
        self._foreign = foreign - self._foreign

    def resume(self) -> None:
        """The reload was given up: go on as if nothing had happened."""
        self.holding = False
        self._moved = []
        self._look()
        for link in tuple(self.links.values()):
            link.release()

    def export(self) -> tuple[tuple[int, ...], bytes, dict[str, int]]:
        """Choose what goes over.

        Returns:
            the numbers, a table of those of which the parent does not know all, and for what stays the
            reasons with how many connections stay for each.
        """
        staying: collections.Counter[str] = collections.Counter()
        self._moved = []
        for link in self.links.values():
            verdict = link.verdict() if self.holding else _BUSY
            if verdict is MOVES and not link.vaulted:
                verdict = Verdict("the parent could not take it")
            if verdict is MOVES:
                self._moved.append(link)
            else:
                staying[verdict.reason] += 1
        last = self.arrivals.last_ones()
        if last:
            staying[IN_FLIGHT.reason] += len(last)
        news = (link.export() for link in self._moved if not link.is_as_told())
        table = wire_links.pack(news) if self._moved else b""
        return tuple(link.number for link in self._moved), table, dict(staying)

    def cut(self) -> None:
        """The next generation serves: part with what it has taken."""
        self._be_quiet()
        for link in self._moved:
            self._part_with(link)
        self._moved = []

    def _part_with(self, link: Link) -> None:
        # uvloop closes the socket only some time after the link is gone
        self.parted.add(inode_of(link.fileno()))
        link.cut()

    def _be_quiet(self) -> None:
        if not self._quiet_about_moved:
            self._quiet_about_moved = True
            conn_quiet.install(Patches(), self._is_user_path)

    # -- leaving -------------------------------------------------------------------------------------------

    async def leave_behind(self, grace: float) -> None:
        """Finish what could not go over, hand it over late, and close the rest with a reason.

        Args:
            grace: seconds for what has begun.
        """
        self.holding = False
        self._leaving = True
        self._look()
        for link in tuple(self.links.values()):
            self._finish(link)
        await self._wait_for({*self.links.values(), *self.arrivals.last_ones()}, grace)
        for link in tuple(self.links.values()):
            link.close_with_reason()
        for last in self.arrivals.last_ones():
            last.close()

    async def shut_down(self, grace: float) -> None:
        """Nobody comes after this generation: end what is idle, wait for what is in flight.

        The rest, such as WebSockets, is left to the program's own shutdown.
        """
        self.resume()
        self.arrivals.settle()
        for link in tuple(self.links.values()):
            if link.kind == Kind.HTTP and not link.in_flight():
                link.close()
        await self.wait_answered(grace)

    async def wait_answered(self, timeout: float) -> None:
        """Wait until nothing is in flight, and hold nothing for it."""
        self._waiting += 1
        self._look()
        try:
            in_flight = {link for link in self.links.values() if link.in_flight()}
            await self._wait_for({*in_flight, *self.arrivals.last_ones()}, timeout)
        finally:
            self._waiting -= 1
            self._look()

    async def _wait_for(self, connections: set[Link | Arrival], seconds: float) -> None:
        """Wait until these are settled: gone, handed over, or no longer in flight."""
        self._busy = connections
        if not connections:
            return
        self._quiet = asyncio.get_running_loop().create_future()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._quiet, seconds)
        self._quiet = None
        self._busy = set()

    def _finish(self, link: Link) -> None:
        """Do with one connection of a generation that leaves what can be done now."""
        if link.in_flight():
            return
        link.hold()
        verdict = link.verdict()
        if verdict is MOVES:
            self._hand_over(link)
        elif link.policy == "drain":
            link.release()
        elif not verdict.passes:
            link.close_with_reason()

    def _hand_over(self, link: Link) -> None:
        self.register(link)
        if self._send is None or not link.vaulted:
            link.close_with_reason()
            return
        state = conn_state.changes(self.states.get(link.number, {}))
        fd = memfd.create(wire_links.pack([link.export(state)]), "livecore-links")
        try:
            self._send(wire.HandedOver((link.number,)), [fd])
        finally:
            os.close(fd)
        self._be_quiet()
        self._part_with(link)

    def _look(self) -> None:
        """Note whether somebody watches; then no link may pass by what it carries."""
        self._note_watching()
        if self.watching:
            self.arrivals.settle()
            for link in self.links.values():
                link.unfold()

    def _note_watching(self) -> None:
        self.watching = bool(self._on_answer is not None or self.holding or self._leaving or self._waiting)


def _nobodys(path: str) -> bool:
    return False
