"""The fast lane: exchanges that repeat are recognised by their bytes and not parsed again.

A server in steady state hears the same few requests and gives answers with the same few heads (a new one each
second, with its date). What the framers have judged once is remembered here; a link that meets it again need
only count. Anything else, and anything that is asked of a connection in the midst of an exchange, leaves the
lane: the framers are fed what was passed by, and follow from there.

    parsed exchange ──enter──▶ between exchanges ⇄ asked ⇄ answering
           ▲                          │              │         │
           └──────── leave ───────────┴──────────────┴─────────┘

A lane is three closures, which stand in the places of ``data_received``, ``write`` and ``writelines`` of its
stream. They are what every request of a program passes, right behind a system call, when little of the
interpreter is in the processor's caches: each attribute of an object counts there, so what they need are
variables of their own. A socket of asyncio's they write to themselves (``conn_direct``).
A head whose body is still to come waits for it (``conn_heads``): both leave in one system call.

Invariants:
    * Only requests that are one whole head without body, upgrade or pipelining are remembered, and only heads
      of answers whose length is told, that keep the connection and answer such a request.
    * Both tables are bounded: programs meet arbitrary bytes.
    * Outside of the lane the closures pass everything on to the stream's own methods, and no head waits.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, NamedTuple

from livereload_core.child.conn_direct import Direct
from livereload_core.child.conn_heads import Heads
from livereload_core.framing.http1 import RequestHead, ResponseHead
from livereload_core.wire.links import CLEAN, ENDS

__all__ = [
    "ANSWERS",
    "AN_ANSWER",
    "LAST_REQUESTS",
    "OUTSIDE",
    "REQUESTS",
    "Lane",
    "Passed",
    "lane",
    "learn_answer",
    "learn_last_request",
    "learn_request",
]

REQUESTS: dict[bytes, bytes] = {}
"""Whole requests, and the one copy of each that is kept."""
LAST_REQUESTS: set[bytes] = set()
"""The same that ask for the end of the connection, and have had an answer that came to its end."""
ANSWERS: dict[bytes, int] = {}
"""Heads of answers, blank line included, and how many bytes follow them."""

AN_ANSWER, OUTSIDE = -1, -2
"""Instead of a number of bytes that are owed: a whole answer, and nothing that the lane knows of."""

JOINED = 16 * 1024
"""Bytes of a body up to which it is copied behind its head."""
_MOST = 512
_LONGEST = 2048


class Passed(NamedTuple):
    """What the framers have not seen of the exchange in progress.

    Attributes:
        owed: bytes that its answer lacks, 0 between two exchanges, or :data:`AN_ANSWER`, or :data:`OUTSIDE`.
        request: the request.
        head: of its answer, and how many bytes were to follow it.
        length: see ``head``.
        last: what was written last.
    """

    owed: int
    request: bytes
    head: bytes
    length: int
    last: Any


class Lane(NamedTuple):
    """The lane of one stream.

    Attributes:
        received: takes what the client sends.
        write: takes what the server sends.
        writelines: takes it in pieces.
        enter: begin, between two exchanges.
        leave: end, and return what was passed by.
        owes: how many bytes are owed, as in :class:`Passed`.
        mark: write what is under way, and how much was received, to these places from now on.
        looked: everything is out that the stream was asked to look for, and it has set the mark.
        flush: send a head that waits for its body.
    """

    received: Callable[[bytes], None]
    write: Callable[[Any], None]
    writelines: Callable[[Any], None]
    enter: Callable[[], None]
    leave: Callable[[], Passed]
    owes: Callable[[], int]
    mark: Callable[[Any, Any], None]
    looked: Callable[[], None]
    flush: Callable[[], None]


def lane(
    run: Callable[[Callable[[bytes], None], bytes], None],
    deliver: Callable[[bytes], None],
    deliver_slowly: Callable[[bytes], None],
    send: Callable[[Any], None],
    send_slowly: Callable[[Any], None],
    direct: Direct,
    look: Callable[[], None],
    mark: Any,
    count: Any,
    send_pieces: Callable[[Any], None],
    heads: Heads,
) -> Lane:
    """Make the lane of a stream; it begins outside.

    Args:
        run: calls in the context of the connection.
        deliver: the server's protocol.
        deliver_slowly: the stream's own method, which parses.
        send: the loop's transport.
        send_slowly: the stream's own method, which parses.
        direct: what may be done with the socket itself.
        look: called when an answer is written and not all of it taken: its mark is left to the stream, and to
            ask again before that has looked would only take time (uvloop sends at the end of a turn).
        mark: one byte that tells others what is under way.
        count: one number that tells them how many bytes were received.
        send_pieces: the loop's transport: several at once.
        heads: of the loop.
    """
    requests, answers = REQUESTS, ANSWERS
    place, wait = heads.place, heads.wait
    (unsent, fd), put = direct, os.write
    owed = OUTSIDE
    seen = total = 0
    request = b""
    head = b"\0"  # begins nothing; and with a total of 0 anything that it begins is too long
    last: Any = b""
    looking = False

    def received(data: bytes) -> None:
        nonlocal owed, request, seen
        if owed != 0:
            deliver_slowly(data)
            return
        if data != request:
            known = requests.get(data)
            if known is None:
                deliver_slowly(data)
                return
            # What came is not kept: the loop reads the next into the same memory, which the caches have.
            request = known
        owed = AN_ANSWER
        if not looking:
            mark[0] = ENDS
        seen += len(data)
        count[0] = seen
        run(deliver, data)

    def write(data: Any) -> None:
        nonlocal owed, head, total, last
        if (
            owed == AN_ANSWER
            and type(data) is bytes
            and len(data) == total
            and data.startswith(head)
            and fd >= 0
            and not unsent()
        ):  # a whole answer at once, as aiohttp writes small ones
            owed = 0
            try:
                taken = put(fd, data)
            except OSError:
                taken = 0  # the transport meets it as well, and knows what it means
            if taken == total:
                last = b""
                if not looking:
                    mark[0] = CLEAN
                return
            last = data = data[taken:]
            send(data)
            sent()
            return
        if owed == AN_ANSWER and data == head:  # most servers write it alone
            owed = total - len(head)
            if owed:
                last = data
                if place[1] and place[0] is None:
                    place[0] = send_head
                else:
                    wait(send_head)
                return
            owed = AN_ANSWER
        if type(data) is not bytes:
            send_slowly(data)
            return
        if owed == AN_ANSWER:
            if not data.startswith(head):
                start = data[: data.find(b"\r\n\r\n") + 4]
                length = answers.get(start)
                if length is None:
                    send_slowly(data)
                    return
                head, total = start, len(start) + length
            rest = total - len(data)
            if rest and len(data) == len(head):
                owed = rest
                last = data
                wait(send_head)
                return
        elif owed > 0:
            rest = owed - len(data)
        elif owed == 0 and not data:
            return  # how h11 says that a message is whole
        else:
            rest = -1
        if rest < 0:
            send_slowly(data)
            return
        owed = rest
        if place[0] is send_head:
            place[0] = None
            if len(data) > JOINED:
                last = data
                send_pieces((head, data))
                if not rest:
                    sent()
                return
            data = head + data
        if fd >= 0 and not unsent():
            try:
                taken = put(fd, data)
            except OSError:
                taken = 0  # the transport meets it as well, and knows what it means
            if taken == len(data):
                last = b""
                if not rest and not looking:
                    mark[0] = CLEAN
                return
            data = data[taken:]
        last = data
        send(data)
        if not rest:
            sent()

    def sent() -> None:
        nonlocal looking
        if looking:
            return
        if unsent():
            # its mark is set later: what this process still has to send would end in the midst with it
            looking = True
            look()
        else:
            mark[0] = CLEAN

    def send_head() -> None:
        send(head)

    def flush() -> None:
        if place[0] is send_head:
            place[0] = None
            send(head)

    def writelines(pieces: Any) -> None:
        nonlocal owed, last
        # A head and a body, as aiohttp writes them: a large one is not to be joined, which copies it.
        whole = (
            owed == AN_ANSWER
            and total > JOINED
            and type(pieces) in (list, tuple)
            and len(pieces) == 2
            and pieces[0] == head
            and type(pieces[1]) is bytes
            and len(pieces[1]) == total - len(head)
        )
        if whole:
            owed = 0
            last = pieces
            send_pieces(pieces)
            sent()
        else:
            write(b"".join(pieces))

    def enter() -> None:
        nonlocal owed, last, seen
        owed = 0
        seen = count[0]
        last = b""

    def leave() -> Passed:
        nonlocal owed, last
        flush()
        written = last if type(last) in (bytes, bytearray, memoryview) else b"".join(last)
        passed = Passed(owed, request, head, total - len(head), written)
        owed = OUTSIDE
        last = b""
        return passed

    def owes() -> int:
        return owed

    def write_to(mark_place: Any, count_place: Any) -> None:
        nonlocal mark, count, seen
        mark, count = mark_place, count_place
        seen = count[0]

    def looked() -> None:
        nonlocal looking
        looking = False

    return Lane(received, write, writelines, enter, leave, owes, write_to, looked, flush)


def learn_request(data: bytes, head: RequestHead) -> None:
    """Remember a chunk of the client's, which held this head and nothing else."""
    if head.keep_alive and _is_plain(data, head):
        if len(REQUESTS) >= _MOST:
            REQUESTS.clear()
        REQUESTS[data] = data


