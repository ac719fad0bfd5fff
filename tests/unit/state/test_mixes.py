"""Whatever is kept, and however its classes are edited: each root is right, or refused with a reason."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import dill  # noqa: F401 - as in a program that has something which only dill knows: it changes pickle's tables
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from livereload_core.errors import CannotCarryError
from livereload_core.facts import RootFate
from livereload_core.state import codec
from livereload_core.testing.waiting import scaled
from tests.unit.state.conftest import Program
from tests.unit.state.mixes import CLASSES, Edit, Mix, build, edits, mixes, source_of, verify

AS_IT_WAS = {name: choices[0] for name, choices in CLASSES.items()}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """One program for all examples: each of them starts it anew."""
    folder = tmp_path_factory.mktemp("mixes")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        patch.setattr(sys, "dont_write_bytecode", True)
        program = Program(folder)
        yield program
        program.forget()


def _crossing(count: int) -> settings:
    return settings(
        max_examples=scaled(count, least=40),
        deadline=None,
        suppress_health_check=[
            HealthCheck.too_slow,
            HealthCheck.function_scoped_fixture,
            HealthCheck.data_too_large,
        ],
    )


def _gives_up(*args: object) -> Any:
    raise RecursionError


def _cross(program: Program, mix: Mix, chosen: dict[str, Edit], *, deep: bool = False) -> Any:
    """Build a mixture in the old code and reload into the new one; return that."""
    build(mix, program.start(**source_of("before", AS_IT_WAS)))
    with pytest.MonkeyPatch.context() as patch:
        if deep:
            patch.setattr(codec, "_Pickler", _gives_up)
        return program.reload(**source_of("after", chosen))


def _hashes_by_contents(mix: Mix) -> bool:
    """Whether a set or a dict has members that are hashed by what they hold, which may lead back to it."""
    return any(
        kind in ("set", "frozenset", "dict", "OrderedDict", "defaultdict", "MyDict")
        and any(isinstance(part, int) and mix.nodes[part][0] in ("Frozen", "Point") for part in parts)
        for kind, parts in mix.nodes
    )


def _wrong(chosen: dict[str, Edit], mix: Mix) -> set[str]:
    """Return the classes whose edit may be refused; slots leave no room for a weak reference."""
    is_weak = "weakref" in mix.kinds(certain=False)
    return {name for name, edit in chosen.items() if edit.refused or (is_weak and edit.name == "gets slots")}


def _refusal(program: Program, mix: Mix, *turns: dict[str, Edit], deep: bool) -> str:
    """Let a mixture cross into some classes in each turn; verify what came, or return why it was refused."""
    try:
        app = _cross(program, mix, turns[0], deep=deep)
        verify(mix, turns[0], app)
        for turn in turns[1:]:
            app = program.reload(**source_of("later", turn))
            verify(mix, turn, app)
    except CannotCarryError as error:
        return str(error)
    assert {report.fate for report in program.reports.values()} <= {RootFate.KEPT, RootFate.MIGRATED}
    return ""


@given(mix=mixes(), deep=st.booleans())
@_crossing(600)
def test_any_mixture_comes_back_as_it_was(shared: Program, mix: Mix, deep: bool) -> None:
    refusal = _refusal(shared, mix, AS_IT_WAS, deep=deep)
    assert not refusal or _hashes_by_contents(mix)


@given(mix=mixes(), chosen=edits(), deep=st.booleans(), again=st.booleans())
@_crossing(800)
def test_any_mixture_over_any_edit_is_right_or_refused_with_a_reason(
    shared: Program, mix: Mix, chosen: dict[str, Edit], deep: bool, again: bool
) -> None:
    refusal = _refusal(shared, mix, *[chosen] * (1 + again), deep=deep)
    wrong = _wrong(chosen, mix)
    if {name for name in wrong if chosen[name].refused} & mix.kinds(certain=True):
        assert refusal
    if refusal:
        assert refusal.startswith(("one", "two", "three"))
        assert wrong & mix.kinds(certain=False) or _hashes_by_contents(mix), refusal


@given(mix=mixes(), chosen=edits(), deep=st.booleans())
@_crossing(300)
def test_any_edit_can_be_taken_back_and_what_it_dropped_returns(
    shared: Program, mix: Mix, chosen: dict[str, Edit], deep: bool
) -> None:
    back = {name: edit if edit.is_final or edit.refused else AS_IT_WAS[name] for name, edit in chosen.items()}
    refusal = _refusal(shared, mix, chosen, back, deep=deep)
    wrong = _wrong(chosen, mix)
    assert not refusal or wrong & mix.kinds(certain=False) or _hashes_by_contents(mix), refusal
