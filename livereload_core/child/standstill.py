"""How a generation stands still for its decisive snapshot, and goes on as if nothing had happened.

From the first byte of the snapshot to the verdict the GIL is not let go (``posix.stopped``), so that no
thread can change what was written. Who holds it:

    * Where the main thread runs an event loop: *one* callback of that loop. No handler runs between the
      snapshot and the verdict, and rolling back is returning from the callback.
    * A program with neither loop nor listeners (a simulation) has its main thread parked at a bytecode
      boundary by a signal, and the worker thread holds the GIL. After the verdict "retire" the main thread
      wakes up in an exception, so that not one more step of the old program runs. (With the main thread
      merely waiting for the GIL, it ran on for an instant: a request for the GIL may be pending when the
      verdict comes.) Parked, it holds no GIL; so a lock that it holds and ``__getstate__`` wants ends in the
      parent's deadline and not in a deadlock.
    * A server without a loop works in threads: the worker thread holds the GIL, every other one is between
      two bytecodes or outside of Python.
"""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from livereload_core.child import native
from livereload_core.child.handing import Marks
from livereload_core.child.hooks import run_hooks_in
from livereload_core.child.loops import current_loop
from livereload_core.child.safepoint import at_safe_point
from livereload_core.errors import ReloadFailedError, StateError
from livereload_core.posix import stopped
from livereload_core.posix.channel import framed
from livereload_core.state.descriptors import NotQuietError
from livereload_core.state.engine import Export
from livereload_core.state.store import BehindError
from livereload_core.wire import messages as wire

if TYPE_CHECKING:
    from livereload_core.child.runtime import Runtime
    from livereload_core.state.roots import Allowed

__all__ = ["Standstill"]

SWITCH_INTERVAL = 0.0002
"""Seconds of the GIL's switch interval from QUIESCE to the verdict."""
_ROUNDS = 3
"""How often large buffers are copied ahead of an export, if what they hold keeps changing."""
_RETIRE = b'["Retire"'
PAUSE_SIGNAL = getattr(signal, "SIGRTMIN", None) and signal.SIGRTMIN + 7
"""Brings the main thread of a program without listeners and event loop to a bytecode boundary; a real-time
signal, because programs hardly use them. None where there are none (macOS)."""


