"""The control thread: reads the parent's messages and leads the generation that serves.

Invariants:
    * Nothing that runs the user's code is done here, save for the hooks of a generation that leaves: hooks
      and exports are the worker's, because they may hang and "resume" has to be read all the same.
    * An error of ours in one message ends neither the thread nor the program; the parent is told.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from livereload_core.child import native
from livereload_core.child.exports import Exports
from livereload_core.child.handing import LOOK
from livereload_core.child.hooks import run_hooks_in
from livereload_core.child.loops import current_loop
from livereload_core.child.standstill import Standstill
from livereload_core.child.worker import Worker
from livereload_core.facts import Failure
from livereload_core.posix import process
from livereload_core.posix.channel import ChannelClosedError
from livereload_core.wire import messages as wire

if TYPE_CHECKING:
    from livereload_core.child.runtime import Runtime

__all__ = ["Control"]

AFTER_COMMIT = 0.05
"""Seconds after the switch until sources and modules are handed over: the first requests come first."""
LATE_IMPORT_DELAY = 0.2
"""Seconds after a late import until the sources are handed over: an import pulls in many modules."""
WORKER_BUSY = 0.1
"""Seconds between two looks at whether the worker has done what a reload asked of it."""
TRIAL = 5.0
"""Seconds from an export for a trial in which no snapshot is taken in the background: it was given up by
then, or the verdict has come."""
LAST_EXPORT = 2.0
"""Seconds that the export of the last state may take, of the 5 that livecore gives a program to end."""
LAST_WARNING = 2.0
"""Seconds that a program without listeners may take to leave; one that swallows KeyboardInterrupt would go on
beside its successor."""


class Control:
    """Leads one generation from beside its main thread."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._worker = Worker()
        self._standstill = Standstill(runtime)
        self._exports = Exports(runtime, self._standstill.export, lambda: self._worker.is_wanted)
        self._next_checkpoint: float | None = None
        self._next_look: float | None = None
        self._not_before = 0.0
        self._tried_until = 0.0
        self._late: dict[str, float] = {}
        self._interrupted = False
        self._retired = native.Event()
        self._ours = True

    def start(self) -> None:
        """Begin to read; from now on only this thread does. Called in the main thread."""
        self._standstill.prepare_main_thread()
        self._runtime.broker.read = self._take
        # gevent counts threads: with more than one it takes it that it comes too late, and repairs no locks.
        native.start(self._serve)

    def forked(self) -> None:
        """In a fork this thread does not exist, and nobody leads the generation from there.

        Only what a forked worker imports is told (gunicorn imports the app there): such a frame is small
        enough that the kernel never mixes it with another process's.
        """
        self._ours = False
        self._runtime.imports.on_late_import = self._late_import
        self._runtime.imports.mark()

    # -- reading ------------------------------------------------------------------------------------

    def _serve(self) -> None:
        self._runtime.broker.reader = native.get_ident()
        self._exports.called_from(native.get_ident())
        poll = select.poll()
        poll.register(self._runtime.channel.fileno(), select.POLLIN)
        while True:
            try:
                if self._runtime.channel.pending or poll.poll(self._patience()):
                    self._take()
                else:
                    self._idle()
            except ChannelClosedError:
                os._exit(1)  # the parent is gone; PDEATHSIG is for programs that let no thread run
            except Exception as error:  # a bug of ours or a want of fds: said, and the thread goes on
                with contextlib.suppress(ChannelClosedError, OSError):
                    self._runtime.channel.send(wire.Warn(f"livecore itself failed in the program: {error!r}"))

    def _take(self) -> None:
        channel = self._runtime.channel
        with self._standstill.reading():
            message, fds = channel.receive()
            for other in (message, *channel.waiting):
                if isinstance(other, wire.Retire | wire.Resume):
                    self._standstill.tell(other)
        if isinstance(message, wire.Retire | wire.Resume):
            self._standstill.let_it_end()
        try:
            self._handle(message, fds)
        except (ChannelClosedError, AssertionError):
            raise
        except Exception as error:
            attempt = getattr(message, "attempt", 0)
            if attempt:
                self._tell_failure(attempt, "serving", error)
            raise

    def _patience(self) -> float | None:
        """Milliseconds until something is due of itself."""
        if self._worker.attempt:
            return WORKER_BUSY * 1000
        due = [at for at in (self._next_checkpoint, self._next_look, *self._late.values()) if at is not None]
        return max(0.0, (min(due) - time.monotonic()) * 1000) + 1 if due else None

    def _idle(self) -> None:
        if self._worker.attempt:
            # It may have the channel to itself, and hang in the program's code: whoever wanted to send now
            # would wait with it, and could not hear "resume".
            return
        now = time.monotonic()
        if self._late and min(self._late.values()) <= now:
            self._late.clear()
            self._exports.sources()
            self._exports.modules()
        if self._next_look is not None and self._next_look <= now:
            self._next_look = now + LOOK
            serial, places = self._runtime.handing.closed()
            if places:
                self._runtime.channel.send(wire.Closed(serial, tuple(places)))
        if self._next_checkpoint is not None and self._next_checkpoint <= now:
            self._next_checkpoint = now + self._runtime.settings.checkpoint
            self._exports.modules()
            if now >= max(self._not_before, self._tried_until) and self._worker.idle:
                self._worker.do(self._checkpoint)

    def _checkpoint(self) -> None:
        try:
            self._not_before = self._exports.checkpoint()
        except ChannelClosedError:
            os._exit(1)

    def _handle(self, message: wire.Message, fds: list[int]) -> None:
        runtime = self._runtime
        match message:
            case wire.Precopy() | wire.Rehydrate():
                runtime.orders.put((message, fds))
            case wire.ListenerFound() | wire.ListenersOpened() | wire.ExitFound():
                runtime.broker.deliver(message.request, (message, fds))
            case wire.TerminalGranted():
                runtime.broker.terminal.put(None)
            case wire.Ahead():
                runtime.adopter.prepare(message.numbers, fds)
            case wire.Connections():
                runtime.adopter.expect(message.numbers, fds, facts=message.facts, known=message.known)
                if message.late:
                    runtime.adopt_connections()
            case wire.Commit():
                # The loop has clients from the first line on; each wait for the GIL would take an interval.
                self._standstill.switch_often()
                try:
                    self._commit(message)
                finally:
                    self._standstill.switch_normally()
            case wire.Export(attempt=0):
                limit = runtime.settings.timeout_hook
                self._work(0, "serving", lambda: self._exports.newest(limit, asked=True))
            case wire.Export():
                # A snapshot in the background could keep the loop busy when it is to come to rest.
                self._tried_until = time.monotonic() + TRIAL
                self._work(message.attempt, "precopy", lambda: self._exports.state(message))
            case wire.Quiesce():
                self._standstill.switch_often()
                left = runtime.net.quiesce(message.grace)
                runtime.channel.send(wire.Quiesced(message.attempt, left))
            case wire.Freeze():
                self._work(message.attempt, "freeze", lambda: self._standstill.freeze(message))
            case wire.Resume():
                self._tried_until = 0.0
                self._standstill.give_up()
                runtime.net.release_connections()
                runtime.net.resume_accepting()
            case wire.Retire():
                self._retire(message)
            case _:
                pass  # nothing else is sent to an activated child

    def _work(self, attempt: int, phase: str, work: Callable[[], object]) -> None:
        """Have the worker do what may fail or hang on the user's side; the parent is told what came of it."""
        hanging = self._worker.attempt
        if hanging and hanging != attempt:
            reason = "a hook or a __getstate__ hangs since an earlier reload; fix it and restart livecore"
            self._runtime.channel.send(wire.Failed(attempt, Failure(phase, reason), {}))
            return

        def guarded() -> None:
            try:
                work()
            except ChannelClosedError:
                os._exit(1)
            except BaseException as error:  # told to the parent, which rejects the reload with it
                self._tell_failure(attempt, phase, error)

        self._worker.do(guarded, attempt=attempt)

    def _tell_failure(self, attempt: int, phase: str, error: BaseException) -> None:
        failure = self._runtime.failure_of(error)
        named = Failure(phase, failure.reason, failure.traceback, failure.files)
        with contextlib.suppress(ChannelClosedError):  # noticed by whoever reads
            self._runtime.channel.send(wire.Failed(attempt, named, {}))

    # -- taking service -----------------------------------------------------------------------------

    def _commit(self, message: wire.Commit) -> None:
        runtime = self._runtime
        # Before the loop has anything to do: a look at all descriptors would wait for it at each of them.
        listening = tuple(address.to_json() for address in runtime.net.in_use())
        # Said before the program is let on: a short one may end at once, and its end must not come first;
        # nor may a first answer, or nobody would know of it.
        runtime.channel.send(wire.Serving(message.attempt, listening))
        runtime.net.on_answer = self.proved
        runtime.net.release()
        runtime.adopt_connections()
        runtime.handing.begin(runtime.engine.carrying())
        runtime.mark_committed()
        runtime.imports.on_late_import = self._late_import
        runtime.imports.mark()
        # What the start-up imported, between Prepared and now, is watched as well.
        loaded = runtime.imports.loaded()
        if loaded.keys() != runtime.announced_files:
            runtime.channel.send(wire.LateImport(loaded))
        self._late[""] = time.monotonic() + AFTER_COMMIT
        self._next_look = time.monotonic() + LOOK
        if runtime.settings.checkpoint:
            self._next_checkpoint = time.monotonic() + runtime.settings.checkpoint
        native.start(self._run_on_ready)

    def proved(self) -> None:
        """A first answer has left."""
        self._runtime.net.on_answer = None
        with contextlib.suppress(ChannelClosedError):
            self._runtime.channel.send(wire.Proved())

    def _run_on_ready(self) -> None:
        try:
            run_hooks_in(current_loop(), "on_ready", self._runtime.settings.timeout_hook)
        except BaseException as error:  # the code serves already; the user has to know all the same
            self._warn_of_hook("an on_ready", error)

    def _warn_of_hook(self, which: str, error: BaseException) -> None:
        failure = self._runtime.failure_of(error)
        self._runtime.channel.send(wire.Warn(f"{which} hook failed: {failure.reason}\n{failure.traceback}"))

    def _late_import(self, path: str) -> None:
        loaded = self._runtime.imports.loaded()
        if path in loaded:
            # Gone: a worker that outlives its run by a moment; its import must not fail for that.
            with contextlib.suppress(ChannelClosedError):
                self._runtime.channel.send(wire.LateImport({path: loaded[path]}))
        if self._ours:
            self._late[path] = time.monotonic() + LATE_IMPORT_DELAY

    # -- leaving ------------------------------------------------------------------------------------

    def _retire(self, message: wire.Retire) -> None:
        runtime = self._runtime
        self._standstill.switch_normally()
        runtime.leaving = runtime.leaving or self._interrupted
        self._next_checkpoint = self._next_look = None
        self._late.clear()
        runtime.net.let_go()
        runtime.net.leave_connections(message.grace, final=message.final)
        runtime.net.wait_quiet(message.grace)
        if message.final:
            self._hand_over_last()
        else:
            process.give_way()  # nobody waits for it any more, and its successor has clients that do
        try:
            run_hooks_in(current_loop(), "dispose", runtime.settings.timeout_hook)
        except BaseException as error:  # it leaves all the same
            self._warn_of_hook("a dispose", error)
        self._retired.set()
        if not runtime.mark_leaving() and not self._interrupted:
            self._interrupt()
        if not runtime.net.listening() and not message.final:
            threading.Timer(LAST_WARNING, self._enforce).start()

    def _hand_over_last(self) -> None:
        """Livecore itself stops: its parent saves the state as it was when the last request was answered."""
        done = native.Event()

        def hand_over() -> None:
            try:
                self._exports.newest(LAST_EXPORT, asked=False, lenient=True)
            except Exception as error:  # told: it is the newest snapshot that the parent has which is saved
                with contextlib.suppress(ChannelClosedError):
                    self._exports.not_saved(error)
            done.set()

        if self._runtime.settings.save:
            self._worker.do(hand_over)  # a snapshot in the background gives way to it
            if not done.wait(LAST_EXPORT):
                self._exports.not_saved(TimeoutError("the program was busy, or something of it hangs"))

    def wait_retired(self) -> None:
        """The main thread has come to its end first: let the dispose hooks have theirs."""
        self._retired.wait(self._runtime.settings.timeout_graceful + self._runtime.settings.timeout_hook)

    def interrupted(self) -> None:
        """The main thread is about to be interrupted, by whatever way."""
        self._interrupted = True
        self._runtime.leaving = True

    def _interrupt(self) -> None:
        """What Ctrl-C would do: the program's own way to shut down."""
        self.interrupted()
        if signal.getsignal(signal.SIGINT) in (signal.SIG_IGN, signal.SIG_DFL):
            os.kill(os.getpid(), signal.SIGTERM)
        else:
            signal.pthread_kill(native.main_ident(), signal.SIGINT)

    def _enforce(self) -> None:
        if self._runtime.running:
            generation = self._runtime.engine.generation
            self._runtime.channel.send(
                wire.Warn(f"generation {generation} did not end on KeyboardInterrupt and was killed")
            )
            os.kill(os.getpid(), signal.SIGKILL)

    def finished(self, code: int, failure: Failure | None) -> None:
        """The program ended by itself: hand its last state over before the process goes."""
        if not self._ours:
            return
        with contextlib.suppress(AttributeError, OSError, ValueError):
            sys.stdout.flush()
        self._exports.last(wire.Finished(code, failure))
