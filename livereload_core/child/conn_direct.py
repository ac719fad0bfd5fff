"""What a fast lane does with a socket by itself, because a loop's transport does it in Python.

``write()`` of asyncio's socket transport tries ``send()`` at once when its buffer is empty; the lane does the
same with the descriptor, and leaves to the transport whatever the kernel does not take.
``get_write_buffer_size()`` adds up lengths; the buffer is one object for the life of a transport, whose own
length says as well whether there is anything in it. It is the private attribute ``_buffer``: where it is
missing or of another type, and with any other transport, the public methods serve.

Invariants:
    * A descriptor is written to only in the lane, which ends before the transport closes it:
      ``connection_lost`` comes before, and ``close()`` and ``abort()`` pass through the stream.
"""

from __future__ import annotations

import asyncio
import collections
from collections.abc import Callable
from typing import Any, NamedTuple

__all__ = ["Direct"]


class Direct(NamedTuple):
    """How to write to one transport.

    Attributes:
        unsent: tells, in C where possible, 0 when the kernel has taken everything and more otherwise.
        fd: to write to while nothing is unsent; -1 when only the transport may.
    """

    unsent: Callable[[], int]
    fd: int = -1

    @classmethod
    def of(cls, transport: Any) -> Direct:
        """Look at a transport."""
        public: Callable[[], int] = transport.get_write_buffer_size
        base = getattr(asyncio.selector_events, "_SelectorSocketTransport", None)
        buffer = getattr(transport, "_buffer", None)
        sock = transport.get_extra_info("socket")
        # a deque of pieces since 3.12, their bytes before
        if type(transport) is not base or not isinstance(buffer, bytearray | collections.deque):
            return cls(public)
        return cls(buffer.__len__, -1 if sock is None else sock.fileno())
