"""Anonymous files: bytes that cross a process boundary as one fd.

A memfd is sealed once written, so that neither side can change what the other has checked. Where the
system has no memfd (macOS), an unlinked temporary file takes its place; it has no seals.
"""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import tempfile
from collections.abc import Iterable, Iterator

__all__ = ["create", "create_of", "growing", "mapped", "read"]

# From linux/fcntl.h; the fcntl module has the names on Linux only.
_SEALS = (
    getattr(fcntl, "F_SEAL_SHRINK", 2) | getattr(fcntl, "F_SEAL_GROW", 4) | getattr(fcntl, "F_SEAL_WRITE", 8)
)


def create(data: bytes | memoryview, name: str = "livecore") -> int:
    """Write ``data`` into a new anonymous file and return its fd (close-on-exec, at offset 0)."""
    return create_of([data], name)


def create_of(pieces: Iterable[bytes | memoryview], name: str = "livecore") -> int:
    """The same with data in pieces."""
    if hasattr(os, "memfd_create"):
        fd = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    else:
        fd, path = tempfile.mkstemp(prefix=f"{name}-")
        os.unlink(path)
    try:
        for piece in pieces:
            view = memoryview(piece)
            while view:
                view = view[os.write(fd, view) :]
        os.lseek(fd, 0, os.SEEK_SET)
        if hasattr(fcntl, "F_ADD_SEALS"):
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)
    except BaseException:
        os.close(fd)
        raise
    return fd


def growing(name: str = "livecore") -> int:
    """Return a new, empty anonymous file without seals, for memory that processes share (close-on-exec)."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create(name, os.MFD_CLOEXEC)
    fd, path = tempfile.mkstemp(prefix=f"{name}-")
    os.unlink(path)
    return fd


def read(fd: int) -> bytes:
    """Return all bytes behind ``fd``, wherever its offset stands; the fd stays open."""
    size = os.fstat(fd).st_size
    parts: list[bytes] = []
    offset = 0
    while offset < size:
        part = os.pread(fd, size - offset, offset)
        if not part:
            break
        parts.append(part)
        offset += len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


@contextlib.contextmanager
def mapped(fd: int) -> Iterator[memoryview]:
    """Map ``fd`` for reading, without a copy, until the block ends or the last slice of it is gone."""
    if os.fstat(fd).st_size == 0:
        yield memoryview(b"")
        return
    area = mmap.mmap(fd, 0, prot=mmap.PROT_READ, flags=mmap.MAP_SHARED)
    view = memoryview(area)
    try:
        yield view
    finally:
        # An exception on its way out keeps slices alive in its traceback; the mapping then goes with them.
        with contextlib.suppress(BufferError):
            view.release()
            area.close()
