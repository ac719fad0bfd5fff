"""The table of a dict, compared as memory: it says what going through the entries says, or nothing."""

from __future__ import annotations

import random
import sys
import threading
import types
from collections.abc import Callable
from typing import Any

import pytest

from livereload_core.state.tracked import compared, comparisons, differences, tables
from livereload_core.state.tracked.differences import apply, difference
from tests.unit.state.tracked.generations import Generations

pytestmark = pytest.mark.skipif(
    sys.version_info[:2] not in tables._VERSIONS, reason="the layout of a dict is not known for this CPython"
)

MANY = 5000


class Own:
    """Instances keep their attributes in a table that they share."""

    def __init__(self) -> None:
        self.a, self.b = 1, 2


texts_and_numbers = pytest.mark.parametrize("text", [True, False], ids=["texts", "numbers"])


def entries(*, text: bool, many: int = MANY) -> dict[Any, Any]:
    return {f"key {number}" if text else number: (number,) for number in range(many)}


def assert_same(seen: dict[Any, Any], now: dict[Any, Any]) -> None:
    """What a comparison says makes of the one the other."""
    made = seen.copy()
    apply(difference(seen, now), made)
    assert [*map(id, made)] == [*map(id, now)]
    assert [*map(id, made.values())] == [*map(id, now.values())]


def test_layout_is_known_here() -> None:
    assert tables._memory() is not None


