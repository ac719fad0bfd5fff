"""Large plain dicts and lists that are attributes of preserved objects, or entries of preserved dicts."""

from __future__ import annotations

import textwrap
from typing import Any

import pytest

from livereload_core.state.tracked import comparisons
from tests.unit.state.conftest import Program

FEW = 4000
SOURCES = {
    "object": """
        from livereload_core import preserve
        class World:
            def __init__(self):
                self.name = "old"
                self.rows = {}
                self.log = []
                self.tick = 0
        world = preserve("world", World)
    """,
    "slots": """
        from livereload_core import preserve
        class World:
            __slots__ = ("name", "rows", "log", "tick")
            def __init__(self):
                self.name = "old"
                self.rows = {}
                self.log = []
                self.tick = 0
        world = preserve("world", World)
    """,
    "factory": """
        from livereload_core import preserve
        class World:
            def __init__(self):
                self.name = "old"
                self.rows = {}
                self.log = []
                self.tick = 0
        @preserve
        def made():
            return World()
        world = made()
    """,
    "class": """
        from livereload_core import preserve
        @preserve
        class World:
            def __init__(self):
                self.name = "old"
                self.rows = {}
                self.log = []
                self.tick = 0
        world = World()
    """,
    "dict": """
        from livereload_core import preserve
        class View:
            def __getattr__(self, name): return kept[name]
            def __setattr__(self, name, value): kept[name] = value
        kept = preserve("kept", lambda: {"name": "old", "rows": {}, "log": [], "tick": 0})
        world = View()
    """,
}


@pytest.fixture(autouse=True)
def smaller(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparisons, "WIDE", 2000)


def full(program: Program, source: str) -> Any:
    app = program.start(app=source)
    app.world.rows.update({number: [number] for number in range(comparisons.WIDE)})
    app.world.log.extend(f"line {number}" for number in range(comparisons.WIDE))
    size(program)
    program.engine.catch_up(hurry=True)
    return app


def size(program: Program) -> int:
    export = program.engine.export()
    export.close()
    return len(export.data)


@pytest.mark.parametrize("kind", sorted(SOURCES))
def test_only_what_differs_crosses(program: Program, kind: str) -> None:
    source = SOURCES[kind]
    app = full(program, source)
    assert size(program) < FEW
    rows = {number: [number] for number in range(comparisons.WIDE)}
    log = [*app.world.log]
    for number in range(3):
        app.world.rows[7].append(number)
        app.world.log.append("more")
        app.world.tick += 1
        rows[7].append(number)
        log.append("more")
        app = program.reload(app=source)
        assert type(app.world.rows) is dict
        assert app.world.rows == rows
        assert app.world.log == log
        assert (app.world.name, app.world.tick) == ("old", number + 1)
        assert size(program) < FEW, "the new generation goes on from the same parts"


def test_one_that_somebody_else_refers_to_stays_one(program: Program) -> None:
    source = textwrap.dedent(SOURCES["object"]) + "other = preserve('other', dict)\n"
    app = full(program, source)
    app.other["rows"] = app.world.rows
    program.engine._sharing._not_before = 0.0  # look for what roots share in the next export
    for _ in range(2):
        app = program.reload(app=source)
        assert app.other["rows"] is app.world.rows
    assert len(app.world.rows) == comparisons.WIDE


def test_attribute_that_is_renamed_and_back(program: Program) -> None:
    source = textwrap.dedent(SOURCES["object"])
    full(program, source)
    for old, new in (("rows", "table"), ("table", "rows")):
        edited = source.replace("class World", f"@preserve(renamed={{{old!r}: {new!r}}})\nclass World")
        app = program.reload(app=edited.replace("self.rows", f"self.{new}"))
        assert getattr(app.world, new)[7] == [7]
        assert not hasattr(app.world, old)
        size(program)
        program.engine.catch_up(hurry=True)
        assert size(program) < FEW


def test_class_with_ways_of_its_own_sees_its_dict(program: Program) -> None:
    source = textwrap.dedent(SOURCES["object"]).replace(
        "world =",
        "    def __getstate__(self): return {**vars(self), 'count': len(self.rows), 'rows': {**self.rows}}\n"
        "world =",
    )
    full(program, source)
    app = program.reload(app=source)
    assert app.world.count == comparisons.WIDE
    assert app.world.rows[7] == [7]


def test_it_grows_shrinks_and_is_replaced(program: Program) -> None:
    source = SOURCES["object"]
    app = full(program, source)
    app.world.rows = {number: -number for number in range(comparisons.WIDE)}
    app = program.reload(app=source)
    assert app.world.rows[7] == -7
    app.world.rows.clear()
    app = program.reload(app=source)
    assert app.world.rows == {}
    app.world.rows = "no dict any more"
    app = program.reload(app=source)
    assert app.world.rows == "no dict any more"


def test_migration_and_check_of_the_owner_run_on_both_sides_of_the_trial(program: Program) -> None:
    source = textwrap.dedent(SOURCES["object"])
    full(program, source)
    edited = source.replace(
        'preserve("world", World)', 'preserve("world", World, version=2, migrate=upgrade)'
    ).replace(
        "class World",
        "def upgrade(old, version):\n    old.rows[7].append('new')\n    return old\nclass World",
    )
    app = program.reload(app=edited)
    assert app.world.rows[7] == [7, "new"], "what the trial has done is not there"
