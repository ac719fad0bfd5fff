"""Chunked bodies: their limits, which keep a stream without line ends from growing in memory."""

from __future__ import annotations

import pytest

from livereload_core.framing.chunks import ChunkedBody


class Collector:
    def __init__(self) -> None:
        self.payload = b""

    def feed(self, data: bytes, start: int, end: int) -> None:
        self.payload += data[start:end]


@pytest.mark.parametrize("step", [1, 2, 3, 7, 100])
def test_payload_reaches_the_sink_without_its_framing(step: int) -> None:
    stream = b"3\r\nabc\r\nA;x=y\r\n0123456789\r\n1 \r\n\n\r\n0\r\n\r\n"
    body, sink = ChunkedBody(), Collector()
    for at in range(0, len(stream), step):
        assert body.feed(stream[at : at + step], 0, sink) == len(stream[at : at + step])
    assert (sink.payload, body.over, body.broken, body.between) == (b"abc0123456789\n", True, False, False)


def test_the_end_is_where_the_next_message_begins() -> None:
    assert ChunkedBody().feed(b"..1\r\na\r\n0\r\n\r\nHTTP/1.1", 2) == 13


@pytest.mark.parametrize("step", [1000, 200_000])
@pytest.mark.parametrize(
    "stream",
    [
        b"1;" + b"x" * 70_000,
        b"1;" + b"x" * 70_000 + b"\r\n",
        b"0\r\nA: " + b"x" * 70_000,
        b"0\r\n" + b"A: bbb\r\n" * 10_000,
        b"1" * 17 + b"\r\n",
    ],
)
def test_what_has_no_measure_is_broken(stream: bytes, step: int) -> None:
    body = ChunkedBody()
    for at in range(0, len(stream), step):
        body.feed(stream[at : at + step], 0)
    assert body.broken
    assert body.over
    assert not body.between
