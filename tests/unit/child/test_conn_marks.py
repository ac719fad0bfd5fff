"""What is marked of each connection, for those who come after a process that was killed."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from typing import Any

import pytest

from livereload_core.child import conn_vault
from livereload_core.child.conn_hub import Connections
from livereload_core.child.conn_link import Link
from livereload_core.child.conn_marks import Marks
from livereload_core.posix import memfd
from livereload_core.wire import messages as wire
from livereload_core.wire.links import (
    BROKEN,
    CLEAN,
    COUNT_BYTES,
    ENDS,
    ID_BYTES,
    LOSES,
    SPAN,
    Kind,
    count_at,
    id_at,
    unpack_count,
    unpack_id,
)
from livereload_core.wire.links import Link as Record
from tests.unit.child.conn_stage import Stage, in_loop, stage, until
from tests.unit.child.test_conn_http import OPEN, Web, Web2

GET = b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n"
LARGE = b"x" * 32 * 1024 * 1024


@pytest.fixture
def file() -> Iterator[int]:
    fd = memfd.growing("marks")
    os.truncate(fd, 2 * SPAN)
    yield fd
    os.close(fd)


class Marked:
    """The old generation's only connection, as the parent would find it after a death."""

    def __init__(self, on: Stage, file: int) -> None:
        self._on = on
        self._file = file
        on.old.hub.marks = Marks(os.dup(file), 1)

    @property
    def opened(self) -> list[wire.Opened]:
        return [message for message in self._on.old.told if isinstance(message, wire.Opened)]

    @property
    def mark(self) -> int:
        return os.pread(self._file, 1, self._on.old.link.mark)[0]

    @property
    def count(self) -> int:
        return unpack_count(os.pread(self._file, COUNT_BYTES, count_at(self._on.old.link.mark)))

    @property
    def name(self) -> bytes | None:
        return unpack_id(os.pread(self._file, ID_BYTES, id_at(self._on.old.link.mark)))


class Large(Web):
    """Answers with more than the kernel takes at once."""

    def answer(self) -> None:
        self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(LARGE))
        self.transport.write(LARGE)


class Last(Web):
    def answer(self) -> None:
        self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: close\r\n\r\n1")


def test_an_answer_that_is_written_and_not_out_ends_with_the_process(file: int) -> None:
    @in_loop
    async def test() -> None:
        async with stage(Large) as on:
            marked = Marked(on, file)
            reader, writer = await on.connect()
            on.old.hub.register(on.old.link)
            for _ in range(3):  # followed by the framers, then by the lane
                writer.write(GET % b"/")
                await until(on.old.link.get_write_buffer_size)
                assert not on.old.link.in_flight(), "all of it is written"
                assert marked.mark == ENDS
                await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(len(LARGE))
                await until(lambda: marked.mark == CLEAN)

    test()


def test_a_connection_that_closes_after_its_answer_ends_with_the_process(file: int) -> None:
    @in_loop
    async def test() -> None:
        async with stage(Last) as on:
            marked = Marked(on, file)
            reader, writer = await on.connect()
            writer.write(GET % b"/")
            await reader.readuntil(b"\r\n\r\n1")
            on.old.hub.register(on.old.link)
            assert marked.mark == ENDS

    test()


def test_an_event_that_is_out_leaves_its_id_for_those_who_come_after(file: int) -> None:
    @in_loop
    async def test() -> None:
        async with stage(Web) as on:
            marked = Marked(on, file)
            reader, writer = await on.connect()
            writer.write(GET % b"/events")
            await reader.readuntil(b"\n\n\r\n")
            assert (marked.mark, marked.name) == (CLEAN, b"1")
            link: Any = on.old.link
            seen: list[tuple[int, bytes | None]] = []
            send = link._send

            def sent(data: bytes) -> None:
                seen.append((marked.mark, marked.name))
                send(data)

            link._send = sent
            protocol = link.get_protocol()
            protocol.mark = b"2"
            protocol.event(b"x")
            assert seen == [(ENDS, b"1")], "while it is on its way nobody can tell"
            assert (marked.mark, marked.name) == (CLEAN, b"2")
            link.write(b"8\r\nid: 3\nda\r\n")
            assert marked.mark == ENDS
            link.write(b"7\r\nta: y\n\n\r\n")
            assert (marked.mark, marked.name) == (CLEAN, b"3")

    test()