def learn_last_request(head: RequestHead, answer: ResponseHead) -> bool:
    """Remember a request with whose answer, which has come to its end, its connection ends, if it is one."""
    if head.keep_alive or answer.is_event_stream or answer.status < 200 or not _is_plain(head.raw, head):
        return False
    if len(LAST_REQUESTS) >= _MOST:
        LAST_REQUESTS.clear()
    LAST_REQUESTS.add(head.raw)
    return True


def _is_plain(data: bytes, head: RequestHead) -> bool:
    """Whether a chunk is one whole head, behind which nothing comes that belongs to it."""
    return (
        head.method in (b"GET", b"POST", b"PUT", b"DELETE", b"PATCH", b"OPTIONS")
        and not (head.content_length or head.chunked or head.expects_continue)
        and b"pgrade" not in head.raw
        and data == head.raw
        and len(data) <= _LONGEST
    )


def learn_answer(head: ResponseHead) -> None:
    """Remember the head of an answer to such a request."""
    plain = (
        head.status >= 200
        and head.keep_alive
        and not (head.chunked or head.until_close or head.is_event_stream)
        and len(head.raw) <= _LONGEST
    )
    if plain:
        if len(ANSWERS) >= _MOST:
            ANSWERS.clear()
        ANSWERS[head.raw] = head.content_length
