"""Mixtures of all kinds of values over edits of their classes: how they are made, and what is right then.

A mixture is a list of nodes that refer to each other by number, in any way that Python allows: shared, in
cycles, through closures and keys. It is built with the classes of the old code, and compared with what came
out under the new one node by node; the numbers say which objects have to be one.
"""

from __future__ import annotations

import array
import collections
import dataclasses
import datetime
import functools
import threading
import weakref
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

__all__ = ["CLASSES", "Edit", "Mix", "build", "edits", "mixes", "source_of", "verify"]

FIELDS = ("tag", "x", "y")
INSTANCES = ("Plain", "Slotted", "Data")
IMMUTABLE = (
    *("tuple", "frozenset", "Frozen", "Point", "partial", "closure", "method"),
    *("exception", "weakref", "append", "Condition"),
)
MUTABLE = (
    *("list", "dict", "set", "deque", "OrderedDict", "defaultdict", "UserList", "Counter"),
    *("MyDict", "MyList", "bytearray", "Namespace", *INSTANCES),
)
LEAVES = ("Color", "Flags", "Lock", "RLock", "Event", "function", "class", "datetime", "array")
TAGGED = (*INSTANCES, "Frozen", "Point")
ONLY = {"weakref": ("Plain", "Data"), "append": ("list",), "Condition": ("Lock", "RLock")}
"""Kinds that refer to one object, which is of a certain kind."""
MOST = {"bytearray": 0, "closure": 1, "method": 2, **dict.fromkeys(ONLY, 1), **dict.fromkeys(TAGGED, 2)}

HEAD = """\
import collections, enum, functools, threading, types
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from livereload_core import preserve

WORD = {word!r}
def pair(*args): return args
def closure(child): return lambda: ({word!r}, child)
class MyDict(dict): pass
class MyList(list): pass
"""

TAIL = "".join(f"{name} = preserve({name!r}, dict)\n" for name in ("one", "two", "three"))


@dataclasses.dataclass(frozen=True)
class Edit:
    """A class after an edit.

    Attributes:
        name: in the words of a programmer.
        source: the class.
        fields: what an instance has now: attribute -> old field, or ``("value", ...)`` for a new one.
        refused: such an edit cannot be taken, and has to be refused where there is an instance.
        type: the name of the class now.
    """

    name: str
    source: str
    fields: dict[str, Any] = dataclasses.field(default_factory=lambda: {name: name for name in FIELDS})
    refused: bool = False
    type: str = ""

    @property
    def is_final(self) -> bool:
        """Whether going back is an edit of its own, which has to be said."""
        return "said so" in self.name or self.name == "has moved"


def _init(*lines: str, head: str, args: str = "tag, x, y", slots: str = "") -> str:
    body = "".join(f"        {line}\n" for line in lines or ("pass",))
    return f"{head}\n{slots}    def __init__(self, {args}):\n{body}    def me(self): return self\n"


def _plain(*more: str, head: str = "class Plain:", y: str = "self.y = y") -> str:
    return _init("self.tag = tag", "self.x = x", *([y] if y else []), *more, head=head)


def _slotted(*names: str, more: str = "", y: str = "self.y = y", head: str = "class Slotted:") -> str:
    slots = f"    __slots__ = {names!r}\n" if names else ""
    lines = ("self.tag = tag", "self.x = x", *([y] if y else []), *([more] if more else []))
    return _init(*lines, head=head, slots=slots)


def _fields(head: str, *lines: str) -> str:
    return head + "".join(f"\n    {line}" for line in lines) + "\n    def me(self): return self\n"


def _renamed(source: str) -> str:
    return "@preserve(renamed={'y': 'why'})\n" + source


THREE = ("tag: int", "x: Any", "y: Any")
WHY = {"tag": "tag", "x": "x", "why": "y"}
WITHOUT = {"tag": "tag", "x": "x"}
ALL = {name: name for name in FIELDS}
DATA, FROZEN, POINT = (
    "@dataclass(eq=False)\nclass Data:",
    "@dataclass(frozen=True, slots=True)\nclass Frozen:",
    "class Point(NamedTuple):",
)


