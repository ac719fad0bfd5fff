"""A program: the most requests that a few kept-alive connections get answered, as JSON on stdout.

``python -m bench.closedload PORT SECONDS``. Each connection asks again as soon as it was answered. In a
process of its own, so that it has one core while the server has the other.

Invariants:
    * Every answer has the length of the first one; one that differs ends the run with an error.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time

from bench.model import quantile

__all__ = ["CONNECTIONS", "main"]

CONNECTIONS = 8
"""Enough that the server never waits for the client, few enough that p99 is not mere queueing."""

_REQUEST = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


class _Client(asyncio.Protocol):
    """One connection; latencies of whole answers in seconds."""

    def __init__(self) -> None:
        self.latencies: list[float] = []
        self.problem = ""
        self._transport: asyncio.Transport | None = None
        self._expected = 0
        self._got = b""
        self._asked = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._ask()

    def data_received(self, data: bytes) -> None:
        self._got += data
        self._expected = self._expected or _whole_length(self._got)
        if not self._expected or len(self._got) < self._expected:
            return
        if len(self._got) > self._expected or not self._got.startswith(b"HTTP/1.1 200"):
            self.problem = f"unlike the first answer: {self._got[:60]!r}"
            assert self._transport is not None
            self._transport.abort()
            return
        self.latencies.append(time.perf_counter() - self._asked)
        self._ask()

    def connection_lost(self, exc: Exception | None) -> None:
        self.problem = self.problem or f"connection lost: {exc!r}"

    def _ask(self) -> None:
        assert self._transport is not None
        self._got = b""
        self._asked = time.perf_counter()
        self._transport.write(_REQUEST)


def _whole_length(received: bytes) -> int:
    """Return the length of the answer, head included; 0 while the head is not complete."""
    head, separator, _ = received.partition(b"\r\n\r\n")
    if not separator:
        return 0
    length = _LENGTH.search(head)
    if length is None:
        raise ValueError(f"an answer without content-length: {head!r}")
    return len(head) + len(separator) + int(length[1])


async def _run(port: int, seconds: float) -> dict[str, float]:
    loop = asyncio.get_running_loop()
    began = time.perf_counter()
    pairs = [await loop.create_connection(_Client, "127.0.0.1", port) for _ in range(CONNECTIONS)]
    await asyncio.sleep(seconds)
    took = time.perf_counter() - began
    clients = [client for _, client in pairs]
    problems = [client.problem for client in clients if client.problem]
    if problems:
        raise ConnectionError(problems[0])
    for transport, _ in pairs:
        transport.abort()
    latencies = [latency * 1000 for client in clients for latency in client.latencies]
    return {
        "rps": len(latencies) / took,
        "p50": quantile(latencies, 0.5),
        "p99": quantile(latencies, 0.99),
    }


def main(port: int, seconds: float) -> None:
    """Load the port and print ``{"rps", "p50", "p99"}``, latencies in milliseconds."""
    print(json.dumps(asyncio.run(_run(port, seconds))))


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]))
