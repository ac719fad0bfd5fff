"""Whose fault an error is: what comes from elsewhere goes on to whom it is for."""

from __future__ import annotations

import contextlib
import gc
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from livereload_core.errors import CannotCarryError
from livereload_core.state import exporting
from livereload_core.state.blame import is_from_elsewhere, raised_at, told
from livereload_core.state.descriptors import NotQuietError
from livereload_core.state.inplace import family_of
from tests.unit.state.carrying import census
from tests.unit.state.conftest import Program

HEAD = "from livereload_core import preserve\n"

FAILS = (
    HEAD
    + """
class Fails:
    def __reduce__(self): raise ValueError("no")
bad = preserve("bad", dict{option})
good = preserve("good", dict)
"""
)


class EndedError(BaseException):
    """What a signal handler raises: a watchdog, a test's time limit."""


class Handler:
    """A handler that is no plain function."""

    def __call__(self, number: int, frame: FrameType | None) -> None:
        self.on_signal(number, frame)

    def on_signal(self, number: int, frame: FrameType | None) -> None:
        raise EndedError


def _handle(number: int, frame: FrameType | None) -> None:
    raise EndedError


def _leave(number: int, frame: FrameType | None) -> None:
    raise SystemExit(0)


@contextlib.contextmanager
def handled(handler: Callable[[int, FrameType | None], Any]) -> Iterator[None]:
    before = signal.signal(signal.SIGUSR1, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_export_that_is_not_quiet_looks_for_no_culprit_in_what_needs_quiet(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporting, "_needs_quiet", False)
    (tmp_path / "lines").write_text("1\n2\n3\n")
    app = program.start(app=FAILS.format(option=""))
    with (tmp_path / "lines").open() as file:
        app.bad["first"] = [[[app.Fails()]]]  # fails before the file is met, and lies deeper than it
        app.bad["file"] = file
        next(file)
        gc.collect()  # what other tests have left open is closed now, and not in between
        before = census()
        with pytest.raises(NotQuietError):
            program.engine.export(quiet=False)
        assert census() == before
        with pytest.raises(CannotCarryError, match=r'bad\["first"\]\[0\]\[0\]\[0\]: ValueError: no'):
            program.engine.export()
        assert next(file) == "2\n"


@pytest.mark.parametrize("error", [NotQuietError, KeyboardInterrupt])
def test_copy_that_is_broken_off_is_not_taken_for_one_that_fails(
    program: Program, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    app = program.start(app=FAILS.format(option=""))
    app.bad["a"] = app.Fails()
    copies = 0

    def broken_off(root: object, *args: object) -> object:
        nonlocal copies
        copies += root is app.bad
        if root is app.bad and copies > 1:
            raise error
        return {"a": app.Fails()}

    monkeypatch.setattr(exporting, "_needs_quiet", False)
    monkeypatch.setattr(type(family_of(app.bad)), "clone", lambda self, *args: broken_off(*args))
    with pytest.raises(error):
        program.engine.export(quiet=False)


def test_object_that_fails_only_when_it_is_looked_at_once_more_is_refused(program: Program) -> None:
    app = program.start(
        app=FAILS.format(option="")
        + """
class Later:
    looked = 0
    def __reduce__(self):
        Later.looked += 1
        if Later.looked > 2:
            raise LookupError("not again")
        return (dict, ())
class Tricks:
    def __reduce__(self): return (3, ())
"""
    )
    app.bad["a"] = [app.Later(), app.Tricks()]
    with pytest.raises(CannotCarryError) as caught:
        program.engine.export()
    assert str(caught.value.path).startswith("bad")


def test_child_that_fails_only_while_the_path_is_narrowed_is_named(program: Program) -> None:
    app = program.start(
        app=FAILS.format(option="")
        + """
class Outer:
    looked = 0
    def __init__(self, inner): self.inner = inner
    def __reduce__(self):
        Outer.looked += 1
        if Outer.looked > 3:
            raise LookupError("not again")
        return (Outer, (self.inner,))
class Tricks:
    def __reduce__(self): return (3, ())
"""
    )
    app.bad["a"] = app.Outer(app.Tricks())  # dumped, searched, dumped alone; looked into again it fails
    with pytest.raises(CannotCarryError, match=r'bad\["a"\]') as caught:
        program.engine.export()
    assert "not again" in str(caught.value)


UNSPEAKABLE = """
class UnspeakableError(BaseException):
    def __str__(self): raise ValueError("no words")
    __repr__ = __str__
class Thing:
    def __init__(self): self.x = 1
    def {method}: raise UnspeakableError
"""


@pytest.mark.parametrize("method", ["__getstate__(self)", "__setstate__(self, state)"])
def test_error_that_cannot_be_shown_is_shown_by_its_type(program: Program, method: str) -> None:
    source = FAILS.format(option=", on_error='reset'") + UNSPEAKABLE.format(method=method)
    app = program.start(app=source)
    app.good["n"] = 1
    app.bad["a"] = app.Thing()
    after = program.reload(app=source)
    assert after.good == {"n": 1}
    assert "UnspeakableError" in program.reports["app:bad"].detail


def test_key_that_ends_the_program_when_it_is_shown_is_not_the_culprit(program: Program) -> None:
    app = program.start(
        app=FAILS.format(option="")
        + "class Key:\n    def __repr__(self): raise SystemExit(3)\n    def __hash__(self): return 7\n"
    )
    app.bad[app.Key()] = 1
    app.bad["a"] = app.Fails()
    with pytest.raises(CannotCarryError) as caught:
        program.engine.export()
    assert (caught.value.path, "ValueError: no" in str(caught.value)) == ('bad["a"]', True)


SIGNALLED = (
    FAILS
    + """
import signal
class Signals:
    def __getstate__(self):
        signal.raise_signal(signal.SIGUSR1)  # as one from outside, in the moment in which it is looked at
        return {{}}
    def __setstate__(self, state):
        signal.raise_signal(signal.SIGUSR1)
"""
)


@pytest.mark.parametrize(
    ("handler", "error"),
    [(_handle, EndedError), (_leave, SystemExit), (Handler(), EndedError), (Handler().on_signal, EndedError)],
    ids=["function", "function that leaves", "object", "method"],
)
def test_what_a_signal_handler_raises_is_no_fault_of_what_is_written(
    program: Program, handler: Callable[[int, FrameType | None], Any], error: type[BaseException]
) -> None:
    """Else a program that is told to stop would go on, and a test would outlive its time limit."""
    app = program.start(app=SIGNALLED.format(option=", on_error='reset'"))
    app.bad["a"] = [app.Signals()]
    with handled(handler), pytest.raises(error):
        program.engine.export()


def test_what_a_signal_handler_raises_while_state_is_read_goes_on_too(program: Program) -> None:
    source = SIGNALLED.format(option=", on_error='reset'")
    app = program.start(app=source)
    app.bad["a"] = [app.Signals()]
    with handled(lambda number, frame: None):
        data = program.engine.export().data
    program.start(app=source)
    with handled(_handle), pytest.raises(EndedError):
        program.engine.trial(data)


def test_what_an_object_raises_while_a_handler_is_installed_is_its_own_fault() -> None:
    with pytest.raises(SystemExit) as caught, handled(_handle):
        raise SystemExit(3)
    assert not is_from_elsewhere(caught.value)


def test_module_of_the_users_is_named_whatever_its_name_begins_with() -> None:
    space: dict[str, Any] = {"__name__": "pickled.orders"}
    exec("def fail(): raise ValueError", space)
    with pytest.raises(ValueError) as caught:
        space["fail"]()
    assert raised_at(caught.value).startswith(" (in fail, ")


def test_error_is_told_with_the_users_innermost_line() -> None:
    with pytest.raises(KeyError) as caught:
        {}["a"]  # type: ignore[index]
    place = "test_error_is_told_with_the_users_innermost_line"
    assert told(caught.value).startswith(f"KeyError: 'a' (in {place}, ")