def _declared(head: str, *, slots: bool = False) -> list[Edit]:
    """Return the edits that all classes with declared fields have in common."""
    return [
        Edit("as it was", _fields(head, *THREE)),
        Edit("field added", _fields(head, *THREE, "z: int = 3"), {**ALL, "z": ("value", 3)}),
        Edit("field added without a default", _fields(head, "z: int", *THREE), refused=True),
        Edit("fields in another order", _fields(head, *reversed(THREE))),
        Edit("field removed", _fields(head, *THREE[:2]), WITHOUT),
        Edit("field renamed", _fields(head, *THREE[:2], "why: Any"), refused=True),
        Edit("field renamed, and said so", _renamed(_fields(head, *THREE[:2], "why: Any")), WHY),
        Edit("field retyped", _fields(head, "tag: str", *THREE[1:]), refused=True),
        Edit("field widened", _fields(head, "tag: int | None", *THREE[1:])),
    ]


CLASSES: dict[str, list[Edit]] = {
    "Plain": [
        Edit("as it was", _plain()),
        Edit("assigns one more", _plain("self.z = []"), {**ALL, "z": ("value", [])}),
        Edit("assigns one less", _plain(y=""), WITHOUT),
        Edit("attribute renamed", _plain(y="self.why = y"), refused=True),
        Edit("attribute renamed, and said so", _renamed(_plain(y="self.why = y")), WHY),
        Edit(
            "gets slots",
            _init(
                "self.tag, self.x, self.y = tag, x, y",
                head="class Plain:",
                slots=f"    __slots__ = {FIELDS!r}\n",
            ),
        ),
        Edit("becomes a dataclass", _fields("@dataclass(eq=False)\nclass Plain:", *THREE)),
        Edit(
            "gets a base that assigns",
            "class Base:\n    def __init__(self): self.z = 3\n" + _plain(head="class Plain(Base):"),
            {**ALL, "z": ("value", 3)},
        ),
        Edit("is renamed", _plain(head="class Other:"), refused=True),
        Edit(
            "is renamed, and said so",
            "@preserve(aliases=('Plain',))\n" + _plain(head="class Other:"),
            type="Other",
        ),
        Edit("has moved", "from elsewhere import Plain\n"),
    ],
    "Slotted": [
        Edit("as it was", _slotted(*FIELDS)),
        Edit("slot added", _slotted(*FIELDS, "z", more="self.z = 3"), {**ALL, "z": ("value", 3)}),
        Edit("slot removed", _slotted("tag", "x", y=""), WITHOUT),
        Edit("slot renamed", _slotted("tag", "x", "why", y="self.why = y"), refused=True),
        Edit("slot renamed, and said so", _renamed(_slotted("tag", "x", "why", y="self.why = y")), WHY),
        Edit("loses its slots", _slotted()),
    ],
    "Data": [
        *_declared(DATA),
        Edit(
            "field made by a factory",
            _fields(DATA, *THREE, "z: list = field(default_factory=list)"),
            {**ALL, "z": ("value", [])},
        ),
        Edit("gets slots", _fields("@dataclass(eq=False, slots=True)\nclass Data:", *THREE)),
        Edit("becomes plain", _plain(head="class Data:")),
    ],
    "Frozen": [
        *_declared(FROZEN),
        Edit("loses its slots", _fields("@dataclass(frozen=True)\nclass Frozen:", *THREE)),
    ],
    "Point": [edit for edit in _declared(POINT) if edit.name != "field added without a default"],
    "Color": [
        Edit("as it was", "class Color(enum.Enum):\n    A = enum.auto()\n    B = enum.auto()\n"),
        Edit("in another order", "class Color(enum.Enum):\n    B = enum.auto()\n    A = enum.auto()\n"),
        Edit("one in front", "class Color(enum.Enum):\n    Z, A, B = range(3)\n"),
        Edit("values changed", "class Color(enum.Enum):\n    A = 'a'\n    B = 'b'\n"),
        Edit("all gone", "class Color(enum.Enum):\n    C = 1\n", refused=True),
    ],
    "Flags": [
        Edit("as it was", "class Flags(enum.Flag):\n    A, B, C = 1, 2, 4\n"),
        Edit("bits swapped", "class Flags(enum.Flag):\n    A, B, C = 4, 1, 2\n"),
    ],
}


