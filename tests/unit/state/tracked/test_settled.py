"""Which values cannot change, and which nobody else can reach."""

from __future__ import annotations

import collections
import dataclasses
import datetime
import decimal
import enum
import fractions
import pathlib
import threading
import uuid
import weakref
import zoneinfo
from typing import Any, NamedTuple

import pytest

from livereload_core.state.tracked.settled import is_key, is_private, is_settled


class Zone(datetime.tzinfo):
    """Has a state."""

    def utcoffset(self, moment: object) -> datetime.timedelta:
        return datetime.timedelta()

    def dst(self, moment: object) -> None:
        return None

    def tzname(self, moment: object) -> str:
        return "zone"


class Text(str):
    """May have attributes."""

    __slots__ = ("note",)


class Frozen(frozenset[int]):
    """Has a ``__dict__``."""


class Pair(NamedTuple):
    one: int


@dataclasses.dataclass(frozen=True)
class Point:
    x: int


class Colour(enum.Flag):
    RED = 1
    GREEN = 2


class Day(datetime.date):
    """Has a ``__dict__``."""


DEEP: Any = ()
for _ in range(100_000):
    DEEP = (DEEP,)
DEEP_LIST: Any = ([],)
for _ in range(100_000):
    DEEP_LIST = (DEEP_LIST,)
UTC = datetime.timezone.utc  # noqa: UP017


@pytest.mark.parametrize(
    "value",
    [
        *(1, 1.5, "a", b"a", True, None, 1j, (1, ("a", frozenset({2}))), frozenset({(1, 2)}), ()),
        datetime.date(2020, 1, 1),
        datetime.timedelta(1),
        datetime.datetime(2020, 1, 1),  # noqa: DTZ001
        datetime.datetime(2020, 1, 1, tzinfo=UTC),
        datetime.datetime(2020, 1, 1, tzinfo=zoneinfo.ZoneInfo("UTC")),
        datetime.time(1, tzinfo=UTC),
        decimal.Decimal("1.5"),
        uuid.UUID(int=1),
        pathlib.Path("/tmp"),
        pathlib.PurePosixPath("/tmp"),
        Colour.RED,
    ],
    ids=repr,
)
def test_values_that_cannot_change_are_settled(value: object) -> None:
    assert is_settled(value)


@pytest.mark.parametrize(
    "value",
    [
        *([], {}, set(), bytearray(), (1, []), frozenset({Point(1)}), (1, (2, ([],)))),
        Text("a"),
        Frozen({1}),
        Pair(1),
        Point(1),
        Colour.RED | Colour.GREEN,
        Day(2020, 1, 1),
        datetime.datetime(2020, 1, 1, tzinfo=Zone()),
        datetime.time(1, tzinfo=Zone()),
        fractions.Fraction(1, 2),
        object(),
        (Text("a"),),
        frozenset({Text("a")}),
        type("int", (int,), {})(1),
    ],
    ids=lambda value: type(value).__qualname__,
)
def test_subclasses_and_all_that_may_change_are_not(value: object) -> None:
    assert not is_settled(value)


def test_nesting_of_any_depth_is_looked_through() -> None:
    assert is_settled(DEEP)
    assert not is_settled(DEEP_LIST)


def test_key_that_is_not_equal_to_itself_is_none() -> None:
    nan = float("nan")
    assert is_key(1.5)
    assert is_key(("a", (1, frozenset({2}))))
    assert not is_key(nan)
    assert not is_key((1, (nan,)))
    assert not is_key(decimal.Decimal("NaN"))
    assert not is_key(Point(1))


class Row:
    def __init__(self, *parts: Any) -> None:
        self.parts = list(parts)


class Slotted:
    __slots__ = ("__weakref__", "parts")

    def __init__(self) -> None:
        self.parts = [1]


class Secretive:
    def __init__(self) -> None:
        self.parts = [1]

    def __getstate__(self) -> object:
        return {}


class Interned(NamedTuple):
    """One whose copies are looked up."""

    parts: list[int]

    def __reduce__(self) -> Any:
        return tuple, ([1],)


MAKERS: dict[str, Any] = {
    "list": lambda: [1, "a"],
    "deep": lambda: {"a": [{"b": {1, 2}}, (1, [2])]},
    "instance": lambda: Row(1, [2]),
    "slots": Slotted,
    "bytearray": lambda: bytearray(b"x"),
    "tuple": lambda: (1, [2]),
    "named tuple": lambda: Pair(int("1000")),
    "with an enum": lambda: Row(Colour.RED),
}


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_value_that_only_its_container_has_is_private(make: Any) -> None:
    held = {"key": make()}
    value = held["key"]
    assert is_private(value)


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_value_that_somebody_else_has_is_not(make: Any) -> None:
    held = {"key": make()}
    other = held["key"]
    value = held["key"]
    assert not is_private(value)
    del other
    assert is_private(value)


def test_what_is_in_it_counts_as_well() -> None:
    held = {"key": {"a": [{"b": [1]}]}}
    inner: Any = held["key"]["a"][0]["b"]
    value: Any = held["key"]
    assert not is_private(value)
    inner = None  # noqa: F841
    assert is_private(value)


def test_attributes_that_somebody_else_has_count_as_well() -> None:
    held = {"key": Row()}
    space = vars(held["key"])
    value = held["key"]
    assert not is_private(value)
    del space
    assert is_private(value)


def test_cycle_is_not_private() -> None:
    held: dict[str, Any] = {"key": []}
    held["key"].append(held["key"])
    value = held["key"]
    assert not is_private(value)


@pytest.mark.parametrize("make", [Slotted, set])
def test_value_with_a_weak_reference_is_not_private(make: Any) -> None:
    held = {"key": make()}
    reference = weakref.ref(held["key"])
    value = held["key"]
    assert not is_private(value)
    del reference


@pytest.mark.parametrize(
    "make",
    [
        Secretive,
        lambda: Interned([1]),
        threading.Lock,
        threading.Event,
        lambda: collections.deque([1]),
        lambda: (number for number in range(3)),
        lambda: type("List", (list,), {})(),
        lambda: Row(threading.Lock()),
        lambda: list(range(100)) + [[number] for number in range(2000)],
    ],
)
def test_kinds_that_are_not_known_through_and_through_are_not_private(make: Any) -> None:
    held = {"key": make()}
    value = held["key"]
    assert not is_private(value)
