"""Classes that were edited while their instances are kept."""

from __future__ import annotations

from typing import Any

import pytest

from livereload_core.core.records import RootFate
from livereload_core.errors import CannotCarryError
from livereload_core.state import fields, shapes, shortcuts
from tests.unit.state.conftest import Program

HEAD = (
    "from livereload_core import preserve\nfrom dataclasses import dataclass, field\n"
    "from collections import namedtuple\nfrom typing import NamedTuple\nbox = preserve('box', dict{more})\n"
)


@pytest.fixture(autouse=True, params=[True, False], ids=["shortcut", "one by one"])
def by_shortcut(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether what is the same for many instances is worked out once; the result is the same."""
    if not request.param:
        monkeypatch.setattr(shapes, "shortcut_of", lambda *given: None)
    return bool(request.param)


def edit(program: Program, before: str, after: str, more: str = "") -> tuple[Any, str]:
    """Keep ``Thing()`` in a dict over an edit; returns the new one and the report's detail."""
    app = program.start(app=HEAD.format(more="") + before)
    app.box["thing"] = app.Thing(a=1, b=2)
    app = program.reload(app=HEAD.format(more=more) + after)
    report = program.reports["app:box"]
    assert report.fate is (RootFate.MIGRATED if report.detail else RootFate.KEPT)
    return app.box["thing"], report.detail


PLAIN = "class Thing:\n    def __init__(self, a, b):\n        self.a, self.b = a, b\n"
DATA = "@dataclass{options}\nclass Thing:\n    a: int\n    b: int\n"
KINDS = ["", "(frozen=True)", "(slots=True)", "(slots=True, frozen=True)"]


@pytest.mark.parametrize("options", KINDS)
def test_unchanged_dataclass_is_kept(program: Program, options: str) -> None:
    source = DATA.format(options=options)
    thing, detail = edit(program, source, source)
    assert (thing.a, thing.b, detail) == (1, 2, "")


@pytest.mark.parametrize("options", KINDS)
def test_field_added_to_a_dataclass_gets_its_default(program: Program, options: str) -> None:
    source = DATA.format(options=options)
    added = source + "    c: list = field(default_factory=list)\n    d: int = 4\n"
    thing, detail = edit(program, source, added)
    assert (thing.a, thing.b, thing.c, thing.d) == (1, 2, [], 4)
    assert detail == "field 'c' of Thing is new; field 'd' of Thing is new"


@pytest.mark.parametrize("options", KINDS)
def test_fields_in_a_new_order_keep_their_values(program: Program, options: str) -> None:
    source = DATA.format(options=options)
    swapped = f"@dataclass{options}\nclass Thing:\n    b: int\n    a: int\n"
    thing, _ = edit(program, source, swapped)
    assert (thing.a, thing.b) == (1, 2)


@pytest.mark.parametrize("options", KINDS)
def test_field_removed_from_a_dataclass_with_slots_is_said_and_else_kept_aside(
    program: Program, options: str
) -> None:
    source = DATA.format(options=options)
    thing, detail = edit(program, source, f"@dataclass{options}\nclass Thing:\n    a: int\n")
    assert thing.a == 1
    if "slots" in options:
        assert detail == "field 'b' of Thing is gone"
    else:
        assert program.reload(app=HEAD.format(more="") + source).box["thing"].b == 2


@pytest.mark.parametrize("options", KINDS)
def test_field_added_without_a_default_is_refused(program: Program, options: str) -> None:
    source = DATA.format(options=options)
    with pytest.raises(
        CannotCarryError, match="box: Thing has a new field 'c' without a default; give it one"
    ):
        edit(program, source, source + "    c: int\n")


@pytest.mark.parametrize(
    "before",
    [PLAIN, *(DATA.format(options=kind) for kind in KINDS), "class Thing:\n    __slots__ = 'a', 'b'\n"],
)
def test_renamed_field_takes_its_value_with_it(program: Program, before: str) -> None:
    if "__slots__" in before:
        before += "    def __init__(self, a, b):\n        self.a, self.b = a, b\n"
    decorated = "@preserve(renamed={'b': 'bee'})\n"
    after = before.replace("'b'", "'bee'").replace("b: int", "bee: int").replace("self.b", "self.bee")
    thing, detail = edit(program, before, decorated + after)
    assert (thing.a, thing.bee) == (1, 2)
    assert not hasattr(thing, "b")
    assert detail == "field 'b' of Thing is 'bee' now"


def test_renamed_field_of_the_root_itself_takes_its_value_with_it(program: Program) -> None:
    source = (
        "from livereload_core import preserve\n"
        "class Game:\n    def __init__(self):\n        self.{name} = 0\n"
        "game = preserve('game', Game{more})\n"
    )
    program.start(app=source.format(name="points", more="")).game.points = 9
    after = program.reload(app=source.format(name="score", more=", renamed={'points': 'score'}"))
    assert vars(after.game) == {"score": 9}
    assert program.reports["app:game"].fate is RootFate.MIGRATED


def test_attribute_added_in_init_of_a_root_is_filled_by_the_new_code(program: Program) -> None:
    source = (
        "from livereload_core import preserve\nclass Game:\n    def __init__(self):\n        self.score = 0\n"
        "game = preserve('game', Game)\n"
    )
    program.start(app=source).game.score = 9
    after = program.reload(app=source.replace("= 0\n", "= 0\n        self.level = 1\n"))
    assert vars(after.game) == {"score": 9, "level": 1}


def test_slot_that_is_gone_is_said(program: Program) -> None:
    source = "class Thing:\n    __slots__ = {}\n    def __init__(self, a, b):\n        self.a = a\n"
    before = source.format("'a', 'b'") + "        self.b = b\n"
    thing, detail = edit(program, before, source.format("('a',)"))
    assert thing.a == 1
    assert detail == "field 'b' of Thing is gone"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("Thing = namedtuple('Thing', 'a b')\n", "Thing = namedtuple('Thing', 'b a')\n"),
        (
            "class Thing(NamedTuple):\n    a: int\n    b: int\n",
            "class Thing(NamedTuple):\n    b: int\n    a: int\n    c: int = 3\n",
        ),
    ],
)
def test_named_tuple_is_filled_by_name_instead_of_shifted(program: Program, before: str, after: str) -> None:
    thing, _ = edit(program, before, after)
    assert (thing.a, thing.b, getattr(thing, "c", 3)) == (1, 2, 3)


