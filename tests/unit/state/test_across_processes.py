"""State over a real process boundary: a fresh interpreter imports the edited code and adopts the snapshot."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from livereload_core.testing import until

GENERATION = """
import importlib, json, os, runpy, socket, sys
from livereload_core.core.records import RootReport
from livereload_core.state.engine import Engine

folder, kind, snapshot_in, snapshot_out, channel, *fds = sys.argv[1:]
fds = [int(fd) for fd in fds]
sys.path.insert(0, folder)
sys.dont_write_bytecode = True

def is_user_module(name):
    file = getattr(sys.modules.get(name), "__file__", None)
    return name == "__main__" or (file or "").startswith(folder)

engine = Engine(is_user_module=is_user_module)
engine.activate()
data = b""
if os.path.exists(snapshot_in):
    with open(snapshot_in, "rb") as file:
        data = file.read()
if kind == "module":
    import app
    space = vars(app)
    if data:
        engine.trial(data, fds)
        engine.adopt(data, fds)
else:
    main = type(sys)("__main__")
    main.__file__ = os.path.join(folder, "app.py")
    sys.modules["__main__"] = main
    space = vars(main)
    code = compile(open(main.__file__).read(), main.__file__, "exec")

    def gate():
        if data:
            engine.trial(data, fds)
            engine.adopt(data, fds)

    space["gate"] = gate
    if kind == "script" and data:
        engine.adopt(data, fds)
    exec(code, space)
fates = {report.key: report.fate.value for report in engine.settle()}
result = space["result"]()
engine.commit()
export = engine.export()
open(snapshot_out, "wb").write(export.data)
with socket.socket(fileno=int(channel)) as sock:
    socket.send_fds(sock, [b"x"], export.handed.fds)
print(json.dumps({"result": result, "fates": fates}))
"""


class Processes:
    """Runs generations one after another, each in a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._count = 0
        self.fds: list[int] = []

    def run(self, source: str, kind: str = "module") -> Any:
        (self.folder / "app.py").write_text(textwrap.dedent(source), encoding="utf-8")
        snapshots = [str(self.folder / f"{self._count + step}.snapshot") for step in (0, 1)]
        self._count += 1
        ours, theirs = socket.socketpair()
        with ours, theirs:
            passed = [theirs.fileno(), *self.fds]
            command = [sys.executable, "-W", "error", "-c", GENERATION, str(self.folder), kind, *snapshots]
            command += map(str, passed)
            done = subprocess.run(command, capture_output=True, text=True, timeout=60, pass_fds=passed)
            assert done.returncode == 0, done.stderr
            self.close()
            self.fds = socket.recv_fds(ours, 1, 250)[1]
        return json.loads(done.stdout.splitlines()[-1])

    def close(self) -> None:
        """Close the fds of the newest snapshot."""
        while self.fds:
            os.close(self.fds.pop())


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    processes = Processes(tmp_path)
    yield processes
    processes.close()


OBJECTS = """
from livereload_core import preserve

class Room:
    def __init__(self):
        self.visits = 0
    def greet(self):
        return "hello %d" % self.visits

rooms = preserve("rooms", dict)

def shout(text):
    return text.upper()

def result():
    room = rooms.setdefault("lobby", Room())
    room.visits += 1
    handlers = rooms.setdefault("handlers", [shout, lambda text: text + "!", room.greet])
    return [room.greet(), *(handler("x") for handler in handlers[:2]), handlers[2]()]
"""


@pytest.mark.parametrize("kind", ["module", "script"])
def test_methods_functions_and_lambdas_that_were_edited_are_what_runs(
    processes: Processes, kind: str
) -> None:
    assert processes.run(OBJECTS, kind)["result"] == ["hello 1", "X", "x!", "hello 1"]
    edited = OBJECTS.replace("hello", "welcome").replace("upper()", "title() * 2").replace('"!"', '"?"')
    ran = processes.run(edited, kind)
    assert ran["result"] == ["welcome 2", "XX", "x?", "welcome 2"]
    assert set(ran["fates"].values()) == {"kept"}


