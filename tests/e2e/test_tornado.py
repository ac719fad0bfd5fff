"""Tornado, whose streams are no transports: its connections go on over edits as those of other servers do."""

from __future__ import annotations

import asyncio
import http.client
import itertools
import os
import signal
import socket
import ssl
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import websockets

from livereload_core.testing import free_port, scaled, until
from tests.e2e.launching import Launcher

EDITS = scaled(6, least=3)

SERVER = '''
import asyncio
import os
import sys

import tornado.httpserver
import tornado.tcpserver
import tornado.web
import tornado.websocket

from livereload_core import connection, preserve

VERSION = "1"
counts = preserve("counts", dict)
FOLDER = os.path.join(os.path.dirname(tornado.__file__), "test")
CERTIFICATE = {"certfile": os.path.join(FOLDER, "test.crt"), "keyfile": os.path.join(FOLDER, "test.key")}


class Main(tornado.web.RequestHandler):
    def get(self):
        self.write(VERSION)

    def post(self):
        counts["posts"] = counts.get("posts", 0) + 1
        self.write(f"{VERSION} {counts['posts']} {len(self.request.body)}")


class Slow(tornado.web.RequestHandler):
    async def get(self):
        await asyncio.sleep(0.5)
        self.write(VERSION)


class Large(tornado.web.RequestHandler):
    async def get(self):
        for _ in range(64):
            self.write(b"x" * 65536)
            await self.flush()


class Events(tornado.web.RequestHandler):
    async def get(self):
        self.set_header("Content-Type", "text/event-stream")
        seen = int(self.request.headers.get("Last-Event-ID", 0))
        while True:
            seen += 1
            self.write(f"id: {seen}\\ndata: {VERSION} {seen}\\n\\n")
            await self.flush()
            await asyncio.sleep(0.005)


class Echo(tornado.websocket.WebSocketHandler):
    """Counts what it is told; some of it slowly."""

    def open(self):
        self.told = connection().state.setdefault("told", [])

    async def on_message(self, message):
        if message == "pid":
            await self.write_message(str(os.getpid()))
            return
        self.told.append(message)
        if int(message) % 3 == 0:
            await asyncio.sleep(0.002)
        await self.write_message(f"{VERSION} {message} {len(self.told)}")


class Ticker(tornado.websocket.WebSocketHandler):
    """Speaks by itself and hears nothing."""

    def open(self):
        state = connection().state
        asyncio.get_running_loop().create_task(self.tick(state))

    async def tick(self, state):
        while True:
            state["tick"] = state.get("tick", 0) + 1
            try:
                await self.write_message(f"{VERSION} {state['tick']}")
            except tornado.websocket.WebSocketClosedError:
                return
            await asyncio.sleep(0.005)


class Lines(tornado.tcpserver.TCPServer):
    async def handle_stream(self, stream, address):
        try:
            while True:
                line = await stream.read_until(b"\\n")
                if line == b"STARTTLS\\n":
                    await stream.write(b"go ahead\\n")
                    stream = await stream.start_tls(server_side=True, ssl_options=CERTIFICATE)
                    continue
                await stream.write(VERSION.encode() + b" " + line)
        except tornado.iostream.StreamClosedError:
            pass


def application():
    return tornado.web.Application([
        ("/", Main),
        ("/slow", Slow),
        ("/large", Large),
        ("/events", Events),
        ("/echo", Echo),
        ("/ticker", Ticker),
    ])


async def main():
    application().listen(int(sys.argv[1]), "127.0.0.1")
    Lines().listen(int(sys.argv[2]), "127.0.0.1")
    await asyncio.Event().wait()
'''


class Run:
    """A tornado program: HTTP on one port, lines on another."""

    def __init__(self, livecore: Launcher) -> None:
        self.port, self.lines = free_port(), free_port()
        self.livecore = livecore.program(
            "app:main",
            files={"app.py": SERVER},
            args=[str(self.port), str(self.lines)],
            serves=False,
            port=self.port,
        )
        self.version = 1
        # such a program counts as started when it runs, a moment before it listens
        until(self.livecore.get, what="a first answer")

    def edit(self) -> dict[str, Any]:
        self.version += 1
        self.livecore.edit("app.py", f'VERSION = "{self.version - 1}"', f'VERSION = "{self.version}"')
        return self.livecore.wait_reload("committed")

    async def edit_beside(self) -> None:
        await asyncio.to_thread(self.edit)


@pytest.fixture
def run(livecore: Launcher) -> Run:
    return Run(livecore)


def _run(main: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(main, 60))


@contextmanager
def _line_client(port: int) -> Iterator[Any]:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as sock, sock.makefile("rwb") as stream:
        yield stream


def test_idle_keep_alive_connection_goes_on_in_the_new_code(run: Run) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", run.port, timeout=10)
    connection.connect()
    sock = connection.sock
    for version in range(1, EDITS + 1):
        connection.request("GET", "/")
        assert connection.getresponse().read() == str(version).encode()
        connection.request("POST", "/", body=b"b" * 100_000)
        assert connection.getresponse().read() == f"{version} {version} 100000".encode()
        assert connection.sock is sock
        run.edit()
    connection.close()


