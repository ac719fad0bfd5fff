"""Connections with a protocol of the program's own: held, handed over, given back."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from livereload_core.child.conn_gates import Gates
from livereload_core.child.conn_judged import MOVES
from livereload_core.wire import messages as wire
from tests.unit.child.conn_stage import in_loop, stage, until


@pytest.fixture(autouse=True)
def _gates() -> Any:
    gates = Gates()
    gates.install()
    yield
    gates.uninstall()


class Upper(asyncio.Protocol):
    """Answers every chunk in capitals, behind a mark of its generation."""

    mark = b"1"

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(self.mark + data.upper())


class Upper2(Upper):
    mark = b"2"


def lines(mark: str) -> Any:
    """Make a factory of a server of lines on asyncio's streams."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            await asyncio.sleep(0)
            writer.write(mark.encode() + line)
        writer.close()

    def factory() -> asyncio.StreamReaderProtocol:
        return asyncio.StreamReaderProtocol(asyncio.StreamReader(), serve)

    return factory


@in_loop
async def test_an_own_protocol_goes_on_in_the_new_code() -> None:
    async with stage(Upper) as on:
        reader, writer = await on.connect()
        writer.write(b"hello")
        assert await reader.readexactly(6) == b"1HELLO"
        on.old.hub.register(on.old.link)
        assert await on.switch(Upper2) == {}
        writer.write(b"again")
        assert await reader.readexactly(6) == b"2AGAIN"
        assert on.new.link.connection.resumed
        assert on.new.link.connection.generation == 1
        await until(lambda: not on.old.hub.links)
        assert on.new.settled()[0].adopted == 1


@in_loop
async def test_half_a_line_crosses_and_is_completed_in_the_new_code() -> None:
    async with stage(lines("1")) as on:
        reader, writer = await on.connect()
        writer.write(b"one\nhal")
        assert await reader.readline() == b"1one\n"
        assert await on.switch(lines("2")) == {}
        writer.write(b"f\nthree\n")
        assert await reader.readline() == b"2half\n"
        assert await reader.readline() == b"2three\n"


@in_loop
async def test_what_comes_while_held_is_the_new_codes() -> None:
    async with stage(lines("1")) as on:
        reader, writer = await on.connect()
        writer.write(b"one\n")
        assert await reader.readline() == b"1one\n"
        await on.old.hub.quiesce(5)
        writer.write(b"two\nth")
        await until(lambda: on.old.link._held)
        assert await on.switch(lines("2")) == {}
        writer.write(b"ree\n")
        assert await reader.readline() == b"2two\n"
        assert await reader.readline() == b"2three\n"


@in_loop
async def test_a_roll_back_gives_everything_back_in_order() -> None:
    async with stage(lines("1")) as on:
        reader, writer = await on.connect()
        writer.write(b"on")
        await on.old.hub.quiesce(5)
        writer.write(b"e\ntwo\n")
        await until(lambda: on.old.link._held)
        assert on.old.hub.export()[0]
        on.old.hub.resume()
        assert await reader.readline() == b"1one\n"
        assert await reader.readline() == b"1two\n"


@in_loop
async def test_a_handler_at_work_is_waited_for_and_then_parked() -> None:
    go = asyncio.Event()
    taken = asyncio.Event()

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            taken.set()
            await go.wait()
            writer.write(b"1" + line)

    async with stage(lambda: asyncio.StreamReaderProtocol(asyncio.StreamReader(), slow)) as on:
        reader, writer = await on.connect()
        writer.write(b"one\ntwo\n")
        await taken.wait()
        assert on.old.link.verdict().passes
        switching = asyncio.create_task(on.switch(lines("2")))
        await until(lambda: on.old.hub.holding)
        go.set()
        assert await switching == {}
        assert await reader.readline() == b"1one\n"
        assert await reader.readline() == b"2two\n"


