"""Slices in which the GIL is kept, with rests in between."""

from __future__ import annotations

import gc
import time

__all__ = ["Pace"]

_SLICE = 0.0006
"""Seconds that a slice aims at: an entry that is larger than those before may take it beyond."""
_LEAST, _FIRST, _MOST = 8, 100, 2000
"""Entries in a slice."""


class Pace:
    """A context for each slice.

    Args:
        rest: a slice that took s seconds is followed by a rest of so many s.

    Attributes:
        amount: entries for the next slice.
        used: to be set in a slice: how many it has seen, if ``amount`` shall be adapted.
        longest: seconds of the longest slice so far.
    """

    def __init__(self, rest: float) -> None:
        self._rest = rest
        self._began = 0.0
        self._collects = False
        self.amount = _FIRST
        self.used = 0
        self.longest = 0.0

    def __enter__(self) -> None:
        self._collects = gc.isenabled()
        gc.disable()  # what a slice makes is gone with it, and a collection may take 50 of them
        self._began = time.monotonic()
        self.used = 0

    def __exit__(self, *_: object) -> None:
        took = time.monotonic() - self._began
        if self._collects:
            gc.enable()
        self.longest = max(self.longest, took)
        if self.used:
            fitting = int(self.used * _SLICE / max(took, 1e-6))
            self.amount = max(_LEAST, min(_MOST, fitting, 2 * self.amount))
        # sleep(0) lets go of the GIL, too: whoever waits for it has it now.
        time.sleep(self._rest * took)
