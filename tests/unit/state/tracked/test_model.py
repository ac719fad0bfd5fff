"""A tracked dict beside a plain one, through random programs with reloads in them."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from livereload_core.state.tracked import build, journal, pace
from livereload_core.testing.waiting import scaled
from tests.unit.state.tracked.generations import Generations

keys = st.one_of(st.integers(0, 12), st.sampled_from(["a", "b", ("t", 1), None]))
settled = st.one_of(st.integers(), st.text(max_size=3), st.tuples(st.integers(), st.text(max_size=2)))
counts = st.integers(0, 12)


class Row:
    """A value that can change."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.tags = [number]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Row) and vars(self) == vars(other)

    __hash__ = None  # type: ignore[assignment]


MAKERS: list[Any] = [
    lambda number: [number],
    lambda number: {"n": number, "deep": [number, [number]]},
    Row,
    lambda number: (number, [number]),
    lambda number: {number},
]


def change(value: Any, number: int) -> None:
    match value:
        case list():
            value.append(number)
        case dict():
            value["deep"][1].append(number)
        case Row():
            value.tags.append(number)
            value.number += 1
        case tuple() if len(value) == 2 and isinstance(value[1], list):
            value[1].append(number)
        case set():
            value.add(number)


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    small(monkeypatch)


def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "SMALL", 2)
    monkeypatch.setattr(journal, "MANY", 2)
    monkeypatch.setattr(journal, "_FEW", 2)
    monkeypatch.setattr(journal, "_SLACK", 300)
    monkeypatch.setattr(journal, "_EXCESS", 20)
    monkeypatch.setattr(build, "_SCAN", 3)
    monkeypatch.setattr(journal, "_FLOOD", 5)
    for name in ("_LEAST", "_FIRST", "_MOST"):
        monkeypatch.setattr(pace, name, 2)
    # Each walks through all that the whole test run has imported; once for each program does.
    monkeypatch.setattr(gc, "collect", lambda: 0)


class Machine(RuleBasedStateMachine):
    """Each operation is done to both."""

    def __init__(self) -> None:
        super().__init__()
        self.generations = Generations()
        self.model: dict[Any, Any] = {}
        self.held: list[tuple[Any, Any]] = []

    @property
    def kept(self) -> Any:
        return self.generations.kept

    def teardown(self) -> None:
        self.held.clear()
        self.generations.close()

    @rule(key=keys, value=settled)
    def write(self, key: Any, value: Any) -> None:
        self.kept[key] = value
        self.model[key] = value

    @rule(key=keys, maker=st.sampled_from(MAKERS), number=counts, holds=st.booleans())
    def write_what_can_change(self, key: Any, maker: Any, number: int, holds: bool) -> None:
        self.kept[key], self.model[key] = maker(number), maker(number)
        if holds:
            self.held.append((self.kept[key], self.model[key]))

    @rule(first=keys, second=keys, number=counts)
    def share(self, first: Any, second: Any, number: int) -> None:
        for target in (self.kept, self.model):
            target[first] = target[second] = [number]

    @rule(number=counts)
    @precondition(lambda self: self.held)
    def change_what_is_held(self, number: int) -> None:
        for value in self.held[-1]:
            change(value, number)

    @rule()
    def let_go(self) -> None:
        self.held.clear()

    @rule(key=keys, number=counts, how=st.sampled_from(["item", "get", "values", "items", "setdefault"]))
    def read_and_change(self, key: Any, number: int, how: str) -> None:
        for target in (self.kept, self.model):
            if key not in target:
                continue
            match how:
                case "item":
                    change(target[key], number)
                case "get":
                    change(target.get(key), number)
                case "setdefault":
                    change(target.setdefault(key), number)
                case "values":
                    for value in target.values():
                        change(value, number)
                        break
                case _:
                    for _, value in reversed(target.items()):
                        change(value, number)
                        break

    @rule(key=keys)
    def delete(self, key: Any) -> None:
        assert self.kept.pop(key, "none") == self.model.pop(key, "none")

    @rule(key=keys)
    @precondition(lambda self: self.model)
    def move_to_the_end(self, key: Any) -> None:
        for target in (self.kept, self.model):
            if key in target:
                target[key] = target.pop(key)

    @rule()
    @precondition(lambda self: self.model)
    def delete_the_last(self) -> None:
        assert self.kept.popitem() == self.model.popitem()

    @rule(more=st.dictionaries(keys, settled, max_size=8))
    def update(self, more: dict[Any, Any]) -> None:
        self.kept.update(more)
        self.model |= more

    @rule()
    @precondition(lambda self: len(self.model) > 6)
    def clear(self) -> None:
        self.kept.clear()
        self.model.clear()

    @rule()
    def catch_up(self) -> None:
        self.generations.catch_up()

    @rule(slices=st.integers(1, 8))
    def catch_up_in_part(self, slices: int) -> None:
        left = iter(range(slices))
        self.generations.engine.catch_up(hurry=True, stop=lambda: next(left, None) is None)

    @rule()
    def export_in_vain(self) -> None:
        self.generations.engine.export().close()

    @rule(
        key=keys,
        value=settled,
        late=st.booleans(),
        tried=st.booleans(),
        pops=st.booleans(),
        patient=st.booleans(),
    )
    def reload(self, key: Any, value: Any, late: bool, tried: bool, pops: bool, patient: bool) -> None:
        old = self.kept

        def between() -> None:
            for target in (old, self.model):
                if pops and target:
                    target.popitem()
                target[key] = value

        self.held.clear()
        self.generations.reload(between, late=late, tried=tried, patient=patient)

    @invariant()
    def they_are_equal(self) -> None:
        kept = self.kept
        assert list(dict.items(kept)) == list(self.model.items())
        assert len(kept) == len(self.model)

    @invariant()
    def what_was_shared_is(self) -> None:
        kept: Any = self.kept
        for one in self.model:
            for other in self.model:
                if type(self.model[one]) is list and self.model[one] is self.model[other]:
                    assert dict.get(kept, one) is dict.get(kept, other)


TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=scaled(32, least=8), stateful_step_count=40, deadline=None)


@pytest.fixture(autouse=True)
def _no_state_left() -> Iterator[None]:
    yield
    from livereload_core.state import runtime

    runtime.current = None
