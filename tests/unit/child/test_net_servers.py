"""Real servers, unmodified, in a process of their own: what they do at the gate."""

from __future__ import annotations

import json
import queue
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from livereload_core.posix.addresses import Address, listening_socket

HOST = Path(__file__).with_name("net_host.py")
ROOT = Path(__file__).parents[3]

THREADED = ["http_server", "wsgiref", "waitress", "werkzeug", "blocking"]
LOOPS = ["asyncio", "asyncio_serve_forever", "asyncio_sock_accept", "aiohttp", "uvicorn"]
UNIX = ["asyncio_unix", "uvloop_unix"]
IN_C = ["uvicorn_uvloop", "uvloop_streams"]
FORKING = ["gunicorn"]
KEEP_ALIVE = ["http_server", "waitress", "asyncio", "aiohttp", "uvicorn", "uvicorn_uvloop"]

REQUEST = b"GET %s HTTP/1.1\r\nHost: test\r\n\r\n"


class Child:
    """A server process, spoken to line by line."""

    def __init__(self, server: str, home: Path) -> None:
        self.server = server
        wanted = Address("inet", "127.0.0.1")
        if server.endswith("_unix"):
            wanted = Address("unix", path=str(home / "x.sock"))
        self.listener = listening_socket(wanted)
        self.address = Address.of(self.listener)
        fd = self.listener.fileno()
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", str(HOST), server, str(fd)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=[fd],
            cwd=ROOT,
            env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "HOME": str(home)},
            text=True,
            start_new_session=True,
        )
        self._events: queue.Queue[dict[str, Any]] = queue.Queue()
        self._answers: queue.Queue[Any] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            facts = json.loads(line)
            if "event" in facts:
                self._events.put(facts)
            else:
                self._answers.put(facts["answer"])

    def ask(self, command: str) -> Any:
        assert self.process.stdin is not None
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        return self._answers.get(timeout=20)

    def event(self) -> dict[str, Any]:
        return self._events.get(timeout=20)

    def wait_listening(self) -> None:
        # gunicorn opens a control socket of its own as well, before or after
        while self.event() != {"event": "listening", "address": str(self.address)}:
            pass

    def connect(self) -> socket.socket:
        client = socket.socket(self.address.kernel_family)
        client.settimeout(20)
        client.connect(self.address.sockaddr)
        return client

    def request(self, path: str = "/") -> socket.socket:
        client = self.connect()
        client.sendall(REQUEST % path.encode())
        return client

    def close(self) -> None:
        import os
        import signal

        try:
            os.killpg(self.process.pid, signal.SIGKILL)  # its own session: gunicorn's worker goes, too
        except ProcessLookupError:
            pass
        self.process.wait(20)
        self._reader.join(20)
        for stream in (self.process.stdin, self.process.stdout):
            assert stream is not None
            try:
                stream.close()
            except BrokenPipeError:
                pass
        self.listener.close()


@pytest.fixture
def child(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Child]:
    child = Child(request.param, tmp_path)
    try:
        yield child
    finally:
        child.close()


