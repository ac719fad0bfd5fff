"""The bytes in which state crosses: one header, one index, one stream per root.

     offset  size
    ┌──────┬─────┬──────────────────────────────────────────────────────────────┐
    │    0 │  32 │ header: see ``wire.snapshots``                               │
    ├──────┼─────┼──────────────────────────────────────────────────────────────┤
    │   32 │   n │ index: JSON, UTF-8                                           │
    │      │     │   {"tables": [[key, ...], ...], "fds": count,                │
    │      │     │    "segments": count,                                        │
    │      │     │    "pieces": [[length, segment, place, offset, length], ...],│
    │      │     │    "roots": [{"key", "form", "kind", "version", "type",      │
    │      │     │               "args", "table", "classes", "lost", "remedy",  │
    │      │     │               "fds", "pieces", "group", "index", "born",     │
    │      │     │               "offset", "length"}, ...]}                     │
    ├──────┼─────┼──────────────────────────────────────────────────────────────┤
    │ 32+n │   m │ streams and runs, one after another; offsets count from here │
    └──────┴─────┴──────────────────────────────────────────────────────────────┘

A large buffer is no part of this. It is a piece (see ``segments``): its length, the segment and the place of
its home there, and where its runs are written down, 32 bytes for each: start, end, segment, place.

Invariants:
    * Everything but the inside of a stream can be read without unpickling.
    * The checksum is verified before anything else is believed. It finds damage, not malice: only
      snapshots that our own parent handed over are ever unpickled.
    * File descriptors travel beside the snapshot, as many as "fds" says. Those of a root are places among
      them; -1 stands for one that is gone. Behind them come those of the segments.
    * A table names the roots that the memo of a stream begins with. It travels with the stream, so a
      stream that is parked and written again keeps its meaning.
"""

from __future__ import annotations

import dataclasses
import json
import operator
import struct
import sys
import zlib
from collections.abc import Iterable, Sequence
from typing import Any

from livereload_core.errors import SnapshotError
from livereload_core.state.descriptors import GONE, table_of
from livereload_core.state.segments import Piece, Run, Segment
from livereload_core.wire import snapshots
from livereload_core.wire.snapshots import FORMAT, MAGIC

__all__ = ["FORMAT", "MAGIC", "Entry", "Kind", "Snapshot", "pack", "segments_of", "unpack"]

_HELD_PART = 5 * 1024
_RUN = struct.Struct("<4Q")


class Kind:
    """How the stream of a root is to be understood."""

    SHELL = "shell"  # a shallow copy; pours into an object of ``type`` made by ``args``
    SLOT = "slot"  # the value of a module global; ``type`` is what the factory made
    WHOLE = "whole"  # the object itself
    GROUP = "group"  # the contents of the roots named in ``args``, as one tuple


@dataclasses.dataclass(frozen=True, slots=True)
class Entry:
    """One root in a snapshot.

    Attributes:
        key: ``module:name``.
        form: ``value``, ``factory`` or ``class``.
        kind: one of :class:`Kind`.
        version: as declared by the generation that wrote it.
        type: ``module:qualname`` of its class.
        args: what an empty object of that class is made from, JSON types only.
        table: keys of the roots with which the memo of the stream begins.
        classes: ``module:qualname`` -> shape, for classes of the user with fields (see ``fields``).
        lost: why the value could not be carried (``on_error="reset"``); the stream is empty then.
        remedy: what to write so that it can, or ``""``.
        fds: those that the stream mentions, of this process; not owned. -1: gone.
        pieces: the large buffers that the stream mentions.
        group: the key of the entry that holds this root together with those that it shares objects with.
        index: its place in there.
        born: when the value was first made, in seconds since the epoch.
        stream: the pickle.
    """

    key: str
    form: str
    kind: str
    version: int
    type: str = ""
    args: tuple[Any, ...] = ()
    table: tuple[str, ...] = ()
    classes: dict[str, Any] = dataclasses.field(default_factory=dict)
    lost: str = ""
    remedy: str = ""
    fds: tuple[int, ...] = ()
    pieces: tuple[Piece, ...] = ()
    group: str = ""
    index: int = 0
    born: float = 0.0
    stream: bytes | memoryview = b""


@dataclasses.dataclass(frozen=True, slots=True)
class Snapshot:
    """What :func:`unpack` read.

    Attributes:
        generation: the generation that wrote it.
        entries: the roots by key, in the order in which they were declared.
        fds: how many of the fds beside it belong to objects; the others are segments.
    """

    generation: int
    entries: dict[str, Entry]
    fds: int = 0


_DESCRIBED = tuple(
    field.name for field in dataclasses.fields(Entry) if field.name not in ("table", "stream", "pieces")
)
"""The fields of a root that are in the index as they are."""
_description = operator.attrgetter(*_DESCRIBED)


def segments_of(entries: Iterable[Entry]) -> list[Segment]:
    """Return each segment that the entries need once, in the order of its first mention."""
    pieces = (piece for entry in entries for piece in entry.pieces)
    return list(dict.fromkeys(segment for piece in pieces for segment in piece.segments()))


