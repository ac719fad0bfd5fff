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

CHECKPOINT_DUTY = 50
"""A background snapshot that took s seconds is followed by none for 50 s: at most 2 % of the time."""
BUSY_CPU = 0.002
"""CPU seconds of this process below which nothing can have happened that is worth a snapshot."""


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
        self._contents: object = None
        self._modules_known = 0

    def state(self, message: wire.Export) -> None:
        """PRECOPY: the state while serving.

        Raises:
            StateError: it cannot be carried.
        """
        limit = self._runtime.settings.timeout_prepare
        with contextlib.closing(self._export(limit, reset=message.reset)) as export:
            self._send(wire.Exported(message.attempt, export.roots), export)

    def checkpoint(self) -> float:
        """A snapshot in the background, so that a death loses little; returns when the next one is due."""
        interval = self._runtime.settings.checkpoint
        began = time.monotonic()
        cpu = time.process_time()
        if cpu - self._cpu < BUSY_CPU:
            return began + interval
        try:
            self.newest(interval, asked=False, stop=self._is_wanted)
        except ChannelClosedError:
            raise
        except Exception:
            # What cannot be carried is reported by the next reload, with the path; the loop is busy or fds
            # are short: the next time. The newest snapshot that the parent holds stays the newest.
            pass
        self._cpu = time.process_time()
        with contextlib.suppress(StateError):  # as above
            if self._runtime.engine.is_untidy:
                self._runtime.engine.catch_up(hurry=False, stop=self._is_wanted)
        # Slices cost the program next to nothing; what counts is for how long it was kept.
        return time.monotonic() + max(interval, CHECKPOINT_DUTY * self._runtime.engine.took)

    def newest(self, timeout: float, *, asked: bool, stop: Callable[[], bool] | None = None) -> None:
        """Give the parent the state as it is now.

        Args:
            timeout: seconds in which the program has to come to a moment at which it can be looked at.
            asked: the parent waits for it, so it is sent also if nothing has changed.
            stop: see ``Standstill.export``.

        Raises:
            StateError: it cannot be carried.
            TimeoutError: the program did not come to such a moment.
        """
        with contextlib.closing(self._export(timeout, stop=stop)) as export:
            contents = zlib.crc32(export.data), self._runtime.handing.identities(export.handed)
            if asked or contents != self._contents:
                self._send_newest(functools.partial(wire.Checkpoint, asked=asked), export)
                self._contents = contents

    def last(self, message: wire.Finished) -> None:
        """The program has ended by itself: its last state goes with the message."""
        try:
            export = self._runtime.engine.export()
        except (StateError, OSError) as error:
            self.not_saved(error)
            self._runtime.channel.send(message)
        else:
            with contextlib.closing(export):
                self._send_newest(functools.partial(wire.Finished, message.code, message.failure), export)

    def not_saved(self, error: Exception) -> None:
        """Say why the last state is not handed over; the newest snapshot that the parent holds stays that."""
        if self._runtime.settings.save:
            self._runtime.channel.send(wire.Warn(f"the state is not saved as it is now: {error}"))

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
        if len(sys.modules) != self._modules_known:
            self._modules_known = len(sys.modules)
            self._runtime.channel.send(wire.Modules(tuple(self._runtime.imports.third_party())))

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
