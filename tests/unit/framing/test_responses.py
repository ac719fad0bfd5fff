"""Responses: where they begin, end, and can be continued, whatever the cuts, in agreement with h11."""

from __future__ import annotations

import h11
import pytest
from hypothesis import given, strategies

from livereload_core.framing.http1 import ResponseFramer, simple_response_complete
from tests.unit.framing.cutting import assert_cuts_do_not_matter, cut_lengths, few, pieces

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CHUNKED_HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
EVENTS_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
UNTIL_CLOSE = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Counting(ResponseFramer):
    """A framer that sums up how many bytes were HTTP's."""

    def __init__(self, *methods: bytes) -> None:
        super().__init__()
        self.taken = 0
        for method in methods:
            self.expect(method)

    def feed(self, data: bytes | bytearray | memoryview) -> int:
        taken = super().feed(data)
        self.taken += taken
        return taken


def state(framer: Counting) -> object:
    return (
        framer.taken,
        framer.finished,
        framer.interim,
        framer.begun,
        framer.mid,
        framer.head,
        framer.closes,
        framer.upgraded,
        framer.is_http,
        framer.at_boundary,
        framer.last_event_id,
        framer.at_event_boundary,
    )


def fed(*chunks: bytes, methods: tuple[bytes, ...] = ()) -> Counting:
    framer = Counting(*methods)
    for chunk in chunks:
        framer.feed(chunk)
    return framer


def chunk(payload: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(payload), payload)


@strategies.composite
def exchanges(draw: strategies.DrawFn) -> tuple[bytes, bytes]:
    """A method, and an answer to it that every client understands."""
    method = draw(strategies.sampled_from([b"GET", b"HEAD", b"POST"]))
    interim = draw(strategies.sampled_from([b"", b"", CONTINUE, b"HTTP/1.1 103 Hints\r\nLink: a\r\n\r\n"]))
    status = draw(strategies.sampled_from([b"200 OK", b"204 No Content", b"304 Not Modified", b"500 Oh"]))
    fields = draw(
        strategies.lists(strategies.sampled_from([b"Date: today", b"x:", b"Content-Type: a/b"]), max_size=2)
    )
    bodyless = method == b"HEAD" or status[:3] in (b"204", b"304")
    payload = draw(strategies.sampled_from([b"", b"x", b"\r\n\r\n", OK, b"0\r\n\r\n"]))
    if draw(strategies.booleans()) and status[:3] != b"204":
        fields.append(b"Transfer-Encoding: chunked")
        body = (chunk(payload) * draw(strategies.integers(0, 2)) if payload else b"") + b"0\r\nT: r\r\n\r\n"
    else:
        fields.append(b"Content-Length: %d" % len(payload))
        body = payload
    head = b"\r\n".join([b"HTTP/1.1 " + status, *fields, b"", b""])
    return method, interim + head + (b"" if bodyless else body)


conversations = strategies.lists(exchanges(), max_size=4)
endings = strategies.sampled_from([b"", SWITCH + b"\x81\x02hi", UNTIL_CLOSE + b"id: 1\n\nid", OK[:-1]])
event_text = strategies.lists(
    strategies.sampled_from(
        [
            *(b"id: 7", b"id:8", b"id", b"id: \0", b"ix: 9", b"data: a", b": c"),
            *(b"\n", b"\r", b"\r\n", b"\n\n", b"\xef\xbb\xbf", b"i", b"d", b":"),
        ]
    ),
    max_size=10,
)


def h11_counts(methods: list[bytes], chunks: list[bytes]) -> list[int]:
    """How many final responses h11 has seen whole after each chunk."""
    connection = h11.Connection(h11.CLIENT)
    waiting = list(methods)

    def ask() -> None:
        if waiting:
            connection.send(
                h11.Request(
                    method=waiting.pop(0),
                    target=b"/",
                    headers=[(b"Host", b"x"), (b"Expect", b"100-continue")],
                )
            )
            connection.send(h11.EndOfMessage())

    ask()
    counts, finished = [], 0
    for piece in chunks:
        connection.receive_data(piece)
        while True:
            event = connection.next_event()
            if isinstance(event, h11.EndOfMessage):
                finished += 1
                connection.start_next_cycle()
                ask()
                if connection.our_state is h11.IDLE:
                    break
            elif event in (h11.NEED_DATA, h11.PAUSED):
                break
        counts.append(finished)
    return counts


@few
@given(conversations, endings, cut_lengths)
def test_cuts_do_not_matter(
    conversation: list[tuple[bytes, bytes]], ending: bytes, lengths: list[int]
) -> None:
    methods = [method for method, _ in conversation]
    stream = b"".join(answer for _, answer in conversation) + ending
    assert_cuts_do_not_matter(stream, lengths, lambda: Counting(*methods), state)