def source_of(word: str, chosen: dict[str, Edit]) -> dict[str, str]:
    """Return the modules of the program with these classes."""
    classes = "".join(edit.source for edit in chosen.values())
    return {"app": HEAD.format(word=word) + classes + TAIL, "elsewhere": _plain()}


@dataclasses.dataclass(frozen=True)
class Mix:
    """What the roots hold.

    Attributes:
        nodes: (kind, parts); a part is a number of a node, or an atom in a tuple of one.
        roots: numbers of nodes, by the name of the root.
    """

    nodes: list[tuple[str, list[Any]]]
    roots: dict[str, list[int]]

    def kinds(self, *, certain: bool) -> set[str]:
        """Return the classes of what the roots lead to.

        Args:
            certain: not through a set, which leaves out what has no hash, and not through a weak reference,
                whose object may be gone.
        """
        kinds = {self.nodes[number][0] for number in self.reached(certain=certain, strongly=certain)}
        # A class that is kept by itself counts as if an instance of it were kept: the shapes do not tell.
        more = {"Data"} if "class" in kinds and not certain else set()
        return kinds | more | ({"Plain"} if "method" in kinds else set())

    def reached(self, *, certain: bool, strongly: bool = False) -> set[int]:
        """Return the nodes that the roots lead to.

        Args:
            certain: not through a set, which leaves out what has no hash.
            strongly: not through weak references either.
        """
        found: set[int] = set()
        waiting = [number for numbers in self.roots.values() for number in numbers]
        while waiting:
            number = waiting.pop()
            if number not in found:
                found.add(number)
                kind, parts = self.nodes[number]
                if not (certain and kind in ("set", "frozenset")) and not (strongly and kind == "weakref"):
                    waiting += [part for part in parts if isinstance(part, int)]
        return found


_ATOMS = st.one_of(
    st.integers(-5, 300),
    st.integers(),
    st.floats(allow_nan=False),
    st.sampled_from([None, True, False, ..., b"", 1j]),
    st.text(max_size=3),
    st.binary(max_size=3),
)


@st.composite
def mixes(draw: st.DrawFn) -> Mix:
    count = draw(st.integers(1, 14))
    kinds = st.sampled_from([*MUTABLE, *INSTANCES, *IMMUTABLE, *LEAVES])
    parts = st.lists(st.one_of(st.integers(0, count - 1), _ATOMS.map(lambda atom: (atom,))), max_size=4)
    nodes = [(draw(kinds), draw(parts)) for _ in range(count)]
    for number, (kind, own) in enumerate(nodes):
        # An object that cannot be filled later refers to what can, or to what was made before.
        able = (
            [
                part
                for part in own
                if not isinstance(part, int) or part < number or nodes[part][0] in (*MUTABLE, *LEAVES)
            ]
            if kind in IMMUTABLE
            else own
        )
        if kind in ONLY:
            fitting = [place for place, (other, _) in enumerate(nodes) if other in ONLY[kind]]
            able = [draw(st.sampled_from(fitting))] if fitting else []
        if kind == "Counter":
            able = [part for part in able if not isinstance(part, int)]
        nodes[number] = (kind, able[: MOST.get(kind, 0 if kind in LEAVES else 4)])
    numbers = st.lists(st.integers(0, count - 1), min_size=1, max_size=3)
    return Mix(nodes, {name: draw(numbers) for name in ("one", "two", "three")})


