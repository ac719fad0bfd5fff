"""Hardships: programs that hang, die, fork or break at the worst moment; the reloads after it still work."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from livereload_core.testing import LivecoreProcess, free_port, until
from tests.e2e.launching import Launcher

WSGI = """
import json, os, threading, time
import livereload_core

VERSION = "1"


def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps({"version": VERSION, "pid": os.getpid()}).encode()]
"""

SAYS = """
import os


def say(text):
    # In one write, or a record of livecore's could come in the middle of the line.
    os.write(1, f"{text}\\n".encode())


def tick():
    say(f"tick {VERSION} {os.getpid()}")
"""

SIMULATION = (
    SAYS
    + """
import os, time

VERSION = "1"


def main():
    while True:
        tick()
        if os.path.exists("crash" + VERSION):
            raise RuntimeError("the program crashes")
        time.sleep(0.01)
"""
)

HOSTILE = """
class HostileError(Exception):
    def __str__(self):
        raise ValueError("no")
"""

WAITS_AT_IMPORT = """
open("importing", "w").close()
while not os.path.exists("go"):
    time.sleep(0.01)
"""


def _version(source: str, version: str, more: str = "") -> str:
    """The program in another version, which does ``more`` when it is imported."""
    assert source.count('VERSION = "1"\n') == 1
    return source.replace('VERSION = "1"\n', f'VERSION = "{version}"\n{more}')


def _simulation(livecore: Launcher, *options: str, source: str = SIMULATION) -> LivecoreProcess:
    return livecore.program("sim:main", *options, files={"sim.py": source}, serves=False)


def _wait_tick(run: LivecoreProcess, version: str) -> int:
    """Wait for a tick that is still to come; returns the pid of who ticks."""
    line = run.wait_output(lambda line: line.startswith(f"tick {version} "), since=len(run.output))
    return int(line.split()[2])


def _events(run: LivecoreProcess) -> list[str]:
    return [record["event"] for record in run.records]


# --- the serving generation dies at a bad moment --------------------------------------------------


def test_fix_that_was_being_imported_when_the_program_crashed_goes_live(livecore: Launcher) -> None:
    run = _simulation(livecore)
    run.write("sim.py", _version(SIMULATION, "2", WAITS_AT_IMPORT))
    until((run.cwd / "importing").exists, what="the import of the fix")
    (run.cwd / "crash1").touch()
    run.wait_event("hold")
    (run.cwd / "go").touch()
    run.wait_reload("committed")
    _wait_tick(run, "2")


def test_fix_that_was_being_imported_when_the_one_before_died_in_its_probation_goes_live(
    livecore: Launcher,
) -> None:
    run = _simulation(livecore, "--probation", "60")
    run.write("sim.py", _version(SIMULATION, "2"))
    run.wait_reload("committed")
    run.write("sim.py", _version(SIMULATION, "3", WAITS_AT_IMPORT))
    until((run.cwd / "importing").exists, what="the import of the fix")
    (run.cwd / "crash2").touch()
    run.wait_event("died")
    run.wait_event("recovered")
    _wait_tick(run, "1")
    (run.cwd / "go").touch()
    run.wait_reload("committed")
    _wait_tick(run, "3")


def test_code_that_comes_back_after_a_fall_back_is_the_one_that_was_fallen_back_to(
    livecore: Launcher,
) -> None:
    run = livecore.app("--probation", "60", source=WSGI)
    dies = """
def die():
    while not os.path.exists("die"):
        time.sleep(0.01)
    os._exit(9)

threading.Thread(target=die, daemon=True).start()
"""
    run.write("app.py", _version(WSGI, "2", dies))
    run.wait_reload("committed")
    (run.cwd / "die").touch()
    run.wait_event("recovered")
    fallen_back = run.get().json()
    assert fallen_back["version"] == "1"
    number = len(run.records)
    os.kill(fallen_back["pid"], signal.SIGKILL)
    run.wait_event("recovered", since=number)
    after = run.get().json()
    assert after["version"] == "1"
    assert after["pid"] != fallen_back["pid"]


def test_deaths_with_answers_between_them_are_no_crash_loop_on_uvloop(livecore: Launcher) -> None:
    source = """
import asyncio, json, os

