"""Marks in shared memory: what was under way on each connection, for the case that this process is killed.

One byte for each connection that the parent holds, in a file that all generations of a run map. A generation
allots marks in a page of its own; a connection keeps its mark for life, wherever it is served::

    offset = generation that accepted it * PAGE + slot

What a killed process had read and not dealt with is gone. The mark tells the next generation, which has only
the socket, whether it can go on: behind half a frame it could not.

Invariants:
    * A mark is written by the owner of its connection only, before the bytes that it speaks of go further.
    * Without a mark (more than a page of connections at once) a connection counts as clean.
"""

from __future__ import annotations

import mmap
import os

from livereload_core.wire.links import CLEAN, PAGE

__all__ = ["Marks"]


class Marks:
    """The marks of one process.

    Args:
        fd: of the file; ours from now on.
        generation: whose page new marks come from.
    """

    def __init__(self, fd: int, generation: int) -> None:
        self._fd = fd
        self._pages: dict[int, memoryview] = {}
        self._generation = generation
        self._free = list(range(PAGE - 1, -1, -1))

    def allot(self) -> int:
        """Return the offset of a mark that is free, or -1 when there is none."""
        return self._generation * PAGE + self._free.pop() if self._free else -1

    def free(self, offset: int) -> None:
        """Give a mark back when its connection has ended."""
        if offset >= 0:
            self.at(offset)[0] = CLEAN
            if offset // PAGE == self._generation:
                self._free.append(offset % PAGE)

    def at(self, offset: int) -> memoryview:
        """Return the one byte at ``offset``, to write to."""
        if offset < 0:
            return memoryview(bytearray(1))
        number, slot = divmod(offset, PAGE)
        page = self._pages.get(number)
        if page is None:
            page = self._pages[number] = memoryview(mmap.mmap(self._fd, PAGE, offset=number * PAGE))
        return page[slot : slot + 1]

    def close(self) -> None:
        """Let go of the file; pages stay mapped while marks are in use."""
        os.close(self._fd)
