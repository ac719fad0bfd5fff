"""Where no handler is half way: between two callbacks of the main thread's event loop."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from livereload_core.child.loops import current_loop
from livereload_core.state.blame import is_from_elsewhere

__all__ = ["at_safe_point"]

T = TypeVar("T")


def at_safe_point(work: Callable[[], T], timeout: float | None = None) -> T:
    """Do ``work`` in a callback of the main thread's loop and wait for it; without a loop do it here.

    Raises:
        TimeoutError: the loop did not come to it in time; the work is not done then.
    """
    loop = current_loop()
    if loop is None:
        return work()
    future: Future[T] = Future()

    def callback() -> None:
        if future.set_running_or_notify_cancel():
            try:
                future.set_result(work())
            except BaseException as error:  # raised again by result() below
                future.set_exception(error)
                if is_from_elsewhere(error):
                    raise  # for the program whose main thread this is: it is told to stop

    try:
        loop.call_soon_threadsafe(callback)
    except RuntimeError:  # closed in this moment: the main thread is between two loops or at its end
        return work()
    try:
        return future.result(timeout)
    except TimeoutError:
        if not future.cancel():
            return future.result()
        raise
