"""What a serving generation hands to the parent: its state, its sources, the modules that it uses."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
import time
import zlib
from collections.abc import Callable
from typing import TYPE_CHECKING

from livereload_core.errors import StateError
from livereload_core.posix import memfd
from livereload_core.posix.channel import ChannelClosedError
from livereload_core.wire import bundle
from livereload_core.wire import messages as wire

if TYPE_CHECKING:
    from livereload_core.child.runtime import Runtime
    from livereload_core.state.engine import Export

__all__ = ["Exports"]

CHECKPOINT_DUTY = 200
"""A background snapshot that took s seconds is followed by none for 200 s: of a hundred requests not one
waits for it."""
SLICES_DUTY = 20
"""One for which s seconds of work were done in slices beside the program is followed by none for 20 s."""
BUSY_CPU = 0.002
"""CPU seconds of the program after which a snapshot is due at once."""
TRACE_CPU = 0.00002
"""CPU seconds of the program below which nothing can have changed: a request takes several times that."""
STRICT = 3
"""Snapshots in a row that may fail for one root before the others go without it."""
SETTLE = 1.0
"""Seconds after which a little work is in a snapshot as well. Idle servers tick (uvicorn ten times a second),
so it cannot be told from none by its size, and each snapshot costs something."""


class Exports:
    """Exports for one generation.

    Args:
        runtime: that of the generation.
        export: exports the state while serving, in so many seconds; see ``Standstill.export``.
        is_wanted: whether something waits that is more urgent than a checkpoint.
    """

    def __init__(
        self, runtime: Runtime, export: Callable[..., Export], is_wanted: Callable[[], bool]
    ) -> None:
        self._runtime = runtime
        self._export = export
        self._is_wanted = is_wanted
        self._cpu = 0.0
        self._settled = 0.0
        self._is_behind = False
        self._clock: int | None = None
        self._contents: object = None
        self._failed = 0
        self._told: set[tuple[str, bool]] = set()
        self._modules_known: tuple[int, tuple[str, ...]] = (0, ())

    def called_from(self, thread: int) -> None:
        """What the control thread (its ``get_ident()``) does is not the program's work."""
        if sys.platform == "linux":
            self._clock = time.pthread_getcpuclockid(thread)

    def state(self, message: wire.Export) -> None:
        """PRECOPY: the state while serving.

        Raises:
            StateError: it cannot be carried.
        """
        limit = self._runtime.settings.timeout_prepare
        with contextlib.closing(self._export(limit, reset=message.reset, allowed=message.allowed)) as export:
            self._send(wire.Exported(message.attempt, export.roots), export)

    def checkpoint(self) -> float:
        """A snapshot in the background, so that a death loses little; returns when the next one is due."""
        interval = self._runtime.settings.checkpoint
        began = time.monotonic()
        spent = self._program_cpu() - self._cpu
        due = self._is_behind or spent >= TRACE_CPU
        if not due or (spent < BUSY_CPU and began < self._settled + SETTLE):
            return began + interval
        worked = time.thread_time()
        try:
            # What was done while it was under way is in the next one, which follows until one brings no news.
            lenient = self._failed >= STRICT
            self._is_behind = self.newest(interval, asked=False, stop=self._is_wanted, lenient=lenient)
        except ChannelClosedError:
            raise
        except StateError:
            # Often it is so for a moment only (an open transaction): the snapshot before stays the newest.
            self._is_behind = True
            self._failed += 1
        except Exception:
            # The loop is busy, something else waits, or fds are short: the next time.
            self._is_behind = True
        self._settled = time.monotonic()
        self._cpu = self._program_cpu()
        with contextlib.suppress(StateError):  # as above
            if self._runtime.engine.is_untidy:
                self._runtime.engine.catch_up(hurry=False, stop=self._is_wanted)
        worked = time.thread_time() - worked
        rest = max(interval, CHECKPOINT_DUTY * self._runtime.engine.took, SLICES_DUTY * worked)
        return time.monotonic() + rest

    def newest(
        self,
        timeout: float,
        *,
        asked: bool,
        stop: Callable[[], bool] | None = None,
        lenient: bool = False,
    ) -> bool:
        """Give the parent the state as it is now; returns whether it differs from the one before.

        Args:
            timeout: seconds in which the program has to come to a moment at which it can be looked at.
            asked: the parent waits for it, so it is sent also if nothing has changed.
            stop: see ``Standstill.export``.
            lenient: see ``Standstill.export``.

        Raises:
            StateError: it cannot be carried.
            TimeoutError: the program did not come to such a moment.
        """
        with contextlib.closing(self._export(timeout, stop=stop, lenient=lenient)) as export:
            self._failed *= lenient and self._warn_of_gaps(export)
            contents = zlib.crc32(export.data), self._runtime.handing.identities(export.handed)
            is_news = contents != self._contents
            if asked or is_news:
                self._send_newest(functools.partial(wire.Checkpoint, asked=asked), export)
                self._contents = contents
            return is_news

    def last(self, message: wire.Finished) -> None:
        """The program has ended by itself: its last state goes with the message."""
        try:
            export = self._runtime.engine.export(lenient=True)
        except (StateError, OSError) as error:
            self.not_saved(error)
            self._runtime.channel.send(message)
        else:
            with contextlib.closing(export):
                if self._runtime.settings.save:
                    self._warn_of_gaps(export)
                self._send_newest(functools.partial(wire.Finished, message.code, message.failure), export)

    def not_saved(self, error: Exception) -> None:
        """Say why the last state is not handed over; the newest snapshot that the parent holds stays that."""
        if self._runtime.settings.save:
            self._runtime.channel.send(wire.Warn(f"the state is not saved as it is now: {error}"))

    def _warn_of_gaps(self, export: Export) -> bool:
        """Say which roots a snapshot does not hold as they are, each once; returns whether there are any."""
        for key, (why, is_older) in export.gaps.items():
            if (key, is_older) not in self._told:
                self._told.add((key, is_older))
                instead = "as it was before" if is_older else "not at all"
                self._runtime.channel.send(wire.Warn(f"snapshots hold {key} {instead}: {why}"))
        return bool(export.gaps)

    def sources(self) -> None:
        """The sources and the code of what runs, for a recovery and for the next generation."""
        imports = self._runtime.imports
        fds = [memfd.create(imports.bundle(), "livecore-sources")]
        try:
            fds.append(memfd.create(bundle.pack(imports.compiled()), "livecore-code"))
            self._runtime.channel.send(wire.Sources(), fds)
        finally:
            for fd in fds:
                os.close(fd)

    def modules(self) -> None:
        """What a spare may import ahead, when there is more of it than before."""
        imports = self._runtime.imports
        known = len(sys.modules), imports.changed_environ
        if known != self._modules_known:
            self._modules_known = known
            # Where it is not known which modules were to see a change, the next interpreter finds it out.
            names = () if imports.unforeseen_environ else imports.third_party()
            self._runtime.channel.send(wire.Modules(tuple(names), imports.changed_environ))

    def _program_cpu(self) -> float:
        """CPU seconds of this process without those of the threads that are ours."""
        control = time.clock_gettime(self._clock) if self._clock is not None else 0.0
        return time.process_time() - time.thread_time() - control

    def _send_newest(self, make: Callable[..., wire.Message], export: Export) -> None:
        """Send what the parent holds from now on, for the case that this generation dies."""
        serial = self._runtime.handing.next()
        self._send(make(serial=serial, processes=tuple(export.handed.processes)), export)
        self._runtime.handing.sent(serial, export.handed)

    def _send(self, message: wire.Message, export: Export) -> None:
        snapshot = memfd.create(export.data, "livecore-state")
        try:
            self._runtime.channel.send(message, [snapshot, *export.handed.fds])
        finally:
            os.close(snapshot)
