"""A run can be asked and told from another terminal."""

from __future__ import annotations

import json
import subprocess
import sys

from livereload_core.testing import LivecoreProcess, port_is_free, until
from tests.e2e.launching import Launcher


def _livecore(run: LivecoreProcess, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "livereload_core", *arguments],
        cwd=run.cwd,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_status_tells_generation_listeners_and_processes(livecore: Launcher) -> None:
    run = livecore.app()
    serving = run.get().json()["pid"]
    done = _livecore(run, "status", "--json")
    assert done.returncode == 0, done
    status = json.loads(done.stdout)
    assert status["pid"] == run.pid
    assert any(str(run.port) in listener for listener in status["listeners"])
    assert serving in [child["pid"] for child in status["children"]]
    assert str(run.pid) in _livecore(run, "status").stdout


def test_reload_on_request_makes_a_new_generation_that_keeps_the_state(livecore: Launcher) -> None:
    run = livecore.app()
    before = run.get("/hit").json()
    done = _livecore(run, "reload")
    assert done.returncode == 0, done
    run.wait_reload("committed")
    after = run.get("/hit").json()
    assert after["pid"] != before["pid"]
    assert after["count"] == 2


def test_stop_on_request_ends_the_run_and_frees_the_port(livecore: Launcher) -> None:
    run = livecore.app()
    assert _livecore(run, "stop").returncode == 0
    assert run.wait_exit() == 0
    until(lambda: not run.pids() and port_is_free(run.port), timeout=1, what="end of every process")


def test_status_without_a_run_says_so_plainly(livecore: Launcher) -> None:
    run = livecore.app()
    run.stop()
    done = _livecore(run, "status")
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("livecore: ")