@in_loop
async def test_a_handler_that_takes_too_long_stays_and_is_handed_over_when_it_is_done() -> None:
    go = asyncio.Event()
    taken = asyncio.Event()

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            taken.set()
            await go.wait()
            writer.write(b"1" + line)

    async with stage(lambda: asyncio.StreamReaderProtocol(asyncio.StreamReader(), slow)) as on:
        reader, writer = await on.connect()
        writer.write(b"one\ntwo\n")
        await taken.wait()
        on.old.hub.register(on.old.link)
        assert await on.switch(lines("2"), grace=0.0) == {"a handler at work": 1}
        leaving = asyncio.create_task(on.old.hub.leave_behind(20))
        go.set()
        await leaving
        ((message, table),) = on.old.late
        on.give(message.numbers, table)
        assert await reader.readline() == b"1one\n"
        assert await reader.readline() == b"2two\n"


@in_loop
async def test_what_the_kernel_has_not_taken_comes_before_the_new_codes_words() -> None:
    size = 8 * 1024 * 1024

    class Pour(Upper):
        def data_received(self, data: bytes) -> None:
            self.transport.write(b"x" * size + b"\n")

    async with stage(Pour) as on:
        reader, writer = await on.connect()
        transport: Any = writer.transport
        transport.pause_reading()
        writer.write(b"go")
        await until(lambda: on.old.link.get_write_buffer_size() > 0)
        assert await on.switch(Upper2) == {}
        writer.write(b"more")
        transport.resume_reading()
        async with asyncio.timeout(20):
            received = await reader.readexactly(size + 6)
        assert received[:size].count(b"x") == size
        assert received[size:] == b"\n2MORE"


@in_loop
async def test_a_client_that_leaves_is_told_to_the_parent() -> None:
    async with stage(Upper) as on:
        reader, writer = await on.connect()
        link = on.old.link
        on.old.hub.register(link)
        writer.close()
        await until(lambda: not on.old.hub.links)
        assert [m.numbers for m in on.old.told if isinstance(m, wire.Ended)] == [(link.number,)]
        assert await reader.read() == b""


@in_loop
async def test_a_connection_without_a_server_in_the_new_code_is_closed_and_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("livereload_core.child.conn_adopt.LATE_SERVER", 0.0)
    async with stage(Upper) as on:
        reader, _ = await on.connect()
        await on.old.hub.quiesce(5)
        numbers, table, _ = on.old.hub.export()
        on.old.hub.cut()
        on.give(numbers, table)
        assert await reader.read() == b""
        await until(on.new.settled)
        assert sum(on.new.settled()[0].declined.values()) == 1


@in_loop
async def test_the_end_of_the_clients_side_is_seen_by_the_new_code() -> None:
    async with stage(lines("1")) as on:
        reader, writer = await on.connect()
        writer.write(b"one\n")
        assert await reader.readline() == b"1one\n"
        await on.old.hub.quiesce(5)
        writer.write(b"two\n")
        writer.write_eof()
        await until(lambda: on.old.link._eof)
        assert on.old.link.verdict() is MOVES
        await on.switch(lines("2"))
        assert await reader.read() == b"2two\n"


@in_loop
async def test_connections_of_a_program_that_could_not_be_held_stay() -> None:
    async with stage(lines("1")) as on:
        _, writer = await on.connect()
        writer.write(b"\0half")
        await until(lambda: on.old.link._unread)
        on.old.hub.register(on.old.link)
        assert on.old.hub.export() == ((), b"", {"the program was busy": 1})


@pytest.mark.parametrize("own", [True, False])
@in_loop
async def test_a_word_that_may_begin_a_request_is_given_to_a_library_again_and_not_to_the_program(
    own: bool,
) -> None:
    class Silent(Upper):
        heard = b""

        def data_received(self, data: bytes) -> None:
            type(self).heard += data

    class Silent2(Silent):
        heard = b""

    async with stage(Silent) as on:
        on.old.hub.attach(lambda *_: None, 1, lambda path: own)
        _, writer = await on.connect()
        writer.write(b"tick")
        await until(lambda: Silent.heard == b"tick")
        assert on.old.link.export().inbound == (b"" if own else b"tick")


