"""Sockets, files and processes in preserved state over real edits and deaths."""

from __future__ import annotations

import os
import signal
import socket
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from livereload_core.testing import LivecoreProcess, ProcessCensus, census, free_port, scaled, until
from livereload_core.testing.processes import zombies_of
from tests.e2e.launching import Launcher

PROGRAM = """
import os, socket, subprocess, sys

from aiohttp import web

from livereload_core import preserve

VERSION = "1"
PEER = int(os.environ["PEER"])
CHILD = "import sys\\nfor line in sys.stdin: print(line.strip()[::-1], flush=True)\\nsys.exit(7)"


class Kept:
    def __init__(self):
        self.count = 0
        self.peer = socket.create_connection(("127.0.0.1", PEER))
        self.log = open("lines.txt", "w")
        self.source = open("source.txt")
        self.worker = subprocess.Popen(
            [sys.executable, "-c", CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )


@preserve
def kept():
    return Kept()


async def step(request):
    state = kept()
    state.count += 1
    state.peer.sendall(b"%d\\n" % state.count)
    print(state.count, file=state.log)
    state.worker.stdin.write(f"{state.count:04}\\n")
    state.worker.stdin.flush()
    return web.json_response({
        "version": VERSION, "pid": os.getpid(), "count": state.count, "worker": state.worker.pid,
        "echo": state.worker.stdout.readline().strip(), "source": next(state.source).strip(),
        "heard": state.peer.recv(100, socket.MSG_DONTWAIT).decode() if request.query.get("hear") else "",
    })


async def finish(request):
    state = kept()
    state.worker.stdin.close()
    return web.json_response({"code": state.worker.wait()})


async def poll(request):
    return web.json_response({"code": kept().worker.poll()})


async def close(request):
    kept().peer.close()
    return web.json_response({})


async def show(request):
    return web.json_response({"version": VERSION, "pid": os.getpid()})


async def harm(app):
    state = kept()
    for act in (
        lambda: state.peer.sendall(b"harm"), lambda: state.peer.shutdown(socket.SHUT_RDWR),
        lambda: print("harm", file=state.log, flush=True), lambda: state.log.truncate(0),
        state.worker.terminate, lambda: state.worker.stdin.write("harm\\n"), state.worker.stdin.flush,
        state.peer.close, state.log.close, state.worker.wait,
    ):
        try:
            act()
        except (OSError, ValueError):
            pass
    open("shut.txt", "a").write(VERSION + "\\n")


app = web.Application()
app.on_shutdown.append(harm)
app.add_routes([
    web.get("/", show), web.get("/step", step), web.get("/finish", finish), web.get("/poll", poll),
    web.get("/close", close),
])
"""


