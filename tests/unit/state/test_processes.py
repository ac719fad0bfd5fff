"""Child processes run on: the object that comes back waits for a process whose parent it is not."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from livereload_core.state import runtime
from livereload_core.state.refusals import RefusedError
from tests.unit.state.carrying import carry, census, refuse, send

ECHO = "import sys\nfor line in sys.stdin:\n    print(line.upper(), end='', flush=True)\nsys.exit(7)"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Pids that were asked for; the test's process is their parent and answers."""
    pids: list[int] = []

    def answer(pid: int) -> int | None:
        pids.append(pid)
        return os.waitpid(pid, 0)[1]

    monkeypatch.setattr(runtime, "exit_status", answer)
    return pids


@pytest.fixture
def echo() -> Iterator[Any]:
    process = subprocess.Popen(
        [sys.executable, "-c", ECHO], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        yield process
        if process.returncode is None:
            process.kill()


def hand_over(process: subprocess.Popen[Any]) -> Any:
    """As at a reload: the old object is cut off."""
    carried = send(process)
    back, _ = carried.receive()
    carried.handed.close()
    for cut in carried.handed.cuts:
        setattr(*cut)
    return back


def test_process_is_talked_to_and_waited_for(echo: Any, asked: list[int]) -> None:
    echo.stdin.write("one\ntwo\n")
    echo.stdin.flush()
    assert echo.stdout.readline() == "ONE\n"
    new: Any = hand_over(echo)
    assert type(echo) is type(new)
    assert new.pid == echo.pid
    assert new.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        new.wait(0.01)
    assert new.stdout.readline() == "TWO\n"
    new.stdin.write("three\n")
    new.stdin.flush()
    assert new.stdout.readline() == "THREE\n"
    echo.stdin.close()
    new.stdin.close()
    assert new.wait() == 7
    assert new.poll() == 7
    assert asked == [echo.pid]
    new.stdout.close()


def test_process_crosses_again_and_again(echo: Any, asked: list[int]) -> None:
    before = len(census())
    new: Any = echo
    kept = [echo]
    for _ in range(5):
        new = hand_over(new)
        kept.append(new)
    out, _ = new.communicate("") if not echo.stdin else (None, None)
    for process in kept:
        if process.stdin and not process.stdin.closed:
            process.stdin.close()
    assert new.wait() == 7
    assert out is None or out == ""
    for process in kept[1:]:
        process.stdout.close()
    del kept, new, process
    assert len(census()) == before - 1, "the input of the first one is closed"


def test_signals_reach_it_and_the_status_says_so(echo: Any, asked: list[int]) -> None:
    new = hand_over(echo)
    new.terminate()
    assert new.wait() == -signal.SIGTERM
    new.kill()  # ended: nobody else gets it
    for file in (new.stdin, new.stdout):
        file.close()


def test_old_code_can_neither_signal_nor_wait_for_it(echo: Any, asked: list[int]) -> None:
    new = hand_over(echo)
    echo.terminate()
    echo.kill()
    echo.wait()
    assert new.poll() is None
    new.kill()
    assert new.wait() == -signal.SIGKILL
    for file in (new.stdin, new.stdout):
        file.close()


def test_ended_process_crosses_with_its_code_and_its_closed_pipes() -> None:
    with subprocess.Popen([sys.executable, "-c", "exit(3)"], stdout=subprocess.PIPE) as process:
        process.communicate()
        back = carry(process)
        assert (back.returncode, back.poll(), back.wait()) == (3, 3, 3)
        assert back.stdout.closed


def test_status_that_nobody_knows_counts_as_zero(echo: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "exit_status", None)
    new = hand_over(echo)
    echo.stdin.close()
    new.stdin.close()
    assert new.wait() == 0
    new.stdout.close()
    os.waitpid(echo.pid, 0)


def test_trial_neither_warns_nor_keeps_anything_open(echo: Any) -> None:
    before = census()
    carried = send({"worker": echo})
    assert carried.handed.processes == [echo.pid]
    for _ in range(3):
        carried.receive(scratch=True)[1].close()
    carried.handed.close()
    assert census() == before
    assert echo.poll() is None


def test_processes_of_asyncio_are_refused_with_advice() -> None:
    async def main() -> None:
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", "")
        refuse(process, RefusedError, lambda error: "subprocess.Popen" in error.remedy)
        await process.wait()

    asyncio.run(main())
