"""The last states of the last generations: as many as wanted, in fair memory, without their fds."""

from __future__ import annotations

import json
import os
import zlib

import pytest

from livereload_core.parent import kept as kept_module
from livereload_core.parent.kept import KeptStates
from livereload_core.parent.snapshots import HeldSnapshot
from livereload_core.posix import memfd
from livereload_core.state.snapshot import Entry, Kind, pack
from livereload_core.wire import snapshots


def _held(size: int = 10, *others: int) -> HeldSnapshot:
    return HeldSnapshot([memfd.create(b"x" * size), *others])


def _whole(segments: list[bytes], *fds: int) -> HeldSnapshot:
    """A real snapshot with descriptors of objects and with segments."""
    head = snapshots.read(pack([Entry("app:x", "value", Kind.SHELL, 1, fds=fds, stream=b"1")], 1))
    index = json.dumps({**head.index, "segments": len(segments)}).encode()
    header = snapshots.HEADER.pack(snapshots.MAGIC, snapshots.FORMAT, *head.python, 1, len(index), 1)
    checksum = zlib.crc32(b"1", zlib.crc32(index, zlib.crc32(header)))
    data = header + snapshots.CHECKSUM.pack(checksum) + index + b"1"
    return HeldSnapshot([memfd.create(data), *fds, *map(memfd.create, segments)])


def _generations(states: KeptStates) -> list[int]:
    return [one.generation for one in states]


def _memfds() -> int:
    links = []
    for name in os.listdir("/proc/self/fd"):
        try:
            links.append(os.readlink(f"/proc/self/fd/{name}"))
        except FileNotFoundError:  # that of the listing itself
            continue
    return sum("/memfd:" in link for link in links)


def test_the_newest_are_kept() -> None:
    states = KeptStates(3)
    for generation in range(1, 6):
        states.keep(_held(), generation, "edit")
    assert _generations(states) == [3, 4, 5]
    assert states.newest is not None
    assert states.newest.generation == 5
    assert states.find(4) is not None
    assert states.find(2) is None


def test_one_generation_has_one_state_its_last() -> None:
    states = KeptStates(3)
    states.keep(_held(10), 1, "died")
    states.keep(_held(20), 2, "edit")
    states.keep(_held(30), 1, "edit")
    assert [(one.generation, one.stored.size) for one in states] == [(2, 20), (1, 30)]


def test_none_are_kept_where_none_are_wanted() -> None:
    states = KeptStates(0)
    states.keep(_held(), 1, "edit")
    assert (len(states), states.newest, states.too_large) == (0, None, 0)


def test_fewer_are_kept_from_now_on() -> None:
    states = KeptStates(5)
    for generation in range(5):
        states.keep(_held(), generation, "edit")
    states.configure(2)
    assert _generations(states) == [3, 4]


def test_all_together_take_no_more_than_their_share(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_module, "MOST_BYTES", 100)
    states = KeptStates(5)
    for generation in (1, 2, 3):
        states.keep(_held(40), generation, "edit")
    assert _generations(states) == [2, 3]
    assert states.too_large == 0
    states.keep(_held(101), 4, "edit")
    assert _generations(states) == []
    assert states.too_large == 101
    states.keep(_held(40), 5, "edit")
    assert (_generations(states), states.too_large) == ([5], 0)


def test_what_travelled_beside_it_is_not_kept_and_memory_is_given_back() -> None:
    before = _memfds()
    reading, writing = os.pipe()
    states = KeptStates(2)
    held = _whole([], writing)
    states.keep(held, 1, "edit")
    del held
    assert os.read(reading, 1) == b"", "the peer hears the end"
    os.close(reading)
    for generation in range(2, 30):
        states.keep(_held(), generation, "edit")
    assert _memfds() == before + 2
    states.clear()
    assert _memfds() == before


def test_segments_are_kept_and_descriptors_are_not() -> None:
    before = _memfds()
    reading, writing = os.pipe()
    states = KeptStates(2)
    held = _whole([b"a" * 5000, b"b" * 10], writing)
    states.keep(held, 1, "edit")
    del held
    assert os.read(reading, 1) == b"", "the peer hears the end"
    os.close(reading)
    (kept,) = states
    with kept.stored.opened() as contents:
        assert [bytes(segment) for segment in contents.segments] == [b"a" * 5000, b"b" * 10]
        again = snapshots.read(b"".join(contents.pieces))
        assert again.index["segments"] == 2
        assert again.roots[0]["lost"] == snapshots.LOST_WITH_ITS_PROCESS
    back = HeldSnapshot.alone(kept.stored)
    assert back.resumed
    assert back.gone == ()
    assert [memfd.read(fd) for fd in back.fds[1:]] == [b"a" * 5000, b"b" * 10]
    assert len(back.stored().segments) == 2, "it can be kept again"
    del back, kept
    states.clear()
    assert _memfds() == before


def test_memory_that_several_states_share_counts_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_module, "MOST_BYTES", 9_000)
    states = KeptStates(5)
    segment = memfd.create(b"x" * 8_000)
    for generation in (1, 2, 3):
        held = _whole([])
        data = memfd.read(held.memory.fd)
        states.keep(HeldSnapshot([memfd.create(data), os.dup(segment)]), generation, "edit")
    assert _generations(states) == [1, 2, 3]
    os.close(segment)