async def pour_and_cut() -> None:
    """Hand a connection over with megabytes that the kernel has not taken, and read it to the last byte."""
    size = 8 * 1024 * 1024

    class Pour(Upper):
        def data_received(self, data: bytes) -> None:
            self.transport.write(b"x" * size + b"\n")

    loop = asyncio.get_running_loop()
    with socket.socket() as client:
        client.setblocking(False)
        async with stage(Pour) as on:
            await loop.sock_connect(client, on.listener.getsockname())
            await loop.sock_sendall(client, b"go")
            await until(lambda: on.old.hub.links and on.old.link.get_write_buffer_size())
            await on.old.hub.quiesce(5)
            numbers, table, _ = on.old.hub.export()
            unsent = on.old.link.export().outbound
            # In one turn of the loop: with what the kernel had read, the socket can be written to again.
            received = len(client.recv(size))
            on.old.hub.cut()
            while received < size + 1 - len(unsent):
                received += len(await loop.sock_recv(client, size))
            await until(lambda: not on.old.hub.links)
            await on.serve_new(Upper2)
            on.give(numbers, table)
            await loop.sock_sendall(client, b"more")
            end = b""
            async with asyncio.timeout(20):
                while received < size + 6:
                    chunk = await loop.sock_recv(client, size)
                    received += len(chunk)
                    end = (end + chunk)[-6:]
            assert received == size + 6
            assert end == b"\n2MORE"


UVLOOP = """
import asyncio, os, uvloop
from tests.unit.child.test_conn_raw import pour_and_cut
loop = uvloop.new_event_loop()
asyncio.set_event_loop(loop)
loop.run_until_complete(pour_and_cut())
os._exit(0)
"""


def test_after_the_cut_asyncio_writes_nothing_more() -> None:
    asyncio.run(pour_and_cut())


def test_after_the_cut_uvloop_writes_nothing_more() -> None:
    # in a process of its own: libuv ends the whole process when somebody takes its epoll entries away
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-c", UVLOOP], cwd=root, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr


class Hearing(asyncio.Protocol):
    """Sends back what comes, in brackets that tell where it heard a piece end."""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(b"[" + data + b"]")


@in_loop
async def test_words_that_could_begin_a_request_are_heard_although_no_line_ends() -> None:
    async with stage(Hearing) as on:
        reader, writer = await on.connect()
        writer.write(b"GET foo")
        assert await reader.readexactly(9) == b"[GET foo]"
        writer.write(b" and more")
        assert await reader.readexactly(11) == b"[ and more]"
        writer.write(b"\n")
        assert await reader.readexactly(3) == b"[\n]"


@in_loop
async def test_half_a_head_that_no_protocol_has_heard_goes_to_the_new_one() -> None:
    async with stage(Hearing) as on:
        on.old.hub.attach(on.old._send, 1, lambda path: True)  # the protocol is the program's own
        reader, writer = await on.connect()
        writer.write(b"GET / HTTP")
        await until(lambda: on.old.link._held_head)
        assert await on.switch(Hearing) == {}
        writer.write(b"/1.1\r\nHost: x\r\n\r\n")
        heard = await reader.readuntil(b"\r\n\r\n]")
        assert heard.replace(b"][", b"") == b"[GET / HTTP/1.1\r\nHost: x\r\n\r\n]"


class Silent(asyncio.Protocol):
    """Says nothing to what it hears."""

    heard = b""

    def data_received(self, data: bytes) -> None:
        self.heard += data


@in_loop
async def test_a_wish_for_a_websocket_that_takes_its_time_is_seen_with_what_follows_it() -> None:
    head = b"GET / HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: x\r\n\r\n"
    for cut in (7, len(head) - 3):
        async with stage(Silent) as on:
            _, writer = await on.connect()
            protocol: Any = on.old.link.get_protocol()
            writer.write(head[:cut])
            await until(lambda: protocol.heard == head[:cut])  # noqa: B023 - awaited at once
            writer.write(head[cut:] + b"\x81\x80mask")
            await until(lambda: protocol.heard == head + b"\x81\x80mask")  # noqa: B023
            assert bytes(on.old.link._early or b"") == b"\x81\x80mask"
