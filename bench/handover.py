"""The floor of every hand-over: connected sockets sent from one process to another, and watched there.

``python -m bench.handover FD`` is the receiver: it takes as many fds as it is told, puts each into an epoll
set and answers with one byte. Nothing else is done with them: this part no hand-over can leave out.
"""

from __future__ import annotations

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

__all__ = ["measure_handover"]

_MOST = 250
"""Fds in one message: the kernel takes 253 at most."""
_COUNT = struct.Struct("!I")
_PATIENCE = 30.0


def measure_handover(count: int, runs: int) -> list[float]:
    """Return the seconds from the first fd sent to the word that the last one is watched, for each run."""
    with contextlib.ExitStack() as stack:
        fds = [sock.fileno() for sock in stack.enter_context(_connected(count))]
        here, there = socket.socketpair()
        stack.enter_context(here)
        here.settimeout(_PATIENCE)
        with there:
            process = subprocess.Popen(
                [sys.executable, "-m", "bench.handover", str(there.fileno())],
                cwd=Path(__file__).parents[1],
                pass_fds=[there.fileno()],
            )
        stack.callback(process.wait)
        stack.callback(process.kill)
        _send(here, fds)  # it is up, and its code is warm
        return [_send(here, fds) for _ in range(runs)]


def _send(sock: socket.socket, fds: list[int]) -> float:
    sock.sendall(_COUNT.pack(len(fds)))
    began = time.perf_counter()
    for start in range(0, len(fds), _MOST):
        socket.send_fds(sock, [b"f"], fds[start : start + _MOST])
    if sock.recv(1) != b"k":
        raise ConnectionError("the receiver has ended")
    return time.perf_counter() - began


@contextlib.contextmanager
def _connected(count: int) -> Iterator[list[socket.socket]]:
    """Return the servers' ends of so many TCP connections."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=128))
        ends = []
        for _ in range(count):
            stack.enter_context(socket.create_connection(listener.getsockname()))
            ends.append(stack.enter_context(listener.accept()[0]))
        yield ends


def main(fd: int) -> None:
    """Receive until the other side is gone."""
    with socket.socket(fileno=fd) as sock:
        while head := sock.recv(_COUNT.size):
            left = _COUNT.unpack(head)[0]
            taken: list[int] = []
            with select.epoll() as poll:
                while left:
                    _, fds, _, _ = socket.recv_fds(sock, 1, _MOST)
                    for number in fds:
                        poll.register(number, select.EPOLLIN)
                    taken += fds
                    left -= len(fds)
                sock.send(b"k")
            for number in taken:
                os.close(number)


if __name__ == "__main__":
    main(int(sys.argv[1]))