@texts_and_numbers
@pytest.mark.parametrize("touched", [0, 1, 7, 30])
def test_changed_values_are_found_without_going_through_the_entries(
    text: bool, touched: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(differences, "_the_long_way", None)
    seen = entries(text=text)
    now = seen.copy()
    chosen = random.Random(touched).sample([*now], touched)
    for key in chosen:
        now[key] = []
    gone, here, last = difference(seen, now)
    assert (gone, last) == ([], {})
    assert here.keys() == set(chosen)
    assert all(here[key] is now[key] for key in chosen)


@texts_and_numbers
def test_what_goes_and_comes_is_found_without_going_through_the_entries(
    text: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(differences, "_the_long_way", None)
    seen = entries(text=text)
    now = seen.copy()
    first, again, replaced = [*now][3], [*now][40], [*now][2000]
    del now[first]
    now[again], now["new"] = now.pop(again), None
    now[replaced] = "other"
    gone, here, last = difference(seen, now)
    assert gone == [first, again]
    assert here == {replaced: "other"}
    assert [*last] == [again, "new"]
    assert_same(seen, now)
    seen, now = now, now.copy()
    now.popitem()
    now.popitem()
    assert difference(seen, now) == (["new", again][::-1], {}, {})
    assert_same(seen, now)


@texts_and_numbers
def test_any_changes_are_found(text: bool) -> None:
    rng = random.Random(1)
    for _ in range(60):
        seen = entries(text=text, many=rng.choice([0, 1, 8, 100, 3000]))
        now = seen.copy()
        for _ in range(3):
            for _ in range(rng.choice([0, 1, 5, 200])):
                step, key = rng.randrange(5), rng.choice([*now]) if now else "some"
                if step == 0:
                    now.pop(key, None)
                elif step == 1 and now:
                    now.popitem()
                elif step == 2:
                    now[f"new {rng.random()}"] = []
                elif step == 3 and key in now:
                    now[key] = now.pop(key)
                else:
                    now[key] = []
            if rng.random() < 0.05:
                now.clear()
            if rng.random() < 0.05:
                now = {**now}
            assert_same(seen, now)
            apply(difference(seen, now), seen)
            assert_same(seen, now)


@pytest.mark.parametrize(
    "make",
    [
        lambda: vars(types.SimpleNamespace(a=1, b=2)),
        lambda: vars(Own()),
        dict,
        lambda: {1: 1, "a": 2},
        lambda: dict(enumerate(range(30_000))),
    ],
    ids=["of a namespace", "of an object", "empty", "small", "large"],
)
def test_dict_of_any_form_is_compared_with_any_other(make: Any) -> None:
    now = make()
    for seen in ({}, {"a": 1}, {**make()}, entries(text=True)):
        assert_same(seen, now)


@texts_and_numbers
def test_gaps_are_what_entries_leave_behind(text: bool) -> None:
    some = entries(text=text)
    assert not tables.has_gaps(some)
    assert not tables.has_gaps({})
    del some[[*some][7]]
    assert tables.has_gaps(some)
    assert not tables.has_gaps({**some})


def test_next_generation_compares_tables_after_entries_have_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparisons, "WIDE", 1000)
    generations = Generations(dict)
    generations.kept.update(entries(text=True) | {"text": "a"})
    generations.reload()
    for round_ in range(3):
        del generations.kept[f"key {round_ * 50}"]
        generations.kept["text"] = str(round_)
        monkeypatch.setattr(compared, "_MANY", 0)  # so it is written into parts
        expected = [*generations.kept.items()]
        assert [*generations.reload().items()] == expected
        with monkeypatch.context() as patches:
            patches.setattr(differences, "_the_long_way", None)
            generations.engine.export().close()
    generations.close()


def test_key_in_another_place_is_not_told_from_the_table() -> None:
    seen: dict[Any, Any] = dict.fromkeys("abcdef")
    now = dict.fromkeys("abdcef")
    assert tables.differing(seen, now) is None
    assert_same(seen, now)


def test_unknown_version_goes_the_long_way(monkeypatch: pytest.MonkeyPatch) -> None:
    tables._memory.cache_clear()
    monkeypatch.setattr(sys, "version_info", (3, 99, 0))
    try:
        seen = entries(text=True)
        now = seen.copy()
        now["key 5"] = []
        assert tables.differing(seen, now) is None
        assert [*difference(seen, now)[1]] == ["key 5"]
    finally:
        monkeypatch.undo()
        tables._memory.cache_clear()


def test_layout_that_does_not_prove_right_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    tables._memory.cache_clear()
    monkeypatch.setattr(tables, "_ENTRY", {0: (24, 8), 1: (16, 8)})
    try:
        assert tables._memory() is None
    finally:
        monkeypatch.undo()
        tables._memory.cache_clear()


def test_another_thread_may_change_anything_meanwhile() -> None:
    """What is found is one of the states that there were, or that the size has changed."""
    now: dict[Any, Any] = entries(text=True, many=20_000)
    seen = now.copy()
    stop = threading.Event()

    def change() -> None:
        rng = random.Random(2)
        number = 0
        while not stop.is_set():
            for _ in range(50):
                number += 1
                now[f"more {number}"] = number
                now.pop(f"more {number - rng.randrange(3000)}", None)
            if number % 1000 == 0:
                for key in [key for key in now if key.startswith("more")]:
                    del now[key]

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    thread = threading.Thread(target=change)
    thread.start()
    told = 0
    try:
        for _ in range(400):
            try:
                gone, here, last = difference(seen, now)
            except RuntimeError:
                continue
            told += 1
            assert not here
            assert set(gone) <= seen.keys()
            assert all(key.startswith("more") for key in last)
    finally:
        stop.set()
        thread.join()
        sys.setswitchinterval(before)
    assert told
    assert_same(seen, now)


def test_what_nothing_was_done_to_is_not_compared_again(monkeypatch: pytest.MonkeyPatch) -> None:
    compared_: list[int] = []

    def counted(seen: dict[Any, Any], now: dict[Any, Any]) -> Any:
        compared_.append(1)
        return difference(seen, now)

    monkeypatch.setattr(differences, "difference", counted)
    remembered = differences.Remembered()
    seen = entries(text=True)
    now = seen.copy()

    def step(act: Callable[[], object], *, again: bool) -> None:
        before = len(compared_)
        act()
        part = remembered.of(seen, now)
        assert (len(compared_) > before) == again
        part[0].append("what was returned is the caller's")
        part[1]["so"] = part[2]["is"] = "this"
        made = seen.copy()
        apply(remembered.of(seen, now), made)
        assert [*map(id, made)] == [*map(id, now)]
        assert [*map(id, made.values())] == [*map(id, now.values())]

    step(now.clear, again=True)
    step(lambda: now.update(seen), again=True)
    step(lambda: now.get("key 5"), again=False)
    step(lambda: now.__setitem__("key 5", []), again=True)
    step(lambda: None, again=False)
    step(lambda: now["key 5"].append(1), again=False)
    step(lambda: now.setdefault("key 5"), again=False)
    step(lambda: now.setdefault("new"), again=True)
    step(lambda: now.pop("key 7"), again=True)
    step(lambda: None, again=False)
    step(now.popitem, again=True)
    step(lambda: seen.pop("key 9"), again=True)
    step(lambda: apply(difference(seen, now), seen), again=True)
    assert remembered.of(seen, now) == ([], {}, {})


def test_what_is_remembered_refers_to_no_value() -> None:
    seen = entries(text=True, many=100)
    now = seen.copy()
    now["key 5"] = row = [1]
    now["more"] = another = [2]
    remembered = differences.Remembered()
    counts = sys.getrefcount(row), sys.getrefcount(another)
    for _ in range(2):
        remembered.of(seen, now)
        assert (sys.getrefcount(row), sys.getrefcount(another)) == counts


def test_values_that_come_while_what_is_remembered_is_read_are_not_missed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen = entries(text=True, many=100)
    now = seen.copy()
    now["key 5"] = []
    remembered = differences.Remembered()
    remembered.of(seen, now)
    tags = iter([tables.tag_of(seen), tables.tag_of(now), -1])
    monkeypatch.setattr(differences, "tag_of", lambda _: next(tags))
    with pytest.raises(RuntimeError, match="another thread"):
        remembered.of(seen, now)


def test_tags_that_do_not_prove_right_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables._Memory, "tag", lambda self, entries: 1)
    tables._memory.cache_clear()
    try:
        assert tables.tag_of({}) is None
        remembered = differences.Remembered()
        seen = entries(text=True)
        now = seen.copy()
        assert remembered.of(seen, now) == ([], {}, {})
        now["key 5"] = []
        assert remembered.of(seen, now)[1] == {"key 5": []}
    finally:
        monkeypatch.undo()
        tables._memory.cache_clear()
    assert tables.tag_of({}) is not None
