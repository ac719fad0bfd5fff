"""What a connection goes through when new code takes it over.

To the handler it is as after a reconnect that the client has not noticed::

    WebSocket, events   the recorded request is given to the new protocol; the head of its answer must agree
                        with the one that the client has, and is swallowed. Then the bytes flow.
    HTTP, raw           nothing is replayed: the new protocol goes on with what the old one had not read.

Invariants:
    * Before anything of the new code reaches the client, what the old code wrote and the kernel had not taken
      is out; before anything new reaches the new code, what the old one had not taken is in.
    * Each is settled once: it goes on, or it is closed with a reason.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from livereload_core.child.conn_link import Link
from livereload_core.framing.http1 import RequestHead, ResponseHead, with_header
from livereload_core.framing.sessions import Rehearsal, Session, recognise
from livereload_core.wire.links import Kind
from livereload_core.wire.links import Link as Record

__all__ = ["LEFT", "Reentry", "Replay"]

PATIENCE = 5.0
"""Seconds that the new code may take to answer a replayed handshake."""
LEFT = "the client had left"
"""Why a connection does not go on whose client has ended it."""


class Reentry:
    """What a connection goes through on which nothing is replayed."""

    def __init__(self, link: Link, record: Record, settled: Callable[[str], None]) -> None:
        self._link = link
        self._record = record
        self._settled = settled

    def begin(self) -> None:
        """The protocol has its transport: go on."""
        record, link = self._record, self._link
        link.goes_on(outbound=b"" if link.has_spoken else record.outbound, raw=record.kind == Kind.RAW)
        link.catch_up()
        self._settled("")

    def written(self, data: bytes) -> None:
        """The server speaks first: behind what its predecessor had said."""
        self._link.say_after(self._record.outbound, data)

    def closed(self) -> None:
        """The new code closes it at once."""
        self._settled("the new code closed it at once")

    def left(self) -> None:
        """The client ends it first."""
        self._settled(LEFT)


class Replay:
    """A handshake that the client has behind it, played to new code; then that of a session inside of it.

    Attributes:
        session: the session inside of the stream, as the client knows it; None where nothing can be.
        ids: the names that the old code had given in its session, of which the new one has taken none yet.

    Args:
        link: holds what the client sends meanwhile.
        record: what the old generation told.
        settled: called once, with ``""`` or the reason why the new code does not go on.
    """

    def __init__(self, link: Link, record: Record, settled: Callable[[str], None]) -> None:
        self._link = link
        self._record = record
        self._settled = settled
        self._answer = b""
        self._timer: asyncio.TimerHandle | None = None
        self.session = _session_of(record)
        self.ids = self.session.ids() if self.session is not None else []
        self._rehearsal: Rehearsal | None = None
        self._seen = b""

    def begin(self) -> None:
        """The protocol has its transport: give it the request."""
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(
            PATIENCE, self._decline, "the new code did not answer the handshake in time"
        )
        head = self._record.request
        if self._record.kind == Kind.EVENTS and self._record.event_id:
            head = with_header(head, b"Last-Event-ID", self._record.event_id)
        try:
            self._link.replay_request(head)
        except Exception as error:
            self._decline(f"the new code failed: {type(error).__name__}: {error}")
            raise  # the loop logs it

    def written(self, data: bytes) -> None:
        """The new protocol answers: compare, and swallow the head."""
        if self._rehearsal is not None:
            self._link.replay_answers(data)
            self._rehearsed(self._rehearsal, data)
            return
        self._answer += data
        head = self._link.replay_answer(data)
        if head is None:
            if len(self._answer) > 64 * 1024:
                self._decline("the new code answers with something else")
            return
        reason = self._differs(head)
        if reason:
            self._decline(reason)
            return
        rest = self._answer[self._answer.index(head.raw) + len(head.raw) :]
        session, record = self.session, self._record
        if session is not None and session.loses and not self._link.has_chosen:
            self._decline(f"its {session.name} session is unknown to the new code")
        elif session is not None and record.answers:
            self._rehearsal = Rehearsal(session)
            self._rehearsed(self._rehearsal, rest)
            if self._link.replay is self:  # in a turn of its own, as below
                asyncio.get_running_loop().call_soon(self._link.replay_messages, record.prologue)
        else:
            self._go_on(rest)

    def _rehearsed(self, rehearsal: Rehearsal, data: bytes) -> None:
        """The new code goes through the session's own handshake."""
        seen, reason = rehearsal.answers(data)
        self._seen += seen
        if reason:
            self._decline(reason)
        elif rehearsal.is_over:
            self._go_on(self._seen)

    def _go_on(self, rest: bytes) -> None:
        if self._timer is not None:
            self._timer.cancel()
        record, link, session = self._record, self._link, self.session
        link.goes_on(outbound=record.outbound, session=session)
        if session is not None and session.greeting:
            link.replay_answers(session.greeting)
            link.pass_on(session.greeting)
        if rest:
            link.pass_on(rest)
        # in a turn of its own: the new protocol is in the midst of its answer
        asyncio.get_running_loop().call_soon(link.catch_up)
        self._settled("")

    def closed(self) -> None:
        """The new protocol closes the connection instead of answering."""
        self._decline("the new code closed it")

    def left(self) -> None:
        """The client ends it before the new protocol has answered."""
        if self._timer is not None:
            self._timer.cancel()
        self._settled(LEFT)

    def _differs(self, head: ResponseHead) -> str:
        before = ResponseHead.parse(self._record.response)
        if before is None:
            return "its handshake is not known"
        if head.status != before.status:
            return f"the new code answers with status {head.status}"
        names: tuple[bytes, ...] = (
            b"sec-websocket-accept",
            b"sec-websocket-protocol",
            b"sec-websocket-extensions",
        )
        if self._record.kind == Kind.EVENTS:
            if not head.is_event_stream:
                return "the new code does not answer with a stream of events"
            names = (b"transfer-encoding", b"content-encoding", b"content-length")
        for name in names:
            if head.header(name) != before.header(name):
                return f"the new code answers with another {name.decode()}"
        return ""

    def _decline(self, reason: str) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._link.replay is self:
            self._link.decline(self._record.outbound)
            self._settled(reason)


def _session_of(record: Record) -> Session | None:
    request, response = RequestHead.parse(record.request), ResponseHead.parse(record.response)
    if record.kind != Kind.WEBSOCKET or request is None or response is None:
        return None
    session = recognise(request, response)
    session.restore(record.prologue, record.answers)
    return session
