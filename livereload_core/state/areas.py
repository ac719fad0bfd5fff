"""One large buffer in the state: what asks for it, and what of it has been captured.

Invariant: nothing here decides or copies; see ``store``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from livereload_core.state import memory
from livereload_core.state.memory import PAGE
from livereload_core.state.segments import Piece, Run, Segment

__all__ = ["Area", "Claim", "different", "joined", "size_of"]


@dataclasses.dataclass(frozen=True, slots=True)
class Claim:
    """A buffer in the state.

    Attributes:
        find: returns its object while that lives, and holds its memory in place as long as what it returns.
        locate: returns address and length of the memory of what ``find`` returned.
        address: at the time of the claim.
        length: in bytes.
    """

    find: Callable[[], Any]
    locate: Callable[[Any], tuple[int, int]]
    address: int
    length: int

    @property
    def key(self) -> tuple[int, int]:
        """Where it lies."""
        return self.address, self.length


class Area:
    """What is known of one buffer.

    Attributes:
        home, offset, runs: as of :class:`Piece`.
        written: how much of the home has been written; less than all while slices are under way.
        published: a snapshot may name the home, so it is not written again.
        watched: the kernel notes writes to its whole pages.
        begun: address up to which it does so by now.
        due: ranges that changed and are not written yet.
    """

    __slots__ = (
        *("address", "begun", "due", "home", "length", "offset"),
        *("published", "runs", "watched", "written"),
    )

    def __init__(self, address: int, length: int, home: Segment, offset: int) -> None:
        self.address = address
        self.length = length
        self.home = home
        self.offset = offset
        self.runs: tuple[Run, ...] = ()
        self.written = 0
        self.published = False
        self.watched = False
        self.begun = memory.up(address)
        self.due: list[tuple[int, int]] = []

    @property
    def pages(self) -> tuple[int, int]:
        """Addresses of the whole pages in it."""
        return memory.up(self.address), memory.down(self.address + self.length)

    def spans(self) -> Iterator[tuple[int, int, int]]:
        """Return where what was captured lies here: start and end in the buffer, and an address."""
        home = self.home.address + self.offset
        at = 0
        for run in self.runs:
            if at < run.start:
                yield at, run.start, home + at
            yield run.start, run.end, run.segment.address + run.offset
            at = run.end
        if at < self.length:
            yield at, self.length, home + at

    def piece(self) -> Piece:
        """Return where it can be read as it was captured."""
        return Piece(self.length, self.home, self.offset, self.runs)


def size_of(ranges: Iterable[tuple[int, int]]) -> int:
    """Return how many bytes these ranges are."""
    return sum(end - start for start, end in ranges)


def joined(ranges: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Sort ranges and unite those that touch."""
    result: list[tuple[int, int]] = []
    for start, end in sorted(ranges):
        if start >= end:
            continue
        if result and start <= result[-1][1]:
            result[-1] = (result[-1][0], max(end, result[-1][1]))
        else:
            result.append((start, end))
    return result


def different(area: Area, first: int, last: int) -> Iterator[tuple[int, int]]:
    """Compare a part of a buffer with what was captured of it; return the pages that differ."""
    for start, end, captured in area.spans():
        low, high = max(start, first), min(end, last)
        if low < high:
            yield from _unequal(area.address + low, captured + low - start, low, high)


def _unequal(live: int, captured: int, start: int, end: int) -> Iterator[tuple[int, int]]:
    size = end - start
    if memory.compare(live, captured, size):
        return
    if size <= PAGE:
        yield start, end
        return
    step = max(PAGE, size // 16 // PAGE * PAGE)
    for at in range(0, size, step):
        yield from _unequal(live + at, captured + at, start + at, min(start + at + step, end))
