"""Ctrl-C, and what is left behind: nothing."""

from __future__ import annotations

import time

import pytest

from livereload_core.testing import LivecoreProcess, Load, port_is_free, until
from tests.e2e.launching import PLAYGROUND_APP, TARGETS, Launcher, Target

NEVER_ENDS = (
    PLAYGROUND_APP.replace("import os", "import asyncio\nimport os")
    + """

async def hang(app: web.Application) -> None:
    open("cleaning", "w").close()
    await asyncio.Event().wait()

app.on_cleanup.append(hang)
"""
)


def _assert_nothing_is_left(run: LivecoreProcess) -> None:
    until(
        lambda: not run.pids() and port_is_free(run.port),
        timeout=0.3,
        what="end of every process and a free port",
        context=lambda: str(run.pids()),
    )


@pytest.mark.parametrize("terminal", [False, True], ids=["group", "terminal"])
def test_one_interrupt_ends_everything_in_order(livecore: Launcher, terminal: bool) -> None:
    run = livecore.program("app:app", files={"app.py": PLAYGROUND_APP}, terminal=terminal)
    run.get("/hit")
    assert run.stop() == 130
    assert [record["event"] for record in run.records][-2:] == ["stopping", "stopped"]
    assert [*run.stderr, *run.output] in ([], ["^C"]), "the end is silent, but for what the terminal echoes"
    _assert_nothing_is_left(run)


def test_one_interrupt_runs_the_programs_own_clean_up(livecore: Launcher) -> None:
    source = (
        PLAYGROUND_APP
        + """

async def tidy(app: web.Application) -> None:
    open("tidied", "w").close()

app.on_cleanup.append(tidy)
"""
    )
    run = livecore.app(source=source)
    assert run.stop() == 130
    assert (run.cwd / "tidied").exists()


def test_second_interrupt_ends_at_once_what_does_not_end_by_itself(livecore: Launcher) -> None:
    run = livecore.program("app:app", "--timeout-graceful-shutdown", "60", files={"app.py": NEVER_ENDS})
    run.interrupt()
    until((run.cwd / "cleaning").exists, what="the clean-up that hangs")
    began = time.monotonic()
    run.interrupt()
    assert run.wait_exit() == 130
    assert time.monotonic() - began < 1.0
    _assert_nothing_is_left(run)


def test_interrupt_while_new_code_hangs_at_import_leaves_nothing(livecore: Launcher) -> None:
    run = livecore.app()
    run.write("app.py", "import pathlib; pathlib.Path('looping').touch()\nwhile True: pass\n")
    until((run.cwd / "looping").exists, what="the endless loop")
    assert run.stop() == 130
    _assert_nothing_is_left(run)


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_each_target_stops_under_load_and_leaves_nothing(livecore: Launcher, target: Target) -> None:
    run = livecore.target(target)
    with Load(run.port) if not target.lines else Load.of_lines(run.port) as load:
        load.more(20)
        run.edit(target.edited, 'VERSION = "1"', 'VERSION = "2"')
        run.wait_reload("committed")
        run.interrupt()
        assert run.wait_exit() == 130
    _assert_nothing_is_left(run)
