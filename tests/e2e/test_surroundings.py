"""What a program sees of the world is what it would see without us; and what the user sees of errors."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from livereload_core.testing import free_port, until
from tests.e2e.launching import PLAYGROUND_APP, Launcher

IDENTITY = """
import json, os, sys
import __main__

def identity():
    return {
        "argv": sys.argv,
        "path0": sys.path[0],
        "name": __name__,
        "file": __file__,
        "package": __package__,
        "spec": __spec__.name if __spec__ else None,
        "main": vars(__main__) is globals(),
        "main_in_modules": sys.modules["__main__"] is __main__,
        "main_file": __main__.__file__,
        "cwd": os.getcwd(),
        "doc": __doc__,
    }

with open(os.environ["IDENTITY"] + ".part", "w") as out:
    json.dump(identity(), out)
os.rename(os.environ["IDENTITY"] + ".part", os.environ["IDENTITY"])
"""


def _plain(command: list[str], cwd: Path, out: Path) -> object:
    subprocess.run(
        [sys.executable, *command], cwd=cwd, env={**os.environ, "IDENTITY": str(out)}, check=True, timeout=30
    )
    return json.loads(out.read_text())


@pytest.mark.parametrize(
    ("arguments", "plain", "file"),
    [
        (["here.py"], ["here.py"], "here.py"),
        (["deep/er/there.py"], ["deep/er/there.py"], "deep/er/there.py"),
        (["./here.py"], ["./here.py"], "here.py"),
        (["-m", "pack"], ["-m", "pack"], "pack/__main__.py"),
        (["-m", "pack.inner"], ["-m", "pack.inner"], "pack/inner.py"),
    ],
    ids=["script", "script below", "script with a dot", "package", "module of a package"],
)
def test_program_sees_what_it_would_see_without_us(
    livecore: Launcher, tmp_path: Path, arguments: list[str], plain: list[str], file: str
) -> None:
    ours = tmp_path / "ours.json"
    run = livecore.program(
        *arguments,
        files={"pack/__init__.py": "", file: IDENTITY},
        args=["one", "--two", "-m", "three four"],
        env={"IDENTITY": str(ours)},
        serves=False,
        started=False,
    )
    until(ours.exists, what="the program's own report")
    theirs = _plain([*plain, "one", "--two", "-m", "three four"], run.cwd, tmp_path / "theirs.json")
    assert json.loads(ours.read_text()) == theirs


def test_program_that_returns_is_said_to_have_finished_and_runs_again_after_an_edit(
    livecore: Launcher,
) -> None:
    run = livecore.program(
        "once.py", files={"once.py": "print('run one', flush=True)\n"}, serves=False, started=False
    )
    run.wait_event("finished")
    run.edit("once.py", "one", "two")
    run.wait_output(lambda line: line == "run two")


def test_environment_file_reaches_the_program_and_does_not_override(livecore: Launcher) -> None:
    source = PLAYGROUND_APP.replace('VERSION = "1"', 'VERSION = os.environ["COLOUR"] + os.environ["SHAPE"]')
    run = livecore.program(
        "app:app",
        "--env-file",
        "settings.env",
        files={"app.py": source, "settings.env": 'COLOUR="green"\nexport SHAPE=round\n'},
        env={"SHAPE": "square"},
    )
    assert run.get().json()["version"] == "greensquare"


def test_busy_port_exits_4_and_names_the_port(livecore: Launcher) -> None:
    port = free_port()
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", port))
        busy.listen()
        run = livecore.program("app:app", files={"app.py": PLAYGROUND_APP}, started=False, port=port)
        assert run.wait_exit() == 4
    assert str(port) in run.transcript().split("\n", 1)[1]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["no_such_script.py"], "no_such_script.py"),
        (["app:app", "--no-such-option"], "--no-such-option"),
        (["app:app", "--port", "70000"], "70000"),
        (["app:app", "--port", "eighty"], "eighty"),
        (["app:app", "--env-file", "missing.env"], "missing.env"),
        (["app:app", "--app-dir", "missing_folder"], "missing_folder"),
        ([], "target"),
    ],
    ids=["script", "option", "port range", "port type", "env file", "app dir", "no target"],
)
def test_usage_error_is_one_plain_sentence_and_exit_code_2(
    tmp_path: Path, arguments: list[str], named: str
) -> None:
    (tmp_path / "app.py").write_text(PLAYGROUND_APP)
    done = subprocess.run(
        [sys.executable, "-m", "livereload_core", "run", *arguments],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 2, done
    assert named in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("livecore: ") or done.stderr.startswith("usage: ")
