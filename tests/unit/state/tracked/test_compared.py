"""Plain dicts and lists that are large enough to be compared: random programs, and what is special."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from livereload_core.state.store import BehindError
from livereload_core.state.tracked import building, compared, comparisons, pace, parts
from livereload_core.state.tracked.building import Keys
from livereload_core.state.tracked.containers import TrackedDict
from livereload_core.state.tracked.differences import apply, difference, entries_of
from livereload_core.testing.waiting import scaled
from tests.unit.state.conftest import Program
from tests.unit.state.tracked.generations import Generations

keys = st.one_of(st.integers(0, 12), st.sampled_from(["a", "b", ("t", 1), None, True, 1.0]))
values = st.one_of(
    st.integers(), st.text(max_size=3), st.tuples(st.integers(), st.text(max_size=2)), st.just("x" * 100)
)
numbers = st.integers(0, 12)


class Row:
    """A value that can change."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Row) and self.number == other.number

    __hash__ = None  # type: ignore[assignment]


def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparisons, "WIDE", 3)
    for name, value in (("_MANY", 2), ("_FLOOD", 5), ("_FEW", 2), ("_SLACK", 300), ("_PATIENCE", 0.0)):
        monkeypatch.setattr(compared, name, value)
    for name in ("_LEAST", "_FIRST", "_MOST"):
        monkeypatch.setattr(pace, name, 2)
    # Each walks through all that the whole test run has imported; once for each program does.
    monkeypatch.setattr(gc, "collect", lambda: 0)


class Slotted(Row):
    """One without a dict."""

    __slots__ = ("more",)

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.more = [number]


KINDS: dict[str, Callable[[int], Any]] = {
    "list": lambda number: [number, str(number)],
    "dict": lambda number: {"number": number, "text": str(number)},
    "set": lambda number: {number, str(number)},
    "nested": lambda number: {"number": number, "list": [number, (number, [number])]},
    "object": Row,
    "slots": Slotted,
    "objects": lambda number: [Row(number), Slotted(number)],
}


def touch(value: Any, number: int) -> None:
    """Change something in what can change."""
    if isinstance(value, list):
        if len(value) > 4:
            del value[1:]
        elif value and isinstance(value[-1], tuple | Row):
            touch(value[-1], number)
        else:
            value.append(number)
    elif isinstance(value, dict):
        touch(value.get("list"), number)
        value["number"] = bool(number % 2) if number == value.get("number") else number
    elif isinstance(value, set):
        value ^= {number}
    elif isinstance(value, Slotted) and number % 2:
        value.more.append(number)
    elif isinstance(value, Row):
        value.number += 1
    elif isinstance(value, tuple):
        touch(value[-1], number)


def values_of(target: Any) -> list[Any]:
    return [*target.values()] if isinstance(target, dict) else [*target]


def joined(target: Any) -> list[int]:
    """Return for each value that can change where it is the first time."""
    values = [id(value) for value in values_of(target) if not isinstance(value, str | int | tuple)]
    return [values.index(one) for one in values]


