"""Threads, locks, events and queues of the interpreter itself.

A program may replace those of the standard library (gevent, eventlet), and does it in objects that exist
already, too: a ``threading.Event`` takes the lock on which it waits from its module when it waits. Then the
main thread would wait for our control thread in the program's own scheduler, which knows nothing of it. What
is taken here is taken before any code of the program runs.
"""

from __future__ import annotations

import _thread
import queue
import threading
from collections.abc import Callable
from types import TracebackType

__all__ = ["Condition", "Event", "Lock", "SimpleQueue", "get_ident", "main_ident", "start"]

SimpleQueue = queue.SimpleQueue
"""The one in C."""
Lock = _thread.allocate_lock
get_ident = _thread.get_ident
_RLock = _thread.RLock
_start_new_thread = _thread.start_new_thread
_main = threading.main_thread().ident or 0


def main_ident() -> int:
    """The main thread, as ``signal.pthread_kill`` knows it."""
    return _main


def start(target: Callable[[], object]) -> None:
    """Run ``target`` in a daemon thread that is not the program's: ``threading.enumerate()`` omits it."""
    _start_new_thread(target, ())


class Condition:
    """As ``threading.Condition`` with its usual lock; it is waited for where that is held once."""

    def __init__(self) -> None:
        self._lock = _RLock()
        self._waiting: list[_thread.LockType] = []

    def __enter__(self) -> bool:
        return self._lock.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.release()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until notified, with the lock let go; returns whether it was within ``timeout`` seconds."""
        waiter = Lock()
        waiter.acquire()
        self._waiting.append(waiter)
        self._lock.release()
        try:
            return waiter.acquire(True, -1 if timeout is None else max(0.0, timeout))
        finally:
            self._lock.acquire()
            if waiter in self._waiting:
                self._waiting.remove(waiter)

    def notify_all(self) -> None:
        """Wake all that wait; the lock is held."""
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            waiter.release()


class Event:
    """As ``threading.Event``."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._is_set = False

    def is_set(self) -> bool:
        """Whether it is."""
        return self._is_set

    def set(self) -> None:
        """Wake all that wait, now and from now on."""
        with self._changed:
            self._is_set = True
            self._changed.notify_all()

    def clear(self) -> None:
        """From now on it is waited for."""
        with self._changed:
            self._is_set = False

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is set; returns whether it is after ``timeout`` seconds at most."""
        with self._changed:
            return self._is_set or self._changed.wait(timeout) or self._is_set
