"""Connections before the first words of their clients, and those with last words only."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
import weakref
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest
import uvloop

from livereload_core.child import conn_arrival, conn_lane, conn_laned, conn_server
from livereload_core.child.conn_arrival import learn_protocol
from livereload_core.child.conn_link import Link
from livereload_core.state.connection import connection
from livereload_core.wire import messages as wire
from tests.unit.child.conn_stage import Generation, Stage, stage, until

LAST = b"GET /last HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
KEPT = b"GET /kept HTTP/1.1\r\nHost: x\r\n\r\n"
LAST_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx"

LOOPS = pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])


class Asked(asyncio.Protocol):
    """Writes down what happens to it, and answers when it is told to."""

    made: list[Asked]

    def __init__(self) -> None:
        type(self).made.append(self)
        self.events: list[Any] = []
        self.transport: Any = None
        self.generation = -1

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.events.append("made")
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.events.append(data)
        self.generation = connection().generation

    def eof_received(self) -> None:
        self.events.append("eof")

    def connection_lost(self, exc: Exception | None) -> None:
        self.events.append("lost")

    def answer(self) -> None:
        self.transport.write(LAST_ANSWER)
        self.transport.close()


@pytest.fixture(autouse=True)
def _nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    known: set[bytes] = set()
    patient: set[type] = set()
    for module in (conn_lane, conn_laned, conn_arrival):
        monkeypatch.setattr(module, "LAST_REQUESTS", known)
    monkeypatch.setattr(conn_arrival, "PATIENT", patient)
    monkeypatch.setattr(conn_server, "PATIENT", patient)
    Asked.made = []


def run(loop: Callable[[], asyncio.AbstractEventLoop], test: Coroutine[Any, Any, None]) -> None:
    """Run a test in a loop of this kind."""
    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(test)


@contextlib.asynccontextmanager
async def acquainted() -> AsyncIterator[Stage]:
    """A stage whose server has answered a last request before."""
    async with stage(Asked) as on:
        reader, _ = await ask(on, LAST)
        assert isinstance(Asked.made[-1].transport, Link)
        Asked.made[-1].answer()
        assert await reader.read() == LAST_ANSWER
        await until(lambda: not on.old.hub.count())
        assert LAST in conn_lane.LAST_REQUESTS
        yield on


async def ask(on: Stage, words: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect a client that says so much, and wait until its server has heard of it."""
    known = len(Asked.made)
    reader, writer = await asyncio.open_connection(*on.listener.getsockname())
    on.adopt_client(writer)
    writer.write(words)
    await until(lambda: len(Asked.made) > known and (not words or len(Asked.made[-1].events) > 1))
    return reader, writer


@LOOPS
def test_a_known_last_request_is_answered_on_the_loops_own_transport(loop: Any) -> None:
    async def test() -> None:
        async with acquainted() as on:
            hub = on.old.hub
            told = len(on.old.told)
            reader, _ = await ask(on, LAST)
            server = Asked.made[-1]
            assert not isinstance(server.transport, Link)
            assert server.events == ["made", LAST]
            assert server.generation == 1
            assert (hub.count(), hub.in_flight(), len(hub.links)) == (1, 1, 0)
            assert server.transport.get_extra_info("socket").fileno() in hub.filenos()
            server.answer()
            assert await reader.read() == LAST_ANSWER
            await until(lambda: server.events[-1] == "lost")
            assert (hub.count(), hub.in_flight()) == (0, 0)
            assert len(on.old.told) == told, "the parent hears nothing of it"

    run(loop, test())


@LOOPS
def test_a_client_that_keeps_its_connection_gets_a_link(loop: Any) -> None:
    async def test() -> None:
        async with acquainted() as on:
            await ask(on, KEPT)
            assert Asked.made[-1].events == ["made", KEPT]
            assert Asked.made[-1].transport is on.old.link
            assert on.old.link.in_flight()
            assert Asked.made[-1].generation == 1

    run(loop, test())


