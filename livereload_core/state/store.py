"""The large buffers of a generation that serves: kept in segments, so that a snapshot copies what changed.

::

    export ──claims──▶ behind? ──much──▶ BehindError ──▶ catch_up, in slices, while the program serves ─┐
                          └───little───▶ capture: what changed since, in one stretch ◀───────────────────┘

A buffer is found in the state by its reducer, which *claims* it. :meth:`Store.capture` gives back a piece for
each claim, as of this very moment. What a snapshot has named is never written again: changed pages become
runs in a new, small segment. What a generation has taken over is in segments already, so it copies changed
pages from its first snapshot on.

Invariants:
    * A piece is as of its capture. What changed is known from the kernel (``memory.Tracker``) or else by
      comparing; it is never assumed.
    * No Python object is changed, and none is held longer than for one slice.
    * What the kernel has told of changes is kept (``Area.due``) until it is written, whatever fails between.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial

from livereload_core.errors import CannotCarryError
from livereload_core.state import memory
from livereload_core.state.areas import Area, Claim, different, joined, size_of
from livereload_core.state.memory import PAGE, Tracker
from livereload_core.state.segments import Piece, Run, Segment, overlaid, phased
from livereload_core.state.tidying import is_scattered, tidy

__all__ = ["BehindError", "Store"]

SLICE = 1024 * 1024
"""Bytes that are copied at a time while the GIL is kept: 0.1 ms."""
_REST = 4
"""In the background, a slice that took s seconds is followed by a rest of so many s."""
_WATCHED = 1024 * 1024
"""Bytes from which on the kernel watches a buffer; smaller ones are compared."""
_BEHIND = 4 * 1024 * 1024
"""Bytes that an export copies without asking for slices first: half a millisecond."""
_ANEW = 4
"""A buffer is written anew where more than one in so many of its bytes has changed."""
_READY = 16 * 1024 * 1024
"""Bytes of memory that lie ready for the pages that change until the next snapshot."""


class BehindError(Exception):
    """Too much has to be copied for one stretch: let :meth:`Store.catch_up` do it in slices first."""


class Store:
    """The large buffers of this generation."""

    def __init__(self) -> None:
        self._tracker = Tracker()
        self._areas: dict[tuple[int, int], Area] = {}
        self._claims: list[Claim] = []
        self._ready: Segment | None = None
        self._left: set[Segment] = set()
        self._excess: list[Segment] = []

    def adopt(self, claim: Claim, piece: Piece) -> None:
        """This buffer has just been filled from a piece: it is known already."""
        area = Area(claim.address, claim.length, piece.home, piece.offset)
        area.runs = piece.runs
        area.written = piece.length
        area.published = True
        self._watch(area)
        self._areas[claim.key] = area

    # -- in one stretch -----------------------------------------------------------------------------

    def behind(self, claims: Sequence[Claim]) -> int:
        """Return how many bytes :meth:`capture` would have to copy at least."""
        self._claims = list({claim.key: claim for claim in claims}.values())
        total = 0
        for claim in self._claims:
            area = self._areas.get(claim.key)
            total += claim.length if area is None else self._lacking(area)
        return total

    def _lacking(self, area: Area) -> int:
        """Return how many bytes of a buffer are not captured as they are now, as far as that is known."""
        total = area.length - area.written + size_of(area.due)
        if area.watched:
            total += size_of(self._tracker.changed(*area.pages, anew=False) or ())
        return total

    def refuse_if_behind(self, claims: Sequence[Claim]) -> None:
        """Ask for slices if there is too much for one stretch.

        Raises:
            BehindError: there is.
        """
        if self.behind(claims) > _BEHIND:
            raise BehindError

    def capture(self, claims: Sequence[Claim]) -> list[Piece]:
        """Return where each buffer can be read as it is now; keeps the GIL.

        Raises:
            CannotCarryError: there is no memory for what has to be written.
        """
        self._claims = list({claim.key: claim for claim in claims}.values())
        areas = [self._areas.get(claim.key) for claim in self._claims]
        before = self._areas
        self._areas = {
            claim.key: area for claim, area in zip(self._claims, areas, strict=True) if area is not None
        }
        for key in before.keys() - self._areas.keys():
            if before[key].length > _BEHIND:  # too much to unmap in this stretch
                self._left.update(before[key].piece().segments())
        self._begin(
            [claim for claim, area in zip(self._claims, areas, strict=True) if area is None], held=True
        )
        for area in self._areas.values():
            self._note(area)
        self._write_due(held=True)
        for area in self._areas.values():
            area.home.seal()
            area.published = True
        return [self._areas[claim.key].piece() for claim in claims]

    def _begin(self, claims: Sequence[Claim], *, held: bool) -> None:
        """Give new buffers a home, with nothing in it yet."""
        if not claims:
            return
        offset, places = 0, []
        for claim in claims:
            places.append(phased(offset))
            offset = places[-1] + claim.length
        segment = self._new_segment(offset, populate=held)
        for claim, place in zip(claims, places, strict=True):
            self._areas[claim.key] = Area(claim.address, claim.length, segment, place)

    def _new_segment(self, size: int, *, populate: bool) -> Segment:
        free = memory.available()
        if size > free:
            raise _short(size, free)
        try:
            segment = Segment.new(size)
            if populate:
                segment.populate(0, segment.size, held=True)
        except OSError as error:
            raise _short(size, error) from error
        return segment

    def _watch(self, area: Area) -> None:
        first, last = area.pages
        area.watched = area.length >= _WATCHED and self._tracker.watch(first, last)
        area.begun = last

    def _watch_slice(self, area: Area, end: int) -> None:
        """Watch the pages up to ``end`` before they are copied: each once, and not all in one slice."""
        first, last = area.pages
        if not area.written:
            area.watched = area.length >= _WATCHED and self._tracker.prepare(first, last)
        upto = min(last, memory.up(area.address + end))
        if area.watched and upto > area.begun:
            area.watched = self._tracker.begin(area.begun, upto)
            area.begun = upto

    def _note(self, area: Area) -> None:
        """Add to what is due everything that has changed up to now."""
        done, area.written = area.written, area.length
        if done < area.length:
            area.home.populate(area.offset + done, area.offset + area.length, held=True)
            area.due = [*area.due, (done, area.length)]
        if not done:
            self._watch(area)
        else:
            area.due = joined([*area.due, *self._changed(area, done)])

    def _changed(self, area: Area, done: int) -> list[tuple[int, int]]:
        """Return which of the first ``done`` bytes are not as they were captured."""
        changed = self._tracker.changed(*area.pages, anew=True) if area.watched else None
        if changed is None:
            if area.watched:  # other memory lies there now
                self._watch(area)
            return list(different(area, 0, done))
        first, last = (address - area.address for address in area.pages)
        return [
            *((start - area.address, min(end - area.address, done)) for start, end in changed),
            *different(area, 0, min(first, done)),
            *different(area, last, done),
        ]

    def _write_due(self, *, held: bool) -> None:
        """Write what is due: into the home while nobody knows it, else as runs of a new segment."""
        again = []
        for area in self._areas.values():
            if not area.due or area.written < area.length:
                continue
            if area.published:
                again.append(area)
            else:
                self._write_home(area)
        if not again:
            return
        anew = [area for area in again if size_of(area.due) * _ANEW > area.length]
        runs = [area for area in again if area not in anew]
        offset, homes = 0, []
        for area in anew:
            homes.append(phased(offset))
            offset = homes[-1] + area.length
        size = offset + sum(size_of(area.due) for area in runs)
        segment = self._take_ready(size) if not anew else None
        if segment is None:
            segment = self._new_segment(size, populate=True)
        for area, home in zip(anew, homes, strict=True):
            self._left.update(area.piece().segments())
            area.home, area.offset, area.runs, area.published = segment, home, (), False
            area.due = [(0, area.length)]
            self._write_home(area)
        for area in runs:
            offset = self._write_runs(area, segment, offset)
        segment.seal(size)
        if segment.has_excess:
            self._excess.append(segment)

    def trim(self) -> None:
        """Give back memory that lay ready and was not needed: not in the pause. Keeps the GIL."""
        while self._excess:
            self._excess.pop().trim()

    def _take_ready(self, size: int) -> Segment | None:
        segment, self._ready = self._ready, None
        if segment is None or segment.size < size:
            self._ready = segment
            return None
        return segment

    def _write_home(self, area: Area) -> None:
        home = area.home.address + area.offset
        for start, end in area.due:
            memory.copy(home + start, area.address + start, end - start)
        area.due = []

    def _write_runs(self, area: Area, segment: Segment, offset: int) -> int:
        fresh = []
        memory.gather(segment.fd, offset, [(area.address + start, end - start) for start, end in area.due])
        for start, end in area.due:
            fresh.append(Run(start, end, segment, offset))
            offset += end - start
        area.runs = overlaid(area.runs, fresh)
        area.due = []
        return offset

    # -- in slices ----------------------------------------------------------------------------------

    @property
    def is_untidy(self) -> bool:
        """Whether :meth:`catch_up` has something to put in order."""
        if self._left:
            return True
        return bool(self._claims) and (self._ready is None or is_scattered(self._areas.values()))

    def catch_up(self, *, hurry: bool, stop: Callable[[], bool] = lambda: False) -> None:
        """Copy ahead what the last export asked for, in slices; other threads run in between.

        What lies scattered is put in order, too, and memory made ready for the next export.

        Args:
            hurry: somebody waits for it.
            stop: whether to leave the rest for the next time.

        Raises:
            CannotCarryError: there is no memory for it.
        """
        pace = _Pace(hurry=hurry)
        self._write_changes(pace, stop)
        self._begin([claim for claim in self._claims if claim.key not in self._areas], held=False)
        self._write_homes(pace, stop)
        self._unmap_left()
        if stop():
            return
        self._left.update(tidy(self._areas.values(), partial(_copied, pace=pace, stop=stop), stop))
        self._unmap_left()
        if self._ready is None and self._claims and not stop():
            self._make_ready(pace)

    def _write_homes(self, pace: _Pace, stop: Callable[[], bool]) -> None:
        """Write what has not been written yet."""
        for claim in self._claims:
            area = self._areas.get(claim.key)
            while area is not None and area.written < area.length:
                if stop():
                    return
                if not self._write_slice(claim, area, pace):
                    del self._areas[claim.key]
                    self._left.update(area.piece().segments())
                    break

    def _unmap_left(self) -> None:
        """Unmap what no buffer lies in any more, here and now, and free what no snapshot has named.

        Who holds the last reference may be the next export, in the pause: it would unmap all of it at once.
        """
        used = {segment for area in self._areas.values() for segment in area.piece().segments()}
        while self._left:
            segment = self._left.pop()
            if segment in used:
                continue
            if segment.is_sealed:
                segment.unmap()
            else:
                segment.discard()

    def _write_changes(self, pace: _Pace, stop: Callable[[], bool]) -> None:
        """Write what has changed, if it is too much for one stretch; what changes then is known to have."""
        for claim in self._claims:
            area = self._areas.get(claim.key)
            if area is None or area.written < area.length:
                continue
            lacking = self._lacking(area)
            if lacking * _ANEW > area.length > _BEHIND:
                del self._areas[claim.key]
                self._left.update(area.piece().segments())
            elif lacking > _BEHIND:
                self._write_ahead(claim, area, pace, stop)

    def _write_slice(self, claim: Claim, area: Area, pace: _Pace) -> bool:
        """Write the next slice of a home; ``False`` if its buffer is gone."""
        start = area.written
        end = min(start + SLICE, area.length)
        try:
            area.home.populate(area.offset + start, area.offset + end, held=False)
        except OSError as error:
            raise _short(area.length, error) from error
        with pace:
            owner = claim.find()
            if owner is None or claim.locate(owner) != claim.key:
                return False
            self._watch_slice(area, end)
            memory.copy(area.home.address + area.offset + start, area.address + start, end - start)
            area.written = end
            del owner
        return True

    def _write_ahead(self, claim: Claim, area: Area, pace: _Pace, stop: Callable[[], bool]) -> None:
        """Write what has changed as runs; what changes meanwhile is known to have."""
        with pace:
            owner = claim.find()
            if owner is None or claim.locate(owner) != claim.key:
                return
            area.due = joined([*area.due, *self._changed(area, area.length)])
            del owner
        size = size_of(area.due)
        if not size or size > memory.available():
            return
        segment = Segment.new(size)
        left, fresh, offset = deque(area.due), list[Run](), 0
        try:
            while left and not stop():
                start, end = left[0]
                end = min(end, start + SLICE)
                segment.populate(offset, offset + end - start, held=False)
                with pace:
                    owner = claim.find()
                    if owner is None or claim.locate(owner) != claim.key:
                        return
                    memory.copy(segment.address + offset, area.address + start, end - start)
                    del owner
                fresh.append(Run(start, end, segment, offset))
                offset += end - start
                if end == left[0][1]:
                    left.popleft()
                else:
                    left[0] = (end, left[0][1])
        except OSError as error:
            raise _short(area.length, error) from error
        finally:
            area.runs, area.due = overlaid(area.runs, fresh), list(left)
            segment.seal(max(1, offset))
            segment.trim()

    def _make_ready(self, pace: _Pace) -> None:
        size = min(_READY, memory.up(sum(claim.length for claim in self._claims) // 16) + PAGE)
        if size > memory.available():
            return
        segment = Segment.new(size)
        for start in range(0, size, SLICE):
            segment.populate(start, min(size, start + SLICE), held=False)
            with pace:
                pass
        self._ready = segment


def _copied(
    segment: Segment, offset: int, source: int, size: int, pace: _Pace, stop: Callable[[], bool]
) -> bool:
    """Copy captured bytes in slices; ``False`` if there was no time or no memory for it."""
    for start in range(0, size, SLICE):
        if stop():
            return False
        end = min(start + SLICE, size)
        with pace:
            try:
                segment.populate(offset + start, offset + end, held=False)
            except OSError:
                return False
            memory.copy(segment.address + offset + start, source + start, end - start)
    return True


class _Pace:
    """Slices in which the GIL is kept, with rests in between."""

    def __init__(self, *, hurry: bool) -> None:
        self._rest = 0 if hurry else _REST
        self._began = 0.0

    def __enter__(self) -> None:
        self._began = time.monotonic()

    def __exit__(self, *_: object) -> None:
        # sleep(0) lets go of the GIL, too: whoever waits for it has it now.
        time.sleep(self._rest * (time.monotonic() - self._began))


def _short(size: int, why: int | OSError) -> CannotCarryError:
    told = why.strerror if isinstance(why, OSError) else f"{_words(why)} are free"
    return CannotCarryError(
        f"its arrays need {_words(size)} of shared memory, and there is not so much ({told})",
        remedy="free some, or keep less",
    )


def _words(size: int) -> str:
    amount = float(size)
    for unit in ("bytes", "KiB", "MiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}"
        amount /= 1024
    return f"{amount:.1f} GiB"