class Peer:
    """The other end of the program's connection."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.socket: Any = None

    def accept(self) -> None:
        """Wait for the program."""
        self.listener.settimeout(30)
        self.socket, _ = self.listener.accept()
        self.socket.settimeout(30)

    def read(self, size: int) -> bytes:
        """Read exactly so much."""
        data = b""
        while len(data) < size:
            data += self.socket.recv(size - len(data)) or b"<end>"
        return data


@pytest.fixture
def peer() -> Iterator[Peer]:
    peer = Peer()
    with peer.listener:
        yield peer
        if peer.socket is not None:
            peer.socket.close()


def start(livecore: Launcher, peer: Peer, *options: str, source: str = PROGRAM) -> LivecoreProcess:
    # More than a buffer of Python takes at once: the position in the kernel counts as well.
    numbers = "".join(f"line {number}".ljust(63) + "\n" for number in range(1, 1000))
    return livecore.program(
        "app:app", *options, files={"app.py": source, "source.txt": numbers}, env={"PEER": str(peer.port)}
    )


def reload(run: LivecoreProcess, number: int, outcome: str = "committed") -> Any:
    run.edit("app.py", f'VERSION = "{number}"', f'VERSION = "{number + 1}"')
    return run.wait_reload(outcome)


def step(run: LivecoreProcess, number: int) -> Any:
    answer = run.get("/step").json()
    assert answer["count"] == number
    assert answer["echo"] == f"{number:04}"[::-1]
    assert answer["source"] == f"line {number}"
    return answer


def stream(count: int) -> bytes:
    return b"".join(b"%d\n" % number for number in range(1, count + 1))


def test_connection_file_and_process_go_on_over_edits(livecore: Launcher, peer: Peer) -> None:
    run = start(livecore, peer)
    worker = step(run, 1)["worker"]
    peer.accept()
    for version in range(1, 6):
        reload(run, version)
        peer.socket.sendall(b"hello")
        answer = step(run, version + 1)
        assert (answer["version"], answer["worker"]) == (str(version + 1), worker)
    assert peer.read(len(stream(6))) == stream(6)
    until(lambda: (run.cwd / "shut.txt").read_text().split() == list("12345"), what="the old ones' shutdown")
    step(run, 7)
    assert peer.read(2) == b"7\n"
    assert run.get("/poll").json() == {"code": None}
    assert run.get("/step?hear=1").json()["heard"] == "hello" * 5
    assert run.get("/finish").json() == {"code": 7}
    reload(run, 6)
    assert run.get("/poll").json() == {"code": 7}
    assert (run.cwd / "lines.txt").read_bytes() == stream(8), "flushed by the export, each line once"
    run.wait_settled()
    assert not zombies_of(run.pid)


def test_roll_back_leaves_everything_with_the_old_code(livecore: Launcher, peer: Peer) -> None:
    run = start(livecore, peer)
    step(run, 1)
    peer.accept()
    harmful = textwrap.dedent("""
        VERSION = "2"
        async def fail(app):
            state = kept()
            state.peer.setblocking(False)
            next(state.source)
            raise RuntimeError("no start")
    """)
    source = PROGRAM.replace('VERSION = "1"', harmful).replace(
        "app.on_shutdown", "app.on_startup.append(fail)\napp.on_shutdown"
    )
    run.write("app.py", source)
    run.wait_reload("rolled-back")
    for number in range(2, 600):
        step(run, number)
    assert peer.read(len(stream(599))) == stream(599)
    run.write("app.py", PROGRAM.replace('VERSION = "1"', 'VERSION = "3"'))
    run.wait_reload("committed")
    step(run, 600)


def test_killed_generation_leaves_connection_and_process_to_the_next(livecore: Launcher, peer: Peer) -> None:
    run = start(livecore, peer)
    first = step(run, 1)
    peer.accept()
    reload(run, 1)  # the hand-over is the newest state that the parent holds
    os.kill(run.get().json()["pid"], signal.SIGKILL)
    run.wait_event("recovered")
    second = step(run, 2)
    assert second["worker"] == first["worker"]
    assert peer.read(len(stream(2))) == stream(2)
    assert run.get("/finish").json() == {"code": 7}
    reload(run, 2)
    assert (run.cwd / "lines.txt").read_bytes() == stream(2)


def test_checkpoint_is_enough_for_a_killed_generation(livecore: Launcher, peer: Peer) -> None:
    run = start(livecore, peer, "--checkpoint", "0.02")
    first = step(run, 1)
    peer.accept()
    pid = first["pid"]

    def is_held() -> bool:
        # the parent holds a duplicate of the connection
        link = os.readlink(f"/proc/{pid}/fd/{connection_of(pid, peer)}")
        return link in run.fds().values()

    until(lambda: run.get("/").json() and is_held(), what="a checkpoint with the connection")
    os.kill(pid, signal.SIGKILL)
    run.wait_event("recovered")
    answer = step(run, 2)
    assert answer["worker"] == first["worker"]
    assert peer.read(4) == b"1\n2\n"


def connection_of(pid: int, peer: Peer) -> int:
    """The program's fd of the connection to the peer."""
    local = f":{peer.socket.getpeername()[1]:04X}"
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    inode = next(row[9] for row in rows if row[1].endswith(local))
    for number in os.listdir(f"/proc/{pid}/fd"):
        try:
            if os.readlink(f"/proc/{pid}/fd/{number}") == f"socket:[{inode}]":
                return int(number)
        except OSError:
            continue
    raise AssertionError("no such connection")


