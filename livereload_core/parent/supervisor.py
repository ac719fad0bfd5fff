"""The shell around the state machine: carries its commands out and tells it what happened.

Nothing is decided here. Each callback (a message, the end of a child, a file, a signal, a timer) becomes one
event; ``dispatch`` gives it to the machine and performs the commands that come back, in order. Everything
runs in one thread, in one asyncio loop.

Invariants:
    * State passes through as an fd of a sealed snapshot; its bytes are never read here.
    * The newest snapshot is held until a newer one of the serving generation takes its place.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import os
import signal
import time
from collections.abc import Callable
from typing import Any, ClassVar, Protocol

from livereload_core.core import commands as cmd
from livereload_core.core import events as ev
from livereload_core.core.changes import Change
from livereload_core.core.machine import Machine
from livereload_core.core.records import Notice, NoticeKind, Record, ReloadRecord, as_json
from livereload_core.core.settings import Settings, TargetKind
from livereload_core.errors import UsageError
from livereload_core.parent.children import GenerationHandle
from livereload_core.parent.configuration import ConfigSource, Configuration
from livereload_core.parent.control import ControlServer
from livereload_core.parent.edits import Edits
from livereload_core.parent.hold import HoldPage
from livereload_core.parent.listeners import Listeners
from livereload_core.parent.messages import ChildMessages
from livereload_core.parent.saving import Saving
from livereload_core.parent.spares import Spares
from livereload_core.parent.states import OPERATIONS, States
from livereload_core.parent.status import status
from livereload_core.parent.warmth import environment
from livereload_core.posix import process
from livereload_core.wire import messages as wire

__all__ = ["Console", "Supervisor", "run"]

_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


class Console(Protocol):
    """The keyboard, as the face implements it."""

    def start(self, loop: asyncio.AbstractEventLoop, on_key: Callable[[str], None]) -> None:
        """Read keys and report each: ``r``, ``R``, ``h`` or ``q``."""

    def release(self) -> None:
        """Leave the terminal to the program."""

    def reclaim(self) -> None:
        """Take it back."""

    def close(self) -> None:
        """Restore the terminal."""


def run(
    settings: Settings,
    emit: Callable[[Record], None],
    *,
    interactive: bool = False,
    console: Console | None = None,
    source: ConfigSource | None = None,
) -> int:
    """Run until stopped and return the exit code.

    Args:
        settings: one resolved run.
        emit: told every record.
        interactive: whether a person sits at the terminal.
        console: the keyboard, if there is one.
        source: where the settings came from; without, they are read once.

    Raises:
        UsageError: the run cannot begin (the project root cannot be watched, the control socket not made).
    """
    return asyncio.run(Supervisor(settings, emit, console if interactive else None, source).main())


SAVING = 0.0005
"""Seconds for which whoever saves several files at once may go on before the spare interpreter is taken: on a
busy machine we would run in their place."""


class Supervisor:
    """One run."""

    def __init__(
        self,
        settings: Settings,
        emit: Callable[[Record], None],
        console: Console | None,
        source: ConfigSource | None = None,
    ) -> None:
        self.settings = settings
        self.machine = Machine(settings)
        self.listeners = Listeners(settings)
        self.children: dict[ev.Child, GenerationHandle] = {}
        self._emit_record = emit
        self._console = console
        self.messages = ChildMessages(self)
        self.spares = Spares(self)
        self.configuration = Configuration(self, source)
        self.exits = process.Exits()
        self.edits = Edits(self)
        self.saving = Saving(self)
        self._states = States(self)
        self._hold = HoldPage()
        self._control = ControlServer(settings.root, self._answer_control, label=str(settings.target))
        self._events: collections.deque[ev.Event] = collections.deque()
        self._dispatching = False
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._waiting: list[asyncio.Future[Record]] = []
        self.last_record: Record | None = None
        self.last_roots: tuple[Any, ...] = ()
        self._since = time.monotonic()
        self._at_keyboard: ev.Child | None = None

    def user_roots(self) -> tuple[str, ...]:
        """Folders whose Python files are the user's own code."""
        return self.edits.roots

    def warmth_files(self) -> tuple[str, ...]:
        """Files whose change calls for a new interpreter, although no module."""
        return self.messages.warmth.files

    async def main(self) -> int:
        """Run until the machine says exit."""
        self.loop = asyncio.get_running_loop()
        self._exit: asyncio.Future[int] = self.loop.create_future()
        process.become_subreaper()
        process.raise_file_limit()
        process.widen_fd_table()
        for number in _STOP_SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
                self.loop.add_signal_handler(number, self._on_stop_signal, number)
        try:
            await self._open_control()
            if self._console is not None:
                self._console.start(self.loop, self._on_key)
            self.emit(Notice(NoticeKind.STARTING, f"{self.settings.target} in {self.settings.root}"))
            saved = self.saving.open()
            if saved is not None:
                self.messages.states.newest = saved
            self.dispatch(ev.Started(resume=saved is not None))
            # The first interpreter starts while the watcher sets itself up.
            self.edits.start()
            self.spares.start()
            return await self._exit
        finally:
            await self._shut_down()

    async def _open_control(self) -> None:
        try:
            await self._control.start()
        except UsageError as error:
            self.warn(f"livecore status, reload and stop cannot reach this run: {error}")

    async def _shut_down(self) -> None:
        self.spares.close()
        self.configuration.close()
        self.edits.close()
        if self._console is not None:
            self._console.close()
        for handle in tuple(self.children.values()):
            handle.kill_tree(spare=False)
        self._hold.hide()
        await self._control.close()
        for task in tuple(self._tasks):
            task.cancel()
        self.listeners.close()
        await self.saving.close()
        self.messages.close()
        for pid in process.descendants(os.getpid()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    # -- events -------------------------------------------------------------------------------------

    def dispatch(self, event: ev.Event) -> None:
        """Give one event to the machine and perform what it says; re-entrant calls queue up."""
        self._events.append(event)
        if self._dispatching:
            return
        self._dispatching = True
        try:
            while self._events:
                for command in self.machine.handle(self._events.popleft(), self.loop.time()):
                    self._perform(command)
        finally:
            self._dispatching = False
            self._set_timer()
        self.messages.decided()

    def _perform(self, command: cmd.Command) -> None:
        try:
            self._PERFORM[type(command)](self, command)
        except OSError as error:
            # No fd or memory left: the child that cannot be reached is ended, and its end leads on.
            self.warn(f"{type(command).__name__.lower()} failed: {error.strerror or error}")
            handle = self.children.get(getattr(command, "child", 0))
            if handle is not None:
                handle.kill_tree()

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self.machine.deadline is not None:
            self._timer = self.loop.call_at(self.machine.deadline, self.dispatch, ev.Tick())

    def _on_stop_signal(self, number: signal.Signals) -> None:
        self.dispatch(ev.StopRequested(130 if number == signal.SIGINT else 128 + number))

    def _on_key(self, key: str) -> None:
        if key in "rR":
            self.dispatch(ev.ReloadRequested(reset=key == "R"))
        elif key == "q":
            self.dispatch(ev.StopRequested(0))
        elif key == "h":
            self.emit(
                Notice(NoticeKind.INFO, "keys: r reload, R reset the state and reload, q quit, h this help")
            )

    def on_terminal(self, handle: GenerationHandle, taken: bool) -> None:
        """A child needs the keyboard, or gives it back."""
        self._at_keyboard = handle.number if taken else None
        if self._console is not None:
            if taken:
                self._console.release()
            else:
                self._console.reclaim()
        if taken:
            handle.send(wire.TerminalGranted())
        self.dispatch(ev.TerminalChanged(taken))

    def _on_exit(self, handle: GenerationHandle, code: int) -> None:
        self.children.pop(handle.number, None)
        self.spares.forget(handle.number)
        self.listeners.forget(handle.number)
        self.messages.forget(handle.number)
        if self._at_keyboard == handle.number:
            self.on_terminal(handle, taken=False)
        self.exits.reap({child.pid for child in self.children.values()})
        if self.spares.takes_over(handle):
            return
        self.dispatch(ev.ChildExited(handle.number, process.status_sentence(code)))

    # -- commands -----------------------------------------------------------------------------------

    def _spawn(self, command: cmd.Spawn) -> None:
        self.start_child(command.child)

    def start_child(self, child: ev.Child) -> None:
        """Start an interpreter under this name."""
        self.spares.about_to_start(child)
        try:
            handle = GenerationHandle(
                child,
                cwd=self.settings.cwd,
                env=environment(self.settings, os.environ),
                loop=self.loop,
                on_message=self.messages.receive,
                on_exit=self._on_exit,
            )
        except (OSError, UsageError) as error:
            self.warn(f"cannot start an interpreter: {error}")
            self.dispatch(ev.ChildExited(child, f"not started ({error})"))
            return
        self.children[child] = handle
        if self.machine.active is not None and child != self.machine.candidate:
            process.set_background(handle.pid, background=True)
        self.messages.warm(handle)

    def warm_again(self, *, anew: bool = False) -> None:
        """More modules are known: tell the spare that waits; ``anew`` if what it has imported is too much."""
        spare = self.machine.spare or 0
        handle = self.children.get(spare)
        if handle is not None and anew:
            self.spares.renew(spare)
        elif handle is not None:
            self.messages.warm(handle)

    def configure(self, change: Change) -> None:
        """Go by other settings from now on, and have a spare that does.

        Raises:
            UsageError: they cannot work; nothing has changed.
        """
        self.edits.configure(change.settings)
        self.messages.configure(change.settings)
        self.settings = change.settings
        self.edits.settle_base()
        self.dispatch(ev.Configured(change.settings))
        self.spares.renew(self.machine.spare or 0)
        if change.needs_reload:
            self.dispatch(ev.ReloadRequested())

    def _activate(self, command: cmd.Activate) -> None:
        self.spares.refresh(command.child)
        handle = self.children.get(command.child)
        if handle is not None:
            process.set_background(handle.pid, background=False)
        self.messages.activate(command)

    def _ask(self, command: Any) -> None:
        self.messages.ask(command)

    def _terminate(self, command: cmd.Terminate) -> None:
        if command.child in self.children:
            self.children[command.child].signal(signal.SIGTERM)

    def _kill(self, command: cmd.Kill) -> None:
        if command.child in self.children:
            self.children[command.child].kill_tree()

    def _collect(self, command: cmd.Collect) -> None:
        self.edits.collect(command.files)

    def _give_back(self, command: cmd.GiveBack) -> None:
        self.edits.give_back()

    def _check(self, command: cmd.Check) -> None:
        failures = self.edits.check(command.files)
        began = time.monotonic()
        time.sleep(SAVING)
        waited = time.monotonic() - began
        more = self.edits.saved_meanwhile()
        if more:
            failures = self.edits.check(command.files | more)
        self.dispatch(ev.Checked(failures, more, waited))

    def _fall_back(self, command: cmd.FallBack) -> None:
        self.messages.fall_back()

    def _show_hold(self, command: cmd.ShowHold) -> None:
        self.messages.vault.nobody_serves(finished=command.failure.phase == "finished")
        self.edits.name(command.failure)
        if not len(self.listeners) and self._may_serve_an_app():
            # Nothing has listened yet: a person looks for the reason where the app would have been.
            with contextlib.suppress(UsageError):  # busy: the start itself will say so
                self.listeners.configured()
        self._run(self._hold.show(command.failure, [sock for _, sock in self.listeners]))

    def _may_serve_an_app(self) -> bool:
        """Whether the broken target may be an app, which would be served on the configured address."""
        return self.settings.port_given or self.settings.target.kind in (
            TargetKind.ATTRIBUTE,
            TargetKind.MODULE,
        )

    def _hide_hold(self, command: cmd.HideHold) -> None:
        self._hold.hide()

    def _emit(self, command: cmd.Emit) -> None:
        self.emit(command.record)

    def _leave(self, command: cmd.Exit) -> None:
        if not self._exit.done():
            self._exit.set_result(command.code)

    def _run(self, work: Any) -> None:
        task: asyncio.Task[None] = self.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # -- telling ------------------------------------------------------------------------------------

    def emit(self, record: Record) -> None:
        """Tell people and programs, and whoever waits for the end of an attempt."""
        failure = record.failure
        if failure is not None:
            self.edits.name(failure)
        if record_ends_attempt(record):
            if isinstance(record, ReloadRecord):
                self.edits.settled()
            self.last_record = record
            waiting, self._waiting = self._waiting, []
            for future in waiting:
                if not future.done():
                    future.set_result(record)
        if record.roots:
            self.last_roots = record.roots
        self._emit_record(record)

    def warn(self, text: str) -> None:
        """One sentence about something that works less well than it could."""
        self.emit(Notice(NoticeKind.WARNING, text))

    def next_record(self) -> asyncio.Future[Record]:
        """Wait for the next record that ends an attempt."""
        future: asyncio.Future[Record] = self.loop.create_future()
        self._waiting.append(future)
        return future

    def state_arrived(self, refused: str = "") -> None:
        """The program has handed its state over, or has said why it cannot."""
        self._states.arrived(refused)

    async def _answer_control(self, request: dict[str, Any]) -> dict[str, Any]:
        operation = request.get("op")
        if operation == "status":
            return status(self, uptime=time.monotonic() - self._since)
        if operation == "reload":
            future = self.next_record()
            self.configuration.read_again()  # who asks may have switched the watching off
            self.dispatch(ev.ReloadRequested(reset=bool(request.get("reset"))))
            return {"v": 1, "record": as_json(await future)}
        if operation in OPERATIONS:
            return await self._states.answer(str(operation), request)
        if operation == "stop":
            self.loop.call_soon(self.dispatch, ev.StopRequested(0))
            return {"v": 1, "stopping": True}
        return {"v": 1, "error": f"unknown request {operation!r}"}

    _PERFORM: ClassVar[dict[type[cmd.Command], Callable[..., None]]] = {
        cmd.Spawn: _spawn,
        cmd.Activate: _activate,
        cmd.AskExport: _ask,
        cmd.AskPrecopy: _ask,
        cmd.AskQuiesce: _ask,
        cmd.AskFreeze: _ask,
        cmd.AskResume: _ask,
        cmd.AskRehydrate: _ask,
        cmd.AskCommit: _ask,
        cmd.AskRetire: _ask,
        cmd.Terminate: _terminate,
        cmd.Kill: _kill,
        cmd.Collect: _collect,
        cmd.GiveBack: _give_back,
        cmd.Check: _check,
        cmd.FallBack: _fall_back,
        cmd.ShowHold: _show_hold,
        cmd.HideHold: _hide_hold,
        cmd.Emit: _emit,
        cmd.Exit: _leave,
    }


def record_ends_attempt(record: Record) -> bool:
    """Whether somebody who waits for a reload has the answer now."""
    return isinstance(record, ReloadRecord) or record.kind in (
        NoticeKind.STARTED,
        NoticeKind.RECOVERED,
        NoticeKind.HOLD,
    )
