"""Frames: any cut of the byte stream gives the same messages back."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies

from livereload_core.errors import ProtocolViolationError
from livereload_core.wire import frames


@given(
    strategies.lists(
        strategies.tuples(strategies.binary(max_size=40), strategies.integers(0, 5)), max_size=6
    ),
    strategies.lists(strategies.integers(1, 30), max_size=40),
)
def test_frames_survive_any_cut_of_the_stream(messages: list[tuple[bytes, int]], cuts: list[int]) -> None:
    stream = b"".join(frames.encode_frame(payload, count) for payload, count in messages)
    decoder = frames.FrameDecoder()
    received: list[tuple[bytes, int]] = []
    for cut in [*cuts, len(stream) + 1]:
        received += decoder.feed(stream[:cut])
        stream = stream[cut:]
    assert received == messages
    assert not decoder.mid_frame


def test_a_truncated_frame_is_seen_as_such() -> None:
    decoder = frames.FrameDecoder()
    assert decoder.feed(frames.encode_frame(b"hello")[:-1]) == []
    assert decoder.mid_frame


@pytest.mark.parametrize(
    "noise",
    [
        b"GET / HTTP/1.1\r\n",
        b"lc\x09\x00\x00\x00\x00\x01x",
        b"lc\x01\x00\xff\xff\xff\xff",
        b"lc\x01\xff\x00\x00\x00\x00",
    ],
    ids=["foreign", "other version", "too long", "too many fds"],
)
def test_what_is_no_frame_is_refused(noise: bytes) -> None:
    with pytest.raises(ProtocolViolationError):
        frames.FrameDecoder().feed(noise)


def test_too_many_fds_are_refused_before_they_are_sent() -> None:
    with pytest.raises(ProtocolViolationError, match="at most 250"):
        frames.encode_frame(b"", frames.MAX_FDS + 1)
