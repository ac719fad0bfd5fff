"""The program is killed, and no connection with it."""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from livereload_core.testing import LivecoreProcess, scaled, until
from tests.e2e.launching import Launcher

KILLS = scaled(25, least=6)  # 100 at the scale of 4
CLIENTS = 10

SOURCE = """
import asyncio

from aiohttp import WSMsgType, web

from livereload_core import connection, generation

VERSION = "1"
LARGE = 64 * 1024 * 1024
slow = asyncio.Event()


async def show(request):
    return web.json_response({"version": VERSION, "generation": generation()})


async def wait(request):
    print("waiting", flush=True)
    await asyncio.Event().wait()


async def large(request):
    return web.Response(body=bytes(LARGE))


async def events(request):
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    last = int(request.headers.get("Last-Event-ID", 0))
    for number in range(last + 1, last + 6):
        await response.write(f"id: {number}\\ndata: {generation()}\\n\\n".encode())
    print("rests behind", last + 5, flush=True)
    await asyncio.Event().wait()


async def echo(request):
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    link = connection()
    async for message in socket:
        if message.data == "think":
            print("thinking", flush=True)
            await asyncio.Event().wait()
        if message.type is WSMsgType.TEXT:
            link.state["count"] = link.state.get("count", 0) + 1
            facts = {"version": VERSION, "resumed": link.resumed, "count": link.state["count"]}
            await socket.send_json({**facts, "said": message.data})
    return socket


app = web.Application()
app.router.add_get("/", show)
app.router.add_get("/wait", wait)
app.router.add_get("/large", large)
app.router.add_get("/events", events)
app.router.add_get("/ws", echo)
"""


def pid_of(run: LivecoreProcess, role: str = "active") -> int:
    (pid,) = [child["pid"] for child in run.status()["children"] if child["role"] == role]
    assert isinstance(pid, int)
    return pid


def kill(run: LivecoreProcess) -> None:
    """Kill what serves, and nothing else."""
    os.kill(pid_of(run), signal.SIGKILL)


def said(client: ClientConnection, text: str) -> Any:
    client.send(text)
    return json.loads(client.recv(20))


@pytest.fixture
def clients() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def open_clients(run: LivecoreProcess, stack: ExitStack, number: int = CLIENTS) -> list[ClientConnection]:
    return [
        stack.enter_context(connect(f"ws://127.0.0.1:{run.port}/ws", open_timeout=20)) for _ in range(number)
    ]


def held(run: LivecoreProcess) -> int:
    """How many connections the parent holds."""
    count = run.status()["connections"]
    assert isinstance(count, int)
    return count


def test_kill_after_kill_no_connection_dies(livecore: Launcher, clients: ExitStack) -> None:
    run = livecore.app(source=SOURCE)
    opened = open_clients(run, clients)
    plain = clients.enter_context(socket.create_connection(("127.0.0.1", run.port), 20))
    for number in range(KILLS):
        answers = [said(client, f"before {number}") for client in opened]
        assert [answer["said"] for answer in answers] == [f"before {number}"] * CLIENTS
        assert [answer["resumed"] for answer in answers] == [number > 0] * CLIENTS
        plain.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b'"version": "1"' in _answer(plain)
        # As clients do every 20 seconds to keep a connection alive: what has been answered is not lost.
        pongs = [client.ping() for client in opened]
        assert all(pong.wait(20) for pong in pongs)
        until(lambda: held(run) == CLIENTS + 1, what="the parent to hold every connection")
        run.wait_settled()
        since = len(run.records)
        kill(run)
        for client in opened:
            client.send(f"after {number}")
        for client in opened:
            assert json.loads(client.recv(20))["said"] == f"after {number}"
        plain.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b'"generation": ' in _answer(plain)
        run.wait_event("recovered", since=since)
        kept = run.wait_event("info", since=since)
        assert kept["text"] == f"{CLIENTS + 1} connections kept over the death"


def _answer(client: socket.socket) -> bytes:
    received = b""
    while not received.endswith(b"}"):
        chunk = client.recv(65536)
        assert chunk, f"closed after {received!r}"
        received += chunk
    return received


