"""Large buffers on their way: files in memory that hold them, and where in those a buffer lies.

A *segment* is a memfd that is written once and never changed after a snapshot has named it. Many snapshots
name the same segments, so what did not change between two of them is there once. A buffer is a *piece*: a
home in one segment, and runs of bytes that have been written since and lie in others::

    home     ┌──────────────────────────────────────┐  in segment 0, from a page boundary + 16 on
    runs          ▓▓▓         ▓▓                       in segments 1, 2 ...
    buffer   └────▓▓▓─────────▓▓────────────────────┘  what the reader sees

Invariants:
    * A segment's fd belongs to this process's :class:`Segment` and is closed with it. The kernel frees the
      memory when the last process has let go, so nobody counts who still needs it.
    * Runs of a piece are sorted and do not overlap.
"""

from __future__ import annotations

import ctypes
import dataclasses
import fcntl
import os
from collections.abc import Sequence
from typing import NamedTuple

from livereload_core.state import memory
from livereload_core.state.memory import PAGE

__all__ = ["LARGE", "PHASE", "Piece", "Run", "Segment", "overlaid", "phased"]

LARGE = 64 * 1024
"""Bytes from which on a buffer is carried in a segment."""

PHASE = 16
"""Where in its first page a home begins: large blocks of glibc's malloc do so behind their header, and only
pages with the same place in them can be laid under one."""

_LAID = 256 * 1024
"""Bytes from which on pages are laid under a buffer; for less, a copy is as quick and costs no mapping."""

_UNMAPPED = 8 * 1024 * 1024
"""Bytes that are unmapped at a time."""

_MFD = 0x3  # MFD_CLOEXEC | MFD_ALLOW_SEALING
_SHRINK = 0x2
_SEALS = _SHRINK | 0x4 | 0x10  # grow, future write
_LIBC = ctypes.PyDLL(None, use_errno=True)
_LIBC.ftruncate.argtypes = (ctypes.c_int, ctypes.c_int64)


class Segment:
    """One file in memory, with its mapping in this process.

    Args:
        fd: taken over.
        size: in bytes, whole pages.
        writable: whether this process is the one that writes it.
    """

    def __init__(self, fd: int, size: int, *, writable: bool = False) -> None:
        self.fd = fd
        self.size = size
        self._writable = writable
        self._sealed = not writable
        self._needed = size
        self._address = self._mapped = 0

    @classmethod
    def new(cls, size: int) -> Segment:
        """Make one; it has no memory yet. Keeps the GIL.

        Raises:
            OSError: no fd or no memory left.
        """
        fd = _LIBC.memfd_create(b"livecore-segment", _MFD)
        if fd < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        segment = cls(fd, memory.up(size), writable=True)
        if _LIBC.ftruncate(fd, segment.size) < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        assert segment.address  # mapped while it may be: the seal forbids others to map it for writing
        return segment

    @classmethod
    def of(cls, fd: int) -> Segment:
        """Read one that came along; ``fd`` stays the caller's."""
        own = os.dup(fd)
        return cls(own, os.fstat(own).st_size)

    @property
    def is_sealed(self) -> bool:
        """Whether a snapshot may name it; until then nobody else knows of it."""
        return self._sealed

    @property
    def address(self) -> int:
        """Where it is mapped here; mapped at the first use."""
        if not self._address:
            self._address = memory.map_shared(self.fd, self.size, write=self._writable)
            self._mapped = self.size
        return self._address

    def populate(self, start: int, end: int, *, held: bool) -> None:
        """Give this part its memory.

        Raises:
            OSError: there is not so much.
        """
        first = memory.down(start)
        if end > first:
            memory.populate(self.address + first, memory.up(end) - first, held=held)

    def unmap(self) -> None:
        """Unmap it bit by bit; a GiB at once takes 70 ms. Whoever reads it here all the same maps it anew."""
        if not self._sealed:
            return  # it could be written no more
        self._writable = False
        address, self._address = self._address, 0
        for start in range(0, self._mapped if address else 0, _UNMAPPED):
            memory.unmap(address + start, min(_UNMAPPED, self._mapped - start), held=False)

    def discard(self) -> None:
        """Give back the memory of one that is not finished and will not be; lets go of the GIL.

        Left to the last reference, a GiB takes 0.4 s with the GIL kept.
        """
        self._sealed = True
        self.unmap()
        while self.size:
            self.size = max(0, self.size - _UNMAPPED)
            os.ftruncate(self.fd, self.size)

    def seal(self, size: int = 0) -> None:
        """Let nobody else write it; what this process has mapped it can write on. Keeps the GIL.

        Args:
            size: what lies behind so many bytes is not needed, and can be given back; 0 if all is.
        """
        if self._sealed:
            return
        self._sealed = True
        self._needed = memory.up(size) if size else self.size
        seals = _SEALS if self._needed == self.size else _SEALS & ~_SHRINK
        _LIBC.fcntl(self.fd, fcntl.F_ADD_SEALS, seals)  # without seals it is as good to its reader

    @property
    def has_excess(self) -> bool:
        """Whether it has memory that nobody needs."""
        return self._needed < self.size

    def trim(self) -> None:
        """Give back what is not needed, which takes 1 ms for 4 MiB. Keeps the GIL."""
        if self.has_excess:
            self.size = self._needed
            _LIBC.ftruncate(self.fd, self.size)
            _LIBC.fcntl(self.fd, fcntl.F_ADD_SEALS, _SEALS)

    def __del__(self) -> None:
        # In C that keeps the GIL: a snapshot in a standstill may be what lets go of it.
        if self._address:
            memory.unmap(self._address, self._mapped)
        _LIBC.close(self.fd)


