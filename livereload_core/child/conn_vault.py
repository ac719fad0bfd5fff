"""Which connections the parent holds as well, to outlive this process: our side of the vault.

Invariants:
    * The parent is given a dup of each connection that lives longer than a moment.
    * Whatever ends here is told to the parent, which shuts it down: a dup keeps a connection open.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from livereload_core.posix.tcp import read_bytes
from livereload_core.wire import links as wire_links
from livereload_core.wire import messages as wire

if TYPE_CHECKING:
    from livereload_core.child.conn_link import Link
    from livereload_core.child.conn_marks import Marks

__all__ = ["Send", "Vaulting"]

YOUNG = 0.005
"""Seconds after which a connection is given to the parent to hold: most that are not kept end before that.
Each by its own age: of those that are open at one moment under load most were opened just before.

To give it takes 0.06 ms here and 0.08 ms in the parent, where all of a short connection takes 0.13.
"""
LOOKS = 8
"""How often it is put off, by as much each time, while the answer to a request is under way: that ends with
the process whoever holds its connection, and many connections end with it. A stream of events does not wait
for this: it is given to the parent before its first byte."""
_TICK = 0.001
"""Seconds that a loop's clock may be behind its timers: uvloop counts whole milliseconds."""

Send = Callable[[wire.Message, Sequence[int]], None]


class Vaulting:
    """The half of all connections that tells the parent of them.

    Attributes:
        links: the open connections by number.
        marks: what is under way on them, in memory that outlives this process.
        most: how many of them the parent can hold.
    """

    def __init__(self) -> None:
        self.links: dict[int, Link] = {}
        self.marks: Marks | None = None
        self.most = sys.maxsize
        self._send: Send | None = None
        self._vaulted = 0
        self._young: collections.deque[tuple[float, Link, int]] = collections.deque()
        self._scans_in: asyncio.AbstractEventLoop | None = None

    def refresh(self, link: Link) -> None:
        """Tell the parent soon how a connection is."""
        loop = asyncio.get_running_loop()
        self._young.append((loop.time() + YOUNG, link, LOOKS))
        if self._scans_in is not loop:
            self._scans_in = loop  # another one, where a program runs one loop after the other
            loop.call_later(YOUNG, self._scan)

    def settle_in(self, link: Link) -> None:
        """A connection has been open for a moment, and its client was silent."""
        if link.number in self.links:
            self.register(link)

    def register(self, link: Link) -> None:
        """Give a connection to the parent to hold, or tell what more is known of it."""
        if self._send is None or link.moved:
            return
        fds = [] if link.vaulted else [link.fileno()]
        if fds == [-1] or (fds and self._vaulted >= self.most):
            return
        if link.mark < 0 and self.marks is not None and not link.vaulted:
            link.give_mark(self.marks.allot(), self.marks)
            link.count_from(read_bytes(link.fileno()))
        told = link.export()
        message = wire.Opened(link.number, wire_links.to_json(told))
        with contextlib.suppress(OSError):  # the parent is gone: the control thread ends the process
            self._send(message, fds)
            link.told = told
            self._vaulted += len(fds)
            link.vaulted = True

    def adopted(self) -> None:
        """One more is here that the parent holds already."""
        self._vaulted += 1

    def ended(self, link: Link) -> None:
        """One is here no more, nor with another generation."""
        if link.vaulted and self._send is not None:
            with contextlib.suppress(OSError):  # as above
                self._send(wire.Ended((link.number,)), ())
        self._vaulted -= link.vaulted
        if self.marks is not None:
            self.marks.free(link.mark)

    def _scan(self) -> None:
        """Tell of those that are old enough."""
        loop = asyncio.get_running_loop()
        now, young = loop.time(), self._young
        while young:
            due, link, looks = young[0]
            is_open = link.number in self.links
            if is_open and due > now + _TICK:
                loop.call_later(due - now, self._scan)
                return
            young.popleft()
            if not is_open or link.told is not None:
                continue
            if link.replay is not None:
                young.append((now + YOUNG, link, looks))  # the new code is still being told of it
            elif looks and not link.vaulted and link.in_flight():
                young.append((now + YOUNG, link, looks - 1))
            else:
                self.register(link)
        self._scans_in = None
