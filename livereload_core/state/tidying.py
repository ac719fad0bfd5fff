"""Where the large buffers of a generation lie, put in order: few segments, each needed, and few runs.

What changes is written as runs of ever new segments, so what is held gets scattered, and of older segments
less and less is needed. To move what is left of them costs copies that nobody waits for, in the background.

Invariants:
    * Nothing but captured bytes is read and moved: no object of the program's is looked at.
    * A segment is never written again. All that is moved goes into a new one, and until all has been, nothing
      has changed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable

from livereload_core.state import memory
from livereload_core.state.areas import Area
from livereload_core.state.memory import PAGE
from livereload_core.state.segments import Run, Segment, overlaid, phased

__all__ = ["Copied", "is_scattered", "tidy"]

Copied = Callable[[Segment, int, int, int], bool]
"""Copies to a place in a segment, from an address, so many bytes; ``False`` if there is no time or memory."""

_MOST_RUNS = 2048
"""Runs of a buffer from which on all of it is written into a home of its own: an export describes each, and
each that is a page alone costs its reader a page fault in the pause, every time (6 µs in all)."""
_MOST_SEGMENTS = 6
"""Segments from which on the smaller ones are united: each costs an fd in three processes."""
_FEW_SEGMENTS = 3
_WASTE = 16 * 1024 * 1024
"""Bytes of a segment that nobody needs, from which on the rest of it is moved if it is the smaller part."""


def is_scattered(areas: Collection[Area]) -> bool:
    """Whether :func:`tidy` has something to move."""
    return bool(_leaving(areas)) or any(map(_is_patchwork, areas))


def tidy(areas: Collection[Area], copied: Copied, stop: Callable[[], bool]) -> set[Segment]:
    """Move what is in small or wasted segments into a new one.

    Args:
        areas: all buffers that are known.
        copied: copies to the new segment, in slices.
        stop: whether to leave it all for the next time.

    Returns:
        the segments that something has been moved out of.
    """
    leaving = _leaving(areas)
    areas = [area for area in areas if area.written == area.length and not area.due]
    homes = [area for area in areas if area.home in leaving or _is_patchwork(area)]
    moving = [
        (area, [run for run in area.runs if run.segment in leaving])
        for area in areas
        if area not in homes and any(run.segment in leaving for run in area.runs)
    ]
    size = sum(memory.up(area.length + PAGE) for area in homes)
    size += sum(run.end - run.start for _, runs in moving for run in runs)
    if not size or stop() or size > memory.available():
        return set()
    segment = Segment.new(size)
    moved: list[tuple[Area, int, tuple[Run, ...]]] = []
    offset = 0
    for area in homes:
        offset = phased(offset)
        for start, end, source in area.spans():
            if not copied(segment, offset + start, source, end - start):
                return set()
        moved.append((area, offset, ()))
        offset += area.length
    for area, runs in moving:
        fresh = []
        for run in runs:
            length = run.end - run.start
            if not copied(segment, offset, run.segment.address + run.offset, length):
                return set()
            fresh.append(Run(run.start, run.end, segment, offset))
            offset += length
        moved.append((area, -1, overlaid(area.runs, fresh)))
    left = {segment for area, _, _ in moved for segment in area.piece().segments()}
    for area, home, united in moved:
        area.runs = united
        if home >= 0:
            area.home, area.offset, area.published = segment, home, False
    segment.seal()
    return left


def _leaving(areas: Iterable[Area]) -> set[Segment]:
    """Return the segments of which the rest is to be moved."""
    used: Counter[Segment] = Counter()
    for area in areas:
        used[area.home] += area.length
        for run in area.runs:
            used[run.segment] += run.end - run.start
    leaving = {
        segment
        for segment, size in used.items()
        if segment.size - size > max(size, _WASTE) and segment.size > size
    }
    staying = sorted(used.keys() - leaving, key=lambda segment: used[segment], reverse=True)
    if len(staying) > _MOST_SEGMENTS:
        leaving.update(staying[_FEW_SEGMENTS:])
    return leaving


def _is_patchwork(area: Area) -> bool:
    return len(area.runs) > _MOST_RUNS or sum(run.end - run.start for run in area.runs) * 4 > area.length
