"""Twelve ways to break a program by an edit: the old code serves on, and the fix goes live by itself."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from livereload_core.testing import LivecoreProcess, Load, scaled, until
from tests.e2e.launching import EXACT, PLAYGROUND_APP, Launcher

SECONDS = scaled(8)
GOOD = PLAYGROUND_APP
FIXED = GOOD.replace('VERSION = "1"', 'VERSION = "2"')

START_UP_FAILS = """
async def refuse(app: web.Application) -> None:
    raise RuntimeError("the start-up refuses")

app.on_startup.append(refuse)
"""


def _saves(source: str | bytes) -> Callable[[LivecoreProcess], None]:
    return lambda run: run.write("app.py", source)


def _at_import(statement: str) -> Callable[[LivecoreProcess], None]:
    return _saves(f"{GOOD}\n{statement}\n")


BROKEN: dict[str, Callable[[LivecoreProcess], None]] = {
    "syntax": _saves(GOOD + "\ndef broken(:\n"),
    "encoding": _saves(GOOD.encode() + b'\nNAME = "\xff\xfe"\n'),
    "null byte": _saves(GOOD.encode() + b"\nNAME = 1\0\n"),
    "import": _at_import("import no_such_module_anywhere"),
    "missing attribute": _at_import("os.no_such_function()"),
    "raise at import": _at_import('raise RuntimeError("boom at import")'),
    "raise at start-up": _saves(GOOD + START_UP_FAILS),
    "sys.exit": _at_import("raise SystemExit(3)"),
    "os._exit": _at_import("os._exit(0)"),
    "endless loop": _at_import("while True: pass"),
    "segfault": _at_import("import ctypes; ctypes.string_at(0)"),
    "deleted file": lambda run: (run.cwd / "app.py").unlink(),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", BROKEN)
def test_broken_edit_fails_no_request_and_the_fix_goes_live_by_itself(livecore: Launcher, name: str) -> None:
    run = livecore.app("--timeout-prepare", "2", *EXACT)
    serving = run.get().json()["pid"]
    with Load(run.port) as load:
        load.more(20)
        BROKEN[name](run)
        record = run.wait_reload("rejected", "rolled-back")
        assert record["failure"] is not None
        assert record["failure"]["reason"], record
        load.seconds(SECONDS)
        assert run.get().json() | {"count": 0} == {"version": "1", "pid": serving, "count": 0}
        run.write("app.py", FIXED)
        run.wait_reload("committed")
        assert run.get().json()["version"] == "2"
        load.more(20)
    load.assert_flawless()
    load.assert_exact()


def test_syntax_error_is_found_before_any_process_is_touched(livecore: Launcher) -> None:
    run = livecore.app()
    before = run.pids()
    BROKEN["syntax"](run)
    record = run.wait_reload("rejected")
    assert record["failure"]["phase"] == "check"
    assert record["pause_ms"] == 0
    assert "app.py" in record["failure"]["reason"]
    assert "def broken(:" in record["failure"]["traceback"]
    assert before.keys() <= run.pids().keys(), "a process was ended for a file that does not compile"


def test_traceback_of_a_rejected_edit_is_the_users_alone(livecore: Launcher) -> None:
    run = livecore.app()
    BROKEN["raise at import"](run)
    traceback = run.wait_reload("rejected")["failure"]["traceback"]
    assert traceback.startswith("Traceback (most recent call last):")
    assert 'raise RuntimeError("boom at import")' in traceback
    assert "app.py" in traceback
    assert "livereload_core" not in traceback.replace("from livereload_core import", "")
    assert "importlib" not in traceback


def test_two_broken_edits_and_then_a_good_one_commit_the_good_one(livecore: Launcher) -> None:
    run = livecore.app()
    for name in ("syntax", "raise at import"):
        BROKEN[name](run)
        run.wait_reload("rejected")
    run.write("app.py", FIXED)
    run.wait_reload("committed")
    assert run.get().json()["version"] == "2"


def test_missing_module_that_is_created_goes_live_without_touching_the_importer(livecore: Launcher) -> None:
    run = livecore.app()
    run.write("app.py", FIXED + "\nimport helper_module\n")
    run.wait_reload("rejected")
    run.write("helper_module.py", "ANSWER = 42\n")
    run.wait_reload("committed")
    assert run.get().json()["version"] == "2"


def test_endless_loop_in_an_edit_is_superseded_by_the_next_save(livecore: Launcher) -> None:
    run = livecore.app("--timeout-prepare", "60")
    run.write("app.py", "import pathlib; pathlib.Path('looping').touch()\nwhile True: pass\n")
    until((run.cwd / "looping").exists, what="the endless loop")
    run.write("app.py", FIXED)
    run.wait_for(lambda record: record.get("outcome") == "committed", timeout=15, what="commit of the fix")
    assert run.get().json()["version"] == "2"
