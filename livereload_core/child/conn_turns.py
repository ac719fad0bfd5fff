"""The order in which connections are taken over: those first whose clients wait.

Invariants:
    * A client that begins to wait while others are taken over goes before all that are idle.
    * Each connection is given out once.
"""

from __future__ import annotations

import collections
import select
import socket
from collections.abc import Iterable

from livereload_core.wire.links import Link as Record

__all__ = ["Turns"]

Arrival = tuple[Record, socket.socket]


class Turns:
    """What is still to be taken over."""

    def __init__(self) -> None:
        self._first: collections.deque[int] = collections.deque()
        self._left: dict[int, Arrival] = {}
        self._ready: select.epoll | None = None

    def __bool__(self) -> bool:
        return bool(self._left)

    def add(self, arrivals: Iterable[Arrival]) -> None:
        """More are to be taken over."""
        if self._ready is None:
            self._ready = select.epoll()
        for record, sock in arrivals:
            fd = sock.fileno()
            self._left[fd] = record, sock
            if record.inbound:  # nothing more need come for an answer to be due
                self._first.append(fd)
            else:
                self._ready.register(fd, select.EPOLLIN)

    def take(self, most: int) -> list[Arrival]:
        """Return the next ones, at most so many; none if that was all."""
        taken: list[Arrival] = []
        if self._ready is None:
            return taken
        while self._first and len(taken) < most:
            taken.append(self._left.pop(self._first.popleft()))
        if self._left and len(taken) < most:
            for fd, _ in self._ready.poll(0, min(most - len(taken), len(self._left))):
                taken.append(self._give(fd))
        while self._left and len(taken) < most:
            taken.append(self._give(next(iter(self._left))))
        if not self._left:
            self._ready.close()
            self._ready = None
        return taken

    def _give(self, fd: int) -> Arrival:
        if self._ready is not None:
            self._ready.unregister(fd)
        return self._left.pop(fd)
