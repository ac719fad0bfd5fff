"""The head of a snapshot: what can be told of one without reading what is in it.

     offset  size
    ┌──────┬─────┬──────────────────────────────────────────────────────────────┐
    │    0 │   8 │ magic, b"LIVECORE"                                           │
    │    8 │   2 │ format number                               (all little-endian)
    │   10 │   2 │ Python that wrote it: major, minor                           │
    │   12 │   4 │ generation that wrote it                                     │
    │   16 │   4 │ length of the index in bytes (n)                             │
    │   20 │   8 │ length of all streams in bytes (m)                           │
    │   28 │   4 │ CRC-32 of the bytes 0..27 and of everything from 32 on       │
    ├──────┼─────┼──────────────────────────────────────────────────────────────┤
    │   32 │   n │ index: JSON, UTF-8 (its fields: ``state.snapshot``)          │
    ├──────┼─────┼──────────────────────────────────────────────────────────────┤
    │ 32+n │   m │ streams, one after another; offsets count from here          │
    └──────┴─────┴──────────────────────────────────────────────────────────────┘

The parent holds snapshots, and people ask it what is in them; it never unpickles. So this much stands here,
beneath both.

Invariants:
    * Nothing but the magic is believed before the checksum was right.
    * Streams are not looked into.
"""

from __future__ import annotations

import dataclasses
import json
import struct
import sys
import zlib
from collections.abc import Collection
from typing import Any

from livereload_core.errors import SnapshotError, UsageError

__all__ = [
    "CHECKSUM",
    "FORMAT",
    "GONE",
    "HEADER",
    "LOST_WITH_ITS_PROCESS",
    "MAGIC",
    "REOPEN",
    "START",
    "Head",
    "OtherPythonError",
    "alone",
    "descriptors",
    "read",
    "whole_key",
]

MAGIC = b"LIVECORE"
FORMAT = 3

HEADER = struct.Struct("<8sHBBIIQ")
CHECKSUM = struct.Struct("<I")
START = HEADER.size + CHECKSUM.size
"""Where the index begins."""

GONE = -1
"""Stands in the index for an fd that is there no more: the object that had it comes back closed."""
LOST_WITH_ITS_PROCESS = "holds an open file, socket or pipe, which ends with its process"
REOPEN = "keep its path or address, and open it where it is used"

_OURS = "livereload_core:"
_PARTS = ("fds", "pieces", "layers")
"""Fields of an entry that list what its stream needs beside itself."""
_WITHOUT_CONTENTS: dict[str, Any] = {
    "lost": LOST_WITH_ITS_PROCESS,
    "remedy": REOPEN,
    "group": "",
    "classes": {},
    "offset": 0,
    "length": 0,
}


_FIELDS: dict[str, type | tuple[type, ...]] = {
    **dict.fromkeys(("key", "form", "kind", "type", "lost", "remedy", "group"), str),
    **dict.fromkeys(("version", "table", "offset", "length"), int),
    "born": (int, float),
    "classes": dict,
    "fds": list,
}
"""Of an entry of the index, what is looked at here and by people; the rest is the engine's."""


class OtherPythonError(SnapshotError):
    """Another Python wrote it: what is in it can be shown, but not be taken up."""


@dataclasses.dataclass(frozen=True, slots=True)
class Head:
    """What :func:`read` found.

    Attributes:
        generation: the generation that wrote it.
        python: major and minor version of the Python that wrote it.
        index: builtins only; see ``state.snapshot``.
        streams: a view of all streams.
    """

    generation: int
    python: tuple[int, int]
    index: dict[str, Any]
    streams: memoryview

    @property
    def roots(self) -> list[dict[str, Any]]:
        """What the index says of each root of the program's own, without those that the engine keeps."""
        return [
            fields
            for fields in self.index["roots"]
            if fields["kind"] != "group" and not fields["key"].startswith(_OURS)
        ]

    def stream(self, fields: dict[str, Any]) -> memoryview:
        """Return the stream of an entry of the index."""
        return self.streams[fields["offset"] : fields["offset"] + fields["length"]]


