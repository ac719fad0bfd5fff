"""Processes that are started, watched, ranked and, when their parent dies, gone."""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from livereload_core.posix import process
from livereload_core.testing import until

# What a freshly started interpreter sees of itself, said over the channel that it was given.
REPORTS = """
import json, os, signal, socket, sys
with socket.socket(fileno=int(sys.argv[2])) as channel:
    channel.sendall(json.dumps({
        "argv": sys.argv[1:],
        "parent": os.getppid(),
        "cwd": os.getcwd(),
        "path0": sys.path[0],
        "dev_mode": sys.flags.dev_mode,
        "environ": dict(os.environ),
        "blocked": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ())),
        "fds": sorted(int(name) for name in os.listdir("/proc/self/fd")),
    }).encode())
    channel.recv(1)
"""


@contextlib.contextmanager
def _spawned(
    folder: Path, source: str, *extra: str
) -> Iterator[tuple[subprocess.Popen[bytes], socket.socket]]:
    (folder / "stand_in.py").write_text(source)
    env = {"PYTHONPATH": str(folder), "COLOUR": "green"}
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            child = process.spawn("stand_in", theirs, cwd=str(folder), env=env, extra=extra)
        try:
            yield child, ours
        finally:
            child.kill()
            child.wait(10)


def _receive(channel: socket.socket) -> Any:
    channel.settimeout(20)
    return json.loads(channel.recv(1 << 16))


def test_an_interpreter_is_started_with_our_pid_the_channel_and_the_extras(tmp_path: Path) -> None:
    with _spawned(tmp_path, REPORTS, "one", "two words") as (child, channel):
        report = _receive(channel)
        pid, fd, *extra = report["argv"]
        assert int(pid) == report["parent"] == os.getpid()
        assert extra == ["one", "two words"]
        assert {0, 1, 2, int(fd)} <= set(report["fds"])
        assert len(report["fds"]) == 5  # nothing else but the one that lists the folder
        channel.send(b"x")
        assert child.wait(20) == 0


def test_it_has_the_folder_and_the_variables_that_were_asked_for_and_no_folder_of_its_own_on_the_path(
    tmp_path: Path,
) -> None:
    with _spawned(tmp_path, REPORTS) as (_, channel):
        report = _receive(channel)
    assert report["cwd"] == str(tmp_path)
    assert report["path0"] == str(tmp_path)  # from PYTHONPATH; -P keeps "" away
    assert report["environ"]["COLOUR"] == "green"
    assert "HOME" not in report["environ"]


def test_it_boots_deaf_to_ctrl_c_and_we_stay_as_we_were(tmp_path: Path) -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    assert signal.SIGINT not in before
    with _spawned(tmp_path, REPORTS) as (child, channel):
        child.send_signal(signal.SIGINT)  # it may not even have begun to boot
        assert _receive(channel)["blocked"] == [signal.SIGINT]
        channel.send(b"x")
        assert child.wait(20) == 0
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before


def test_our_mask_is_restored_when_nothing_can_be_started(tmp_path: Path) -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    ours, theirs = socket.socketpair()
    with ours, theirs, pytest.raises(FileNotFoundError):
        process.spawn("stand_in", theirs, cwd=str(tmp_path / "missing"), env={})
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before


def test_options_of_the_interpreter_are_handed_down() -> None:
    code = "from livereload_core.posix.process import interpreter_flags; print(interpreter_flags())"
    options = ["-OO", "-X", "dev", "-X", "utf8", "-W", "error::UserWarning"]
    done = subprocess.run([sys.executable, *options, "-c", code], capture_output=True, text=True, timeout=20)
    flags = done.stdout
    for expected in ("'-OO'", "'-Xdev'", "'-Xutf8'", "'-Werror::UserWarning'"):
        assert expected in flags


