"""The floors of every hand-over: connected sockets sent from one process to another.

``python -m bench.handover FD`` is the receiver of the lower one: it takes as many fds as it is told, puts
each into an epoll set and answers with one byte. Nothing else is done with them: this part no hand-over can
leave out. ``python -m bench.handover FD transports`` gives each to an event loop and is done when that reads
from all: the least that an asyncio program can do. ``python -m bench.handover FD echo`` sends back what each
client has sent meanwhile, too: what it takes until every client has been answered by a program that does
nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

__all__ = ["measure_adoption", "measure_handover", "measure_transports"]

_MOST = 250
"""Fds in one message: the kernel takes 253 at most."""
_COUNT = struct.Struct("!I")
_PATIENCE = 30.0


def measure_handover(count: int, runs: int) -> list[float]:
    """Return the seconds from the first fd sent to the word that the last one is watched, for each run."""
    with _receiver() as sock, _connected(count) as (ends, _):
        fds = [end.fileno() for end in ends]
        _send(sock, fds)  # it is up, and its code is warm
        return [_send(sock, fds) for _ in range(runs)]


def measure_transports(count: int, runs: int) -> list[float]:
    """Return the seconds from the first fd sent to the word that a loop reads from the last one."""
    took = []
    with _receiver("transports") as sock, _connected(count) as (ends, _):
        fds = [end.fileno() for end in ends]
        for _ in range(runs + 1):
            took.append(_send(sock, fds))
            sock.sendall(b"e")
            _confirmed(sock)
    return took[1:]  # at the first its code was cold


def measure_adoption(count: int, runs: int) -> list[float]:
    """Return the seconds from the first fd sent to the answer to the last client, for each run."""
    with _receiver("echo") as sock, _connected(count) as (ends, clients):
        fds = [end.fileno() for end in ends]
        _exchange(sock, fds, clients)  # as above
        return [_exchange(sock, fds, clients) for _ in range(runs)]


@contextlib.contextmanager
def _receiver(*how: str) -> Iterator[socket.socket]:
    here, there = socket.socketpair()
    with here:
        here.settimeout(_PATIENCE)
        with there:
            process = subprocess.Popen(
                [sys.executable, "-m", "bench.handover", str(there.fileno()), *how],
                cwd=Path(__file__).parents[1],
                pass_fds=[there.fileno()],
            )
        try:
            yield here
        finally:
            process.kill()
            process.wait()


def _send(sock: socket.socket, fds: list[int]) -> float:
    sock.sendall(_COUNT.pack(len(fds)))
    began = time.perf_counter()
    _send_fds(sock, fds)
    _confirmed(sock)
    return time.perf_counter() - began


def _exchange(sock: socket.socket, fds: list[int], clients: list[socket.socket]) -> float:
    for client in clients:
        client.sendall(b"?")
    sock.sendall(_COUNT.pack(len(fds)))
    began = time.perf_counter()
    _send_fds(sock, fds)
    for client in clients:
        if client.recv(1) != b"?":
            raise ConnectionError("a connection has ended")
    took = time.perf_counter() - began
    sock.sendall(b"e")
    _confirmed(sock)
    return took


def _send_fds(sock: socket.socket, fds: list[int]) -> None:
    for start in range(0, len(fds), _MOST):
        socket.send_fds(sock, [b"f"], fds[start : start + _MOST])


def _confirmed(sock: socket.socket) -> None:
    if sock.recv(1) != b"k":
        raise ConnectionError("the receiver has ended")


@contextlib.contextmanager
def _connected(count: int) -> Iterator[tuple[list[socket.socket], list[socket.socket]]]:
    """Return the ends of so many TCP connections: the servers, and the clients."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=128))
        ends, clients = [], []
        for _ in range(count):
            clients.append(stack.enter_context(socket.create_connection(listener.getsockname())))
            clients[-1].settimeout(_PATIENCE)
            ends.append(stack.enter_context(listener.accept()[0]))
        yield ends, clients


def main(fd: int) -> None:
    """Receive until the other side is gone."""
    with socket.socket(fileno=fd) as sock:
        while head := sock.recv(_COUNT.size):
            taken: list[int] = []
            with select.epoll() as poll:
                for number in _taken(sock, _COUNT.unpack(head)[0]):
                    poll.register(number, select.EPOLLIN)
                    taken.append(number)
                sock.send(b"k")
            for number in taken:
                os.close(number)


def _taken(sock: socket.socket, left: int) -> Iterator[int]:
    while left:
        _, fds, _, _ = socket.recv_fds(sock, 1, _MOST)
        yield from fds
        left -= len(fds)


class _Echo(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._write = transport.write  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        self._write(data)


async def serve(fd: int, *, tells: bool) -> None:
    """Adopt and answer until the other side is gone; says when it reads from all if that is asked for."""
    loop = asyncio.get_running_loop()
    with socket.socket(fileno=fd) as sock:
        while head := sock.recv(_COUNT.size):
            transports = []
            for number in _taken(sock, _COUNT.unpack(head)[0]):
                end = socket.socket(fileno=number)
                end.setblocking(False)
                transports.append((await loop.connect_accepted_socket(_Echo, end))[0])
            if tells:
                sock.send(b"k")
            await loop.run_in_executor(None, sock.recv, 1)
            for transport in transports:
                transport.abort()
            await asyncio.sleep(0)
            sock.send(b"k")


if __name__ == "__main__":
    if len(sys.argv) > 2:
        asyncio.run(serve(int(sys.argv[1]), tells=sys.argv[2] == "transports"))
    else:
        main(int(sys.argv[1]))
