"""Steady load by clients that each open a connection of their own, and every answer and failure of it.

The load is open: a request is due at its time, whether or not earlier ones were answered, so that a
server that stands still is seen as what it is, and not as a client that politely waits for it.

Invariants:
    * Every request that was begun ends in exactly one answer or one failure.
    * Nothing is tried again: a refused connection is a failure, also when the next one succeeds.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

__all__ = ["Answer", "Failed", "Load", "ask_http", "ask_line", "http_request", "parse_http"]

_MOST_OPEN = 500
"""Requests under way at once, for our own limit of files is near. No more are sent meanwhile: a busy machine
is no failure of the server, and a server that stalls is told by the limit of each request."""


@dataclasses.dataclass(frozen=True)
class Answer:
    """One answer.

    Attributes:
        status: the HTTP status; 200 for protocols that have none.
        headers: names in lower case.
        body: as received.
    """

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode(errors="replace")

    def json(self) -> Any:
        """The body, read as JSON."""
        return json.loads(self.body)


@dataclasses.dataclass(frozen=True)
class Failed:
    """One request without a good answer.

    Attributes:
        at: seconds since the load began.
        kind: ``refused``, ``reset``, ``timeout``, ``empty``, ``garbled``, ``status 503`` ...
        detail: what the client saw.
    """

    at: float
    kind: str
    detail: str


def http_request(path: str, *, accept: str = "*/*", host: str = "127.0.0.1") -> bytes:
    """Return a request that asks for the connection to be closed after the answer."""
    return f"GET {path} HTTP/1.1\r\nHost: {host}\r\nAccept: {accept}\r\nConnection: close\r\n\r\n".encode()


def parse_http(raw: bytes) -> Answer:
    """Read one whole answer, up to the end of the connection.

    Raises:
        ValueError: it is none, or ends before its time.
    """
    head, separator, body = raw.partition(b"\r\n\r\n")
    if not separator:
        raise ValueError(f"no whole head in {raw[:80]!r}")
    status_line, *lines = head.decode("latin-1").split("\r\n")
    version, _, rest = status_line.partition(" ")
    if not version.startswith("HTTP/1."):
        raise ValueError(f"not HTTP: {status_line!r}")
    headers = {
        name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)
    }
    if headers.get("transfer-encoding", "").lower() == "chunked":
        body = _unchunk(body)
    elif "content-length" in headers and len(body) != int(headers["content-length"]):
        raise ValueError(f"{len(body)} of {headers['content-length']} bytes of the body")
    return Answer(int(rest[:3]), headers, body)


def _unchunk(body: bytes) -> bytes:
    whole = b""
    while True:
        size, separator, body = body.partition(b"\r\n")
        if not separator:
            raise ValueError("the chunks end before their time")
        length = int(size.partition(b";")[0], 16)
        if length == 0:
            return whole
        whole += body[:length]
        body = body[length + 2 :]


def parse_line(raw: bytes) -> Answer:
    """Read one answer of a protocol of lines."""
    if not raw.endswith(b"\n"):
        raise ValueError(f"no whole line in {raw[:80]!r}")
    return Answer(200, {}, raw)


def ask(port: int, request: bytes, parse: Callable[[bytes], Answer], *, timeout: float = 10.0) -> Answer:
    """Send one request on a connection of its own and read to its end."""
    received = b""
    with socket.create_connection(("127.0.0.1", port), timeout=timeout) as client:
        client.sendall(request)
        while chunk := client.recv(65536):
            received += chunk
    return parse(received)


def ask_http(port: int, path: str = "/", *, accept: str = "*/*", timeout: float = 10.0) -> Answer:
    """GET a path on a connection of its own.

    Raises:
        OSError: refused, reset or too slow.
        ValueError: the answer is not whole.
    """
    return ask(port, http_request(path, accept=accept), parse_http, timeout=timeout)


def ask_line(port: int, line: str, *, timeout: float = 10.0) -> Answer:
    """Send a line on a connection of its own and read the answer."""
    return ask(port, line.encode() + b"\n", parse_line, timeout=timeout)


class Load:
    """``rate`` requests per second, each on a fresh connection, from a thread of its own.

    Use it as a context manager; at the end of the block every request under way has ended.

    Attributes:
        failures: what went wrong, in order.
        answers: how many good answers there were.
        counts: the ``count`` of every good answer that has one.
        versions: how many good answers each ``version`` gave.
        latencies: seconds from the connect to the end of the answer.
        began: when each of these was asked, by ``time.monotonic``.
    """

    def __init__(
        self,
        port: int,
        path: str = "/hit",
        *,
        rate: float = 200.0,
        timeout: float = 10.0,
        request: bytes | None = None,
        parse: Callable[[bytes], Answer] = parse_http,
    ) -> None:
        self.failures: list[Failed] = []
        self.answers = 0
        self.counts: list[int] = []
        self.versions: Counter[str] = Counter()
        self.latencies: list[float] = []
        self.began: list[float] = []
        self._port = port
        self._request = request if request is not None else http_request(path)
        self._parse = parse
        self._rate = rate
        self._timeout = timeout
        self._began = 0.0
        self._stop = threading.Event()
        self._ended = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="load", daemon=True)

    @classmethod
    def of_lines(cls, port: int, line: str = "hit", *, rate: float = 200.0) -> Self:
        """Make a load for a protocol of lines."""
        return cls(port, rate=rate, request=line.encode() + b"\n", parse=parse_line)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join(self._timeout + 10)
        if error is not None:
            error.add_note(self.report())

    def more(self, number: int, *, timeout: float = 60.0) -> None:
        """Wait until ``number`` further requests have ended, well or not."""
        with self._ended:
            goal = self.answers + len(self.failures) + number
            if not self._ended.wait_for(lambda: self.answers + len(self.failures) >= goal, timeout):
                raise AssertionError(f"the load did not go on for {timeout:g} s\n{self.report()}")

    def seconds(self, seconds: float) -> None:
        """Wait until as many requests have ended as are due in this time."""
        self.more(max(1, round(seconds * self._rate)), timeout=seconds * 5 + 30)

    def assert_flawless(self) -> None:
        """Raise AssertionError unless every request had a good answer."""
        assert not self.failures, self.report()
        assert self.answers, "the load made no request at all"

    def assert_exact(self, *, first: int = 1) -> None:
        """Raise AssertionError unless the answers' counts are ``first`` and on, each once, without a gap."""
        got = sorted(self.counts)
        expected = list(range(first, first + len(got)))
        if got != expected or len(got) != self.answers:
            doubled = [count for count, times in Counter(got).items() if times > 1]
            missing = sorted(set(expected) - set(got))
            raise AssertionError(
                f"counts are not exact: {len(got)} counts from {self.answers} answers, "
                f"doubled {doubled[:20]}, missing {missing[:20]}\n{self.report()}"
            )

    def report(self) -> str:
        """Say in a few lines what was seen."""
        slow = sorted(self.latencies)
        times = (
            f"median {slow[len(slow) // 2] * 1e3:.1f} ms, longest {slow[-1] * 1e3:.1f} ms" if slow else "none"
        )
        kinds = dict(Counter(failed.kind for failed in self.failures))
        lines = [
            f"load: {self.answers} good, {len(self.failures)} failed {kinds}; {times}; {dict(self.versions)}"
        ]
        lines += [f"  {failed.at:8.3f} s  {failed.kind}: {failed.detail}" for failed in self.failures[:10]]
        return "\n".join(lines)

    def _run(self) -> None:
        asyncio.run(self._drive())

    async def _drive(self) -> None:
        under_way: set[asyncio.Task[None]] = set()
        self._began = time.monotonic()
        number = 0
        while not self._stop.is_set():
            number += 1
            if len(under_way) < _MOST_OPEN:
                task = asyncio.create_task(self._one())
                under_way.add(task)
                task.add_done_callback(under_way.discard)
            await asyncio.sleep(max(0.0, self._began + number / self._rate - time.monotonic()))
        if under_way:
            await asyncio.wait(under_way)

    async def _one(self) -> None:
        began = time.monotonic()
        try:
            async with asyncio.timeout(self._timeout):
                answer = self._parse(await self._exchange())
        except TimeoutError:
            self._fail("timeout", f"no whole answer within {self._timeout:g} s")
        except ConnectionRefusedError as error:
            self._fail("refused", str(error))
        except OSError as error:
            self._fail("reset" if isinstance(error, ConnectionError) else "error", repr(error))
        except ValueError as error:
            self._fail("garbled", str(error))
        else:
            if answer.status != 200:
                self._fail(f"status {answer.status}", answer.text[:200])
                return
            self._good(answer, began, time.monotonic() - began)

    async def _exchange(self) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            writer.write(self._request)
            received = await reader.read()
        finally:
            writer.close()
        if not received:
            raise ConnectionResetError("closed without a single byte of an answer")
        return received

    def _good(self, answer: Answer, began: float, latency: float) -> None:
        try:
            said = answer.json()
        except ValueError as error:
            self._fail("garbled", str(error))
            return
        with self._ended:
            self.answers += 1
            self.latencies.append(latency)
            self.began.append(began)
            if isinstance(said, dict):
                if "count" in said:
                    self.counts.append(int(said["count"]))
                self.versions[str(said.get("version"))] += 1
            self._ended.notify_all()

    def _fail(self, kind: str, detail: str) -> None:
        with self._ended:
            self.failures.append(Failed(time.monotonic() - self._began, kind, detail))
            self._ended.notify_all()