@pytest.mark.parametrize("checkpoint", ["0", "0.05"])
def test_peer_hears_of_a_close_although_the_parent_holds_the_connection(
    livecore: Launcher, peer: Peer, checkpoint: str
) -> None:
    run = start(livecore, peer, "--checkpoint", checkpoint, "--probation", "0")
    step(run, 1)
    peer.accept()
    reload(run, 1)
    step(run, 2)
    assert peer.read(4) == b"1\n2\n"
    run.get("/close")
    assert peer.socket.recv(10) == b""
    reload(run, 2)  # a closed socket crosses as a closed one
    assert run.get("/poll").json() == {"code": None}


def test_fifty_reloads_leak_no_descriptor(livecore: Launcher, peer: Peer) -> None:
    run = start(livecore, peer, "--probation", "0.1", "--keep-generations", "4")
    step(run, 1)
    peer.accept()

    def look() -> tuple[ProcessCensus, ProcessCensus]:
        serving = census(run.get().json()["pid"])
        # A second one from the first connection on that lives long enough to be held; a request may be one.
        serving.fds.pop("/memfd:livecore-marks (deleted)")
        return run.census(), serving

    for number in range(1, 5):
        reload(run, number)
        step(run, number + 1)
    run.wait_settled()
    run.wait_snapshots(4)
    before, processes = look(), len(run.pids())
    for number in range(5, 5 + scaled(50, least=10)):
        reload(run, number)
        step(run, number + 1)
    run.wait_settled()

    def leaked() -> list[dict[str, int]]:
        return [now.beyond(then) for now, then in zip(look(), before, strict=True)]

    until(lambda: not any(leaked()), what="no more than was open before", context=leaked)
    until(lambda: len(run.pids()) == processes, what="as many processes", context=run.pids)


def test_processes_end_with_livecore(livecore: Launcher, peer: Peer) -> None:
    run = start(livecore, peer)
    worker = step(run, 1)["worker"]
    peer.accept()
    reload(run, 1)
    run.stop()
    until(lambda: not Path(f"/proc/{worker}").exists(), what="the end of the process")


SIMULATION = """
import os, socket, subprocess, sys, time

from livereload_core import dispose, preserve

VERSION = "1"


@preserve
def kept():
    return {
        "source": open("source.txt"),
        "log": open("lines.txt", "w"),
        "peer": socket.create_connection(("127.0.0.1", int(os.environ["PEER"]))),
        "worker": subprocess.Popen(
            [sys.executable, "-c", "import sys; sys.stdin.read(); sys.exit(5)"], stdin=subprocess.PIPE
        ),
    }


@dispose
def end():
    # the control thread waits here, which reads the parent's answers, too
    if os.path.exists("end.txt"):
        kept()["worker"].stdin.close()
        open("end.txt", "w").write(str(kept()["worker"].wait()))


def main():
    state = kept()
    try:
        for line in state["source"]:
            state["log"].write(line)
            state["peer"].sendall(line.encode())
            time.sleep(0.002)
    finally:
        print("left", file=state["log"], flush=True)
        state["log"].close()
        state["peer"].sendall(b"left")
        state["peer"].close()


if __name__ == "__main__":
    main()
"""


@pytest.mark.parametrize("checkpoint", ["0.01", "0.25"])
def test_program_without_a_loop_reads_writes_and_sends_each_line_once(
    livecore: Launcher, peer: Peer, checkpoint: str
) -> None:
    lines = b"".join(b"line %d\n" % number for number in range(10_000))
    run = livecore.program(
        "sim.py",
        "--checkpoint",
        checkpoint,
        files={"sim.py": SIMULATION, "source.txt": lines},
        serves=False,
        env={"PEER": str(peer.port)},
    )
    peer.accept()
    got = b""
    for number in range(1, 5):
        got += peer.read(1000)
        run.edit("sim.py", f'VERSION = "{number}"', f'VERSION = "{number + 1}"')
        run.wait_reload("committed")
    got += peer.read(5000)
    assert lines.startswith(got)
    run.wait_settled()
    (run.cwd / "end.txt").touch()
    os.kill(run.pid, signal.SIGTERM)  # Ctrl-C would reach the worker, too
    run.wait_exit()
    assert (run.cwd / "end.txt").read_text() == "5"
    while part := peer.socket.recv(100_000):
        got += part
    assert got.endswith(b"left")
    got = got.removesuffix(b"left")
    assert lines.startswith(got)
    assert (run.cwd / "lines.txt").read_bytes().removesuffix(b"left\n") == got


