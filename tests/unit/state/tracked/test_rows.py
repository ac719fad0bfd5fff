"""Values that can change in large plain dicts and lists: noticed when they have, and no others' when not."""

from __future__ import annotations

import dataclasses
import pickle
import threading
import weakref
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from livereload_core.errors import CannotCarryError
from livereload_core.state.tracked import compared, comparisons, parts
from livereload_core.state.tracked.containers import TrackedDict
from livereload_core.state.tracked.rows import OWN, Rows
from tests.unit.state.conftest import Program
from tests.unit.state.tracked.generations import Generations
from tests.unit.state.tracked.test_compared import KINDS, Row, Slotted, touch

FEW = 3000
"""Bytes of an export in which next to nothing crosses."""


@dataclasses.dataclass
class Point:
    x: float
    name: str
    tags: dict[str, list[int]]


KINDS = {**KINDS, "dataclass": lambda number: Point(number, str(number), {"a": [number]})}


def touched(value: Any, number: int) -> None:
    if isinstance(value, Point):
        value.tags["a"].append(number)
    else:
        touch(value, number)


@pytest.fixture(autouse=True)
def smaller(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparisons, "WIDE", 4000)


@pytest.fixture
def generations(request: pytest.FixtureRequest) -> Iterator[Generations]:
    made = Generations(getattr(request, "param", dict))
    yield made
    made.close()


def full(generations: Generations, value: Callable[[int], Any] = KINDS["list"]) -> Any:
    rows = [value(number) for number in range(comparisons.WIDE)]
    if isinstance(generations.kept, list):
        generations.kept.extend(rows)
    else:
        generations.kept.update(enumerate(rows))
    rows.clear()
    generations.export().close()
    return generations.kept


