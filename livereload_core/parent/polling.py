"""Seeing changes by looking: where the kernel does not tell, or has no room to.

Sizes and times in nanoseconds are compared, because a comparison by whole seconds (as in watchfiles' own
polling) misses the second of two quick saves.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from livereload_core.core.watching import WatchRules
from livereload_core.parent.folders import Signature, look_through, signature

__all__ = ["POLL_INTERVAL", "Poller"]

POLL_INTERVAL = 0.3
"""Seconds between two looks: shorter than it takes to turn to the browser."""

_SHARE = 5
"""A look may take one fifth of the time at most, so that a huge project does not keep a core busy."""


class Poller:
    """Looks through folders again and again, in a thread of its own.

    Args:
        roots: the folders.
        rules: what is left out.
        on_paths: called in the thread with the files that differ from the last look.
        on_failed: called in the thread if it ends by an exception.
    """

    def __init__(
        self,
        roots: frozenset[str],
        rules: WatchRules,
        on_paths: Callable[[set[str]], None],
        on_failed: Callable[[Exception], None],
    ) -> None:
        self.roots = roots
        self._rules = rules
        self._on_paths = on_paths
        self._on_failed = on_failed
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="livecore-poll", daemon=True)

    def start(self) -> None:
        """Begin; the first look is what later ones are compared with."""
        self._thread.start()

    def stop(self) -> None:
        """Let the thread end, without waiting for it: it may be the one that calls."""
        self._stop.set()

    def is_alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def join(self, timeout: float) -> None:
        """Wait for the end of the thread."""
        self._thread.join(timeout)

    def _run(self) -> None:
        try:
            before = self._look()
            pause = POLL_INTERVAL
            while not self._stop.wait(pause):
                began = time.monotonic()
                now = self._look()
                if self._stop.is_set():
                    break  # in the middle of a look: the rest would seem to be gone
                # An empty set, too: the owner looks at the single files that it was told of.
                self._on_paths(
                    {path for path in before.keys() | now.keys() if before.get(path) != now.get(path)}
                )
                before = now
                pause = max(POLL_INTERVAL, _SHARE * (time.monotonic() - began))
        except Exception as error:
            # The owner says it and starts another one; without that the run would go on unwatched.
            self._on_failed(error)

    def _look(self) -> dict[str, Signature | None]:
        seen: dict[str, Signature | None] = {}
        for path in look_through(self.roots, self._rules).files:
            if self._stop.is_set():
                break
            seen[path] = signature(path)
        return seen
