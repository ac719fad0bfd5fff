"""Bundles of sources: what a generation runs, so that it can be run again when the disk holds something else.

A generation that serves hands its bundle to the parent, which only keeps it; the next child reads it by path.
A bundle is::

    +--------+---------------+----------------------+-----------------------------+-------+
    | 'lcsb' | version, u32  | length of index, u32 | index: UTF-8 JSON           | blobs |   big endian
    +--------+---------------+----------------------+-----------------------------+-------+
    index = {path: [offset, length, digest], ...}     offset counts from the first blob

Paths that hold the same bytes (a symlink and its target) share one blob. The digest of a file is defined here
because both sides compare digests: the child says what it compiled, the parent hashes what is on disk.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterator, Mapping

from livereload_core.errors import ProtocolViolationError

__all__ = ["BUNDLE_VERSION", "content_digest", "digests", "pack", "unpack"]

BUNDLE_VERSION = 1
_HEADER = struct.Struct("!4sII")
_MAGIC = b"lcsb"


def content_digest(data: bytes) -> str:
    """Return the digest of a file's content: BLAKE2b of 16 bytes, as hexadecimal digits."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def pack(sources: Mapping[str, bytes]) -> bytes:
    """Return the bundle of ``sources`` (path to content)."""
    index: dict[str, tuple[int, int, str]] = {}
    places: dict[str, int] = {}
    blobs: list[bytes] = []
    end = 0
    for path, data in sources.items():
        digest = content_digest(data)
        if digest not in places:
            places[digest] = end
            blobs.append(data)
            end += len(data)
        index[path] = (places[digest], len(data), digest)
    # ensure_ascii (the default) keeps surrogateescape'd paths, which are legal file names, through UTF-8
    head = json.dumps(index, separators=(",", ":")).encode()
    return b"".join([_HEADER.pack(_MAGIC, BUNDLE_VERSION, len(head)), head, *blobs])


def unpack(bundle: bytes | memoryview) -> dict[str, bytes]:
    """Return path to content.

    Raises:
        ProtocolViolationError: these bytes are no bundle of this version, or not all of it.
    """
    view = memoryview(bundle)
    contents: dict[str, bytes] = {}
    shared: dict[str, bytes] = {}
    for path, start, end, digest in _entries(view):
        if digest not in shared:
            shared[digest] = bytes(view[start:end])
        contents[path] = shared[digest]
    return contents


def digests(bundle: bytes | memoryview) -> dict[str, str]:
    """Return path to digest; the contents are not copied.

    Raises:
        ProtocolViolationError: these bytes are no bundle of this version, or not all of it.
    """
    return {path: digest for path, _, _, digest in _entries(memoryview(bundle))}


def _entries(view: memoryview) -> Iterator[tuple[str, int, int, str]]:
    try:
        magic, version, length = _HEADER.unpack_from(view)
        if magic != _MAGIC or version != BUNDLE_VERSION:
            raise ProtocolViolationError(f"not a bundle of version {BUNDLE_VERSION}: {bytes(view[:12])!r}")
        first = _HEADER.size + length
        index = json.loads(bytes(view[_HEADER.size : first]))
        for path, (offset, size, digest) in index.items():
            start, end = first + offset, first + offset + size
            if not first <= start <= end <= len(view):
                raise ProtocolViolationError(
                    f"bundle is cut off: {path!r} would end at {end} of {len(view)} bytes"
                )
            yield path, start, end, digest
    except (struct.error, ValueError, TypeError, AttributeError) as error:
        raise ProtocolViolationError(f"not a bundle: {bytes(view[:12])!r} ({error})") from error
