"""Fds beside a snapshot: which is which, who closes them, and what becomes of those that are gone."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from livereload_core.errors import CannotCarryError, SnapshotError
from livereload_core.state.descriptors import GONE, Outgoing, become_quiet
from livereload_core.state.engine import Engine
from tests.unit.state.carrying import census
from tests.unit.state.conftest import Program

KEPT = """
from livereload_core import preserve
kept = preserve("kept", dict)
"""


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


Pair = tuple[socket.socket, socket.socket]


def test_sockets_in_two_roots_cross_over_many_generations_and_leak_nothing(
    program: Program, pair: Pair
) -> None:
    source = KEPT + 'other = preserve("other", list)\n'
    app = program.start(app=source)
    app.kept["a"], theirs = pair
    app.other.append(socket.socket(fileno=os.dup(pair[0].fileno())))
    before = None
    for number in range(8):
        last = app
        app = program.reload(app=source)
        last.kept["a"].close()
        last.other[0].close()
        assert app.kept["a"].fileno() != app.other[0].fileno(), "each object owns its own"
        theirs.send(b"%d" % number)
        assert app.kept["a"].recv(1) == b"%d" % number
        if number == 2:
            before = census().values()
        elif before is not None:
            assert sorted(census().values()) == sorted(before)
    app.kept["a"].close()
    app.other[0].close()
    assert theirs.recv(1) == b""


def test_socket_of_a_deleted_declaration_is_parked_open_and_comes_back(program: Program, pair: Pair) -> None:
    app = program.start(app=KEPT)
    app.kept["a"] = pair[0]
    program.reload(app="")
    app.kept["a"].close()
    program.reload(app="")
    pair[1].send(b"x")
    assert program.reports["app:kept"].fate.value == "parked"
    before = len(census())
    app = program.reload(app=KEPT)
    assert app.kept["a"].recv(1) == b"x"
    # Two older engines of this process hold theirs; the newest one has given its socket to the object.
    assert len(census()) == before + 1
    app.kept["a"].close()


def test_what_is_gone_comes_back_closed_and_stays_so(program: Program, pair: Pair) -> None:
    app = program.start(app=KEPT)
    reading, writing = os.pipe()
    with os.fdopen(reading) as reader, os.fdopen(writing, "w") as writer:
        app.kept.update(sock=pair[0], reader=reader, writer=writer)
        export = program.engine.export()
        fds = list(export.handed.fds)
        assert len(fds) == 3
        app = program.start(app="")
        program.engine.adopt(export.data, [GONE, fds[1], GONE])
        export.handed.close()
        program.settle()
        app = program.reload(app=KEPT)
        assert app.kept["sock"].fileno() == -1
        assert app.kept["writer"].closed
        with pytest.raises(ValueError, match="closed file"):
            app.kept["writer"].write("x")
        with app.kept["reader"]:
            writer.write("line\n")
            writer.flush()
            assert app.kept["reader"].readline() == "line\n"


def test_fds_have_to_come_with_their_snapshot(program: Program, pair: Pair) -> None:
    app = program.start(app=KEPT)
    app.kept["a"] = pair[0]
    export = program.engine.export()
    with pytest.raises(SnapshotError, match="1 fds, 0 have arrived"):
        program.engine.trial(export.data)
    export.handed.close()


def test_root_that_is_refused_hands_nothing_over(program: Program, pair: Pair) -> None:
    app = program.start(app=KEPT)
    app.kept.update(sock=pair[0], bad=(number for number in range(3)))
    before = census()
    with pytest.raises(CannotCarryError, match=r'kept\["bad"\]'):
        program.engine.export()
    assert census() == before


def test_code_that_refuses_a_root_leaves_nothing_open(program: Program, pair: Pair) -> None:
    app = program.start(
        app=KEPT + "class A:\n    def __setstate__(self, state):\n        self.__dict__ = state\n"
    )
    app.kept.update(sock=pair[0], a=app.A())
    app.kept["a"].x = 1
    export = program.engine.export()
    program.start(app=KEPT + "class A:\n    def __setstate__(self, state):\n        raise ValueError\n")
    before = census()
    with pytest.raises(CannotCarryError, match="ValueError"):
        program.engine.trial(export.data, export.handed.fds)
    assert census() == before
    export.handed.close()
    pair[1].send(b"x")
    assert pair[0].recv(1) == b"x"


def test_trial_closes_what_validate_and_migrate_saw(program: Program, pair: Pair) -> None:
    app = program.start(app=KEPT)
    app.kept["a"] = pair[0]
    export = program.engine.export()
    check = "lambda value: value['a'].fileno() >= 0"
    program.start(app=KEPT.replace("dict)", f"dict, validate={check})"))
    before = census()
    program.engine.trial(export.data, export.handed.fds)
    assert census() == before
    export.handed.close()


def test_fds_of_a_stream_that_failed_are_forgotten() -> None:
    outgoing = Outgoing()
    before = census()
    outgoing.begin()
    outgoing.own("null", lambda: os.open(os.devnull, os.O_RDONLY))
    outgoing.begin()
    assert outgoing.end() == ()
    assert census() == before


def test_fd_that_was_closed_beneath_its_object_is_named_and_leaks_nothing(
    program: Program, pair: Pair
) -> None:
    app = program.start(app=KEPT)
    other = socket.socket(fileno=os.dup(pair[0].fileno()))
    app.kept.update(a=pair[0], b=other)
    os.close(other.fileno())
    before = census()
    with pytest.raises(CannotCarryError, match=r'kept\["b"\]: OSError: .* was closed by its number'):
        program.engine.export()
    assert census() == before
    other.detach()


def test_engine_knows_which_fds_stand_for_those_of_the_snapshot(program: Program, pair: Pair) -> None:
    app = program.start(app=KEPT + 'other = preserve("other", list)\n')
    app.kept["a"] = pair[0]
    app.other.append(pair[1])
    app = program.reload(app=KEPT)
    (mine,), (parked,) = program.engine.carrying()
    assert mine == app.kept["a"].fileno()
    assert os.fstat(parked).st_ino == os.fstat(pair[1].fileno()).st_ino
    app.kept["a"].close()


def test_export_of_large_state_lets_no_other_thread_run() -> None:
    # In a process of its own: a thread that computes without pause would disturb other tests.
    source = """
