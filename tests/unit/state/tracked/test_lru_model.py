"""A tracked cache beside an ordered dict, through random programs with reloads in them."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from livereload_core.state.tracked.lru import Lru
from livereload_core.testing.waiting import scaled
from tests.unit.state.tracked.generations import Generations
from tests.unit.state.tracked.test_model import small

keys = st.integers(0, 14)
numbers = st.integers(0, 99)
MAXSIZE = 9


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    small(monkeypatch)


class Machine(RuleBasedStateMachine):
    """Each operation is done to both."""

    def __init__(self) -> None:
        super().__init__()
        self.generations = Generations(lambda: Lru(MAXSIZE))
        self.model: OrderedDict[int, Any] = OrderedDict()

    def teardown(self) -> None:
        self.generations.close()

    @property
    def kept(self) -> Any:
        return self.generations.kept

    def store(self, key: int, value: Any) -> None:
        self.model[key] = value
        self.model.move_to_end(key)
        if len(self.model) > MAXSIZE:
            self.model.popitem(last=False)

    @rule(key=keys, number=numbers, changes=st.booleans())
    def write(self, key: int, number: int, changes: bool) -> None:
        self.kept[key] = [number] if changes else number
        self.store(key, [number] if changes else number)

    @rule(key=keys, number=numbers)
    def read_and_change(self, key: int, number: int) -> None:
        found = self.kept.get(key, "none")
        assert found == self.model.get(key, "none")
        if key in self.model:
            self.model.move_to_end(key)
            if isinstance(found, list):
                found.append(number)
                self.model[key].append(number)

    @rule(key=keys, number=numbers)
    def peek_and_change(self, key: int, number: int) -> None:
        found = self.kept.peek(key)
        if isinstance(found, list):
            found.append(number)
            self.model[key].append(number)

    @rule(key=keys)
    def delete(self, key: int) -> None:
        assert self.kept.pop(key, None) == self.model.pop(key, None)

    @rule(last=st.booleans())
    def delete_at_the_end(self, last: bool) -> None:
        if self.model:
            assert self.kept.popitem(last=last) == self.model.popitem(last=last)

    @rule()
    def catch_up(self) -> None:
        self.generations.catch_up()

    @rule(slices=st.integers(1, 8))
    def catch_up_in_part(self, slices: int) -> None:
        left = iter(range(slices))
        self.generations.engine.catch_up(hurry=True, stop=lambda: next(left, None) is None)

    @rule(key=keys, number=numbers, late=st.booleans(), tried=st.booleans(), patient=st.booleans())
    def reload(self, key: int, number: int, late: bool, tried: bool, patient: bool) -> None:
        old = self.kept

        def between() -> None:
            old[key] = number
            self.store(key, number)

        self.generations.reload(between, late=late, tried=tried, patient=patient)

    @invariant()
    def they_are_equal(self) -> None:
        assert list(self.kept._entries.items()) == list(self.model.items())


TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=scaled(32, least=8), stateful_step_count=40, deadline=None)
