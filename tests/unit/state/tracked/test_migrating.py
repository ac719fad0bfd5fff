"""A raised version of a tracked container: what is migrated before the pause, and what in it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from livereload_core import preserve
from livereload_core.errors import CannotCarryError, UsageError
from livereload_core.state.tracked import journal
from livereload_core.state.tracked.lru import Lru
from tests.unit.state.tracked.generations import Generations

MANY = 3000


@pytest.fixture
def generations() -> Iterator[Generations]:
    made = Generations()
    yield made
    made.close()


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return how many parts were read, each time that a container was received."""
    found: list[int] = []
    original = journal.Journal.receive

    def receive(self: Any, *args: Any, **kwargs: Any) -> int:
        found.append(original(self, *args, **kwargs))
        return found[-1]

    monkeypatch.setattr(journal.Journal, "receive", receive)
    return found


class Step:
    """A migration that counts its calls."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, value: Any) -> Any:
        self.calls += 1
        return [*value, "new"] if isinstance(value, list) else [value]


def test_what_was_not_touched_since_the_trial_is_migrated_before_the_pause(
    generations: Generations, read: list[int]
) -> None:
    kept, step = generations.kept, Step()
    kept.update({f"key {number}": [number] for number in range(MANY)})
    generations.catch_up()
    generations.options = {"version": 2, "migrate": preserve.each(step)}
    before: list[int] = []

    def between() -> None:
        before.append(step.calls)
        kept["key 5"].append("touched")
        kept["more"] = [1]
        del kept["key 6"]

    expected = [f"key {number}" for number in range(MANY) if number != 6]
    after = generations.reload(between)
    assert before == [MANY]
    assert step.calls == MANY + 2
    assert read[1] == 0, "no part is read in the pause"
    assert after["key 5"] == [5, "touched", "new"]
    assert after["key 7"] == [7, "new"]
    assert list(after) == [*expected, "more"]
    assert len(generations.reload()) == MANY, "of the new version now"
    assert step.calls == MANY + 2


def test_function_of_the_whole_value_finds_it_read_when_the_pause_begins(
    generations: Generations, read: list[int]
) -> None:
    kept = generations.kept
    kept.update({number: [number] for number in range(MANY)})
    generations.catch_up()

    def migrate(rows: Any, version: int) -> Any:
        for row in rows.values():
            row.append(version)  # in place: what was read must not show it the second time
        return rows

    generations.options = {"version": 2, "migrate": migrate}
    after = generations.reload(lambda: kept[5].append("touched"))
    assert read[1] == 0, "no part is read in the pause"
    assert (after[4], after[5]) == ([4, 1], [5, "touched", 1])
    assert list(after) == list(range(MANY))


def test_declaration_in_the_start_up_is_migrated_when_it_comes(generations: Generations) -> None:
    generations.kept.update({number: number for number in range(MANY)})
    generations.catch_up()
    step = Step()
    generations.options = {"version": 2, "migrate": preserve.each(step)}
    assert generations.reload(late=True)[7] == [7]
    assert step.calls == MANY


@pytest.mark.parametrize("tried", [True, False])
def test_values_that_somebody_holds_are_migrated_as_they_are_and_stay_one(
    generations: Generations, tried: bool
) -> None:
    kept = generations.kept
    kept.update({number: [number] for number in range(MANY)})
    held = kept["one"] = kept["other"] = ["shared"]
    generations.catch_up()
    held.append("later")
    generations.options = {"version": 2, "migrate": preserve.each(Step())}
    after = generations.reload(tried=tried)
    assert after["one"] is after["other"]
    assert after["one"] == ["shared", "later", "new"]


def test_equal_numbers_become_lists_of_their_own(generations: Generations) -> None:
    generations.kept.update(dict.fromkeys(range(MANY), 5))
    generations.catch_up()
    generations.options = {"version": 2, "migrate": preserve.each(Step())}
    after = generations.reload(lambda: generations.kept.update({1: 5, 2: 5}))
    assert len({id(value) for value in after.values()}) == MANY


def test_value_that_is_held_between_two_parts_of_the_same_key_is_migrated_once_it_is_known(
    generations: Generations,
) -> None:
    """In the first part stands nothing in its place."""
    kept = generations.kept
    kept.update({number: [number] for number in range(MANY)})
    held = kept[5]
    generations.catch_up()
    for number in range(10, 400):
        kept[number] = [number]
    del held
    generations.kept.pop(5)
    kept[5] = ["again"]
    generations.catch_up()
    generations.catch_up()
    seen: list[object] = []

    def step(value: list[Any]) -> list[Any]:
        seen.append(value)
        return [*value]

    generations.options = {"version": 2, "migrate": preserve.each(step)}
    assert generations.reload()[5] == ["again"]
    assert None not in seen


def test_step_that_fails_turns_the_new_code_down_before_the_pause(generations: Generations) -> None:
    generations.kept.update({number: number for number in range(MANY)})
    generations.catch_up()

    def step(value: int) -> float:
        return 1 / (value - 2999)

    export = generations.export()
    generations.options = {"version": 2, "migrate": preserve.each(step)}
    candidate = generations._new_engine()
    made = generations._declared(candidate)
    with pytest.raises(CannotCarryError, match=r"migrate\(\) raised ZeroDivisionError.*test_migrating"):
        candidate.trial(export.data, export.handed.fds)
    export.close()
    candidate.deactivate()
    assert not made
    assert len(generations.kept) == MANY


def test_migration_is_another_one_in_the_pause_only_if_all_is_read_again(generations: Generations) -> None:
    generations.kept.update({number: number for number in range(MANY)})
    generations.catch_up()
    first = generations.export()
    generations.options = {"version": 2, "migrate": preserve.each(lambda value: -value)}
    candidate = generations._new_engine()
    made = generations._declared(candidate)
    candidate.trial(first.data, first.handed.fds)
    root = candidate._roots[next(iter(candidate._roots))]
    object.__setattr__(root.options, "migrate", preserve.each(lambda value: value + 1))
    candidate.adopt(first.data, first.handed.fds)
    first.close()
    assert made[7] == 8
    candidate.deactivate()


STEPS: dict[int, Any] = {1: preserve.each(lambda value: [value]), 2: preserve.each(lambda value: (value,))}


def test_steps_are_taken_one_after_the_other(generations: Generations) -> None:
    generations.kept.update({number: number for number in range(MANY)})
    generations.catch_up()
    generations.options = {"version": 3, "migrate": STEPS}
    assert generations.reload()[5] == ([5],)


@pytest.mark.parametrize("old", [dict, list, lambda: Lru(5)], ids=["dict", "list", "cache"])
def test_it_migrates_other_kinds_as_a_whole(old: Any) -> None:
    generations = Generations(old)
    kept = generations.kept
    if isinstance(kept, list):
        kept.extend([0, 1])
    else:
        kept[0], kept[1] = 0, 1
    generations.options = {"version": 2, "migrate": preserve.each(lambda value: value + 10)}
    after = generations.reload()
    assert [after[0], after[1]] == [10, 11]
    assert type(after) is type(kept)
    generations.close()


def test_what_has_no_values_is_refused() -> None:
    generations = Generations(set)
    generations.kept.add(1)
    export = generations.export()
    generations.options = {"version": 2, "migrate": preserve.each(lambda value: value)}
    candidate = generations._new_engine()
    generations._declared(candidate)
    with pytest.raises(CannotCarryError, match="for the values of a dict or list, not set"):
        candidate.trial(export.data, export.handed.fds)
    candidate.deactivate()
    generations.close()


def test_it_takes_a_function() -> None:
    with pytest.raises(UsageError, match="got 5"):
        preserve.each(5)  # type: ignore[arg-type]
