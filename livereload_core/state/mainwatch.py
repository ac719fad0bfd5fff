"""State for a script that is still being executed: filled before its ``main()`` runs, not after.

``game = Game()`` in a script makes an instance that no call of ours sees, and ``preserve`` may stand
above the class that its state needs. Both are there once the script calls its first function after
them, as ``main()`` at its end. So, while something waits for ``__main__``, each call that the script's
top level makes is a moment to try again.

Invariants:
    * Watching ends with the start-up at the latest, and costs nothing when nothing waits.
    * A profiler of somebody else's is left alone; the state is then filled when start-up has run.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

__all__ = ["MainWatch", "main_waits"]


def main_waits() -> bool:
    """Whether the caller was called from the top level of ``__main__``.

    Then the script waits at its main block, and what it has not defined by now it never will before it runs.
    """
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_name == "<module>" and frame.f_globals.get("__name__") == "__main__":
            return vars(sys.modules["__main__"]) is frame.f_globals
        frame = frame.f_back
    return False


class MainWatch:
    """Calls ``retry`` while ``__main__`` grows.

    Args:
        retry: tries again; what it raises comes out of the script's call.
    """

    def __init__(self, retry: Callable[[], None]) -> None:
        self._retry = retry
        self._names = 0
        self._active = False

    def start(self) -> None:
        """Watch the calling thread, which is the one that will execute the script."""
        if sys.getprofile() is None:
            self._active = True
            sys.setprofile(self._on_event)

    def stop(self) -> None:
        """Watch no longer."""
        if self._active:
            self._active = False
            sys.setprofile(None)

    def _on_event(self, frame: FrameType, event: str, _: Any) -> None:
        caller = frame if event == "c_call" else frame.f_back if event == "call" else None
        if not self._active:  # stopped by another thread, which can switch off only its own profiler
            sys.setprofile(None)
            return
        if caller is None or caller.f_code.co_name != "<module>":
            return
        # A new name is what can make a difference: most calls bring none, and cost a comparison.
        if caller.f_globals.get("__name__") == "__main__" and len(caller.f_globals) != self._names:
            self._names = len(caller.f_globals)
            self._retry()