@pytest.mark.parametrize("name", [b"", b"x" * ID_BYTES], ids=["forgotten", "too long"])
def test_a_stream_whose_id_cannot_be_left_ends_with_the_process(file: int, name: bytes) -> None:
    @in_loop
    async def test() -> None:
        async with stage(Web) as on:
            marked = Marked(on, file)
            reader, writer = await on.connect()
            writer.write(GET % b"/events")
            await reader.readuntil(b"\n\n\r\n")
            protocol: Any = on.old.link.get_protocol()
            protocol.mark = name
            protocol.event(b"x")
            assert marked.mark == ENDS

    test()


@pytest.mark.parametrize(
    ("first", "then", "mark"),
    [
        (GET % b"/", GET % b"/", ENDS),
        (OPEN, b"\x81\x80\0\0\0\0", BROKEN),
        (b"hello\n", b"hello\n", LOSES),
    ],
    ids=["http", "websocket", "raw"],
)
def test_what_the_client_says_while_it_is_held_is_lost_with_the_process(
    file: int, first: bytes, then: bytes, mark: int
) -> None:
    @in_loop
    async def test() -> None:
        async with stage(Web) as on:
            marked = Marked(on, file)
            _, writer = await on.connect()
            link: Any = on.old.link
            writer.write(first)
            seen = (Kind.WEBSOCKET, Kind.RAW)
            await until(lambda: link._responses.finished or link.owes is False or link.kind in seen)
            on.old.hub.register(link)
            assert marked.mark == CLEAN
            await on.old.hub.quiesce(0)
            writer.write(then)
            await until(lambda: link._held)
            assert marked.mark == mark
            link.note()  # as when the last bytes of an answer have left
            assert marked.mark == mark
            on.old.hub.resume()
            link.taken()
            link.asks()
            await until(lambda: marked.mark == CLEAN)

    test()


@pytest.mark.parametrize(
    ("kind", "carried", "mark"),
    [
        (Kind.HTTP, {"inbound": GET % b"/"}, ENDS),
        (Kind.WEBSOCKET, {"inbound": b"\x81\x80\0\0\0\0"}, BROKEN),
        (Kind.RAW, {"inbound": b"half a line"}, LOSES),
        (Kind.RAW, {"outbound": b"half an answer"}, ENDS),
        (Kind.HTTP, {}, CLEAN),
    ],
)
def test_what_a_connection_brings_along_is_lost_with_the_process_until_it_is_delivered(
    file: int, kind: str, carried: dict[str, bytes], mark: int
) -> None:
    marks = Marks(os.dup(file), 1)
    link = Link(Connections(), Web(), 1)
    at = marks.allot()
    link.give_mark(at, marks)
    link.await_replay(Record(1, kind, "x", **carried))  # type: ignore[arg-type]
    assert os.pread(file, 1, at)[0] == mark
    marks.close()


def test_what_a_connection_brings_along_stays_marked_while_its_handshake_is_played(file: int) -> None:
    class Noting(Web):
        marks: list[int]

        def asked(self, head: bytes) -> None:
            super().asked(head)
            self.marks.append(os.pread(file, 1, self.transport.mark)[0])

    Noting.marks = []

    @in_loop
    async def test() -> None:
        async with stage(Web) as on:
            Marked(on, file)
            on.new.hub.marks = Marks(os.dup(file), 2)
            reader, writer = await on.connect()
            writer.write(OPEN)
            await reader.readuntil(b"\r\n\r\n")
            link: Any = on.old.link
            link.gate = "websockets"
            link.receiving = 1
            await on.old.hub.quiesce(0)
            writer.write(b"\x81\x80\0\0\0\0")
            await until(lambda: link._held)
            assert await on.switch(Noting) == {}
            await until(on.new.settled)
            assert Noting.marks == [BROKEN]
            taking: Any = on.new.link
            await until(lambda: taking._client.pending)
            assert os.pread(file, 1, taking.mark)[0] == LOSES

    test()