def test_classes_are_left_as_the_user_wrote_them(program: Program) -> None:
    source = DATA.format(options="")
    edit(program, source, source + "    c: int = 1\n")
    import sys

    assert not hasattr(sys.modules["app"].Thing, "__setstate__")


def test_class_with_its_own_setstate_keeps_its_say(program: Program) -> None:
    own = "    def __setstate__(self, state):\n        self.a, self.b, self.own = state['a'], 0, True\n"
    source = DATA.format(options="")
    thing, _ = edit(program, source, source + "    c: int = 1\n" + own)
    assert (thing.b, thing.own) == (0, True)


def test_two_fields_that_renamed_swaps_are_refused(program: Program) -> None:
    """It stands there in the next edit as well: nobody could tell whether they have been swapped."""
    decorated = "@preserve(renamed={'a': 'b', 'b': 'a'})\n"
    with pytest.raises(CannotCarryError, match="there are both") as refused:
        edit(program, DATA.format(options=""), decorated + DATA.format(options=""))
    assert "raise version=" in refused.value.remedy


def test_method_that_init_calls_by_itself_is_followed_once(program: Program) -> None:
    before = "class Thing:\n    def __init__(self, a, b):\n        self.a, self.b = a, b\n"
    after = before + "        self.more()\n    def more(self):\n        self.more()\n        self.c = []\n"
    thing, detail = edit(program, before, after)
    assert (thing.a, thing.b, thing.c, detail) == (1, 2, [], "field 'c' of Thing is new")


def test_what_a_method_assigns_of_what_it_is_called_with_is_not_guessed(program: Program) -> None:
    before = "class Thing:\n    def __init__(self, a, b):\n        self.a, self.b = a, b\n"
    after = before + "        self.more(5)\n    def more(self, c=3):\n        self.c = c\n"
    with pytest.raises(CannotCarryError, match="new field 'c' without a default"):
        edit(program, before, after)


MANY = {
    "dataclass": (DATA.format(options=""), "    c: list = field(default_factory=list)\n    d: int = 4\n"),
    "slots": (
        DATA.format(options="(slots=True)"),
        "    c: list = field(default_factory=list)\n    d: int = 4\n",
    ),
    "plain": (PLAIN, "        self.c, self.d = [], 4\n"),
    "plain, default of an argument": (PLAIN, "        self.c = list()\n        self.d = 2 + 2\n"),
}


@pytest.mark.parametrize("kind", MANY)
def test_many_instances_are_converted_each_by_itself(program: Program, kind: str) -> None:
    before, more = MANY[kind]
    app = program.start(app=HEAD.format(more="") + before)
    things = [app.Thing(a=number, b=number) for number in range(300)]
    if kind.startswith("plain"):
        things[7].c = "its own"
    app.box["things"] = things
    app = program.reload(app=HEAD.format(more="") + before + more)
    things = app.box["things"]
    assert [(thing.a, thing.b, thing.d) for thing in things] == [(n, n, 4) for n in range(300)]
    if kind.startswith("plain"):
        assert things.pop(7).c == "its own"
    assert all(thing.c == [] for thing in things)
    assert len({id(thing.c) for thing in things}) == len(things)
    assert program.reports["app:box"].detail == "field 'c' of Thing is new; field 'd' of Thing is new"


def test_the_one_value_that_does_not_fit_is_refused(program: Program) -> None:
    app = program.start(app=HEAD.format(more="") + "@dataclass\nclass Thing:\n    a: object\n")
    app.box["things"] = [app.Thing(a=number) for number in range(100)]
    source = HEAD.format(more="") + "@dataclass\nclass Thing:\n    a: int\n"
    app = program.reload(app=source)
    assert [thing.a for thing in app.box["things"]] == [*range(100)]
    app = program.reload(app=source.replace("a: int", "a: object"))
    app.box["things"][57].a = "a word"
    with pytest.raises(
        CannotCarryError, match="'a' of Thing was object and is int now, which a value of type str"
    ):
        program.reload(app=source)


def test_class_is_looked_at_once_for_all_of_its_instances(
    program: Program, monkeypatch: pytest.MonkeyPatch, by_shortcut: bool
) -> None:
    asked = []

    def default_of(cls: Any, name: str) -> Any:
        asked.append(name)
        return fields.default_of(cls, name)

    monkeypatch.setattr(shortcuts, "default_of", default_of)
    app = program.start(app=HEAD.format(more="") + PLAIN)
    app.box["things"] = [app.Thing(1, 2) for _ in range(100)]
    app = program.reload(app=HEAD.format(more="") + PLAIN + "        self.c = 3\n")
    assert {thing.c for thing in app.box["things"]} == {3}
    assert asked == (["c", "c"] if by_shortcut else []), "on trial, and once more"
