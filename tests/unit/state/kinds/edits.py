"""Edits of classes while their instances are kept, and what is right afterwards."""

from __future__ import annotations

import dataclasses

__all__ = ["EDITS", "HEAD", "Edit"]

HEAD = """
import collections, dataclasses, enum, typing
from dataclasses import dataclass, field
from enum import Enum, Flag, auto
from typing import NamedTuple, Optional
from livereload_core import preserve
box = preserve("box", dict)
"""


@dataclasses.dataclass(frozen=True)
class Edit:
    """One edit.

    Attributes:
        name: as in the table.
        before: the class as it was.
        after: the class as it is.
        check: what is right of ``v``, an expression in the new module.
        make: what is kept, an expression in the old module.
    """

    name: str
    before: str
    after: str
    check: str = "(v.a, v.b) == (1, 2)"
    make: str = "Thing(1, 2)"


def plain(assigned: str = "self.a, self.b = a, b", args: str = "a, b", head: str = "class Thing:") -> str:
    body = "".join(f"        {line}\n" for line in assigned.split("; "))
    return f"{head}\n    def __init__(self, {args}):\n{body}"


def fields(decorator: str, *names: str, head: str = "class Thing:") -> str:
    return f"{decorator}\n{head}\n" + "".join(f"    {name}\n" for name in names)


def family(name: str, decorator: str, new: str, head: str = "class Thing:", imports: str = "") -> list[Edit]:
    """Return the edits of fields for one way to declare them; ``new`` declares ``c`` as 3."""

    def source(*names: str) -> str:
        return imports + fields(decorator, *names, head=head)

    before = source("a: int", "b: int")
    keyword = "Thing(a=1, b=2)"
    return [
        Edit(
            f"{name}: field added with a default",
            before,
            source("a: int", "b: int", new),
            "(v.a, v.b, v.c) == (1, 2, 3)",
            keyword,
        ),
        Edit(
            f"{name}: field added without a default",
            before,
            source("a: int", "b: int", "c: int"),
            "(v.a, v.b, v.c) == (1, 2, ...)",
            keyword,
        ),
        Edit(f"{name}: field removed", before, source("a: int"), "v.a == 1", keyword),
        Edit(f"{name}: fields in another order", before, source("b: int", "a: int"), make=keyword),
        Edit(
            f"{name}: field renamed", before, source("a: int", "bee: int"), "(v.a, v.bee) == (1, 2)", keyword
        ),
        Edit(f"{name}: type widened", before, source("a: int", "b: int | None"), make=keyword),
        Edit(f"{name}: type changed", before, source("a: int", "b: str"), "(v.a, v.b) == (1, '2')", keyword),
    ]


SLOTS = "class Thing:\n    __slots__ = {}\n    def __init__(self, a, b):\n        self.a, self.b = a, b\n"
ENUM = "class Thing(Enum):\n"