class Run(NamedTuple):
    """Bytes ``start`` to ``end`` of a buffer lie at ``offset`` in ``segment``.

    There may be thousands of them, made in the pause: a tuple takes a third of the time of a dataclass.
    """

    start: int
    end: int
    segment: Segment
    offset: int


@dataclasses.dataclass(frozen=True, slots=True)
class Piece:
    """Where the bytes of one buffer lie.

    Attributes:
        length: of the buffer.
        home: where all of it was written once.
        offset: where in there.
        runs: what has taken its place since.
    """

    length: int
    home: Segment
    offset: int
    runs: tuple[Run, ...] = ()

    def segments(self) -> list[Segment]:
        """Return all segments that it needs, each once."""
        return list(dict.fromkeys([self.home, *(run.segment for run in self.runs)]))

    def fill(self, address: int) -> None:
        """Put the bytes into memory from ``malloc``: whole pages are laid under it where that can be done."""
        _put(address, self.home, self.offset, self.length)
        # By segment: in the order of the buffer, old and new runs alternate, and each would be a call.
        small: dict[Segment, _Chunk] = {}
        for start, end, source, offset in self.runs:
            if end - start >= _LAID:
                _put(address + start, source, offset, end - start)
                continue
            chunk = small.get(source)
            if chunk is None or chunk.end != offset:
                if chunk is not None:
                    _scatter(chunk.pieces, source, chunk.start)
                chunk = small[source] = _Chunk(offset)
            chunk.pieces.append((address + start, end - start))
            chunk.end = offset + end - start
        for source, chunk in small.items():
            _scatter(chunk.pieces, source, chunk.start)


class _Chunk:
    """A part of a segment without a gap, and where its bytes go, piece by piece."""

    __slots__ = ("end", "pieces", "start")

    def __init__(self, start: int) -> None:
        self.start = self.end = start
        self.pieces: list[tuple[int, int]] = []


def _scatter(pieces: list[tuple[int, int]], segment: Segment, offset: int) -> None:
    """Copy a part of a segment to many places."""
    done = memory.scatter(segment.fd, offset, pieces)
    offset += sum(size for _, size in pieces[:done])
    for address, size in pieces[done:]:  # if a system call could not
        memory.copy(address, segment.address + offset, size)
        offset += size


def _put(address: int, segment: Segment, offset: int, length: int) -> None:
    """Lay or copy a part of a segment to an address."""
    end = address + length
    first, last = memory.up(address), memory.down(end)
    source = segment.address + offset
    fits = (address - offset) % PAGE == 0 and length >= _LAID
    if fits and memory.lay(first, last - first, segment.fd, offset + first - address):
        memory.copy(address, source, first - address)
        memory.copy(last, source + last - address, end - last)
    else:
        memory.copy(address, source, length)


def phased(offset: int) -> int:
    """Return the first place from ``offset`` on where a home may begin."""
    return memory.up(max(0, offset - PHASE)) + PHASE


def overlaid(old: Sequence[Run], new: Sequence[Run]) -> tuple[Run, ...]:
    """Put new runs over old ones; both are sorted and do not overlap among themselves."""
    if not old:
        return tuple(new)
    result: list[Run] = []
    waiting = iter(new)
    fresh = next(waiting, None)
    for run in old:
        start = run.start
        while fresh is not None and fresh.start < run.end:
            if fresh.start > start:
                result.append(_part(run, start, min(fresh.start, run.end)))
            start = max(start, fresh.end)
            if fresh.end > run.end:
                break  # it may cover the next one, too
            result.append(fresh)
            fresh = next(waiting, None)
        if start < run.end:
            result.append(_part(run, start, run.end))
    if fresh is not None:
        result.append(fresh)
        result.extend(waiting)
    return tuple(result)


def _part(run: Run, start: int, end: int) -> Run:
    if (start, end) == (run.start, run.end):
        return run
    return Run(start, end, run.segment, run.offset + start - run.start)
