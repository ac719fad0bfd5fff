"""A tracked container is shown as the dict that it is, from parts and layer; damage is said."""

from __future__ import annotations

import pickle
import struct
from typing import Any

import pytest

from livereload_core.wire import pickles
from livereload_core.wire.layers import flattened
from livereload_core.wire.pickles import Call, Items, Name, Pairs, PickleDamageError

Part = tuple[list[Any], dict[Any, Any], dict[Any, Any]]


def segment(*parts: Part) -> bytes:
    streams = [pickle.dumps(part, 5) for part in parts]
    return b"".join(struct.pack("<Q", len(stream)) + stream for stream in streams)


def node(extents: list[tuple[int, int, int]], change: Part, **extra: Any) -> Any:
    args = pickles.read(pickle.dumps(("app:rows", "token", extents, *change, extra), 5))
    assert isinstance(args, Items)
    return Call(Name("livereload_core.state.tracked.parts", "arrive"), args.values)


def shown(change: Part, *segments: bytes) -> list[tuple[Any, Any]]:
    index = {"pieces": [[len(data), place, 0, 0, 0] for place, data in enumerate(segments)]}
    fields = {"pieces": list(range(len(segments)))}
    extents = [(place, place, 1) for place in range(len(segments))]
    found = flattened(node(extents, change), fields, index, [memoryview(data) for data in segments])
    assert isinstance(found, Pairs)
    return found.values


def test_layer_lies_over_the_parts() -> None:
    first = segment(([], {}, {"a": 1, "b": 2}), ([], {}, {"c": 3, "d": 4}))
    second = segment((["a"], {"b": 20}, {"c": 30}))
    assert shown((["d"], {"b": 21}, {"e": 5}), first, second) == [("b", 21), ("c", 30), ("e", 5)]


def test_list_is_shown_as_a_list() -> None:
    data = segment(([], {}, {7: "a", 8: "b", 9: "c"}))
    index, change = {"pieces": [[len(data), 0, 0, 0, 0]]}, ([7], {8: "B"}, {10: "d"})
    found = flattened(node([(0, 0, 1)], change, list=True), {"pieces": [0]}, index, [memoryview(data)])
    assert found.kind == "list"
    assert found.values == ["B", "c", "d"]


def test_keys_are_told_apart_by_what_they_are() -> None:
    keys: list[Any] = [1, "1", (1, 2), (1, (2,)), b"1", None, frozenset({1, 2}), 2.5]
    data = segment(([], {}, dict.fromkeys(keys, "old")))
    found = shown(([], dict.fromkeys(keys, "new"), {}), data)
    assert [value for _, value in found] == ["new"] * len(keys)


@pytest.mark.parametrize("first", [["a", "b"], ["b", "a"]])
@pytest.mark.parametrize("second", [["a", "c"], ["c", "a"]])
def test_sets_in_keys_are_equal_in_any_order(first: list[Any], second: list[Any]) -> None:
    key = frozenset({frozenset("ab"), frozenset("ac")})
    data = segment(([], {}, {("x", key): "old"}))
    layer = node([(0, 0, 1)], ([], {"place": ""}, {}))
    # As another process writes it: a set of strings has the order of its hashes.
    there = Items("frozenset", [Items("frozenset", first), Items("frozenset", second)])
    layer.args[4].values[:] = [(Items("tuple", ["x", there]), "new")]
    found = flattened(layer, {"pieces": [0]}, {"pieces": [[len(data), 0, 0, 0, 0]]}, [memoryview(data)])
    assert [value for _, value in found.values] == ["new"]


def test_what_is_no_container_is_left_as_it_is() -> None:
    other = Call(Name("app", "Row"), [1])
    assert flattened(other, {}, {}, []) is other


@pytest.mark.parametrize("cut", [1, 7, 9, 20])
def test_part_that_is_cut_off_is_said(cut: int) -> None:
    data = segment(([], {}, {"a": 1, "b": 2}))
    with pytest.raises(PickleDamageError):
        shown(([], {}, {}), data[:cut])


def test_segment_that_is_missing_is_said() -> None:
    with pytest.raises(PickleDamageError, match="has a part that cannot be read"):
        flattened(node([(0, 0, 1)], ([], {}, {})), {"pieces": []}, {"pieces": []}, [])


def test_layer_in_an_object_or_a_dict_is_shown_as_its_dict() -> None:
    data = segment(([], {}, {"a": 1}))
    layer = node([(0, 0, 1)], ([], {}, {"b": 2}))
    index = {"pieces": [[len(data), 0, 0, 0, 0]]}
    owner = Call(Name("app", "World"), [], states=[Pairs([("name", "it"), ("rows", layer)])])
    for outer in (owner, Pairs([("name", "it"), ("rows", layer)])):
        found = flattened(outer, {"pieces": [0]}, index, [memoryview(data)])
        (pairs,) = found.states if isinstance(found, Call) else (found,)
        assert pairs.values[0] == ("name", "it")
        assert pairs.values[1][1].values == [("a", 1), ("b", 2)]