def servers(*groups: list[str]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("child", [name for group in groups for name in group], indirect=True)


def answered(client: socket.socket) -> bytes:
    data = b""
    while not data.endswith(b"ok"):
        part = client.recv(65536)
        assert part, f"connection closed after {data!r}"
        data += part
    return data


def is_silent(client: socket.socket, seconds: float = 0.15) -> bool:
    return not select.select([client], [], [], seconds)[0]


@servers(THREADED, LOOPS, IN_C, UNIX, FORKING)
def test_nobody_accepts_before_release_and_the_waiting_are_served_after(child: Child) -> None:
    child.wait_listening()
    clients = [child.request() for _ in range(3)]
    before = child.ask("cpu")
    assert all(is_silent(client) for client in clients)
    assert child.ask("open_connections") == 0
    assert child.ask("cpu") - before < 0.15  # seconds of 0.45: it sleeps
    child.ask("release")
    for client in clients:
        assert b"200" in answered(client)
        client.close()
    assert str(child.address) in child.ask("listening")
    assert str(child.address) not in [address for address, _ in child.ask("registered")]


@servers(THREADED, LOOPS, IN_C, UNIX, FORKING)
def test_stop_parks_new_connections_and_resume_serves_them(child: Child) -> None:
    child.wait_listening()
    child.ask("release")
    for _ in range(2):
        with child.request() as client:
            answered(client)
        child.ask("stop_accepting")
        if child.server == "gunicorn":
            let_workers_follow(child)
        parked = [child.request() for _ in range(20)]
        before = child.ask("cpu")
        assert is_silent(parked[0], 0.3)
        assert child.ask("cpu") - before < 0.1
        assert child.ask("in_flight") == 0
        child.ask("resume_accepting")
        for client in parked:
            answered(client)
            client.close()


def let_workers_follow(child: Child) -> None:
    """A worker shuts its gate a moment after its master: wait until one connection stays unaccepted."""
    for _ in range(100):
        with child.request() as client:
            if is_silent(client, 0.1):
                return
    raise AssertionError("the worker goes on to accept")


@servers(["http_server", "waitress", "blocking"], ["asyncio", "aiohttp", "uvicorn"])
def test_a_request_counts_until_it_is_answered(child: Child) -> None:
    child.wait_listening()
    child.ask("watch_answer")
    child.ask("release")
    client = child.request("/slow")
    assert child.event() == {"event": "slow"}
    assert child.ask("wait_quiet 0.1") == 1
    child.ask("go")
    assert child.ask("wait_quiet 20") == 0
    answered(client)
    assert child.event() == {"event": "answer"}
    client.close()


@servers(KEEP_ALIVE)
def test_after_let_go_idle_connections_end_and_others_serve_the_listener(child: Child) -> None:
    child.wait_listening()
    child.ask("release")
    idle = child.request()
    answered(idle)
    assert child.ask("wait_quiet 5") == 0
    assert child.ask("open_connections") == 1
    child.ask("stop_accepting")
    parked = child.request()
    child.ask("let_go")
    assert idle.recv(1) == b""
    child.listener.settimeout(20)
    taken, _ = child.listener.accept()  # the test is the next generation now
    assert taken.recv(65536) == REQUEST % b"/"
    taken.sendall(b"ok")
    answered(parked)
    assert child.ask("listening") == [str(child.address)]
    for sock in (idle, parked, taken):
        sock.close()


@servers(["http_server", "waitress", "aiohttp", "uvicorn"])
def test_after_let_go_a_slow_request_is_answered_and_then_closed(child: Child) -> None:
    child.wait_listening()
    child.ask("release")
    slow = child.request("/slow")
    assert child.event() == {"event": "slow"}
    assert child.ask("wait_quiet 0.05") == 1
    child.ask("let_go")
    child.ask("go")
    answered(slow)
    assert slow.recv(1) == b""
    slow.close()


@servers(["http_server", "waitress"], ["asyncio", "uvicorn"], IN_C)
def test_no_connection_is_lost_while_the_gate_swings(child: Child) -> None:
    child.wait_listening()
    child.ask("release")
    failures: list[str] = []
    served = 0
    stop = threading.Event()

    def load() -> None:
        nonlocal served
        while not stop.is_set():
            try:
                with child.request() as client:
                    answered(client)
                served += 1
            except (OSError, AssertionError) as error:
                failures.append(repr(error))

    thread = threading.Thread(target=load)
    thread.start()
    end = time.monotonic() + 1.0
    while time.monotonic() < end:
        child.ask("stop_accepting")
        child.ask("resume_accepting")
    stop.set()
    thread.join(20)
    assert failures == []
    assert served > 20


@servers(UNIX)
def test_a_unix_server_that_closes_and_opens_again_keeps_its_file_and_its_clients(child: Child) -> None:
    child.wait_listening()
    child.ask("release")
    child.ask("go")
    assert child.event() == {"event": "closed"}
    assert Path(child.address.path).exists()
    with child.request() as client:
        answered(client)
    child.ask("stop_accepting")
    with child.request() as client:
        child.ask("let_go")
        child.ask("go")
        assert child.event() == {"event": "closed"}
        assert Path(child.address.path).exists()
        child.listener.settimeout(20)
        child.listener.accept()[0].close()


@servers(["asyncio", "uvicorn_uvloop"])
def test_the_loop_of_the_main_thread_is_known(child: Child) -> None:
    child.wait_listening()
    expected = "uvloop" if "uvloop" in child.server else "asyncio"
    assert child.ask("loop").startswith(expected)
