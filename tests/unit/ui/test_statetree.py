"""State as people read it: whole, or with what is left out counted; secrets hidden; cycles marked."""

from __future__ import annotations

import collections
import dataclasses
import datetime
import enum
import json
import pickle
import sys
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from livereload_core.ui.statetree import DEEPEST, Limits, View, Viewer, lines
from livereload_core.wire.pickles import Name, PickleDamageError, Ref, read

ALL = Limits(depth=DEEPEST, items=1 << 60, text=1 << 60)


class Colour(enum.Enum):
    RED = 1


@dataclasses.dataclass
class User:
    name: str
    password: str
    friends: list[Any] = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class Slotted:
    __slots__ = ("token", "x")
    x: int
    token: str


class Pair(NamedTuple):
    login: str
    token: str


SHAPES = {f"{__name__}:Pair": {"kind": "tuple", "fields": {"login": "str", "token": "str"}}}


def _view(value: Any, limits: Limits = ALL, key: str = "app:value") -> View:
    return Viewer(limits, SHAPES).view(read(pickle.dumps(value, 5)), key)


def _lines(value: Any, limits: Limits = ALL, key: str = "app:value") -> list[str]:
    return [line.replace(f"{__name__}.", "") for line in lines(_view(value, limits, key))]


def test_the_picture_at_the_head_of_the_module() -> None:
    ann, bob = User("Ann", "hunter2"), User("Bob", "")
    ann.friends, bob.friends = [bob], [ann]
    assert _lines({"ann": ann, "bob": bob}) == [
        "dict, 2 entries",
        "  'ann'  User",
        "    name      'Ann'",
        "    password  <hidden>",
        "    friends  list, 1 item",
        "      0  User",
        "        name      'Bob'",
        "        password  <hidden>",
        "        friends  list, 1 item",
        "          0  → ['ann']",
        "  'bob'  → ['ann'].friends[0]",
    ]


def test_an_object_that_is_in_itself_ends() -> None:
    loop: list[Any] = []
    loop.append(loop)
    assert _lines(loop) == ["list, 1 item", "  0  → the root itself"]


def test_what_is_left_out_is_counted() -> None:
    assert _lines(list(range(30)), Limits(items=2)) == ["list, 30 items", "  0  0", "  1  1", "  … 28 more"]
    assert _lines({"a": {"b": {"c": 1}}}, Limits(depth=2)) == [
        "dict, 1 entry",
        "  'a'  dict, 1 entry",
        "    'b'  dict, 1 entry  … 1 more",
    ]
    (line,) = _lines("x" * 500, Limits(text=10))
    assert line == "'xxxxxxxxx…'"
    assert _view("x" * 500, Limits(text=10)).as_json()["length"] == 500
    assert _lines(b"x" * 500, Limits(text=10))[0].endswith("500 bytes")


def test_deeper_than_python_may_recurse_is_cut_and_said() -> None:
    deep: list[Any] = []
    for _ in range(5000):
        deep = [deep]
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(20_000)
    try:
        stream = pickle._dumps(deep, 5)  # type: ignore[attr-defined]
    finally:
        sys.setrecursionlimit(limit)
    found = lines(Viewer(ALL).view(read(stream)))
    assert len(found) == DEEPEST + 1
    assert found[-1].endswith("… 1 more")


def test_secrets_are_hidden_by_name_wherever_the_name_comes_from() -> None:
    shown = "\n".join(
        _lines(
            {
                "password": "hunter2",
                "api_key": b"hunter2",
                "tokens": ["hunter2"],
                "pin": 1,
                "user": User("Ann", "hunter2"),
                "slots": Slotted(1, "hunter2"),
                "tuple": Pair("ann", "hunter2"),
                "headers": [("Authorization", "hunter2"), (b"cookie", b"hunter2")],
                "nothing": {"secret": None, "has_token": True},
                "url": "postgres://ann:hunter2@db",
                "postgres://ann:hunter2@key": 1,
            }
        )
    )
    assert "hunter2" not in shown
    assert "'secret'     None" in shown
    assert "'has_token'  True" in shown
    assert "login  'ann'" in shown
    assert "'postgres://<hidden>@db'" in shown
    assert shown.count("<hidden>") == 10


def test_a_root_that_is_called_like_a_secret_is_hidden_whole() -> None:
    assert _lines({"a": 1}, key="app:tokens") == ["<hidden>"]
    assert _view({"a": 1}, key="app:tokens").as_json() == {"kind": "hidden"}
    assert _lines({"a": 1}, key="tokens:app") == ["dict, 1 entry", "  'a'  1"]


def test_revealed_they_are_shown() -> None:
    limits = dataclasses.replace(ALL, reveal=True)
    value = {
        "password": "hunter2",
        "h": [("Cookie", "hunter2")],
        "u": "http://a:hunter2@b",
        "t": Pair("a", "hunter2"),
    }
    shown = "\n".join(_lines(value, limits))
    assert shown.count("hunter2") == 4
    assert "hidden" not in shown


