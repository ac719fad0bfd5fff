"""A stage for connections: two generations of one server in one process, and a real client."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from typing import Any

from livereload_core.child.conn_adopt import Adopter
from livereload_core.child.conn_hub import Connections
from livereload_core.child.conn_link import Link
from livereload_core.posix import memfd
from livereload_core.wire import messages as wire

__all__ = ["Generation", "Stage", "in_loop", "stage", "until"]


def in_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run a test in a loop of its own."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        asyncio.run(test(*args, **kwargs))

    return run


class Generation:
    """One generation: its hub, its adopter, and what it told the parent.

    Attributes:
        told: the messages, in order.
        fds: what the parent would hold, by number of the connection.
        late: what was handed over late: the message and the bytes of its table.
    """

    def __init__(self, number: int, held: dict[int, socket.socket]) -> None:
        self.hub = Connections()
        self.told: list[wire.Message] = []
        self.late: list[tuple[wire.HandedOver, bytes]] = []
        self._held = held
        self.hub.attach(self._send, number, lambda path: False)
        self.adopter = Adopter(self.hub, self._send)

    def _send(self, message: wire.Message, fds: Sequence[int] = ()) -> None:
        self.told.append(message)
        if isinstance(message, wire.Opened) and fds:
            self._held[message.number] = socket.socket(fileno=os.dup(fds[0]))
        elif isinstance(message, wire.Ended):
            for number in message.numbers:
                sock = self._held.pop(number, None)
                if sock is not None:
                    with contextlib.suppress(OSError):
                        sock.shutdown(socket.SHUT_RDWR)
                    sock.close()
        elif isinstance(message, wire.HandedOver):
            self.late.append((message, memfd.read(fds[0])))

    async def serve(self, sock: socket.socket, factory: Callable[[], asyncio.BaseProtocol]) -> asyncio.Server:
        """Serve on a listening socket, as the patched ``create_server`` would."""
        loop = asyncio.get_running_loop()
        entry = self.hub.server(loop, factory)
        server = await loop.create_server(entry, sock=sock.dup())
        self.hub.serves(entry, server.sockets)
        return server

    def settled(self) -> list[wire.Settled]:
        """What was said of adopted connections."""
        return [message for message in self.told if isinstance(message, wire.Settled)]

    @property
    def link(self) -> Link:
        """The only connection."""
        (link,) = self.hub.links.values()
        return link


class Stage:
    """Old and new, and the listener between them."""

    def __init__(self) -> None:
        self.held: dict[int, socket.socket] = {}
        self.old = Generation(1, self.held)
        self.new = Generation(2, self.held)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self._servers: list[asyncio.Server] = []
        self._writers: list[asyncio.StreamWriter] = []

    async def begin(self, old: Callable[[], asyncio.BaseProtocol]) -> None:
        """The old generation serves."""
        self._servers.append(await self.old.serve(self.listener, old))

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Return a client that the server has accepted."""
        known = len(self.old.hub.links)
        reader, writer = await asyncio.open_connection(*self.listener.getsockname())
        self._writers.append(writer)
        await until(lambda: len(self.old.hub.links) > known)
        return reader, writer

    def adopt_client(self, writer: asyncio.StreamWriter) -> None:
        """End this client with the stage."""
        self._writers.append(writer)

    async def switch(self, new: Callable[[], asyncio.BaseProtocol], *, grace: float = 5.0) -> dict[str, int]:
        """Hand everything over; returns what stays, with the reasons."""
        numbers, table, staying = await self.freeze(grace=grace)
        await self.succeed(new)
        if numbers:
            self.give(numbers, table)
        return staying

    async def freeze(self, *, grace: float = 5.0) -> tuple[tuple[int, ...], bytes, dict[str, int]]:
        """Let the old generation part with what it can, with nobody there yet to take it."""
        await self.old.hub.quiesce(grace)
        exported = self.old.hub.export()
        self.old.hub.cut()
        self._servers[0].close()
        return exported

    async def succeed(self, new: Callable[[], asyncio.BaseProtocol]) -> None:
        """The new generation serves."""
        self._servers.append(await self.new.serve(self.listener, new))

    async def serve_new(self, new: Callable[[], asyncio.BaseProtocol]) -> None:
        """The new generation serves."""
        self._servers.append(await self.new.serve(self.listener, new))

    def give(self, numbers: Sequence[int], table: bytes) -> None:
        """Do what the parent does with connections: give them to the new generation."""
        fds = [memfd.create(table), *(os.dup(self.held[number].fileno()) for number in numbers)]
        told = {message.number: message.link for message in self.old.told if isinstance(message, wire.Opened)}
        self.new.adopter.expect(numbers, fds, facts=[told[number] for number in numbers])
        self.new.adopter.begin()

    async def close(self) -> None:
        """End everything."""
        for writer in self._writers:
            writer.transport.abort()
        for server in self._servers:
            server.close()
        for generation in (self.old, self.new):
            for link in generation.hub.all():
                link.loop_transport.abort()
        for sock in self.held.values():
            sock.close()
        self.listener.close()
        for _ in range(3):
            await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def stage(old: Callable[[], asyncio.BaseProtocol]) -> AsyncIterator[Stage]:
    """A stage on which the old generation serves."""
    built = Stage()
    try:
        await built.begin(old)
        yield built
    finally:
        await built.close()


async def until(fact: Callable[[], Any], timeout: float = 20.0) -> None:
    """Turn the loop until something is the case."""
    async with asyncio.timeout(timeout):
        while not fact():  # noqa: ASYNC110 - facts of all kinds, which tell nobody
            await asyncio.sleep(0.001)
