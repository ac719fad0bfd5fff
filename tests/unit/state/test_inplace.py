"""Objects that are refilled in place: same object, new contents, no user code on the way."""

from __future__ import annotations

import array
import dataclasses
import datetime
import decimal
import enum
import fractions
import io
import threading
import uuid
from collections import Counter, OrderedDict, defaultdict, deque
from typing import Any

import pytest

from livereload_core.state.inplace import OBJECTS, attributes, family_of, is_immutable
from tests.unit.state.conftest import Program


class Plain:
    def __init__(self) -> None:
        self.x = 1

    def __setattr__(self, name: str, value: Any) -> None:
        if name != "x" or "x" in vars(self):
            raise AssertionError("user code ran")
        super().__setattr__(name, value)


class Slotted:
    __slots__ = ("__private", "x", "y")
    x: int
    y: str

    def __init__(self, x: int) -> None:
        self.x = x
        self.__private = 2


class LoudDict(dict[Any, Any]):
    def __setitem__(self, key: Any, value: Any) -> None:
        raise AssertionError("user code ran")

    update = clear = __iter__ = keys = items = __setitem__  # type: ignore[assignment]


class NamedList(list[int]):
    name = ""


def _loud() -> LoudDict:
    loud = LoudDict()
    dict.__setitem__(loud, "a", 1)
    loud.note = "n"  # type: ignore[attr-defined]
    return loud


def _named() -> NamedList:
    named = NamedList([1, 2])
    named.name = "n"
    return named


@pytest.mark.parametrize(
    ("make", "look"),
    [
        (lambda: {"a": 1, "b": 2}, list),
        (lambda: OrderedDict([("b", 1), ("a", 2)]), list),
        (lambda: defaultdict(int, a=1), dict),
        (lambda: Counter("abca"), dict),
        (lambda: [1, [2]], list),
        (lambda: {1, 2}, sorted),
        (lambda: deque([1, 2, 3], 3), list),
        (lambda: bytearray(b"abc"), bytes),
        (lambda: array.array("d", [1.0, 2.0]), list),
        (_loud, lambda loud: (list(dict.items(loud)), vars(loud))),
        (_named, lambda named: (list(named), vars(named))),
        (Plain, vars),
        (lambda: Slotted(7), attributes),
    ],
)
def test_clone_and_become_carry_contents_and_attributes_and_run_no_user_code(make: Any, look: Any) -> None:
    original, live = make(), make()
    family = family_of(original)
    assert family is not None
    clone = family.clone(original)
    assert clone is not original
    assert type(clone) is type(original)
    shell = family.shell(type(original), family.args(original) or ())
    family.become(shell, clone)
    family.become(live, shell)
    assert look(live) == look(original)


def test_clone_leaves_out_transient_attributes() -> None:
    family = family_of(Slotted(1))
    assert family is not None
    assert attributes(family.clone(Slotted(1), ("x",))) == {"_Slotted__private": 2}


def test_become_keeps_fields_that_only_the_new_code_has() -> None:
    live, old = Slotted(1), Slotted(2)
    live.y = "new"
    family = family_of(live)
    assert family is not None
    family.become(live, old)
    assert (live.x, live.y) == (2, "new")


def test_deque_keeps_the_limit_of_the_new_code() -> None:
    live = deque([0], 2)
    family = family_of(live)
    assert family is not None
    family.become(live, deque([1, 2, 3], 5))
    assert live == deque([2, 3], 2)


def test_defaultdict_keeps_the_factory_of_the_new_code() -> None:
    live: defaultdict[str, Any] = defaultdict(list)
    family = family_of(live)
    assert family is not None
    family.become(live, defaultdict(int, a=1))
    assert live["b"] == []
    assert live["a"] == 1


def test_array_of_another_type_is_refused_with_both() -> None:
    family = family_of(array.array("d"))
    assert family is not None
    assert "'i'" in family.why_not(array.array("d"), array.array("i"))


def test_numpy_array_is_refilled_when_shape_and_type_agree() -> None:
    numpy = pytest.importorskip("numpy", reason="numpy is not a dependency; where it is, its arrays are kept")
    live, old = numpy.zeros((2, 2)), numpy.arange(4.0).reshape(2, 2)
    family = family_of(live)
    assert family is not None
    family.become(live, family.clone(old))
    assert (live == old).all()
    assert family.why_not(live, numpy.zeros(3))
    assert family.shell(type(live), family.args(live) or ()).shape == (2, 2)


class Colour(enum.Enum):
    RED = 1


@dataclasses.dataclass(frozen=True)
class Point:
    x: int


@pytest.mark.parametrize(
    "value",
    [None, 1, "s", b"b", (1,), frozenset(), 1.5, Colour.RED, Point(1), datetime.date(2000, 1, 1), print],
)
def test_values_that_a_program_binds_anew_are_immutable(value: object) -> None:
    assert is_immutable(value)


@pytest.mark.parametrize("value", [{}, [], set(), Plain(), threading.Lock(), io.BytesIO()])
def test_values_that_change_are_not(value: object) -> None:
    assert not is_immutable(value)


@pytest.mark.parametrize("value", [io.BytesIO(), ValueError(), threading.local(), iter([]), 3])
def test_objects_with_a_layout_in_c_have_no_way_in_place(value: object) -> None:
    assert family_of(value) is None


@pytest.mark.parametrize(
    "value",
    [
        decimal.Decimal("1.5"),
        fractions.Fraction(1, 3),
        uuid.UUID(int=7),
        type("Price", (decimal.Decimal,), {})(),
    ],
)
def test_numbers_and_names_of_modules_that_are_seldom_loaded_are_immutable(value: object) -> None:
    assert is_immutable(value)
    assert family_of(value) is None


def test_a_class_that_only_bears_the_name_of_an_immutable_one_is_none_of_it() -> None:
    impostor = type("Decimal", (), {"__module__": "decimal"})
    assert not is_immutable(impostor())


def test_instance_of_a_generic_class_is_refilled(program: Program) -> None:
    source = """
from typing import Generic, TypeVar
from livereload_core import preserve
T = TypeVar("T")

class Store(Generic[T]):
    def __init__(self):
        self.rows = []

store = preserve("store", Store[int])
"""
    app = program.start(app=source)
    app.store.rows.append(1)
    assert family_of(app.store) is OBJECTS
    assert program.reload(app=source + "found = store\n").found.rows == [1]