async def app(scope, receive, send):
    assert scope["type"] == "http"
    said = {"pid": os.getpid(), "loop": type(asyncio.get_running_loop()).__module__}
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": json.dumps(said).encode()})
"""
    run = livecore.app(source=source)
    for _ in range(5):
        number = len(run.records)
        said = run.get().json()
        assert said["loop"].startswith("uvloop")
        os.kill(said["pid"], signal.SIGKILL)
        assert run.wait_event("recovered", "hold", since=number)["event"] == "recovered"
    assert run.get().status == 200


# --- what hangs, and what cannot be shown ----------------------------------------------------------


def test_candidate_that_waits_at_the_keyboard_can_be_superseded(livecore: Launcher) -> None:
    run = livecore.program("app:app", files={"app.py": WSGI}, terminal=True)
    run.write("app.py", _version(WSGI, "2", 'input("who is there?\\n")\n'))
    # Python writes the prompt to stderr unless that is the terminal too.
    until(lambda: "who is there?" in run.stderr, what="the question")
    for version in ("3", "4"):
        run.write("app.py", _version(WSGI, version))
        run.wait_reload("committed")
        assert run.get().json()["version"] == version


def test_candidate_that_waited_at_the_keyboard_for_too_long_gives_it_back(livecore: Launcher) -> None:
    run = livecore.program("app:app", "--timeout-prepare", "1", files={"app.py": WSGI}, terminal=True)
    run.write("app.py", _version(WSGI, "2", 'input("who is there?\\n")\n'))
    run.wait_reload("rejected")
    run.write("app.py", _version(WSGI, "3"))
    run.wait_reload("committed")
    assert run.get().json()["version"] == "3"


def test_hook_that_hangs_in_a_thread_is_rolled_back_and_named_by_the_next_reload(livecore: Launcher) -> None:
    hangs = "\n\n@livereload_core.before_reload\ndef pack():\n    threading.Event().wait()\n"
    run = livecore.app("--timeout-hook", "0.3", source=WSGI + hangs)
    run.write("app.py", _version(WSGI, "2"))
    run.wait_reload("rolled-back")
    assert run.get().json()["version"] == "1"
    run.write("app.py", _version(WSGI, "3"))
    assert "a hook or a __getstate__ hangs" in run.wait_reload("rejected")["failure"]["reason"]
    assert run.get().json()["version"] == "1"


def test_hook_whose_exception_cannot_be_shown_turns_the_reload_down(livecore: Launcher) -> None:
    raises = f"{HOSTILE}\n\n@livereload_core.before_reload\ndef pack():\n    raise HostileError\n"
    run = livecore.app("--timeout-hook", "60", source=WSGI + raises)
    run.write("app.py", _version(WSGI, "2"))
    assert "HostileError" in run.wait_reload("rejected", "rolled-back")["failure"]["reason"]
    assert run.get().json()["version"] == "1"


@pytest.mark.parametrize(
    ("broken", "named"),
    [
        ("import sys\nsys.stdout = None\n1 / 0\n", "ZeroDivisionError"),
        (f"{HOSTILE}\nraise HostileError\n", "HostileError"),
    ],
    ids=["no stdout", "broken __str__"],
)
def test_failure_is_told_even_if_the_program_broke_what_tells_it(
    livecore: Launcher, broken: str, named: str
) -> None:
    run = livecore.app(source=WSGI)
    run.write("app.py", _version(WSGI, "2", broken))
    assert named in run.wait_reload("rejected")["failure"]["reason"]
    assert run.get().json()["version"] == "1"


def test_lock_that_the_loop_holds_and_getstate_wants_never_stops_a_simulation(livecore: Launcher) -> None:
    source = (
        SAYS
        + """
import os, threading, time
from livereload_core import preserve

VERSION = "1"


class World:
    def __init__(self):
        self.lock = threading.Lock()

    def __getstate__(self):
        with self.lock:
            return {}

    def __setstate__(self, state):
        self.lock = threading.Lock()


@preserve
def world() -> World:
    return World()


def main():
    while True:
        with world().lock:
            tick()
            time.sleep(0.02)
        time.sleep(0.002)
"""
    )
    run = _simulation(livecore, "--timeout-hook", "0.3", source=source)
    _wait_tick(run, "1")
    run.write("sim.py", _version(source, "2"))
    record = run.wait_reload("committed", "rejected", "rolled-back")
    _wait_tick(run, "2" if record["outcome"] == "committed" else "1")


def test_program_that_replaces_threads_and_locks_as_gevent_does_is_reloaded(livecore: Launcher) -> None:
    source = (
        SAYS
        + """
import _thread, queue, threading, time
from livereload_core import preserve

VERSION = "1"
log = preserve("log", list)


