"""Objects whose own methods raise, end the program or lie: no other root is lost for them."""

from __future__ import annotations

import pytest

from livereload_core.errors import CannotCarryError
from livereload_core.facts import RootFate
from livereload_core.state.inplace import family_of
from tests.unit.state.conftest import Program

HEAD = "from livereload_core import preserve\n"

WRITING = {
    "reduce raises": "def __reduce__(self): raise ValueError('no')",
    "reduce ends the program": "def __reduce__(self): raise SystemExit(3)",
    "reduce raises what is no Exception": "def __reduce__(self): raise GeneratorExit",
    "reduce returns a number": "def __reduce__(self): return 7",
    "reduce returns half of it": "def __reduce__(self): return (dict,)",
    "reduce returns too much": "def __reduce__(self): return (dict, (), None, None, None, None, None)",
    "reduce names what cannot be called": "def __reduce__(self): return (7, ())",
    "reduce names arguments that are none": "def __reduce__(self): return (dict, 7)",
    "reduce names a global that is not there": "def __reduce__(self): return 'nowhere'",
    "state raises": "def __getstate__(self): raise RuntimeError('no')",
    "state calls itself": "def __getstate__(self): return self.__getstate__()",
    "looking at it raises": "def __getattribute__(self, name): raise KeyError(name)",
}
"""What a class does while it is written."""

READING = {
    "setstate raises": (
        "def __getstate__(self): return 1\n    def __setstate__(self, state): raise ValueError('no')"
    ),
    "setstate ends the program": (
        "def __getstate__(self): return 1\n    def __setstate__(self, state): raise SystemExit(3)"
    ),
    "setstate calls itself": (
        "def __getstate__(self): return 1\n    def __setstate__(self, state): self.__setstate__(state)"
    ),
    "its maker raises": "def __reduce__(self): return (fail, ())",
    "its maker ends the program": "def __reduce__(self): return (leave, ())",
    "its items are none": "def __reduce__(self): return (list, (), None, iter(()), iter([(1, 2)]))",
}
"""What a class does while it is read."""

SOURCE = """\
import sys

from livereload_core import preserve


def fail():
    raise ValueError("no")


def leave():
    sys.exit(3)


class Hostile:
    {body}


good = preserve("good", dict)
bad = preserve("bad", dict{option})
last = preserve("last", list)
"""


def _started(program: Program, body: str, option: str) -> str:
    source = SOURCE.format(body=body, option=option)
    app = program.start(app=source)
    app.good["n"] = 1
    app.bad["deep"] = [app.Hostile()]
    app.last.append(app.good)
    return source


@pytest.mark.parametrize("body", WRITING.values(), ids=WRITING)
def test_what_is_hostile_while_it_is_written_is_refused_with_its_path(program: Program, body: str) -> None:
    _started(program, body, "")
    with pytest.raises(CannotCarryError) as caught:
        program.engine.export()
    assert str(caught.value.path).startswith("bad"), caught.value


@pytest.mark.parametrize("body", WRITING.values(), ids=WRITING)
def test_what_is_hostile_while_it_is_written_costs_no_other_root(program: Program, body: str) -> None:
    source = _started(program, body, ", on_error='reset'")
    after = program.reload(app=source)
    assert after.good == {"n": 1}
    assert after.last == [after.good]
    assert after.last[0] is after.good
    assert after.bad == {}
    assert program.reports["app:bad"].fate in (RootFate.LOST, RootFate.RESET)


@pytest.mark.parametrize("body", READING.values(), ids=READING)
def test_what_is_hostile_while_it_is_read_is_refused_with_its_name(program: Program, body: str) -> None:
    source = _started(program, body, "")
    data = program.engine.export().data
    program.start(app=source)
    with pytest.raises(CannotCarryError, match="bad"):
        program.engine.trial(data)


@pytest.mark.parametrize("body", READING.values(), ids=READING)
def test_what_is_hostile_while_it_is_read_costs_no_other_root(program: Program, body: str) -> None:
    source = _started(program, body, ", on_error='reset'")
    after = program.reload(app=source)
    assert after.good == {"n": 1}
    assert after.last[0] is after.good
    assert after.bad == {}
    assert program.reports["app:bad"].fate in (RootFate.LOST, RootFate.RESET)


def test_whoever_interrupts_is_not_taken_for_the_objects_fault(
    program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C while a root is copied a second time, to find what is wrong with it."""
    app = program.start(
        app=HEAD
        + "class Fragile(dict):\n"
        + "    looked = 0\n"
        + "    def __reduce_ex__(self, protocol): raise ValueError('no')\n"
        + "bad = preserve('bad', dict)\n"
    )
    app.bad["a"] = app.Fragile()
    copies = 0

    def interrupted(root: object, *args: object) -> object:
        nonlocal copies
        copies += 1
        if copies > 1:
            raise KeyboardInterrupt
        return dict(app.bad)

    family = family_of(app.bad)
    assert family is not None
    monkeypatch.setattr(type(family), "clone", lambda self, *args: interrupted(*args))
    with pytest.raises(KeyboardInterrupt):
        program.engine.export()
