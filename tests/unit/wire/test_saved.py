"""The file in which state outlives the run: what is written is read, and nothing else is."""

from __future__ import annotations

import struct

import pytest

from livereload_core.errors import SnapshotError
from livereload_core.state.snapshot import Entry, Kind, pack
from livereload_core.wire import saved, snapshots
from livereload_core.wire.saved import About

ABOUT = About(1795681038.5, "app:app --verbose", "/home/ann/shöp", "/home/ann", "3.12.1", "run")
ENTRIES = [Entry("app:users", "value", Kind.SHELL, 1, "builtins:dict", (), ("app:users",), stream=b"abc" * 9)]


def _file(about: About = ABOUT) -> bytes:
    return b"".join(saved.parts(snapshots.alone(snapshots.read(pack(ENTRIES, 7))), about))


def test_a_file_tells_of_itself_and_holds_the_snapshot() -> None:
    found = saved.read(_file())
    assert found.about == ABOUT
    head = snapshots.read(found.snapshot)
    assert head.generation == 7
    assert bytes(head.stream(head.roots[0])) == b"abc" * 9


def test_segments_follow_the_snapshot_at_page_boundaries() -> None:
    segments = [memoryview(b"a" * 5000), memoryview(b""), memoryview(b"c" * 4096), memoryview(b"d")]
    pieces = snapshots.alone(snapshots.read(pack(ENTRIES, 7)))
    file = b"".join(saved.parts(pieces, ABOUT, segments))
    found = saved.read(file)
    assert [bytes(segment) for segment in found.segments] == [bytes(segment) for segment in segments]
    assert bytes(found.snapshot) == b"".join(pieces)
    assert file.index(b"a" * 5000) % saved.PAGE == 0
    assert file.index(b"c" * 4096) % saved.PAGE == 0
    for place in range(0, len(file), 97):
        bad = bytearray(file)
        bad[place] ^= 4
        with pytest.raises(SnapshotError):
            saved.read(bytes(bad))


def test_its_end_alone_tells_of_it() -> None:
    file = _file()
    assert saved.tell(file[-1000:]) == ABOUT
    for cut in range(1, len(file)):
        with pytest.raises(SnapshotError):
            saved.tell(file[:-cut])


def test_every_flipped_bit_is_found() -> None:
    good = _file()
    for place in range(len(good)):
        for bit in range(8):
            bad = bytearray(good)
            bad[place] ^= 1 << bit
            with pytest.raises(SnapshotError):
                saved.read(bytes(bad))


def test_every_byte_may_be_any_other_one_and_is_found() -> None:
    good = _file()
    for place in range(0, len(good), 7):
        for value in range(256):
            if value != good[place]:
                bad = bytearray(good)
                bad[place] = value
                with pytest.raises(SnapshotError):
                    saved.read(bytes(bad))


def test_every_truncation_and_anything_behind_the_end_is_found() -> None:
    good = _file()
    for length in range(len(good)):
        with pytest.raises(SnapshotError):
            saved.read(good[:length])
    for more in (b"\0", good, good[-200:]):
        with pytest.raises(SnapshotError):
            saved.read(good + more)


def test_a_newer_file_is_refused_with_what_to_do() -> None:
    newer = bytearray(_file())
    struct.pack_into("<H", newer, len(newer) - saved.FOOTER_SIZE + 8, saved.FILE_FORMAT + 1)
    with pytest.raises(SnapshotError, match=f"has file format {saved.FILE_FORMAT + 1}.*; use the livecore"):
        saved.read(bytes(newer))


@pytest.mark.parametrize(
    "foreign", [b"", b"x", b"LIVECORE", b"LIVECORE" * 9, b"\0" * 500, b"PK\x03\x04" * 30]
)
def test_foreign_bytes_are_refused_with_a_sentence(foreign: bytes) -> None:
    with pytest.raises(SnapshotError, match=r"^(is|has|cannot) "):
        saved.read(foreign)