class Programs(RuleBasedStateMachine):
    """Each operation is done to a dict that is kept, and to one that is not."""

    factory: Callable[[], Any] = dict

    def __init__(self) -> None:
        super().__init__()
        self.generations = Generations(self.factory)
        self.model: Any = self.factory()

    @property
    def both(self) -> tuple[Any, Any]:
        return self.generations.kept, self.model

    def teardown(self) -> None:
        self.generations.close()

    def put(self, target: Any, place: Any, value: Any) -> None:
        raise NotImplementedError

    def take(self, target: Any, place: Any) -> None:
        raise NotImplementedError

    @rule(place=keys, value=values)
    def write(self, place: Any, value: Any) -> None:
        for target in self.both:
            self.put(target, place, value)

    @rule(place=keys, number=numbers)
    def write_what_can_change(self, place: Any, number: int) -> None:
        for target in self.both:
            self.put(target, place, Row(number))

    @rule(place=keys, number=numbers, kind=st.sampled_from(sorted(KINDS)))
    def write_a_row(self, place: Any, number: int, kind: str) -> None:
        for target in self.both:
            self.put(target, place, KINDS[kind](number))

    @rule(number=numbers)
    def change(self, number: int) -> None:
        for target in self.both:
            for one in {id(value): value for value in values_of(target)}.values():
                touch(one, number)

    @rule(number=numbers, other=keys)
    def put_into_two_places(self, number: int, other: Any) -> None:
        for target in self.both:
            values = values_of(target)
            if number < len(values):
                self.put(target, other, values[number])

    @rule(place=keys)
    def delete(self, place: Any) -> None:
        for target in self.both:
            self.take(target, place)

    @rule()
    def fill(self) -> None:
        for target in self.both:
            for number in range(20, 32):
                self.put(target, number, number)

    @rule()
    def clear(self) -> None:
        for target in self.both:
            target.clear()

    @rule()
    def catch_up(self) -> None:
        self.generations.catch_up()

    @rule(slices=st.integers(1, 8))
    def catch_up_in_part(self, slices: int) -> None:
        left = iter(range(slices))
        self.generations.engine.catch_up(hurry=True, stop=lambda: next(left, None) is None)

    @rule(patient=st.booleans())
    def export_in_vain(self, patient: bool) -> None:
        (self.generations.export() if patient else self.generations.engine.export()).close()

    @rule(
        place=keys,
        value=values,
        undone=st.booleans(),
        late=st.booleans(),
        tried=st.booleans(),
        patient=st.booleans(),
    )
    def reload(self, place: Any, value: Any, undone: bool, late: bool, tried: bool, patient: bool) -> None:
        old = self.generations.kept
        before = old.copy()
        if undone:  # what the trial has seen is taken back before the decisive export
            self.put(old, place, value)
            self.take(old, 3)

        def between() -> None:
            if undone:
                old.clear()
                (old.update if isinstance(old, dict) else old.extend)(before)
                return
            for target in (old, self.model):
                self.put(target, place, value)

        self.generations.reload(between, late=late, tried=tried, patient=patient)

    @invariant()
    def they_are_equal(self) -> None:
        kept, model = self.both
        assert kept == model
        assert [type(value) for value in values_of(kept)] == [type(value) for value in values_of(model)]
        assert joined(kept) == joined(model)
        if isinstance(kept, dict):
            assert [(type(key), key) for key in kept] == [(type(key), key) for key in model]


class Dicts(Programs):
    def put(self, target: Any, place: Any, value: Any) -> None:
        target[place] = value

    def take(self, target: Any, place: Any) -> None:
        target.pop(place, None)

    @rule(place=keys)
    def move_to_the_end(self, place: Any) -> None:
        for target in self.both:
            if place in target:
                value = target.pop(place)
                target[place] = value

    @rule()
    @precondition(lambda self: self.model)
    def order_anew(self) -> None:
        for target in self.both:
            items = sorted(target.items(), key=lambda item: repr(item[0]))
            target.clear()
            target.update(items)


class Lists(Programs):
    factory = list

    def put(self, target: Any, place: Any, value: Any) -> None:
        if isinstance(place, int) and place < len(target):
            target[place] = value
        else:
            target.append(value)

    def take(self, target: Any, place: Any) -> None:
        if isinstance(place, int) and place < len(target):
            del target[place]

    @rule(count=numbers)
    def take_from_the_front(self, count: int) -> None:
        for target in self.both:
            del target[:count]

    @rule(count=numbers)
    def take_from_the_end(self, count: int) -> None:
        for target in self.both:
            del target[len(target) - count :]

    @rule()
    def turn_around(self) -> None:
        for target in self.both:
            target.reverse()


@pytest.mark.parametrize("machine", [Dicts, Lists])
def test_random_programs_find_their_container_as_it_was(
    machine: type[Programs], monkeypatch: pytest.MonkeyPatch
) -> None:
    from hypothesis.stateful import run_state_machine_as_test

    small(monkeypatch)
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=scaled(40, least=8), stateful_step_count=40, deadline=None, database=None
        ),
    )


items = st.lists(st.integers(0, 9).map(lambda number: f"text {number}"), max_size=30)


@settings(max_examples=scaled(300, least=50), deadline=None)
@given(items, items, st.integers(0, 30), st.integers(0, 30))
def test_difference_makes_one_list_the_other(
    before: list[str], more: list[str], start: int, end: int
) -> None:
    seen = entries_of(before)
    now = [*before[start:end], *more]
    apply(difference(seen, now), seen)
    assert list(seen.values()) == now
    numbers = list(seen)
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers))) if numbers else not now