@LOOPS
def test_a_silent_client_gets_a_link_and_the_parent_holds_it(loop: Any) -> None:
    async def test() -> None:
        async with acquainted() as on:
            _, writer = await ask(on, b"")
            assert Asked.made[-1].events == []
            assert on.old.hub.count() == 1
            await until(lambda: on.old.hub.links)
            assert Asked.made[-1].events == ["made"]
            await until(lambda: on.old.link.vaulted)
            (opened,) = (told for told in on.old.told if isinstance(told, wire.Opened))
            assert opened.number == on.old.link.number
            writer.write(LAST)
            await until(lambda: len(Asked.made[-1].events) > 1)
            assert on.old.hub.in_flight() == 1

    run(loop, test())


@LOOPS
def test_a_client_that_leaves_without_a_word_is_seen_from_beginning_to_end(loop: Any) -> None:
    async def test() -> None:
        async with acquainted() as on:
            _, writer = await ask(on, b"")
            writer.write_eof()
            await until(lambda: Asked.made[-1].events[-1:] == ["lost"])
            assert Asked.made[-1].events == ["made", "eof", "lost"]
            assert not on.old.hub.count()

    run(loop, test())


@LOOPS
def test_a_client_that_resets_without_a_word_is_seen_from_beginning_to_end(loop: Any) -> None:
    async def test() -> None:
        async with acquainted() as on:
            known = len(Asked.made)
            with socket.create_connection(on.listener.getsockname()) as client:
                await until(lambda: len(Asked.made) > known)
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            await until(lambda: Asked.made[-1].events[-1:] == ["lost"])
            assert Asked.made[-1].events[0] == "made"
            assert not on.old.hub.count()

    run(loop, test())


@LOOPS
def test_a_reload_waits_for_a_last_answer_and_leaves_it_behind(loop: Any) -> None:
    async def test() -> None:
        async with acquainted() as on:
            reader, _ = await ask(on, LAST)
            quiesce = asyncio.create_task(on.old.hub.quiesce(5))
            await until(lambda: on.old.hub.holding)
            for _ in range(10):
                await asyncio.sleep(0)
            assert not quiesce.done()
            Asked.made[-1].answer()
            await quiesce
            assert await reader.read() == LAST_ANSWER
            numbers, _, staying = on.old.hub.export()
            assert (numbers, staying) == ((), {})

    run(loop, test())


@LOOPS
def test_an_answer_that_takes_longer_is_finished_by_the_code_that_began_it(loop: Any) -> None:
    async def test() -> None:
        async with acquainted() as on:
            reader, _ = await ask(on, LAST)
            slow = Asked.made[-1]
            assert await on.switch(Asked, grace=0.01) == {"a request in flight": 1}
            leaving = asyncio.create_task(on.old.hub.leave_behind(5))
            await until(lambda: not on.old.hub.holding)
            slow.answer()
            await leaving
            assert await reader.read() == LAST_ANSWER

    run(loop, test())


@LOOPS
def test_after_the_grace_it_is_closed(loop: Any) -> None:
    async def test() -> None:
        async with acquainted() as on:
            reader, _ = await ask(on, LAST)
            await on.switch(Asked, grace=0.01)
            await on.old.hub.leave_behind(0.01)
            assert await reader.read() == b""

    run(loop, test())


@LOOPS
def test_a_policy_is_heard(loop: Any) -> None:
    async def test() -> None:
        async with acquainted() as on:
            await ask(on, LAST)
            (last,) = on.old.hub.arrivals.last
            assert last.passes()
            last.connection.policy = "drain"
            await on.old.hub.quiesce(60)  # would wait until the test's time is over
            assert on.old.hub.export()[2] == {"a request in flight": 1}

    run(loop, test())


@LOOPS
def test_a_reload_finds_links_where_clients_are_silent(loop: Any) -> None:
    async def test() -> None:
        async with acquainted() as on:
            reader, writer = await ask(on, b"")
            numbers, table, staying = await on.freeze()
            assert len(numbers) == 1
            assert staying == {}
            await on.succeed(Asked)
            on.give(numbers, table)
            writer.write(KEPT)
            await until(lambda: len(Asked.made[-1].events) > 1)
            assert Asked.made[-1].generation == 1, "it was accepted there"
            assert Asked.made[-1].transport is on.new.link
            Asked.made[-1].answer()
            assert await reader.read() == LAST_ANSWER

    run(loop, test())