SCRIPT = """
from livereload_core import preserve

rooms = preserve("rooms", dict)
hits = preserve("hits", int)

class Room:
    visits = 0

@preserve
class Game:
    def __init__(self):
        self.score = 0

@preserve
def world():
    return Room()

game = Game()
seen = []

def main():
    global hits
    seen.append([len(rooms), hits, game.score, world().visits])
    rooms[len(rooms)] = Room()
    hits += 1
    game.score += 10
    world().visits += 100

main()

def result():
    return seen
"""


def test_script_has_its_state_before_its_main_function_runs(processes: Processes) -> None:
    assert processes.run(SCRIPT, "script")["result"] == [[0, 0, 0, 0]]
    assert processes.run(SCRIPT, "script")["result"] == [[1, 1, 10, 100]]
    ran = processes.run("import os, json\n" + SCRIPT, "script")
    assert ran["result"] == [[2, 2, 20, 200]]
    assert ran["fates"] == {
        "__main__:rooms": "kept",
        "__main__:hits": "kept",
        "__main__:world": "kept",
        "__main__:game": "kept",
    }


def test_script_that_waits_at_its_main_block_is_filled_there(processes: Processes) -> None:
    source = SCRIPT.replace("\nmain()\n", "\ngate()\nmain()\n")
    for generation in range(3):
        expected = [generation, generation, generation * 10, generation * 100]
        assert processes.run(source, "gated")["result"] == [expected]


def test_script_whose_class_is_gone_is_refused_while_it_waits(processes: Processes) -> None:
    source = SCRIPT.replace("\nmain()\n", "\ngate()\nmain()\n")
    processes.run(source, "gated")
    with pytest.raises(AssertionError, match=r"rooms: __main__:Room is gone .'Rooms' looks like it"):
        processes.run(source.replace("Room:", "Rooms:").replace("Room()", "Rooms()"), "gated")


def test_script_whose_class_is_gone_is_refused_when_start_up_has_run(processes: Processes) -> None:
    processes.run(SCRIPT, "script")
    with pytest.raises(AssertionError, match=r"__main__:Room is gone"):
        processes.run(SCRIPT.replace("Room:", "Rooms:").replace("Room()", "Rooms()"), "script")


def test_declaration_deleted_from_a_script_is_parked_and_comes_back(processes: Processes) -> None:
    processes.run(SCRIPT, "script")
    ran = processes.run("def result():\n    return 1\n", "script")
    assert set(ran["fates"].values()) == {"parked"}
    assert processes.run(SCRIPT, "script")["result"] == [[1, 1, 10, 100]]


OPEN = """
import os, socket, sqlite3, subprocess, sys
from livereload_core import preserve

@preserve
def kept():
    ours, theirs = socket.socketpair()
    return {
        "ours": ours, "theirs": theirs, "log": open(os.path.join(os.path.dirname(__file__), "log"), "w"),
        "source": open(__file__), "db": sqlite3.connect(":memory:"), "count": 0,
        "worker": subprocess.Popen(
            ["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        ),
    }

def result():
    state = kept()
    state["count"] += 1
    state["ours"].send(b"%d" % state["count"])
    state["log"].write(f"{state['count']}\\n")
    state["db"].execute("CREATE TABLE IF NOT EXISTS t (n)")
    state["db"].execute("INSERT INTO t VALUES (?)", (state["count"],))
    state["db"].commit()
    state["worker"].stdin.write(f"{state['count']}\\n")
    state["worker"].stdin.flush()
    echo = state["worker"].stdout.readline().strip() if state["count"] > 1 else ""
    return [
        state["theirs"].recv(100).decode() if state["count"] % 2 == 0 else "", next(state["source"]).strip(),
        [row[0] for row in state["db"].execute("SELECT n FROM t")], echo, state["worker"].pid,
    ]
"""


def test_what_is_open_stays_open_in_another_process(processes: Processes) -> None:
    ran = [processes.run(OPEN)["result"] for _ in range(4)]
    pid = ran[0][-1]
    lines = OPEN.splitlines()
    assert ran == [
        ["", lines[0], [1], "", pid],
        ["12", lines[1], [1, 2], "1", pid],
        ["", lines[2], [1, 2, 3], "2", pid],
        ["34", lines[3], [1, 2, 3, 4], "3", pid],
    ]
    assert (processes.folder / "log").read_text() == "1\n2\n3\n4\n"
    processes.close()
    # Nobody holds its input any more, so it ends: it is nobody's child here, hence no wait.
    until(lambda: not _runs(pid), what="the end of the process")


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
