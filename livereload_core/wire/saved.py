"""The file in which state outlives the run: a snapshot, then what is known of it, then a footer.

     offset  size
    ┌──────┬─────┬──────────────────────────────────────────────────────────────┐
    │    0 │   n │ snapshot (``wire.snapshots``), without descriptors           │
    │      │     │ segments, each from a multiple of 4096 on, zeroes between    │
    │    a │   m │ about: JSON, UTF-8                                           │
    │      │     │   {"saved": seconds, "target", "root", "cwd", "python",      │
    │      │     │    "why", "snapshot": [0, n], "segments": [[offset, length], │
    │      │     │    ...]}                                                     │
    ├──────┼─────┼──────────────────────────────────────────────────────────────┤
    │  a+m │   8 │ magic, b"LIVESAVE"                                           │
    │   +8 │   2 │ format number of this file                  (all little-endian)
    │  +10 │   2 │ zero                                                         │
    │  +12 │   4 │ length of about in bytes (m)                                 │
    │  +16 │   8 │ length of the whole file in bytes                            │
    │  +24 │   4 │ CRC-32 of everything before                                  │
    └──────┴─────┴──────────────────────────────────────────────────────────────┘

The footer comes last, so that a file can be written in one go from what is at hand, and one that was cut off
anywhere has none.

Invariants:
    * The checksum is verified before anything else is believed. It finds damage, not malice: whoever may
      write the file may run code as its owner.
    * The file is complete in itself: nothing travels beside it.
"""

from __future__ import annotations

import dataclasses
import json
import struct
import zlib
from collections.abc import Iterable, Iterator
from typing import Any

from livereload_core.errors import SnapshotError

__all__ = ["FILE_FORMAT", "FOOTER_SIZE", "FOOT_MAGIC", "About", "Saved", "parts", "read", "tell"]

FOOT_MAGIC = b"LIVESAVE"
FILE_FORMAT = 1
_FOOTER = struct.Struct("<8sHHIQ")
_CHECKSUM = struct.Struct("<I")
FOOTER_SIZE = _FOOTER.size + _CHECKSUM.size
_START = b"LIVECORE"
PAGE = 4096
"""Segments begin at multiples of it, so that they can be mapped where they lie."""


@dataclasses.dataclass(frozen=True, slots=True)
class About:
    """What a saved state tells of itself.

    Attributes:
        saved: when it was taken, in seconds since the epoch.
        target: what ran, with its arguments.
        root: the project's root.
        cwd: where livecore was started.
        python: version of the Python that wrote it.
        why: the occasion.
    """

    saved: float = 0.0
    target: str = ""
    root: str = ""
    cwd: str = ""
    python: str = ""
    why: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Saved:
    """What :func:`read` found.

    Attributes:
        about: what the file tells of itself.
        snapshot: a view of the snapshot, whose own header is still to be read.
        segments: views of what it refers to.
    """

    about: About
    snapshot: memoryview
    segments: tuple[memoryview, ...] = ()


def parts(
    snapshot: Iterable[bytes | memoryview], about: About, segments: Iterable[memoryview] = ()
) -> Iterator[bytes | memoryview]:
    """Yield the file, piece by piece.

    Args:
        snapshot: the pieces of a snapshot without descriptors.
        about: what to tell of it.
        segments: what it refers to.
    """
    checksum = size = 0
    for piece in snapshot:
        checksum, size = zlib.crc32(piece, checksum), size + len(piece)
        yield piece
    length, places = size, []
    for segment in segments:
        padding = bytes(-size % PAGE)
        places.append([size + len(padding), len(segment)])
        checksum = zlib.crc32(segment, zlib.crc32(padding, checksum))
        size += len(padding) + len(segment)
        yield padding
        yield segment
    described = {**dataclasses.asdict(about), "snapshot": [0, length], "segments": places}
    text = json.dumps(described, separators=(",", ":")).encode()
    footer = _FOOTER.pack(FOOT_MAGIC, FILE_FORMAT, 0, len(text), size + len(text) + FOOTER_SIZE)
    end = text + footer
    yield end + _CHECKSUM.pack(zlib.crc32(end, checksum))


def tell(end: bytes) -> About:
    """Return what a file tells of itself, unverified: to be shown, and not to be gone by.

    Args:
        end: the last bytes of the file.

    Raises:
        SnapshotError: this is not the end of a saved state, or not enough of it.
    """
    if len(end) < FOOTER_SIZE:
        raise SnapshotError("is cut off")
    magic, number, _, length, _ = _FOOTER.unpack_from(end, len(end) - FOOTER_SIZE)
    if magic != FOOT_MAGIC or number > FILE_FORMAT or length > len(end) - FOOTER_SIZE:
        raise SnapshotError("is cut off, damaged or from a newer format")
    return _about(end[len(end) - FOOTER_SIZE - length : len(end) - FOOTER_SIZE])[0]


def _about(text: bytes) -> tuple[About, list[tuple[int, int]]]:
    """Read what a file tells of itself, and where its parts lie: the snapshot, then the segments."""
    try:
        told: dict[str, Any] = json.loads(text)
        fields = {field.name: told[field.name] for field in dataclasses.fields(About)}
        places = [(int(start), int(length)) for start, length in (told["snapshot"], *told["segments"])]
        return About(**fields), places
    except (ValueError, KeyError, TypeError) as error:
        raise SnapshotError(f"cannot be read: {error!r}") from error


def read(data: bytes | memoryview) -> Saved:
    """Check a saved state and find its parts; nothing is copied or unpickled.

    Raises:
        SnapshotError: it is damaged, cut off, foreign, or from a newer format.
    """
    view = memoryview(data).toreadonly().cast("B")
    if bytes(view[: len(_START)]) != _START:
        raise SnapshotError("is not a saved state of livecore")
    if len(view) < FOOTER_SIZE:
        raise SnapshotError(f"is cut off: it has {len(view)} bytes")
    magic, number, _, length, size = _FOOTER.unpack_from(view, len(view) - FOOTER_SIZE)
    if magic != FOOT_MAGIC:
        raise SnapshotError("is cut off or damaged: its last bytes are no footer")
    if number > FILE_FORMAT:
        raise SnapshotError(
            f"has file format {number}, this livecore reads up to {FILE_FORMAT}",
            remedy="use the livecore that wrote it",
        )
    (expected,) = _CHECKSUM.unpack_from(view, len(view) - _CHECKSUM.size)
    found = zlib.crc32(view[: -_CHECKSUM.size])
    if found != expected or size != len(view) or length > size - FOOTER_SIZE:
        raise SnapshotError(f"is damaged: checksum {found:08x} instead of {expected:08x}")
    end = size - FOOTER_SIZE
    about, places = _about(bytes(view[end - length : end]))
    if not all(0 <= start <= start + taken <= end - length for start, taken in places):
        raise SnapshotError("cannot be read: a part of it lies outside")
    snapshot, *segments = (view[start : start + taken] for start, taken in places)
    return Saved(about, snapshot, tuple(segments))
