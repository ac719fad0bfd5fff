"""Writing to a stream that may be slow, blocked or gone, without the writer ever noticing.

A terminal stopped with Ctrl-S, or a pipe whose reader sleeps, blocks whoever writes to it. In the parent
that would be the loop that decides about reloads, so the write happens in a thread of its own. Looking first
whether the descriptor is writable is no way out: a terminal says so as soon as there is room for one byte,
and then blocks on the second.

Invariants:
    * :meth:`Outlet.write` returns at once and never raises.
    * Texts leave in the order in which they came, each as a whole or not at all while the stream is alive.
    * What a blocked stream holds up is bounded; what does not fit is dropped and counted.
"""

from __future__ import annotations

import collections
import contextlib
import os
import select
import threading
import time
from typing import TextIO

__all__ = ["Outlet"]

_BACKLOG = 1 << 20  # bytes held for a blocked stream: thousands of lines, nothing to a parent's memory


class Outlet:
    """The only writer of a text stream.

    Args:
        stream: where to; ``None`` stands for a process without that stream.
    """

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream
        self._fd = _descriptor(stream)
        self._encoding = getattr(stream, "encoding", None) or "utf-8"
        self._waiting: collections.deque[bytes] = collections.deque()
        self._size = 0
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closing = False
        self._gone = stream is None
        self.dropped = 0
        """How many texts never left."""

    def write(self, text: str) -> None:
        """Write a text, soon. Characters that the stream cannot encode leave as escapes."""
        data = text.encode(self._encoding, "backslashreplace")
        with self._changed:
            if self._gone or self._closing or self._size + len(data) > _BACKLOG:
                self.dropped += 1
                return
            if self._fd < 0:
                self._write_directly(data)
                return
            self._waiting.append(data)
            self._size += len(data)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="livecore-output", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def close(self, timeout: float = 0.5) -> None:
        """Let out what waits, for at most ``timeout`` seconds, and take nothing more."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
            thread = self._thread
        if thread is not None:
            thread.join(timeout)

    def _write_directly(self, data: bytes) -> None:
        """For streams in memory: they cannot block."""
        assert self._stream is not None
        try:
            self._stream.write(data.decode(self._encoding))
            self._stream.flush()
        except (OSError, ValueError):  # closed: whoever closed it does not want to read
            self._gone = True
            self.dropped += 1

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._waiting:
                    if self._closing:
                        return
                    self._changed.wait()
                data = self._waiting[0]
            alive = _write_all(self._fd, data)
            with self._changed:
                self._waiting.popleft()
                self._size -= len(data)
                if not alive:
                    # The reader is gone for good; the run goes on without an audience.
                    self._gone = True
                    self.dropped += 1 + len(self._waiting)
                    self._waiting.clear()
                    self._size = 0
                    return


def _descriptor(stream: TextIO | None) -> int:
    if stream is None:
        return -1
    try:
        stream.flush()  # what others wrote through the stream comes first
        return stream.fileno()
    except (OSError, ValueError, AttributeError):
        return -1


def _write_all(fd: int, data: bytes) -> bool:
    """Write all of ``data``; ``False`` when nobody can read it any more."""
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(fd, view) :]
        except BlockingIOError:
            # Somebody who shares the terminal made it non-blocking. poll, not select: fds may exceed 1024.
            poller = select.poll()
            poller.register(fd, select.POLLOUT)
            with contextlib.suppress(OSError):
                poller.poll(1000)
            # A full pipe can report room that is too small; without this the loop would spin.
            time.sleep(0.01)
        except OSError:
            return False
    return True
