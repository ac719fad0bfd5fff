"""Objects that roots share below the top, cycles between roots, and depth."""

from __future__ import annotations

import subprocess
import sys

import pytest

from livereload_core.core.records import RootFate
from livereload_core.errors import CannotCarryError
from livereload_core.state.sharing import Sharing
from livereload_core.state.snapshot import unpack
from tests.unit.state.conftest import Program

HEAD = "from livereload_core import preserve\n"
TWO = HEAD + "a = preserve('a', dict{more})\nb = preserve('b', dict{more})\nclass Thing: pass\n"
FOUND = TWO.format(more="")


def test_object_that_two_roots_share_is_still_one(program: Program) -> None:
    app = program.start(app=FOUND)
    app.a["x"] = app.b["x"] = [1]
    app.a["thing"] = app.Thing()
    app.a["thing"].shared = app.b["deep"] = {"inner": app.Thing()}
    after = program.reload(app=FOUND)
    assert after.a["x"] is after.b["x"]
    assert after.a["thing"].shared["inner"] is after.b["deep"]["inner"]
    assert {report.fate for report in program.reports.values()} == {RootFate.KEPT}
    after = program.reload(app=FOUND)
    assert after.a["x"] is after.b["x"]


def test_lock_that_two_roots_share_is_still_one(program: Program) -> None:
    import threading

    app = program.start(app=FOUND)
    app.a["lock"] = app.b["lock"] = threading.RLock()
    after = program.reload(app=FOUND)
    assert after.a["lock"] is after.b["lock"]


def test_roots_that_share_only_what_never_changes_stay_apart(program: Program) -> None:
    import logging

    app = program.start(app=FOUND)
    for root in (app.a, app.b):
        root["x"] = ("text", app.Thing, len, logging.getLogger("x"), sys.stdout)
    assert list(unpack(program.engine.export().data).entries) == ["app:a", "app:b"]


def test_chain_of_sharing_makes_one_group_of_all(program: Program) -> None:
    source = HEAD + "roots = [preserve(f'r{n}', dict) for n in range(4)]\n"
    source = source.replace("[preserve(f'r{n}', dict) for n in range(4)]", "[]") + "".join(
        f"r{n} = preserve('r{n}', dict)\nroots.append(r{n})\n" for n in range(4)
    )
    app = program.start(app=source)
    for n in range(3):
        app.roots[n]["next"] = app.roots[n + 1]["previous"] = [n]
    after = program.reload(app=source)
    assert all(after.roots[n]["next"] is after.roots[n + 1]["previous"] for n in range(3))