def pack(entries: Sequence[Entry], generation: int) -> bytes:
    """Write a snapshot.

    Args:
        entries: the roots.
        generation: the number of the generation that writes.

    What travels beside it are the fds of all entries, in the order of ``table_of``, and then the segments, in
    the order of ``segments_of``.
    """
    places = {fd: place for place, fd in enumerate(table_of(entry.fds for entry in entries))}
    places[GONE] = GONE
    segments = {segment: place for place, segment in enumerate(segments_of(entries))}
    pieces: dict[int, int] = {}
    described_pieces: list[list[int]] = []
    tables: dict[tuple[str, ...], int] = {}
    roots: list[dict[str, Any]] = []
    streams: list[bytes | memoryview] = []
    offset = 0
    for entry in entries:
        fields = dict(zip(_DESCRIBED, _description(entry), strict=True))
        for piece in entry.pieces:
            if id(piece) not in pieces:
                pieces[id(piece)] = len(described_pieces)
                runs = b"".join(
                    _RUN.pack(run.start, run.end, segments[run.segment], run.offset) for run in piece.runs
                )
                described_pieces.append([piece.length, segments[piece.home], piece.offset, offset, len(runs)])
                streams.append(runs)
                offset += len(runs)
        fields["pieces"] = [pieces[id(piece)] for piece in entry.pieces]
        fields["table"] = tables.setdefault(entry.table, len(tables))
        fields["fds"] = [places[fd] for fd in entry.fds]
        fields["offset"], fields["length"] = offset, len(entry.stream)
        roots.append(fields)
        streams.append(entry.stream)
        offset += len(entry.stream)
    described = {
        "tables": list(tables),
        "fds": len(places) - 1,
        "segments": len(segments),
        "pieces": described_pieces,
        "roots": roots,
    }
    index = json.dumps(described, separators=(",", ":")).encode()
    major, minor = sys.version_info[:2]
    header = snapshots.HEADER.pack(MAGIC, FORMAT, major, minor, generation, len(index), offset)
    checksum = _checksum(index, zlib.crc32(header))
    for stream in streams:
        checksum = _checksum(stream, checksum)
    # The decisive snapshot is taken while every thread stands still: join() of bytes alone would let go of
    # the GIL from 1 MiB on, and with a view among them it does not.
    return b"".join([header, snapshots.CHECKSUM.pack(checksum), memoryview(index), *streams])


def _checksum(data: bytes | memoryview, value: int) -> int:
    """Go on with a CRC-32, in parts for which zlib does not let go of the GIL."""
    view = memoryview(data)
    for start in range(0, len(view), _HELD_PART):
        value = zlib.crc32(view[start : start + _HELD_PART], value)
    return value


def unpack(data: bytes | memoryview, fds: Sequence[int] = ()) -> Snapshot:
    """Read a snapshot; streams are views into ``data``, nothing is copied or unpickled.

    Args:
        data: the snapshot.
        fds: what came beside it, -1 in the place of what is gone; they stay the caller's.

    Raises:
        SnapshotError: it is damaged, foreign, from another Python or from a newer format, or fds are missing.
    """
    head = snapshots.read(data)
    try:
        expected = head.index["fds"] + head.index["segments"]
        if expected != len(fds):
            raise SnapshotError(f"snapshot comes with {expected} fds, {len(fds)} have arrived")
        entries = _entries(head, fds)
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise SnapshotError(f"snapshot has an index that cannot be read: {error!r}") from error
    return Snapshot(head.generation, entries, head.index["fds"])


def _entries(head: snapshots.Head, fds: Sequence[int]) -> dict[str, Entry]:
    tables = [tuple(table) for table in head.index["tables"]]
    segments = [Segment.of(fd) for fd in fds[head.index["fds"] :]]
    pieces = [_piece(described, head.streams, segments) for described in head.index["pieces"]]
    entries = {}
    for fields in head.index["roots"]:
        stream = head.stream(fields)
        del fields["offset"], fields["length"]
        fields["table"] = tables[fields["table"]]
        fields["args"] = tuple(fields["args"])
        fields["pieces"] = tuple(pieces[number] for number in fields["pieces"])
        fields["fds"] = tuple(GONE if place == GONE else fds[place] for place in fields["fds"])
        entries[fields["key"]] = Entry(**fields, stream=stream)
    return entries


def _piece(described: Sequence[int], streams: memoryview, segments: Sequence[Segment]) -> Piece:
    length, home, place, offset, size = described
    runs = tuple(
        Run(start, end, segments[segment], at)
        for start, end, segment, at in _RUN.iter_unpack(streams[offset : offset + size])
    )
    for start, end, segment, at in (Run(0, length, segments[home], place), *runs):
        if not (0 <= start <= end <= length and at >= 0):
            raise ValueError("a piece with parts outside of it")
        if at + end - start > segment.size:
            raise ValueError("a piece outside of its segment")
    return Piece(length, segments[home], place, runs)