def test_websocket_echoes_every_message_once_and_in_order_under_edits(run: Run) -> None:
    async def main() -> None:
        async with websockets.connect(f"ws://127.0.0.1:{run.port}/echo") as client:
            stop = asyncio.Event()
            sent = final = 0

            async def send() -> None:
                nonlocal sent
                while not stop.is_set():
                    sent += 1
                    await client.send(str(sent))
                    await asyncio.sleep(0.001)

            answers: list[list[int]] = []

            async def receive() -> None:
                async for answer in client:
                    answers.append([int(part) for part in str(answer).split()])
                    if answers[-1][1] == final:
                        return

            sending, receiving = asyncio.create_task(send()), asyncio.create_task(receive())
            for _ in range(EDITS):
                await run.edit_beside()
            stop.set()
            await sending
            sent = final = sent + 1
            await client.send(str(final))
            await receiving
            assert [number for _, number, _ in answers] == list(range(1, sent + 1))
            assert [told for _, _, told in answers] == list(range(1, sent + 1))
            versions = [version for version, _, _ in answers]
            assert versions == sorted(versions)
            assert versions[-1] == run.version

    _run(main())


def test_message_in_pieces_that_an_edit_divides_arrives_whole(run: Run) -> None:
    async def main() -> None:
        async with websockets.connect(f"ws://127.0.0.1:{run.port}/echo") as client:
            await client.send("1")
            assert await client.recv() == "1 1 1"
            edited = asyncio.Event()

            async def pieces() -> Any:
                yield "4"
                await edited.wait()
                yield "2"

            sending = asyncio.create_task(client.send(pieces()))
            await asyncio.sleep(0)
            await run.edit_beside()
            edited.set()
            await sending
            assert await client.recv() == "2 42 2"

    _run(main())


def test_websocket_that_only_pushes_goes_on_from_its_state(run: Run) -> None:
    async def main() -> None:
        async with websockets.connect(f"ws://127.0.0.1:{run.port}/ticker") as client:
            ticks: list[tuple[int, int]] = []
            editing = asyncio.create_task(run.edit_beside())
            while not ticks or ticks[-1][0] != 2:
                version, tick = str(await client.recv()).split()
                ticks.append((int(version), int(tick)))
            await editing
            numbers = [tick for _, tick in ticks]
            assert numbers == sorted(numbers)
            assert {after - before for before, after in itertools.pairwise(numbers)} <= {1, 2}

    _run(main())


def test_stream_of_events_goes_on_behind_the_last_one(run: Run) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", run.port, timeout=10)
    connection.request("GET", "/events")
    response = connection.getresponse()
    seen: list[tuple[int, int]] = []

    def read(version: int) -> None:
        while not seen or seen[-1][0] != version:
            line = response.readline()
            assert line, f"the stream has ended behind {seen[-1:]}"
            if line.startswith(b"data:"):
                _, shown, number = line.split()
                seen.append((int(shown), int(number)))

    for version in range(1, EDITS + 1):
        read(version)
        run.edit()
        read(version + 1)
    assert [number for _, number in seen] == list(range(1, len(seen) + 1))
    connection.close()


def test_lines_of_a_tcp_server_are_each_answered_once(run: Run) -> None:
    with _line_client(run.lines) as stream:
        number = 0
        for version in range(1, EDITS + 1):
            for _ in range(20):
                number += 1
                stream.write(b"%d\n" % number)
                stream.flush()
                assert stream.readline() == b"%d %d\n" % (version, number)
            stream.write(b"half of ")
            stream.flush()
            run.edit()
            stream.write(b"a line\n")
            stream.flush()
            assert stream.readline() == b"%d half of a line\n" % (version + 1)


def test_connection_that_turns_to_tls_is_served_and_ends_at_an_edit(run: Run) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", run.lines), timeout=10) as plain:
        plain.sendall(b"STARTTLS\n")
        assert plain.recv(100) == b"go ahead\n"
        with context.wrap_socket(plain) as sock:
            for number in range(10):
                sock.sendall(b"%d\n" % number)
                assert sock.recv(100) == b"1 %d\n" % number
            run.edit()
            try:
                assert sock.recv(100) == b""
            except (ssl.SSLEOFError, ConnectionResetError):
                pass  # an end without TLS's own is one, too


def test_request_in_flight_is_finished_by_the_old_code_and_its_connection_goes_on(run: Run) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", run.port, timeout=10)
    connection.request("GET", "/slow")
    run.edit()
    assert connection.getresponse().read() == b"1"
    sock = connection.sock
    connection.request("GET", "/")
    assert connection.getresponse().read() == b"2"
    assert connection.sock is sock
    connection.close()


def test_answer_that_is_read_slowly_is_whole(run: Run) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", run.port, timeout=10)
    connection.request("GET", "/large")
    response = connection.getresponse()
    assert len(response.read(1000)) == 1000
    run.edit()
    assert len(response.read()) == 64 * 65536 - 1000
    connection.close()


def test_connections_outlive_a_program_that_is_killed(run: Run) -> None:
    async def main() -> None:
        async with websockets.connect(f"ws://127.0.0.1:{run.port}/echo") as client:
            await client.send("1")
            assert await client.recv() == "1 1 1"
            await client.send("pid")
            os.kill(int(await client.recv()), signal.SIGKILL)
            await client.send("2")
            assert str(await client.recv()).startswith("1 2 ")

    _run(main())
