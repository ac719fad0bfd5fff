"""Values that wait for their field, and whether values fit annotations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, NewType, Protocol

import pytest

from livereload_core.state import parking
from livereload_core.state.fitting import fits


class Slotted:
    __slots__ = ("a",)


def test_what_waits_for_an_object_is_dropped_with_it() -> None:
    kept, dropped = Slotted(), Slotted()
    parking.park(kept, {"b": 1})
    parking.park(dropped, {"b": 2})
    number = id(dropped)
    del dropped
    parking.sweep()
    assert parking.parked_of(kept) == {"b": 1}
    assert number not in parking._parked


def test_what_is_parked_later_is_added() -> None:
    kept = Slotted()
    parking.park(kept, {"b": 1})
    parking.park(kept, {"c": 2})
    assert parking.parked_of(kept) == {"b": 1, "c": 2}


Name = NewType("Name", str)


class Odd(Protocol):
    def method(self) -> None: ...


@pytest.mark.parametrize(
    ("value", "hint", "expected"),
    [
        (1, int, True),
        (1, float, True),
        (1.0, int, False),
        ("a", int | None, False),
        (None, int | None, True),
        ([1, 2], list[int], True),
        ([1, "a"], list[int], False),
        ({"a": [1]}, dict[str, list[int]], True),
        ({"a": ["b"]}, dict[str, list[int]], False),
        ({"a": 1}, Mapping[str, int], True),
        ((1, "a"), tuple[int, str], True),
        ((1, 2), tuple[int, ...], True),
        ((1,), tuple[int, str], False),
        ("a", Literal["a", "b"], True),
        (True, Literal[1], False),
        ("a", Name, True),
        (len, Callable[[str], int], True),
        (object(), Any, True),
        (1, Odd, False),
        (1, "not resolved", False),
    ],
)
def test_value_fits_an_annotation_only_if_that_can_be_told(value: Any, hint: Any, expected: bool) -> None:
    assert fits(value, hint) is expected
