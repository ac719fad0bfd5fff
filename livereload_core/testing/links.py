"""Clients that keep their connections, and what each of them has seen of gaps, duplicates and closes.

Every message carries a number. The other side answers it with one line of text::

    <number> <version> <resumed: 0 or 1> <served>

``served`` is what the program counts in ``connection().state``: like the number it goes up by one with each
answer of a connection, so a message that was handled twice, or a state that was lost, is seen here.

All clients of a :class:`Crowd` live in one thread with a loop of their own, as those of ``testing.load`` do.
The clients themselves are in ``testing.link_clients``.

Invariants:
    * Every number that was sent is accounted for: answered once, or counted as a gap.
    * A connection that ends before the crowd says so is counted with what the client saw; none is opened
      again.
"""

from __future__ import annotations

import asyncio
import threading
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable
from types import TracebackType
from typing import Any, NamedTuple, Self

__all__ = ["Client", "Crowd", "Ledger", "Said", "read_answer"]

PATIENCE = 60.0
"""Seconds for what takes milliseconds on a machine that is not overloaded."""


class Said(NamedTuple):
    """One answer.

    Attributes:
        number: which message it answers, or which event it is.
        version: of the code that answered.
        resumed: whether an earlier generation served the connection before.
        served: how many answers the program counts for the connection.
    """

    number: int
    version: str
    resumed: bool
    served: int


def read_answer(text: str) -> Said:
    """Read one line.

    Raises:
        ValueError: it is none.
    """
    number, version, resumed, served = text.split()
    return Said(int(number), version, resumed == "1", int(served))


class Ledger:
    """What one connection has seen.

    Attributes:
        sent: messages sent.
        received: answers, duplicates included.
        gaps: the numbers that were passed over and have not come since.
        duplicates: answers that had come before.
        reordered: answers that came after a later one.
        miscounted: answers whose ``served`` is not one more than that of the answer before.
        closed: how the connection ended before its time; empty while it lives.
        longest: seconds of the longest round trip.
        versions: answers by each version, in order of appearance.
        resumed: answers on the connection after it went over to another generation.
    """

    def __init__(self, name: str, first: int = 1) -> None:
        self.name = name
        self.sent = 0
        self.received = 0
        self.gaps: set[int] = set()
        self.duplicates = 0
        self.reordered = 0
        self.miscounted = 0
        self.closed = ""
        self.longest = 0.0
        self.versions: Counter[str] = Counter()
        self.resumed = 0
        self._first = first
        self._next = first
        self._served: int | None = None
        self._since: dict[int, float] = {}

    @property
    def outstanding(self) -> int:
        """Messages without an answer."""
        return len(self._since)

    def says(self, number: int, now: float) -> None:
        """A message goes out."""
        self.sent += 1
        self._since[number] = now

    def hears(self, said: Said, now: float) -> None:
        """An answer has come."""
        self.received += 1
        self.versions[said.version] += 1
        self.resumed += said.resumed
        begun = self._since.pop(said.number, None)
        if begun is not None:
            self.longest = max(self.longest, now - begun)
        if said.number >= self._next:
            self.gaps.update(range(self._next, said.number))
            self._next = said.number + 1
        elif said.number in self.gaps:
            self.gaps.discard(said.number)
            self.reordered += 1
        else:
            self.duplicates += 1
        if self._served is not None and said.served != self._served + 1:
            self.miscounted += 1
        self._served = said.served

    @property
    def flawless(self) -> bool:
        """Whether nothing was lost, doubled, reordered or closed."""
        return not (self.gaps or self.duplicates or self.reordered or self.miscounted or self.closed)

    def __str__(self) -> str:
        return (
            f"{self.name}: {self.sent} sent, {self.received} received, {len(self.gaps)} gaps, "
            f"{self.duplicates} duplicates, {self.reordered} reordered, {self.miscounted} miscounted, "
            f"longest {self.longest * 1e3:.0f} ms, {dict(self.versions)}, {self.resumed} resumed"
            + (f", closed: {self.closed}" if self.closed else "")
        )


class Client(ABC):
    """One connection.

    Args:
        name: for reports.

    Attributes:
        ledger: what was seen on it.
        window: messages that may be under way at once; 0 for a client that only listens.
    """

    window = 1

    def __init__(self, name: str) -> None:
        self.ledger = Ledger(name)

    @abstractmethod
    async def open(self) -> None:
        """Connect."""

    @abstractmethod
    async def say(self, number: int) -> None:
        """Send a message."""

    @abstractmethod
    async def hear(self) -> Said:
        """Return the next answer.

        Raises:
            Exception: the connection has ended, or says something else; any kind, noted in the ledger.
        """

    @abstractmethod
    async def close(self) -> None:
        """Part from the server."""


