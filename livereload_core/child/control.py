"""The control thread: reads the parent's messages and leads the generation that serves.

How a generation stands still: where the main thread runs an event loop, the decisive snapshot is taken inside
*one* callback of it, which then blocks. So no handler runs between the snapshot and the verdict, and rolling
back is returning from the callback. A program with neither loop nor listeners (a simulation) is brought to a
bytecode boundary by a signal, and its main thread does it in the handler: after the verdict "retire" the
handler raises, so that not one more step of the old program runs. A server without a loop works in threads:
there the control thread does it, which can hold the GIL only while every other thread is between two
bytecodes or outside of Python. From the first byte to the verdict the GIL is not let go (``posix.stopped``).
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import threading
import time
import zlib
from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING, TypeVar

from livereload_core.child.hooks import run_hooks_in
from livereload_core.child.loops import current_loop
from livereload_core.errors import StateError
from livereload_core.facts import Failure
from livereload_core.posix import memfd, stopped
from livereload_core.posix.channel import ChannelClosedError
from livereload_core.wire import bundle, frames
from livereload_core.wire import messages as wire

if TYPE_CHECKING:
    from livereload_core.child.runtime import Runtime

__all__ = ["Control"]

T = TypeVar("T")

CHECKPOINT_DUTY = 50
"""A background snapshot that took s seconds is followed by none for 50 s: at most 2 % of the time."""
BUSY_CPU = 0.002
"""CPU seconds of this process below which nothing can have happened that is worth a snapshot."""
SWITCH_INTERVAL = 0.0002
"""Seconds of the GIL's switch interval from QUIESCE to the verdict."""
PAUSE_SIGNAL = getattr(signal, "SIGRTMIN", None) and signal.SIGRTMIN + 7
"""Brings the main thread of a program without listeners and event loop to a bytecode boundary; a real-time
signal, because programs hardly use them. None where there are none (macOS)."""
AFTER_COMMIT = 0.05
"""Seconds after the switch until sources and modules are handed over: the first requests come first."""
LATE_IMPORT_DELAY = 0.2
"""Seconds after a late import until the sources are handed over: an import pulls in many modules."""