def test_group_that_was_said_needs_no_search(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    source = TWO.format(more=", group='g'")
    app = program.start(app=source)
    monkeypatch.setattr(Sharing, "is_due", lambda self: False)
    app.a["x"] = app.b["x"] = [1]
    after = program.reload(app=source)
    assert after.a["x"] is after.b["x"]


def test_what_an_earlier_export_found_is_used_while_no_search_is_due(
    program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = program.start(app=FOUND)
    app.a["x"] = app.b["x"] = [1]
    program.engine.export()
    monkeypatch.setattr(Sharing, "is_due", lambda self: False)
    after = program.reload(app=FOUND)
    assert after.a["x"] is after.b["x"]


def test_cycle_through_two_roots_and_a_shared_object_is_kept(program: Program) -> None:
    app = program.start(app=FOUND)
    thing = app.Thing()
    thing.a, thing.b, thing.me = app.a, app.b, thing
    app.a["thing"] = app.b["thing"] = thing
    after = program.reload(app=FOUND)
    thing = after.a["thing"]
    assert thing is after.b["thing"]
    assert (thing.a is after.a, thing.b is after.b, thing.me is thing) == (True, True, True)


def test_member_of_a_group_that_fails_to_load_leaves_the_others_their_value(program: Program) -> None:
    source = HEAD + "class Gone: pass\na = preserve('a', dict)\nb = preserve('b', dict, on_error='reset')\n"
    app = program.start(app=source)
    app.a["x"] = app.b["x"] = [1]
    app.b["gone"] = app.Gone()
    after = program.reload(app=source.replace("class Gone: pass", ""))
    assert after.a == {"x": [1]}
    assert after.b == {}
    assert program.reports["app:b"].fate is RootFate.RESET
    assert program.reports["app:a"].detail == "what it shared with 1 other is its own now"


def test_member_of_a_group_that_fails_to_load_is_the_one_that_is_named(program: Program) -> None:
    source = HEAD + "class Gone: pass\na = preserve('a', dict)\nb = preserve('b', dict)\n"
    app = program.start(app=source)
    app.a["x"] = app.b["x"] = [1]
    app.b["gone"] = app.Gone()
    data = program.engine.export().data
    program.start(app=source.replace("class Gone: pass", ""))
    with pytest.raises(CannotCarryError, match="b: app:Gone is gone"):
        program.engine.trial(data)


@pytest.mark.parametrize(
    "raised", ["SystemExit(3)", "ValueError('no')", "GeneratorExit()", "BaseException('odd')"]
)
def test_member_of_a_group_that_cannot_be_written_leaves_the_others_their_value(
    program: Program, raised: str
) -> None:
    source = HEAD + (
        f"class Bad:\n    def __reduce__(self):\n        raise {raised}\n"
        "a = preserve('a', dict, group='g')\nb = preserve('b', dict, on_error='reset', group='g')\n"
        "c = preserve('c', dict, group='g')\n"
    )
    app = program.start(app=source)
    app.a["x"] = app.b["x"] = app.c["x"] = [1]
    app.b["bad"] = app.Bad()
    after = program.reload(app=source)
    assert after.a["x"] is after.c["x"]
    assert after.b == {}


def test_parked_member_of_a_group_comes_back_alone(program: Program) -> None:
    app = program.start(app=FOUND)
    app.a["x"] = app.b["x"] = [1]
    alone = FOUND.replace("b = preserve('b', dict)\n", "")
    after = program.reload(app=alone)
    assert program.reports["app:b"].fate is RootFate.PARKED
    assert list(program.reports) == ["app:a", "app:b"]
    after.a["x"].append(2)
    program.reload(app=alone)
    after = program.reload(app=FOUND)
    assert (after.a["x"], after.b["x"]) == ([1, 2], [1])


def test_member_that_is_declared_late_still_shares(program: Program) -> None:
    import importlib

    app = program.start(app=HEAD + "a = preserve('a', dict)\n", late=HEAD + "b = preserve('b', dict)\n")
    late = importlib.import_module("late")
    app.a["x"] = late.b["x"] = [1]
    data = program.engine.export().data
    app = program.start()
    program.engine.adopt(data)
    late = importlib.import_module("late")
    program.settle()
    assert app.a["x"] is late.b["x"]


MAKERS = ["dict", "preserve.dict", "preserve.lru"]


@pytest.mark.parametrize("maker", MAKERS)
@pytest.mark.parametrize("refers", [False, True])
def test_members_that_are_all_declared_late_still_share(program: Program, maker: str, refers: bool) -> None:
    import importlib

    late = {f"late_{name}": HEAD + f"{name} = preserve('{name}', {maker})\n" for name in "abc"}
    program.start(app=HEAD, **late)
    a, b, c = (vars(importlib.import_module(f"late_{name}"))[name] for name in "abc")
    a["x"] = b["x"] = c["x"] = [1]
    if refers:
        a["b"] = b
    data = program.engine.export().data
    program.start()
    program.engine.adopt(data)
    a, b, c = (vars(importlib.import_module(f"late_{name}"))[name] for name in "abc")
    program.settle()
    assert a["x"] is b["x"] is c["x"]
    assert b["x"] == [1]
    if refers:
        assert a["b"] is b


@pytest.mark.parametrize("maker", MAKERS)
def test_member_that_is_in_use_is_not_filled_once_more(program: Program, maker: str) -> None:
    import importlib

    late = {f"late_{name}": HEAD + f"{name} = preserve('{name}', {maker})\n" for name in "bc"}
    app = program.start(app=HEAD + "a = preserve('a', dict)\n", **late)
    b, c = (vars(importlib.import_module(f"late_{name}"))[name] for name in "bc")
    b["x"] = c["x"] = [1]
    app.a["b"] = b
    data = program.engine.export().data
    app = program.start()
    program.engine.adopt(data)
    app.a["b"]["used"] = 1
    b, c = (vars(importlib.import_module(f"late_{name}"))[name] for name in "bc")
    program.settle()
    assert app.a["b"] is b
    assert b["used"] == 1
    assert c["x"] == [1]


def test_renamed_field_of_a_root_is_renamed_in_a_group_too(program: Program) -> None:
    source = HEAD + (
        "class Game:\n    def __init__(self):\n        self.{field} = []\n"
        "game = preserve('game', Game{more})\nb = preserve('b', dict)\n"
    )
    app = program.start(app=source.format(field="points", more=""))
    app.b["x"] = app.game.points = [1]
    after = program.reload(app=source.format(field="score", more=", renamed={'points': 'score'}"))
    assert after.game.score is after.b["x"]


DEEP = """
from livereload_core.state.codec import Dumper, load

class Node: pass

node = None
for number in range(200_000):
    last, node = node, Node()
    node.next, node.number = last, number
stream, _ = Dumper((), lambda name: True).dump(node)
back, count = load(stream, 0, (), {}), 0
while back is not None:
    back, count = back.next, count + 1
print(count)
"""


@pytest.mark.slow
def test_linked_list_of_two_hundred_thousand_crosses() -> None:
    # In a process of its own: what could go wrong here is the end of the interpreter.
    done = subprocess.run([sys.executable, "-c", DEEP], capture_output=True, text=True, timeout=110)
    assert done.stdout == "200000\n", done.stderr
