"""The client of the steady load: it counts whole answers, and refuses any that is unlike the first one."""

from __future__ import annotations

import http.server
import os
import threading
from collections.abc import Callable, Iterator

import pytest

from bench.pairedload import Clients, Fresh

Serve = Callable[[Callable[[int], bytes]], int]


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64  # of 5 the kernel drops the other clients' first packets for a second


@pytest.fixture
def serve() -> Iterator[Serve]:
    servers: list[http.server.ThreadingHTTPServer] = []

    def start(body: Callable[[int], bytes]) -> int:
        """Serve ``body`` of the number of requests so far; returns the port."""
        asked: list[int] = []

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                asked.append(1)
                content = body(len(asked))
                head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(content)}\r\n\r\n".encode()
                self.wfile.write(head + content)

        server = Server(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        return int(server.server_address[1])

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_a_turn_counts_answers_and_their_processor_time(serve: Serve) -> None:
    with Clients(serve(lambda _: b"hello"), [os.getpid()]) as clients:
        for _ in range(2):  # the same connections serve for all turns
            found = clients.turn(0.2)
            assert found.keys() == {"rps", "p50", "p99", "cpu"}
            assert found["rps"] > 0
            assert 0 < found["p50"] <= found["p99"]
            assert found["cpu"] > 0


def test_an_answer_of_another_length_ends_it(serve: Serve) -> None:
    port = serve(lambda number: b"hello" if number <= 40 else b"something else")
    with Clients(port, [os.getpid()]) as clients, pytest.raises(ConnectionError, match="unlike the first"):
        clients.turn(5.0)


def test_a_turn_may_ask_on_a_connection_of_its_own_each_time(serve: Serve) -> None:
    with Fresh(serve(lambda _: b"hello"), [os.getpid()]) as clients:
        found = clients.turn(0.2)
        assert found["rps"] > 0
        assert 0 < found["p50"] <= found["p99"]


def test_a_longer_answer_on_a_connection_of_its_own_ends_it(serve: Serve) -> None:
    port = serve(lambda number: b"hello" if number <= 40 else b"something else")
    with Fresh(port, [os.getpid()]) as clients, pytest.raises(ConnectionError, match="unlike the first"):
        clients.turn(5.0)
