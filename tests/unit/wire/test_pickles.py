"""A look into pickles: whatever they say, nothing is imported, looked up or called."""

from __future__ import annotations

import collections
import copyreg
import dataclasses
import os
import pickle
import pickletools
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from livereload_core.wire.pickles import Call, Items, Name, Pairs, PickleDamageError, Ref, _Machine, read


def plain(node: Any) -> Any:
    """Turn builtins back into what they stand for."""
    if isinstance(node, Items):
        values = [plain(value) for value in node.values]
        return {"list": list, "tuple": tuple, "set": set, "frozenset": frozenset}[node.kind](values)
    if isinstance(node, Pairs):
        return {plain(key): plain(value) for key, value in node.values}
    return node


_SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(), st.binary(max_size=300)
)
_KEYS = st.one_of(st.integers(), st.text(), st.tuples(st.integers(), st.text()))
_VALUES = st.recursive(
    st.one_of(_SCALARS, st.sets(_KEYS), st.frozensets(_KEYS), st.builds(bytearray, st.binary())),
    lambda inner: st.one_of(
        st.lists(inner), st.dictionaries(_KEYS, inner), st.tuples(inner, inner), st.tuples(inner)
    ),
    max_leaves=30,
)


@settings(max_examples=300, deadline=None)
@given(_VALUES, st.integers(0, 5))
def test_builtins_read_as_the_standard_library_reads_them(value: Any, protocol: int) -> None:
    if protocol < 5 and b"\x96" in pickle.dumps(value, 5):
        protocol = 5  # a bytearray is a call before
    stream = pickle.dumps(value, protocol)
    if protocol < 4:
        stream = pickle.dumps(_old(value), protocol)
        value = _old(value)
    assert plain(read(stream)) == value


def _old(value: Any) -> Any:
    """Leave out what old protocols write as calls."""
    if isinstance(value, (set, frozenset, bytearray, bytes)):
        return [0]
    if isinstance(value, (list, tuple)):
        return type(value)(map(_old, value))
    return {key: _old(item) for key, item in value.items()} if isinstance(value, dict) else value


def test_every_opcode_of_every_protocol_is_known() -> None:
    assert _Machine._HANDLERS.keys() == {ord(opcode.code) for opcode in pickletools.opcodes}


@dataclasses.dataclass
class Point:
    x: int
    y: object = None


class Odd(list):  # type: ignore[type-arg]
    def __reduce_ex__(self, protocol: Any) -> Any:
        def setter(obj: object, state: object) -> None: ...

        return os.getenv, ("A",), {"a": 1}, iter([1, 2]), iter([("k", "v")]), os.putenv


def test_an_object_is_a_call_with_what_is_put_into_it() -> None:
    node = read(pickle.dumps(Point(1, [2]), 5))
    assert isinstance(node, Call)
    assert node.function == Name(__name__, "Point")
    (state,) = node.states
    assert isinstance(state, Pairs)
    assert plain(state) == {"x": 1, "y": [2]}


def test_all_parts_of_a_reduction_are_there() -> None:
    node = read(pickle.dumps(Odd(), 5))
    assert isinstance(node, Call)
    assert node.function == Name("os", "getenv")
    assert (node.args, node.items, node.pairs) == (["A"], [1, 2], [("k", "v")])
    assert [plain(state) for state in node.states] == [{"a": 1}]


def test_objects_of_collections_have_items_and_entries() -> None:
    node = read(pickle.dumps(collections.OrderedDict(a=1), 5))
    assert isinstance(node, Call)
    assert node.pairs == [("a", 1)]
    queue = read(pickle.dumps(collections.deque([1, 2]), 5))
    assert isinstance(queue, Call)
    assert queue.items == [1, 2]


def test_cycles_and_sharing_are_as_they_were() -> None:
    shared: list[Any] = []
    loop: dict[str, Any] = {"a": shared, "b": shared}
    loop["self"] = loop
    node = read(pickle.dumps(loop, 5))
    assert isinstance(node, Pairs)
    found = dict(node.values)
    assert found["self"] is node
    assert found["a"] is found["b"]


def test_the_memo_begins_with_the_roots() -> None:
    assert plain(read(b"\x80\x05h\x01h\x00\x86.", ["app:a", "app:b"])) == (Ref("app:b"), Ref("app:a"))


