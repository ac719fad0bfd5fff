"""Heads: what they say, and how one is changed before it is told to somebody else."""

from __future__ import annotations

import pytest
from hypothesis import assume, given, strategies

from livereload_core.framing.http1 import RequestHead, ResponseHead, with_header, without_header

WEBSOCKET = (
    b"GET /chat HTTP/1.1\r\nHost: x\r\nUpgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
)


def request(*fields: bytes, line: bytes = b"GET / HTTP/1.1") -> RequestHead:
    head = RequestHead.parse(b"\r\n".join([line, *fields, b"", b""]))
    assert head is not None
    return head


def response(*fields: bytes, line: bytes = b"HTTP/1.1 200 OK", method: bytes = b"GET") -> ResponseHead:
    head = ResponseHead.parse(b"\r\n".join([line, *fields, b"", b""]), method)
    assert head is not None
    return head


def test_a_request_head_tells_its_parts() -> None:
    head = request(b"Host: x", b"ACCEPT: a", b"accept:  b ", line=b"PATCH /a?b HTTP/1.0")
    assert (head.method, head.target, head.version) == (b"PATCH", b"/a?b", b"1.0")
    assert head.headers == [(b"host", b"x"), (b"accept", b"a"), (b"accept", b"b")]
    assert (head.header(b"Accept"), head.header(b"none")) == (b"a, b", None)


@pytest.mark.parametrize(
    ("line", "connection", "keeps"),
    [
        (b"GET / HTTP/1.1", b"", True),
        (b"GET / HTTP/1.1", b"Close", False),
        (b"GET / HTTP/1.1", b"keep-alive, close", False),
        (b"GET / HTTP/1.1", b"x-close", True),
        (b"GET / HTTP/1.0", b"", False),
        (b"GET / HTTP/1.0", b"Keep-Alive", True),
    ],
)
def test_who_keeps_a_connection_alive(line: bytes, connection: bytes, keeps: bool) -> None:
    assert request(b"Connection: " + connection, line=line).keep_alive is keeps
    answer = line.removeprefix(b"GET / ") + b" 200 OK"
    assert response(b"Content-Length: 0", b"Connection: " + connection, line=answer).keep_alive is keeps


def test_two_connection_fields_are_one_list() -> None:
    assert not request(b"Connection: upgrade", b"Connection: close").keep_alive


def test_a_request_for_websocket_is_known() -> None:
    head = RequestHead.parse(WEBSOCKET)
    assert head is not None
    assert head.wants_websocket
    for damage in (b"Upgrade: WebSocket", b"Connection: keep-alive, Upgrade"):
        other = RequestHead.parse(WEBSOCKET.replace(damage, b"X: y"))
        assert other is not None
        assert not other.wants_websocket
    posted = RequestHead.parse(WEBSOCKET.replace(b"GET", b"POST"))
    assert posted is not None
    assert not posted.wants_websocket


def test_a_client_that_waits_for_continue_is_known() -> None:
    assert request(b"Expect: 100-Continue", b"Content-Length: 3").expects_continue
    assert not request(b"Content-Length: 3").expects_continue


def test_what_ends_the_body_of_an_answer() -> None:
    assert response(b"Content-Length: 7").content_length == 7
    assert response(b"Content-Length: 7", b"Content-Length: 7, 7").content_length == 7
    chunked = response(b"Transfer-Encoding: chunked", b"Content-Length: 7")
    assert (chunked.chunked, chunked.content_length) == (True, 0)
    assert response(b"Transfer-Encoding: gzip").until_close
    until_close = response()
    assert (until_close.until_close, until_close.keep_alive) == (True, False)
    for status in (b"204 No Content", b"304 Not Modified", b"103 Early Hints", b"101 Switching"):
        empty = response(b"Content-Length: 7", line=b"HTTP/1.1 " + status)
        assert (empty.content_length, empty.until_close) == (0, False)
    assert response(b"Content-Length: 7", method=b"HEAD").content_length == 0
    assert not response(method=b"CONNECT").until_close


def test_an_answer_may_do_without_a_reason() -> None:
    assert response(b"Content-Length: 0", line=b"HTTP/1.1 299").status == 299
    assert response(line=b"HTTP/1.1 101 ").is_upgrade


def test_event_streams_are_known_with_parameters() -> None:
    assert response(b"Content-Type: Text/Event-Stream; charset=utf-8").is_event_stream
    assert not response(b"Content-Type: text/event-streams").is_event_stream


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1, 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 99 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: b\r\n",
        b"HTTP/1.1 200 OK\r\n\r\nmore",
        b"ICY 200 OK\r\n\r\n",
    ],
)
def test_an_answer_with_no_clear_end_is_none(raw: bytes) -> None:
    assert ResponseHead.parse(raw) is None


def test_all_lines_of_a_header_are_cut_out() -> None:
    raw = b"GET / HTTP/1.1\r\nSec-X: 1\r\n folded\r\n\tagain\r\nHost: x\nSEC-x : 2\nSec-XY: 3\r\n\r\n"
    assert without_header(raw, b"sec-x") == b"GET / HTTP/1.1\r\nHost: x\nSec-XY: 3\r\n\r\n"


def test_cutting_out_what_is_not_there_changes_nothing() -> None:
    assert without_header(WEBSOCKET, b"Sec-WebSocket-Extension") == WEBSOCKET
    assert b"deflate" not in without_header(WEBSOCKET, b"sec-websocket-extensions")


def test_the_start_line_is_no_header() -> None:
    raw = b"GET: / HTTP/1.1\r\nA: b\r\n\r\n"
    assert without_header(raw, b"GET") == raw


@pytest.mark.parametrize("end", [b"\r\n", b"\n"])
def test_a_header_is_set_in_place_of_others(end: bytes) -> None:
    raw = end.join([b"GET / HTTP/1.1", b"last-event-id: 1", b"Host: x", b"", b""])
    changed = RequestHead.parse(with_header(raw, b"Last-Event-ID", b"2"))
    assert changed is not None
    assert changed.headers == [(b"host", b"x"), (b"last-event-id", b"2")]


@given(strategies.binary(max_size=20))
def test_a_value_cannot_smuggle_a_header(value: bytes) -> None:
    raw = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
    if any(byte in value for byte in b"\r\n\0"):
        with pytest.raises(ValueError, match="no line break"):
            with_header(raw, b"A", value)
    else:
        assert with_header(raw, b"A", value).count(b"\n") == 4


@given(strategies.binary(max_size=60))
def test_garbage_is_no_head(noise: bytes) -> None:
    assume(b"HTTP/1." not in noise)  # a few bytes around that are a head: Hypothesis has found some
    assert RequestHead.parse(noise) is None
    assert ResponseHead.parse(noise) is None
