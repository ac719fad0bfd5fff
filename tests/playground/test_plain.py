"""Every program of the playground runs in plain Python too: ``preserve`` is a no-op there."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from livereload_core.testing import until
from tests.e2e.launching import PLAYGROUND, TARGETS, Target

PROGRAMS = [target for target in TARGETS if target.args]
APPLICATIONS = [target for target in TARGETS if not target.args]


@contextmanager
def _running(command: list[str], cwd: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, *command], cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(5)
        assert process.stdout is not None
        process.stdout.close()


@pytest.mark.parametrize("target", PROGRAMS, ids=lambda target: target.name)
def test_program_serves_and_counts_without_livecore(target: Target, port: int) -> None:
    folder = PLAYGROUND / target.folder
    file = {"main:main": "main.py", "server:main": "server.py"}.get(target.arguments[0], target.arguments[0])
    command = [file, *target.arguments[1:], *(arg.format(port=port) for arg in target.args)]
    with _running(command, folder) as process:
        until(lambda: target.ask(port), what="an answer", context=lambda: f"exit code {process.poll()}")
        with target.load(port) as load:
            load.more(40)
        load.assert_flawless()
        load.assert_exact()
        assert target.ask(port).json()["count"] == load.answers


def test_simulation_ticks_without_livecore() -> None:
    with _running(["world.py"], PLAYGROUND / "simulation") as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(3)]
    assert [line.split(" place")[0] for line in lines] == ["tick 1", "tick 2", "tick 3"]


@pytest.mark.parametrize(
    "folder", [*(target.folder for target in APPLICATIONS), "demo", "chat"], ids=lambda folder: str(folder)
)
def test_application_can_be_imported_without_livecore(folder: str) -> None:
    subprocess.run([sys.executable, "-c", "import app"], cwd=PLAYGROUND / folder, check=True, timeout=30)


def test_demo_says_on_its_page_which_file_to_edit() -> None:
    named = "playground/demo/app.py"
    assert named in (PLAYGROUND / "demo" / "page.html").read_text()
    assert (PLAYGROUND.parent / named).is_file()