LISTENER = """
import os, socket, threading
from livereload_core import preserve

VERSION = "1"

@preserve
def server():
    return socket.create_server(("127.0.0.1", int(os.environ["PORT"])))

def main():
    while True:
        connection, _ = server().accept()
        with connection:
            connection.sendall(VERSION.encode())

if __name__ == "__main__":
    main()
"""


def test_listener_in_preserved_state_is_accepted_on_by_one_generation_at_a_time(livecore: Launcher) -> None:
    port = free_port()
    run = livecore.program("main.py", files={"main.py": LISTENER}, serves=False, env={"PORT": str(port)})

    def ask() -> str:
        with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
            return client.recv(10).decode()

    until(ask, what="a first answer")
    for number in range(1, 4):
        assert ask() == str(number)
        run.edit("main.py", f'VERSION = "{number}"', f'VERSION = "{number + 1}"')
        run.wait_reload("committed")
    assert ask() == "4"


LAZY = """
import socket
from aiohttp import web
from livereload_core import preserve

VERSION = "1"

@preserve
def server():
    return socket.create_server(("127.0.0.1", 0))

async def ask(request):
    with socket.create_connection(server().getsockname()), server().accept()[0]:
        return web.json_response({"version": VERSION})

app = web.Application()
app.router.add_get("/", ask)
"""


def test_listener_in_preserved_state_that_is_used_late_is_not_said_to_be_gone(livecore: Launcher) -> None:
    run = livecore.app(source=LAZY)
    for number in range(1, 4):
        assert run.get().json() == {"version": str(number)}
        run.edit("app.py", f'VERSION = "{number}"', f'VERSION = "{number + 1}"')
        assert run.wait_reload("committed")["notes"] == []
    assert run.get().json() == {"version": "4"}


SECOND = """
import asyncio
from aiohttp import web

async def listen(app):
    app["second"] = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)

app = web.Application()
app.on_startup.append(listen)
"""


def test_listener_that_the_new_code_does_not_open_is_said_to_be_gone(livecore: Launcher) -> None:
    run = livecore.app(source=SECOND)
    run.edit("app.py", "app.on_startup.append(listen)", "")
    (note,) = run.wait_reload("committed")["notes"]
    assert note.startswith("no longer listens on 127.0.0.1:")


BESIDE = """
import asyncio

VERSION = "1"

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        second = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
        await asyncio.sleep(0.01)  # more of a start-up, before the server itself listens
        await send({"type": "lifespan.startup.complete"})
        await receive()
        second.close()
        await send({"type": "lifespan.shutdown.complete"})
        return
    body = VERSION.encode()
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": 200, "headers": [length]})
    await send({"type": "http.response.body", "body": body})
"""


def test_app_that_opens_a_listener_in_its_start_up_keeps_the_one_that_it_is_served_on(
    livecore: Launcher,
) -> None:
    run = livecore.app(source=BESIDE)
    listeners = run.status()["listeners"]
    assert len(listeners) == 2
    for number in range(1, 4):
        assert run.get().body == str(number).encode()
        run.edit("app.py", f'VERSION = "{number}"', f'VERSION = "{number + 1}"')
        assert run.wait_reload("committed")["notes"] == []
        run.wait_settled()
        assert sorted(run.status()["listeners"]) == sorted(listeners)
    assert run.get().body == b"4"


MANY = """
import socket
from aiohttp import web
from livereload_core import preserve

VERSION = "1"
pairs = preserve("pairs", list)
if not pairs:
    fresh = [socket.socketpair() for _ in range(130)]


async def ask(request):
    if not pairs:
        pairs.extend(fresh)
    for number, (ours, theirs) in enumerate(pairs):
        ours.send(b"%d" % number)
    answers = [int(theirs.recv(10)) for _, theirs in pairs]
    return web.json_response({"version": VERSION, "right": answers == list(range(130))})


app = web.Application()
app.router.add_get("/", ask)
"""


