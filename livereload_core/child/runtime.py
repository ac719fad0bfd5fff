"""One generation from the inside: import, state, start-up, service, standstill, retirement.

Two threads. The *main* thread belongs to the user's program; before it starts, it follows the parent's
orders (:meth:`Runtime.await_start`). The *control* thread (``child.control``) reads the channel and leads
everything else.

Invariants:
    * Nothing is accepted before COMMIT, whatever the program does.
    * A failure before COMMIT is said once, with the user's traceback, and ends the process without running
      its ``atexit`` handlers: it has never served.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
import threading
import time
import weakref
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, NoReturn

from livereload_core.child import gate, native, terminal
from livereload_core.child.adapter import PreparingAdapter, RunContext, TargetAdapter, choose
from livereload_core.child.broker import Broker
from livereload_core.child.conn_adopt import Adopter
from livereload_core.child.control import Control
from livereload_core.child.handing import Handing, spread
from livereload_core.child.hooks import run_hooks, run_hooks_async
from livereload_core.child.imports import UserImports, names_for_failure, user_traceback
from livereload_core.child.loops import current_loop
from livereload_core.child.net import Net
from livereload_core.child.net_late import soon
from livereload_core.child.program import Program, load
from livereload_core.core.settings import Settings, TargetKind
from livereload_core.errors import PortBusyError, StateError, UsageError
from livereload_core.facts import Failure, RootReport
from livereload_core.posix import memfd
from livereload_core.posix.addresses import Address
from livereload_core.posix.channel import BlockingChannel, ChannelClosedError
from livereload_core.state import runtime as state_runtime
from livereload_core.state.engine import Engine, Waive
from livereload_core.wire import messages as wire

__all__ = ["Runtime"]

CONNECTION_STATES = "livereload_core:connection().state"
"""The root in which ``connection().state`` is kept. No report tells of it, but the path of what cannot be
carried begins with its name."""
SETTLE = 0.5
"""Seconds after the last new listener in which a program that listens on fewer addresses than the one before
may open another one; then it counts as ready, and the rest as given up."""


class Runtime:
    """Leads one generation.

    Args:
        channel: to the parent.
        settings: of the run.
        roots: folders whose Python files are the user's own code.
        adapters: kinds of target, in the order in which they are asked.
    """

    def __init__(
        self,
        channel: BlockingChannel,
        settings: Settings,
        roots: Sequence[str],
        adapters: list[TargetAdapter],
    ) -> None:
        self.channel = channel
        self.attempt = 0
        self.settings = settings
        self.adapters = adapters
        self.imports = UserImports(roots=roots)
        self.engine = Engine(is_user_module=self.imports.is_user_module)
        self.broker = Broker(channel)
        self.net = Net(self.broker)
        self.adopter = Adopter(self.net.connections, self._send)
        self.orders: native.SimpleQueue[tuple[wire.Message, list[int]]] = native.SimpleQueue()
        self.committed = native.Event()
        self.leaving = False
        self.running = True
        self._is_fork = False
        self.required: frozenset[Address] = frozenset()
        self._program: Program | None = None
        self._phase = "prepare"
        self.announced_files: Collection[str] = ()
        self._is_set_up = False
        self._ahead: frozenset[str] = frozenset()
        self._started = False
        self._announced = False
        self._with_state = False
        self._lock = native.Lock()
        self._settle_timer: threading.Timer | None = None
        self._on_committed: list[Callable[[], object]] = []
        self._on_retired: list[Callable[[], object]] = []
        self._restored_listeners: list[weakref.ref[socket.socket]] = []
        self.handing = Handing()
        self.control = Control(self)

    # -- the main thread ----------------------------------------------------------------------------

    def set_up(self) -> None:
        """What needs no order yet: patches and hooks that every generation of the run has. Idempotent."""
        if self._is_set_up:
            return
        self._is_set_up = True
        self.kind = self.settings.target.kind.value
        self._seconds = 0.0
        self.net.on_listening = self._on_listening
        self.net.answered = False
        self.net.install()
        self.imports.install()

    def run(self, order: wire.Activate) -> int:
        """Lead the generation to its end; returns the exit code of the process."""
        self.set_up()
        self.attempt = order.attempt
        self.engine.generation, self.engine.awaits = order.generation, order.awaits
        self._ahead = frozenset(sys.modules)
        self._install()
        self.imports.begin()
        try:
            began = time.perf_counter()
            self._program = load(self.settings, self.imports)
            self._seconds = time.perf_counter() - began
            if self._program.script is not None:
                self._program.script()
            else:
                adapter = choose(self.adapters, self._program.target, str(self.settings.target))
                self.kind = adapter.name
                context = RunContext(self)
                self.imports.executing()  # to its end
                if isinstance(adapter, PreparingAdapter):
                    adapter.prepare(self._program.target, context)
                self.await_start()
                adapter.run(self._program.target, context)
            self._join_threads()
        except BaseException as error:
            return self._ended(error)
        return self._ended(None)

    def _install(self) -> None:
        self.engine.activate()
        connections = self.net.connections
        connections.states = self.engine.keep(CONNECTION_STATES, dict)
        connections.attach(self._send, self.engine.generation, self.imports.is_user_path)
        state_runtime.request_reload = self._request_reload
        state_runtime.exit_status = self.broker.exit_status
        state_runtime.on_listener = self._restored
        self.on_committed(self.engine.commit)
        gate.install(self.await_start)
        terminal.install(self.channel, self.broker)
        os.register_at_fork(after_in_child=self._forked)
        self.control.start()
        self.net.answered = True

    def await_start(self) -> None:
        """Say that the user's code is imported, and follow orders until its start-up may run.

        Called once by adapters' runs and at the gate of scripts; later calls return at once.
        """
        if self._started:
            return
        run_hooks("prepare", self.settings.timeout_prepare)
        unforeseen = self.imports.unforeseen_environ
        if unforeseen:
            self.channel.send(wire.Spoiled("", unforeseen[0]))  # another one begins anew, and cold
            os._exit(0)
        foreign = tuple(self.imports.third_party(beyond=self._ahead))
        loaded = self.imports.loaded()
        self.announced_files = loaded.keys()
        sources = memfd.create(self.imports.bundle(), "livecore-sources")
        try:
            prepared = wire.Prepared(
                self.attempt, self.kind, loaded, self._seconds, foreign, self.engine.allowed()
            )
            self._send(prepared, [sources])
        finally:
            os.close(sources)
        started = False
        while not started:
            order, fds = self.orders.get()
            try:
                started = self._follow(order, fds)
            finally:
                for fd in fds:
                    os.close(fd)
        if self.settings.target.kind in (TargetKind.SCRIPT, TargetKind.PACKAGE) and not self.required:
            self.announce_ready()
            self.committed.wait()

    def _follow(self, order: wire.Message, fds: list[int]) -> bool:
        """Do what the parent orders; returns whether it was the last order before the start-up."""
        if isinstance(order, wire.Precopy):
            self._phase = "precopy"
            with memfd.mapped(fds[0]) as data:
                roots = self.engine.trial(data, fds[1:], Waive(order.reset, order.resumed))
            self._send(wire.Precopied(self.attempt, roots))
        elif isinstance(order, wire.Rehydrate):
            self._phase = "rehydrate"
            began = time.perf_counter()
            self.required = frozenset(Address.from_json(address) for address in order.required)
            if fds:
                self._with_state = True
                with memfd.mapped(fds[0]) as data:
                    waive = Waive(order.reset, order.resumed)
                    self.engine.adopt(data, spread(fds[1:], order.gone), waive)
            else:
                self.engine.start_anew()
            self._send(wire.Adopted(self.attempt, time.perf_counter() - began))
            self._phase = "verify"
            self._started = True
            self._expect_restored()
        return self._started

    def _restored(self, sock: socket.socket) -> None:
        """A listener has come back with the state: it is accepted on from the commit on, as any other."""
        with contextlib.suppress(ValueError, OSError):  # of a family that the parent does not hold
            self.net.adopt_listener(sock, Address.of(sock), kept=True)
            self._restored_listeners.append(weakref.ref(sock))

    def _expect_restored(self) -> None:
        """Count a restored listener as in use, even if the program does not accept on it at once."""

        def announce() -> None:
            for reference in self._restored_listeners:
                sock = reference()
                if sock is not None and sock.fileno() >= 0:
                    self.net.announce(sock.fileno())

        if self._restored_listeners:
            timer = threading.Timer(SETTLE, announce)
            timer.daemon = True
            timer.start()

    def serve_by_itself(self, call: Callable[[], object]) -> None:
        """See :meth:`RunContext.serve_by_itself`."""
        if not self.required:
            self.announce_ready()
            self.committed.wait()
        call()

    def _join_threads(self) -> None:
        """A program whose main function returned runs on in its other threads, as in plain Python."""
        for thread in threading.enumerate():
            if thread is not threading.current_thread() and not thread.daemon:
                thread.join()

    def _ended(self, error: BaseException | None) -> int:
        self.running = False
        if self._is_fork and error is not None and not isinstance(error, SystemExit):
            # Not the generation: a process that the program forked, leaving as it would in plain Python.
            print(user_traceback(error), end="", file=sys.stderr)
        code, failure = self._verdict(error)
        if self._is_fork:
            return code
        if self.leaving:
            self.control.wait_retired()
            return 0
        if not self.committed.is_set():
            self.engine.give_up()
            self.fail(
                failure
                or Failure(self._phase, f"the program ended with exit code {code} before it was ready"),
                error,
            )
        self.control.finished(code, failure)
        return code

    def _verdict(self, error: BaseException | None) -> tuple[int, Failure | None]:
        if error is None:
            return 0, None
        if isinstance(error, SystemExit):
            if error.code is None or isinstance(error.code, int):
                code = error.code or 0
                failure = (
                    None
                    if self.committed.is_set()
                    else self.failure_of(error, f"sys.exit({code}) was called")
                )
                return code, failure
            print(error.code, file=sys.stderr)
            return 1, None if self.committed.is_set() else self.failure_of(
                error, f"sys.exit({error.code!r}) was called"
            )
        if isinstance(error, KeyboardInterrupt):
            return 130, self.failure_of(error, "KeyboardInterrupt")
        return 1, self.failure_of(error)

    # -- failure ------------------------------------------------------------------------------------

    def failure_of(self, error: BaseException, reason: str = "") -> Failure:
        """Describe an exception of the user's code."""
        phase = "serving" if self.committed.is_set() else self._phase
        if isinstance(error, (UsageError, StateError)):
            return Failure(phase, str(error), "", names_for_failure(error))
        name = type(error).__name__
        try:
            reason = reason or (f"{name}: {error}" if str(error) else name)
            return Failure(phase, reason.splitlines()[0], user_traceback(error), names_for_failure(error))
        except Exception:  # the exception's own __str__ is broken; that it was raised is what counts
            return Failure(phase, f"{name} (its message cannot be shown)")

    def fail(self, failure: Failure, error: BaseException | None = None) -> NoReturn:
        """Turn this candidate down and end the process."""
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(AttributeError, OSError, ValueError):  # None, closed, or nobody reads it
                stream.flush()
        message = wire.Failed(
            self.attempt,
            failure,
            self.imports.loaded(),
            usage=isinstance(error, UsageError),
            port_busy=isinstance(error, PortBusyError),
        )
        try:
            self.channel.send(message)
        finally:
            os._exit(1)

    # -- ready --------------------------------------------------------------------------------------

    def announce_ready(self) -> None:
        """Run the after_reload hooks, settle the state and say ready; in a thread without an event loop."""
        if not self._claim_announcement():
            return
        if self._with_state:
            run_hooks("after_reload", self.settings.timeout_hook)
        self._say_ready()

    async def announce_ready_async(self) -> None:
        """The same in the program's event loop."""
        if not self._claim_announcement():
            return
        if self._with_state:
            await run_hooks_async("after_reload", self.settings.timeout_hook)
        self._say_ready()

    def _claim_announcement(self) -> bool:
        with self._lock:
            first, self._announced = not self._announced, True
        return first

    def _say_ready(self) -> None:
        roots: Iterable[RootReport] = [
            report for report in self.engine.settle() if report.key != CONNECTION_STATES
        ]
        gone = sorted(str(address) for address in self.net.missing(self.required))
        notes = [f"no longer listens on {', '.join(gone)}"] if gone and self._listens else []
        self._send(wire.Ready(self.attempt, tuple(roots), tuple(notes)))

    @property
    def _listens(self) -> bool:
        return bool(self.net.listening())

    def _on_listening(self, address: Address) -> None:
        """The program has begun to listen, in whatever thread."""
        if self.committed.is_set() or not self._started or not self.required:
            return
        if self._settle_timer is not None:
            self._settle_timer.cancel()
        if not self.net.missing(self.required):
            self._announce_from_here()
        else:
            loop = _running_loop()
            later = (
                (lambda: loop.call_soon_threadsafe(self._announce_from_here))
                if loop
                else self._announce_from_here
            )
            self._settle_timer = threading.Timer(SETTLE, later)
            self._settle_timer.daemon = True
            self._settle_timer.start()

    def _announce_from_here(self) -> None:
        loop = _running_loop()
        if loop is not None:
            self._announcing = loop.create_task(self._guarded_announcement())
            return
        try:
            self.announce_ready()
        except BaseException as error:  # in a thread of the user's: the candidate is turned down for it
            self.fail(self.failure_of(error), error)

    async def _guarded_announcement(self) -> None:
        try:
            await self.announce_ready_async()
        except BaseException as error:  # as above
            self.fail(self.failure_of(error), error)

    def on_committed(self, callback: Callable[[], object]) -> None:
        """Call back once the generation serves; at once if it does."""
        with self._lock:
            if not self.committed.is_set():
                self._on_committed.append(callback)
                return
        callback()

    def on_retired(self, callback: Callable[[], object]) -> None:
        """Call back when the program shall shut down."""
        with self._lock:
            if not self.leaving:
                self._on_retired.append(callback)
                return
        callback()

    def mark_committed(self) -> None:
        """COMMIT: wake whoever waits for it."""
        with self._lock:
            self.committed.set()
            callbacks, self._on_committed = self._on_committed, []
        for callback in callbacks:
            callback()

    def mark_leaving(self) -> bool:
        """The program shall shut down; returns whether an adapter took the word for it."""
        with self._lock:
            self.leaving = True
            callbacks, self._on_retired = self._on_retired, []
        for callback in callbacks:
            callback()
        return bool(callbacks)

    def adopt_connections(self) -> None:
        """COMMIT, or later when an older generation is done with some: take over what the parent gave us."""
        loop = current_loop()
        if loop is None:
            self.adopter.decline_all("the new code has no event loop")
        else:
            soon(loop, self.adopter.begin)

    # -- small services -----------------------------------------------------------------------------

    def open_listeners(self) -> list[Any]:
        """See :meth:`RunContext.listeners`."""
        return self.broker.open_configured(self.net)

    def _request_reload(self) -> bool:
        self._send(wire.ReloadRequest())
        return True

    def _send(self, message: wire.Message, fds: Sequence[int] = ()) -> None:
        try:
            self.channel.send(message, fds)
        except ChannelClosedError:
            os._exit(1)  # the parent is gone, and nobody is left to serve for

    def _forked(self) -> None:
        """In a process that the program forked: it is no generation of its own."""
        self._is_fork = True
        self.channel.forked()
        self.control.forked()


def _running_loop() -> asyncio.AbstractEventLoop | None:
    if "asyncio" not in sys.modules:
        return None
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