def refuse(*args, **kwargs):
    raise RuntimeError("this operation would block forever")


for module, names in {
    _thread: ("start_new_thread", "allocate_lock"),
    threading: ("_allocate_lock", "_start_new_thread", "_start_joinable_thread", "Event"),
    queue: ("SimpleQueue",),
}.items():
    for name in names:
        setattr(module, name, refuse)


def main():
    log.append(VERSION)
    while True:
        tick()
        time.sleep(0.01)
"""
    )
    run = _simulation(livecore, source=source)
    for version in ("2", "3"):
        run.write("sim.py", _version(source, version))
        assert run.wait_reload("committed")["roots"][0]["fate"] == "kept"
        _wait_tick(run, version)
    assert "died" not in _events(run)


def test_simulation_that_swallows_the_interrupt_is_ended_with_a_warning(livecore: Launcher) -> None:
    source = (
        SAYS
        + """
import os, time

VERSION = "1"


def main():
    while True:
        try:
            tick()
            time.sleep(0.01)
        except KeyboardInterrupt:
            pass
"""
    )
    run = _simulation(livecore, "--probation", "0.1", source=source)
    old = _wait_tick(run, "1")
    run.write("sim.py", _version(source, "2"))
    run.wait_reload("committed")
    warning = run.wait_event("warning", timeout=5)
    assert "did not end on KeyboardInterrupt" in warning["text"]
    until(lambda: old not in run.pids(), timeout=2, what="the end of the old program")
    _wait_tick(run, "2")


# --- what the system runs short of, or holds in store ---------------------------------------------------


def test_want_of_file_descriptors_is_survived_by_the_reloads_after_it(livecore: Launcher) -> None:
    source = """
import asyncio, json, os, resource
from aiohttp import web
from livereload_core import preserve

VERSION = "1"
LIMIT = 256
resource.setrlimit(resource.RLIMIT_NOFILE, (LIMIT, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))


class Tally:
    def __init__(self):
        self.count = 0
        self.starving = False
        self.exports = 0

    def __getstate__(self):
        if self.starving:
            self.exports += 1
            os.mkdir(f"exported{self.exports}")
        return {"count": self.count}

    def __setstate__(self, state):
        self.__init__()
        self.count = state["count"]


tally = preserve("tally", Tally)


async def starve():
    taken = []
    try:
        while True:
            taken.append(os.open("/dev/null", os.O_RDONLY))
    except OSError:
        pass
    tally.starving = True
    while not os.path.exists("enough"):
        tally.count += sum(range(20000)) % 7 + 1
        await asyncio.sleep(0)
    tally.starving = False
    for fd in taken:
        os.close(fd)
    os.mkdir("fed")


async def show(request):
    return web.json_response({"version": VERSION})


async def begin(request):
    asyncio.get_running_loop().call_later(0.01, lambda: tasks.append(asyncio.ensure_future(starve())))
    return web.json_response({})


tasks = []
app = web.Application()
app.router.add_get("/", show)
app.router.add_get("/starve", begin)
"""
    run = livecore.app("--checkpoint", "0.05", source=source)
    run.get("/starve")
    # The second snapshot is begun by a generation that has survived that there was no fd for the first one.
    until((run.cwd / "exported2").exists, what="a second snapshot without fds")
    run.write("app.py", _version(source, "2"))
    run.wait_reload("rejected")
    (run.cwd / "enough").touch()
    until((run.cwd / "fed").exists, what="the end of the want")
    run.write("app.py", _version(source, "3"))
    run.wait_reload("committed")
    assert run.get().json()["version"] == "3"


def _greeting(port: int) -> str:
    with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
        return client.recv(100).decode()


def test_listener_that_opens_long_after_the_first_one_survives_edits(livecore: Launcher) -> None:
    first, second = free_port(), free_port()
    # The pause between the two is longer than what the first start-up waits for further listeners.
    source = f"""
import asyncio

VERSION = "1"


async def greet(reader, writer):
    writer.write(VERSION.encode())
    writer.close()


async def main():
    await asyncio.start_server(greet, "127.0.0.1", {first})
    await asyncio.sleep(0.8)
    await asyncio.start_server(greet, "127.0.0.1", {second})
    print("opened both in " + VERSION + "\\n", end="", flush=True)
    await asyncio.Event().wait()
