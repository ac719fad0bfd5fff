"""Work in a callback of the main thread's loop."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable

import pytest

from livereload_core.child import safepoint
from livereload_core.child.safepoint import at_safe_point


def _raised_in_loop(monkeypatch: pytest.MonkeyPatch, work: Callable[[], None]) -> list[BaseException]:
    """Do work at a safe point of a loop in this thread; return what the thread that asked for it got."""
    loop = asyncio.new_event_loop()
    monkeypatch.setattr(safepoint, "current_loop", lambda: loop)
    raised: list[BaseException] = []

    def ask() -> None:
        try:
            at_safe_point(work)
        except BaseException as error:
            raised.append(error)
        try:
            loop.call_soon_threadsafe(loop.stop)
        except RuntimeError:  # ended already
            pass

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        loop.run_forever()
    finally:
        thread.join()
        loop.close()
    return raised


def test_what_the_work_raises_goes_to_whoever_asked_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise SystemExit(3)

    (error,) = _raised_in_loop(monkeypatch, fail)
    assert isinstance(error, SystemExit)


def test_program_that_is_told_to_stop_during_the_work_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    """The handler of the signal runs in the main thread, in the midst of the callback."""

    def leave(number: int, frame: object) -> None:
        raise SystemExit(0)

    before = signal.signal(signal.SIGUSR1, leave)
    try:
        with pytest.raises(SystemExit):
            _raised_in_loop(monkeypatch, lambda: signal.raise_signal(signal.SIGUSR1))
    finally:
        signal.signal(signal.SIGUSR1, before)
