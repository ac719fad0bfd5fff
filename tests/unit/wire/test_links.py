"""The table of connections, and what the parent is told of each."""

from __future__ import annotations

import dataclasses

import pytest

from livereload_core.errors import ProtocolViolationError
from livereload_core.wire.links import Kind, Link, from_json, pack, to_json, unpack

SESSION = Link(
    7,
    Kind.WEBSOCKET,
    ("127.0.0.1", 80),
    request=b"GET / HTTP/1.1\r\n\r\n",
    response=b"HTTP/1.1 101 \xff\r\n\r\n",
    inbound=b"\x81\x80in",
    outbound=b"out\x00",
    prologue=b"\x81\x8240",
    answers=b"\x81\x01\xfe",
    policy="drain",
    generation=3,
    mark=4097,
)
LINKS = (
    SESSION,
    Link(8, Kind.RAW, "/run/a socket", inbound=b"half a l"),
    Link(9, Kind.HTTP, ("::1", 80, 0, 0)),
)


def test_table_gives_back_what_was_put_in() -> None:
    assert unpack(pack(LINKS)) == {link.number: link for link in LINKS}


def test_what_is_on_its_way_is_left_out_of_what_the_parent_is_told() -> None:
    for link in LINKS:
        told = from_json(link.number, to_json(link))
        assert told == dataclasses.replace(link, inbound=b"", outbound=b"", event_id=b"")


@pytest.mark.parametrize("length", [0, 4, 11, 40, -1])
def test_table_that_was_cut_is_refused(length: int) -> None:
    with pytest.raises(ProtocolViolationError):
        unpack(pack(LINKS)[:length])


def test_table_with_more_behind_it_is_refused() -> None:
    with pytest.raises(ProtocolViolationError):
        unpack(pack(LINKS) + b"x")