def read(data: bytes | memoryview, *, any_python: bool = False) -> Head:
    """Check a snapshot and read its index; nothing is copied but that.

    Args:
        data: the snapshot.
        any_python: take one of another Python, too, to look at.

    Raises:
        OtherPythonError: it is from another Python.
        SnapshotError: it is damaged, foreign, or from a newer format.
    """
    view = memoryview(data).toreadonly().cast("B")
    if len(view) < START:
        raise SnapshotError(f"snapshot has {len(view)} bytes, its header alone takes {START}")
    magic, number, major, minor, generation, index_size, streams_size = HEADER.unpack_from(view)
    if magic != MAGIC:
        raise SnapshotError(f"snapshot begins with {magic!r}, so it is not one of livecore")
    if number != FORMAT:
        raise SnapshotError(
            f"snapshot has format {number}, this livecore reads format {FORMAT}",
            remedy="start without it, or with the livecore that wrote it",
        )
    if (major, minor) != sys.version_info[:2] and not any_python:
        raise OtherPythonError(
            f"snapshot was written by Python {major}.{minor},"
            f" this is {sys.version_info[0]}.{sys.version_info[1]}",
            remedy="run with the Python that wrote it, or start without it",
        )
    if len(view) != START + index_size + streams_size:
        raise SnapshotError(
            f"snapshot has {len(view)} bytes, its header announces {START + index_size + streams_size}"
        )
    (expected,) = CHECKSUM.unpack_from(view, HEADER.size)
    found = zlib.crc32(view[START:], zlib.crc32(view[: HEADER.size]))
    if found != expected:
        raise SnapshotError(f"snapshot is damaged: checksum {found:08x} instead of {expected:08x}")
    body = START + index_size
    streams = view[body:]
    try:
        index = json.loads(bytes(view[START:body]))
        if not all(isinstance(key, str) for table in index["tables"] for key in table):
            raise TypeError("a table of other things than keys")
        for fields in index["roots"]:
            for name, kind in _FIELDS.items():
                if not isinstance(fields[name], kind):
                    raise TypeError(f"{name} of {fields['key']!r} is {fields[name]!r}")
            if not 0 <= fields["table"] < len(index["tables"]):
                raise ValueError(f"{fields['key']!r} has no table")
            offset, length = fields["offset"], fields["length"]
            if not 0 <= offset <= offset + length <= len(streams):
                raise ValueError(f"stream of {fields['key']!r} lies outside")
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise SnapshotError(f"snapshot has an index that cannot be read: {error!r}") from error
    return Head(generation, (major, minor), index, streams)


def descriptors(data: memoryview) -> int:
    """Return how many fds beside a snapshot that this process holds are those of objects; segments follow."""
    index_size = HEADER.unpack_from(data)[5]
    count: int = json.loads(bytes(data[START : START + index_size]))["fds"]
    return count


def alone(head: Head, gone: Collection[int] = ()) -> list[bytes | memoryview]:
    """Write a snapshot again for a time when no descriptor can travel beside it any more.

    A root with an open descriptor is lost with the reason; the connections, which the engine keeps, are left
    out. Roots that share objects still do so. Segments are referred to as before.

    Args:
        head: what was read.
        gone: places of descriptors that the program had closed itself: those objects come back closed.

    Returns:
        the parts of the new snapshot; views of the old one's streams among them. What is left out is zero
        there, and what remains is where it was: other parts of the index may refer to it.
    """
    roots: list[dict[str, Any]] = []
    left_out: list[tuple[int, int]] = []
    for fields in head.index["roots"]:
        again = dict(fields)
        lost = any(place != GONE and place not in gone for place in fields["fds"])
        ours = fields["key"].startswith(_OURS)
        if ours or (lost and fields["kind"] != "group"):
            left_out.append((fields["offset"], fields["offset"] + fields["length"]))
            again |= _WITHOUT_CONTENTS | {name: [] for name in _PARTS if name in fields}
        else:
            # A group is still read as one: what its other members share has no descriptor, or they had one.
            again["fds"] = [GONE for _ in fields["fds"]]
        if not ours:
            roots.append(again)
    index = json.dumps({**head.index, "fds": 0, "roots": roots}, separators=(",", ":")).encode()
    header = HEADER.pack(MAGIC, FORMAT, *head.python, head.generation, len(index), len(head.streams))
    checksum = zlib.crc32(index, zlib.crc32(header))
    streams = _without(head.streams, sorted(left_out))
    for stream in streams:
        checksum = zlib.crc32(stream, checksum)
    return [header + CHECKSUM.pack(checksum) + index, *streams]


def _without(streams: memoryview, left_out: list[tuple[int, int]]) -> list[bytes | memoryview]:
    """Return all streams, with zeroes for some."""
    parts: list[bytes | memoryview] = []
    at = 0
    for start, end in left_out:
        parts += [streams[at:start], bytes(end - max(start, at))]
        at = max(at, end)
    return [part for part in (*parts, streams[at:]) if part]


def whole_key(word: str, keys: list[str]) -> str:
    """Return the key that is meant: itself, or the only one with this name in any module.

    Raises:
        UsageError: there is none, or several; the look-alike is named.
    """
    import difflib

    if word in keys:
        return word
    named = [key for key in keys if key.partition(":")[2] == word]
    if len(named) == 1:
        return named[0]
    if named:
        raise UsageError(f"{word!r} is in several modules", advice=f"one of {', '.join(named)}")
    names = {key.partition(":")[2]: key for key in keys}
    like = difflib.get_close_matches(word, [*keys, *names], n=1)
    if like:
        advice = f"did you mean {names.get(like[0], like[0])!r}?"
    else:
        advice = f"there are {', '.join(keys)}" if keys else "nothing is preserved yet"
    raise UsageError(f"no preserved object has the key {word!r}", advice=advice)
