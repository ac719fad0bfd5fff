"""What an engine does for its tracked containers beside the program."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable
from typing import Any

from livereload_core.errors import CannotCarryError
from livereload_core.state.codec import freeze
from livereload_core.state.descriptors import Incoming
from livereload_core.state.tracked.journal import Dump, attached
from livereload_core.state.tracked.pace import Pace

__all__ = ["catch_up", "spare_collector"]

_REST = 4
"""In the background, a slice that took s seconds is followed by a rest of so many s."""


def catch_up(containers: Iterable[Any], dump: Dump, *, hurry: bool, stop: Callable[[], bool]) -> None:
    """Write what is behind into parts, in slices between which the program runs.

    Args:
        containers: those that roots hold.
        dump: writes one object.
        hurry: somebody waits for it.
        stop: whether to leave the rest for the next time.

    Raises:
        CannotCarryError: there is no memory for it.
    """
    pace = Pace(0 if hurry else _REST)
    for container in containers:
        if stop():
            return
        try:
            attached(container).catch_up(container, dump, pace, stop)
        except OSError as error:
            raise CannotCarryError(
                f"there is no shared memory for a tracked container ({error.strerror})",
                remedy="free some, or keep less",
            ) from error


def spare_collector(received: Iterable[Incoming], *, in_time: bool = False) -> None:
    """Let no collection walk through all that came in containers: at a million objects it takes 50 ms.

    Args:
        received: what was read.
        in_time: nobody waits yet, so one does it before: garbage that is frozen is never collected, and might
            hold fds of the program's.
    """
    if any(one.parts for one in received):
        if in_time:
            gc.collect()
        freeze()
