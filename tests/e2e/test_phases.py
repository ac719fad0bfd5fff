"""Where the time of an edit went: every phase has a name, and they leave no gap."""

from __future__ import annotations

from typing import Any

import pytest

from livereload_core.core.states import PAUSE_PHASES
from livereload_core.parent.edits import GIT_POLL, REAPPEAR
from livereload_core.parent.supervisor import SAVING
from livereload_core.testing import until
from tests.e2e.launching import Launcher

PHASES = [
    *("notice", "debounce", "hash", "compile", "activate", "import", "export", "decode"),
    *("quiesce", "freeze", "transfer", "refresh", "start", "commit"),
]

ROUNDED = 0.01
"""Milliseconds: each phase is rounded to a microsecond, and so is the total."""


def _check_sums(record: dict[str, Any]) -> None:
    phases = record["phases_ms"]
    assert sum(phases.values()) == pytest.approx(record["total_ms"], abs=ROUNDED)
    pause = sum(phases.get(name, 0.0) for name in PAUSE_PHASES)
    assert pause == pytest.approx(record["pause_ms"], abs=ROUNDED)


def test_an_edit_of_a_program_with_state_tells_all_phases_in_the_log_and_in_the_status(
    livecore: Launcher,
) -> None:
    run = livecore.app()
    assert run.get("/hit").json()["count"] == 1
    run.edit("app.py", 'VERSION = "1"', 'VERSION = "2"')
    record = run.wait_reload("committed")
    assert list(record["phases_ms"]) == PHASES
    _check_sums(record)
    assert run.get().json()["count"] == 1
    assert run.status()["last"] == record
    phases = record["phases_ms"]
    assert all(milliseconds >= 0.0 for milliseconds in phases.values())
    assert phases["debounce"] >= SAVING * 1000
    assert phases["transfer"] > 0.0
    assert phases["refresh"] > 0.0


def test_waiting_for_git_is_told_apart_from_hashing(livecore: Launcher) -> None:
    run = livecore.app()
    lock = run.cwd / ".git" / "index.lock"
    lock.parent.mkdir()
    lock.touch()
    run.edit("app.py", 'VERSION = "1"', 'VERSION = "2"')
    until(lambda: run.status()["state"] == "collect", what="the wait for git")
    lock.unlink()
    record = run.wait_reload("committed")
    assert record["phases_ms"]["debounce"] >= GIT_POLL * 1000
    assert record["phases_ms"]["hash"] < record["phases_ms"]["debounce"]
    _check_sums(record)


def test_an_empty_file_is_given_its_time_and_that_is_no_time_of_hashing(livecore: Launcher) -> None:
    run = livecore.app()
    run.write("app.py", "", how="inplace")
    record = run.wait_reload("rejected")
    assert record["phases_ms"]["debounce"] >= REAPPEAR * 1000
    assert record["phases_ms"]["hash"] < record["phases_ms"]["debounce"]
    _check_sums(record)
