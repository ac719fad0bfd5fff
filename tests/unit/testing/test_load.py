"""A load that saw no outage would make every end-to-end test worthless: here it is shown outages."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from livereload_core.testing import Load, ask_http, ask_line, free_port
from livereload_core.testing.load import parse_http

Serve = Callable[[socket.socket, int], None]


@contextmanager
def _server(serve: Serve) -> Iterator[int]:
    """Give each connection, with its number from 1, to ``serve``, one after the other."""
    listener = socket.create_server(("127.0.0.1", free_port()), backlog=256)

    def run() -> None:
        number = 0
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            number += 1
            with client:
                client.recv(65536)
                serve(client, number)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        # close() alone does not wake a thread that waits in accept.
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(10)


def _answer(client: socket.socket, status: str = "200 OK", **fields: object) -> None:
    body = json.dumps(fields).encode()
    client.sendall(f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)


def _good(client: socket.socket, number: int) -> None:
    _answer(client, version="1", count=number)


def test_good_answers_are_flawless_and_exact() -> None:
    with _server(_good) as port, Load(port) as load:
        load.more(30)
    load.assert_flawless()
    load.assert_exact()
    assert load.versions == {"1": load.answers}


def test_refused_connection_is_a_failure() -> None:
    with Load(free_port()) as load:
        load.more(5)
    assert {failed.kind for failed in load.failures} == {"refused"}
    with pytest.raises(AssertionError, match="refused"):
        load.assert_flawless()


def _closes(client: socket.socket, number: int) -> None:
    """Say nothing and close."""


def _resets(client: socket.socket, number: int) -> None:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


def _says_503(client: socket.socket, number: int) -> None:
    _answer(client, "503 Service Unavailable")


def _cuts(client: socket.socket, number: int) -> None:
    client.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n{"count"')


@pytest.mark.parametrize(
    ("serve", "kind"), [(_closes, "reset"), (_resets, "reset"), (_says_503, "status 503"), (_cuts, "garbled")]
)
def test_every_bad_answer_is_a_failure_of_its_kind(serve: Serve, kind: str) -> None:
    with _server(serve) as port, Load(port) as load:
        load.more(5)
    assert {failed.kind for failed in load.failures} == {kind}


def test_server_that_is_silent_is_a_timeout() -> None:
    release = threading.Event()

    def serve(client: socket.socket, number: int) -> None:
        release.wait(10)

    with _server(serve) as port:
        with Load(port, rate=50, timeout=0.2) as load:
            load.more(3)
        release.set()
    assert {failed.kind for failed in load.failures} == {"timeout"}


@pytest.mark.parametrize("doctored", [lambda number: min(number, 10), lambda number: number + (number > 10)])
def test_count_that_is_lost_or_skipped_is_not_exact(doctored: Callable[[int], int]) -> None:
    def serve(client: socket.socket, number: int) -> None:
        _answer(client, version="1", count=doctored(number))

    with _server(serve) as port, Load(port) as load:
        load.more(30)
    load.assert_flawless()
    with pytest.raises(AssertionError, match="not exact"):
        load.assert_exact()


def test_single_question_gets_status_headers_and_body() -> None:
    with _server(_good) as port:
        answer = ask_http(port)
    assert (answer.status, answer.json()) == (200, {"version": "1", "count": 1})


def test_line_is_answered_by_a_line() -> None:
    with _server(lambda client, number: client.sendall(b'{"count": 3}\n')) as port:
        assert ask_line(port, "hit").json() == {"count": 3}


def test_chunked_answer_is_put_together() -> None:
    raw = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    assert parse_http(raw).body == b"abcde"


@pytest.mark.parametrize("cut", range(1, 70, 7))
def test_chunked_answer_that_ends_before_its_time_is_garbled(cut: int) -> None:
    raw = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    with pytest.raises(ValueError):
        parse_http(raw[: min(cut, len(raw) - 6)])
