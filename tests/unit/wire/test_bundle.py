"""Bundles of sources as bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livereload_core.errors import ProtocolViolationError
from livereload_core.wire import bundle

SOURCES = {"/p/a.py": b"x = 1\n", "/p/link.py": b"x = 1\n", "/p/empty.py": b"", "/p/sp\udcff.py": b"\0\xff"}


@given(st.dictionaries(st.text(), st.binary()))
def test_what_is_packed_is_unpacked(sources: dict[str, bytes]) -> None:
    packed = bundle.pack(sources)
    assert bundle.unpack(packed) == sources
    assert bundle.digests(packed) == {path: bundle.content_digest(data) for path, data in sources.items()}


def test_names_that_are_not_unicode_survive() -> None:
    assert bundle.unpack(bundle.pack(SOURCES)) == SOURCES


def test_same_content_is_stored_once() -> None:
    data = b"x" * 10_000
    assert len(bundle.pack({f"/p/{number}.py": data for number in range(20)})) < 15_000


def test_bundle_cut_off_anywhere_is_turned_down() -> None:
    packed = bundle.pack({"/p/a.py": b"x = 1\n"})
    for end in range(len(packed)):
        with pytest.raises(ProtocolViolationError, match="bundle"):
            bundle.unpack(packed[:end])


def test_other_bytes_and_other_versions_are_turned_down() -> None:
    packed = bundle.pack(SOURCES)
    for damaged in (b"", b"GIF89a" + packed, packed[:7] + b"\x09" + packed[8:]):
        with pytest.raises(ProtocolViolationError, match="not a bundle"):
            bundle.digests(damaged)
