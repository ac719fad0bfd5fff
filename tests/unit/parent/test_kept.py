"""The last states of the last generations: as many as wanted, in fair memory, without their fds."""

from __future__ import annotations

import os

import pytest

from livereload_core.parent import kept as kept_module
from livereload_core.parent.kept import KeptStates
from livereload_core.parent.snapshots import HeldSnapshot
from livereload_core.posix import memfd


def _held(size: int = 10, *others: int) -> HeldSnapshot:
    return HeldSnapshot([memfd.create(b"x" * size), *others])


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
    assert [(one.generation, one.memory.size) for one in states] == [(2, 20), (1, 30)]


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
    held = _held(10, writing)
    states.keep(held, 1, "edit")
    del held
    assert os.read(reading, 1) == b"", "the peer hears the end"
    os.close(reading)
    for generation in range(2, 30):
        states.keep(_held(), generation, "edit")
    assert _memfds() == before + 2
    states.clear()
    assert _memfds() == before
