"""What differs between two states, by path."""

from __future__ import annotations

import dataclasses
import pickle
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from livereload_core.ui.statediff import Difference, differences
from livereload_core.ui.statetree import Limits
from livereload_core.wire.pickles import read


@dataclasses.dataclass
class Thing:
    a: Any
    password: Any = ""


def _diff(was: Any, now: Any, *, reveal: bool = False, key: str = "app:x") -> list[tuple[str, str, str]]:
    found = differences(
        key, read(pickle.dumps(was, 5)), read(pickle.dumps(now, 5)), Limits(reveal=reveal), ({}, {})
    )
    assert all(isinstance(one, Difference) for one in found)
    return [(one.path, one.was, one.now) for one in found]


def test_changes_additions_and_removals_are_told_by_path() -> None:
    was = {"n": 3, "gone": [1], "same": {"deep": [1, 2]}, "list": [1, 2]}
    now = {"n": 5, "new": "x", "same": {"deep": [1, 3]}, "list": [1, 2, 9]}
    assert sorted(_diff(was, now)) == [
        ("app:x['gone']", "list, 1 inside", ""),
        ("app:x['list'][2]", "", "9"),
        ("app:x['n']", "3", "5"),
        ("app:x['new']", "", "'x'"),
        ("app:x['same']['deep'][1]", "2", "3"),
    ]


def test_objects_are_compared_by_their_attributes() -> None:
    assert _diff([Thing(1)], [Thing(2)]) == [("app:x[0].a", "1", "2")]
    assert _diff(Thing([]), Thing({})) == [("app:x.a", "list, empty", "dict, empty")]


def test_another_type_is_a_difference_although_equal() -> None:
    assert _diff([1], [True]) == [("app:x[0]", "1", "True")]
    assert _diff([1], [1.0]) == [("app:x[0]", "1", "1.0")]
    assert _diff(None, {}) == [("app:x", "None", "dict, empty")]


def test_sets_have_no_order() -> None:
    assert _diff({1, 2}, {2, 1}) == []
    assert _diff({1, 2}, {2, 3}) == [("app:x{}", "1", ""), ("app:x{}", "", "3")]
    assert _diff({(1, "a")}, {(1, "b")}) == [
        ("app:x{}", "tuple, 2 inside", ""),
        ("app:x{}", "", "tuple, 2 inside"),
    ]


def test_a_secret_that_changed_is_said_to_have_changed() -> None:
    assert _diff(Thing(1, "old"), Thing(1, "new")) == [("app:x.password", "<hidden>", "<hidden>")]
    assert _diff({"token": {"a": 1}}, {"token": {"a": 2}}) == [
        ("app:x['token']['a']", "<hidden>", "<hidden>")
    ]
    assert _diff("old", "new", key="app:secret") == [("app:secret", "<hidden>", "<hidden>")]
    assert _diff({"u": "http://a:old@b"}, {"u": "http://a:new@b"}) == [
        ("app:x['u']", "'http://<hidden>@b'", "'http://<hidden>@b'")
    ]
    assert _diff(Thing(1, "old"), Thing(1, "new"), reveal=True) == [("app:x.password", "'old'", "'new'")]


def test_cycles_end() -> None:
    def loop(value: int) -> Any:
        made: dict[str, Any] = {"n": value}
        made["self"] = made
        return made

    assert _diff(loop(1), loop(1)) == []
    assert _diff(loop(1), loop(2)) == [("app:x['n']", "1", "2")]


def test_deep_structures_are_compared() -> None:
    was: Any = 1
    now: Any = 2
    for _ in range(300):
        was, now = [was], [now]
    ((path, _, _),) = _diff(was, now)
    assert path == "app:x" + "[0]" * 300


_ANY = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False).map(abs), st.text(), st.binary()
    ),
    lambda inner: st.one_of(
        st.lists(inner), st.dictionaries(st.text(), inner), st.builds(Thing, inner), st.tuples(inner, inner)
    ),
    max_leaves=20,
)


@settings(max_examples=200, deadline=None)
@given(_ANY, _ANY)
def test_there_are_differences_exactly_where_there_are(was: Any, now: Any) -> None:
    assert _diff(was, was) == []
    assert bool(_diff(was, now)) == (repr(was) != repr(now))
