"""Ports for tests."""

from __future__ import annotations

import os
import random
import socket
import sys
from collections import deque

__all__ = ["free_port", "port_is_free"]

# Below the range from which Linux takes client ports (32768-60999): else one of the thousands of connections
# of a load could be given the very port that a test expects to be free or to be bound again.
_RANGE = range(20_000, 32_000)
_random = random.SystemRandom()  # tests and tools seed the usual one: all workers would draw the same ports

# Between the choice of a port and the start of the server on it others choose, too, in other processes: with
# some hundred starts beside as many two met once in some ten runs of a suite.
_RESERVED: deque[int] = deque()
_MOST_RESERVED = 32


def port_is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Tell whether a server could listen on the port now (as one that sets SO_REUSEADDR would)."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            # Two sockets with SO_REUSEADDR may both bind; only listen() tells.
            probe.listen(1)
        except OSError:
            return False
    return True


def free_port(host: str = "127.0.0.1") -> int:
    """Return a port that nobody listens on and that the kernel gives to no client.

    On Linux no other call returns it, in whatever process, until this one has returned 32 others.
    """
    for _ in range(200):
        port = _random.choice(_RANGE)
        if _reserve(port) and port_is_free(port, host):
            return port
    raise RuntimeError(f"no free port found between {_RANGE.start} and {_RANGE.stop} on {host!r}")


def _reserve(port: int) -> bool:
    """Reserve a port among all who choose one here: an abstract socket of that name is there once."""
    if sys.platform != "linux":
        return True
    reserved = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        reserved.bind(f"\0livereload-core-testing-{port}")
    except OSError:
        reserved.close()
        return False
    _RESERVED.append(reserved.detach())  # it stays open until the process ends, which is no leak to warn of
    while len(_RESERVED) > _MOST_RESERVED:
        os.close(_RESERVED.popleft())
    return True