EDITS = [
    Edit(
        "plain: method changed",
        plain() + "    def f(self): return 1\n",
        plain() + "    def f(self): return 9\n",
        "v.f() == 9",
    ),
    Edit(
        "plain: `__init__` assigns one more, a literal",
        plain(),
        plain("self.a, self.b = a, b; self.c = []"),
        "(v.a, v.c) == (1, [])",
    ),
    Edit(
        "plain: `__init__` assigns one more, an argument with a default",
        plain(),
        plain("self.a, self.b = a, b; self.c = c", "a, b, c=3"),
        "(v.a, v.c) == (1, 3)",
    ),
    Edit(
        "plain: `__init__` assigns one more, a lock",
        plain(),
        "import threading\n" + plain("self.a, self.b = a, b; self.c = threading.Lock()"),
        "not v.c.locked()",
    ),
    Edit(
        "plain: `__init__` assigns one more, an argument",
        plain(),
        plain("self.a, self.b, self.c = a, b, c", "a, b, c"),
        "v.c is ...",
    ),
    Edit("plain: attribute removed", plain(), plain("self.a = a"), "v.a == 1"),
    Edit("plain: attribute renamed", plain(), plain("self.a, self.bee = a, b"), "(v.a, v.bee) == (1, 2)"),
    Edit(
        "plain: attribute renamed, with a default",
        plain("self.a = a; self.b = 0"),
        plain("self.a = a; self.bee = 0"),
        "(v.a, v.bee) == (1, 0)",
    ),
    Edit(
        "plain: attribute retyped",
        plain("self.a = a; self.b: int = b"),
        plain("self.a = a; self.b: str = b"),
        "(v.a, v.b) == (1, '2')",
    ),
    Edit(
        "plain: attribute begins with a literal of another type",
        plain("self.a = a; self.b = []"),
        plain("self.a = a; self.b = {}"),
        "(v.a, v.b) == (1, {})",
    ),
    Edit(
        "plain: attribute begins with another number",
        plain("self.a = 1; self.b = 2"),
        plain("self.a = 1.5; self.b = 3"),
    ),
    Edit(
        "plain: attribute that was None begins with a list",
        plain("self.a, self.b = a, b; self.c = None"),
        plain("self.a, self.b = a, b; self.c = []"),
        "(v.a, v.b, v.c) == (1, 2, None)",
    ),
    *[
        Edit(
            f"plain: one more is assigned {how}",
            plain(),
            plain(f"self.a, self.b = a, b; {line}") + more,
            "(v.a, v.b, v.c) == (1, 2, 3)",
        )
        for how, line, more in (
            ("by a method", "self.begin()", "    def begin(self): self.c = 3\n"),
            ("in a loop", "for _ in 'x': self.c = 3", ""),
            ("by `setattr`", "setattr(self, 'c', 3)", ""),
            ("in `__dict__`", "self.__dict__.update(c=3)", ""),
            ("in `vars()`", "vars(self)['c'] = 3", ""),
        )
    ],
    Edit("plain becomes slots", plain(), SLOTS.format("('a', 'b')")),
    Edit(
        "slots: slot added",
        SLOTS.format("('a', 'b')"),
        SLOTS.format("('a', 'b', 'c')") + "        self.c = 3\n",
        "(v.a, v.b, v.c) == (1, 2, 3)",
    ),
    Edit(
        "slots: slot removed",
        SLOTS.format("('a', 'b')"),
        "class Thing:\n    __slots__ = ('a',)\n",
        "v.a == 1",
    ),
    Edit(
        "slots: slot renamed",
        SLOTS.format("('a', 'b')"),
        "class Thing:\n    __slots__ = ('a', 'bee')\n",
        "(v.a, v.bee) == (1, 2)",
    ),
    Edit("slots become plain", SLOTS.format("('a', 'b')"), plain()),
    *family("dataclass", "@dataclass", "c: int = 3"),
    Edit(
        "dataclass: default factory",
        fields("@dataclass", "a: int", "b: int"),
        fields("@dataclass", "a: int", "b: int", "c: list = field(default_factory=list)"),
        "v.c == [] and v.c is not type(v)(1, 2).c",
    ),
    Edit(
        "dataclass: `__post_init__` assigns one more, a literal",
        fields("@dataclass", "a: int", "b: int"),
        fields("@dataclass", "a: int", "b: int", "def __post_init__(self): self.c = 3"),
        "(v.a, v.b, v.c) == (1, 2, 3)",
    ),
    Edit(
        "dataclass: `__post_init__` assigns one more, of other fields",
        fields("@dataclass", "a: int", "b: int"),
        fields("@dataclass", "a: int", "b: int", "def __post_init__(self): self.c = self.a * 3"),
        "(v.a, v.b, v.c) == (1, 2, 3)",
    ),
    Edit(
        "dataclass becomes frozen with slots",
        fields("@dataclass", "a: int", "b: int"),
        fields("@dataclass(frozen=True, slots=True)", "a: int", "b: int"),
    ),
    Edit("plain becomes dataclass", plain(), fields("@dataclass", "a: int", "b: int")),
    *family("frozen dataclass with slots", "@dataclass(frozen=True, slots=True)", "c: int = 3"),
    *family("NamedTuple", "", "c: int = 3", "class Thing(NamedTuple):"),
    *family("attrs", "@attrs.define", "c: int = 3", imports="import attrs\n"),
    *family("pydantic", "", "c: int = 3", "class Thing(pydantic.BaseModel):", "import pydantic\n"),
    Edit(
        "attrs: `__attrs_post_init__` assigns one more, of other fields",
        "import attrs\n" + fields("@attrs.define(slots=False)", "a: int", "b: int"),
        "import attrs\n"
        + fields(
            "@attrs.define(slots=False)",
            "a: int",
            "b: int",
            "def __attrs_post_init__(self): self.c = self.a * 3",
        ),
        "(v.a, v.b, v.c) == (1, 2, 3)",
    ),
    *[
        Edit(
            f"pydantic: {what}",
            "import pydantic\n" + fields(decorator, *before, head=head),
            "import pydantic\n" + fields(decorator, *after, head=head),
            check,
            make,
        )
        for what, decorator, head, before, after, check, make in (
            (
                "private attribute added",
                "",
                "class Thing(pydantic.BaseModel):",
                ("a: int", "b: int"),
                ("a: int", "b: int", "_c: list = pydantic.PrivateAttr(default_factory=list)"),
                "(v.a, v.b, v._c) == (1, 2, [])",
                "Thing(a=1, b=2)",
            ),
            (
                "one more private attribute",
                "",
                "class Thing(pydantic.BaseModel):",
                ("a: int", "b: int", "_c: int = 3"),
                ("a: int", "b: int", "_c: int = 4", "_d: int = 5"),
                "(v.a, v.b, v._c, v._d) == (1, 2, 3, 5)",
                "Thing(a=1, b=2)",
            ),
            (
                "extra value becomes a field",
                "",
                "class Thing(pydantic.BaseModel):",
                ("model_config = {'extra': 'allow'}", "a: int"),
                ("model_config = {'extra': 'allow'}", "a: int", "b: int = 9"),
                "v.b == 2 and v.model_dump() == {'a': 1, 'b': 2}",
                "Thing(a=1, b=2)",
            ),
            (
                "extra value becomes a field that it does not fit",
                "",
                "class Thing(pydantic.BaseModel):",
                ("model_config = {'extra': 'allow'}", "a: int"),
                ("model_config = {'extra': 'allow'}", "a: int", "b: str = ''"),
                "v.b == '2'",
                "Thing(a=1, b=2)",
            ),
            (
                "dataclass: field added with a factory of its own",
                "@pydantic.dataclasses.dataclass",
                "class Thing:",
                ("a: int", "b: int"),
                ("a: int", "b: int", "c: list = pydantic.Field(default_factory=list)"),
                "(v.a, v.b, v.c) == (1, 2, [])",
                "Thing(1, 2)",
            ),
        )
    ],
    *family("msgspec", "", "c: int = 3", "class Thing(msgspec.Struct):", "import msgspec\n"),
    Edit(
        "dataclass: becomes a struct of msgspec",
        fields("@dataclass", "a: int", "b: int"),
        "import msgspec\n" + fields("", "a: int", "b: int", head="class Thing(msgspec.Struct):"),
        make="Thing(1, 2)",
    ),
    Edit(
        "Enum: members in another order",
        ENUM + "    A = auto()\n    B = auto()\n",
        ENUM + "    B = auto()\n    A = auto()\n",
        "v is Thing.A",
        "Thing.A",
    ),
    Edit(
        "Enum: member added in front",
        ENUM + "    A = auto()\n",
        ENUM + "    Z = auto()\n    A = auto()\n",
        "v is Thing.A",
        "Thing.A",
    ),
    Edit("Enum: member removed", ENUM + "    A = 1\n    B = 2\n", ENUM + "    B = 1\n", "False", "Thing.A"),
    Edit("Enum: member renamed", ENUM + "    A = 1\n", ENUM + "    AA = 1\n", "v is Thing.AA", "Thing.A"),
    Edit("Enum: value changed", ENUM + "    A = 1\n", ENUM + "    A = 'a'\n", "v is Thing.A", "Thing.A"),
    Edit(
        "Flag: members in another order",
        "class Thing(Flag):\n    A = auto()\n    B = auto()\n    C = auto()\n",
        "class Thing(Flag):\n    C = auto()\n    B = auto()\n    A = auto()\n",
        "v == Thing.A | Thing.B",
        "Thing.A | Thing.B",
    ),
    Edit("class renamed", plain(), plain(head="class Other:"), "type(v) is Other"),
    Edit(
        "class moved, and imported where it was",
        plain(),
        "import sys, types\nmoved = types.ModuleType('moved')\nsys.modules['moved'] = moved\nexec("
        + repr(plain())
        + ", vars(moved))\nThing = moved.Thing\n",
    ),
    Edit(
        "class nested in another",
        plain(),
        "class Outer:\n" + "".join(f"    {line}\n" for line in plain().splitlines()),
        "type(v) is Outer.Thing",
    ),
    Edit("class removed", plain(), "", "False"),
    Edit(
        "base added",
        plain(),
        "class Base:\n    def hello(self): return 5\n" + plain(head="class Thing(Base):"),
        "(v.a, v.hello()) == (1, 5)",
    ),
    Edit(
        "base added, whose `__init__` assigns",
        plain(),
        "class Base:\n    def __init__(self):\n        self.c = 3\n" + plain(head="class Thing(Base):"),
        "v.c == 3",
    ),
    Edit("base removed", "class Base:\n    kind = 1\n" + plain(head="class Thing(Base):"), plain()),
    Edit(
        "dict subclass becomes plain",
        plain(head="class Thing(dict):") + "        self['k'] = 1\n",
        plain(),
        "v.k == 1",
    ),
    Edit("class becomes a function", plain(), "def Thing(a, b): return None\n", "False"),
    Edit(
        "dataclass: field moved to a base",
        fields("@dataclass", "a: int", "b: int"),
        fields("@dataclass", "a: int", head="class Base:")
        + fields("@dataclass", "b: int", head="class Thing(Base):"),
    ),
]