"""
    run = livecore.program("app:main", files={"app.py": source}, serves=False)
    until(lambda: _greeting(first) == "1" and _greeting(second) == "1", what="two listeners")
    for version in ("2", "3", "4"):
        run.write("app.py", _version(source, version))
        run.wait_reload("committed")
        # Not asked before: the first answer ends the probation, in which the old one holds both as well.
        until(lambda v=version: f"opened both in {v}" in run.output, what=version)  # type: ignore[misc]
        for port in (first, second):
            until(lambda port=port, v=version: _greeting(port) == v, what=version)  # type: ignore[misc]
    assert "died" not in _events(run)
    assert len(run.status()["listeners"]) == 2


def test_fifo_that_matches_a_pattern_blocks_nothing(livecore: Launcher) -> None:
    run = livecore.app("--reload-include", "*", source=WSGI)
    os.mkfifo(run.cwd / "pipe")
    for version in ("2", "3"):
        run.write("app.py", _version(WSGI, version))
        run.wait_reload("committed")
        assert run.get().json()["version"] == version
    assert run.stop() == 130


def test_forks_that_leave_by_sys_exit_leave_alone(livecore: Launcher) -> None:
    source = (
        SAYS
        + """
import os, sys, time

VERSION = "1"


def fork():
    child = os.fork()
    if not child:
        sys.exit(3)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def main():
    say(f"fork ended with {fork()}")
    while True:
        tick()
        time.sleep(0.01)
"""
    )
    run = _simulation(livecore, source=source)
    _wait_tick(run, "1")
    run.write("sim.py", _version(source, "2", "FORKED = 1\n"))
    run.wait_reload("committed")
    _wait_tick(run, "2")  # an edit before that would park it at its fork, and the line would never come
    before = source.replace("def main", 'say(f"fork before the switch ended with {fork()}")\n\n\ndef main')
    run.write("sim.py", _version(before, "3"))
    run.wait_reload("committed")
    run.wait_output(lambda line: line == "fork before the switch ended with 3")
    _wait_tick(run, "3")
    assert [line for line in run.output if line.startswith("fork ended")] == ["fork ended with 3"] * 3
    assert not {"died", "finished", "hold", "warning"} & set(_events(run))


@pytest.fixture
def hangup_ignored() -> Iterator[None]:
    """As under nohup: processes that are started now ignore SIGHUP."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.usefixtures("hangup_ignored")
def test_hangup_that_was_ignored_from_the_start_stays_ignored(livecore: Launcher) -> None:
    run = livecore.app(source=WSGI)
    os.kill(run.pid, signal.SIGHUP)
    run.write("app.py", _version(WSGI, "2"))
    run.wait_reload("committed")
    assert run.get().json()["version"] == "2"


def test_host_that_is_no_name_at_all_is_a_usage_error(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(WSGI)
    host = "a" * 70
    done = subprocess.run(
        [sys.executable, "-m", "livereload_core", "run", "app:app", "--host", host],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 2, done
    said = done.stdout + done.stderr
    assert host in said
    assert "Traceback" not in said


def test_what_follows_a_users_module_that_changes_the_environment_is_not_imported_ahead(
    livecore: Launcher,
) -> None:
    tells = """
import os
with open(os.environ["JOURNAL"], "a") as journal:
    journal.write(f"{__name__} {os.getpid()} {os.environ.get('COLOUR', '-')}\\n")
"""
    installed = livecore.folder / "site-packages"
    installed.mkdir()
    for name in ("heavy", "lazy"):
        (installed / f"{name}.py").write_text(tells)
    journal = livecore.folder / "journal"
    source = WSGI.replace("import livereload_core", "import heavy, settings, lazy")
    run = livecore.program(
        "app:app",
        files={"app.py": source, "settings.py": 'import os\nos.environ["COLOUR"] = "red"\n'},
        env={"PYTHONPATH": str(installed), "JOURNAL": str(journal), "XDG_CACHE_HOME": str(livecore.folder)},
    )
    served_by = run.get().json()["pid"]

    def warm() -> list[str]:
        """Who has imported ``heavy``, besides the program itself."""
        lines = [line.split() for line in journal.read_text().splitlines()]
        return [pid for name, pid, _ in lines if name == "heavy" and int(pid) != served_by]

    (spare,) = until(warm, what="a warm spare")
    run.write("app.py", _version(source, "2"))
    run.wait_reload("committed")
    assert run.get().json() == {"version": "2", "pid": int(spare)}
    told = journal.read_text().splitlines()
    assert f"heavy {spare} -" in told
    assert {line.split()[2] for line in told if line.startswith("lazy ")} == {"red"}
