"""Marks in shared memory: what was under way on each connection, for the case that this process is killed.

One byte for each connection that the parent holds, in a file that all generations of a run map. A generation
allots marks in a page of its own; a connection keeps its mark for life, wherever it is served::

    of each generation:  PAGE marks | PAGE ids, ID_BYTES each | PAGE counts, COUNT_BYTES each

What a killed process had read and not dealt with is gone. The mark tells the next generation, which has only
the socket, whether it can go on: behind half a frame it could not. The id is that of the last event which the
client of an event stream has whole: behind it the next generation goes on. The count is of the bytes of the
client's that were read and of which the mark speaks: the kernel counts what was read, and where it counts
more, the process was killed between the two.

Invariants:
    * A mark is written by the owner of its connection only, before the bytes that it speaks of go further. It
      says that nobody can go on from before an event is sent until its id is here.
    * A mark that is allotted has no id. Its count is set by whom it was allotted to.
    * The count follows the mark, never the other way round.
    * Without a mark (more than a page of connections at once) a connection counts as clean.
"""

from __future__ import annotations

import mmap
import os

from livereload_core.wire.links import (
    CLEAN,
    COUNT_BYTES,
    ID_BYTES,
    PAGE,
    SPAN,
    count_at,
    id_at,
    mark_at,
    pack_id,
)

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
        self._ids: dict[int, memoryview] = {}
        self._counts: dict[int, memoryview] = {}
        self._generation = generation
        self._free = list(range(PAGE - 1, -1, -1))

    def allot(self) -> int:
        """Return the offset of a mark that is free, or -1 when there is none."""
        if not self._free:
            return -1
        offset = mark_at(self._generation, self._free.pop())
        if self._generation in self._ids:  # nobody else writes beside a mark that is not in use
            self._id(offset)[:2] = b"\0\0"
        return offset

    def free(self, offset: int) -> None:
        """Give a mark back when its connection has ended."""
        if offset >= 0:
            self.at(offset)[0] = CLEAN
            generation, slot = divmod(offset, SPAN)
            if generation == self._generation:
                self._free.append(slot)

    def at(self, offset: int) -> memoryview:
        """Return the one byte at ``offset``, to write to."""
        if offset < 0:
            return memoryview(bytearray(1))
        number, slot = divmod(offset, SPAN)
        page = self._pages.get(number)
        if page is None:
            page = self._pages[number] = memoryview(mmap.mmap(self._fd, PAGE, offset=mark_at(number, 0)))
        return page[slot : slot + 1]

    def count(self, offset: int) -> memoryview:
        """Return the count beside the mark at ``offset``, as one number to read and write."""
        number, slot = divmod(offset, SPAN)
        counts = self._counts.get(number)
        if counts is None:
            start = count_at(mark_at(number, 0))
            mapped = mmap.mmap(self._fd, PAGE * COUNT_BYTES, offset=start)
            counts = self._counts[number] = memoryview(mapped).cast("q")
        return counts[slot : slot + 1]

    def note_id(self, offset: int, name: bytes) -> bool:
        """Write the id of an event beside its mark; returns whether there is room for it."""
        data = pack_id(name)
        if data is None or offset < 0:
            return False
        self._id(offset)[: len(data)] = data
        return True

    def _id(self, offset: int) -> memoryview:
        number, slot = divmod(offset, SPAN)
        ids = self._ids.get(number)
        if ids is None:
            start = id_at(mark_at(number, 0))
            ids = self._ids[number] = memoryview(mmap.mmap(self._fd, PAGE * ID_BYTES, offset=start))
        return ids[slot * ID_BYTES :][:ID_BYTES]

    def close(self) -> None:
        """Let go of the file; pages stay mapped while marks are in use."""
        os.close(self._fd)
