"""Channels over a real socket pair: fds arrive with their message, and the end of the peer is noticed."""

from __future__ import annotations

import os
import select
import socket
import threading
from collections.abc import Iterator

import pytest

from livereload_core.errors import ProtocolViolationError
from livereload_core.posix import memfd, stopped
from livereload_core.posix.channel import BlockingChannel, ChannelClosedError, StreamChannel, framed
from livereload_core.wire.messages import Checkpoint, Message, Warm, Warn

Pair = tuple[StreamChannel, BlockingChannel, list[bool]]


@pytest.fixture
def pair() -> Iterator[Pair]:
    ours, theirs = socket.socketpair()
    stalls: list[bool] = []
    yield StreamChannel(ours, stalls.append), BlockingChannel(theirs), stalls
    ours.close()
    theirs.close()


def read_all(channel: StreamChannel, count: int) -> list[tuple[Message, list[int]]]:
    got: list[tuple[Message, list[int]]] = []
    poll = select.poll()
    poll.register(channel.fileno(), select.POLLIN)
    while len(got) < count:
        assert poll.poll(5000), "nothing more came"
        got += channel.read()
    return got


def test_fds_arrive_with_the_message_that_sent_them(pair: Pair) -> None:
    parent, child, _ = pair
    for text in (b"one", b"two"):
        fd = memfd.create(text)
        child.send(Checkpoint(), [fd])
        os.close(fd)
        child.send(Warn("between"))
    got = read_all(parent, 4)
    contents = [[memfd.read(fd) for fd in fds] for _, fds in got]
    assert contents == [[b"one"], [], [b"two"], []]
    for _, fds in got:
        for fd in fds:
            os.close(fd)
    parent.close()


def test_a_message_larger_than_the_socket_buffer_stalls_and_drains(pair: Pair) -> None:
    parent, child, stalls = pair
    fd = memfd.create(b"x")
    large = Warm({"text": "x" * 3_000_000}, (), (), (), ())
    parent.send(large, [fd])
    parent.send(Warn("after"))
    os.close(fd)
    assert stalls == [True]
    received: list[tuple[Message, list[int]]] = []
    reader = threading.Thread(target=lambda: received.extend([child.receive(), child.receive()]))
    reader.start()
    poll = select.poll()
    poll.register(parent.fileno(), select.POLLOUT)
    while stalls[-1]:
        assert poll.poll(5000)
        parent.flush()
    reader.join(5)
    assert received[0][0] == large
    assert [memfd.read(fd) for fd in received[0][1]] == [b"x"]
    assert received[1][0] == Warn("after")
    os.close(received[0][1][0])
    parent.close()


def test_the_end_of_the_peer_is_noticed_by_the_child(pair: Pair) -> None:
    parent, child, _ = pair
    parent.close()
    with pytest.raises(ChannelClosedError):
        child.receive()
    with pytest.raises(ChannelClosedError):
        child.send(Warn("nobody hears"))


def test_the_end_of_the_peer_is_noticed_by_the_parent(pair: Pair) -> None:
    other, gone, _ = pair
    gone._sock.close()
    with pytest.raises(ChannelClosedError):
        other.read()
    other.send(Warn("to the dead"))
    other.close()


def test_noise_is_refused() -> None:
    ours, theirs = socket.socketpair()
    parent = StreamChannel(ours, lambda stalled: None)
    theirs.sendall(b"GET / HTTP/1.1\r\n\r\n")
    with pytest.raises(ProtocolViolationError):
        parent.read()
    parent.close()
    theirs.close()


def test_a_sealed_snapshot_cannot_be_changed() -> None:
    fd = memfd.create(b"state")
    with pytest.raises(OSError, match="permitted"):
        os.write(fd, b"other")
    with memfd.mapped(fd) as view:
        assert bytes(view) == b"state"
    os.close(fd)


@pytest.mark.parametrize("count", [249, 250, 251, 620])
def test_more_fds_than_a_frame_takes_arrive_with_one_message_in_order(pair: Pair, count: int) -> None:
    parent, child, _ = pair
    fd = memfd.create(b"x")
    many = [fd, *(os.dup(fd) for _ in range(count - 2)), memfd.create(b"last")]
    before = len(os.listdir("/proc/self/fd"))
    child.send(Warn("before"))
    child.send(Checkpoint(), many)
    for frame, some in framed(Checkpoint(2), many):
        stopped.send(child.fileno(), frame, some)
    got = read_all(parent, 3)
    assert [len(fds) for _, fds in got] == [0, count, count]
    for _, fds in got[1:]:
        assert memfd.read(fds[-1]) == b"last"
    parent.send(Warn("before"))
    parent.send(Warn("with"), got[1][1])
    assert child.receive() == (Warn("before"), [])
    message, fds = child.receive()
    assert message == Warn("with")
    assert (len(fds), memfd.read(fds[-1])) == (count, b"last")
    for one in (*got[1][1], *got[2][1], *fds):
        os.close(one)
    assert len(os.listdir("/proc/self/fd")) == before
    for one in many:
        os.close(one)


def test_fds_that_came_ahead_of_a_message_that_never_came_are_closed(pair: Pair) -> None:
    parent, child, _ = pair
    fds = [memfd.create(b"x") for _ in range(300)]
    frame, some = framed(Checkpoint(), fds)[0]
    stopped.send(child.fileno(), frame, some)
    poll = select.poll()
    poll.register(parent.fileno(), select.POLLIN)
    assert poll.poll(5000)
    before = len(os.listdir("/proc/self/fd"))
    assert parent.read() == []
    assert len(os.listdir("/proc/self/fd")) == before + 250
    parent.close()
    assert len(os.listdir("/proc/self/fd")) == before - 1
    for fd in fds:
        os.close(fd)
