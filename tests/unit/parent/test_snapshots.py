"""A held snapshot owns its fds: each is closed once, and places stay where they are."""

from __future__ import annotations

import os

from livereload_core.parent.snapshots import HeldSnapshot
from livereload_core.posix import memfd


def pipes(count: int) -> tuple[list[int], list[int]]:
    ends = [os.pipe() for _ in range(count)]
    return [reading for reading, _ in ends], [writing for _, writing in ends]


def is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def test_fds_are_closed_with_the_last_one_who_holds_the_snapshot() -> None:
    reading, writing = pipes(2)
    held = HeldSnapshot([memfd.create(b"x"), *writing], 3)
    older = held
    fds = held.fds
    del held
    assert older.serial == 3
    assert all(map(is_open, fds))
    del older
    assert not any(map(is_open, fds))
    for fd in reading:
        assert os.read(fd, 1) == b""
        os.close(fd)


def test_peer_of_what_is_dropped_hears_the_end_and_the_others_keep_their_places() -> None:
    reading, writing = pipes(3)
    held = HeldSnapshot([memfd.create(b"x"), *writing])
    held.drop([1, 7, -1])
    held.drop([1])
    assert os.read(reading[1], 1) == b""
    assert held.gone == (1,)
    assert held.fds[1:] == (writing[0], writing[2])
    reused = os.dup(reading[0])  # takes the number of the one that was closed
    del held
    assert is_open(reused), "each fd is closed once"
    for fd in (*reading, reused):
        os.close(fd)
