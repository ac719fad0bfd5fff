"""Requests: where they begin and end, whatever the cuts, in agreement with h11."""

from __future__ import annotations

import h11
import pytest
from hypothesis import given, strategies

from livereload_core.framing.http1 import RequestFramer
from livereload_core.framing.requests import MAX_HEADS
from tests.unit.framing.cutting import assert_cuts_do_not_matter, cut_lengths, few, pieces

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST /form HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = (
    b"PUT /up HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    b'3;name="value"\r\nabc\r\n0A \r\n0123456789\r\n0;last\r\nTrailer: 1\r\n\r\n'
)


def state(framer: RequestFramer) -> object:
    return (
        framer.finished,
        framer.begun,
        framer.partial,
        framer.head_complete,
        list(framer.heads),
        framer.is_http,
        framer.is_http2,
        framer.undecided,
    )


def fed(*chunks: bytes, limit: int = 64 * 1024) -> RequestFramer:
    framer = RequestFramer(limit)
    for chunk in chunks:
        framer.feed(chunk)
    return framer


@strategies.composite
def requests(draw: strategies.DrawFn) -> bytes:
    """A request that every server understands."""
    method = draw(strategies.sampled_from([b"GET", b"POST", b"DELETE", b"OPTIONS"]))
    end = draw(strategies.sampled_from([b"\r\n", b"\n"]))
    fields = draw(
        strategies.lists(
            strategies.sampled_from([b"Accept: */*", b"X-Empty:", b"CONNECTION: Keep-Alive", b"x:\t b  "]),
            max_size=3,
        )
    )
    body = b""
    kind = draw(strategies.sampled_from(["none", "length", "chunked"]))
    payload = draw(strategies.sampled_from([b"", b"x", b"\r\n\r\n", b"GET / HTTP/1.1\n\n", b"0\r\n\r\n"]))
    if kind == "length":
        fields.append(b"content-length: %d" % len(payload))
        body = payload
    elif kind == "chunked":
        fields.append(b"Transfer-Encoding: Chunked")
        parts = [payload, *draw(strategies.lists(strategies.binary(min_size=1, max_size=4), max_size=2))]
        body = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts if part)
        body += draw(strategies.sampled_from([b"0\r\n\r\n", b"0;a=b\r\nT: r\r\n\r\n", b"00\r\n\r\n"]))
    head = end.join([b"%b /p?q=%%20 HTTP/1.1" % method, b"Host: x", *fields, b"", b""])
    return head + body


streams = strategies.lists(requests(), max_size=4).map(b"".join)


@strategies.composite
def damaged(draw: strategies.DrawFn) -> bytes:
    """A stream of requests with some bytes replaced."""
    stream = draw(streams)
    at = draw(strategies.integers(0, len(stream)))
    gone = draw(strategies.integers(0, 4))
    noise = draw(
        strategies.one_of(
            strategies.binary(max_size=3), strategies.sampled_from([b"\r", b"\n", b"\r\n", b" ", b":", b"\0"])
        )
    )
    return stream[:at] + noise + stream[at + gone :]


def h11_counts(chunks: list[bytes]) -> list[int] | None:
    """How many requests h11 has seen whole after each chunk; None when it refuses the stream."""
    connection = h11.Connection(h11.SERVER)
    counts, finished = [], 0
    for chunk in chunks:
        try:
            connection.receive_data(chunk)
            while True:
                event = connection.next_event()
                if isinstance(event, h11.EndOfMessage):
                    finished += 1
                    connection.send(h11.Response(status_code=204, headers=[]))
                    connection.send(h11.EndOfMessage())
                    if connection.our_state is not h11.DONE:
                        return None
                    connection.start_next_cycle()
                elif event in (h11.NEED_DATA, h11.PAUSED):
                    break
        except h11.RemoteProtocolError:
            return None
        counts.append(finished)
    return counts


@few
@given(streams, cut_lengths)
def test_cuts_do_not_matter(stream: bytes, lengths: list[int]) -> None:
    assert_cuts_do_not_matter(stream, lengths, RequestFramer, state)


@few
@given(strategies.one_of(damaged(), strategies.binary(max_size=80)), cut_lengths)
def test_garbage_never_raises_and_is_judged_alike_in_all_pieces(stream: bytes, lengths: list[int]) -> None:
    assert_cuts_do_not_matter(stream, lengths, RequestFramer, state)


@few
@given(streams, cut_lengths)
def test_h11_sees_the_same_requests_end_at_the_same_bytes(stream: bytes, lengths: list[int]) -> None:
    chunks = list(pieces(stream, lengths))
    framer = RequestFramer()
    counts = []
    for chunk in chunks:
        framer.feed(chunk)
        counts.append(framer.finished)
    assert counts == h11_counts(chunks)


@few
@given(damaged())
def test_where_h11_takes_a_strange_stream_the_framer_agrees_or_gives_up(stream: bytes) -> None:
    framer = fed(stream)
    counts = h11_counts([stream] if stream else [])
    if counts and framer.is_http:
        assert counts[-1] == framer.finished


