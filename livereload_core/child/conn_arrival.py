"""A connection from its accept to the first words of its client, and to its end when those are its last.

A link costs more than the rest of a short connection: it can be held, marked and handed over, and none of
that is asked of a connection on which one known request with ``Connection: close`` is answered. So a protocol
that has answered such requests hears of a new connection with the client's first words, a few microseconds
after the accept::

    accepted ──a known last request──▶ last: the protocol has the loop's own transport, and no link between
       │
       └── other words, the client's end, none within a moment, or somebody watches ──▶ a link as ever

Invariants:
    * The protocol sees each connection from ``connection_made`` to ``connection_lost``, in that order.
    * A last connection is in flight from its first byte to its end, and goes to no other generation.
    * Protocols that speak first, or start their handler with the connection, never wait: those of streams
      are left out, and nothing that has not answered HTTP is known here.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from livereload_core.child.conn_lane import LAST_REQUESTS
from livereload_core.state.connection import Connection, current

if TYPE_CHECKING:
    from livereload_core.child.conn_hub import Connections
    from livereload_core.child.conn_link import Link

__all__ = ["PATIENCE", "PATIENT", "Arrival", "Arrivals", "learn_protocol"]

PATIENCE = 0.01
"""Seconds, at least, after which a connection whose client is silent gets its link; at most twice as many."""

PATIENT: set[type] = set()
"""Classes of protocols that have answered a last request: their connections begin as :class:`Arrival`."""


def learn_protocol(protocol: object) -> None:
    """Remember that protocols of this class speak HTTP, and do nothing before their client speaks."""
    if not isinstance(protocol, asyncio.BufferedProtocol):
        PATIENT.add(type(protocol))


class Arrivals:
    """All connections of a process that have no link.

    Args:
        hub: makes the links.

    Attributes:
        silent: those whose clients have said nothing, with the tick in which they came.
        last: those with a last request under way.
    """

    def __init__(self, hub: Connections) -> None:
        self._hub = hub
        self._tick = 0
        self._looks_in: asyncio.AbstractEventLoop | None = None
        self.silent: dict[Arrival, int] = {}
        self.last: set[Arrival] = set()

    def all(self) -> tuple[Arrival, ...]:
        """Return them; from any thread."""
        return *tuple(self.silent), *self.last_ones()

    def last_ones(self) -> tuple[Arrival, ...]:
        """Return those with a last request under way that have not changed their protocol since."""
        for arrival in tuple(self.last):
            if not arrival.is_here:
                self.last.discard(arrival)
        return tuple(self.last)

    def expect(self, arrival: Arrival) -> None:
        """One is there, and its client silent."""
        self.silent[arrival] = self._tick
        loop = asyncio.get_running_loop()
        if self._looks_in is not loop:
            self._looks_in = loop
            loop.call_later(PATIENCE, self._look)

    def settle(self) -> None:
        """Give links to all whose clients are silent."""
        for arrival in tuple(self.silent):
            arrival.become_link()

    def _look(self) -> None:
        for arrival, tick in tuple(self.silent.items()):
            if tick != self._tick:
                self._hub.settle_in(arrival.become_link())
        self._tick += 1
        self._looks_in = asyncio.get_running_loop() if self.silent else None
        if self._looks_in is not None:
            self._looks_in.call_later(PATIENCE, self._look)


class Arrival(asyncio.Protocol):
    """See the head of the module. Made by a server's protocol factory, in the loop's thread.

    Args:
        hub: where it stands while it has no link.
        protocol: the server's.
    """

    __slots__ = ("_connection", "_hub", "_is_last", "_protocol", "_transport")

    def __init__(self, hub: Connections, protocol: Any) -> None:
        self._hub = hub
        self._protocol = protocol
        self._is_last = False
        self._transport: Any = None
        self._connection: Connection | None = None

    # -- towards the loop ----------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The loop's transport is there."""
        self._transport = transport
        if self._hub.watching:
            self.become_link()
        else:
            self._hub.arrivals.expect(self)

    def data_received(self, data: bytes) -> None:
        """The client has sent something."""
        if not self._is_last:
            hub = self._hub
            if data not in LAST_REQUESTS or hub.watching:
                self.become_link().data_received(data)
                return
            arrivals = hub.arrivals
            arrivals.silent.pop(self, None)
            arrivals.last.add(self)
            self._is_last = True
            current.set(self)
            self._protocol.connection_made(self._transport)
        self._protocol.data_received(data)

    def eof_received(self) -> bool | None:
        """The client will send nothing more."""
        received: bool | None = (self._protocol if self._is_last else self.become_link()).eof_received()
        return received

    def pause_writing(self) -> None:
        """The client reads slower than the server writes."""
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        """It has caught up."""
        self._protocol.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """The end, from whichever side."""
        if self._is_last:
            hub = self._hub
            hub.arrivals.last.discard(self)
            if hub.watching:
                hub.settled(self)
            # Nothing waits for the collector: its handler's task has it in its context.
            protocol, self._protocol = self._protocol, None
            protocol.connection_lost(exc)
        else:
            self.become_link().connection_lost(exc)

    def become_link(self) -> Link:
        """Let a link take its place, before its first words."""
        hub, transport = self._hub, self._transport
        hub.arrivals.silent.pop(self, None)
        link = hub.new_link(self._protocol)
        transport.set_protocol(link)
        link.connection_made(transport)
        return link

    # -- for the hub, and the handler ----------------------------------------------------------------------

    @property
    def connection(self) -> Connection:
        """What ``connection()`` returns in the handler of a last request; nothing of it is kept."""
        if self._connection is None:
            self._connection = Connection(generation=self._hub.generation)
        return self._connection

    @property
    def is_here(self) -> bool:
        """Whether the loop still tells it of its connection, and no other protocol of the program."""
        protocol = self._transport.get_protocol()
        return protocol is self or protocol is None  # at the end it is told, and forgotten

    def passes(self) -> bool:
        """Whether a reload waits for its answer."""
        return self._connection is None or self._connection.policy == "resume"

    def fileno(self) -> int:
        """The fd of the socket, -1 when it is closed."""
        sock = self._transport and self._transport.get_extra_info("socket")
        return -1 if sock is None else int(sock.fileno())

    def close(self) -> None:
        """Close once everything is out."""
        self._transport.close()
