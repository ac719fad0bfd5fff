"""Event streams: ids and blank lines as the HTML standard reads them."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, strategies

from livereload_core.framing.eventstream import EventScanner
from tests.unit.framing.cutting import cut_lengths, pieces

texts = strategies.lists(
    strategies.sampled_from(
        [
            *(b"id: 7", b"id:8", b"id", b"id: \0", b"id:  x", b"ix: 9", b"data: a", b": c"),
            *(b"\n", b"\r", b"\r\n", b"\n\n", b"\xef\xbb\xbf", b"i", b"d", b":"),
        ]
    ),
    max_size=12,
).map(b"".join)


def scanned(*parts: bytes) -> EventScanner:
    scanner = EventScanner()
    for part in parts:
        scanner.feed(part, 0, len(part))
    return scanner


def plain_reading(text: bytes) -> bytes | None:
    """The standard's algorithm on a whole text, in its words."""
    last, buffer = None, None
    *lines, _ = re.split(rb"\r\n|\n|\r", text.removeprefix(b"\xef\xbb\xbf"))
    for line in lines:
        if not line:
            last = buffer
        elif line == b"id":
            buffer = b""
        elif line.startswith(b"id:") and b"\0" not in line:
            buffer = line[4:] if line.startswith(b"id: ") else line[3:]
    return last


@given(texts, cut_lengths)
def test_the_last_id_is_the_one_that_the_standard_names(text: bytes, lengths: list[int]) -> None:
    for end in range(len(text) + 1):
        assert scanned(text[:end]).last_event_id == plain_reading(text[:end])
    assert scanned(*[text[at : at + 1] for at in range(len(text))]).last_event_id == plain_reading(text)
    assert scanned(*pieces(text, lengths)).last_event_id == plain_reading(text)


@pytest.mark.parametrize(
    ("parts", "last"),
    [
        ([b"data: a\n\nid: 7", b"8\n\n"], b"78"),
        ([b"data: a\n\ni", b"d: 7\n\n"], b"7"),
        ([b"\n", b"data: a\rid: 7\n\n"], b"7"),
        ([b"\n", b"data: a\nid: 7\n\n"], b"7"),
        ([b"\n", b"id: 7\n", b"data: a\n\n"], b"7"),
        ([b"\n", b"id: 7\n\n", b"data: id: 8\n\n"], b"7"),
        ([b"\xef\xbb\xbfid: 7\n\n"], b"7"),
        ([b"\xef", b"\xbb", b"\xbfid: 7\n\n"], b"7"),
        ([b"\n", b"\xef\xbb\xbfid: 7\n\n"], None),
    ],
)
def test_whole_events_are_looked_through_for_ids(parts: list[bytes], last: bytes | None) -> None:
    scanner = scanned(*parts)
    assert (scanner.last_event_id, scanner.at_event_boundary) == (last, True)


@pytest.mark.parametrize(
    ("text", "boundary"),
    [
        (b"", True),
        (b"data: x\n\n", True),
        (b"data: x\r\n\r\n", True),
        (b"data: x\r\r", True),
        (b"data: x\r\n\r", True),
        (b"\n", True),
        (b"data: x\n", False),
        (b"data: x\r\n", False),
        (b"data: x", False),
        (b"\n\n:", False),
        (b"\xef\xbb", False),
    ],
)
def test_an_event_ends_with_a_blank_line(text: bytes, boundary: bool) -> None:
    assert scanned(text).at_event_boundary is boundary
    assert scanned(*[text[at : at + 1] for at in range(len(text))]).at_event_boundary is boundary


def test_a_long_line_is_not_kept_and_names_no_id() -> None:
    for line in (b"id: " + b"x" * 9000 + b"\n\n", b"data: " + b"x" * 9000 + b"\nid: 1\n\n"):
        expected = b"1" if line.startswith(b"data") else None
        assert scanned(line).last_event_id == expected
        assert scanned(line[:5000], line[5000:]).last_event_id == expected
        assert scanned(line[:8999], line[8999:]).last_event_id == expected


def test_a_part_of_a_buffer_is_read_alone() -> None:
    scanner = EventScanner()
    scanner.feed(b"id: 1\n\nid: 2\n\n", 0, 7)
    assert scanner.last_event_id == b"1"
    scanner.feed(b"id: 3\n\n", 4, 4)
    assert (scanner.last_event_id, scanner.at_event_boundary) == (b"1", True)
