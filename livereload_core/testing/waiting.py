"""Waiting for facts, and the size of a test run."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TypeVar

__all__ = ["SCALE_VARIABLE", "scaled", "until"]

T = TypeVar("T")

SCALE_VARIABLE = "LIVECORE_TEST_SCALE"
"""Environment variable: 1 runs the full sizes, the default of 0.25 keeps a whole run to a few minutes."""

_STEP = 0.01
"""Seconds between two looks. Only facts that cannot be waited for (an answer over HTTP, /proc) are polled."""


def scaled(full: float, *, least: int = 1) -> int:
    """Return ``full`` times the scale of this test run, and at least ``least``."""
    return max(least, round(full * float(os.environ.get(SCALE_VARIABLE, "0.25"))))


def until(
    probe: Callable[[], T],
    *,
    timeout: float = 10.0,
    what: str = "the condition",
    context: Callable[[], object] | None = None,
) -> T:
    """Call ``probe`` until it returns something true, and return that.

    An ``OSError`` or ``AssertionError`` of the probe counts as "not yet".

    Args:
        probe: looks once; must not block for long.
        timeout: seconds.
        what: the fact that is waited for, for the error message.
        context: returns what else the error should show.

    Raises:
        AssertionError: the fact did not come true in time; names the last result.
    """
    deadline = time.monotonic() + timeout
    last: object = None
    while True:
        try:
            result = probe()
        except (OSError, AssertionError) as error:
            last = error
        else:
            if result:
                return result
            last = result
        if time.monotonic() >= deadline:
            more = f"\n{context()}" if context is not None else ""
            raise AssertionError(f"{what} did not come true within {timeout:g} s; last seen: {last!r}{more}")
        time.sleep(_STEP)