@st.composite
def edits(draw: st.DrawFn) -> dict[str, Edit]:
    """Return what becomes of each class; at most one in a way that has to be refused."""
    chosen = {
        name: draw(st.sampled_from([edit for edit in choices if not edit.refused]))
        for name, choices in CLASSES.items()
    }
    if draw(st.integers(0, 3)) == 3:
        wrong = draw(st.sampled_from(["Plain", "Slotted", "Data", "Frozen", "Point", "Color"]))
        chosen[wrong] = draw(st.sampled_from([edit for edit in CLASSES[wrong] if edit.refused]))
    return chosen


# -- building --------------------------------------------------------------------------------------------


def build(mix: Mix, app: Any) -> None:
    """Put a mixture into the roots of the old code."""
    made: dict[int, Any] = {}
    for number, (kind, _) in enumerate(mix.nodes):
        if kind in MUTABLE or kind in LEAVES:
            made[number] = _empty(kind, number, app)
    for number, (kind, parts) in enumerate(mix.nodes):
        if kind in IMMUTABLE:
            made[number] = _made(kind, number, _values(parts, made), app)
    for number, (kind, parts) in enumerate(mix.nodes):
        if kind in MUTABLE:
            _fill(kind, number, made[number], _values(parts, made))
    for name, numbers in mix.roots.items():
        vars(app)[name].update({place: made[number] for place, number in enumerate(numbers)})


def _values(parts: list[Any], made: dict[int, Any]) -> list[Any]:
    return [made[part] if isinstance(part, int) else part[0] for part in parts]


def _empty(kind: str, number: int, app: Any) -> Any:
    if kind in INSTANCES:
        cls = getattr(app, kind)
        return cls.__new__(cls)
    if kind in ("MyDict", "MyList"):
        return getattr(app, kind)()
    makers: dict[str, Callable[[], Any]] = {
        "list": list,
        "dict": dict,
        "set": set,
        "deque": lambda: collections.deque(maxlen=9),
        "OrderedDict": collections.OrderedDict,
        "defaultdict": lambda: collections.defaultdict(list),
        "UserList": collections.UserList,
        "Counter": collections.Counter,
        "bytearray": lambda: bytearray(str(number).encode()),
        "Namespace": app.types.SimpleNamespace,
        "Color": lambda: list(app.Color)[number % 2],
        "Flags": lambda: app.Flags.A | (app.Flags.B if number % 2 else app.Flags.C),
        "Lock": app.threading.Lock,
        "RLock": app.threading.RLock,
        "Event": app.threading.Event,
        "function": lambda: app.pair,
        "class": lambda: app.Data,
        "datetime": lambda: datetime.datetime(2000, 1, 1 + number, tzinfo=datetime.UTC),
        "array": lambda: array.array("i", [number]),
    }
    value = makers[kind]()
    if kind in ("Lock", "RLock"):
        value.acquire()
    if kind == "Event":
        value.set()
    return value


def _padded(values: list[Any]) -> tuple[Any, Any]:
    return tuple((*values, None, None)[:2])


def _made(kind: str, number: int, values: list[Any], app: Any) -> Any:
    x, y = _padded(values)
    if kind in ("Frozen", "Point"):
        return getattr(app, kind)(number, x, y)
    if kind == "tuple":
        return (*values, number)
    if kind == "frozenset":
        return frozenset(_hashable(values))
    if kind == "partial":
        return functools.partial(app.pair, *values, n=number)
    if kind == "closure":
        return app.closure(x)
    if kind == "exception":
        return ValueError(*values)
    if kind in ONLY and not values:
        return [number]
    if kind in ONLY:
        makers: dict[str, Any] = {"weakref": weakref.ref, "Condition": threading.Condition}
        return makers[kind](x) if kind in makers else x.append
    holder = app.Plain(number, x, y)
    return holder.me


def _is_tagged(value: Any) -> bool:
    return type(value).__name__ in TAGGED


def _hashable(values: list[Any]) -> list[Any]:
    """Return what can be found again in a set: atoms, and objects that say which they are."""
    found = []
    for value in values:
        if _is_tagged(value) or isinstance(value, int | str | bytes | float | complex | type(None)):
            try:
                hash(value)
            except (TypeError, AttributeError):  # holds a list, or is not filled yet
                continue
            found.append(value)
    return found