import sys, threading, types
from livereload_core.state import runtime
from livereload_core.state.engine import Engine
engine = Engine(is_user_module=lambda name: name == "app")
engine.activate()
app = sys.modules["app"] = types.ModuleType("app")
exec("from livereload_core import preserve\\nkept = preserve('kept', list)", vars(app))
app.kept += [bytes(10_000) + number.to_bytes(4, "big") for number in range(5000)]
engine.export()
count, go = 0, True
def spin():
    global count
    while go:
        count += 1
thread = threading.Thread(target=spin)
thread.start()
from livereload_core.posix import stopped
with stopped.standstill(0.5):
    before = count
    export = engine.export()
    after = count
go = False
print(after - before, len(export.data) > 50_000_000)
"""
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == ["0", "True"], done.stdout + done.stderr


def test_quiet_comes_without_a_change_of_the_switch_interval() -> None:
    before = sys.getswitchinterval()
    become_quiet(0.001)
    assert sys.getswitchinterval() == before


def test_engine_without_fds_needs_none() -> None:
    engine: Any = Engine(is_user_module=lambda name: False)
    export = engine.export()
    assert export.handed.fds == []
    engine.trial(export.data)


def test_export_that_is_not_quiet_touches_no_file_that_a_thread_reads_on(tmp_path: Path) -> None:
    (tmp_path / "lines").write_text("".join(f"{number}\n" for number in range(200_000)))
    source = f"""
import itertools, sys, threading, types
from livereload_core.state.descriptors import NotQuietError
from livereload_core.state.engine import Engine
engine = Engine(is_user_module=lambda name: name == "app")
engine.activate()
app = sys.modules["app"] = types.ModuleType("app")
exec("from livereload_core import preserve\\nkept = preserve('kept', list)", vars(app))
app.kept += [open({str(tmp_path / "lines")!r}) for _ in range(50)]
done = threading.Event()
def export():
    for _ in range(50):
        try:
            engine.export(quiet=False)
        except NotQuietError:
            refused.append(1)
    done.set()
refused = []
wrong = 0
thread = threading.Thread(target=export)
thread.start()
for step in itertools.count():
    wrong += int(next(app.kept[step % 50], -1)) != step // 50
    if done.is_set() or step == 50 * 200_000 - 1:
        break
thread.join()
engine.export().close()
print(wrong, len(refused), app.kept[0].readline() == f"{{step // 50 + 1}}\\n")
"""
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == ["0", "50", "True"], done.stdout + done.stderr
