"""Instances that are not asked for their reduction: the stream is as plain pickle writes it."""

from __future__ import annotations

import copyreg
import dataclasses
import io
import pickle
import types
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from livereload_core.state.codec import Dumper, load
from livereload_core.state.plain import start_of


class Node:
    def __init__(self, **fields: Any) -> None:
        self.__dict__.update(fields)


class Child(Node):
    pass


@dataclasses.dataclass
class Point:
    x: int
    y: int


@dataclasses.dataclass(frozen=True)
class Frozen:
    x: int


class Restored(Node):
    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, restored=True)


class Empty:
    __slots__ = ()


class Filled(Empty):
    pass


PLAIN: tuple[Any, ...] = (
    *(Node(), Node(a=1, b=[1, "x"]), Child(a=Node()), Point(1, 2), Frozen(3), Filled()),
    Restored(a=1),
)


class ByState(Node):
    def __getstate__(self) -> object:
        return {"by": "state"}


class ByReduce(Node):
    def __reduce__(self) -> Any:
        return Node, ()


class ByReduceEx(Node):
    def __reduce_ex__(self, protocol: Any) -> Any:
        return Node, (), {"by": protocol}


class ByArguments(Node):
    def __new__(cls, *args: Any) -> ByArguments:
        return object.__new__(cls)

    def __getnewargs__(self) -> tuple[str]:
        return ("argument",)


class ByKeywords(Node):
    def __new__(cls, *args: Any, **kwargs: Any) -> ByKeywords:
        return object.__new__(cls)

    def __getnewargs_ex__(self) -> Any:
        return (), {"key": "word"}


class Proxy(Node):
    def __getattr__(self, name: str) -> Any:
        if name == "__getnewargs__":
            return lambda: ()
        raise AttributeError(name)


class Watching(Node):
    def __getattribute__(self, name: str) -> Any:
        return object.__getattribute__(self, name)


class Posing(Node):
    @property
    def __dict__(self) -> dict[str, Any]:  # type: ignore[override]
        return {"posing": True}


class WithSlots(Node):
    __slots__ = ("slot",)


class OnlySlots:
    __slots__ = ("slot",)


class Items(dict[str, int]):
    pass


class FailedError(Exception):
    pass


WITH_A_SAY: tuple[Any, ...] = (
    *(ByState(a=1), ByReduce(a=1), ByReduceEx(a=1), ByArguments(), ByKeywords(), Proxy(a=1), Watching(a=1)),
    *(WithSlots(a=1), OnlySlots(), Items(a=1), FailedError("why")),
)


def written(value: Any) -> bytes:
    return Dumper((), lambda name: True).dump(value)[0]


def in_c(value: Any) -> bytes:
    """Write a value as plain pickle does: the pickler itself, for ``dumps`` decides about frames alike."""
    file = io.BytesIO()
    pickle.Pickler(file, 5).dump(value)
    return file.getvalue()


@pytest.mark.parametrize("value", PLAIN, ids=lambda value: type(value).__name__)
def test_plain_instances_are_written_as_plain_pickle_writes_them(value: Any) -> None:
    assert start_of(type(value)) == (type(value),)
    assert written([value, value, value.__dict__]) == in_c([value, value, value.__dict__])


@pytest.mark.parametrize("value", WITH_A_SAY, ids=lambda value: type(value).__name__)
def test_who_has_a_say_is_asked(value: Any) -> None:
    assert start_of(type(value)) is None
    assert written([value, value]) == in_c([value, value])


def test_a_class_whose_dict_is_a_property_is_asked() -> None:
    assert start_of(Posing) is None


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("__reduce_ex__", lambda protocol: (Node, (), {"by": "instance"})),
        ("__getstate__", lambda: {"by": "instance"}),
    ],
)
def test_an_instance_that_has_a_say_of_its_own_is_asked(name: str, says: Callable[..., Any]) -> None:
    value = Node(a=1)
    asked: list[str] = []

    class Saying:
        def __call__(self, *args: Any) -> Any:
            asked.append(name)
            return says(*args)

        def __reduce__(self) -> Any:
            return Node, ()

    Saying.__module__, Saying.__qualname__ = __name__, "Saying"
    value.__dict__[name] = Saying()
    written([Node(b=2), value])
    assert asked == [name]


def test_an_ordered_dict_in_the_place_of_the_dict_is_kept() -> None:
    value = Node()
    value.__dict__ = OrderedDict(b=1, a=2)
    assert written(value) == in_c(value)


def test_what_a_class_says_later_holds_from_the_next_export_on(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load(written(Child(a=1)), 0, (), {}).__dict__ == {"a": 1}
    monkeypatch.setattr(Node, "__getstate__", lambda self: {"said": "later"}, raising=False)
    assert load(written(Child(a=1)), 0, (), {}).__dict__ == {"said": "later"}


@pytest.fixture
def registered() -> Iterator[None]:
    copyreg.pickle(Child, lambda child: (Node, (), {"by": "copyreg"}))  # type: ignore[return-value,arg-type]
    yield
    del copyreg.dispatch_table[Child]


@pytest.mark.usefixtures("registered")
def test_a_class_with_a_registered_reduction_is_left_to_it() -> None:
    assert load(written(Child(a=1)), 0, (), {}).__dict__ == {"by": "copyreg"}


def test_classes_of_plain_instances_are_told_with_their_shapes() -> None:
    _, shapes = Dumper((), lambda name: name == __name__).dump([Point(1, 2), {"class": Frozen}])
    assert {key.partition(":")[2] for key in shapes} == {"Point", "Frozen"}


def test_a_class_that_is_not_what_its_name_says_is_refused() -> None:
    from livereload_core.state.refusals import RefusedError

    other = types.new_class("Node")
    other.__module__, other.__qualname__ = __name__, "Node"
    with pytest.raises(RefusedError, match="is not what that name stands for"):
        written(other())


def test_a_class_that_loses_its_name_between_two_roots_is_refused_for_the_second(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dumper = Dumper((), lambda name: True)
    value = Node(a=1)
    first, _ = dumper.dump(value)
    monkeypatch.setitem(globals(), "Node", Child)
    with pytest.raises(pickle.PicklingError, match="not the same object"):
        dumper.dump(value)
    monkeypatch.undo()
    assert dumper.dump(value)[0] == first
