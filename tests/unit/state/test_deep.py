"""Structures deeper than the C stack: what is written is what the C pickler would write, in its order."""

from __future__ import annotations

import collections
import dataclasses
import functools
import pickle
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest

from livereload_core.errors import CannotCarryError
from livereload_core.facts import RootFate
from livereload_core.state import codec
from livereload_core.state import deep as deep_module
from livereload_core.state.codec import Dumper, load, undisturbed
from tests.unit.state.conftest import Program

LONG = 200_000


class Node:
    def __init__(self, number: int, after: Any) -> None:
        self.number, self.after = number, after
        self.before = None
        if after is not None:
            after.before = self

    def __repr__(self) -> str:
        return f"<{self.number}>"

    def touch(self) -> None: ...


class Slotted:
    __slots__ = ("__mangled", "after", "number", "unset")

    def __init__(self, number: int, after: Any) -> None:
        self.number, self.after, self.__mangled = number, after, 7

    def mangled(self) -> int:
        return self.__mangled


class Sub(Slotted):
    """Slots and a dict."""

    def __init__(self, number: int, after: Any) -> None:
        super().__init__(number, after)
        self.own = number


@dataclasses.dataclass
class Data:
    number: int
    after: Any


@dataclasses.dataclass(frozen=True, slots=True)
class Frozen:
    number: int
    after: Any


class Reduced:
    def __init__(self, number: int, after: Any) -> None:
        self.number, self.after = number, after

    def __reduce__(self) -> Any:
        return Reduced, (self.number, self.after)


class Summed:
    """Looks at what it is given while it is read: that has to be complete."""

    def __init__(self, number: int, after: Any) -> None:
        self.number, self.after = number, after

    def __getstate__(self) -> Any:
        return self.number, self.after

    def __setstate__(self, state: Any) -> None:
        self.number, self.after = state
        self.total = self.number + (self.after.total if self.after else 0)


class Pair(collections.UserList[Any]):
    pass


class MyDict(dict[str, Any]):
    @property
    def number(self) -> int:
        number: int = self["number"]
        return number

    @property
    def after(self) -> Any:
        return self["after"]


class Named(collections.namedtuple("Named", "number after")):
    __slots__ = ()


class Extra:
    """Arguments for ``__new__``, by position and by name."""

    def __new__(cls, number: int, *, after: Any) -> Extra:
        self = super().__new__(cls)
        self.number, self.after = number, after
        return self

    def __getnewargs_ex__(self) -> Any:
        return (self.number,), {"after": self.after}

    def __getstate__(self) -> Any:
        return None

    number: int
    after: Any


def add(one: Any, other: Any) -> Any:
    return (one, other)


CHAINS: dict[str, Callable[[int, Any], Any]] = {
    "instances": Node,
    "slots": Slotted,
    "slots and a dict": Sub,
    "dataclasses": Data,
    "frozen dataclasses": Frozen,
    "with __reduce__": Reduced,
    "with __setstate__": Summed,
    "dict subclass": lambda number, after: MyDict(number=number, after=after),
    "named tuple": Named,
    "__getnewargs_ex__": lambda number, after: Extra(number, after=after),
}


def chain(make: Callable[[int, Any], Any], length: int) -> Any:
    link = None
    for number in range(length):
        link = make(number, link)
    return link


def carried(value: Any) -> Any:
    with undisturbed():
        stream, _ = Dumper((), lambda name: True).dump(value)
        return load(stream, 0, (), {})


def links(link: Any) -> list[Any]:
    found = []
    while link is not None:
        found.append(link)
        link = link.after
    return found