def test_a_secret_is_hidden_before_a_text_is_shortened() -> None:
    text = "x" * 10 + " Bearer abcdefghijklmnop"
    for most in range(5, len(text) + 5):
        assert "abcdefgh" not in "".join(_lines([text, text.encode()], Limits(text=most)))


def test_a_secret_in_what_one_line_says_is_hidden() -> None:
    class_like = _lines([collections.Counter(["Bearer abcdefghij"]), datetime.date(2026, 1, 2)])
    assert "abcdefghij" not in "".join(class_like)
    assert any("date 2026-01-02" in line for line in class_like)


def test_kinds_are_said_as_short_as_they_are_clear() -> None:
    assert _lines([Colour.RED])[1].startswith("  0  ")
    assert _lines([{1}, frozenset(), (), b"ab", bytearray(b"c"), 1.5, None, len])[1:] == [
        "  0  set, 1 item",
        "    0  1",
        "  1  frozenset, empty",
        "  2  tuple, empty",
        "  3  b'ab'",
        "  4  b'c'",
        "  5  1.5",
        "  6  None",
        "  7  len",
    ]
    assert _lines({(1, "a"): 2}) == ["dict, 1 entry", "  (1, 'a')  2"]
    assert _lines(collections.OrderedDict(a=1)) == ["collections.OrderedDict, 1 entry", "  'a'  1"]
    assert _lines(10**500)[0] == "an integer of 1661 bits"


def test_control_characters_do_not_reach_the_terminal() -> None:
    evil = "\x1b[2J\x07"
    node = {evil: evil, "n": {1: Name(evil, evil)}}
    shown = lines(_view({evil: evil}))
    shown += lines(Viewer(ALL).view(read(b"\x80\x05\x8c\x02\x1b[\x8c\x01x\x93.")))
    assert node
    assert not any("\x1b" in line or "\x07" in line for line in shown)


def test_another_root_is_named() -> None:
    node = read(b"\x80\x05]h\x00a.", ["app:users"])
    assert lines(Viewer(ALL).view(node)) == ["list, 1 item", "  0  → app:users"]
    assert Viewer(ALL).view(Ref("app:a")).as_json() == {"kind": "root", "value": "app:a"}


_ANY = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary(), st.dates()),
    lambda inner: st.one_of(
        st.lists(inner),
        st.dictionaries(st.text(), inner),
        st.builds(User, st.text(), inner, st.lists(inner)),
        st.tuples(inner, inner),
    ),
    max_leaves=25,
)


@settings(max_examples=200, deadline=None)
@given(_ANY, st.integers(0, 5), st.integers(0, 5), st.integers(1, 30), st.booleans())
def test_anything_can_be_shown_to_people_and_programs(
    value: Any, depth: int, items: int, text: int, reveal: bool
) -> None:
    view = _view(value, Limits(depth, items, text, reveal))
    assert lines(view)
    assert json.dumps(view.as_json(), allow_nan=False)  # raises where JSON has no word for it


@settings(max_examples=200, deadline=None)
@given(_ANY)
def test_whatever_surrounds_it_a_password_is_not_shown(value: Any) -> None:
    text = "\n".join(
        _lines({"a": [value, User("n", "hunter2-secret")], "password": [value, "hunter2-secret"]})
    )
    assert "hunter2-secret" not in text
    assert "hunter2-secret" not in json.dumps(
        _view({"a": [value, User("n", "hunter2-secret")]}).as_json(), default=str
    )


@pytest.mark.parametrize(
    "array", [np.arange(6).reshape(2, 3), np.zeros((2, 3))[:, ::1], np.zeros((2, 3)).T.T]
)
def test_an_array_is_one_line(array: Any) -> None:
    kind = array.dtype.str.lstrip("<")
    for protocol in (4, 5):
        shown = lines(Viewer(ALL).view(read(pickle.dumps(array, protocol))))
        assert shown == [f"array of {kind}, shape (2, 3)"]
    assert lines(Viewer(ALL).view(read(pickle.dumps(np.array(["a", None]), 5)))) == ["array of O8, shape (2)"]


@settings(max_examples=300, deadline=None)
@given(_ANY, st.data())
def test_what_a_damaged_stream_says_is_shown_or_refused(value: Any, data: st.DataObject) -> None:
    stream = bytearray(pickle.dumps([value, np.zeros(2), Colour.RED, datetime.date(2026, 1, 2)], 5))
    for _ in range(data.draw(st.integers(1, 4))):
        stream[data.draw(st.integers(0, len(stream) - 1))] = data.draw(st.integers(0, 255))
    try:
        node = read(bytes(stream))
    except PickleDamageError:
        return
    assert lines(Viewer(ALL, SHAPES).view(node))


def test_calls_within_calls_take_no_time_and_no_stack() -> None:
    """Each of a thousand levels mentions the one below twice."""
    name = b"\x8c\x05numpy\x8c\x01f\x93"
    stream = b"\x80\x05K\x01"
    for _ in range(1000):
        stream += b"2\x86" + b"q\x07" + b"0" + name + b"h\x07R"
    assert lines(Viewer(ALL).view(read(stream + b".")))
    called = b"\x80\x05" + name + b")R" * 5000 + b"."
    assert lines(Viewer(ALL).view(read(called)))
