"""Heads of answers that wait for their bodies until the end of a turn of the loop.

Most servers write the head of an answer and its body one right after the other, which costs a system call
each and wakes the client twice. The fast lane sees that bytes follow a head; it keeps the head back and sends
both at once. A body that does not follow in the same turn (its handler waits for something) leaves its head
to :meth:`Heads.end_turn`::

    head ──▶ waiting ──its body──▶ both are sent
                │
                └── end of the turn, another connection's head, or anything else that is asked of the
                    connection ──▶ the head is sent

Invariants:
    * At most one head waits in a loop, and none longer than the turn in which it was written.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

__all__ = ["Heads"]


class Heads:
    """The head that waits in one loop.

    Attributes:
        loop: which.
        place: what sends the head that waits, None when none does; and whether the end of the turn is awaited
            already. A list, because a fast lane looks at it with every answer, and may put a head there
            itself once the end of the turn is awaited.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.place: list[Any] = [None, False]

    def wait(self, send: Callable[[], None]) -> None:
        """Let a head wait; ``send`` sends it, unless its place has been emptied by then."""
        place = self.place
        other, place[0] = place[0], send
        if other is not None:
            other()
        if not place[1]:
            place[1] = True
            self.loop.call_soon(self.end_turn)

    def end_turn(self) -> None:
        """Send the head whose body has not come."""
        send, self.place[:] = self.place[0], (None, False)
        if send is not None:
            send()