@few
@given(event_text, strategies.booleans(), cut_lengths)
def test_cuts_of_an_event_stream_do_not_matter(text: list[bytes], chunked: bool, lengths: list[int]) -> None:
    body = b"".join(map(chunk, text)) if chunked else b"".join(text)
    stream = (EVENTS_HEAD if chunked else UNTIL_CLOSE) + body
    assert_cuts_do_not_matter(stream, lengths, Counting, state)


@few
@given(conversations, strategies.data(), cut_lengths)
def test_garbage_never_raises_and_is_judged_alike_in_all_pieces(
    conversation: list[tuple[bytes, bytes]], data: strategies.DataObject, lengths: list[int]
) -> None:
    stream = b"".join(answer for _, answer in conversation)
    at = data.draw(strategies.integers(0, len(stream)))
    noise = data.draw(strategies.binary(max_size=4))
    stream = stream[:at] + noise + stream[at + data.draw(strategies.integers(0, 4)) :]
    assert_cuts_do_not_matter(stream, lengths, Counting, state)


@few
@given(conversations, cut_lengths)
def test_h11_sees_the_same_answers_end_at_the_same_bytes(
    conversation: list[tuple[bytes, bytes]], lengths: list[int]
) -> None:
    methods = [method for method, _ in conversation]
    chunks = list(pieces(b"".join(answer for _, answer in conversation), lengths))
    framer = Counting(*methods)
    counts = []
    for piece in chunks:
        framer.feed(piece)
        counts.append(framer.finished)
    assert counts == h11_counts(methods, chunks)
    assert framer.finished == len(methods)
    assert (framer.is_http, framer.mid, framer.at_boundary) == (True, False, True)


@given(exchanges())
def test_the_cheap_judgement_agrees_with_the_framer(exchange: tuple[bytes, bytes]) -> None:
    method, answer = exchange
    for end in range(len(answer) + 1):
        judgement = simple_response_complete(answer[:end])
        framer = fed(answer[:end], methods=(method,))
        if judgement is not None and method != b"HEAD":
            assert judgement is (framer.finished == 1 and not framer.mid and not framer.closes)


