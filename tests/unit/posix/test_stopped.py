from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import threading

import pytest

from livereload_core.posix import stopped


def test_a_memfd_holds_the_bytes_null_bytes_included_and_is_sealed() -> None:
    data = os.urandom(100_000) + b"\0tail"
    fd = stopped.memfd_write(data, "test")
    try:
        assert os.pread(fd, len(data) + 1, 0) == data
        assert not os.get_inheritable(fd)
        with pytest.raises(PermissionError):
            os.pwrite(fd, b"x", 0)
    finally:
        os.close(fd)


def test_an_empty_memfd_is_empty() -> None:
    fd = stopped.memfd_write(b"")
    assert os.fstat(fd).st_size == 0
    os.close(fd)


def test_without_memfd_a_nameless_file_takes_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "memfd_create")
    fd = stopped.memfd_write(b"plain")
    assert os.pread(fd, 10, 0) == b"plain"
    assert os.fstat(fd).st_nlink == 0
    os.close(fd)


def test_fds_travel_with_the_first_byte() -> None:
    left, right = socket.socketpair()
    reading, writing = os.pipe()
    with left, right:
        stopped.send(left.fileno(), b"two pipes", [reading, writing])
        payload, fds, flags, _ = socket.recv_fds(right, 100, 10)
    assert (payload, len(fds), flags & socket.MSG_CTRUNC) == (b"two pipes", 2, 0)
    os.write(fds[1], b"x")
    assert os.read(reading, 1) == b"x"
    for fd in (reading, writing, *fds):
        os.close(fd)


def test_a_payload_larger_than_the_buffer_arrives_whole_on_a_nonblocking_socket() -> None:
    left, right = socket.socketpair()
    payload = os.urandom(2_000_000)
    received = bytearray()
    # another process has to read: a thread of this one would stand still, which is the point
    code = "import sys; sys.stdout.buffer.write(sys.stdin.buffer.read(2_000_000))"
    with (
        left,
        right,
        subprocess.Popen([sys.executable, "-c", code], stdin=right.fileno(), stdout=subprocess.PIPE) as child,
    ):
        right.close()
        left.setblocking(False)
        drain = threading.Thread(target=lambda: received.extend(child.stdout.read()))  # type: ignore[union-attr]
        stopped.send(left.fileno(), payload)
        drain.start()
        drain.join(20)
    assert received == payload


def test_a_peer_that_is_gone_is_an_error_and_no_signal() -> None:
    left, right = socket.socketpair()
    right.close()
    with left, pytest.raises(BrokenPipeError):
        stopped.send(left.fileno(), b"x")


def test_fds_without_a_byte_or_too_many_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one byte"):
        stopped.send(0, b"", [0])
    with pytest.raises(ValueError, match="at most 250"):
        stopped.send(0, b"x", range(251))


def test_no_python_thread_moves_from_the_first_byte_to_the_verdict() -> None:
    count = 0
    running, asked, moving, finish = (threading.Event() for _ in range(4))

    def counting() -> None:
        nonlocal count
        running.set()
        while not finish.is_set():
            count += 1
            if asked.is_set():
                moving.set()

    thread = threading.Thread(target=counting)
    left, right = socket.socketpair()
    # the other side of the verdict is a process, which answers a good while after it was asked
    code = "import sys, time; sys.stdin.read(1); time.sleep(0.05); sys.stdout.write('y')"
    program = [sys.executable, "-c", code]
    with left, right, subprocess.Popen(program, stdin=right.fileno(), stdout=right.fileno()) as child:
        thread.start()
        running.wait()
        with stopped.standstill(0.5):
            before = count
            fd = stopped.memfd_write(b"state" * 100_000)
            stopped.send(left.fileno(), b"x", [])
            assert stopped.hear(left.fileno(), b"y", []) == b"y"
            after = count
        assert left.recv(1) == b"y"
        child.wait(20)
    assert after == before
    asked.set()
    assert moving.wait(20)
    assert count > after
    finish.set()
    thread.join(20)
    os.close(fd)