def test_deep_structures_are_read() -> None:
    recursion = 100_000
    stream = b"\x80\x05" + b"]" * recursion + b"a" * (recursion - 1) + b"."
    node: Any = read(stream)
    depth = 1
    while node.values:
        node, depth = node.values[0], depth + 1
    assert depth == recursion


class Bomb:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


def test_nothing_is_called(tmp_path: Path) -> None:
    path = tmp_path / "made"
    read(pickle.dumps([Bomb(path)], 5))
    assert not path.exists()
    pickle.loads(pickle.dumps(Bomb(path), 5))
    assert path.exists(), "the standard library would have called it: the stream is a good one"


def test_nothing_is_imported() -> None:
    """In a process of its own: the very import of the module must not bring pickle in."""
    code = (
        "import sys; from livereload_core.wire.pickles import read;"
        "node = read(b'\\x80\\x05\\x8c\\x04this\\x8c\\x01s\\x93.');"
        "assert str(node) == 'this.s'; assert 'this' not in sys.modules; assert 'pickle' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_an_extension_is_not_looked_up() -> None:
    copyreg.add_extension(__name__, "Point", 240)
    try:
        node = read(b"\x80\x02\x82\xf0.")
    finally:
        copyreg.remove_extension(__name__, "Point", 240)
    assert isinstance(node, Call)
    assert node.function == Name("pickle", "extension")


HOSTILE = {
    "empty": b"",
    "no end": b"\x80\x05]",
    "nothing on the stack": b".",
    "only a mark": b"(.",
    "unknown opcode": b"\x80\x05\xff.",
    "a text of 2^63 bytes": b"\x80\x05\x8d" + b"\xff" * 7 + b"\x7fabc.",
    "bytes of 2^64 - 1": b"\x80\x05\x8e" + b"\xff" * 8 + b".",
    "a negative length": b"\x80\x05T" + b"\xff" * 4 + b"abc.",
    "memo that is not there": b"\x80\x05h\x07.",
    "memo of nothing": b"\x80\x05\x94.",
    "a name that is a list": b"\x80\x05]]\x93.",
    "a dict of three": b"\x80\x05(K\x01K\x02K\x03d.",
    "an odd number of items": b"\x80\x05}(K\x01u.",
    "no mark": b"\x80\x05K\x01e.",
    "tuple of a mark": b"\x80\x05(\x85.",
    "not UTF-8": b"\x80\x05\x8c\x02\xff\xfe.",
    "a number that is none": b"Ione\n.",
    "a number of a million digits": b"L" + b"9" * 1_000_000 + b"L\n.",
    "no line": b"cos",
    "an int of nothing": b"\x80\x05\x8b\xff\xff\xff\xff.",
    "a class that is not there": b"(o.",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_damaged_stream_is_refused_with_a_sentence(name: str) -> None:
    with pytest.raises(PickleDamageError, match=r"^(cannot|ends|has|takes|names|puts) "):
        read(HOSTILE[name])


def test_a_place_in_the_memo_takes_no_memory_by_its_number() -> None:
    """The standard library makes room for all places below: gigabytes for six bytes."""
    began = time.process_time()
    assert read(b"\x80\x05K\x01r\xff\xff\xff\x7f.") == 1
    assert time.process_time() - began < 1


def test_shared_lists_do_not_multiply() -> None:
    """Thirty levels of [below, below]: a thousand million lists, if each were made."""
    level = b"]\x94(h%ch%ce"
    stream = b"\x80\x05]\x94" + b"".join(
        b"0" + level.replace(b"%c", bytes([place]), 2) for place in range(30)
    )
    node: Any = read(stream + b".")
    assert node.values[0] is node.values[1]


@settings(max_examples=500, deadline=None)
@given(st.binary(max_size=200))
def test_random_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        read(b"\x80\x05" + data)
    except PickleDamageError:
        pass


@settings(max_examples=300, deadline=None)
@given(_VALUES, st.data())
def test_damage_anywhere_is_read_or_refused(value: Any, data: st.DataObject) -> None:
    stream = bytearray(pickle.dumps([value, Point(1), Bomb(Path("/nowhere"))], 5))
    for _ in range(data.draw(st.integers(1, 4))):
        stream[data.draw(st.integers(0, len(stream) - 1))] = data.draw(st.integers(0, 255))
    try:
        read(bytes(stream))
    except PickleDamageError:
        pass