def test_more_sockets_than_one_frame_takes_cross(livecore: Launcher) -> None:
    run = livecore.app(source=MANY)
    assert run.get().json() == {"version": "1", "right": True}
    for number in range(1, 4):
        run.edit("app.py", f'VERSION = "{number}"', f'VERSION = "{number + 1}"')
        run.wait_reload("committed")
        assert run.get().json() == {"version": str(number + 1), "right": True}


def test_process_outlives_an_old_generation_that_has_to_be_killed(livecore: Launcher, peer: Peer) -> None:
    hangs = PROGRAM.replace(
        "async def harm(app):\n", "async def harm(app):\n    import time; time.sleep(1000)\n"
    )
    run = start(livecore, peer, "--timeout-graceful-shutdown", "0.1", "--probation", "0.1", source=hangs)
    first = step(run, 1)
    peer.accept()
    reload(run, 1)
    run.wait_settled()
    assert not Path(f"/proc/{first['pid']}").exists()
    assert step(run, 2)["worker"] == first["worker"]
    assert run.get("/finish").json() == {"code": 7}
    os.kill(run.pid, signal.SIGKILL)  # the shutdown hangs by design


WRITER = """
from aiohttp import web
from livereload_core import preserve
VERSION = 1
def make():
    file = open("table.txt", "w")
    file.write("head\\n")
    file.flush()
    return {"file": file}
table = preserve("table", make)
@preserve
class Journal:
    def __init__(self):
        self.file = open("journal.txt", "w")
        self.file.write("head\\n")
journal = Journal()
async def index(request):
    for file in table["file"], journal.file:
        file.write(f"{VERSION}\\n")
        file.flush()
    return web.Response(text=str(VERSION))
app = web.Application()
app.add_routes([web.get("/", index)])
"""


def test_file_that_is_written_anew_at_import_is_never_emptied(livecore: Launcher) -> None:
    run = livecore.program("app:app", files={"app.py": WRITER})
    assert run.get("/").text == "1"
    run.edit("app.py", "VERSION = 1", "VERSION = 2")
    run.wait_reload("committed")
    assert run.get("/").text == "2"
    run.edit("app.py", "VERSION = 2", "VERSION = 3 / 0")
    run.wait_reload("rejected")
    assert run.get("/").text == "2"
    run.edit("app.py", "VERSION = 3 / 0", "VERSION = 4")
    run.wait_reload("committed")
    assert run.get("/").text == "4"
    for name in ("table.txt", "journal.txt"):
        assert (run.cwd / name).read_text().split() == ["head", "1", "2", "2", "4"], name
    (run.cwd / "other.txt").write_text("of somebody else")
    run.edit("app.py", '"table.txt"', '"other.txt"')
    run.wait_reload("committed")
    assert run.get("/").text == "4"
    assert (run.cwd / "other.txt").read_text() == "of somebody else", "the kept file is still table.txt"


SIDE = """
import socket
from aiohttp import web
from livereload_core import preserve

VERSION = 1

@preserve
def side():
    made = socket.socket(socket.AF_UNIX)
    made.bind("side.sock")
    made.listen()
    return made

async def index(request):
    return web.json_response({"version": VERSION})

async def first(request):
    return web.json_response({"fd": side().fileno()})

app = web.Application()
app.add_routes([web.get("/", index), web.get("/first", first)])
"""


def test_listener_in_preserved_state_that_waits_is_not_given_up(livecore: Launcher) -> None:
    run = livecore.app(source=SIDE)
    run.get("/first")
    for number in range(1, 4):
        run.edit("app.py", f"VERSION = {number}", f"VERSION = {number + 1}")
        run.wait_reload("committed")
        assert run.get().json()["version"] == number + 1  # the old one retires at once
        run.edit("app.py", f"VERSION = {number + 1}", "VERSION = 1 / 0")
        run.wait_reload("rejected")
        run.edit("app.py", "VERSION = 1 / 0", f"VERSION = {number + 1}")
        run.wait_settled()
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(run.cwd / "side.sock"))
