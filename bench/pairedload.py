"""A program: two servers under the same load in short turns, as JSON lines on stdout.

``python -m bench.pairedload QUADS SECONDS A B [--core N] [--fresh]``; A and B are ``PORT:PID[,PID...]``. Each
quad is four turns, A B B A, of so many seconds: what drifts slowly meets both alike. In a turn a few
connections, which are kept for all turns, ask again as soon as they were answered; with ``--fresh`` a few
clients ask, each time on a connection of its own that the server closes. One line for each quad::

    {"a": {"rps": 5210.0, "p50": 1.4, "p99": 2.2, "cpu": 171.0}, "b": {...}}

``cpu`` is the processor time of the named processes in microseconds per request: it depends far less on
what else the machine does than the time of the clock.

Invariants:
    * Every answer has the length of the longest of the first ones; one that differs ends the run.
    * Nothing but the two servers is measured: connecting, and the first answers on each connection, are not,
      unless connections are what is measured.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import select
import socket
import time
from collections.abc import Sequence
from typing import Self

from bench.idle import cpu_seconds
from bench.model import quantile

__all__ = ["CONNECTIONS", "Clients", "Fresh", "Turns", "main"]

CONNECTIONS = 8
"""Enough that the server never waits for the client, few enough that p99 is not mere queueing."""

_WARM = 4
"""Answers on each connection before anything counts."""
_REQUEST = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
_LAST_REQUEST = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_PATIENCE = 10.0
"""Seconds without any answer after which the run ends with an error."""


class Turns:
    """Loads one server in turns.

    Args:
        pids: the processes of the server.
    """

    def __init__(self, pids: Sequence[int]) -> None:
        self._pids = pids

    def turn(self, seconds: float) -> dict[str, float]:
        """Load the server for a while.

        Raises:
            ConnectionError: it closed a connection, stopped answering, or answered differently.
        """
        before = sum(map(cpu_seconds, self._pids))
        began = time.perf_counter()
        latencies = self._pump(began + seconds)
        took = time.perf_counter() - began
        used = sum(map(cpu_seconds, self._pids)) - before
        return {
            "rps": len(latencies) / took,
            "p50": quantile(latencies, 0.5) * 1000,
            "p99": quantile(latencies, 0.99) * 1000,
            "cpu": used / len(latencies) * 1e6,
        }

    def _pump(self, end: float) -> list[float]:
        """Keep a few requests under way until ``end``; returns the latencies in seconds.

        The last answers are waited for, and counted.
        """
        raise NotImplementedError


class Clients(Turns):
    """A few connections to one server, kept for all turns: what is measured is a steady load, not connecting.

    Args:
        port: of the server.
        pids: its processes.
    """

    def __init__(self, port: int, pids: Sequence[int]) -> None:
        super().__init__(pids)
        with contextlib.ExitStack() as failing:
            self._poll = failing.enter_context(contextlib.closing(select.epoll()))
            self._connections: dict[int, socket.socket] = {}
            for _ in range(CONNECTIONS):
                sock = failing.enter_context(socket.create_connection(("127.0.0.1", port), _PATIENCE))
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._connections[sock.fileno()] = sock
                self._poll.register(sock, select.EPOLLIN)
            self._length = max(_ask_once(sock) for sock in self._connections.values() for _ in range(_WARM))
            self._open = failing.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def _pump(self, end: float) -> list[float]:
        clock = time.perf_counter
        connections = self._connections
        asked = dict.fromkeys(connections, 0.0)
        got = dict.fromkeys(connections, 0)
        latencies: list[float] = []
        for fd, sock in connections.items():
            asked[fd] = clock()
            sock.send(_REQUEST)
        owed = len(connections)
        while owed:
            ready = self._poll.poll(_PATIENCE)
            if not ready:
                raise ConnectionError(f"no answer within {_PATIENCE:g} s")
            for fd, _ in ready:
                data = connections[fd].recv(65536)
                got[fd] += len(data)
                if (
                    not data
                    or got[fd] > self._length
                    or (got[fd] == len(data) and not data.startswith(b"HTTP/1.1 200"))
                ):
                    raise ConnectionError(f"unlike the first answer: {data[:60]!r}")
                if got[fd] == self._length:
                    now = clock()
                    latencies.append(now - asked[fd])
                    got[fd], asked[fd] = 0, now
                    if now < end:
                        connections[fd].send(_REQUEST)
                    else:
                        owed -= 1
        return latencies


class Fresh(Turns):
    """A few clients of one server that open a connection for each request and read to its end.

    Args:
        port: of the server.
        pids: its processes.
    """

    def __init__(self, port: int, pids: Sequence[int]) -> None:
        super().__init__(pids)
        self._address = ("127.0.0.1", port)
        self._length = max(self._ask() for _ in range(_WARM))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def _ask(self) -> int:
        with socket.create_connection(self._address, _PATIENCE) as sock:
            sock.sendall(_LAST_REQUEST)
            received = b""
            while data := sock.recv(65536):
                received += data
        if not received.startswith(b"HTTP/1.1 200"):
            raise ConnectionError(f"not an answer: {received[:60]!r}")
        return len(received)

    def _pump(self, end: float) -> list[float]:
        clock = time.perf_counter
        under_way: dict[int, tuple[socket.socket, float, bytearray]] = {}
        latencies: list[float] = []

        def ask() -> None:
            began = clock()
            sock = socket.socket()
            sock.settimeout(_PATIENCE)
            under_way[sock.fileno()] = sock, began, bytearray()
            sock.connect(self._address)
            sock.send(_LAST_REQUEST)
            poll.register(sock, select.EPOLLIN)

        with contextlib.closing(select.epoll()) as poll:
            try:
                for _ in range(CONNECTIONS):
                    ask()
                while under_way:
                    ready = poll.poll(_PATIENCE)
                    if not ready:
                        raise ConnectionError(f"no answer within {_PATIENCE:g} s")
                    for fd, _ in ready:
                        sock, began, received = under_way[fd]
                        data = sock.recv(65536)
                        received += data
                        if data:
                            continue
                        now = clock()
                        if len(received) > self._length or not received.startswith(b"HTTP/1.1 200"):
                            raise ConnectionError(f"unlike the first answer: {bytes(received[:60])!r}")
                        latencies.append(now - began)
                        del under_way[fd]
                        sock.close()
                        if now < end:
                            ask()
            finally:
                for sock, *_ in under_way.values():
                    sock.close()
        return latencies


def _ask_once(sock: socket.socket) -> int:
    """Ask and wait for the whole answer; returns its length."""
    sock.send(_REQUEST)
    received = b""
    while True:
        data = sock.recv(65536)
        received += data
        head, separator, body = received.partition(b"\r\n\r\n")
        if not data or not received.startswith(b"HTTP/1.1 200"[: len(received)]):
            raise ConnectionError(f"not an answer: {received[:60]!r}")
        if not separator:
            continue
        found = _LENGTH.search(head)
        if found is None:
            raise ConnectionError(f"an answer without content-length: {head!r}")
        if len(body) >= int(found[1]):
            return len(received)


def _quad(a: Turns, b: Turns, seconds: float) -> dict[str, dict[str, float]]:
    first, second, third, fourth = (clients.turn(seconds) for clients in (a, b, b, a))
    return {
        "a": {key: (first[key] + fourth[key]) / 2 for key in first},
        "b": {key: (second[key] + third[key]) / 2 for key in second},
    }


def _server(text: str) -> tuple[int, list[int]]:
    port, _, pids = text.partition(":")
    return int(port), [int(pid) for pid in pids.split(",")]


def main(arguments: Sequence[str] | None = None) -> None:
    """See the head of the module."""
    parser = argparse.ArgumentParser(prog="bench.pairedload")
    parser.add_argument("quads", type=int)
    parser.add_argument("seconds", type=float)
    parser.add_argument("a", type=_server, metavar="PORT:PID[,PID...]")
    parser.add_argument("b", type=_server, metavar="PORT:PID[,PID...]")
    parser.add_argument("--core", type=int, help="the core of this client")
    parser.add_argument("--fresh", action="store_true", help="a connection for each request")
    options = parser.parse_args(arguments)
    if options.core is not None:
        os.sched_setaffinity(0, {options.core})
    clients = Fresh if options.fresh else Clients
    with clients(*options.a) as a, clients(*options.b) as b:
        _quad(a, b, options.seconds)  # warms both up, not counted
        for _ in range(options.quads):
            print(json.dumps(_quad(a, b, options.seconds)), flush=True)


if __name__ == "__main__":
    main()