@LOOPS
def test_while_somebody_watches_everybody_has_a_link(loop: Any) -> None:
    async def test() -> None:
        async with acquainted() as on:
            spoken: list[int] = []
            on.old.hub.on_answer = lambda: spoken.append(1)
            await ask(on, LAST)
            assert Asked.made[-1].transport is on.old.link
            Asked.made[-1].answer()
            assert spoken == [1]

    run(loop, test())


@LOOPS
def test_at_the_end_silent_clients_are_sent_away_and_last_answers_waited_for(loop: Any) -> None:
    async def test() -> None:
        async with acquainted() as on:
            reader, _ = await ask(on, LAST)
            slow = Asked.made[-1]
            silent, _ = await ask(on, b"")
            ending = asyncio.create_task(on.old.hub.shut_down(5))
            assert await silent.read() == b""
            assert not ending.done()
            slow.answer()
            await ending
            assert await reader.read() == LAST_ANSWER

    run(loop, test())


def test_protocols_that_may_act_before_their_client_speaks_never_wait() -> None:
    class Streams(asyncio.Protocol):
        """As those of StreamReader and of tornado's streams."""

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            assert isinstance(transport, Link)
            transport.streams = True
            self.transport = transport

        def data_received(self, data: bytes) -> None:
            self.transport.write(LAST_ANSWER)
            self.transport.close()

    async def test() -> None:
        async with stage(Streams) as on:
            reader, writer = await on.connect()
            writer.write(LAST)
            assert await reader.read() == LAST_ANSWER
            assert LAST in conn_lane.LAST_REQUESTS
        assert Streams not in conn_arrival.PATIENT

    asyncio.run(test())
    learn_protocol(asyncio.BufferedProtocol())
    assert asyncio.BufferedProtocol not in conn_arrival.PATIENT


class Tasked(Asked):
    """Keeps the task of its handler, whose context knows the connection."""

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self.task = asyncio.get_running_loop().create_task(self.handle())

    async def handle(self) -> None:
        connection()
        self.answer()


@LOOPS
@pytest.mark.parametrize("words", [LAST, KEPT], ids=["last", "kept"])
def test_nothing_of_a_connection_that_has_ended_waits_for_the_collector(loop: Any, words: bytes) -> None:
    async def test() -> None:
        async with stage(Tasked) as on:
            for known in (False, True):
                reader, writer = await asyncio.open_connection(*on.listener.getsockname())
                writer.write(words)
                assert await reader.read() == LAST_ANSWER
                await until(lambda: not on.old.hub.count())
                hub = on.old.hub  # what asks a moment later how it is has asked
                await until(lambda: hub._scans_in is None and hub.arrivals._looks_in is None)  # noqa: B023
                server = weakref.ref(Asked.made[-1])
                assert isinstance(Asked.made.pop().transport, Link) == (words is KEPT or not known)
                writer.close()
            await until(lambda: server() is None)

    gc.collect()
    gc.disable()
    try:
        run(loop, test())
    finally:
        gc.enable()


def test_the_second_loop_of_a_program_hands_connections_to_the_parent_as_well() -> None:
    generation = Generation(1, {})

    async def serve(*, known: bool) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            server = await generation.serve(listener, Asked)
            with socket.create_connection(listener.getsockname()):
                await until(generation.hub.count)
                if known:
                    await until(lambda: any(link.vaulted for link in generation.hub.links.values()))
                    generation.link.loop_transport.abort()
            server.close()

    for patient in (False, True):
        if patient:
            learn_protocol(Asked())
        asyncio.run(serve(known=False))  # ends before anybody has looked
        generation.hub.links.clear()
        asyncio.run(serve(known=True))


@LOOPS
def test_a_connection_whose_program_sets_another_protocol_is_in_flight_no_more(loop: Any) -> None:
    async def test() -> None:
        async with acquainted() as on:
            reader, _ = await ask(on, LAST)
            transport = Asked.made[-1].transport
            assert on.old.hub.in_flight() == 1
            other = Asked()
            other.connection_made(transport)
            transport.set_protocol(other)
            assert on.old.hub.in_flight() == 0
            await on.old.hub.quiesce(60)  # would wait until the test's time is over
            assert on.old.hub.export()[2] == {}
            other.answer()
            assert await reader.read() == LAST_ANSWER

    run(loop, test())
