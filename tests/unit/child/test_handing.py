"""After the verdict: an old generation that is cut off, or one that goes on as if nothing had happened."""

from __future__ import annotations

import os
import select
import selectors
import socket
from pathlib import Path
from typing import Any

import pytest

from livereload_core.child.handing import Handing, Marks, spread
from livereload_core.posix import stopped
from livereload_core.state.descriptors import GONE, Handed, Outgoing
from tests.unit.state.carrying import census, send


def settled(handed: Handed, *, retire: bool) -> None:
    """Go through a standstill whose verdict comes over a socket."""
    ours, theirs = socket.socketpair()
    with ours, theirs, Marks(handed) as marks:
        theirs.send(b"retire" if retire else b"resume")
        stopped.hear(ours.fileno(), b"retire", marks.cuts)
        marks.settle(retire=retire)
    handed.close()


def test_what_the_old_code_does_to_what_it_handed_over_harms_nobody(tmp_path: Path) -> None:
    ours, theirs = socket.socketpair()
    log = (tmp_path / "log").open("w", encoding="utf-8")
    log.write("one\n")
    with theirs:
        carried = send([ours, log])
        new, new_log = carried.receive()[0]
        settled(carried.handed, retire=True)
        log.write("harm\n")
        log.close()
        with pytest.raises(BrokenPipeError):
            ours.send(b"harm")
        ours.close()
        with new, new_log:
            new_log.write("two\n")
            new.send(b"good")
            theirs.send(b"back")
            assert (theirs.recv(10), new.recv(10)) == (b"good", b"back")
        assert theirs.recv(10) == b""
    assert (tmp_path / "log").read_text() == "one\ntwo\n"


def test_resume_puts_position_and_flags_back_and_leaves_everything_open(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(bytes(range(100)))
    ours, theirs = socket.socketpair()
    with (tmp_path / "a").open("rb", buffering=0) as file, ours, theirs:
        file.read(10)
        before = census()
        carried = send([file, ours])
        new_file, new = carried.receive()[0]
        handed = carried.handed
        with Marks(handed) as marks:
            new_file.seek(70)
            new.setblocking(False)
            new_file.close()
            new.close()
            marks.settle(retire=False)
        handed.close()
        assert census() == before
        assert file.read(1) == b"\x0a"
        assert os.get_blocking(ours.fileno())
        theirs.send(b"x")
        assert ours.recv(1) == b"x"


def test_event_loop_of_the_old_code_hears_no_more_of_what_it_handed_over() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, selectors.EpollSelector() as selector, select.epoll() as other:
        selector.register(ours, selectors.EVENT_READ)
        other.register(ours.fileno(), select.EPOLLIN)
        carried = send(ours)
        new, _ = carried.receive()
        settled(carried.handed, retire=True)
        with new:
            theirs.send(b"x")
            assert selector.select(0) == []
            assert other.poll(0) == []
            assert new.recv(1) == b"x"


def test_listeners_are_left_to_those_who_part_with_listeners() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        carried = send(listener)
        settled(carried.handed, retire=True)
        with socket.create_connection(listener.getsockname()):
            listener.accept()[0].close()


def holding(fds: list[Any]) -> tuple[Handing, Handed]:
    handing = Handing()
    handed = Outgoing().hand_over([[fd.fileno() for fd in fds]])
    handing.sent(handing.next(), handed)
    return handing, handed


def test_what_the_program_closes_is_told_once() -> None:
    first, second = socket.socketpair()
    with second:
        handing, handed = holding([first, second])
        assert handing.closed() == (1, [])
        first.close()
        assert handing.closed() == (1, [0])
        assert handing.closed() == (1, [])
        handed.close()


def test_number_that_another_file_has_taken_counts_as_closed() -> None:
    first, second = socket.socketpair()
    with second:
        handing, handed = holding([first, second])
        number = first.fileno()
        first.close()
        taken = os.open(os.devnull, os.O_RDONLY)
        assert taken == number
        assert handing.closed() == (1, [0])
        os.close(taken)
        handed.close()


def test_state_that_was_taken_over_is_watched_by_what_it_has_become() -> None:
    first, second = socket.socketpair()
    third = second.dup()
    handing = Handing()
    handing.begin([[first.fileno()], [second.fileno(), third.fileno()], []])
    assert handing.closed() == (0, [2]), "nothing was made of the last one"
    second.close()
    assert handing.closed() == (0, [])
    third.close()
    first.close()
    assert handing.closed() == (0, [0, 1])


def test_what_was_opened_for_the_snapshot_alone_is_nobody_elses_to_close() -> None:
    handing = Handing()
    outgoing = Outgoing()
    outgoing.own("null", lambda: os.open(os.devnull, os.O_RDONLY))
    handed = outgoing.hand_over([outgoing.end()])
    assert handed.sources == [GONE]
    handing.sent(handing.next(), handed)
    assert handing.closed() == (1, [])
    handed.close()


def test_gone_places_are_marked_and_the_others_keep_theirs() -> None:
    assert spread([7, 8, 9], [0, 3]) == [GONE, 7, 8, GONE, 9]
    assert spread([], [0, 1]) == [GONE, GONE]
    assert spread([5], []) == [5]