def test_what_is_taken_from_the_front_of_a_list_leaves_the_others_alone() -> None:
    log = [f"line {number}" for number in range(1000)]
    seen = entries_of(log)
    del log[:10]
    log.append("more")
    gone, here, last = difference(seen, log)
    assert gone == list(range(10))
    assert not here
    assert last == {1000: "more"}


# -- what crosses ---------------------------------------------------------------------------------------


@pytest.fixture
def generations() -> Iterator[Generations]:
    made = Generations(dict)
    yield made
    made.close()


def full(generations: Generations, value: Callable[[int], Any] = str) -> Any:
    generations.kept.update({f"key {number}": value(number) for number in range(comparisons.WIDE)})
    generations.export().close()
    return generations.kept


def size(generations: Generations) -> int:
    export = generations.engine.export()
    export.close()
    return len(export.data)


def test_only_what_differs_crosses(generations: Generations) -> None:
    kept = full(generations)
    assert size(generations) < 2000
    for number in range(100):
        kept[f"key {number}"] = "touched"
    assert size(generations) < 5000
    made = generations.reload()
    assert type(made) is dict
    assert made == kept
    assert size(generations) < 5000


@pytest.mark.parametrize("late", [False, True])
def test_parts_are_handed_on_without_being_read_in_the_pause(
    generations: Generations, monkeypatch: pytest.MonkeyPatch, late: bool
) -> None:
    full(generations)
    read: list[int] = []

    def noted(view: memoryview) -> Iterator[memoryview]:
        read.append(len(view))
        return parts.parts_of(view)

    monkeypatch.setattr("livereload_core.state.tracked.compared.parts_of", noted)
    in_pause: list[int] = []
    generations.reload(lambda: in_pause.append(len(read)), late=late)
    assert in_pause == [len(read)]
    assert read


def test_dict_that_the_new_code_fills_by_itself_is_replaced(generations: Generations) -> None:
    kept = full(generations)
    generations.factory = lambda: {"default": 1}
    assert generations.reload() == kept


def test_migration_may_change_what_it_is_given(generations: Generations) -> None:
    full(generations)

    def migrate(old: dict[str, Any], version: int) -> dict[str, Any]:
        old["version"] = version
        del old["key 5"]
        return old

    generations.options = {"version": 2, "migrate": migrate}
    made = generations.reload()
    assert made["version"] == 1
    assert "key 5" not in made
    assert generations.reload() == made


def test_it_may_become_a_tracked_one_and_a_plain_one_again(generations: Generations) -> None:
    kept = dict(full(generations))
    generations.factory = TrackedDict
    assert type(generations.reload()) is TrackedDict
    generations.catch_up()
    generations.factory = dict
    made = generations.reload()
    assert type(made) is dict
    assert made == kept


def test_text_that_is_in_many_places_is_written_once(generations: Generations) -> None:
    text = "x" * 10_000
    full(generations, lambda number: (number, text))
    assert 10 * comparisons.WIDE < size(generations) < 60 * comparisons.WIDE


class Key:
    """A key that counts how often it is asked."""

    asked = 0

    def __hash__(self) -> int:
        Key.asked += 1
        return 5


def test_key_of_a_class_of_the_users_is_not_asked_while_the_program_stands(generations: Generations) -> None:
    kept = full(generations)
    key = Key()
    kept[key] = 1
    asked = Key.asked
    export = generations.engine.export()
    export.close()
    assert Key.asked == asked
    assert len(export.data) > 10 * comparisons.WIDE  # all of it crosses in one stream
    assert list(generations.reload())[:-1] == list(kept)[:-1]
    assert type(list(generations.kept)[-1]) is Key


def test_texts_that_were_met_are_not_in_one_large_set() -> None:
    """It would grow at once, in a slice of its own."""
    texts = [f"{number:0450d}" for number in range(40_000)]
    build = building.Building({})
    assert build.is_worth_it(texts)
    assert sum(map(len, build._texts)) == len(texts)
    assert max(map(len, build._texts)) < len(texts) // 50


