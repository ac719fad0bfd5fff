"""How a stream enters the fast lane and leaves it: what passes there is known, and is not followed."""

from __future__ import annotations

import asyncio
import contextvars
from typing import Any

from livereload_core.child.conn_direct import Direct
from livereload_core.child.conn_following import Following
from livereload_core.child.conn_lane import AN_ANSWER, LAST_REQUESTS, OUTSIDE, REQUESTS, Lane, lane
from livereload_core.wire.links import ENDS

__all__ = ["NO_CONTEXT", "Laned"]

NO_CONTEXT = contextvars.Context()
_ZEROS = memoryview(bytes(64 * 1024))


class Laned(Following):
    """The half of a stream that changes lanes; what is called for each piece that passes is the other half's.

    Attributes:
        data_received: called for what the client sends: the method that follows it, or a lane's closure.
        write: the same for what the server sends.
        writelines: the same for what it sends in pieces.
    """

    __slots__ = ("_context", "_final", "_lane", "_send", "resumed")

    # Slots of the stream: the base classes that asyncio has for it have methods of these names.
    data_received: Any
    write: Any
    writelines: Any
    _data_received: Any
    _write: Any

    def __init__(self) -> None:
        super().__init__()
        self.resumed = False
        self._context = NO_CONTEXT
        self._final = False
        self._lane: Lane | None = None
        self._send: Any = None
        self.data_received = self._data_received
        self.write = self._write
        self.writelines = self._writelines

    def _knows(self, data: bytes) -> bool:
        """Deliver the first words of a client, if they are known and nothing has to be followed."""
        if self._hub.watching or self.replay is not None or self.resumed or self._last:
            return False  # somebody watches, it is not new, or the server has spoken first
        if data in REQUESTS:
            self._enter_lane()
            if self._lane is None:
                return False
            self._lane.received(data)
            return True
        if data not in LAST_REQUESTS:
            return False
        # The answer is the last thing on it: it is under way until the server closes, and goes nowhere.
        self._final = True
        self._mark[0] = ENDS
        self._count[0] += len(data)
        self.write = self._send
        self.writelines = self._transport.writelines
        self._received(data)
        return True

    def _enter_lane(self) -> None:
        """Nothing is under way, and nobody watches."""
        if self._lane is None:
            if isinstance(self._protocol, asyncio.BufferedProtocol):
                return
            # Connections of uvloop share one context, and a variable that changes with each request is dear.
            self._lane = lane(
                self._context.run,
                self._received,
                self._data_received,
                self._send,
                self._write,
                Direct.of(self._transport),
                self._look_later,
                self._mark,
                self._count,
                self._transport.writelines,
                self._hub.heads(),
            )
            self.data_received = self._lane.received
            self.write = self._lane.write
            self.writelines = self._lane.writelines
            self._transport.set_protocol(self)  # uvloop remembers the method
        self._lane.enter()

    def _close_lane(self) -> None:
        """No more HTTP is spoken, or to somebody else."""
        if self._lane is not None:
            self.unfold()
            self._lane = None
            self.data_received = self._data_received
            self.write = self._write
            self.writelines = self._writelines
            self._transport.set_protocol(self)

    def unfold(self) -> None:
        """Leave the fast lane: let the framers see what passed by."""
        if self._lane is None:
            return
        passed = self._lane.leave()
        if passed.owed == OUTSIDE:
            return
        self._before_last, self._last = b"", passed.last
        if not passed.owed:
            return
        self._requests.feed(passed.request)
        self._head = head = self._requests.heads.popleft()
        self._responses.expect(head.method)
        if passed.owed != AN_ANSWER:
            self._responses.feed(passed.head)
            self._count_sent(passed.length - passed.owed)

    def _count_sent(self, count: int) -> None:
        """Let the framer see so many bytes of a body, of which only the number matters."""
        while count > 0:
            self._responses.feed(_ZEROS[:count])
            count -= len(_ZEROS)
