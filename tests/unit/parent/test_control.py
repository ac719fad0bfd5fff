"""The control socket: one line in, one line out, for nobody but us."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from livereload_core.errors import LivecoreError, UsageError
from livereload_core.parent.control import ControlServer, find_runs, request, socket_folder


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    # Not tmp_path: its name is longer than what a Unix socket's address can hold.
    folder = Path(tempfile.mkdtemp(prefix="lc-"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    yield folder
    shutil.rmtree(folder)


async def echo(message: dict[str, Any]) -> dict[str, Any]:
    return {"echo": message}


async def ask(root: Path, message: dict[str, Any], **options: Any) -> dict[str, Any]:
    return await asyncio.to_thread(request, str(root), message, **options)


def serving(
    root: Path,
    test: Callable[[ControlServer], Awaitable[None]],
    handle: Callable[[dict[str, Any]], Awaitable[dict[str, Any]]] = echo,
) -> None:
    async def main() -> None:
        server = ControlServer(str(root), handle, label="app:app")
        await server.start()
        try:
            await asyncio.wait_for(test(server), 30)
        finally:
            await server.close()

    asyncio.run(main())


def test_a_request_is_answered_with_version_and_pid(runtime: Path, tmp_path: Path) -> None:
    async def test(server: ControlServer) -> None:
        answer = await ask(tmp_path, {"op": "status", "x": "ü"})
        assert answer == {"v": 1, "pid": os.getpid(), "echo": {"op": "status", "x": "ü"}}

    serving(tmp_path, test)


def test_the_socket_is_ours_alone_and_goes_with_the_run(runtime: Path, tmp_path: Path) -> None:
    async def test(server: ControlServer) -> None:
        assert Path(server.path).parent == runtime / "livecore"
        assert server.path.endswith(f"-{os.getpid()}.sock")
        assert stat.S_IMODE(os.stat(server.path).st_mode) == 0o600
        assert stat.S_IMODE(os.stat(runtime / "livecore").st_mode) == 0o700
        await server.close()
        assert os.listdir(runtime / "livecore") == []
        await server.close()

    serving(tmp_path, test)


def test_a_folder_that_is_open_to_others_is_closed_and_a_link_is_refused(runtime: Path) -> None:
    folder = runtime / "livecore"
    folder.mkdir(mode=0o777)
    assert socket_folder() == str(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    folder.rmdir()
    folder.symlink_to("/tmp")
    with pytest.raises(UsageError, match="belongs to somebody else"):
        socket_folder()


def test_without_a_usable_runtime_folder_a_private_one_in_tmp_serves() -> None:
    private = f"/tmp/livecore-{os.getuid()}"
    for value in ("", "relative", "/nonexistent", "/tmp/" + "x" * 90):
        assert socket_folder({"XDG_RUNTIME_DIR": value}) == private
    assert stat.S_IMODE(os.stat(private).st_mode) == 0o700


def test_sockets_of_dead_runs_are_removed_and_those_of_the_living_stay(runtime: Path, tmp_path: Path) -> None:
    folder = Path(socket_folder())
    dead = folder / "0123456789abcdef-1.sock"
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(dead))
        sock.listen()
    alive = folder / "0123456789abcdef-2.sock"
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(alive))
        sock.listen()

        async def test(server: ControlServer) -> None:
            assert not dead.exists()
            assert alive.exists()

        serving(tmp_path, test)


def test_nothing_running_is_said_plainly(runtime: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nothing runs in .*"):
        request(str(tmp_path), {"op": "status"})
    with pytest.raises(UsageError, match="no run has pid 999999999"):
        request(str(tmp_path), {"op": "status"}, pid=999999999)


def test_a_run_elsewhere_is_named_and_reached_by_pid_or_from_where_it_was_started(
    runtime: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"

    async def test(server: ControlServer) -> None:
        with pytest.raises(UsageError, match=rf"elsewhere: .*pid {os.getpid()} \(app:app\) in .*--pid"):
            await ask(other, {"op": "status"})
        assert "echo" in await ask(other, {"op": "status"}, pid=os.getpid())
        assert "echo" in await ask(other, {"op": "status"}, cwd=os.getcwd())

    serving(tmp_path, test)


SECOND_RUN = """
import asyncio, sys
from livereload_core.parent.control import ControlServer

async def handle(message):
    return {"second": True}

async def main():
    server = ControlServer(sys.argv[1], handle, label="second")
    await server.start()
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await server.close()

