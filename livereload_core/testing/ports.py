"""Ports for tests."""

from __future__ import annotations

import random
import socket

__all__ = ["free_port", "port_is_free"]

# Below the range from which Linux takes client ports (32768-60999): else one of the thousands of connections
# of a load could be given the very port that a test expects to be free or to be bound again.
_RANGE = range(20_000, 32_000)


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
    """Return a port that nobody listens on and that the kernel gives to no client."""
    for _ in range(200):
        port = random.choice(_RANGE)
        if port_is_free(port, host):
            return port
    raise RuntimeError(f"no free port found between {_RANGE.start} and {_RANGE.stop} on {host!r}")
