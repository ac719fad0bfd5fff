"""Kinds of target: what an adapter is, how adapters are found, and what a run offers them.

An adapter is registered under the entry point group ``livereload_core.targets``::

    [project.entry-points."livereload_core.targets"]
    mine = "my_package.livecore:MyAdapter"

It is made without arguments and decides by looking at the target that the user named. It must not import a
framework to find out: an object of a framework that is not in ``sys.modules`` cannot be there.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import importlib
import socket
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from livereload_core.core.settings import Settings
from livereload_core.errors import UsageError
from livereload_core.facts import ENTRY_POINTS

if TYPE_CHECKING:
    from livereload_core.child.runtime import Runtime

__all__ = ["PreparingAdapter", "RunContext", "TargetAdapter", "choose", "load_adapters"]


@runtime_checkable
class TargetAdapter(Protocol):
    """Runs one kind of target.

    Attributes:
        name: shown in reports.
        priority: higher ones are asked first.
    """

    name: str
    priority: int

    def matches(self, target: object) -> bool:
        """Whether ``target`` is of this kind; cheap, without importing a framework."""

    def run(self, target: Any, context: RunContext) -> None:
        """Start the target, say ready, serve until retired, shut down.

        Called in the main thread with the state in place. An exception before the context's ``ready`` turns
        the new code down.
        """


@runtime_checkable
class PreparingAdapter(TargetAdapter, Protocol):
    """One that can do a part of its work ahead, while the old code serves."""

    def prepare(self, target: Any, context: RunContext) -> None:
        """Do what needs neither the state nor a listener; called once before :meth:`run`.

        Nothing of the program's start-up may run here: the new code may still be turned down.
        """


class RunContext:
    """What a run offers to an adapter."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    @property
    def settings(self) -> Settings:
        """The settings of the run."""
        return self._runtime.settings

    def listeners(self) -> list[socket.socket]:
        """Listening sockets on the configured host and port (or Unix socket), held by the parent.

        Nothing can be accepted on them before the switch.

        Raises:
            PortBusyError: another program has the address.
        """
        return self._runtime.open_listeners()

    def ready(self) -> None:
        """Say that the target is started, and wait for the switch. For programs without an event loop."""
        self._runtime.announce_ready()
        self._runtime.committed.wait()

    async def ready_async(self) -> None:
        """Say that the target is started, and wait for the switch, in the program's event loop."""
        await self._runtime.announce_ready_async()
        await self.until(self._runtime.on_committed)

    async def until_retired(self) -> None:
        """Wait until the generation has drained and shall shut down."""
        await self.until(self._runtime.on_retired)

    def on_retired(self, callback: Callable[[], object]) -> None:
        """Have ``callback`` called, from another thread, when the generation shall shut down."""
        self._runtime.on_retired(callback)

    async def until(self, subscribe: Callable[[Callable[[], object]], None]) -> None:
        """Wait in the running loop for something that another thread announces."""
        loop = asyncio.get_running_loop()
        event = asyncio.Event()

        def announce() -> None:
            # Closed already: the program is shutting down, and nobody waits any more.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(event.set)

        subscribe(announce)
        await event.wait()

    def serve_by_itself(self, call: Callable[[], object]) -> None:
        """Run a program that opens its own listeners, or none.

        When the generation before listened, the program is ready once it listens on the same addresses
        (and accepts nothing before the switch); otherwise it is ready before ``call`` begins.
        """
        self._runtime.serve_by_itself(call)

    def answered(self) -> None:
        """Say that an answer has left, where that cannot be seen from outside (loops in C)."""
        if self._runtime.net.on_answer is not None:
            self._runtime.control.proved()

    def request_begun(self) -> None:
        """Count a request whose bytes cannot be seen from outside (loops in C)."""
        self._runtime.net.request_begun()

    def request_done(self) -> None:
        """The end of a request that was counted as begun."""
        self._runtime.net.request_done()


def load_adapters(points: Iterable[str]) -> list[TargetAdapter]:
    """Return the adapters of these entry points, those to be asked first in front.

    Args:
        points: each as ``name = module:attribute``. The parent finds them, once for many interpreters: what
            reads the metadata of distributions would take a fifth of the time in which a spare gets warm.

    Raises:
        UsageError: an entry point cannot be loaded or is no adapter.
    """
    return sorted((_load(point) for point in points), key=lambda adapter: -adapter.priority)


def _load(point: str) -> TargetAdapter:
    name, _, value = (part.strip() for part in point.partition("="))
    try:
        module, _, attribute = value.partition("[")[0].partition(":")  # extras in brackets are obsolete
        start: Any = importlib.import_module(module)
        adapter = functools.reduce(getattr, attribute.strip().split("."), start)()
    except Exception as error:  # told to the user as what it is: a broken plug-in
        raise UsageError(
            f"the target adapter {name!r} ({value}) cannot be loaded ({error})",
            advice=f"fix or uninstall the package that registers it under {ENTRY_POINTS!r}",
        ) from error
    if not isinstance(adapter, TargetAdapter):
        raise UsageError(
            f"the target adapter {name!r} ({value}) lacks name, priority, matches() or run()",
            advice="see the reference of adapters",
        )
    return adapter


def choose(adapters: list[TargetAdapter], target: object, written: str) -> TargetAdapter:
    """Return the adapter that takes ``target``.

    Raises:
        UsageError: none does.
    """
    for adapter in adapters:
        if adapter.matches(target):
            return adapter
    kinds = ", ".join(adapter.name for adapter in adapters)
    raise UsageError(
        f"{written!r} is {_described(target)}, which is nothing that can be run ({kinds})",
        advice="name an app, a coroutine function or a function without arguments"
        " (with --factory: a function that returns an app)",
    )


def _described(target: object) -> str:
    if callable(target) and hasattr(target, "__qualname__"):
        return f"the {type(target).__name__} {target.__qualname__!r}"
    return f"a {type(target).__name__}"
