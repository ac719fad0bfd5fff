"""What is open and held by two roots: one object, one fd, and no more open files than before."""

from __future__ import annotations

import gc
import os
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from livereload_core.state import exporting
from livereload_core.state.descriptors import NotQuietError
from livereload_core.state.engine import Export
from tests.unit.state.carrying import census
from tests.unit.state.conftest import Program

HEAD = "from livereload_core import preserve\n"
A = HEAD + "a = preserve('a', dict)\n"
B = "b = preserve('b', dict{more})\n"
TWO = A + B.format(more="")


@pytest.fixture(autouse=True)
def _no_garbage() -> None:
    """What tests before this one have left in cycles does not close its fds within this one."""
    gc.collect()


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


Pair = tuple[socket.socket, socket.socket]


def _start(program: Program, export: Export, source: str) -> Any:
    app = program.start(app=source)
    program.engine.adopt(export.data, export.handed.fds)
    export.close()
    program.settle()
    program.engine.commit()
    return app


@pytest.mark.parametrize("searches", [True, False], ids=["found", "said"])
def test_socket_and_file_that_two_roots_share_are_still_one_and_leak_nothing(
    program: Program, pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, searches: bool
) -> None:
    source = A.replace("dict", "dict, group='g'") + B.format(more=", group='g'")
    if searches:
        source = TWO
    else:
        monkeypatch.setattr("livereload_core.state.sharing.Sharing.is_due", lambda self: False)
    (tmp_path / "lines").write_text("".join(f"{number}\n" for number in range(8)))
    app = program.start(app=source)
    app.a["sock"] = app.b["sock"] = pair[0]
    app.a["file"] = app.b["file"] = (tmp_path / "lines").open()
    before = census()
    for number in range(6):
        export = program.engine.export()
        assert len(export.handed.fds) == 2
        last, app = app, _start(program, export, source)
        last.a["sock"].close()
        last.a["file"].close()
        assert app.a["sock"] is app.b["sock"]
        assert app.a["file"] is app.b["file"]
        assert app.a["file"].readline() == f"{number}\n"
        pair[1].send(b"x")
        assert app.b["sock"].recv(1) == b"x"
        assert sorted(census().values()) == sorted(before.values())
        assert program.engine.carrying() == [[app.a["sock"].fileno()], [app.a["file"].fileno()]]
    app.a["sock"].close()
    app.a["file"].close()
    assert pair[1].recv(1) == b""


def test_trial_of_a_group_leaves_nothing_open(program: Program, pair: Pair, tmp_path: Path) -> None:
    app = program.start(app=TWO)
    app.a["sock"] = app.b["sock"] = pair[0]
    with tempfile.NamedTemporaryFile(dir=tmp_path) as file:
        app.a["file"] = app.b["file"] = file
        export = program.engine.export()
        program.start(app=TWO)
        before = census()
        program.engine.trial(export.data, export.handed.fds)
        assert census() == before
        export.close()
        assert Path(file.name).exists()


def test_child_process_that_two_roots_share_is_handed_over_once(program: Program) -> None:
    app = program.start(app=TWO)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        app.a["process"] = app.b["process"] = process
        export = program.engine.export()
        assert export.handed.processes == [process.pid]
        assert len(export.handed.fds) == 2, "its pidfd, and the pipe to its stdin"
        app = _start(program, export, TWO)
        back = app.a["process"]
        assert back is app.b["process"]
        assert back.stdin is not process.stdin
        back.stdin.close()
        process.communicate(b"\n")
        assert back.wait() == 0


def test_member_that_nobody_declares_leaves_one_fd_parked_and_nothing_else(
    program: Program, pair: Pair, tmp_path: Path
) -> None:
    app = program.start(app=TWO)
    app.a["x"] = app.b["x"] = [1]
    app.b["sock"] = pair[0]
    app.b["file"] = tempfile.NamedTemporaryFile(dir=tmp_path)  # noqa: SIM115 - it has to stay open
    app.b["process"] = process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    path = Path(app.b["file"].name)
    export = program.engine.export()
    handed = len(export.handed.fds)
    before = len(census()) - handed
    program.start(app=A)
    program.engine.adopt(export.data, export.handed.fds)
    export.close()
    # What the group brought for b waits for its declaration until start-up has run.
    assert len(census()) == before + 2 * handed
    program.settle()
    program.engine.commit()
    assert len(census()) == before + handed
    assert [len(fds) for fds in program.engine.carrying()] == [1] * handed
    assert path.exists()
    last = app
    app = program.reload(app=TWO)
    pair[1].send(b"x")
    assert app.b["sock"].recv(1) == b"x"
    last.b["file"]._closer.delete = False  # as the cut does it, once the next generation serves
    last.b["file"].close()
    app.b["sock"].close()
    assert app.b["file"].name == str(path)
    app.b["file"].close()
    assert not path.exists()
    app.b["process"].stdin.close()
    process.communicate(b"\n")
    assert app.b["process"].wait() == 0


def test_group_that_cannot_be_loaded_closes_what_it_had_made(program: Program, pair: Pair) -> None:
    source = A + B.format(more=", on_error='reset'") + "class Gone: pass\n"
    app = program.start(app=source)
    app.a["sock"] = app.b["sock"] = pair[0]
    app.b["gone"] = app.Gone()
    export = program.engine.export()
    before = len(census()) - len(export.handed.fds)
    app = _start(program, export, source.replace("class Gone: pass\n", ""))
    assert app.b == {}
    assert program.reports["app:a"].detail == "what it shared with 1 other is its own now"
    pair[1].send(b"x")
    assert app.a["sock"].recv(1) == b"x"
    assert len(census()) == before + 1
    app.a["sock"].close()


def test_group_that_cannot_be_written_hands_over_what_its_members_need(program: Program, pair: Pair) -> None:
    source = TWO + (
        "class Once:\n    def __reduce__(self):\n        global left\n        left -= 1\n"
        "        if left < 0:\n            raise ValueError\n        return Once, ()\nleft = 1\n"
    )
    app = program.start(app=source)
    app.a["sock"] = app.b["sock"] = pair[0]
    app.b["once"] = app.Once()
    before = census()
    export = program.engine.export()
    assert len(export.handed.fds) == 1
    app = _start(program, export, source)
    assert app.a["sock"] is not app.b["sock"]
    app.a["sock"].close()
    pair[1].send(b"x")
    assert app.b["sock"].recv(1) == b"x"
    app.b["sock"].close()
    assert census() == before


def test_group_that_has_to_be_looked_at_in_quiet_says_so(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporting, "_needs_quiet", False)
    (tmp_path / "lines").write_text("1\n2\n3\n")
    app = program.start(app=TWO)
    with (tmp_path / "lines").open() as file:
        app.a["file"] = app.b["file"] = file
        next(file)
        before = census()
        with pytest.raises(NotQuietError):
            program.engine.export(quiet=False)
        assert census() == before
        app = _start(program, program.engine.export(), TWO)
    assert app.a["file"] is app.b["file"]
    assert next(app.a["file"]) == "2\n"
    app.a["file"].close()


def test_lock_and_socket_in_one_shared_object_stay_together(program: Program, pair: Pair) -> None:
    app = program.start(app=TWO)
    app.a["client"] = app.b["client"] = {"lock": threading.Lock(), "sock": pair[0]}
    app = _start(program, program.engine.export(), TWO)
    assert app.a["client"] is app.b["client"]
    assert os.fstat(app.a["client"]["sock"].fileno()).st_ino == os.fstat(pair[0].fileno()).st_ino
    app.a["client"]["sock"].close()
