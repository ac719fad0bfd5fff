from __future__ import annotations

import os
import socket
import subprocess
import sys
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
            stopped.wait_readable(left.fileno())
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
