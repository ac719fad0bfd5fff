"""The bytes: what is written is read, and nothing else is."""

from __future__ import annotations

import struct
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from livereload_core.errors import SnapshotError
from livereload_core.state.snapshot import FORMAT, Entry, Kind, pack, unpack

ENTRIES = [
    Entry(
        "app:users", "value", Kind.SHELL, 2, "builtins:dict", (), ("app:users", "app:ümlaut"), stream=b"abc"
    ),
    Entry("app:ümlaut", "factory", Kind.WHOLE, 1, "m:C", (5, "d"), (), {"m:C": ["x", "y"]}, stream=b"\0" * 9),
    Entry("app:gone", "value", Kind.WHOLE, 1, lost="no way", remedy="write it"),
]


def test_entries_come_back_equal_and_in_order() -> None:
    snapshot = unpack(pack(ENTRIES, 41))
    assert snapshot.generation == 41
    assert list(snapshot.entries.values()) == ENTRIES


def test_parked_entries_are_written_again_verbatim_with_their_own_table() -> None:
    parked = unpack(pack(ENTRIES, 1)).entries["app:users"]
    new = Entry("app:new", "value", Kind.SHELL, 1, "builtins:list", (), ("app:new",), stream=b"xyz")
    again = unpack(pack([new, parked], 2)).entries
    assert again["app:users"] == ENTRIES[0]
    assert again["app:new"].table == ("app:new",)


def test_streams_are_views_into_the_snapshot() -> None:
    stream = unpack(pack(ENTRIES, 1)).entries["app:users"].stream
    assert isinstance(stream, memoryview)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_every_flipped_bit_and_every_truncation_is_found(data: st.DataObject) -> None:
    good = pack(ENTRIES, 3)
    if data.draw(st.booleans()):
        bad = good[: data.draw(st.integers(0, len(good) - 1))]
    else:
        flipped = bytearray(good)
        flipped[data.draw(st.integers(0, len(good) - 1))] ^= 1 << data.draw(st.integers(0, 7))
        bad = bytes(flipped)
    with pytest.raises(SnapshotError):
        unpack(bad)


@given(st.binary(max_size=200))
def test_foreign_bytes_are_refused_with_a_sentence(data: bytes) -> None:
    with pytest.raises(SnapshotError, match="snapshot"):
        unpack(data)


def test_newer_format_and_other_python_are_refused_with_what_to_do() -> None:
    good = bytearray(pack(ENTRIES, 1))
    newer = bytearray(good)
    struct.pack_into("<H", newer, 8, FORMAT + 1)
    with pytest.raises(SnapshotError, match=f"has format {FORMAT + 1}.*; start without it"):
        unpack(bytes(newer))
    other = bytearray(good)
    struct.pack_into("<BB", other, 10, 3, sys.version_info[1] + 1)
    with pytest.raises(SnapshotError, match=f"written by Python 3.{sys.version_info[1] + 1}, this is"):
        unpack(bytes(other))
