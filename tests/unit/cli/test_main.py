"""The command as its user meets it: answers, exit codes, and nothing but one sentence for a mistake."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from livereload_core.cli.main import main
from livereload_core.core.records import Notice, NoticeKind, Outcome, ReloadRecord, as_json
from livereload_core.facts import Failure
from livereload_core.parent.control import ControlServer

PYTHONPATH = os.pathsep.join(entry for entry in sys.path if entry)
BAD = ReloadRecord(Outcome.REJECTED, 1, ("a.py",), 0.0, failure=Failure("check", "no good"))


class FakeRun:
    """A real control server of this process, with answers chosen by the test."""

    def __init__(self, root: Path) -> None:
        self.answers: dict[str, dict[str, Any]] = {}
        self.asked: list[str] = []
        self._root = root
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()))

    async def _handle(self, message: dict[str, Any]) -> dict[str, Any]:
        self.asked.append(message["op"])
        return self.answers[message["op"]]

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._end = asyncio.Event()
        server = ControlServer(str(self._root), self._handle)
        await server.start()
        self._ready.set()
        await self._end.wait()
        await server.close()

    def __enter__(self) -> FakeRun:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(10)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "pyproject.toml").touch()
    monkeypatch.chdir(tmp_path)
    # Not tmp_path: its name is longer than what a Unix socket's address can hold.
    runtime = tempfile.mkdtemp(prefix="lc-")
    monkeypatch.setenv("XDG_RUNTIME_DIR", runtime)
    yield tmp_path
    shutil.rmtree(runtime)


@pytest.fixture
def run(project: Path) -> Iterator[FakeRun]:
    with FakeRun(project) as found:
        yield found


def livecore(*argv: str, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "livereload_core", *argv]
    environ = {**os.environ, "PYTHONPATH": PYTHONPATH}
    return subprocess.run(command, env=environ, text=True, timeout=60, check=False, **options)


def test_a_mistake_is_one_sentence_on_stderr_and_exit_code_2(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "nothing.py"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("livecore: there is no script 'nothing.py'")
    assert err.count("\n") == 1


def test_help_and_version_go_to_stdout(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert main(["--help"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("livecore ")
    assert err == ""


def test_no_run_to_talk_to_is_a_usage_error(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status"]) == 2
    assert f"nothing runs in {project}" in capsys.readouterr().err


def test_status_is_for_people_or_raw(project: Path, run: FakeRun, capsys: pytest.CaptureFixture[str]) -> None:
    run.answers["status"] = {"state": "idle", "generation": 3}
    assert main(["status"]) == 0
    assert capsys.readouterr().out == f"livecore   idle  gen 3  pid {os.getpid()}\n"
    assert main(["status", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer == {"v": 1, "pid": os.getpid(), "state": "idle", "generation": 3}


def test_a_run_is_found_from_a_folder_below(
    project: Path, run: FakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "sub").mkdir()
    monkeypatch.chdir(project / "sub")
    run.answers["status"] = {"state": "idle"}
    assert main(["status"]) == 0


@pytest.mark.parametrize(
    ("record", "code"),
    [
        (ReloadRecord(Outcome.COMMITTED, 2, ("a.py",), 0.01), 0),
        (BAD, 1),
        (Notice(NoticeKind.STARTED, "serving", 1), 0),
        (Notice(NoticeKind.HOLD, "broken"), 1),
    ],
)
def test_reload_prints_how_it_ended_and_tells_by_its_exit_code(
    project: Path, run: FakeRun, capsys: pytest.CaptureFixture[str], record: ReloadRecord | Notice, code: int
) -> None:
    run.answers["reload"] = {"record": as_json(record)}
    assert main(["reload"]) == code
    assert capsys.readouterr().out.count("\n") >= 1


def test_an_answer_of_another_version_is_named(
    project: Path, run: FakeRun, capsys: pytest.CaptureFixture[str]
) -> None:
    run.answers["reload"] = {"record": {"event": "future"}}
    assert main(["reload"]) == 1
    assert "another version" in capsys.readouterr().err


STOPPABLE = """
import asyncio, sys
from livereload_core.parent.control import ControlServer

async def main():
    end = asyncio.Event()
    async def handle(message):
        asyncio.get_running_loop().call_soon(end.set)
        return {}
    server = ControlServer(sys.argv[1], handle)
    await server.start()
    print("ready", flush=True)
    await end.wait()
    await server.close()

asyncio.run(main())
"""


def test_stop_returns_once_the_run_is_gone(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    environ = {**os.environ, "PYTHONPATH": PYTHONPATH}
    with subprocess.Popen(
        [sys.executable, "-c", STOPPABLE, str(project)], stdout=subprocess.PIPE, env=environ, text=True
    ) as stoppable:
        assert stoppable.stdout is not None
        assert stoppable.stdout.readline() == "ready\n"
        assert main(["stop"]) == 0
        assert stoppable.wait(0.5) == 0
        assert capsys.readouterr().out == f"stopped pid {stoppable.pid}\n"


def test_module_and_command_are_the_same(project: Path) -> None:
    done = livecore("rnu", capture_output=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "livecore: unknown command 'rnu'; did you mean `livecore run`?\n"


def test_a_reader_who_left_is_no_error(project: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    try:
        done = livecore("--help", stdout=write, stderr=subprocess.PIPE)
    finally:
        os.close(write)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_command_loads_nothing_heavy() -> None:
    program = (
        "import sys, livereload_core.cli.main, livereload_core.cli.client; "
        "print([name for name in ('asyncio', 'watchfiles', 'aiohttp', 'dill', 'pickle', 'tomllib', "
        "'difflib') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", program],
        env={**os.environ, "PYTHONPATH": PYTHONPATH},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout == "[]\n"
