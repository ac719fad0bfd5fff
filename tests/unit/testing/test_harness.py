"""The harness, on a stand-in that prints what it is told: it must see, and must not hide."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from livereload_core.testing import LivecoreProcess, until


def _record(event: str, **fields: object) -> str:
    return json.dumps({"v": 1, "event": event, **fields})


def _stand_in(folder: Path, source: str, *, terminal: bool = False) -> LivecoreProcess:
    run = LivecoreProcess("app:app", cwd=folder, terminal=terminal)
    run.command = [sys.executable, "-u", "-c", source]
    return run


def _saying(*lines: str, then: str = "import signal; signal.pause()") -> str:
    return "\n".join([*(f"print({line!r})" for line in lines), then])


def test_records_and_the_programs_own_lines_are_told_apart(tmp_path: Path) -> None:
    source = _saying("hello", '{"v": "mine"}', _record("started", generation=1), '{"v" broken')
    with _stand_in(tmp_path, source) as run:
        assert run.wait_started()["generation"] == 1
        run.wait_output(lambda line: "broken" in line)
        assert run.output == ["hello", '{"v": "mine"}', '{"v" broken']


def test_reloads_are_returned_one_after_the_other(tmp_path: Path) -> None:
    lines = [_record("reload", outcome=outcome) for outcome in ("committed", "rejected", "committed")]
    with _stand_in(tmp_path, _saying(*lines)) as run:
        run.wait_reload()
        run.wait_reload("rejected", "rolled-back")
        run.wait_reload("committed")
        with pytest.raises(AssertionError, match=r"no reload committed record came: 0.1 s have passed"):
            run.wait_reload(timeout=0.1)
        assert len(run.reloads()) == 3
        assert len(run.reloads("rejected")) == 1


def test_reload_with_another_outcome_fails_at_once(tmp_path: Path) -> None:
    with (
        _stand_in(tmp_path, _saying(_record("reload", outcome="rejected"))) as run,
        pytest.raises(AssertionError, match="a reload was rejected, expected committed"),
    ):
        run.wait_reload()


def test_end_of_the_process_ends_every_wait_and_shows_all_output(tmp_path: Path) -> None:
    source = _saying("last words", then="import sys; sys.exit('and an error')")
    run = _stand_in(tmp_path, source)
    with pytest.raises(AssertionError, match="the run has ended") as caught, run:
        run.wait_started(timeout=30)
    notes = "\n".join(caught.value.__notes__)
    assert "last words" in notes
    assert "and an error" in notes


@pytest.mark.parametrize("terminal", [False, True])
def test_interrupt_reaches_the_group_and_the_exit_code_is_told(tmp_path: Path, terminal: bool) -> None:
    then = "import signal, sys\ntry:\n    signal.pause()\nexcept KeyboardInterrupt:\n    sys.exit(130)"
    # The line is printed inside of the try: an interrupt before it would be one that nobody waits for.
    source = then.replace("    signal.pause()", f"    print({_record('started')!r})\n    signal.pause()")
    with _stand_in(tmp_path, source, terminal=terminal) as run:
        run.wait_started()
        assert run.stop() == 130


def test_everything_that_a_run_started_is_ended_with_it(tmp_path: Path) -> None:
    source = (
        "import subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import signal; signal.pause()'],"
        " start_new_session=True)\n" + _saying(_record("started"))
    )
    with _stand_in(tmp_path, source) as run:
        run.wait_started()
        # In the midst of its exec a process has no environment, by which it is known.
        until(lambda: len(run.pids()) == 2, what="both processes")
    until(lambda: not run.pids(), what="end of every process")


def test_terminal_of_a_run_is_a_real_one(tmp_path: Path) -> None:
    source = "import os, sys\nprint(sys.stdin.isatty(), sys.stdout.isatty(), os.tcgetpgrp(0) == os.getpgrp())"
    with _stand_in(tmp_path, source, terminal=True) as run:
        assert run.wait_output(lambda line: "True" in line or "False" in line) == "True True True"
        assert run.wait_exit() == 0
