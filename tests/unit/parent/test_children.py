"""One child as the parent sees it: real processes that behave, end, talk nonsense, or are given up."""

from __future__ import annotations

import asyncio
import os
import select
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from livereload_core.errors import ProtocolViolationError
from livereload_core.parent import children
from livereload_core.parent.children import GenerationHandle, end_all
from livereload_core.posix import memfd, process
from livereload_core.testing import until
from livereload_core.wire import messages as wire
from livereload_core.wire.messages import Message

HEAD = """
import os, signal, socket, subprocess, sys, threading
from livereload_core.posix import memfd
from livereload_core.posix.channel import BlockingChannel, ChannelClosedError
from livereload_core.wire import messages as wire
sock = socket.socket(fileno=int(sys.argv[2]))
channel = BlockingChannel(sock)
channel.send(wire.Hello(os.getpid(), "x"))
"""


class Seen:
    """What a handle has reported, in order."""

    def __init__(self) -> None:
        self.events: list[Message | int] = []
        self.fds: list[int] = []
        self.errors: list[BaseException] = []
        self._changed = asyncio.Event()

    def on_message(self, handle: GenerationHandle, message: Message, fds: list[int]) -> None:
        self.events.append(message)
        self.fds += fds
        self._changed.set()

    def on_exit(self, handle: GenerationHandle, code: int) -> None:
        self.events.append(code)
        self._changed.set()

    def on_error(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.errors.append(context["exception"])

    async def until(self, count: int) -> list[Message | int]:
        """Wait for so many events."""
        while len(self.events) < count:
            self._changed.clear()
            await self._changed.wait()
        return self.events


Test = Callable[[GenerationHandle, Seen], Awaitable[None]]
Run = Callable[[str, Test], None]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Starts a child whose code follows HEAD, lets the test act, and checks that no fd is left."""
    monkeypatch.setattr(children, "CHILD_MODULE", "stand_in")

    def run(source: str, test: Test) -> None:
        (tmp_path / "stand_in.py").write_text(f"{HEAD}{source}\nos._exit(0)\n")
        before = _fds()

        async def main() -> None:
            loop = asyncio.get_running_loop()
            seen = Seen()
            loop.set_exception_handler(seen.on_error)
            env = {**os.environ, "PYTHONPATH": f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}"}
            handle = GenerationHandle(
                1, cwd=str(tmp_path), env=env, loop=loop, on_message=seen.on_message, on_exit=seen.on_exit
            )
            try:
                async with asyncio.timeout(20):
                    assert (await seen.until(1))[0] == wire.Hello(handle.pid, "x")
                    await test(handle, seen)
            finally:
                end_all([handle])

        asyncio.run(main())
        assert _fds() == before

    return run


def _fds() -> set[str]:
    return set(os.listdir("/proc/self/fd"))


async def _ended(pid: int) -> None:
    """Wait until a process that is not our own child has ended."""
    fd = process.pidfd_open(pid)
    if fd is None:
        return
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(fd, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(fd)
        os.close(fd)


def test_messages_and_fds_go_both_ways(run: Run) -> None:
    source = """
message, (fd,) = channel.receive()
assert message == wire.Precopy(7)
answer = memfd.create(memfd.read(fd).upper())
channel.send(wire.Warn("here it is"), [answer])
channel.receive()
"""

    async def test(handle: GenerationHandle, seen: Seen) -> None:
        fd = memfd.create(b"state")
        handle.send(wire.Precopy(7), [fd])
        os.close(fd)  # whoever sends keeps its own copy
        assert (await seen.until(2))[1:] == [wire.Warn("here it is")]
        assert [memfd.read(fd) for fd in seen.fds] == [b"STATE"]
        for fd in seen.fds:
            os.close(fd)
        handle.send(wire.Commit(7))
        assert (await seen.until(3))[2] == 0

    run(source, test)


def test_everything_that_was_said_is_told_before_the_end(run: Run) -> None:
    source = """
for number in range(500):
    channel.send(wire.Warn(f"{number} " + "x" * 200))
os._exit(3)
"""

    async def test(handle: GenerationHandle, seen: Seen) -> None:
        events = await seen.until(502)
        assert [m.text.split()[0] for m in events if isinstance(m, wire.Warn)] == [str(n) for n in range(500)]
        assert events[-1] == 3

    run(source, test)


@pytest.mark.parametrize(
    ("last_words", "code"),
    [
        ("", 0),
        ("os._exit(5)", 5),
        ("os.kill(os.getpid(), signal.SIGSEGV)", -signal.SIGSEGV),
        ("os.abort()", -signal.SIGABRT),
    ],
    ids=["returns", "exits", "segfault", "abort"],
)
def test_the_way_in_which_it_ended_is_told_once(run: Run, last_words: str, code: int) -> None:
    async def test(handle: GenerationHandle, seen: Seen) -> None:
        assert await seen.until(2) == [wire.Hello(handle.pid, "x"), code]
        handle.send(wire.Commit(1))  # to one that is gone: nothing happens
        handle.signal(signal.SIGTERM)
        handle.kill_tree()
        await asyncio.sleep(0)
        assert len(seen.events) == 2

    run(f"import resource; resource.setrlimit(resource.RLIMIT_CORE, (0, 0))\n{last_words}\n", test)


@pytest.mark.parametrize(
    "nonsense",
    [
        'b"GET / HTTP/1.1" + bytes([13, 10]) * 2',
        'b"lc" + bytes([99, 0, 0, 0, 0, 0])',
        'b"lc" + bytes([1, 0, 0, 0, 0, 4]) + b"null"',
        'b"lc" + bytes([1, 3, 0, 0, 0, 2]) + b"{}"',
    ],
    ids=["no frame", "another version", "no message", "fds that did not come"],
)
def test_a_child_that_talks_nonsense_is_killed_and_the_bug_is_said(run: Run, nonsense: str) -> None:
    source = f"""
child = subprocess.Popen(["sleep", "60"])
channel.send(wire.Warn(str(child.pid)))
channel.receive()
sock.sendall({nonsense})
signal.pause()
"""

    async def test(handle: GenerationHandle, seen: Seen) -> None:
        told = (await seen.until(2))[1]
        assert isinstance(told, wire.Warn)
        handle.send(wire.Commit(1))
        assert (await seen.until(3))[2] == -signal.SIGKILL
        assert [type(error) for error in seen.errors] == [ProtocolViolationError]
        await _ended(int(told.text))

    run(source, test)


def test_nonsense_right_before_the_end_is_no_more_than_an_end(run: Run) -> None:
    source = """
channel.receive()
sock.sendall(b"nonsense that is longer than a header")
os._exit(4)
"""

    async def test(handle: GenerationHandle, seen: Seen) -> None:
        handle.send(wire.Commit(1))
        assert (await seen.until(2))[1] in (4, -signal.SIGKILL)  # either side may be the quicker one

    run(source, test)


def test_a_child_that_closes_its_channel_cannot_be_led_and_is_killed_with_what_it_started(run: Run) -> None:
    source = """
child = subprocess.Popen(["sleep", "60"])
channel.send(wire.Warn(str(child.pid)))
sock.close()
signal.pause()
"""

    async def test(handle: GenerationHandle, seen: Seen) -> None:
        _, told, code = await seen.until(3)
        assert isinstance(told, wire.Warn)
        assert code == -signal.SIGKILL
        await _ended(int(told.text))

    run(source, test)


def test_a_signal_reaches_it(run: Run) -> None:
    source = """
signal.signal(signal.SIGTERM, lambda *_: os._exit(9))
channel.send(wire.Warn("listening"))
while True: signal.pause()
"""

    async def test(handle: GenerationHandle, seen: Seen) -> None:
        await seen.until(2)
        handle.signal(signal.SIGTERM)
        assert (await seen.until(3))[2] == 9

    run(source, test)


def test_an_abandoned_child_is_reaped_and_neither_its_words_nor_its_end_are_told(run: Run) -> None:
    source = """
fd = memfd.create(b"never looked at")
def talk():
    while True:
        channel.send(wire.Warn("x"), [fd])
signal.signal(signal.SIGTERM, signal.SIG_IGN)
channel.receive()
threading.Thread(target=talk).start()
signal.pause()
"""

    async def test(handle: GenerationHandle, seen: Seen) -> None:
        handle.send(wire.Commit(1))
        await seen.until(3)  # it talks
        handle.abandon()
        told = len(seen.events)
        gone = Path(f"/proc/{handle.pid}")
        await asyncio.to_thread(
            until, lambda: not gone.exists(), what="an entry less in the table of processes"
        )
        assert len(seen.events) == told
        for fd in seen.fds:
            os.close(fd)

    run(source, test)


def test_a_message_larger_than_the_socket_takes_arrives_whole_while_the_loop_goes_on(run: Run) -> None:
    source = """
channel.receive()   # the parent has filled the socket and goes on
message, _ = channel.receive()
channel.send(wire.Warn(str(len(message.modules[0]))))
channel.receive()
"""

    async def test(handle: GenerationHandle, seen: Seen) -> None:
        size = 8_000_000
        handle.send(wire.Commit(1))
        handle.send(wire.Warm({}, (), (), (), ("x" * size,)))
        assert (await seen.until(2))[1] == wire.Warn(str(size))
        handle.send(wire.Commit(2))
        assert (await seen.until(3))[2] == 0

    run(source, test)


def test_what_cannot_be_started_leaves_nothing_behind(tmp_path: Path) -> None:
    before = _fds()

    async def main() -> None:
        seen = Seen()
        GenerationHandle(
            1,
            cwd=str(tmp_path / "missing"),
            env={},
            loop=asyncio.get_running_loop(),
            on_message=seen.on_message,
            on_exit=seen.on_exit,
        )

    with pytest.raises(FileNotFoundError):
        asyncio.run(main())
    assert _fds() == before


def test_a_process_that_goes_on_with_the_state_outlives_the_kill_of_its_generation(run: Run) -> None:
    source = """
children = [subprocess.Popen(["sleep", "60"]) for _ in range(2)]
for child in children:
    channel.send(wire.Warn(str(child.pid)))
channel.receive()
"""

    async def test(handle: GenerationHandle, seen: Seen) -> None:
        warnings = (await seen.until(3))[1:]
        spared, other = (int(warning.text) for warning in warnings if isinstance(warning, wire.Warn))
        handle.spared = frozenset({spared})
        pidfd = process.pidfd_open(spared)
        assert pidfd is not None
        handle.kill_tree()
        await _ended(other)
        await seen.until(4)
        try:
            assert not select.select([pidfd], [], [], 0)[0]
        finally:
            os.kill(spared, signal.SIGKILL)
            await _ended(spared)
            os.close(pidfd)

    run(source, test)


def test_at_the_end_of_livecore_nothing_is_spared(run: Run) -> None:
    source = """
child = subprocess.Popen(["sleep", "60"])
channel.send(wire.Warn(str(child.pid)))
channel.receive()
"""

    async def test(handle: GenerationHandle, seen: Seen) -> None:
        warning = (await seen.until(2))[1]
        assert isinstance(warning, wire.Warn)
        handle.spared = frozenset({int(warning.text)})
        end_all([handle])
        await _ended(int(warning.text))

    run(source, test)
