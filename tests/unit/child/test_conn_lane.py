"""The fast lane judges as the framers would, whatever passes and whenever somebody asks."""

from __future__ import annotations

import asyncio
import functools
import os
import random
from typing import Any

import pytest

from livereload_core.child import conn_lane, conn_laned
from livereload_core.child.conn_direct import Direct
from livereload_core.child.conn_hub import Connections
from livereload_core.child.conn_link import Link
from livereload_core.child.conn_marks import Marks
from livereload_core.state.connection import current
from livereload_core.wire.links import CLEAN, ENDS
from tests.unit.child.conn_stage import in_loop, stage, until

PLAIN = (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"GET /other HTTP/1.1\r\nHost: x\r\nCookie: a=b\r\n\r\n")
ODD = (
    b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc",
    PLAIN[0] + PLAIN[1],
)
HEADS = tuple(
    b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nDate: %d\r\n\r\n" % (length, second)
    for length in (0, 1, 40)
    for second in (1, 2)
)
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"


class Wire(asyncio.Transport):
    """A loop's transport that takes everything."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[bytes] = []
        self.protocol: Any = None

    def write(self, data: Any) -> None:
        self.sent.append(bytes(data))

    def writelines(self, list_of_data: Any) -> None:
        self.sent += map(bytes, list_of_data)

    def close(self) -> None:
        self.sent.append(b"<closed>")

    def set_protocol(self, protocol: Any) -> None:
        self.protocol = protocol

    def is_closing(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return 0


class Server(asyncio.Protocol):
    """Keeps what it hears."""

    def __init__(self) -> None:
        self.heard = b""

    def data_received(self, data: bytes) -> None:
        self.heard += data


class Slow(Link):
    """A link that never takes the fast lane."""

    __slots__ = ()

    def _enter_lane(self) -> None:
        pass


class Side:
    """One link with its two ends."""

    def __init__(self, kind: type[Link]) -> None:
        self.server = Server()
        self.wire = Wire()
        self.hub = Connections()
        self.link = kind(self.hub, self.server, 1)
        self.wire.protocol = self.link
        self.place = bytearray(1)
        self.link._mark = memoryview(self.place)
        self.link.connection_made(self.wire)

    def seen(self) -> tuple[object, ...]:
        """What anybody may know without asking the link to stop."""
        return self.link.in_flight(), bytes(self.place), self.server.heard

    @property
    def sent(self) -> bytes:
        """What has left."""
        return b"".join(self.wire.sent)

    def judged(self) -> tuple[object, ...]:
        """What a reload asks."""
        record = self.link.export()
        return self.link.verdict(), record.inbound, record.kind, self.link.in_flight()


def _pieces(rng: random.Random, data: bytes) -> list[bytes]:
    cuts = (
        sorted(rng.sample(range(1, len(data)), min(rng.randrange(3), len(data) - 1))) if len(data) > 1 else []
    )
    return [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]


def _script(rng: random.Random) -> list[tuple[str, Any]]:
    """A conversation in which the server answers everything in its order, with someone asking at times."""
    steps: list[tuple[str, Any]] = []
    for _ in range(30):
        request = rng.choice(PLAIN) if rng.random() < 0.8 else rng.choice(ODD)
        count = request.count(b" HTTP/1.1")
        whole = rng.random() < 0.9
        steps += [("hear", piece) for piece in ([request] if whole else _pieces(rng, request))]
        for number in range(count):
            if rng.random() < 0.1:
                steps.append(("ask", None))
            head = rng.choice(HEADS)
            body = b"x" * int(head.split(b"Length: ")[1].split(b"\r")[0])
            if request.startswith(b"HEAD"):
                body = b""
            elif rng.random() < 0.1:
                head, body = CHUNKED, b""
            style = rng.randrange(6)
            if style >= 4:
                pieces: list[Any] = [head, body] if style == 4 else _pieces(rng, head + body)
                if rng.random() < 0.05:
                    pieces[-1] = bytearray(pieces[-1])
                steps.append(("say at once", pieces if rng.random() < 0.5 else tuple(pieces)))
                continue
            if style == 0:
                out = [head + body]
            elif style == 1:
                out = [head, body, b""]
            elif style == 2:
                out = [head, *_pieces(rng, body)]
            else:
                out = _pieces(rng, head + body)
            steps += [("say", bytearray(piece) if rng.random() < 0.05 else piece) for piece in out]
            if count == 2 and not number and rng.random() < 0.3:
                steps.append(("hear", rng.choice(PLAIN)))
                steps.append(("ask", None))
                return steps
        if rng.random() < 0.2:
            steps.append(("ask", None))
    return steps


@pytest.mark.parametrize("seed", range(150))
def test_the_lane_knows_what_the_framers_know(seed: int) -> None:
    @in_loop
    async def both() -> None:
        rng = random.Random(seed)
        fast, slow = Side(Link), Side(Slow)
        for what, data in _script(rng):
            if what == "ask":
                assert fast.judged() == slow.judged()
            for side in (fast, slow):
                if what == "hear":
                    side.wire.protocol.data_received(data)
                elif what == "say":
                    side.link.write(data)
                elif what == "say at once":
                    side.link.writelines(data)
            assert fast.seen() == slow.seen(), (what, data)
            assert slow.sent.startswith(fast.sent)
            if rng.random() < 0.5:
                await asyncio.sleep(0)  # a head may wait for its body, but not for another turn
                assert fast.sent == slow.sent, (what, data)
        assert fast.judged() == slow.judged()

    both()


@in_loop
async def test_a_server_in_steady_state_is_in_the_lane() -> None:
    side = Side(Link)
    for _ in range(3):
        side.wire.protocol.data_received(PLAIN[0])
        assert side.link.in_flight()
        side.link.write(HEADS[2])
        side.link.write(b"x")
        assert not side.link.in_flight()
    assert side.link.owes is False  # None: outside
    assert PLAIN[0] in conn_lane.REQUESTS


@pytest.fixture
def _nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    known: set[bytes] = set()
    for module in (conn_lane, conn_laned):
        monkeypatch.setattr(module, "LAST_REQUESTS", known)


@in_loop
async def test_a_new_connection_that_asks_what_others_have_asked_is_in_the_lane_at_once() -> None:
    for _ in range(2):
        side = Side(Link)
        side.wire.protocol.data_received(PLAIN[0])
        side.link.write(HEADS[2] + b"x")
    side = Side(Link)
    side.wire.protocol.data_received(PLAIN[0])
    assert side.link.in_flight()
    assert side.server.heard == PLAIN[0]
    assert side.place[0] == ENDS
    side.link.write(HEADS[2] + b"x")
    assert side.link.owes is False
    assert side.place[0] == CLEAN


@in_loop
async def test_a_connection_on_which_the_server_has_spoken_first_is_followed() -> None:
    for _ in range(2):
        side = Side(Link)
        side.wire.protocol.data_received(PLAIN[0])
        side.link.write(HEADS[2] + b"x")
    side = Side(Link)
    side.link.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n")
    side.wire.protocol.data_received(PLAIN[0])
    assert side.link.owes is None


LAST = b"GET /last HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
LAST_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx"


@pytest.mark.usefixtures("_nothing_known")
@pytest.mark.parametrize(
    "answer",
    [LAST_ANSWER, CHUNKED.replace(b"\r\n\r\n3", b"\r\nConnection: close\r\n\r\n3")],
    ids=["length", "chunked"],
)
def test_the_last_exchange_of_a_connection_is_not_followed_once_it_is_known(answer: bytes) -> None:
    @in_loop
    async def test() -> None:
        sides = []
        for known in (False, True):
            side = Side(Link)
            sides.append(side)
            assert (LAST in conn_lane.LAST_REQUESTS) == known
            side.wire.protocol.data_received(LAST)
            assert side.seen() == (True, bytes([ENDS]), LAST)
            assert side.link.verdict().passes
            assert (side.link._requests.begun == 0) == known
            side.link.writelines([answer[:20], answer[20:-1]])
            side.link.write(answer[-1:])
            assert side.sent == answer
            assert side.place[0] == ENDS, "it ends with this process, whatever comes"
            assert side.link.verdict().reason
            side.link.note()
            assert side.place[0] == ENDS
            side.link.close()
            side.link.connection_lost(None)
            assert not side.link.in_flight()
        assert sides[0].wire.sent[-1] == sides[1].wire.sent[-1] == b"<closed>"

    test()


@pytest.mark.usefixtures("_nothing_known")
@pytest.mark.parametrize(
    ("request_", "answer"),
    [
        (LAST, b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\ndata: 1\n\n"),
        (LAST, b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nx"),
        (LAST.replace(b"GET", b"HEAD"), LAST_ANSWER[:-1]),
        (LAST[:-2] + b"Content-Length: 1\r\n\r\nx", LAST_ANSWER),
        (PLAIN[0], LAST_ANSWER),
    ],
    ids=["events", "until the end", "head", "body", "the server ends it"],
)
def test_what_may_be_more_than_an_answer_is_followed_each_time(request_: bytes, answer: bytes) -> None:
    @in_loop
    async def test() -> None:
        for _ in range(2):
            side = Side(Link)
            side.wire.protocol.data_received(request_)
            side.link.write(answer)
            side.link.connection_lost(None)
        assert not conn_lane.LAST_REQUESTS

    test()


@pytest.mark.usefixtures("_nothing_known")
def test_while_somebody_watches_the_last_exchange_is_followed() -> None:
    @in_loop
    async def test() -> None:
        conn_lane.LAST_REQUESTS.add(LAST)
        side = Side(Link)
        spoken: list[int] = []
        side.hub.on_answer = lambda: spoken.append(1)
        side.wire.protocol.data_received(LAST)
        side.link.write(LAST_ANSWER)
        assert spoken == [1]
        assert side.link._requests.begun == 1

    test()


@in_loop
async def test_a_reload_waits_for_the_last_answer_of_a_connection_and_leaves_it_behind() -> None:
    conn_lane.LAST_REQUESTS.add(LAST)
    async with stage(Waiting) as on:
        reader, writer = await on.connect()
        writer.write(LAST)
        link = on.old.link
        await until(lambda: link.in_flight())
        quiesce = asyncio.create_task(on.old.hub.quiesce(5))
        await asyncio.sleep(0.02)
        assert not quiesce.done()
        protocol: Any = link.get_protocol()
        protocol.transport.write(LAST_ANSWER)
        protocol.transport.close()
        await quiesce
        assert await reader.read() == LAST_ANSWER
        numbers, _, staying = on.old.hub.export()
        assert (numbers, staying) == ((), {})


class Waiting(asyncio.Protocol):
    """Answers when it is told to."""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport


@in_loop
async def test_methods_that_a_server_keeps_work_inside_and_outside_of_the_lane() -> None:
    side = Side(Link)
    write, received = side.link.write, side.link.data_received
    for _ in range(3):
        received(PLAIN[0])
        write(HEADS[2] + b"x")
    kept_write, kept_received = side.link.write, side.link.data_received
    assert kept_write is not write
    side.link.unfold()
    kept_received(ODD[1])
    kept_write(HEADS[2])
    assert side.link.in_flight()
    kept_write(b"x")
    assert not side.link.in_flight()
    assert b"".join(side.wire.sent) == (HEADS[2] + b"x") * 4


@in_loop
async def test_a_small_answer_in_pieces_leaves_as_one_and_a_large_one_is_not_copied() -> None:
    side = Side(Link)
    for _ in range(3):
        side.wire.protocol.data_received(PLAIN[0])
        side.link.writelines([HEADS[2], b"x"])
    assert side.wire.sent[-1] == HEADS[2] + b"x"
    large = b"x" * (conn_lane.JOINED + 1)
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(large)
    for _ in range(3):
        side.wire.protocol.data_received(PLAIN[0])
        side.link.writelines([head, large])
    assert side.wire.sent[-2:] == [head, large]
    side.wire.protocol.data_received(PLAIN[0])
    side.link.write(head)
    side.link.write(large)
    assert side.wire.sent[-2:] == [head, large]
    assert not side.link.in_flight()


@in_loop
async def test_what_the_kernel_has_not_taken_is_known_when_somebody_asks() -> None:
    for pieces in ([HEADS[2], b"x"], [HEADS[2] + b"x"]):
        side = Side(Link)
        for _ in range(2):
            side.wire.protocol.data_received(PLAIN[0])
            side.link.writelines([HEADS[2], b"x"])
        side.wire.get_write_buffer_size = lambda: 4  # type: ignore[method-assign]
        side.wire.protocol.data_received(PLAIN[0])
        for piece in pieces:
            side.link.write(piece)
        assert side.link.export().outbound == b"\r\n\r\nx"[-4:]


async def _answering_head_first(*sides: Side) -> None:
    """Bring them into the lane, with a head known whose body is to come."""
    for side in sides:
        for _ in range(2):
            side.wire.protocol.data_received(PLAIN[0])
            side.link.write(HEADS[4])
            side.link.write(b"x" * 40)
        await asyncio.sleep(0)
        side.wire.sent.clear()
        side.wire.protocol.data_received(PLAIN[0])
        side.link.write(HEADS[4])


@in_loop
async def test_a_head_leaves_with_its_body_when_that_follows_at_once() -> None:
    side = Side(Link)
    await _answering_head_first(side)
    assert side.wire.sent == []
    assert side.link.in_flight()
    side.link.write(b"x" * 40)
    assert side.wire.sent == [HEADS[4] + b"x" * 40]
    await asyncio.sleep(0)
    assert side.wire.sent == [HEADS[4] + b"x" * 40]


@in_loop
async def test_a_head_waits_for_its_body_until_the_end_of_the_turn_only() -> None:
    side = Side(Link)
    for _ in range(2):
        await _answering_head_first(side)
        await asyncio.sleep(0)
        assert side.wire.sent == [HEADS[4]]
        side.link.write(b"x" * 10)
        assert side.wire.sent == [HEADS[4], b"x" * 10]
        assert side.link.in_flight()
        side.link.write(b"x" * 30)
        assert not side.link.in_flight()


@in_loop
async def test_a_head_that_waits_leaves_before_anything_else_happens_to_its_connection() -> None:
    first, second = Side(Link), Side(Link)
    second.link._hub = first.hub  # two connections of one loop
    await _answering_head_first(first)
    await _answering_head_first(second)
    assert first.wire.sent == [HEADS[4]], "one head waits at most"
    assert second.wire.sent == []
    second.link.close()
    assert second.wire.sent == [HEADS[4], b"<closed>"]
    third = Side(Link)
    await _answering_head_first(third)
    assert third.link.loop_transport is third.wire  # as sendfile() asks for it
    assert third.wire.sent == [HEADS[4]]
    fourth = Side(Link)
    await _answering_head_first(fourth)
    fourth.wire.protocol.data_received(PLAIN[1])  # pipelined: out of the lane
    assert fourth.wire.sent == [HEADS[4]]


class Answering(asyncio.Protocol):
    """Answers each request with as many bytes as it is told."""

    def __init__(self) -> None:
        self.transport: Any = None
        self.length = 1
        self.count = 0

    def has_answered(self, count: int) -> bool:
        """Whether it has answered so many requests in all."""
        return self.count >= count

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % self.length)
        self.transport.write(b"x" * self.length)
        self.count += 1


@in_loop
async def test_a_client_that_reads_slowly_gets_everything_in_its_order() -> None:
    """With a real socket, to which the lane writes by itself until the kernel takes no more."""
    server = Answering()
    async with stage(lambda: server) as play:
        reader, writer = await play.connect()

        async def answered() -> bytes:
            head = await reader.readuntil(b"\r\n\r\n")
            return head + await reader.readexactly(int(head.split(b"Length: ")[1]))

        for _ in range(3):
            writer.write(PLAIN[0])
            assert (await answered()).endswith(b"\r\n\r\nx")
        link = play.old.link
        assert link.owes is False
        assert Direct.of(link.loop_transport).fd == link.get_extra_info("socket").fileno()
        # Not read, and asked for again and again: more than a kernel keeps for one connection.
        server.length = 12_000
        reader._transport.pause_reading()  # type: ignore[attr-defined]
        first = server.count
        asked = first
        while link.get_write_buffer_size() < 10_000:
            writer.write(PLAIN[0])
            asked += 1
            await until(functools.partial(server.has_answered, asked))
        reader._transport.resume_reading()  # type: ignore[attr-defined]
        for _ in range(first, asked):
            assert await answered() == b"HTTP/1.1 200 OK\r\nContent-Length: 12000\r\n\r\n" + b"x" * 12_000
        await until(lambda: not link.get_write_buffer_size())


@in_loop
async def test_nothing_passes_by_while_somebody_watches() -> None:
    side = Side(Link)
    for _ in range(2):
        side.wire.protocol.data_received(PLAIN[0])
        side.link.write(HEADS[2] + b"x")
    side.hub.links[1] = side.link
    side.wire.protocol.data_received(PLAIN[0])
    await side.hub.quiesce(0)  # the answer is not there in time
    assert side.link.in_flight()
    side.link.write(HEADS[2] + b"x")
    await asyncio.sleep(0)
    assert side.link.holding, "held as soon as it had answered"
    side.wire.protocol.data_received(PLAIN[1])
    assert PLAIN[1] not in side.server.heard


@in_loop
async def test_who_hears_a_first_answer_hears_proven_code() -> None:
    side = Side(Link)
    order: list[str] = []
    side.hub.on_answer = lambda: order.append(f"proven, {len(side.wire.sent)} pieces out")
    side.wire.protocol.data_received(PLAIN[0])
    side.link.write(HEADS[2] + b"x")
    assert order == ["proven, 0 pieces out"]


@in_loop
async def test_handlers_of_two_connections_in_one_context_know_their_own() -> None:
    """As with uvloop, whose connections share the context of their server."""
    seen: list[object] = []
    sides = [Side(Link), Side(Link)]
    for side in sides:
        side.server.data_received = lambda data: seen.append(current.get())  # type: ignore[method-assign]
        side.link.set_protocol(side.server)
    for _ in range(4):
        for side in sides:
            side.wire.protocol.data_received(PLAIN[0])
            side.link.write(HEADS[2] + b"x")
    assert seen == [side.link for side in sides] * 4


@in_loop
async def test_what_the_kernel_has_not_taken_is_looked_for_once_and_marked_until_then() -> None:
    side = Side(Link)
    size = 0
    asked: list[int] = []

    def unsent() -> int:
        asked.append(size)
        return size

    side.wire.get_write_buffer_size = unsent  # type: ignore[method-assign]
    for _ in range(2):
        side.wire.protocol.data_received(PLAIN[0])
        side.link.write(HEADS[2] + b"x")
    assert side.place[0] == CLEAN
    size = 4
    asked.clear()
    for _ in range(5):
        side.wire.protocol.data_received(PLAIN[0])
        assert side.place[0] == ENDS
        side.link.write(HEADS[2] + b"x")
        assert side.place[0] == ENDS
    assert len(asked) == 1
    side.wire.protocol.data_received(PLAIN[0])
    size = 0
    await until(lambda: len(asked) > 1)  # it is out, but the next answer is owed
    assert side.place[0] == ENDS
    side.link.write(HEADS[2] + b"x")
    assert side.place[0] == CLEAN
    size = 4
    side.wire.protocol.data_received(PLAIN[0])
    side.link.writelines([HEADS[2], b"x"])
    assert side.place[0] == ENDS
    size = 0
    await until(lambda: side.place[0] == CLEAN)


@in_loop
async def test_what_was_received_is_counted_where_the_count_is_now() -> None:
    side = Side(Link)

    def exchange() -> None:
        side.wire.protocol.data_received(PLAIN[0])
        side.link.write(HEADS[2] + b"x")

    for _ in range(3):
        exchange()
    marks = Marks(os.memfd_create("marks"), 0)
    os.ftruncate(marks._fd, 1 << 20)
    offset = marks.allot()
    side.link.give_mark(offset, marks)
    side.link.count_from(3 * len(PLAIN[0]))  # as the kernel tells, from the time before there was a mark
    for number in range(4, 7):
        exchange()
        assert marks.count(offset)[0] == number * len(PLAIN[0])
    side.wire.protocol.data_received(ODD[1])  # out of the lane, and into it again
    side.link.write(HEADS[2] + b"x")
    exchange()
    exchange()
    assert marks.count(offset)[0] == 8 * len(PLAIN[0]) + len(ODD[1])
    marks.close()
