"""A server of the program: what stands between its new connections and their protocols."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from livereload_core.child.conn_arrival import PATIENT, Arrival

if TYPE_CHECKING:
    import asyncio

    from livereload_core.child.conn_hub import Connections
    from livereload_core.child.conn_link import Link

__all__ = ["Server"]


class Server:
    """A server of the program, as the loop's ``create_server`` was asked for it.

    Attributes:
        loop: its loop.
        factory: makes the server's own protocol.
        sockets: its listening sockets, once it is there.
        held: the loop's object. A program need not keep it; uvloop keeps none of Unix sockets, and the next
            collection of garbage would end it.
    """

    def __init__(self, hub: Connections, loop: Any, factory: Callable[[], asyncio.BaseProtocol]) -> None:
        self._hub = hub
        self.loop = loop
        self.factory = factory
        self.sockets: list[Any] = []
        self.held: Any = None

    def __call__(self) -> Link | Arrival:
        """Make what stands between a new connection and its protocol."""
        protocol = self.factory()
        if type(protocol) in PATIENT:
            return Arrival(self._hub, protocol)
        return self._hub.new_link(protocol)

    def serves(self, local: Any) -> bool:
        """Whether a connection to our end ``local`` is one of this server's."""
        for sock in self.sockets:
            if sock.fileno() < 0:
                continue
            name = sock.getsockname()
            if isinstance(name, tuple) and isinstance(local, tuple):
                if name[1] == local[1] and (name[0] == local[0] or name[0] in ("0.0.0.0", "::")):
                    return True
            elif not isinstance(name, tuple) and os.fsdecode(name) == local:
                return True
        return False
