"""What would be lost of a connection if its process were killed now: the mark of a stream.

A mark is a byte in memory that the parent has, too (``child.conn_marks``). Beside it stands how many bytes of
the client's have come, and for streams of events the id of the last one.

Invariant: a mark says that something is lost before it can be, and that nothing is after that is certain.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from livereload_core.child.conn_forwarding import Forwarding
from livereload_core.child.conn_lane import OUTSIDE, Lane
from livereload_core.wire.links import BROKEN, CLEAN, ENDS, LOSES, Kind

if TYPE_CHECKING:
    from livereload_core.child.conn_marks import Marks
    from livereload_core.framing.http1 import RequestFramer, ResponseFramer
    from livereload_core.framing.websocket import ClientFrames

__all__ = ["OPAQUE", "Marking"]

OPAQUE = "opaque"  # HTTP/2, TLS inside of the stream, extensions, garbage: served, never handed over
_NOWHERE = memoryview(bytearray(1))
_UNCOUNTED = memoryview(bytearray(8)).cast("q")
_DRAINED = 0.05
"""Seconds between two looks at whether a slow client has caught up."""


class Marking(Forwarding):
    """The half of a stream that marks; what it looks at is the other half's."""

    __slots__ = ("_count", "_looking", "_mark", "_marks", "_unsent", "mark")

    replay: Any
    moved: bool
    _kind: str
    _requests: RequestFramer
    _responses: ResponseFramer
    _client: ClientFrames | None
    _lane: Lane | None
    _early: bytearray | None
    _held: list[bytes]
    _unread: bytearray
    _in_hand: bool
    _events: bool
    _final: bool
    _lost: bool

    def __init__(self) -> None:
        super().__init__()
        self.mark = -1
        self._mark = _NOWHERE
        self._count = _UNCOUNTED
        self._marks: Marks | None = None
        self._unsent: list[bytes] = []
        self._looking = False

    @property
    def owes(self) -> bool | None:
        """Whether an answer is owed, as the fast lane knows it; None outside of it."""
        owed = OUTSIDE if self._lane is None else self._lane.owes()
        return None if owed == OUTSIDE else owed != 0

    def _remember(self, data: Any) -> None:
        """Keep what the kernel may not have taken: the last bytes that were written."""
        size = self._transport.get_write_buffer_size()
        if not size:
            if self._unsent:
                self._unsent = []
                self.note()
            return
        if not self._unsent:
            self._mark[0] = ENDS
            self._look_later()
        unsent = self._unsent
        unsent.append(bytes(data))
        total = sum(map(len, unsent))
        while total - len(unsent[0]) >= size:
            total -= len(unsent.pop(0))

    def _look_later(self) -> None:
        """No loop tells when the last byte is out: look for it."""
        if not self._looking:
            self._looking = True
            asyncio.get_running_loop().call_later(_DRAINED, self._look_whether_sent)

    def _look_whether_sent(self) -> None:
        self._looking = False
        if self._lost or self.moved:
            return
        if self._transport.get_write_buffer_size():
            self._look_later()
        else:
            self._unsent = []
            if self._lane is not None:
                self._lane.looked()
            self.note()

    def note(self) -> None:
        """Mark what would be lost if this process were killed now."""
        if self.replay is not None:
            return  # what it has brought along, and nobody has yet, is marked until it goes on
        if self._unsent or self._kind is OPAQUE:
            mark = ENDS
        elif self._held:
            mark = self._lost_with_held(self._kind)
        elif self._client is not None:
            loses = self._in_hand or self._client.pending
            mark = BROKEN if self._client.unfinished else LOSES if loses else CLEAN
        elif self._kind is Kind.RAW:
            mark = LOSES if self._in_hand or self._unread else CLEAN
        elif self._events:
            mark = CLEAN if self._events_can_go_on() else ENDS
        else:
            owed = self.owes
            if owed is None:
                requests, responses = self._requests, self._responses
                owed = requests.begun > responses.finished or self._early is not None or responses.closes
                owed = owed or self._final
            mark = ENDS if owed or self._looking else CLEAN
        self._mark[0] = mark

    def _lost_with_held(self, kind: str) -> int:
        """What a death would leave of a connection whose client has said what is not delivered."""
        if self._unsent or kind not in (Kind.RAW, Kind.WEBSOCKET):
            return ENDS
        # It is not looked at before it is delivered: a frame may begin in it.
        return LOSES if kind == Kind.RAW else BROKEN

    def _events_can_go_on(self) -> bool:
        """Whether others can send the next event; notes the id behind which it would be."""
        responses = self._responses
        if not (responses.at_boundary and responses.at_event_boundary):
            return False
        name = responses.last_event_id
        # without one its client takes what comes; an empty one says to forget what it had asked for
        return name is None or (
            name != b"" and self._marks is not None and self._marks.note_id(self.mark, name)
        )

    def give_mark(self, offset: int, marks: Marks) -> None:
        """Write what is under way to this place from now on."""
        self.mark = offset
        self._marks = marks
        self._mark, self._count = marks.at(offset), marks.count(offset) if offset >= 0 else _UNCOUNTED
        if self._lane is not None:
            self._lane.mark(self._mark, self._count)
        self.note()

    def count_from(self, received: int | None) -> None:
        """So many bytes of the client's have come before there was a mark; None: nobody can tell."""
        self._count[0] = received or 0
        if self._lane is not None:
            self._lane.mark(self._mark, self._count)

    def lose_mark(self) -> None:
        """Write to it no more: it is another generation's."""
        self._marks, self._mark, self._count = None, _NOWHERE, _UNCOUNTED
        if self._lane is not None:
            self._lane.mark(_NOWHERE, _UNCOUNTED)
