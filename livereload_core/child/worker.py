"""One thread for what runs the user's code on the parent's order: hooks and exports, which may hang.

The control thread has to stay able to read: "resume" is what makes a hanging hook harmless.
"""

from __future__ import annotations

from collections.abc import Callable

from livereload_core.child import native

__all__ = ["Worker"]


class Worker:
    """Does jobs one after the other."""

    def __init__(self) -> None:
        self._jobs: native.SimpleQueue[tuple[int, Callable[[], None]]] = native.SimpleQueue()
        self._started = False
        self._attempt = 0
        # Two counters with one writer each: one that both threads changed could drift.
        self._given = 0
        self._done = 0

    @property
    def idle(self) -> bool:
        """Whether no job runs or waits."""
        return self._given == self._done

    @property
    def is_wanted(self) -> bool:
        """Whether another job waits for the end of the one that runs."""
        return self._given - self._done > 1

    @property
    def attempt(self) -> int:
        """The attempt whose job runs now, 0 for none or for a job that belongs to no attempt."""
        return self._attempt

    def do(self, work: Callable[[], None], *, attempt: int = 0) -> None:
        """Do ``work``, which handles its own errors, after what waits already."""
        if not self._started:
            self._started = True
            native.start(self._run)
        self._given += 1
        self._jobs.put((attempt, work))

    def _run(self) -> None:
        while True:
            self._attempt, work = self._jobs.get()
            work()
            self._attempt = 0
            self._done += 1