class Standstill:
    """Leads one generation into a standstill and out of it."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._given_up = 0
        self._interval: float | None = None
        self._parked = native.Event()
        self._nobody_stands = native.Event()
        self._nobody_stands.set()
        self._told: bool | None = None
        self._reads = bytearray(1)
        self._go_on = native.Event()
        self._leave = False

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """The control thread takes a message, and will :meth:`tell` before this ends.

        Between the two it may wait for the GIL; whoever stands still then must not wait for the same message
        with the GIL kept.
        """
        self._reads[0] = 1
        try:
            yield
        finally:
            self._reads[0] = 0

    def tell(self, verdict: wire.Retire | wire.Resume) -> None:
        """The control thread has read the verdict: pass it on to whoever stands still.

        He looks for it on the socket; but should he be made to let go of the GIL (another thread has waited
        for it for too long), the control thread is the first to see it.
        """
        if isinstance(verdict, wire.Resume):
            self._given_up = max(self._given_up, verdict.attempt)
        self._told = isinstance(verdict, wire.Retire)

    def let_it_end(self) -> None:
        """Wait until nobody stands still any more: he acts on the verdict first."""
        self._nobody_stands.wait()

    def prepare_main_thread(self) -> None:
        """Take the signal that parks the main thread; called there."""
        if PAUSE_SIGNAL is not None:
            signal.signal(PAUSE_SIGNAL, self._park)

    def switch_often(self) -> None:
        """Shorten the GIL's switch interval until the verdict.

        Before the standstill every thread that waits for the GIL is let past once, which takes one interval:
        with Python's default that would be most of the pause.
        """
        if self._interval is None:
            self._interval = sys.getswitchinterval()
            sys.setswitchinterval(min(self._interval, SWITCH_INTERVAL))

    def switch_normally(self) -> None:
        """Undo :meth:`switch_often`."""
        if self._interval is not None:
            sys.setswitchinterval(self._interval)
            self._interval = None

    def give_up(self) -> None:
        """The parent said "resume": go on at the usual pace."""
        self.switch_normally()
        self._go_on.set()

    def freeze(self, message: wire.Freeze) -> None:
        """Run the before_reload hooks, stand still, return with the verdict.

        Raises:
            StateError: the state cannot be carried.
            BaseException: what a hook or the user's pickling raises.
        """
        loop = current_loop()
        run_hooks_in(loop, "before_reload", message.timeout)
        if loop is not None or self._runtime.net.listening() or PAUSE_SIGNAL is None:
            at_safe_point(lambda: self._stand_still(message))
            return
        with self._main_parked(message.timeout):
            self._leave = self._stand_still(message)

    def export(
        self,
        timeout: float,
        *,
        reset: Collection[str] = (),
        allowed: Mapping[str, Allowed] | None = None,
        stop: Callable[[], bool] | None = None,
        lenient: bool = False,
    ) -> Export:
        """Export while serving, at a moment when the main thread is not in the midst of a line.

        Large buffers are copied before, in slices between which the program runs, until little is left.

        Args:
            timeout: seconds to wait for such a moment.
            reset: keys of roots whose contents the user has given up.
            allowed: what the next generation does without; see ``Engine.export``.
            stop: nobody waits for it; it is given up when this says so. None: somebody does.
            lenient: see ``Engine.export``.

        Raises:
            TimeoutError: it did not come to such a moment in time, or was given up.
            StateError: the state cannot be carried.
        """
        engine = self._runtime.engine
        export = functools.partial(engine.export, reset=reset, allowed=allowed or {}, lenient=lenient)
        for _ in range(_ROUNDS):
            try:
                return self._export(timeout, functools.partial(export, patient=True))
            except BehindError:
                engine.catch_up(hurry=stop is None, stop=stop or (lambda: False))
            if stop is not None and stop():
                raise TimeoutError("something else is to be done first")
        return self._export(timeout, export)

    def _export(self, timeout: float, export: Callable[..., Export]) -> Export:
        if current_loop() is not None or self._runtime.net.listening() or PAUSE_SIGNAL is None:
            return at_safe_point(export, timeout=timeout)
        try:
            return export(quiet=False)
        except NotQuietError:
            with self._main_parked(timeout):
                return export()

    @contextlib.contextmanager
    def _main_parked(self, timeout: float) -> Iterator[None]:
        self._parked.clear()
        self._go_on = go_on = native.Event()
        assert PAUSE_SIGNAL is not None
        signal.pthread_kill(native.main_ident(), PAUSE_SIGNAL)
        try:
            if not self._parked.wait(timeout):
                raise ReloadFailedError("the main thread did not come to a bytecode boundary in time")
            yield
        finally:
            go_on.set()

    def _park(self, number: int, frame: object) -> None:
        _flush_standard_streams()
        self._parked.set()
        self._go_on.wait()
        if self._leave:
            self._runtime.control.interrupted()
            handler = signal.getsignal(signal.SIGINT)
            if callable(handler):
                handler(signal.SIGINT, frame)  # type: ignore[arg-type]
            else:
                raise KeyboardInterrupt

    def _stand_still(self, message: wire.Freeze) -> bool:
        """Export, say so, and wait for the verdict with the GIL held; returns whether it is "retire"."""
        runtime = self._runtime
        channel = runtime.channel
        listening = tuple(address.to_json() for address in runtime.net.in_use())
        with contextlib.ExitStack() as stack, channel.exclusive(), stopped.standstill():
            export = self._decisive(message)
            stack.callback(export.close)
            if self._given_up >= message.attempt:
                return False
            fds = list(export.handed.fds)
            if export.data:
                fds.insert(0, stopped.memfd_write(export.data, "livecore-state"))
                stack.callback(os.close, fds[0])
            marks, serial = Marks(export.handed), runtime.handing.next()
            moved, table, kept_back = runtime.net.connections.export()
            if moved:
                fds.append(stopped.memfd_write(table, "livecore-links"))
                stack.callback(os.close, fds[-1])
            frozen = wire.Frozen(
                message.attempt,
                runtime.net.open_connections(),
                listening,
                moved,
                kept_back,
                serial,
                tuple(export.handed.processes),
            )
            with marks, self._hearing():
                for frame, some in framed(frozen, fds):
                    stopped.send(channel.fileno(), frame, some)
                retire = self._verdict(channel.fileno(), marks.cuts, message.attempt)
                marks.settle(retire=retire)
                if retire:
                    runtime.net.connections.cut()
            if retire:
                return True
            if export.data:
                runtime.handing.sent(serial, export.handed)
        return False

    def _decisive(self, message: wire.Freeze) -> Export:
        """Export for the last time, if that is wanted."""
        if not message.export:
            return Export(b"", ())
        try:
            return self._runtime.engine.export(reset=message.reset, allowed=message.allowed)
        except StateError:
            if message.needed:
                raise
            return Export(b"", ())

    @contextlib.contextmanager
    def _hearing(self) -> Iterator[None]:
        self._told = None
        self._nobody_stands.clear()
        try:
            yield
        finally:
            self._nobody_stands.set()

    def _verdict(self, fd: int, cuts: Sequence[tuple[Any, ...]], attempt: int) -> bool:
        while True:
            if self._told is not None:
                return self._told
            if self._given_up >= attempt:
                return False  # told just before anybody listened
            waiting = stopped.hear(fd, _RETIRE, cuts, busy=self._reads)
            if waiting is not None and _RETIRE in waiting:
                return True
            if waiting is not None and b'["Resume"' in waiting:
                return False
            # An answer to something that was asked before, the end, or what the control thread has taken and
            # not told yet: it has to go on.
            time.sleep(SWITCH_INTERVAL)


def _flush_standard_streams() -> None:
    """Let out what the program has printed: left in a buffer, it would come after its successor's lines."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (AttributeError, OSError, RuntimeError, ValueError):
            pass  # None, closed, nobody reads it, or interrupted in its own write(): the program sees to it