def test_requests_that_were_held_are_marked_until_the_last_of_them_is_answered(file: int) -> None:
    class Noting(Web):
        marks: list[int]

        def answer(self) -> None:
            super().answer()
            self.marks.append(os.pread(file, 1, self.transport.mark)[0])

    Noting.marks = []

    @in_loop
    async def test() -> None:
        async with stage(Noting) as on:
            Marked(on, file)
            _, writer = await on.connect()
            link: Any = on.old.link
            on.old.hub.register(link)
            await on.old.hub.quiesce(0)
            writer.write(GET % b"/")
            await until(lambda: len(link._held) == 1)
            writer.write(GET % b"/")
            await until(lambda: len(link._held) == 2)
            on.old.hub.resume()
            assert Noting.marks == [ENDS, CLEAN]

    test()


def test_what_a_protocol_of_the_programs_own_hears_is_marked_until_it_is_dealt_with(file: int) -> None:
    class Lines(asyncio.Protocol):
        def connection_made(self, transport: Any) -> None:
            transport.streams = True

    @in_loop
    async def test() -> None:
        async with stage(Lines) as on:
            marked = Marked(on, file)
            _, writer = await on.connect()
            link: Any = on.old.link
            on.old.hub.register(link)
            writer.write(b"hello\n")
            await until(lambda: link.kind == Kind.RAW)
            assert marked.mark == LOSES
            link.taken_bytes(6)
            assert marked.mark == LOSES, "a handler has it in hand"
            link.asks()
            assert marked.mark == CLEAN, "and comes for the next"

    test()


def test_a_generation_that_has_parted_with_a_connection_writes_to_its_mark_no_more(file: int) -> None:
    @in_loop
    async def test() -> None:
        async with stage(Web) as on:
            Marked(on, file)
            reader, writer = await on.connect()
            link: Any = on.old.link
            on.old.hub.register(link)
            for _ in range(2):  # then the lane has it
                writer.write(GET % b"/")
                await reader.readuntil(b"\r\n\r\n1")
            await on.freeze()
            os.pwrite(file, bytes([ENDS]), link.mark)  # as whoever has it now
            link.note()
            assert os.pread(file, 1, link.mark)[0] == ENDS
            link.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1")
            assert os.pread(file, 1, link.mark)[0] == ENDS

    test()


def test_a_websocket_whose_last_word_was_said_is_not_taken_over_from_the_dead(file: int) -> None:
    @in_loop
    async def test() -> None:
        async with stage(Web) as on:
            marked = Marked(on, file)
            reader, writer = await on.connect()
            writer.write(OPEN)
            await reader.readuntil(b"\r\n\r\n")
            assert marked.mark == CLEAN
            on.old.link.close_with_reason()
            assert marked.mark == ENDS

    test()


def test_what_was_received_is_counted_once_however_it_is_delivered(file: int) -> None:
    @in_loop
    async def test() -> None:
        async with stage(Web) as on:
            marked = Marked(on, file)
            on.new.hub.marks = Marks(os.dup(file), 2)
            reader, writer = await on.connect()
            ask = GET % b"/"
            for asked in range(1, 5):  # followed by the framers, then by the lane
                writer.write(ask)
                await reader.readuntil(b"\r\n\r\n1")
                if asked == 1:
                    on.old.hub.register(on.old.link)
                assert marked.count == asked * len(ask)
            link: Any = on.old.link
            await on.old.hub.quiesce(0)
            writer.write(ask)
            await until(lambda: link._held)
            assert marked.count == 5 * len(ask), "held"
            on.old.hub.resume()
            await reader.readuntil(b"\r\n\r\n1")
            assert marked.count == 5 * len(ask), "and given back"
            writer.write(ask[:9])
            await until(lambda: marked.count == 5 * len(ask) + 9)
            assert await on.switch(Web2) == {}
            await until(on.new.settled)
            writer.write(ask[9:])
            await reader.readuntil(b"\r\n\r\n2")
            mark = on.new.link.mark
            assert unpack_count(os.pread(file, COUNT_BYTES, count_at(mark))) == 6 * len(ask), "and taken over"

    test()


