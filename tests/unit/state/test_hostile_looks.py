"""Objects that raise, hang for a moment, end the program or lie when they are compared, hashed or measured.

What asks them is Python itself, or a line of ours that looks at a user's value with ``if``, ``==`` or ``in``.
"""

from __future__ import annotations

import gc
import itertools
from typing import Any

import pytest

from livereload_core.facts import RootFate
from tests.unit.state.conftest import Program

SPECIAL = {
    "eq": ("__eq__(self, other)", "NotImplemented", "other is not self"),
    "bool": ("__bool__(self)", "True", "False"),
    "len": ("__len__(self)", "1", "1 << 60"),
    "hash": ("__hash__(self)", "1", "next(COUNT)"),
    "del": ("__del__(self)", "None", "7"),
    "repr": ("__repr__(self)", "'x'", "'bad: ' * 1000"),
    "iter": ("__iter__(self)", "iter(())", "iter(itertools.count())"),
    "contains": ("__contains__(self, item)", "True", "True"),
    "class": ("__class__(self)", "type(self)", "dict"),
}
"""Name -> (signature, what it returns when it is merely slow, what it returns when it lies)."""

DEEDS = {
    "raises": "raise ValueError('no')",
    "ends the program": "raise SystemExit(3)",
    "hangs for a moment": "threading.Event().wait(0.02); return {honest}",
    "lies": "return {lie}",
}

CASES = {f"{name} {deed}": (name, deed) for name, deed in itertools.product(SPECIAL, DEEDS)}

SOURCE = """\
import itertools
import threading

from livereload_core import preserve

COUNT = itertools.count()
armed = []  # only while state is written or read: the test itself may look at the objects


class Hostile:
    {decorator}
    def {signature}:
        if not armed:
            return {honest}
        {body}

    if {name!r} == "eq":
        __hash__ = object.__hash__


good = preserve("good", dict)
bad = preserve("bad", {factory}{option})
last = preserve("last", list)
"""


def _source(case: str, factory: str, option: str = ", on_error='reset'") -> str:
    name, deed = CASES[case]
    signature, honest, lie = SPECIAL[name]
    return SOURCE.format(
        decorator="@property" if name == "class" else "",
        signature=signature,
        honest=honest,
        body=DEEDS[deed].format(honest=honest, lie=lie),
        name=name,
        factory=factory,
        option=option,
    )


def _reloaded(program: Program, source: str) -> Any:
    """Reload with the objects armed on both sides."""
    export = program.engine.export()
    app = program.start(app=source)
    app.armed.append(1)
    program.engine.trial(export.data, export.handed.fds)
    program.engine.adopt(export.data, export.handed.fds)
    export.handed.close()
    program.settle()
    program.engine.commit()
    again = program.engine.export()  # what came over is written once more
    again.close()
    app.armed.clear()
    return app


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("case", CASES)
def test_hostile_value_costs_no_other_root(program: Program, case: str) -> None:
    """As a value, in a list and a tuple, shared, twice, and as an attribute of another."""
    source = _source(case, "dict")
    app = program.start(app=source)
    hostile = app.Hostile()
    hostile.n = 1
    hostile.other = app.Hostile()
    app.good["n"] = 1
    app.bad.update(deep=[hostile], again=(hostile, hostile.other))
    app.last.append(app.good)
    app.armed.append(1)
    after = _reloaded(program, source)
    assert after.good == {"n": 1}
    assert after.last == [after.good]
    assert after.last[0] is after.good
    if program.reports["app:bad"].fate is RootFate.KEPT:
        assert type(after.bad["deep"][0]) is after.Hostile
        assert after.bad["deep"][0] is after.bad["again"][0]
        assert after.bad["deep"][0].n == 1
        assert after.bad["deep"][0].other is after.bad["again"][1]
    else:
        assert after.bad == {}
        assert program.reports["app:bad"].detail
    del hostile, app, after
    program.forget()
    gc.collect()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("case", CASES)
def test_root_that_is_hostile_itself_costs_no_other_root(program: Program, case: str) -> None:
    source = _source(case, "Hostile")
    app = program.start(app=source)
    app.bad.n = 1
    app.bad.me = app.bad
    app.good["n"] = app.bad
    app.last.append(app.good)
    app.armed.append(1)
    after = _reloaded(program, source)
    assert after.last[0] is after.good
    assert type(after.good["n"]) is after.Hostile
    if program.reports["app:bad"].fate is RootFate.KEPT:
        assert after.bad.n == 1
        assert after.bad.me is after.bad
    else:
        assert program.reports["app:bad"].detail
    assert after.good["n"] is after.bad
    del app, after
    program.forget()
    gc.collect()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("case", [case for case in CASES if case.startswith(("eq", "hash", "bool"))])
def test_hostile_key_costs_no_other_root(program: Program, case: str) -> None:
    """In a set and as a key, where reading has to hash and to compare."""
    source = _source(case, "dict")
    app = program.start(app=source)
    one, other = app.Hostile(), app.Hostile()
    app.good["n"] = 1
    app.bad.update(keys={one: 1}, members={other}, frozen=frozenset((one,)))
    app.last.append(app.good)
    app.armed.append(1)
    after = _reloaded(program, source)
    assert after.good == {"n": 1}
    assert after.last[0] is after.good
    if program.reports["app:bad"].fate is RootFate.KEPT:
        (key,), (member,), (frozen,) = (after.bad[name] for name in ("keys", "members", "frozen"))
        assert {type(found) for found in (key, member)} == {after.Hostile}
        assert key is frozen
    else:
        assert after.bad == {}
    del one, other, app, after
    program.forget()
    gc.collect()
