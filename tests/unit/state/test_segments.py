"""Large buffers: what is captured is what was there, whatever was written, freed and moved in between."""

from __future__ import annotations

import ctypes
import gc
import itertools
import mmap
import os
import sys
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from livereload_core.errors import CannotCarryError
from livereload_core.state import engine as engine_module
from livereload_core.state import exporting, memory, store, tidying
from livereload_core.state.areas import Claim
from livereload_core.state.engine import Engine
from livereload_core.state.memory import PAGE, Tracker
from livereload_core.state.segments import LARGE, PHASE, Piece, Run, Segment, overlaid, phased
from livereload_core.state.store import BehindError, Store

MIB = 1024 * 1024


def locate(array: Any) -> tuple[int, int]:
    return array.__array_interface__["data"][0], array.nbytes


def claim(array: Any) -> Claim:
    return Claim(weakref.ref(array), locate, *locate(array))


def filled(piece: Piece) -> Any:
    """What a reader of the piece sees."""
    array = np.empty(piece.length, np.uint8)
    piece.fill(locate(array)[0])
    return array


def after(slices: int) -> Callable[[], bool]:
    """Says stop after so many."""
    left = iter(range(slices))
    return lambda: next(left, None) is None


class Blind(Tracker):
    """What there is where the kernel does not tell."""

    def prepare(self, start: int, end: int) -> bool:
        return False


@pytest.fixture(params=["kernel", "compared"])
def kept(request: pytest.FixtureRequest) -> Iterator[Store]:
    kept = Store()
    if request.param == "compared":
        kept._tracker = Blind()
    elif not kept._tracker.watch(*_some_pages()):
        pytest.skip("this kernel or container does not watch pages (userfaultfd WP_ASYNC, PAGEMAP_SCAN)")
    yield kept
    kept._tracker.close()


@pytest.fixture
def watching() -> Iterator[Store]:
    """One that is told by the kernel: others know what has changed only once all of it was compared."""
    watching = Store()
    if not watching._tracker.watch(*_some_pages()):
        pytest.skip("this kernel or container does not watch pages (userfaultfd WP_ASYNC, PAGEMAP_SCAN)")
    yield watching
    watching._tracker.close()


_PROBE = mmap.mmap(-1, PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)


def _some_pages() -> tuple[int, int]:
    start = memory.address_of(_PROBE)
    return start, start + PAGE


# -- runs ---------------------------------------------------------------------------------------------

NOWHERE: Any = object()


def runs_of(marks: Sequence[int], number: int) -> list[Run]:
    """Runs wherever ``marks`` says so, with an offset that tells which ones they were."""
    runs: list[Run] = []
    for at, mark in enumerate(marks):
        if mark and runs and runs[-1].end == at:
            runs[-1] = Run(runs[-1].start, at + 1, NOWHERE, runs[-1].offset)
        elif mark:
            runs.append(Run(at, at + 1, NOWHERE, number * 1000 + at))
    return runs


@settings(deadline=None)
@given(*[st.lists(st.integers(0, 1), min_size=12, max_size=12)] * 2)
def test_new_runs_hide_the_old_ones_below_them_and_nothing_else(old: list[int], new: list[int]) -> None:
    united = overlaid(runs_of(old, 1), runs_of(new, 2))
    assert [run.start for run in united] == sorted(run.start for run in united)
    seen = [0] * 12
    for run in united:
        for at in range(run.start, run.end):
            assert not seen[at], "no two runs hold one byte"
            seen[at] = run.offset + at - run.start
    assert seen == [2000 + at if new[at] else 1000 + at if old[at] else 0 for at in range(12)]


# -- what is captured ---------------------------------------------------------------------------------