def test_a_pidfd_is_readable_once_the_process_has_ended() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        fd = process.pidfd_open(child.pid)
        assert fd is not None
        try:
            assert select.select([fd], [], [], 0)[0] == []
            child.kill()
            assert select.select([fd], [], [], 20)[0] == [fd]
        finally:
            os.close(fd)
    assert process.pidfd_open(child.pid) is None  # reaped: there is nothing to watch


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        (0, "exit code 0"),
        (3, "exit code 3"),
        (-signal.SIGSEGV, "killed by SIGSEGV"),
        (-signal.SIGKILL, "killed by SIGKILL"),
        (-signal.SIGRTMIN - 2, f"killed by signal {signal.SIGRTMIN + 2}"),
    ],
)
def test_the_end_of_a_process_is_said_in_words(code: int, sentence: str) -> None:
    assert process.status_sentence(code) == sentence


def test_descendants_are_told_parents_first() -> None:
    program = ["sh", "-c", "sh -c 'sleep 60 & sleep 60 & wait' & wait"]
    with subprocess.Popen(program, start_new_session=True) as child:
        try:
            found = until(
                lambda: len(d := process.descendants(child.pid)) == 3 and d, what="three descendants"
            )
            assert found
            shell, *sleepers = found
            assert process.descendants_direct(child.pid) == [shell]
            assert process.descendants_direct(shell) == sleepers
            assert set(found) <= set(process.descendants(os.getpid()))
        finally:
            os.killpg(child.pid, signal.SIGKILL)
    assert process.descendants(child.pid) == []


# A parent that starts a child, which says its pid and that it lives (and holds the pipe open as long).
CHAIN = """
import os, subprocess, sys
code = '''
import os, sys
from livereload_core.posix.process import die_with_parent
die_with_parent(int(sys.argv[1]))
print(os.getpid(), flush=True)
sys.stdin.read()
'''
child = subprocess.Popen([sys.executable, "-c", code, {parent}], stdin=subprocess.PIPE)
sys.exit(child.wait())
"""


def _chain(parent: str) -> subprocess.Popen[bytes]:
    program = CHAIN.replace("{parent}", parent)
    return subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)


def test_a_process_dies_with_its_parent_even_when_that_is_killed() -> None:
    with _chain("str(os.getpid())") as parent:
        assert parent.stdout is not None
        grandchild = int(parent.stdout.readline())
        assert process.descendants(parent.pid) == [grandchild]
        pidfd = process.pidfd_open(grandchild)
        assert pidfd is not None
        parent.kill()
        assert parent.stdout.read() == b""  # ends when the last process that holds the pipe is gone
        assert select.select([pidfd], [], [], 20)[0]
        os.close(pidfd)


def test_a_process_whose_parent_was_gone_before_it_asked_ends_at_once() -> None:
    with _chain("str(os.getppid())") as parent:  # the pid of somebody who is not its parent
        assert parent.stdout is not None
        assert parent.stdout.read() == b""
        assert parent.wait(20) == 1


def test_a_subreaper_adopts_and_collects_orphans_and_leaves_the_others_to_whoever_waits() -> None:
    code = """
import os, subprocess, sys
from livereload_core.posix import process
assert process.become_subreaper()
mine = subprocess.Popen(["true"])
os.waitid(os.P_PID, mine.pid, os.WEXITED | os.WNOWAIT)
reading, writing = os.pipe()
# The orphan lives for as long as our end is open, so its shell cannot have waited for it.
subprocess.run(["sh", "-c", "exec 3<&0; cat <&3 &"], stdin=reading)
os.close(writing)
orphan, = set(process.descendants_direct(os.getpid())) - {mine.pid}
os.waitid(os.P_PID, orphan, os.WEXITED | os.WNOWAIT)
process.Exits().reap({mine.pid})
assert process.descendants_direct(os.getpid()) == [mine.pid]
print(mine.wait())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=20)
    assert (done.stdout, done.stderr) == ("0\n", "")


def test_how_an_orphan_ended_is_known_before_and_after_it_is_collected() -> None:
    middle = (
        "import os, subprocess\n"
        "ended = [subprocess.Popen(['sh', '-c', 'exit 7']), subprocess.Popen(['sh', '-c', 'kill -9 $$'])]\n"
        "for one in ended:\n"
        "    os.waitid(os.P_PID, one.pid, os.WEXITED | os.WNOWAIT)\n"
        "print(*(one.pid for one in ended), flush=True)\n"
        "input()\n"
        "os._exit(0)\n"
    )
    code = f"""
