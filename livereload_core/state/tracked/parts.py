"""What crosses of a tracked container: parts in segments, and the layer of what was touched since.

A segment holds parts one after the other, each behind its length::

    ┌────────┬──────────────┬────────┬──────────────┬───
    │ length │ pickle       │ length │ pickle       │ ...      length: 8 bytes, little-endian
    └────────┴──────────────┴────────┴──────────────┴───

    pickle = ([key, ...], {key: value, ...}, {key: value, ...})
              gone          where they are    come last, in this order

The parts of a container are numbered from 0 on, beneath a token that no other one has: whoever has applied
the first n of them goes on from there, wherever the bytes lie by now.
"""

from __future__ import annotations

import ctypes
import dataclasses
import os
import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from livereload_core.state.descriptors import incoming, outgoing
from livereload_core.state.segments import Piece, Segment

__all__ = ["Extent", "Layer", "Part", "Writer", "arrive", "bytes_of", "merged"]

_LENGTH = struct.Struct("<Q")

Part = tuple[list[Any], dict[Any, Any], dict[Any, Any]]


@dataclasses.dataclass(frozen=True, slots=True)
class Extent:
    """Some parts of a container, in a segment of their own.

    Attributes:
        segment: where they lie, from its beginning on.
        length: in bytes.
        first: the number of the first one.
        count: how many.
    """

    segment: Segment
    length: int
    first: int
    count: int


class Writer:
    """Writes parts into segments.

    Args:
        first: the number of the next part.
        room: bytes that a segment may grow to: address space, no memory, which comes with what is written.
    """

    def __init__(self, first: int, room: int = 256 << 20) -> None:
        self._room = room
        self.extents: list[Extent] = []
        self._segment: Segment | None = None
        self._at = 0
        self._first = self._next = first

    def write(self, data: bytes) -> None:
        """Add a part.

        Raises:
            OSError: there is no memory for it.
        """
        size = _LENGTH.size + len(data)
        if self._segment is not None and self._at + size > self._segment.size:
            self.finish()
        if self._segment is None:
            self._segment = Segment.new(max(self._room, size))
        written = os.pwritev(self._segment.fd, [_LENGTH.pack(len(data)), data], self._at)
        if written != size:
            raise OSError(0, "shared memory is full")
        self._at += size
        self._next += 1

    def finish(self) -> list[Extent]:
        """Seal what was written; return all extents."""
        if self._segment is not None:
            self._segment.seal(self._at)
            self._segment.trim()  # what lies behind was never written: address space alone
            self.extents.append(Extent(self._segment, self._at, self._first, self._next - self._first))
            self._segment, self._at, self._first = None, 0, self._next
        return self.extents


def merged(extents: Sequence[Extent]) -> Extent:
    """Return one extent with the parts of several that follow each other.

    Raises:
        OSError: there is no memory for it.
    """
    segment = Segment.new(max(1, sum(extent.length for extent in extents)))
    at = 0
    for extent in extents:
        view = bytes_of(Piece(extent.length, extent.segment, 0))
        for start in range(0, extent.length, 1 << 20):
            at += os.pwrite(segment.fd, view[start : start + (1 << 20)], at)
    segment.seal()
    return Extent(segment, at, extents[0].first, sum(extent.count for extent in extents))


def bytes_of(piece: Piece) -> memoryview:
    """Return the bytes of a piece that has no runs, where they lie; valid as long as its segment lives."""
    found = (ctypes.c_char * piece.length).from_address(piece.home.address + piece.offset)
    return memoryview(found).cast("B").toreadonly()


def parts_of(view: memoryview) -> Iterator[memoryview]:
    """Yield the parts in an extent."""
    at = 0
    while at < len(view):
        (length,) = _LENGTH.unpack_from(view, at)
        at += _LENGTH.size
        yield view[at : at + length]
        at += length


@dataclasses.dataclass(slots=True, eq=False)
class Layer:
    """What the stream of an export holds of a container.

    Attributes:
        key: of its root.
        token: whose parts they are.
        extents: all parts.
        change: what has been touched since: gone, where they are, come last.
        extra: what else is to be known, by name.
    """

    key: str
    token: str
    extents: Sequence[Extent]
    change: Part
    extra: dict[str, Any]

    def contents(self) -> dict[Any, Any]:
        """Return the entries in it."""
        return {**self.change[1], **self.change[2]}

    def __reduce_ex__(self, protocol: Any) -> Any:
        out = outgoing()
        extents = [
            (out.attach(Piece(extent.length, extent.segment, 0)), extent.first, extent.count)
            for extent in self.extents
        ]
        return arrive, (self.key, self.token, extents, *self.change, self.extra)


def arrive(
    key: str,
    token: str,
    extents: Iterable[tuple[int, int, int]],
    gone: list[Any],
    here: dict[Any, Any],
    last: dict[Any, Any],
    extra: dict[str, Any],
) -> Any:
    """Put a container together on the other side; called by the stream.

    Returns:
        the container of this generation.
    """
    received = incoming()
    found = []
    for number, first, count in extents:
        piece = received.piece(number)
        found.append(Extent(piece.home, piece.length, first, count))
    assert received.fill_container is not None
    return received.fill_container(Layer(key, token, found, (gone, here, last), extra))
