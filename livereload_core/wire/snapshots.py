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
    "read",
    "whole_key",
]

MAGIC = b"LIVECORE"
FORMAT = 2

HEADER = struct.Struct("<8sHBBIIQ")
CHECKSUM = struct.Struct("<I")
START = HEADER.size + CHECKSUM.size
"""Where the index begins."""

GONE = -1
"""Stands in the index for an fd that is there no more: the object that had it comes back closed."""
LOST_WITH_ITS_PROCESS = "holds an open file, socket or pipe, which ended with the process that had it"
REOPEN = "keep its path or address, and open it where it is used"

_OURS = "livereload_core:"


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


def alone(head: Head, gone: Collection[int] = ()) -> list[bytes | memoryview]:
    """Write a snapshot again for a time when nothing can travel beside it any more.

    A root with an open descriptor is lost with the reason; the connections, which the engine keeps, are left
    out. Roots that share objects still do so.

    Args:
        head: what was read.
        gone: places of descriptors that the program had closed itself: those objects come back closed.

    Returns:
        the parts of the new snapshot; views of the old one's streams among them.
    """
    roots: list[dict[str, Any]] = []
    streams: list[memoryview] = []
    offset = 0
    for fields in head.index["roots"]:
        if fields["key"].startswith(_OURS):
            continue
        stream, again = head.stream(fields), dict(fields)
        open_ones = [place for place in fields["fds"] if place != GONE and place not in gone]
        if open_ones and fields["kind"] != "group":
            again |= {"lost": LOST_WITH_ITS_PROCESS, "remedy": REOPEN, "group": "", "classes": {}}
            again["fds"], stream = [], stream[:0]
        else:
            # A group is still read as one: what its other members share has no descriptor, or they had one.
            again["fds"] = [GONE for _ in fields["fds"]]
        again["offset"], again["length"] = offset, len(stream)
        offset += len(stream)
        roots.append(again)
        streams.append(stream)
    described = {**head.index, "fds": 0, "roots": roots}
    index = json.dumps(described, separators=(",", ":")).encode()
    header = HEADER.pack(MAGIC, FORMAT, *head.python, head.generation, len(index), offset)
    checksum = zlib.crc32(index, zlib.crc32(header))
    for stream in streams:
        checksum = zlib.crc32(stream, checksum)
    return [header + CHECKSUM.pack(checksum) + index, *streams]


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