class Control:
    """Leads one generation from beside its main thread."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._thread = threading.Thread(target=self._serve, name="livecore-control", daemon=True)
        self._next_checkpoint: float | None = None
        self._checkpoint_cpu = 0.0
        self._checkpoint_sum = 0
        self._late: dict[str, float] = {}
        self._interrupted = False
        self._retired = threading.Event()
        self._modules_known = 0
        self._interval: float | None = None
        self._main_work: Callable[[], bool] | None = None
        self._ours = True

    def start(self) -> None:
        """Begin to read; from now on only this thread does."""
        self._thread.start()

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
        poll = select.poll()
        poll.register(self._runtime.channel.fileno(), select.POLLIN)
        try:
            while True:
                if not self._runtime.channel.pending and not poll.poll(self._patience()):
                    self._idle()
                    continue
                message, fds = self._runtime.channel.receive()
                self._handle(message, fds)
        except ChannelClosedError:
            os._exit(1)  # the parent is gone; PDEATHSIG is for programs that let no thread run

    def _patience(self) -> float | None:
        """Milliseconds until something is due of itself."""
        due = [at for at in (self._next_checkpoint, *self._late.values()) if at is not None]
        return max(0.0, (min(due) - time.monotonic()) * 1000) + 1 if due else None

    def _idle(self) -> None:
        now = time.monotonic()
        if self._late and min(self._late.values()) <= now:
            self._late.clear()
            self._send_sources()
            self._send_modules()
        if self._next_checkpoint is not None and self._next_checkpoint <= now:
            self._checkpoint()

    def _handle(self, message: wire.Message, fds: list[int]) -> None:
        runtime = self._runtime
        match message:
            case wire.Precopy() | wire.Rehydrate():
                runtime.orders.put((message, fds))
            case wire.ListenerFound() | wire.ListenersOpened():
                runtime.broker.deliver(message.request, (message, fds))
            case wire.TerminalGranted():
                runtime.broker.terminal.put(None)
            case wire.Commit():
                self._commit(message)
            case wire.Export():
                self._guard(message.attempt, "precopy", lambda: self._export(message))
            case wire.Quiesce():
                self._switch_often()
                runtime.net.stop_accepting()
                left = runtime.net.wait_quiet(message.grace)
                runtime.channel.send(wire.Quiesced(message.attempt, left))
            case wire.Freeze():
                self._guard(message.attempt, "freeze", lambda: self._freeze(message))
            case wire.Resume():
                self._switch_normally()
                runtime.net.resume_accepting()
            case wire.Retire():
                self._retire(message)
            case _:
                pass  # nothing else is sent to an activated child

    def _guard(self, attempt: int, phase: str, work: Callable[[], None]) -> None:
        """Do what may fail on the user's side, and tell the parent, which then resumes this generation."""
        try:
            work()
        except ChannelClosedError:
            raise
        except BaseException as error:  # told to the parent, which rejects the reload with it
            failure = self._runtime.failure_of(error)
            named = Failure(phase, failure.reason, failure.traceback, failure.files)
            self._runtime.channel.send(wire.Failed(attempt, named))

    # -- taking service -----------------------------------------------------------------------------

    def _commit(self, message: wire.Commit) -> None:
        runtime = self._runtime
        runtime.net.on_answer = self._proved
        runtime.net.release()
        listening = tuple(address.to_json() for address in runtime.net.listening())
        # Said before the program is let on: a short one may end at once, and its end must not come first.
        runtime.channel.send(wire.Serving(message.attempt, listening))
        runtime.mark_committed()
        runtime.imports.on_late_import = self._late_import
        runtime.imports.mark()
        # What the start-up imported, between Prepared and now, is watched as well.
        loaded = runtime.imports.loaded()
        if loaded.keys() != runtime.announced_files:
            runtime.channel.send(wire.LateImport(loaded))
        self._late[""] = time.monotonic() + AFTER_COMMIT
        if runtime.settings.checkpoint:
            self._next_checkpoint = time.monotonic() + runtime.settings.checkpoint
        threading.Thread(target=self._run_on_ready, name="livecore-on-ready", daemon=True).start()

    def _proved(self) -> None:
        self._runtime.channel.send(wire.Proved())

    def _run_on_ready(self) -> None:
        try:
            run_hooks_in(current_loop(), "on_ready", self._runtime.settings.timeout_hook)
        except BaseException as error:  # the code serves already; the user has to know all the same
            failure = self._runtime.failure_of(error)
            self._runtime.channel.send(
                wire.Warn(f"an on_ready hook failed: {failure.reason}\n{failure.traceback}")
            )

    def _send_sources(self) -> None:
        imports = self._runtime.imports
        fds = [memfd.create(imports.bundle(), "livecore-sources")]
        try:
            fds.append(memfd.create(bundle.pack(imports.compiled()), "livecore-code"))
            self._runtime.channel.send(wire.Sources(), fds)
        finally:
            for fd in fds:
                os.close(fd)

    def _send_modules(self) -> None:
        """Tell what a spare may import ahead, when there is more of it than before."""
        if len(sys.modules) != self._modules_known:
            self._modules_known = len(sys.modules)
            self._runtime.channel.send(wire.Modules(tuple(self._runtime.imports.third_party())))

    def _late_import(self, path: str) -> None:
        loaded = self._runtime.imports.loaded()
        if path in loaded:
            # Gone: a worker that outlives its run by a moment; its import must not fail for that.
            with contextlib.suppress(ChannelClosedError):
                self._runtime.channel.send(wire.LateImport({path: loaded[path]}))
        if self._ours:
            self._late[path] = time.monotonic() + LATE_IMPORT_DELAY

    # -- state --------------------------------------------------------------------------------------

    def _export(self, message: wire.Export) -> None:
        export = self._at_safe_point(self._runtime.engine.export)
        fd = memfd.create(export.data, "livecore-state")
        try:
            self._runtime.channel.send(wire.Exported(message.attempt, export.roots), [fd])
        finally:
            os.close(fd)

    def _checkpoint(self) -> None:
        """A snapshot in the background, so that a death loses little."""
        settings = self._runtime.settings
        cpu = time.process_time()
        began = time.monotonic()
        self._next_checkpoint = began + settings.checkpoint
        self._send_modules()
        if cpu - self._checkpoint_cpu < BUSY_CPU:
            return
        try:
            data = self._at_safe_point(self._runtime.engine.export, timeout=settings.checkpoint).data
        except (StateError, TimeoutError):
            return  # the next reload reports it, with the path; the loop is busy: the next time
        took = time.monotonic() - began
        self._next_checkpoint = time.monotonic() + max(settings.checkpoint, CHECKPOINT_DUTY * took)
        checksum = zlib.crc32(data)
        if checksum != self._checkpoint_sum:
            self._checkpoint_sum = checksum
            fd = memfd.create(data, "livecore-state")
            try:
                self._runtime.channel.send(wire.Checkpoint(), [fd])
            finally:
                os.close(fd)
        self._checkpoint_cpu = time.process_time()

    def _at_safe_point(self, work: Callable[[], T], timeout: float | None = None) -> T:
        """Do ``work`` where no handler is half way: in a callback of the main thread's loop, else here.

        Raises:
            TimeoutError: the loop did not come to it in time; the work is not done then.
        """
        loop = current_loop()
        if loop is None:
            return work()
        future: Future[T] = Future()

        def callback() -> None:
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(work())
                except BaseException as error:  # raised again by result() below
                    future.set_exception(error)

        try:
            loop.call_soon_threadsafe(callback)
        except RuntimeError:  # closed in this moment: the main thread is between two loops or at its end
            return work()
        try:
            return future.result(timeout)
        except TimeoutError:
            if not future.cancel():
                return future.result()
            raise

    # -- standing still -----------------------------------------------------------------------------

    def _switch_often(self) -> None:
        """Shorten the GIL's switch interval until the verdict.

        Before the standstill every thread that waits for the GIL is let past once, which takes one interval:
        with Python's default that would be most of the pause.
        """
        if self._interval is None:
            self._interval = sys.getswitchinterval()
            sys.setswitchinterval(min(self._interval, SWITCH_INTERVAL))

    def _switch_normally(self) -> None:
        if self._interval is not None:
            sys.setswitchinterval(self._interval)
            self._interval = None

    def prepare_main_thread(self) -> None:
        """Take the signal that brings the main thread to a boundary; called there."""
        if PAUSE_SIGNAL is not None:
            signal.signal(PAUSE_SIGNAL, self._on_pause_signal)

    def _on_pause_signal(self, number: int, frame: object) -> None:
        work, self._main_work = self._main_work, None
        if work is not None and work():
            self._interrupted = True
            self._runtime.leaving = True
            handler = signal.getsignal(signal.SIGINT)
            if callable(handler):
                handler(signal.SIGINT, frame)  # type: ignore[arg-type]
            else:
                raise KeyboardInterrupt

    def _freeze(self, message: wire.Freeze) -> None:
        loop = current_loop()
        run_hooks_in(loop, "before_reload", message.timeout)
        if loop is not None or self._runtime.net.listening() or PAUSE_SIGNAL is None:
            self._at_safe_point(lambda: self._stand_still(message))
            return
        future: Future[bool] = Future()

        def work() -> bool:
            try:
                retire = self._stand_still(message)
            except BaseException as error:  # raised again by result() below
                future.set_exception(error)
                return False
            future.set_result(retire)
            return retire

        self._main_work = work
        signal.pthread_kill(threading.main_thread().ident or 0, PAUSE_SIGNAL)
        future.result()

    def _stand_still(self, message: wire.Freeze) -> bool:
        """Export, say so, and wait for the verdict with the GIL held; returns whether it is "retire"."""
        runtime = self._runtime
        channel = runtime.channel
        listening = tuple(address.to_json() for address in runtime.net.listening())
        with channel.exclusive(), stopped.standstill():
            data = runtime.engine.export().data if message.export else b""
            fds = [stopped.memfd_write(data, "livecore-state")] if message.export else []
            frozen = wire.Frozen(message.attempt, runtime.net.open_connections(), listening)
            stopped.send(channel.fileno(), frames.encode_frame(wire.encode(frozen), len(fds)), fds)
            stopped.wait_readable(channel.fileno())
            retire = b'["Retire"' in stopped.peek(channel.fileno())
        for fd in fds:
            os.close(fd)
        return retire

    # -- leaving ------------------------------------------------------------------------------------

    def _retire(self, message: wire.Retire) -> None:
        runtime = self._runtime
        self._switch_normally()
        self._next_checkpoint = None
        self._late.clear()
        runtime.leaving = runtime.leaving or self._interrupted
        runtime.net.let_go()
        runtime.net.wait_quiet(message.grace)
        try:
            run_hooks_in(current_loop(), "dispose", runtime.settings.timeout_hook)
        except BaseException as error:  # it leaves all the same
            failure = runtime.failure_of(error)
            runtime.channel.send(wire.Warn(f"a dispose hook failed: {failure.reason}\n{failure.traceback}"))
        self._retired.set()
        if not runtime.mark_leaving() and not self._interrupted:
            self._interrupt()

    def wait_retired(self) -> None:
        """The main thread has come to its end first: let the dispose hooks have theirs."""
        self._retired.wait(self._runtime.settings.timeout_graceful + self._runtime.settings.timeout_hook)

    def _interrupt(self) -> None:
        """What Ctrl-C would do: the program's own way to shut down."""
        self._interrupted = True
        self._runtime.leaving = True
        if signal.getsignal(signal.SIGINT) in (signal.SIG_IGN, signal.SIG_DFL):
            os.kill(os.getpid(), signal.SIGTERM)
        else:
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    def finished(self, code: int, failure: Failure | None) -> None:
        """The program ended by itself: hand its last state over before the process goes."""
        if not self._ours:
            return
        sys.stdout.flush()
        fds = []
        try:
            fds.append(memfd.create(self._runtime.engine.export().data, "livecore-state"))
        except (StateError, OSError):
            pass  # the newest snapshot that the parent holds stays the newest
        self._runtime.channel.send(wire.Finished(code, failure), fds)
        for fd in fds:
            os.close(fd)