@pytest.fixture(params=["usual", "impatient"])
def _patience(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Impatient: next to everything is written ahead, in small slices."""
    if request.param == "impatient":
        monkeypatch.setattr(store, "_BEHIND", PAGE)
        monkeypatch.setattr(store, "SLICE", 50 * PAGE)


@pytest.mark.usefixtures("_patience")
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
@pytest.mark.parametrize("watched", [True, False])
def test_every_piece_shows_its_moment_for_ever(watched: bool, data: st.DataObject) -> None:
    kept = Store()
    if not watched:
        kept._tracker = Blind()
    sizes = [LARGE, 3 * MIB + 5, 40 * PAGE + 1]
    arrays: dict[int, Any] = {n: np.full(size, n, np.uint8) for n, size in enumerate(sizes)}
    pieces: list[tuple[Piece, Any]] = []
    for step in range(data.draw(st.integers(3, 8))):
        what = data.draw(st.sampled_from(["write", "all", "slices", "stopped", "drop", "moved"]))
        number = data.draw(st.sampled_from(sorted(arrays)))
        array = arrays[number]
        if what == "write":
            for at in data.draw(st.lists(st.integers(0, len(array) - 1), max_size=6)):
                array[at : at + 3] = step + 100
        elif what == "all":
            array[:] = step
        elif what == "drop":
            arrays[number] = np.full(sizes[number], step, np.uint8)
        elif what == "moved":
            kept = _moved(kept, arrays, watched=watched)
        else:
            kept.behind([claim(array) for array in arrays.values()])
            stop = after(data.draw(st.integers(0, 20)) if what == "stopped" else 1000)
            kept.catch_up(hurry=True, stop=_writing(array, step, stop) if data.draw(st.booleans()) else stop)
            del stop
        del array
        pieces += zip(
            kept.capture([claim(array) for array in arrays.values()]),
            [array.copy() for array in arrays.values()],
            strict=True,
        )
    for piece, expected in pieces:
        assert np.array_equal(filled(piece), expected)
    kept._tracker.close()


def _writing(array: Any, step: int, stop: Callable[[], bool]) -> Callable[[], bool]:
    """Write between the slices."""

    def written() -> bool:
        array[step * 977 :: 400_000] += 1
        return stop()

    return written


def _moved(kept: Store, arrays: dict[int, Any], *, watched: bool) -> Store:
    """As in the next generation: other memory, filled from pieces."""
    new = Store()
    if not watched:
        new._tracker = Blind()
    for number, piece in zip(arrays, kept.capture([claim(a) for a in arrays.values()]), strict=True):
        array = np.empty(piece.length, np.uint8)
        piece.fill(locate(array)[0])
        new.adopt(claim(array), piece)
        arrays[number] = array
    return new


def test_kernel_tells_of_each_page_once(watching: Store) -> None:
    """It may say that it stopped before the end although it did not, and the rest would be counted twice."""
    pages = 2048
    area = mmap.mmap(-1, 2 * pages * PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    start, end = memory.address_of(area), memory.address_of(area) + len(area)
    tracker = watching._tracker
    assert tracker.watch(start, end)
    for page in range(pages):
        area[2 * page * PAGE] = 1
    expected = [(start + 2 * page * PAGE, start + (2 * page + 1) * PAGE) for page in range(pages)]
    assert tracker.changed(start, end, anew=False) == expected
    assert tracker.changed(start, end, anew=True) == expected
    assert tracker.changed(start, end, anew=True) == []


def test_kernel_tells_of_more_pages_than_fit_into_one_answer(
    watching: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "_MOST_FOUND", 3)
    area = mmap.mmap(-1, 16 * PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    start, end = memory.address_of(area), memory.address_of(area) + len(area)
    tracker = watching._tracker
    assert tracker.watch(start, end)
    for page in (1, 3, 5, 7, 9, 11):
        area[page * PAGE] = 1
    changed = tracker.changed(start, end, anew=True)
    assert changed is not None
    assert [(first - start) // PAGE for first, _ in changed] == [1, 3, 5, 7, 9, 11]


def test_reader_writes_for_itself_alone(kept: Store) -> None:
    array = np.full(2 * MIB, 1, np.uint8)
    [piece] = kept.capture([claim(array)])
    one, other = filled(piece), filled(piece)
    one[:] = 2
    array[:] = 3
    assert (other == 1).all()


def test_only_changed_pages_are_written_after_the_first_time(kept: Store) -> None:
    array = np.zeros(8 * MIB, np.uint8)
    kept.capture([claim(array)])
    array[5 * PAGE : 5 * PAGE + 10] = 1
    array[-1] = 1
    [piece] = kept.capture([claim(array)])
    assert sum(run.end - run.start for run in piece.runs) <= 3 * PAGE
    [again] = kept.capture([claim(array)])
    assert again.runs == piece.runs, "nothing has changed since"


def test_memory_that_was_freed_and_used_again_is_read_again(kept: Store) -> None:
    addresses = set()
    for value in range(6):
        array = np.full(2 * MIB, value, np.uint8)
        again = locate(array)[0] in addresses
        addresses.add(locate(array)[0])
        [piece] = kept.capture([claim(array)])
        assert np.array_equal(filled(piece), array)
        del array, piece
    assert again, "malloc gave out the same memory, or this test is none"


def test_much_new_is_copied_in_slices_first(kept: Store) -> None:
    array = np.full(32 * MIB, 7, np.uint8)
    with pytest.raises(BehindError):
        kept.refuse_if_behind([claim(array)])
    kept.catch_up(hurry=True)
    array[3] = 1
    kept.refuse_if_behind([claim(array)])
    [piece] = kept.capture([claim(array)])
    assert not piece.runs, "no snapshot knew it, so it was written in place"
    assert np.array_equal(filled(piece), array)


def test_array_that_was_filled_anew_is_copied_in_slices(watching: Store) -> None:
    array = np.zeros(32 * MIB, np.uint8)
    watching.capture([claim(array)])
    array[:] = 1
    with pytest.raises(BehindError):
        watching.refuse_if_behind([claim(array)])
    watching.catch_up(hurry=True)
    array[5] = 2
    watching.refuse_if_behind([claim(array)])
    [piece] = watching.capture([claim(array)])
    assert not piece.runs, "no snapshot knew it, so it was written in place"
    assert np.array_equal(filled(piece), array)


def test_changes_of_a_part_are_copied_in_slices(watching: Store) -> None:
    array = np.zeros(64 * MIB, np.uint8)
    [home] = watching.capture([claim(array)])
    array[MIB : 9 * MIB] = 1
    with pytest.raises(BehindError):
        watching.refuse_if_behind([claim(array)])
    watching.catch_up(hurry=True)
    array[5] = 2
    watching.refuse_if_behind([claim(array)])
    [piece] = watching.capture([claim(array)])
    assert piece.home is home.home, "the rest is where it was"
    assert np.array_equal(filled(piece), array)


def test_large_changes_are_laid_under_the_reader_too(
    watching: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Both begin where large blocks of malloc do; what malloc gives out depends on what was freed before.
    areas = [mmap.mmap(-1, 17 * MIB, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) for _ in range(2)]
    array, reader = (np.frombuffer(area, np.uint8, 16 * MIB, PHASE) for area in areas)
    watching.capture([claim(array)])
    array[MIB : 2 * MIB] = 1
    array[5 * MIB + 7 : 6 * MIB] = 2
    [piece] = watching.capture([claim(array)])
    laid: list[int] = []
    lay = memory.lay

    def noted(address: int, size: int, fd: int, offset: int) -> bool:
        laid.append(size)
        return lay(address, size, fd, offset)

    monkeypatch.setattr(memory, "lay", noted)
    piece.fill(locate(reader)[0])
    assert np.array_equal(reader, array)
    assert len(laid) == 3  # the home, and both changes


def test_scattered_pages_are_copied_by_few_system_calls(
    watching: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    array = np.zeros(16 * MIB, np.uint8)
    watching.capture([claim(array)])
    array[:: 8 * PAGE] = 1  # 512 pages, none beside another
    copies: list[int] = []
    copy = memory.copy

    def noted(to: int, source: int, size: int) -> None:
        copies.append(size)
        copy(to, source, size)

    monkeypatch.setattr(memory, "copy", noted)
    [piece] = watching.capture([claim(array)])
    assert len(piece.runs) >= 512
    reader = filled(piece)
    assert len(copies) < 10
    assert np.array_equal(reader, array)


def test_scattered_pages_of_several_snapshots_are_copied_by_few_system_calls(
    watching: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the order of the buffer, each page comes from another segment than the one before."""
    array = np.zeros(16 * MIB, np.uint8)
    watching.capture([claim(array)])
    array[:: 16 * PAGE] = 1
    watching.capture([claim(array)])
    array[8 * PAGE :: 16 * PAGE] = 2
    array[: 32 * PAGE : 16 * PAGE] = 3  # hides some of the first ones
    [piece] = watching.capture([claim(array)])
    assert len(piece.runs) >= 512
    calls: list[int] = []
    scatter = memory.scatter

    def noted(fd: int, offset: int, pieces: Sequence[tuple[int, int]]) -> int:
        calls.append(len(pieces))
        return scatter(fd, offset, pieces)

    monkeypatch.setattr(memory, "scatter", noted)
    reader = filled(piece)
    assert sum(calls) >= 512
    assert len(calls) < 10
    assert np.array_equal(reader, array)


@pytest.mark.parametrize("most", [1, 3, 1024])
def test_pages_that_a_system_call_did_not_copy_are_copied_one_by_one(
    watching: Store, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    array = np.zeros(4 * MIB, np.uint8)
    watching.capture([claim(array)])
    array[:: 8 * PAGE] = 7
    [piece] = watching.capture([claim(array)])
    monkeypatch.setattr(memory, "_MOST_AT_ONCE", most)
    for done in (0, 1, 2, 10_000):
        calls = itertools.count()
        read = memory._HELD.preadv
        with monkeypatch.context() as patched:
            patched.setattr(memory._HELD, "preadv", lambda *args: read(*args) if next(calls) < done else -1)  # noqa: B023
            assert np.array_equal(filled(piece), array)


def test_what_is_moved_is_unmapped_beside_the_program_whoever_holds_it(watching: Store) -> None:
    """The last snapshot holds it, and would let it go in the midst of the next one."""
    array = np.zeros(8 * MIB, np.uint8)
    [first] = watching.capture([claim(array)])
    array[: 5 * MIB] = 1
    [held] = watching.capture([claim(array)])
    array[6 * MIB :] = 2
    [last] = watching.capture([claim(array)])
    assert {segment._address for segment in (first.home, held.home, last.home)} >= {first.home.address}
    watching.catch_up(hurry=True)
    [area] = watching._areas.values()
    gone = {first.home, held.home, last.home} - {area.home}
    assert gone
    assert not any(segment._address for segment in gone)
    expected = array.copy()
    assert np.array_equal(filled(last), expected), "whoever reads it maps it anew"


def test_array_that_dies_between_slices_is_left_out(kept: Store) -> None:
    array = np.full(16 * MIB, 7, np.uint8)
    kept.behind([claim(array)])
    del array
    kept.catch_up(hurry=True)
    assert not kept._areas


def test_copy_that_was_given_up_is_freed_beside_the_program(kept: Store) -> None:
    """By whoever holds the last reference it would be with the GIL kept, all at once."""
    array = np.full(32 * MIB, 7, np.uint8)
    kept.behind([claim(array)])
    kept.catch_up(hurry=True, stop=after(5))
    [area] = kept._areas.values()
    unfinished = area.home
    assert os.fstat(unfinished.fd).st_blocks
    del array
    kept.catch_up(hurry=True)
    assert not unfinished._address
    assert not os.fstat(unfinished.fd).st_blocks


def test_copy_that_is_out_of_date_before_a_snapshot_knows_it_is_freed_beside_the_program(
    watching: Store,
) -> None:
    array = np.full(32 * MIB, 7, np.uint8)
    watching.behind([claim(array)])
    watching.catch_up(hurry=True)
    [area] = watching._areas.values()
    outdated = area.home
    array[:] = 8
    watching.behind([claim(array)])
    watching.catch_up(hurry=True)
    assert not outdated._address
    assert not os.fstat(outdated.fd).st_blocks
    [piece] = watching.capture([claim(array)])
    assert np.array_equal(filled(piece), array)


def test_array_that_is_kept_no_more_is_unmapped_beside_the_program(kept: Store) -> None:
    array = np.full(32 * MIB, 7, np.uint8)
    [piece] = kept.capture([claim(array)])
    kept.capture([])
    assert piece.home._address, "not in the stretch of an export"
    assert kept.is_untidy
    kept.catch_up(hurry=True)
    assert not piece.home._address
    assert np.array_equal(filled(piece), array)


def test_slices_go_on_where_they_were_stopped(kept: Store) -> None:
    array = np.full(16 * MIB, 7, np.uint8)
    kept.behind([claim(array)])
    kept.catch_up(hurry=True, stop=after(3))
    [area] = kept._areas.values()
    assert area.written == 3 * store.SLICE
    kept.catch_up(hurry=True)
    assert area.written == area.length


def test_segments_stay_few_over_many_snapshots(kept: Store) -> None:
    array = np.zeros(8 * MIB, np.uint8)
    for at in range(60):
        array[at * 20 * PAGE] = 1
        [piece] = kept.capture([claim(array)])
        kept.catch_up(hurry=True)
        assert len(piece.segments()) <= tidying._MOST_SEGMENTS + 2
    assert np.array_equal(filled(piece), array)


def test_no_segment_outlives_who_needs_it(kept: Store) -> None:
    gc.collect()
    before = _segments_open()
    for value in range(5):
        array = np.full(4 * MIB, value, np.uint8)
        kept.capture([claim(array)])
        kept.catch_up(hurry=True)
    assert _segments_open() - before <= 2, "of what is captured, and of what lies ready"
    kept.capture([])
    kept._ready = None
    assert _segments_open() == before


def _segments_open() -> int:
    count = 0
    for number in os.listdir("/proc/self/fd"):
        try:
            count += "livecore-segment" in os.readlink(f"/proc/self/fd/{number}")
        except OSError:
            continue  # that of the listing itself
    return count


def test_decisive_export_neither_takes_memory_nor_gives_any_back(
    watching: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    array = np.zeros(64 * MIB, np.uint8)
    watching.capture([claim(array)])
    watching.catch_up(hurry=True)
    ready = watching._ready
    assert ready is not None
    size = ready.size
    array[:: 64 * PAGE] = 1

    def refused(self: Segment, *_: object, **__: object) -> None:
        pytest.fail("not in the pause")

    with monkeypatch.context() as patched:
        patched.setattr(Segment, "populate", refused)
        patched.setattr(Segment, "trim", refused)
        [piece] = watching.capture([claim(array)])
    assert os.fstat(ready.fd).st_size == size
    assert _blocks(ready) == size // PAGE, "all of it lay ready"
    reader = filled(piece)
    watching.trim()
    assert _blocks(ready) == 256, "a page for each that has changed"
    assert np.array_equal(reader, array)
    assert np.array_equal(filled(piece), array), "what is needed is still there"
    with pytest.raises(PermissionError):
        os.ftruncate(ready.fd, PAGE)


def _blocks(segment: Segment) -> int:
    return os.fstat(segment.fd).st_blocks * 512 // PAGE


def test_memory_that_was_not_needed_is_given_back_once_a_snapshot_has_been_sent() -> None:
    engine = Engine(is_user_module=lambda name: False)
    engine.activate()
    try:
        array = engine.declare_value("kept", lambda: np.zeros(64 * MIB, np.uint8), {}, sys._getframe())
        engine.export().close()
        engine.catch_up(hurry=True)
        ready = engine._store._ready
        assert ready is not None
        array[5] = 1
        export = engine.export()
        before = _blocks(ready)
        export.close()
        assert before == 4 * MIB // PAGE + 1
        assert _blocks(ready) == 1
    finally:
        engine.deactivate()


def test_no_collection_falls_into_the_reading_and_writing_of_many_runs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A few thousand runs begin one, and it goes through all that the program has, while everybody waits."""
    seen: list[tuple[str, bool]] = []

    def noting(module: Any, name: str) -> None:
        original = getattr(module, name)

        def noted(*args: Any) -> Any:
            seen.append((name, gc.isenabled()))
            return original(*args)

        monkeypatch.setattr(module, name, noted)

    noting(engine_module, "unpack")
    noting(exporting, "pack")
    old, new = (Engine(is_user_module=lambda name: False) for _ in range(2))
    try:
        old.activate()
        kept = old.declare_value("kept", lambda: np.zeros(LARGE, np.uint8), {}, sys._getframe())
        new.activate()
        made = new.declare_value("kept", lambda: np.zeros(LARGE, np.uint8), {}, sys._getframe())
        kept[5] = 1
        assert gc.isenabled()
        export = old.export()
        new.adopt(export.data, export.handed.fds)
        export.close()
        assert seen == [("pack", False), ("unpack", False)]
        assert gc.isenabled()
        assert np.array_equal(made, kept)
    finally:
        new.deactivate()


def test_lack_of_memory_is_said_with_both_amounts(kept: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available", lambda: 3 * MIB)
    array = np.zeros(8 * MIB, np.uint8)
    with pytest.raises(CannotCarryError, match=r"need 8 MiB of shared memory, .* \(3 MiB are free\); free"):
        kept.capture([claim(array)])
    monkeypatch.undo()
    [piece] = kept.capture([claim(array)])
    assert np.array_equal(filled(piece), array)


def test_changes_are_not_forgotten_when_there_is_no_memory_for_them(
    kept: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    array = np.zeros(8 * MIB, np.uint8)
    kept.capture([claim(array)])
    array[MIB] = 5
    monkeypatch.setattr(memory, "available", lambda: 0)
    with pytest.raises(CannotCarryError):
        kept.capture([claim(array)])
    monkeypatch.undo()
    [piece] = kept.capture([claim(array)])
    assert np.array_equal(filled(piece), array)


# -- pages --------------------------------------------------------------------------------------------


def test_array_over_laid_pages_grows_and_is_freed_as_any_other() -> None:
    kept = Store()
    array = np.full(4 * MIB, 3, np.uint8)
    [piece] = kept.capture([claim(array)])
    laid = filled(piece)
    assert laid.flags.owndata
    laid.resize(9 * MIB, refcheck=False)
    assert (laid[: 4 * MIB] == 3).all()
    assert not laid[4 * MIB :].any()
    del laid
    for _ in range(20):
        assert not np.zeros(4 * MIB, np.uint8).any(), "malloc gives out zeroes where it says so"


def test_memory_of_a_foreign_allocator_is_copied_into(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_can_lay", False)
    array = np.arange(MIB, dtype=np.uint8)
    [piece] = Store().capture([claim(array)])
    assert np.array_equal(filled(piece), array)


def test_homes_begin_where_large_blocks_of_malloc_do() -> None:
    assert [phased(offset) % PAGE for offset in (0, 1, 16, 17, PAGE, PAGE + 17)] == [16] * 6
    assert phased(0) == 16
    assert phased(17) == PAGE + 16


def test_segment_that_a_snapshot_knows_cannot_be_written_by_others() -> None:
    segment = Segment.new(PAGE)
    segment.populate(0, PAGE, held=True)
    segment.seal()
    with pytest.raises(PermissionError):
        os.pwrite(segment.fd, b"x", 0)
    with pytest.raises(PermissionError):
        mmap.mmap(segment.fd, PAGE)
    ctypes.memset(segment.address, 1, 1)  # its writer goes on, in places that nobody knows
