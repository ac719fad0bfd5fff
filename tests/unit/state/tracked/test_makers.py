"""``preserve.dict()`` and its siblings: under which key, and what they are without livecore."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from livereload_core import preserve
from livereload_core.errors import UsageError
from livereload_core.state.tracked.containers import TrackedDict
from livereload_core.state.tracked.lru import Lru
from tests.unit.state.conftest import Program

HEAD = "from livereload_core import preserve\n"


def keys(program: Program, source: str) -> list[str]:
    program.start(app=HEAD + source)
    return [key.removeprefix("app:") for key in program.engine._roots]


@pytest.mark.parametrize(
    ("source", "key"),
    [
        ("rows = preserve.dict()", "rows"),
        ("rows: dict[str, int] = preserve.dict()", "rows"),
        ("rows = preserve.dict[str, int]()", "rows"),
        ("rows = again = preserve.dict()", "rows"),
        ("global rows\nrows = preserve.dict()", "rows"),
        ("if True:\n    rows = (\n        preserve.dict()\n    )", "rows"),
        ("rows = preserve.dict('other')", "other"),
        ("rows = preserve('other', preserve.dict)", "other"),
        ("rows = preserve('other', preserve.dict[str, int])", "other"),
        ("rows = preserve.lru(maxsize=5)", "rows"),
        ("rows = preserve.lru[str, int]('other', maxsize=5)", "other"),
        ("rows = preserve.array((2, 3))", "rows"),
        ("rows = preserve.array((2, 3), int, 'other')", "other"),
        ("\n".join(f"x{number} = {number}" for number in range(300)) + "\nrows = preserve.dict()", "rows"),
        ("import sys\nif 'app' in sys.modules: rows = preserve.dict()\nelse: rows = {}", "rows"),
    ],
)
def test_key_is_the_name_that_it_is_assigned_to(program: Program, source: str, key: str) -> None:
    assert keys(program, source) == [key]


@pytest.mark.parametrize(
    "source",
    [
        "class Game:\n    def __init__(self):\n        self.rows = preserve.dict()\ngame = Game()",
        "class Game:\n    rows = preserve.dict()",
        "def make():\n    rows = preserve.dict()\n    return rows\nrows = make()",
        "make = lambda: preserve.dict()\nrows = make()",
    ],
)
def test_in_a_function_or_class_it_belongs_to_what_is_made_there(program: Program, source: str) -> None:
    assert keys(program, source) == []


@pytest.mark.parametrize(
    "source",
    [
        "tables = {'rows': preserve.dict()}",
        "preserve.dict()",
        "rows, more = preserve.dict(), preserve.dict()",
        "rows = dict(preserve.dict())",
        "rows = [preserve.lru()]",
    ],
)
def test_one_without_a_name_is_refused_with_a_remedy(program: Program, source: str) -> None:
    with pytest.raises(UsageError, match=r'pass one: preserve\.(dict|lru)\("name"\)'):
        program.start(app=HEAD + source)


def test_same_name_twice_names_both_places(program: Program) -> None:
    with pytest.raises(UsageError, match=r"registered at .*app.py:2"):
        program.start(app=HEAD + "rows = preserve.dict()\nrows = preserve.dict()")


@pytest.mark.parametrize("key", ["", 5, []])
def test_key_that_is_none_is_refused(key: Any) -> None:
    with pytest.raises(UsageError, match="got the key"):
        preserve.dict(key)


def test_one_in_an_attribute_is_carried_with_its_owner(program: Program) -> None:
    source = HEAD + (
        "class Game:\n    def __init__(self):\n"
        "        self.rows, self.c = preserve.dict(), preserve.lru()\n"
        "game = preserve('game', Game)\n"
    )
    app = program.start(app=source)
    app.game.rows.update({"a": [1]})
    app.game.c["b"] = 2
    app = program.reload()
    assert isinstance(app.game.rows, TrackedDict)
    assert app.game.rows == {"a": [1]}
    assert app.game.c == {"b": 2}


def test_under_livecore_they_are_tracked(program: Program) -> None:
    app = program.start(app=HEAD + "rows = preserve.dict()\ncache = preserve.lru(maxsize=7)")
    assert isinstance(app.rows, TrackedDict)
    assert type(app.cache) is Lru
    assert app.cache.maxsize == 7


def test_without_livecore_they_are_plain() -> None:
    rows = preserve.dict[str, int]()
    assert type(rows) is dict
    cache = preserve.lru[str, int]("cache", maxsize=3)
    cache["a"] = 1
    assert cache["a"] == 1
    array = preserve.array((2, 3), "i4")
    assert type(array) is np.ndarray
    assert (array.shape, array.dtype) == ((2, 3), np.dtype("i4"))
    assert preserve("x", preserve.dict) == {}


def test_without_livecore_nothing_is_loaded_for_them() -> None:
    code = (
        "import sys; from livereload_core import preserve; rows = preserve.dict(); rows['a'] = [1];"
        "assert 'numpy' not in sys.modules; assert 'livereload_core.state.tracked' not in sys.modules;"
        "cache = preserve.lru(); assert 'numpy' not in sys.modules; assert 'pickle' not in sys.modules;"
        "assert 'livereload_core.state.engine' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=20)


def test_array_lies_in_shared_memory_from_the_start(program: Program) -> None:
    app = program.start(app=HEAD + "grid = preserve.array((1000, 1000))")
    assert not app.grid.any()
    assert app.grid.flags.writeable
    export = program.engine.export(patient=True)  # nothing has to be copied ahead
    export.close()
    for number in range(3):
        app.grid[number, number] = 1 + number
        app = program.reload()
    assert app.grid.sum() == 6
    assert app.grid[2, 2] == 3


def test_array_of_another_shape_is_refused(program: Program) -> None:
    from livereload_core.errors import CannotCarryError

    program.start(app=HEAD + "grid = preserve.array((1000, 100))")
    with pytest.raises(CannotCarryError, match="was an array of"):
        program.reload(app=HEAD + "grid = preserve.array((100, 1000))")