@pytest.fixture
def deep(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the way of deep structures for all of them."""

    def gives_up(*args: Any) -> Any:
        raise RecursionError

    monkeypatch.setattr(codec, "_Pickler", gives_up)


@pytest.mark.parametrize("make", CHAINS.values(), ids=CHAINS)
def test_chain_of_each_kind_is_carried(make: Callable[[int, Any], Any]) -> None:
    length = 20_000
    limit = sys.getrecursionlimit()
    value = chain(make, length)
    first, again = carried([value, value])
    assert sys.getrecursionlimit() == limit
    assert first is again
    found = links(first)
    assert [link.number for link in found] == list(range(length - 1, -1, -1))
    assert {type(link) for link in found} == {type(value)}


def test_instances_are_complete_before_whoever_refers_to_them_is_filled() -> None:
    back = carried(chain(Summed, 20_000))
    assert back.total == sum(range(20_000))


def test_both_ways_of_a_chain_stay_one_chain() -> None:
    found = links(carried(chain(Node, 20_000)))
    assert found[0].before is None
    assert all(link.after.before is link for link in found[:-1])


def test_nested_containers_of_each_kind_are_carried() -> None:
    value: Any = 1
    wrap: list[Callable[[Any], Any]] = [
        lambda inner: [inner],
        lambda inner: {"key": inner},
        lambda inner: (inner,),
        lambda inner: (1, inner, 2.5, -1),
        lambda inner: collections.deque([inner], 5),
        lambda inner: collections.OrderedDict(key=inner),
        lambda inner: functools.partial(add, inner),
        lambda inner: frozenset([inner]) if not isinstance(inner, frozenset | int) else (inner,),
        Pair,
    ]
    hashable = 1
    for number in range(20_000):
        make = wrap[number % 7]
        value = make(value)
    for _ in range(5_000):
        hashable = wrap[7](hashable)
    back, other = carried((value, hashable))
    while type(value) is not int:
        assert type(back) is type(value)
        value, back = _inside(value), _inside(back)
    assert back == value == 1
    while type(other) is not int:
        (other,) = other


def _inside(value: Any) -> Any:
    if isinstance(value, functools.partial):
        return value.args[0]
    if isinstance(value, dict):
        return value["key"]
    return value[1] if len(value) > 1 else value[0]


def test_tuple_that_leads_to_itself_comes_back_as_one(deep: None) -> None:
    for size in (1, 2, 3, 4):
        inner: list[Any] = []
        value = (inner, *range(size - 1))
        inner.append(value)
        back = carried(value)
        assert back[0][0] is back


def test_object_that_leads_to_itself_by_its_arguments_is_one(deep: None) -> None:
    inner: list[Any] = []
    partial = functools.partial(add, inner)
    inner.append(partial)
    back = carried([partial])[0]
    assert back.args[0][0] is back


def test_atoms_of_every_size_are_written_right(deep: None) -> None:
    numbers = [sign * (1 << bits) + more for bits in range(70) for sign in (1, -1) for more in (-1, 0, 1)]
    values: list[Any] = [*numbers, 1 << 5000, -(1 << 5000), 0.1, float("inf"), 1j, True, False, None, "", ...]
    values += ["ä" * 300, b"x" * 300, b"y" * 70_000, bytearray(b"z" * 70_000), "w" * 70_000, type(None), int]
    back = carried(values)
    assert back == values
    assert [type(value) for value in back] == [type(value) for value in values]


def test_empty_objects_stay_empty(deep: None) -> None:
    class_instances = [object.__new__(cls) for cls in (Node, Slotted, Sub, Data)]
    values = [[], {}, (), set(), frozenset(), *class_instances, *class_instances]
    back = carried(values)
    assert back[:5] == values[:5]
    for value, was in zip(back[5:9], class_instances, strict=True):
        assert type(value) is type(was)
        assert not getattr(value, "__dict__", None)
        assert not hasattr(value, "number")
    assert all(one is other for one, other in zip(back[5:9], back[9:], strict=True))


def test_namespace_that_is_kept_beside_its_object_is_written_once(deep: None) -> None:
    one, other = Node(1, None), Node(2, None)
    back = carried([vars(one), one, other, vars(other)])
    assert [back[0], vars(back[1])] == [{"number": 1, "after": None, "before": None}] * 2
    assert back[3] == vars(back[2])


def test_namespace_of_another_kind_stays_what_it_is(deep: None) -> None:
    spaces = [collections.OrderedDict(number=number) for number in range(3)]
    nodes = [Node(0, None) for _ in spaces]
    for node, space in zip(nodes, spaces, strict=True):
        node.__dict__ = space
    back = carried([*nodes, *spaces, nodes[0]])
    assert [type(space) for space in back[3:6]] == [collections.OrderedDict] * 3
    assert [vars(node) for node in back[:3]] == spaces
    assert back[6] is back[0]


def test_dill_has_no_say_in_what_is_written(deep: None) -> None:
    """It puts savers of its own into the table of the standard library's pickler, which write code."""
    import dill  # noqa: F401

    assert any(save.__module__ != "pickle" for save in pickle._Pickler.dispatch.values())
    holder = Node(1, None)
    values = [add, Node, holder.touch, type, len, [].append, functools.partial(add, 1), sys]
    stream, _ = Dumper((), lambda name: True).dump([holder, values])
    assert b"dill" not in stream
    back, (function, cls, method, *_) = load(stream, 0, (), {})
    assert function is add
    assert cls is Node
    assert method.__self__ is back


def test_roots_and_classes_are_noted_as_in_shallow_state(deep: None) -> None:
    root, target = Node(1, None), Node(2, None)
    stream, classes = Dumper((root,), lambda name: True).dump([root, Data(1, root)])
    back = load(stream, 1, (target,), {})
    assert back[0] is target
    assert back[1].after is target
    assert list(classes) == [f"{__name__}:Data"]


def test_reduction_that_cannot_be_right_is_refused_as_in_shallow_state(deep: None) -> None:
    class Wrong:
        def __init__(self, reduction: Any) -> None:
            self.reduction = reduction

        def __reduce__(self) -> Any:
            return self.reduction

    for reduction in (7, (dict,), (dict, (), 1, 2, 3, 4, 5), (7, ()), (dict, 7), "nowhere"):
        with pytest.raises((pickle.PicklingError, AttributeError, TypeError)):
            carried(Wrong(reduction))


def test_what_two_roots_share_deep_down_stays_shared(program: Program) -> None:
    source = """
    from livereload_core import preserve
    a = preserve("a", list)
    b = preserve("b", list)
    """
    app = program.start(app=source)
    shared = {"n": 1}
    app.a.append(_nested(shared, 20_000))
    app.b.append(shared)
    app = program.reload(app=source)
    inner = app.a[0]
    while type(inner) is list:
        (inner,) = inner
    assert inner is app.b[0]
    assert inner == {"n": 1}


def _nested(value: Any, depth: int) -> Any:
    for _ in range(depth):
        value = [value]
    return value


ENDLESS = """
from livereload_core import preserve
class Endless:
    def __init__(self, *parts, **fields): vars(self).update(fields)
    def __reduce__(self): return {reduction}
class Copied:
    def __reduce__(self): return Endless, (Copied(),)
class Other:
    def __getstate__(self): return {{"other": Copied()}}
good = preserve("good", dict)
bad = preserve("bad", dict{option})
"""

REDUCTIONS = {
    "arguments": "Endless, (Endless(),)",
    "state": "Endless, (), {'next': Endless()}",
    "items": "list, (), None, iter([Endless()])",
    "pairs": "dict, (), None, None, iter([(1, Endless())])",
    "two each": "Endless, (Endless(), Endless())",
    "in containers": "Endless, ([{'x': (Endless(), 1)}],)",
    "another kind in turn": "Endless, (Other(),)",
    "kept as they are made": "Endless, (), vars(self).setdefault('next', Endless())",
}


@pytest.mark.parametrize("reduction", REDUCTIONS.values(), ids=REDUCTIONS)
def test_object_that_makes_up_others_without_end_is_refused_with_its_path(
    program: Program, monkeypatch: pytest.MonkeyPatch, reduction: str
) -> None:
    monkeypatch.setattr(deep_module, "_MOST_MADE_UP", 20_000)
    app = program.start(app=ENDLESS.format(reduction=reduction, option=""))
    app.bad["deep"] = [1, app.Endless()]
    with pytest.raises(CannotCarryError) as caught:
        program.engine.export()
    assert caught.value.path == 'bad["deep"][1]'
    assert "names others like itself, " in str(caught.value)


def test_object_that_makes_up_others_without_end_costs_no_other_root_and_no_minute(
    program: Program,
) -> None:
    source = ENDLESS.format(reduction=REDUCTIONS["arguments"], option=", on_error='reset'")
    app = program.start(app=source)
    app.bad["deep"], app.good["n"] = [1, app.Endless()], 1
    began = time.process_time()
    export = program.engine.export()
    assert time.process_time() - began < 20  # 1 s where it was measured; more than a minute without the bound
    assert [report.fate for report in export.roots] == [RootFate.KEPT, RootFate.LOST]
    export.close()


@pytest.mark.slow
@pytest.mark.parametrize("make", [Node, Slotted, Reduced])
def test_chain_of_two_hundred_thousand_takes_ten_times_as_long_as_one_of_twenty(
    make: Callable[[int, Any], Any],
) -> None:
    def seconds(length: int) -> float:
        value = chain(make, length)
        began = time.process_time()
        back = carried(value)
        took = time.process_time() - began
        assert len(links(back)) == length
        return took

    # In proportion, with room for a busy machine; what was quadratic would take a hundred times as long.
    assert seconds(LONG) < 40 * max(seconds(LONG // 10) for _ in range(3))