def test_a_mark_that_is_used_again_has_no_id(file: int) -> None:
    marks = Marks(os.dup(file), 1)
    first = marks.allot()
    assert marks.note_id(first, b"7")
    assert unpack_id(os.pread(file, ID_BYTES, id_at(first))) == b"7"
    marks.free(first)
    assert marks.allot() == first
    assert unpack_id(os.pread(file, ID_BYTES, id_at(first))) is None
    assert not marks.note_id(-1, b"7")
    marks.close()


# -- when the parent is told -------------------------------------------------------------------------------


def test_a_connection_is_given_to_the_parent_by_its_own_age(
    file: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conn_vault, "YOUNG", 3600.0)

    @in_loop
    async def test() -> None:
        async with stage(Web) as on:
            marked = Marked(on, file)
            await on.connect()
            await on.connect()
            hub = on.old.hub
            (_, first, looks), second = hub._young
            hub._young[0] = (0.0, first, looks)
            hub._scan()
            assert [opened.number for opened in marked.opened] == [first.number]
            assert list(hub._young) == [second], "it was opened a moment ago"

    test()


def test_a_connection_that_has_ended_never_reaches_the_parent(file: int) -> None:
    @in_loop
    async def test() -> None:
        async with stage(Web) as on:
            marked = Marked(on, file)
            _, writer = await on.connect()
            hub = on.old.hub
            writer.close()
            await until(lambda: not hub.links)
            await until(lambda: hub._scans_in is None)
            assert on.old.told == marked.opened == []

    test()


def test_a_connection_on_which_an_answer_is_under_way_is_given_to_the_parent_after_it(
    file: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conn_vault, "LOOKS", 10**9)

    @in_loop
    async def test() -> None:
        async with stage(Web) as on:
            marked = Marked(on, file)
            reader, writer = await on.connect()
            writer.write(GET % b"/slow")
            hub = on.old.hub
            await until(lambda: bool(hub._young) and hub._young[0][2] < 10**9 - 3)
            assert not marked.opened
            hub.links[hub._young[0][1].number]._protocol.answer()
            await reader.readuntil(b"\r\n\r\n1")
            await until(lambda: bool(marked.opened))

    test()


def test_a_connection_whose_answer_takes_long_is_given_to_the_parent_meanwhile(file: int) -> None:
    @in_loop
    async def test() -> None:
        async with stage(Web) as on:
            marked = Marked(on, file)
            _, writer = await on.connect()
            writer.write(GET % b"/slow")
            await until(lambda: bool(marked.opened))
            assert on.old.link.in_flight()

    test()


def test_a_stream_of_events_is_given_to_the_parent_before_its_first_byte(
    file: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conn_vault, "YOUNG", 3600.0)

    @in_loop
    async def test() -> None:
        async with stage(Web) as on:
            marked = Marked(on, file)
            reader, writer = await on.connect()
            writer.write(GET % b"/events")
            await reader.readuntil(b"\r\n\r\n")
            (opened,) = marked.opened
            assert opened.link["kind"] == Kind.EVENTS

    test()


def test_a_stream_of_events_that_has_ended_is_told_as_what_it_is_then(file: int) -> None:
    @in_loop
    async def test() -> None:
        async with stage(Web) as on:
            marked = Marked(on, file)
            reader, writer = await on.connect()
            writer.write(GET % b"/events")
            await reader.readuntil(b"\n\n\r\n")
            on.old.link.write(b"0\r\n\r\n")
            assert marked.opened[-1].link["kind"] == Kind.HTTP
            assert marked.mark == CLEAN

    test()


def test_a_protocol_of_the_programs_own_is_told_as_that_once_it_speaks(file: int) -> None:
    @in_loop
    async def test() -> None:
        async with stage(asyncio.Protocol) as on:
            marked = Marked(on, file)
            _, writer = await on.connect()
            await until(lambda: marked.opened)
            assert marked.opened[-1].link["kind"] == Kind.HTTP, "nothing has been said"
            writer.write(b"hello\n")
            await until(lambda: len(marked.opened) > 1)
            assert marked.opened[-1].link["kind"] == Kind.RAW

    test()
