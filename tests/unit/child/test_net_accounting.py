"""What the books say about a connection while bytes go to and fro."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from livereload_core.child.accounting import Books, TrackedSocket

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Pair:
    """A tracked connection and the client at its other end."""

    def __init__(self, books: Books) -> None:
        self.client, plain = socket.socketpair()
        self.client.settimeout(20)
        self.server = TrackedSocket(plain.family, plain.type, plain.proto, fileno=plain.detach())
        books.enter(self.server)

    def ask(self, request: bytes = b"GET / HTTP/1.1\r\n\r\n") -> bytes:
        self.client.sendall(request)
        return self.server.recv(1000)

    def close(self) -> None:
        self.client.close()
        self.server.close()


@pytest.fixture
def books() -> Books:
    return Books()


@pytest.fixture
def pair(books: Books) -> Iterator[Pair]:
    pair = Pair(books)
    yield pair
    pair.close()


def test_a_request_is_in_flight_from_accept_to_the_last_byte_of_its_answer(books: Books, pair: Pair) -> None:
    assert books.in_flight() == 1
    pair.ask()
    assert books.in_flight() == 1
    for end in range(len(OK) - 1):
        pair.server.send(OK[end : end + 1])
    assert books.in_flight() == 1
    pair.server.sendall(memoryview(OK)[-1:])
    assert books.in_flight() == 0
    pair.ask()
    assert books.in_flight() == 1
    pair.server.close()
    assert books.in_flight() == len(books.connections()) == 0


def test_unread_bytes_count_before_the_program_sees_them(books: Books, pair: Pair) -> None:
    pair.ask()
    pair.server.sendall(OK)
    pair.client.sendall(b"GET /again HTTP/1.1\r\n\r\n")
    assert books.in_flight() == 1


def test_a_silent_new_connection_counts_for_a_moment_only(books: Books, pair: Pair) -> None:
    started = time.monotonic()
    assert books.wait_quiet(20) == 0
    assert 0.1 < time.monotonic() - started < 5


def test_a_client_that_leaves_without_a_word_is_owed_nothing(books: Books, pair: Pair) -> None:
    pair.client.close()
    assert pair.server.recv(1) == b""
    assert books.in_flight() == 0


def test_a_client_that_has_asked_and_half_closed_waits_for_its_answer(books: Books, pair: Pair) -> None:
    pair.ask()
    pair.client.shutdown(socket.SHUT_WR)
    assert pair.server.recv(1) == b""
    assert books.in_flight() == 1


def test_a_websocket_is_not_in_flight_whoever_spoke_last(books: Books, pair: Pair) -> None:
    pair.ask()
    pair.server.sendall(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
    pair.ask(b"\x81\x00")
    assert books.in_flight() == 0


def test_an_answer_to_head_is_whole_without_a_body(books: Books, pair: Pair) -> None:
    pair.ask(b"HEAD / HTTP/1.1\r\n\r\n")
    pair.server.sendall(OK[:-2])
    assert books.in_flight() == 0


def test_every_way_to_read_and_write_is_counted(books: Books, pair: Pair, tmp_path: Path) -> None:
    def read_by(name: str) -> None:
        pair.client.sendall(b"ping")
        if name == "recv_into":
            assert pair.server.recv_into(bytearray(4)) == 4
        elif name == "makefile":
            with pair.server.makefile("rb", 0) as file:
                assert file.read(4) == b"ping"
        else:
            assert getattr(pair.server, name)(4)[0] == b"ping"

    def write_by(name: str) -> None:
        if name == "makefile":
            with pair.server.makefile("wb") as file:
                file.write(OK)
        elif name == "sendmsg":
            pair.server.sendmsg([OK[:10], bytearray(OK[10:])])
        else:
            pair.server.sendall(OK[:-2])
            body = tmp_path / "body"
            body.write_bytes(b"ok")
            with body.open("rb") as file:
                pair.server.note_sendfile(os.sendfile(pair.server.fileno(), file.fileno(), 0, 2))

    for reading in ("recv_into", "recvfrom", "recvmsg", "makefile"):
        for writing in ("makefile", "sendmsg", "sendfile"):
            read_by(reading)
            assert books.in_flight() == 1, reading
            write_by(writing)
            assert books.in_flight() == 0, writing


def test_the_books_keep_no_hold_on_the_programs_buffers(books: Books, pair: Pair) -> None:
    pair.ask()
    buffer = bytearray(OK)
    pair.server.send(buffer)
    buffer.clear()  # a BufferError while anything exports it
    assert books.in_flight() == 0


def test_a_connection_that_is_open_through_makefile_is_counted_until_that_is_closed(
    books: Books, pair: Pair
) -> None:
    file = pair.server.makefile("rb")
    pair.server.close()
    assert len(books.connections()) == 1
    file.close()
    assert books.connections() == []


def test_a_detached_connection_and_a_duplicate_are_not_counted(books: Books, pair: Pair) -> None:
    with pair.server.dup() as duplicate:
        assert duplicate.gettimeout() == pair.server.gettimeout()
        assert len(books.connections()) == 1
        os.close(pair.server.detach())
        assert books.connections() == []
        duplicate.sendall(OK)
        assert pair.client.recv(100) == OK


def test_waiting_for_quiet_ends_with_the_answer_or_at_the_deadline(books: Books, pair: Pair) -> None:
    pair.ask()
    assert books.wait_quiet(0.02) == 1
    left: list[int] = []
    thread = threading.Thread(target=lambda: left.append(books.wait_quiet(20)))
    thread.start()
    wait_until_watched(books)
    pair.server.sendall(OK)
    thread.join(20)
    assert left == [0]


def wait_until_watched(books: Books) -> None:
    while not books.watched:
        os.sched_yield()


def test_requests_counted_by_adapters_are_waited_for(books: Books) -> None:
    books.count(+1)
    assert books.wait_quiet(0.01) == 1
    books.count(-1)
    assert books.wait_quiet(20) == 0


def test_the_first_answer_is_told_once(books: Books, pair: Pair) -> None:
    told: list[str] = []
    books.on_answer = lambda: told.append("answer")
    pair.ask()
    assert told == []
    pair.server.sendall(OK)
    pair.server.sendall(OK)
    books.count(+1)
    books.count(-1)
    assert told == ["answer"]
    assert not books.watched


def test_after_leaving_connections_end_once_they_are_idle(books: Books, pair: Pair) -> None:
    idle = Pair(books)
    idle.ask()
    idle.server.sendall(OK)
    pair.ask()
    pair.client.sendall(b"unread")
    books.leave()
    assert idle.server.recv(1) == b""  # what the program reads; it closes then
    assert pair.server.recv(100) == b"unread"
    pair.server.sendall(OK)
    assert pair.server.recv(1) == b""
    idle.close()
