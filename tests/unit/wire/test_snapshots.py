"""What can be told of a snapshot from outside, and what is left of it once nothing can travel beside it."""

from __future__ import annotations

import struct
import sys
from typing import Any

import pytest

from livereload_core.errors import SnapshotError, UsageError
from livereload_core.state.snapshot import Entry, Kind, pack, unpack
from livereload_core.wire import snapshots
from livereload_core.wire.snapshots import GONE, OtherPythonError, alone, read, whole_key


def _entry(key: str, **others: Any) -> Entry:
    given: dict[str, Any] = {"table": ("app:plain",), "stream": key.encode(), **others}
    return Entry(key, "value", Kind.SHELL, 1, "builtins:dict", **given)


ENTRIES = [
    _entry("app:plain"),
    _entry("app:socket", fds=(11, 12)),
    _entry("app:closed", fds=(13,)),
    _entry("app:pair", group="g", index=0),
    _entry("app:other", group="g", index=1, fds=(12,)),
    _entry("livereload_core:connections"),
    Entry("g", Kind.GROUP, Kind.GROUP, 0, args=("app:pair", "app:other"), fds=(12,), stream=b"both"),
]


def _alone(gone: tuple[int, ...] = ()) -> dict[str, Entry]:
    data = b"".join(alone(read(pack(ENTRIES, 3)), gone))
    assert read(data).generation == 3
    return unpack(data).entries


def test_the_roots_are_those_of_the_program() -> None:
    keys = [fields["key"] for fields in read(pack(ENTRIES, 3)).roots]
    assert keys == ["app:plain", "app:socket", "app:closed", "app:pair", "app:other"]


def test_what_needs_nothing_beside_it_stays_as_it_is() -> None:
    assert _alone()["app:plain"] == ENTRIES[0]


def test_a_root_with_an_open_descriptor_is_lost_with_the_reason_and_what_to_do() -> None:
    lost = _alone()["app:socket"]
    assert (lost.lost, lost.remedy) == (snapshots.LOST_WITH_ITS_PROCESS, snapshots.REOPEN)
    assert (lost.fds, lost.stream) == ((), b"")
    assert lost.type == "builtins:dict"  # for those that refer to it


def test_what_the_program_had_closed_itself_comes_back_closed() -> None:
    place_of_13 = 2
    closed = _alone((place_of_13,))["app:closed"]
    assert not closed.lost
    assert closed.fds == (GONE,)
    assert closed.stream == b"app:closed"


def test_roots_that_share_objects_still_do() -> None:
    entries = _alone()
    assert entries["app:pair"].group == "g"
    assert entries["app:other"].lost
    assert entries["app:other"].group == ""
    assert (entries["g"].stream, entries["g"].fds) == (b"both", (GONE,))


def test_connections_are_left_out_to_the_last_byte() -> None:
    assert "livereload_core:connections" not in _alone()
    data = b"".join(alone(read(pack(ENTRIES, 3))))
    assert b"livereload_core:connections" not in data
    assert b"app:plain" in data


def test_what_remains_is_where_it_was() -> None:
    before, after = read(pack(ENTRIES, 3)), read(b"".join(alone(read(pack(ENTRIES, 3)))))
    places = {fields["key"]: (fields["offset"], fields["length"]) for fields in before.index["roots"]}
    for fields in after.index["roots"]:
        if not fields["lost"]:
            assert (fields["offset"], fields["length"]) == places[fields["key"]]
    assert len(before.streams) == len(after.streams)


def test_what_streams_need_beside_themselves_goes_with_them() -> None:
    data = pack(ENTRIES[:2], 3)
    head = read(data)
    for fields in head.index["roots"]:
        fields["pieces"] = [1, 2]
    kept, lost = read(b"".join(alone(head))).index["roots"]
    assert kept["pieces"] == [1, 2]
    assert lost["pieces"] == []


def test_it_is_as_well_protected_as_before() -> None:
    good = b"".join(alone(read(pack(ENTRIES, 3))))
    for place in range(len(good)):
        bad = bytearray(good)
        bad[place] ^= 1
        with pytest.raises(SnapshotError):
            read(bytes(bad))


def test_what_another_python_wrote_can_be_looked_at_and_not_taken_up() -> None:
    other = bytearray(pack(ENTRIES[:1], 3))
    minor = sys.version_info[1] + 1
    struct.pack_into("<BB", other, 10, 3, minor)
    with pytest.raises(OtherPythonError, match=f"written by Python 3.{minor}"):
        read(bytes(other))
    with pytest.raises(SnapshotError, match="damaged"):  # the version is protected, too
        read(bytes(other), any_python=True)
    (checksum,) = (snapshots.CHECKSUM.pack(_checksum(bytes(other))),)
    other[28:32] = checksum
    assert read(bytes(other), any_python=True).python == (3, minor)


def _checksum(data: bytes) -> int:
    import zlib

    return zlib.crc32(data[32:], zlib.crc32(data[:28]))


KEYS = ["app:users", "app:counts", "shop.cart:items", "shop.stock:items"]


def test_a_name_stands_for_its_key_where_only_one_module_has_it() -> None:
    assert whole_key("app:users", KEYS) == "app:users"
    assert whole_key("counts", KEYS) == "app:counts"
    assert whole_key("shop.cart:items", KEYS) == "shop.cart:items"


@pytest.mark.parametrize(
    ("word", "advice"),
    [
        ("items", "is in several modules; one of shop.cart:items, shop.stock:items"),
        ("usres", "did you mean 'app:users'?"),
        ("app:usres", "did you mean 'app:users'?"),
        ("zzz", "there are app:users, app:counts, shop.cart:items, shop.stock:items"),
    ],
)
def test_a_wrong_key_is_refused_with_the_look_alike(word: str, advice: str) -> None:
    with pytest.raises(UsageError, match=advice.replace("?", r"\?").replace(".", r"\.")):
        whole_key(word, KEYS)


def test_without_any_key_the_answer_says_so() -> None:
    with pytest.raises(UsageError, match="nothing is preserved yet"):
        whole_key("users", [])