class Crowd:
    """Clients that talk without a pause, from a thread of their own.

    Use it as a context manager; at the end of the block all connections are closed.

    Args:
        pace: seconds between two messages of one client.
    """

    def __init__(self, *, pace: float = 0.05) -> None:
        self._pace = pace
        self._clients: list[Client] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="crowd", daemon=True)
        self._tasks: list[asyncio.Task[None]] = []
        self._go = asyncio.Event()
        self._changed = threading.Condition()

    def __enter__(self) -> Self:
        self._thread.start()
        self._loop.call_soon_threadsafe(self._go.set)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self.run(self._leave())
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(PATIENCE)
            self._loop.close()
        if error is not None:
            error.add_note(self.report())

    @property
    def ledgers(self) -> list[Ledger]:
        """What each client has seen."""
        return [client.ledger for client in self._clients]

    def run(self, coroutine: Coroutine[Any, Any, Any], *, timeout: float = PATIENCE) -> Any:
        """Run something in the loop of the crowd and return its result."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(timeout)

    def join(self, clients: Iterable[Client]) -> None:
        """Connect these, and let them talk."""
        self.run(self._join(list(clients)))

    def exchanged(self, number: int, *, timeout: float = PATIENCE) -> None:
        """Wait until each client has received ``number`` answers more, or has been closed."""
        goals = [(ledger, ledger.received + number) for ledger in self.ledgers]
        self._until(
            lambda: all(ledger.received >= goal or ledger.closed for ledger, goal in goals),
            f"{number} answers to each client",
            timeout,
        )

    def rest(self, *, timeout: float = PATIENCE) -> None:
        """Say nothing more, and wait until everything is answered."""
        self._loop.call_soon_threadsafe(self._go.clear)
        self.run(asyncio.sleep(0))
        self._until(
            lambda: all(not ledger.outstanding or ledger.closed for ledger in self.ledgers),
            "the last answers",
            timeout,
        )

    def go_on(self) -> None:
        """Talk again after :meth:`rest`."""
        self._loop.call_soon_threadsafe(self._go.set)

    def all_heard(self, version: str, *, timeout: float = PATIENCE) -> None:
        """Wait until each client has an answer by this version on its old connection."""
        self._until(
            lambda: all(ledger.versions[version] or ledger.closed for ledger in self.ledgers),
            f"an answer by version {version!r} to each client",
            timeout,
        )

    def assert_flawless(self) -> None:
        """Raise AssertionError unless nobody lost anything."""
        assert self._clients, "the crowd is empty"
        assert all(ledger.flawless for ledger in self.ledgers), self.report()
        assert all(ledger.received for ledger in self.ledgers), self.report()

    def report(self) -> str:
        """Say in a line each what was seen; the flawed first, of the others the slowest."""
        ledgers = sorted(self.ledgers, key=lambda ledger: (ledger.flawless, -ledger.longest))
        return "\n".join(["crowd:", *(f"  {ledger}" for ledger in ledgers[:12])])

    # -- in the loop -----------------------------------------------------------------------------------------

    async def _join(self, clients: list[Client]) -> None:
        for client in clients:
            await client.open()
            self._clients.append(client)
            self._tasks.append(asyncio.create_task(self._live(client)))

    async def _live(self, client: Client) -> None:
        window = asyncio.Semaphore(client.window) if client.window else None
        speaking = asyncio.create_task(self._speak(client, window)) if window is not None else None
        try:
            while True:
                said = await client.hear()
                with self._changed:
                    client.ledger.hears(said, time.monotonic())
                    self._changed.notify_all()
                if window is not None:
                    window.release()
        except asyncio.CancelledError:
            raise
        except Exception as error:  # whatever a client sees at the end of its connection
            with self._changed:
                client.ledger.closed = f"{type(error).__name__}: {error}"
                self._changed.notify_all()
        finally:
            if speaking is not None:
                speaking.cancel()
                await asyncio.gather(speaking, return_exceptions=True)

    async def _speak(self, client: Client, window: asyncio.Semaphore) -> None:
        number = 0
        while True:
            await window.acquire()
            await self._go.wait()
            number += 1
            client.ledger.says(number, time.monotonic())
            await client.say(number)
            await asyncio.sleep(self._pace)

    async def _leave(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(client.close() for client in self._clients), return_exceptions=True)

    def _until(self, done: Callable[[], bool], what: str, timeout: float) -> None:
        with self._changed:
            if not self._changed.wait_for(done, timeout):
                raise AssertionError(f"{what} did not come within {timeout:g} s\n{self.report()}")