def size(generations: Generations) -> int:
    export = generations.engine.export()
    export.close()
    return len(export.data)


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list of the sizes of what parts are read from."""
    found: list[int] = []

    def noted(view: memoryview) -> Iterator[memoryview]:
        found.append(len(view))
        return parts.parts_of(view)

    monkeypatch.setattr(compared, "parts_of", noted)
    return found


@pytest.mark.parametrize("generations", [dict, list], indirect=True, ids=["dict", "list"])
@pytest.mark.parametrize("kind", sorted(KINDS))
def test_only_rows_that_were_touched_cross(generations: Generations, kind: str, read: list[int]) -> None:
    make = KINDS[kind]
    kept = full(generations, make)
    model = [make(number) for number in range(comparisons.WIDE)]
    before = size(generations)
    assert before < FEW
    for round_number in range(3):
        for number in range(round_number, comparisons.WIDE, 99):
            touched(kept[number], number + 5)
            touched(model[number], number + 5)
        assert before < size(generations) < before + 30_000
        before = size(generations)
        in_pause: list[int] = []
        kept = generations.reload(partial(lambda found: found.append(len(read)), in_pause))
        assert in_pause == [len(read)], "the pause reads no part"
        assert [kept[number] for number in range(comparisons.WIDE)] == model


@pytest.mark.parametrize(("old", "new"), [(1, True), (1, 1.0), (0.0, -0.0)])
def test_value_that_is_equal_and_another_one_crosses(generations: Generations, old: Any, new: Any) -> None:
    kept = full(generations, lambda _: [old])
    kept[7][0] = new
    made = generations.reload()
    assert repr(made[7]) == repr([new])
    assert repr(made[8]) == repr([old])


def test_order_of_the_keys_in_a_row_crosses(generations: Generations) -> None:
    kept = full(generations, KINDS["dict"])
    kept[7]["number"] = kept[7].pop("number")
    assert [*generations.reload()[7]] == ["text", "number"]


def test_row_of_another_class_by_now_crosses(generations: Generations) -> None:
    class_before = Row
    kept = full(generations, class_before)
    kept[7].__class__ = Other
    made = generations.reload()
    assert (type(made[7]), type(made[8])) == (Other, Row)


class Other(Row):
    pass


def test_slot_that_is_emptied_and_filled_again(generations: Generations) -> None:
    kept = full(generations, Slotted)
    del kept[7].more
    made = generations.reload()
    assert not hasattr(made[7], "more")
    assert made[8].more == [8]
    made[7].more = "again"
    made = generations.reload()
    assert made[7].more == "again"


def test_row_in_two_places_stays_one(generations: Generations) -> None:
    kept = full(generations)
    kept["again"] = kept[7]
    for _ in range(2):
        kept = generations.reload()
        assert kept["again"] is kept[7]
        kept[7].append("more")
    assert kept["again"][-1] == "more"


def test_what_is_in_two_rows_stays_one(generations: Generations) -> None:
    kept = full(generations, KINDS["nested"])
    kept[8]["list"] = kept[7]["list"]
    for _ in range(2):
        kept = generations.reload()
        assert kept[8]["list"] is kept[7]["list"]
        assert size(generations) < FEW


def test_row_that_somebody_else_holds_crosses_as_long_as_it_does(generations: Generations) -> None:
    kept = full(generations)
    alone = size(generations)
    held = kept[7]
    assert size(generations) > alone
    del held
    assert size(generations) == alone


def test_dict_whose_rows_another_one_holds_too_crosses_as_a_whole(generations: Generations) -> None:
    kept = full(generations)
    others = [*kept.values()]
    assert size(generations) > 5 * comparisons.WIDE
    assert len(others) == len(generations.reload())


def test_row_of_a_class_with_ways_of_its_own_crosses_each_time(generations: Generations) -> None:
    kept = full(generations, lambda number: Odd(number) if number == 7 else [number])
    kept[7].value += 1
    for _ in range(2):
        made = generations.reload()
        assert made[7].value == 8
        assert size(generations) < FEW


class Odd:
    def __init__(self, value: int) -> None:
        self.value = value

    def __reduce__(self) -> Any:
        return Odd, (self.value,)


def test_row_that_is_watched_is_gone_once_it_is_taken_out(generations: Generations) -> None:
    kept = full(generations, Row)
    assert size(generations) < FEW
    names = weakref.WeakValueDictionary({"seven": kept[7]})
    assert size(generations) > 5 * comparisons.WIDE, "nothing refers to any of them any more"
    del kept[7]
    assert not names
    generations.export().close()
    names["eight"] = kept[8]
    del kept[8]
    assert not names


def test_watched_row_crosses_and_is_watched_again(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparisons, "WIDE", 3)
    source = """
        import weakref
        from livereload_core import preserve
        class Row:
            def __init__(self, number): self.number = number
        kept = preserve("kept", dict)
        by_name = preserve("by_name", weakref.WeakValueDictionary)
    """
    app = program.start(app=source)
    app.kept.update({number: app.Row(number) for number in range(100)})
    program.engine.catch_up(hurry=True)
    program.engine.export().close()
    app.by_name["seven"] = app.kept[7]
    assert isinstance(app.by_name, weakref.WeakValueDictionary)
    program.engine._sharing._not_before = 0.0  # look for what roots share in the next export
    for _ in range(2):
        app = program.reload(app=source)
        assert app.by_name["seven"] is app.kept[7]
        program.engine.catch_up(hurry=True)


def test_row_that_another_root_holds_stays_one(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparisons, "WIDE", 3)
    source = "from livereload_core import preserve\n"
    source += "".join(f"{name} = preserve('{name}', dict)\n" for name in ("kept", "other"))
    app = program.start(app=source)
    app.kept.update({number: [number] for number in range(100)})
    program.engine.export().close()
    program.engine.catch_up(hurry=True)
    app.other["it"] = app.kept[7]
    program.engine._sharing._not_before = 0.0  # look for what roots share in the next export
    for _ in range(2):
        app = program.reload(app=source)
        assert app.other["it"] is app.kept[7]
        app.kept[7].append("more")
        program.engine.catch_up(hurry=True)
    assert app.kept[7] == [7, "more", "more"]


@pytest.mark.parametrize("what", ["validate", "migrate"])
def test_what_the_trial_does_to_rows_is_not_there_after_it(
    generations: Generations, read: list[int], what: str
) -> None:
    full(generations)
    seen: list[int] = []

    def add(value: Any, *_: int) -> Any:
        seen.append(len(value[7]))
        value[7].append("more")
        return value

    generations.options = {"validate": add} if what == "validate" else {"version": 2, "migrate": add}
    made = generations.reload()
    assert seen == [2, 2]
    assert made[7] == [7, "7", "more"]
    assert made[8] == [8, "8"]
    assert generations.reload()[7][:3] == [7, "7", "more"]


def test_row_that_the_trial_has_kept_is_read_again(generations: Generations) -> None:
    full(generations)
    kept: list[Any] = []

    def validate(value: Any) -> bool:
        kept.append(value[7])
        return True

    def between() -> None:
        kept[0].append("from the trial")

    generations.options = {"validate": validate}
    assert generations.reload(between)[7] == [7, "7"]


def test_plain_one_becomes_tracked_and_lets_go_of_the_rows(generations: Generations) -> None:
    full(generations)
    generations.factory = TrackedDict
    kept = generations.reload()
    generations.export().close()
    assert not generations.engine._comparisons._known
    kept[7].append("more")
    assert generations.reload()[7] == [7, "7", "more"]


@pytest.mark.parametrize("late", [False, True])
def test_row_that_cannot_be_carried_is_told_by_its_path(generations: Generations, late: bool) -> None:
    nowhere = type("Gone", (), {"__module__": "nowhere"})
    if late:
        full(generations)[7] = nowhere()
        generations.catch_up()
    else:
        generations.kept.update({number: [number] for number in range(comparisons.WIDE)})
        generations.kept[7] = nowhere()
        generations.catch_up()
    with pytest.raises(CannotCarryError, match=r"kept\[7\]"):
        generations.engine.export()
    generations.kept[7] = [7]
    assert generations.reload()[7] == [7]


def test_other_thread_that_changes_rows_is_never_between(generations: Generations) -> None:
    kept = full(generations, lambda _: [0, 0])
    ends = threading.Event()

    def write() -> None:
        number = 0
        while not ends.is_set():
            number += 1
            for row in (kept[number % 100], kept[3000]):
                row[:] = [number, number]  # one operation
                del row

    thread = threading.Thread(target=write)
    thread.start()
    try:
        for _ in range(5):
            generations.catch_up()
            assert all(one == other for one, other in generations.copy().values())
    finally:
        ends.set()
        thread.join()


def test_rows_of_many_sizes() -> None:
    entries = {number: [*range(1000, 1000 + number % 5)] for number in range(100)}
    other = [{**entries}]  # as what is known of them
    rows = Rows()
    rejected, _ = rows.note(entries, OWN)
    assert not rejected
    assert rows.look(OWN) == (set(), set())
    entries[3].append(1)
    entries[4][0] = 2
    del entries[9][1:]
    entries[10].clear()  # is empty already
    entries[14].insert(1, 5)
    assert rows.look(OWN) == ({3, 4, 9, 14}, set())
    del other


def test_rows_of_several_parts_are_looked_at_together() -> None:
    rows = Rows()
    parts: list[dict[int, Any]] = [
        {number: {"id": number, "tags": [number, [number]]} for number in range(start, start + 10)}
        for start in range(0, 100, 10)
    ]
    others = [{**part} for part in parts]  # as what is known of them
    for part in parts:
        assert not rows.note(part, OWN)[0]
    assert len(rows._blocks) == 1
    assert rows.look(OWN) == (set(), set())
    parts[3][35]["tags"][1].append(1)
    parts[9][99]["id"] = 0
    parts[0][0]["more"] = 1
    held = parts[5][55]["tags"]
    assert rows.look(OWN) == ({35, 99, 0}, {55})
    del held, others


def test_parts_whose_keys_are_objects_of_their_own_are_looked_at_together() -> None:
    rows = Rows()
    parts = [pickle.loads(pickle.dumps({number: {"id number": number}})) for number in range(20)]
    others = [{**part} for part in parts]
    for part in parts:
        assert not rows.note(part, OWN)[0]
    assert len(rows._blocks) == 1
    assert rows.look(OWN) == (set(), set())
    row = parts[7][7]
    row["another number"] = row.pop("id number")
    del row
    assert rows.look(OWN) == ({7}, set())
    del others