@pytest.mark.parametrize(
    ("data", "judgement"),
    [
        (OK, True),
        (OK[:-1], False),
        (OK + b"x", None),
        (OK[:-2], None),
        (OK[:20], None),
        (b"", None),
        (OK.replace(b"\r\n\r\n", b"\r\nConnection: keep-alive\r\n\r\n"), True),
        (OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"), False),
        (OK.replace(b"1.1", b"1.0"), False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", True),
        (b"HTTP/1.1 204 No Content\r\n\r\n", None),
        (CHUNKED_HEAD + b"0\r\n\r\n", None),
        (UNTIL_CLOSE, None),
        (SWITCH, None),
        (CONTINUE + OK, None),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\n\nok\r\n\r\n", None),
        (b"\x16\x03\x01\r\n\r\n", None),
    ],
)
def test_the_cheap_judgement(data: bytes, judgement: bool | None) -> None:
    assert simple_response_complete(data) is judgement


def test_the_answer_to_head_has_no_body() -> None:
    framer = fed(OK[:-2], OK, methods=(b"HEAD", b"GET"))
    assert (framer.finished, framer.mid) == (2, False)
    framer = fed(OK, OK[:-2], OK, methods=(b"GET", b"HEAD", b"GET"))
    assert (framer.finished, framer.mid, framer.is_http) == (3, False, True)


def test_a_known_head_that_answers_head_is_not_followed_by_its_body() -> None:
    framer = fed(OK, OK[:-2] + OK[:2], OK[2:], methods=(b"GET", b"HEAD", b"GET"))
    assert (framer.finished, framer.mid, framer.is_http) == (3, False, True)
    framer = fed(OK[:-2], OK[:-2], methods=(b"HEAD", b"GET"))
    assert (framer.finished, framer.mid) == (1, True)


def test_the_same_answer_again_is_another_one() -> None:
    framer = fed(OK, OK, OK.replace(b"ok", b"no"), methods=(b"GET", b"GET", b"GET"))
    assert (framer.finished, framer.begun, framer.taken) == (3, 3, 3 * len(OK))


def test_an_answer_that_nobody_asked_for_is_counted() -> None:
    assert fed(b"HTTP/1.1 408 Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n").closes


def test_interim_answers_are_not_final() -> None:
    framer = fed(CONTINUE, methods=(b"HEAD",))
    assert (framer.interim, framer.finished, framer.begun, framer.at_boundary) == (1, 0, 0, True)
    framer.feed(OK[:-2])
    assert framer.finished == 1


def test_what_follows_an_upgrade_is_not_http() -> None:
    framer = fed(methods=(b"GET",))
    assert framer.feed(SWITCH + b"\x81\x02hi") == len(SWITCH)
    assert (framer.upgraded, framer.finished, framer.closes) == (True, 1, False)
    assert framer.feed(OK) == 0
    assert framer.finished == 1


def test_a_tunnel_is_an_upgrade() -> None:
    framer = fed(methods=(b"CONNECT",))
    assert framer.feed(b"HTTP/1.1 200 Fine\r\n\r\nOK") == 21
    assert framer.upgraded


@pytest.mark.parametrize(
    "stream",
    [
        OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"),
        OK.replace(b"1.1", b"1.0"),
        UNTIL_CLOSE,
        b"HTTP/1.1 204 No Content\r\nConnection: Close\r\n\r\n",
    ],
)
def test_an_answer_can_end_the_connection(stream: bytes) -> None:
    assert fed(stream).closes


def test_old_clients_keep_alive_too() -> None:
    assert not fed(
        OK.replace(b"1.1", b"1.0").replace(b"\r\n\r\n", b"\r\nConnection: keep-alive\r\n\r\n")
    ).closes


def test_a_chunked_body_can_be_continued_between_chunks_alone() -> None:
    framer = fed(CHUNKED_HEAD)
    assert framer.at_boundary
    for byte in chunk(b"abc")[:-1]:
        framer.feed(bytes([byte]))
        assert not framer.at_boundary
    framer.feed(b"\n")
    assert (framer.at_boundary, framer.mid) == (True, True)
    for byte in b"0\r\nTrailer: a\r\n\r":
        framer.feed(bytes([byte]))
        assert not framer.at_boundary
    framer.feed(b"\n")
    assert (framer.at_boundary, framer.finished) == (True, 1)


def test_a_body_until_close_can_be_continued_anywhere() -> None:
    framer = fed(b"HTTP/1.1 200 OK\r\n\r\nab")
    assert (framer.at_boundary, framer.mid, framer.finished) == (True, True, 0)
    assert not framer.at_event_boundary


def test_a_body_of_known_length_cannot_be_continued() -> None:
    assert not fed(OK[:-1]).at_boundary


def test_events_are_followed_over_chunks() -> None:
    framer = fed(EVENTS_HEAD)
    assert (framer.at_event_boundary, framer.last_event_id) == (True, None)
    framer.feed(chunk(b"id: 1\nda") + chunk(b"ta: x\n"))
    assert (framer.at_event_boundary, framer.last_event_id, framer.at_boundary) == (False, None, True)
    framer.feed(chunk(b"\n"))
    assert (framer.at_event_boundary, framer.last_event_id) == (True, b"1")


def test_events_of_known_length_are_followed() -> None:
    body = b"id: 1\n\n"
    framer = fed(UNTIL_CLOSE.replace(b"\r\n\r\n", b"\r\nContent-Length: %d\r\n\r\n" % len(body)) + body[:3])
    assert not framer.at_event_boundary
    framer.feed(body[3:5])
    framer.feed(body[5:])
    assert (framer.last_event_id, framer.finished) == (b"1", 1)


def test_compressed_events_are_not_guessed_at() -> None:
    framer = fed(UNTIL_CLOSE.replace(b"\r\n\r\n", b"\r\nContent-Encoding: gzip\r\n\r\n") + b"id: 1\n\n")
    assert (framer.at_event_boundary, framer.last_event_id, framer.at_boundary) == (False, None, True)


@pytest.mark.parametrize(
    "stream",
    [
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/2 200\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n folded: 1\r\n\r\n",
        CHUNKED_HEAD + b"x\r\n",
        CHUNKED_HEAD + b"1\n",
        CHUNKED_HEAD + b"1\r\nab",
        OK + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: " + b"b" * 70_000,
    ],
)
def test_what_is_no_clear_answer_ends_the_judgement_for_good(stream: bytes) -> None:
    framer = fed(stream)
    assert (framer.is_http, framer.at_boundary, framer.mid) == (False, False, False)
    finished = framer.finished
    assert framer.feed(OK) == len(OK)
    assert (framer.is_http, framer.finished) == (False, finished)


def test_buffers_of_other_types_are_taken() -> None:
    framer = fed(OK)
    framer.feed(memoryview(OK))
    framer.feed(bytearray(OK[:-1]))
    framer.feed(memoryview(OK[-1:]))
    framer.feed(memoryview(CHUNKED_HEAD))
    framer.feed(bytearray(b"0\r\n\r\n" + OK))
    assert (framer.finished, framer.is_http) == (5, True)