def test_a_message_that_a_killed_handler_had_in_hand_is_reported_as_lost(
    livecore: Launcher, clients: ExitStack
) -> None:
    run = livecore.app(source=SOURCE)
    resting, thinking = open_clients(run, clients, 2)
    assert said(resting, "hello")["count"] == 1
    thinking.send("think")
    run.wait_output(lambda line: line == "thinking")
    until(lambda: held(run) == 2, what="the parent to hold both connections")
    since = len(run.records)
    kill(run)
    lost = run.wait_event("info", since=since)
    assert lost["text"] == "1 connection lost what the dead process had read and not answered"
    run.wait_event("recovered", since=since)
    for client in (resting, thinking):
        assert said(client, "again")["resumed"]


def test_a_request_in_flight_ends_with_the_process_and_says_so(
    livecore: Launcher, clients: ExitStack
) -> None:
    run = livecore.app(source=SOURCE)
    (ws,) = open_clients(run, clients, 1)
    plain = clients.enter_context(socket.create_connection(("127.0.0.1", run.port), 20))
    plain.sendall(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n")
    run.wait_output(lambda line: line == "waiting")
    until(lambda: held(run) == 2, what="the parent to hold both connections")
    since = len(run.records)
    kill(run)
    assert plain.recv(1) == b""
    assert said(ws, "still here")["resumed"]
    run.wait_for(
        lambda record: (
            record.get("text") == "1 connection closed: an answer was under way when the program died"
        ),
        since=since,
        what="word of the request that is lost",
    )


def test_an_answer_of_which_the_kernel_has_half_ends_with_the_process(
    livecore: Launcher, clients: ExitStack
) -> None:
    run = livecore.app(source=SOURCE)
    plain = clients.enter_context(socket.create_connection(("127.0.0.1", run.port), 20))
    plain.sendall(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
    assert plain.recv(1) == b"H"
    until(lambda: held(run) == 1, what="the parent to hold the connection")
    kill(run)
    received = 1
    while chunk := plain.recv(1 << 20):  # whoever kept the connection would let the client wait for ever
        received += len(chunk)
    assert received < 64 * 1024 * 1024


def test_a_stream_of_events_goes_on_behind_its_last_id_when_the_program_is_killed(
    livecore: Launcher, clients: ExitStack
) -> None:
    run = livecore.app(source=SOURCE)
    client = clients.enter_context(socket.create_connection(("127.0.0.1", run.port), 20))
    client.sendall(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n")
    stream = clients.enter_context(client.makefile("rb"))
    seen: list[tuple[int, int]] = []
    for killed in range(4):
        while len(seen) < 5 * (killed + 1):
            line = stream.readline()
            assert line, f"closed after {seen}"
            if line.startswith(b"id: "):
                seen.append((int(line[4:]), int(stream.readline()[6:])))
        run.wait_output(f"rests behind {len(seen)}".__eq__)
        since = len(run.records)
        kill(run)
        run.wait_event("recovered", since=since)
    assert [number for number, _ in seen] == list(range(1, 21))
    assert [generation for _, generation in seen] == [1 + number // 5 for number in range(20)]


def test_half_a_frame_that_dies_with_the_process_closes_with_service_restart(
    livecore: Launcher, clients: ExitStack
) -> None:
    run = livecore.app(source=SOURCE)
    whole, half = open_clients(run, clients, 2)
    assert said(half, "one")["count"] == 1
    until(lambda: held(run) == 2, what="the parent to hold both connections")
    frame = bytes([0x81, 0x85, 0, 0, 0, 0]) + b"hello"
    half.socket.sendall(frame[:8])
    until(lambda: _unread_by(run, half.socket) == 0, what="the program to read half a frame")
    kill(run)
    assert said(whole, "still here")["resumed"]
    with pytest.raises(ConnectionClosed) as closed:
        half.recv(20)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1012


def _unread_by(run: LivecoreProcess, client: socket.socket) -> int:
    """Bytes of the client's that the kernel holds for the server (the receive queue in /proc/net/tcp)."""
    port = client.getsockname()[1]
    for line in Path("/proc/net/tcp").read_text().splitlines():
        fields = line.split()
        if fields[2].endswith(f":{port:04X}") and fields[1].endswith(f":{run.port:04X}"):
            return int(fields[4].partition(":")[2], 16)
    raise AssertionError("the connection is gone")


def test_a_request_that_comes_while_a_reload_holds_it_does_not_wait_for_ever_when_the_program_dies(
    livecore: Launcher, clients: ExitStack
) -> None:
    hook = """
from livereload_core import before_reload


@before_reload
async def hold():
    print("held", flush=True)
    await asyncio.Event().wait()
"""
    run = livecore.app(source=SOURCE + hook)
    (ws,) = open_clients(run, clients, 1)
    plain = clients.enter_context(socket.create_connection(("127.0.0.1", run.port), 20))
    plain.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    _answer(plain)
    until(lambda: held(run) == 2, what="the parent to hold both connections")
    run.edit("app.py", 'VERSION = "1"', 'VERSION = "2"')
    run.wait_output("held".__eq__)
    plain.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    until(lambda: _unread_by(run, plain) == 0, what="the program to read the request")
    kill(run)
    assert plain.recv(1) == b"", "closed, so that its client comes again"
    assert said(ws, "still here")["resumed"]


def test_new_code_that_dies_at_its_first_word_gives_way_to_the_code_before(
    livecore: Launcher, clients: ExitStack
) -> None:
    run = livecore.app(source=SOURCE)
    (client,) = open_clients(run, clients, 1)
    assert said(client, "one")["version"] == "1"
    until(lambda: held(run) == 1, what="the parent to hold the connection")
    deadly = SOURCE.replace('VERSION = "1"', 'VERSION = "2"').replace(
        "    link = connection()\n", "    __import__('os')._exit(7)\n"
    )
    since = len(run.records)
    run.write("app.py", deadly)
    run.wait_reload("committed")
    run.wait_event("recovered", since=since)
    answer = said(client, "two")
    assert (answer["version"], answer["resumed"]) == ("1", True)
    run.write("app.py", SOURCE.replace('VERSION = "1"', 'VERSION = "3"'))
    run.wait_reload("committed")
    assert said(client, "three")["version"] == "3"


def test_what_drains_while_nobody_serves_is_answered_and_then_closed(
    livecore: Launcher, clients: ExitStack
) -> None:
    slow = """
import os

if os.path.exists("broken"):
    raise RuntimeError("broken")


async def drain(request):
    print("draining", flush=True)
    while not os.path.exists("go"):
        await asyncio.sleep(0.01)
    return web.json_response({"version": VERSION})


app.router.add_get("/drain", drain)
"""
    run = livecore.app(source=SOURCE + slow)
    plain = clients.enter_context(socket.create_connection(("127.0.0.1", run.port), 20))
    plain.sendall(b"GET /drain HTTP/1.1\r\nHost: x\r\n\r\n")
    run.wait_output("draining".__eq__)
    run.edit("app.py", 'VERSION = "1"', 'VERSION = "2"')
    run.wait_reload("committed")
    (run.cwd / "broken").touch()
    kill(run)
    run.wait_event("hold")
    (run.cwd / "go").touch()
    assert b'"version": "1"' in _answer(plain)
    assert plain.recv(1) == b"", "closed: nobody is there for another request"


def test_clients_that_left_meanwhile_are_gone(livecore: Launcher, clients: ExitStack) -> None:
    run = livecore.app(source=SOURCE)
    stays, leaves = open_clients(run, clients, 2)
    until(lambda: held(run) == 2, what="the parent to hold both connections")
    os.kill(pid_of(run), signal.SIGSTOP)
    leaves.socket.close()
    since = len(run.records)
    kill(run)
    assert said(stays, "here")["resumed"]
    run.wait_event("recovered", since=since)
    until(lambda: held(run) == 1, what="the parent to let go of the one that left")