def test_the_switch_interval_is_what_it_was_after_a_standstill() -> None:
    before = sys.getswitchinterval()
    with stopped.standstill():
        assert sys.getswitchinterval() > before
    assert sys.getswitchinterval() == before
    with pytest.raises(ZeroDivisionError), stopped.standstill():
        before / 0
    assert sys.getswitchinterval() == before


def test_no_thread_runs_between_a_late_verdict_and_what_is_done_for_it() -> None:
    # In a process of its own: a thread that computes and waits for the GIL would disturb other tests.
    source = """
import os, socket, subprocess, sys, threading
from livereload_core.posix import stopped
count, go, counted = 0, True, []
def spin():
    global count
    while go:
        count += 1
thread = threading.Thread(target=spin)
thread.start()
left, right = socket.socketpair()
code = "import sys, time; sys.stdin.read(1); time.sleep(0.3); sys.stdout.write('retire')"
child = subprocess.Popen([sys.executable, "-c", code], stdin=right.fileno(), stdout=right.fileno())
with stopped.standstill(0.02):
    before = count
    stopped.send(left.fileno(), b"x")
    # the thread has waited for much longer than the switch interval when the word comes
    heard = stopped.hear(left.fileno(), b"ret", [(counted.extend, map(globals().get, ["count"]))])
print(heard, counted[0] - before, count > before)
go = False
child.wait()
"""
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == ["b'retire'", "0", "True"], done.stdout + done.stderr


def test_without_the_word_nothing_is_done_and_the_bytes_stay() -> None:
    left, right = socket.socketpair()
    done: list[int] = []
    with left, right:
        right.send(b"resume")
        assert stopped.hear(left.fileno(), b"retire", [(done.append, 1)]) == b"resume"
        assert not done
        right.send(b" retire")
        heard = stopped.hear(left.fileno(), b"retire", [(done.append, 1), (done.append, 2)])
        assert heard == b"resume retire"
        assert done == [1, 2]
        assert left.recv(100) == b"resume retire"
        right.close()
        assert stopped.hear(left.fileno(), b"", [(done.append, 3)]) == b""


def test_what_another_thread_is_taking_is_not_waited_for() -> None:
    left, right = socket.socketpair()
    done: list[int] = []
    busy = bytearray(b"\1")
    with left, right:
        assert stopped.hear(left.fileno(), b"retire", [(done.append, 1)], busy=busy) is None
        right.send(b"retire")
        assert stopped.hear(left.fileno(), b"retire", [(done.append, 2)], busy=busy) is None
        busy[0] = 0
        assert stopped.hear(left.fileno(), b"retire", [(done.append, 3)], busy=busy) == b"retire"
    assert done == [3]


def test_dead_ends_take_the_place_of_sockets_and_files() -> None:
    ours, theirs = socket.socketpair()
    reading, writing = os.pipe()
    listener = socket.create_server(("127.0.0.1", 0))
    ends = stopped.DeadEnds()
    with ours, theirs, listener:
        assert [stopped.is_listener(sock.fileno()) for sock in (ours, listener)] == [False, True]
        ends.open()
        copies = [os.dup(ours.fileno()), os.dup(writing)]
        for fd in (ours.fileno(), writing):
            stopped.replace(fd, ends.like(fd))
        ends.close()
        with pytest.raises(BrokenPipeError):
            ours.send(b"lost")
        assert ours.recv(1) == b""
        os.write(writing, b"lost")
        os.write(copies[0], b"kept")
        os.write(copies[1], b"kept")
        assert theirs.recv(10) == os.read(reading, 10) == b"kept"
        for fd in (*copies, reading, writing):
            os.close(fd)


def test_position_and_flags_of_an_open_file_are_those_of_all_who_hold_it() -> None:
    with tempfile.TemporaryFile() as file:
        file.write(b"abcdef")
        file.flush()
        copy = os.dup(file.fileno())
        assert stopped.position(copy) == 6
        stopped.move(copy, 2)
        assert os.lseek(file.fileno(), 0, os.SEEK_CUR) == 2
        stopped.set_flags(copy, stopped.flags(copy) | os.O_APPEND)
        assert stopped.flags(file.fileno()) & os.O_APPEND
        os.close(copy)
    reading, writing = os.pipe()
    assert stopped.position(reading) is None
    os.close(reading)
    os.close(writing)