def _fill(kind: str, number: int, made: Any, values: list[Any]) -> None:
    if kind in INSTANCES:
        made.tag, (made.x, made.y) = number, _padded(values)
    elif kind in ("list", "deque", "UserList", "MyList"):
        made.extend(values)
        if kind == "MyList":
            made.tag = number
    elif kind == "set":
        made.update(_hashable(values))
    elif kind == "Counter":
        made.update({f"k{place}": place for place in range(len(values))})
    elif kind == "Namespace":
        vars(made).update({f"k{place}": value for place, value in enumerate(values)})
    elif kind != "bytearray":
        made.update({f"k{place}": value for place, value in enumerate(values)})
        made.update({key: "as a key" for key in _hashable(values) if _is_tagged(key)})
        if kind == "MyDict":
            made.tag = number


# -- verifying ------------------------------------------------------------------------------------------


class _Verifier:
    """Walks a mixture and what came of it side by side."""

    def __init__(self, mix: Mix, chosen: dict[str, Edit], app: Any) -> None:
        self._mix = mix
        self._chosen = chosen
        self._app = app
        self._objects: dict[int, Any] = {}  # that can change: one, whichever root leads to it
        self._of_root: dict[int, Any] = {}
        self._new: list[Any] = []  # values of new fields
        self._strong = mix.reached(certain=True, strongly=True)

    def root(self, name: str) -> None:
        """Verify one root."""
        self._of_root = {}
        root = vars(self._app)[name]
        assert list(root) == list(range(len(self._mix.roots[name])))
        self._waiting: list[tuple[int, Any]] = list(zip(self._mix.roots[name], root.values(), strict=True))
        while self._waiting:
            self._node(*self._waiting.pop())

    def _node(self, number: int, value: Any) -> None:
        kind, parts = self._mix.nodes[number]
        if number in self._of_root:
            assert value is self._of_root[number], f"{kind} {number} is two"
            return
        self._of_root[number] = value
        if number in self._objects:
            assert self._objects[number] is value, f"{kind} {number} is one for each root"
            return
        if kind in MUTABLE:
            self._objects[number] = value
        check = getattr(self, f"_{kind}", None) or (self._instance if kind in TAGGED else None)
        if check is not None:
            check(number, parts, value)
        elif kind in LEAVES:
            self._leaf(kind, number, value)
        else:
            self._container(kind, number, parts, value)

    def _part(self, part: Any, value: Any) -> None:
        if isinstance(part, int):
            self._waiting.append((part, value))
        else:
            assert (type(value), value) == (type(part[0]), part[0])

    def _instance(self, number: int, parts: list[Any], value: Any) -> None:
        kind = self._mix.nodes[number][0]
        edit = self._chosen[kind]
        assert type(value) is getattr(self._app, edit.type or kind)
        given = [*parts, (None,), (None,)][:2]
        old: dict[str, Any] = {"tag": (number,), "x": given[0], "y": given[1]}
        for name, source in edit.fields.items():
            if isinstance(source, tuple):
                made = getattr(value, name)
                assert made == source[1], (edit.name, name)
                assert not (type(made) is list and any(made is other for other in self._new)), "one for all"
                self._new.append(made)
            else:
                self._part(old[source], getattr(value, name))
        assert type(value).me(value) is value

    def _method(self, number: int, parts: list[Any], value: Any) -> None:
        holder = value.__self__
        edit = self._chosen["Plain"]
        assert value() is holder
        assert type(holder) is getattr(self._app, edit.type or "Plain")
        assert holder.tag == number

    def _closure(self, number: int, parts: list[Any], value: Any) -> None:
        word, child = value()
        assert word == self._app.WORD  # the new code
        self._part(parts[0] if parts else (None,), child)

    def _partial(self, number: int, parts: list[Any], value: Any) -> None:
        assert type(value) is functools.partial
        assert value.func is self._app.pair
        assert value.keywords == {"n": number}
        for part, arg in zip(parts, value.args, strict=True):
            self._part(part, arg)

    def _tuple(self, number: int, parts: list[Any], value: Any) -> None:
        assert type(value) is tuple
        assert value[-1] == number
        for part, item in zip(parts, value[:-1], strict=True):
            self._part(part, item)

    def _exception(self, number: int, parts: list[Any], value: Any) -> None:
        assert type(value) is ValueError
        for part, arg in zip(parts, value.args, strict=True):
            self._part(part, arg)

    def _append(self, number: int, parts: list[Any], value: Any) -> None:
        self._referring(parts, value, lambda: value.__self__)

    def _Condition(self, number: int, parts: list[Any], value: Any) -> None:
        self._referring(parts, value, lambda: value._lock)

    def _weakref(self, number: int, parts: list[Any], value: Any) -> None:
        if not parts or parts[0] in self._strong or value() is not None:  # else nothing was left that held it
            self._referring(parts, value, lambda: value())

    def _referring(self, parts: list[Any], value: Any, to: Callable[[], Any]) -> None:
        if parts:
            self._part(parts[0], to())
        else:
            assert isinstance(value, list)  # there was nothing to refer to

    def _leaf(self, kind: str, number: int, value: Any) -> None:
        app = self._app
        if kind == "Color":
            assert value is app.Color["AB"[number % 2]]
        elif kind == "Flags":
            assert value == app.Flags.A | (app.Flags.B if number % 2 else app.Flags.C)
        elif kind == "Event":
            assert type(value) is app.threading.Event
            assert value.is_set()
        elif kind in ("datetime", "array"):
            assert value == _empty(kind, number, app)
        elif kind in ("Lock", "RLock"):
            assert type(value) is type(getattr(app.threading, kind)())
            assert value.acquire(blocking=False)
            value.release()
        else:
            assert value is (app.pair if kind == "function" else app.Data)

    def _container(self, kind: str, number: int, parts: list[Any], value: Any) -> None:
        home = self._app if kind.startswith("My") else collections
        assert type(value) is {
            "list": list,
            "dict": dict,
            "set": set,
            "frozenset": frozenset,
            "bytearray": bytearray,
            "Namespace": self._app.types.SimpleNamespace,
        }.get(kind, getattr(home, kind, None))
        if kind.startswith("My"):
            assert value.tag == number
        if kind in ("list", "deque", "UserList", "MyList"):
            for part, item in zip(parts, value, strict=True):
                self._part(part, item)
            assert kind != "deque" or value.maxlen == 9
        elif kind == "bytearray":
            assert value == str(number).encode()
        elif kind in ("set", "frozenset"):
            self._members(parts, value)
        elif kind == "Counter":
            assert value == {f"k{place}": place for place in range(len(parts))}
        else:
            items = vars(value) if kind == "Namespace" else value
            for place, part in enumerate(parts):
                self._part(part, items[f"k{place}"])
            self._members(parts, [key for key in items if not isinstance(key, str)], items)
            assert kind != "defaultdict" or value.default_factory is list

    def _members(self, parts: list[Any], members: Any, items: Any = None) -> None:
        """Verify the members of a set, or keys: each has to be found where it is looked for."""
        tags = {part: part for part in parts if isinstance(part, int) and self._mix.nodes[part][0] in TAGGED}
        atoms = [] if items is not None else [part[0] for part in parts if not isinstance(part, int)]
        for member in members:
            assert member in (members if items is None else items)
            if hasattr(type(member), "me"):
                self._waiting.append((tags[member.tag], member))
            else:
                assert member in atoms


def verify(mix: Mix, chosen: dict[str, Edit], app: Any) -> None:
    """Compare what the roots of the new code hold with a mixture.

    Raises:
        AssertionError: something is not what it was, or not what its new class wants.
    """
    verifier = _Verifier(mix, chosen, app)
    for name in mix.roots:
        verifier.root(name)