@few
@given(streams, strategies.integers(0, 400))
def test_the_partial_request_and_the_rest_make_the_remaining_requests(stream: bytes, cut: int) -> None:
    framer = fed(stream[:cut])
    partial = framer.partial
    assert partial is not None
    successor = fed(partial + stream[cut:])
    assert framer.finished + successor.finished == fed(stream).finished


def test_pipelined_requests_are_several_finished_ones() -> None:
    framer = fed(GET + POST + CHUNKED + GET)
    assert (framer.finished, framer.begun, framer.partial) == (4, 4, b"")
    assert [head.method for head in framer.heads] == [b"GET", b"POST", b"PUT", b"GET"]


def test_a_request_in_progress_is_kept_as_it_came() -> None:
    framer = fed(GET + POST[:-2])
    assert (framer.finished, framer.begun, framer.partial) == (1, 2, POST[:-2])
    assert framer.head_complete
    framer.feed(POST[-2:])
    assert (framer.finished, framer.partial, framer.head_complete) == (2, b"", False)


def test_a_head_in_progress_has_no_head_yet() -> None:
    framer = fed(GET[:-1])
    assert (framer.begun, framer.head_complete, list(framer.heads)) == (1, False, [])


def test_a_request_beyond_the_limit_is_counted_but_cannot_be_replayed() -> None:
    head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n"
    framer = fed(head, limit=100)
    assert (framer.begun, framer.partial) == (1, None)
    for _ in range(99):
        framer.feed(b"x")
    assert (framer.finished, framer.begun) == (0, 1)
    framer.feed(b"x" + GET[:5])
    assert (framer.finished, framer.partial) == (1, GET[:5])


def test_a_chunked_request_beyond_the_limit_is_counted_to_its_end() -> None:
    framer = fed(CHUNKED[:-1], limit=30)
    assert (framer.begun, framer.partial) == (1, None)
    framer.feed(CHUNKED[-1:])
    assert (framer.finished, framer.partial) == (1, b"")


def test_empty_lines_between_requests_begin_nothing() -> None:
    framer = fed(b"\r\n\r\n" + GET + b"\r\n")
    assert (framer.finished, framer.begun, framer.partial) == (1, 1, b"")


def test_the_same_request_again_is_another_one() -> None:
    framer = fed(GET, GET, GET)
    assert (framer.finished, len(framer.heads)) == (3, 3)


def test_the_same_head_again_has_its_body_again() -> None:
    for whole in (POST, CHUNKED):
        head = whole[: whole.index(b"\r\n\r\n") + 4]
        framer = fed(whole, head)
        assert (framer.finished, framer.begun, framer.head_complete) == (1, 2, True)
        framer.feed(whole[len(head) :])
        assert (framer.finished, framer.partial) == (2, b"")


def test_buffers_of_other_types_are_taken() -> None:
    framer = RequestFramer()
    framer.feed(bytearray(POST[:60]))
    framer.feed(memoryview(POST)[60:])
    framer.feed(memoryview(GET))
    assert framer.finished == 2


@pytest.mark.parametrize(
    "stream",
    [
        b"\x16\x03\x01\x02\x00",
        b"*1\r\n$4\r\nPING\r\n",
        b"hello\r\n",
        b"GET /\r\n",
        b"GET  / HTTP/1.1\r\n",
        b"GET / HTTP/2.0\r\n",
        b"GET / HTTPS",
        b"G" * 40,
        b"GET / HTTP/1.1\r\nA : b\r\n\r\n",
        b"GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n",
        b"GET / HTTP/1.1\r\nA: b\rContent-Length: 5\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: +5\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nno colon\r\n",
        b"GET /" + b"a" * 70_000,
    ],
)
def test_what_is_no_clear_request_ends_the_judgement_for_good(stream: bytes) -> None:
    framer = fed(stream)
    assert (framer.is_http, framer.is_http2, framer.undecided) == (False, False, False)
    finished = framer.finished
    framer.feed(GET)
    assert (framer.is_http, framer.finished) == (False, finished)


def test_the_preface_of_http2_is_known_in_any_pieces() -> None:
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    for cut in range(1, len(preface)):
        framer = fed(preface[:cut], preface[cut:])
        assert (framer.is_http, framer.is_http2, framer.undecided) == (False, True, False)
    assert fed(GET + preface).is_http2 is False


def test_too_few_bytes_leave_it_undecided() -> None:
    assert fed(b"").undecided
    assert fed(b"GET / HTTP/1.").undecided
    assert fed(b"PRI * HTTP/").undecided
    assert not fed(b"GET / HTTP/1.1\r\nHo").undecided


def test_bytes_that_come_too_early_after_an_upgrade_are_kept() -> None:
    framer = fed(GET, b"\x81\x85abcd")
    framer.feed(b"efghi")
    assert (framer.is_http, framer.partial) == (False, b"\x81\x85abcdefghi")


def test_a_foreign_stream_is_not_kept_for_ever() -> None:
    framer = fed(b"\x16" * 60, b"\x16" * 60, b"\x16" * 60, limit=100)
    assert framer.partial is None


def test_a_client_that_pipelines_without_measure_is_given_up() -> None:
    framer = fed(GET * MAX_HEADS)
    assert (framer.is_http, len(framer.heads)) == (True, MAX_HEADS)
    framer.feed(GET)
    assert (framer.is_http, len(framer.heads)) == (False, MAX_HEADS)