def test_few_long_texts_are_written_ahead_too(generations: Generations) -> None:
    generations.kept.update({number: str(number) * 100_000 for number in range(100)})
    generations.export().close()  # by its length it is known from now on
    generations.export().close()
    assert size(generations) < 5000
    generations.kept[5] = "new"
    assert generations.reload()[5] == "new"
    assert size(generations) < 5000
    generations.kept.clear()
    generations.export().close()
    assert generations.reload() == {}


def test_object_that_is_shared_with_another_root_stays_shared(
    program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    small(monkeypatch)
    source = "from livereload_core import preserve\n"
    source += "".join(f"{name} = preserve('{name}', dict)\n" for name in ("kept", "other"))
    app = program.start(app=source)
    app.kept.update({number: str(number) for number in range(50)})
    app.kept["it"] = app.other["it"] = ["shared"]
    app.other["all"] = app.kept
    for _ in range(2):
        with pytest.raises(BehindError):
            program.engine.export(patient=True)
        program.engine.catch_up(hurry=True)
        export = program.engine.export()
        assert export.handed.fds  # its parts
        export.close()
        after = program.reload(app=source)
        assert after.kept == app.kept
        assert after.kept["it"] is after.other["it"]
        assert after.other["all"] is after.kept
        app = after
        app.kept.update({number: -number for number in range(50)})


def test_other_thread_that_writes_disturbs_nothing(generations: Generations) -> None:
    kept = full(generations)
    ends = threading.Event()

    def write() -> None:
        number = 0
        while not ends.is_set():
            kept[f"more {number}"] = number
            kept.pop(f"more {number - 50}", None)
            number += 1

    thread = threading.Thread(target=write)
    thread.start()
    try:
        for _ in range(3):
            copy = generations.copy()
            assert {f"key {number}" for number in range(comparisons.WIDE)} <= copy.keys()
    finally:
        ends.set()
        thread.join()


def test_dict_with_a_key_that_is_not_the_same_elsewhere_is_compared_again_when_the_key_is_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(compared, "_PATIENCE", 0.0)
    generations = Generations(dict)
    kept, nan = generations.kept, float("nan")
    kept.update({number: number for number in range(comparisons.WIDE)})
    generations.export().close()
    kept[nan] = 1
    generations.engine.export().close()
    assert generations.engine.is_untidy is False
    del kept[nan]
    generations.export().close()
    export = generations.engine.export()
    export.close()
    assert len(export.data) < 2000
    assert generations.reload() == kept
    generations.close()


def test_dict_that_is_written_to_is_copied_in_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(building, "_COPIED", 10)
    value: dict[Any, Any] = {number: number for number in range(100)}
    build = building.Building(value)
    build.copy()
    value["more"] = 1  # its size has changed: anew
    while not build.is_copied:
        build.copy()
    assert list(build.seen.items()) == list(value.items())
    build = building.Building(value)
    slices = 0
    while not build.is_copied:
        build.copy()
        value[f"more {slices}"] = slices
        slices += 1
    assert slices < 20, "it is copied at once after some tries"
    value.popitem()
    assert list(build.seen.items()) == list(value.items())


def test_key_that_is_moved_while_its_dict_is_copied_is_there_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(building, "_COPIED", 10)
    value: dict[Any, Any] = {number: number for number in range(95)}
    build = building.Building(value)
    build.copy()
    value[0] = value.pop(0)
    while not build.is_copied:
        build.copy()
    assert list(build.seen) == list(value)
    assert len(build.keys) == len(value)


def test_what_a_build_needed_is_forgotten_in_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    """A million keys that go with the last reference to them stop the program for a tenth of a second."""
    slices: list[int] = []
    forget = Keys.let_go

    def noted(keys: Keys, amount: int) -> bool:
        slices.append(len(keys))
        return forget(keys, amount)

    monkeypatch.setattr(Keys, "let_go", noted)
    generations = Generations(dict)
    generations.kept.update((f"key {number}", f"{number}" * 40) for number in range(30_000))
    expected = dict(generations.kept)
    generations.export().close()
    assert slices[0] == 30_000
    assert len(slices) == -(-30_000 // building._COPIED)
    assert generations.reload() == expected
    generations.close()