import os, subprocess, sys
from livereload_core.posix import process
assert process.become_subreaper()
exits = process.Exits()
# The middle one does not wait: until it goes, it is the parent of what it started.
middle = subprocess.Popen(
    [sys.executable, "-c", {middle!r}], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
)
pids = [int(word) for word in middle.stdout.readline().split()]
def told():
    return [os.waitstatus_to_exitcode(exits.status_of(pid)) for pid in pids]
print(told())
middle.communicate("go")
exits.reap({{middle.pid}})
assert process.descendants_direct(os.getpid()) == []
print(told(), exits.status_of(os.getpid()))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=20)
    assert (done.stdout, done.stderr) == ("[7, -9]\n[7, -9] None\n", "")


def test_what_is_spared_is_left_out_with_what_it_started() -> None:
    with _chain("str(os.getpid())") as parent:
        assert parent.stdout is not None
        grandchild = int(parent.stdout.readline())
        assert process.descendants(os.getpid(), {parent.pid}) == []
        assert process.descendants(parent.pid, {grandchild}) == []
        assert grandchild in process.descendants(os.getpid())
        parent.kill()


def _rank(pid: int) -> set[tuple[int, int]]:
    """Niceness and policy of each thread."""
    threads = [int(name) for name in os.listdir(f"/proc/{pid}/task")]
    return {(os.getpriority(os.PRIO_PROCESS, thread), os.sched_getscheduler(thread)) for thread in threads}


def test_every_thread_of_a_process_in_the_background_gives_way_and_stands_among_the_others_again() -> None:
    code = "import threading; threading.Thread(target=input).start(); print(flush=True)"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        assert len(os.listdir(f"/proc/{child.pid}/task")) == 2
        before = _rank(child.pid)
        process.set_background(child.pid, background=True)
        behind = _rank(child.pid)
        assert len(before) == len(behind) == 1
        (nice, policy), (nice_behind, policy_behind) = before.pop(), behind.pop()
        assert nice_behind > nice or policy_behind == os.SCHED_BATCH != policy
        process.set_background(child.pid, background=False)
        assert _rank(child.pid) == {(nice, policy)}
        child.kill()


def test_a_process_that_gives_way_does_so_with_every_thread_and_needs_no_right_for_it() -> None:
    code = (
        "import threading; from livereload_core.posix import process; "
        "threading.Thread(target=input).start(); process.give_way(); print(flush=True)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        (behind,) = {nice for nice, _ in _rank(child.pid)}
        assert len(os.listdir(f"/proc/{child.pid}/task")) == 2
        assert behind == min(19, os.getpriority(os.PRIO_PROCESS, 0) + 10)
        child.kill()


def test_a_process_that_is_gone_has_no_rank_and_no_memory() -> None:
    with subprocess.Popen(["true"]) as child:
        pass
    process.set_background(child.pid, background=True)
    assert process.resident_bytes(child.pid) == 0


def test_resident_memory_grows_with_what_is_touched() -> None:
    before = process.resident_bytes(os.getpid())
    with mmap.mmap(-1, 20_000_000) as block:  # new pages: malloc may have some left that are there already
        block[:] = b"x" * len(block)
        assert process.resident_bytes(os.getpid()) > before + 15_000_000


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc is Linux's")
def test_room_for_files_is_made_once_and_within_the_limit() -> None:
    program = (
        "import resource\n"
        "from livereload_core.posix.process import widen_fd_table\n"
        "size = lambda: int(open('/proc/self/status').read().split('FDSize:')[1].split()[0])\n"
        "before = size()\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (300, 300))\n"
        "widen_fd_table()\n"
        "within = size()\n"
        "widen_fd_table(10)\n"
        "print(before, within, size())\n"
    )
    # A fork has room for what its parent has open: the shell has little, this process may have much.
    command = ["sh", "-c", '"$0" -c "$1"; exit $?', sys.executable, program]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    before, within, after = map(int, done.stdout.split())
    assert before <= 256 < within == after < 4096