asyncio.run(main())
"""


def test_two_runs_of_one_project_are_told_apart_by_pid(runtime: Path, tmp_path: Path) -> None:
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}
    with subprocess.Popen(
        [sys.executable, "-c", SECOND_RUN, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environ,
        text=True,
    ) as second:
        assert second.stdout is not None
        assert second.stdout.readline() == "ready\n"

        async def test(server: ControlServer) -> None:
            with pytest.raises(UsageError, match="2 runs belong to this project") as caught:
                await ask(tmp_path, {"op": "stop"})
            for pid in (os.getpid(), second.pid):
                assert f"pid {pid}" in str(caught.value)
            assert await ask(tmp_path, {"op": "x"}, pid=second.pid) == {
                "v": 1,
                "pid": second.pid,
                "second": True,
            }
            runs = await asyncio.to_thread(find_runs, str(tmp_path))
            assert [run.label for run in runs if run.exact and run.pid == second.pid] == ["second"]

        serving(tmp_path, test)
        second.communicate("")
    assert second.returncode == 0


def test_refusals_and_bugs_reach_the_client_as_one_sentence(runtime: Path, tmp_path: Path) -> None:
    async def handle(message: dict[str, Any]) -> dict[str, Any]:
        if message["op"] == "refuse":
            raise LivecoreError("not now; wait")
        raise RuntimeError("a bug")

    async def test(server: ControlServer) -> None:
        reported: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: reported.append(context))
        with pytest.raises(LivecoreError, match=r"^not now; wait$"):
            await ask(tmp_path, {"op": "refuse"})
        with pytest.raises(LivecoreError, match="livecore failed at 'crash'"):
            await ask(tmp_path, {"op": "crash"})
        assert [str(context["exception"]) for context in reported] == ["a bug"]

    serving(tmp_path, test, handle)


@pytest.mark.parametrize("line", [b"not json\n", b"[]\n", b"{}\n", b'{"op": 1}\n', b"\xff\n"])
def test_garbage_is_answered_with_an_error(runtime: Path, tmp_path: Path, line: bytes) -> None:
    async def test(server: ControlServer) -> None:
        reader, writer = await asyncio.open_unix_connection(server.path)
        writer.write(line)
        assert json.loads(await reader.readline())["error"].startswith("the request")
        writer.close()
        await writer.wait_closed()

    serving(tmp_path, test)


def test_clients_that_leave_or_flood_do_no_harm(runtime: Path, tmp_path: Path) -> None:
    async def test(server: ControlServer) -> None:
        for data in (b"", b'{"op": "half', b"x" * 100_000):
            reader, writer = await asyncio.open_unix_connection(server.path)
            writer.write(data)
            if writer.can_write_eof():
                writer.write_eof()
            try:
                assert await reader.read() == b""
            except ConnectionResetError:  # the flood was not read to its end
                pass
            writer.close()
        assert "echo" in await ask(tmp_path, {"op": "status"})

    serving(tmp_path, test)


def test_a_late_answer_times_out_and_a_run_that_ends_says_so(runtime: Path, tmp_path: Path) -> None:
    began = asyncio.Event()

    async def handle(message: dict[str, Any]) -> dict[str, Any]:
        began.set()
        await asyncio.Event().wait()
        return {}

    async def test(server: ControlServer) -> None:
        with pytest.raises(LivecoreError, match=r"did not answer within 0\.05 seconds"):
            await ask(tmp_path, {"op": "reload"}, timeout=0.05)
        began.clear()
        waiting = asyncio.create_task(ask(tmp_path, {"op": "reload"}, timeout=None))
        await began.wait()
        await server.close()
        with pytest.raises(LivecoreError, match="the run ended before it answered"):
            await waiting

    serving(tmp_path, test, handle)


def test_an_answer_under_way_leaves_before_the_server_closes(runtime: Path, tmp_path: Path) -> None:
    closing: list[asyncio.Task[None]] = []

    async def test(server: ControlServer) -> None:
        async def handle(message: dict[str, Any]) -> dict[str, Any]:
            closing.append(asyncio.create_task(server.close()))
            await asyncio.sleep(0)
            return {"stopping": True}

        server._handle = handle
        assert (await ask(tmp_path, {"op": "stop"}))["stopping"]
        await closing[0]

    serving(tmp_path, test)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")
def test_another_user_is_turned_away_even_when_the_door_is_open(runtime: Path, tmp_path: Path) -> None:
    # Turned away at once, it sees the end of the stream, or an error if it was still talking.
    program = textwrap.dedent(
        """
        import os, socket, sys
        os.setuid(65534)
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(sys.argv[1])
        try:
            sock.sendall(b'{"op": "hello"}\\n')
            print(sock.recv(100))
        except (BrokenPipeError, ConnectionResetError):
            print(b"")
        """
    )

    async def test(server: ControlServer) -> None:
        for path, mode in ((runtime, 0o711), (runtime / "livecore", 0o711), (server.path, 0o666)):
            os.chmod(path, mode)
        stranger = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-I", "-c", program, server.path],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert stranger.stdout == "b''\n", stranger.stderr
        assert "echo" in await ask(tmp_path, {"op": "status"})

    serving(tmp_path, test)
