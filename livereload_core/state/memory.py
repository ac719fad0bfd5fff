"""Pages of this process: lay a file under memory, copy and compare it, and learn which of it has changed.

Three facts of Linux carry the module:

    * A page of a ``MAP_PRIVATE`` mapping costs nothing until it is written, and can be laid under memory that
      ``malloc`` has given out: glibc frees what it got with ``munmap``, whatever lies there, and never takes
      pages that it has given back for zeroed ones. Other allocators do, so theirs are left alone.
    * userfaultfd can watch for writes without a thread that answers (``WP_ASYNC``, Linux 6.7): the kernel
      notes the page and goes on. ``PAGEMAP_SCAN`` tells which were written, and begins anew in the same step.
    * ``ctypes.PyDLL`` calls C without letting go of the GIL, so what a copy reads cannot be freed meanwhile.

Where one of them is missing (other systems, containers that forbid userfaultfd, other allocators) the answer
is "unknown" or "copy", never a guess.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import mmap
import os
import platform
import struct
import sys
from array import array
from collections.abc import Sequence
from itertools import chain
from typing import Any

__all__ = [
    "PAGE",
    "Tracker",
    "address_of",
    "available",
    "compare",
    "copy",
    "down",
    "gather",
    "lay",
    "map_shared",
    "populate",
    "scatter",
    "unmap",
    "up",
]

PAGE = mmap.PAGESIZE

_HELD = ctypes.PyDLL(None, use_errno=True)  # keeps the GIL
_FREE = ctypes.CDLL(None, use_errno=True)  # lets go of it
_FAILED = ctypes.c_void_p(-1).value
_READ_WRITE = mmap.PROT_READ | mmap.PROT_WRITE
_MAP_FIXED = 0x10
_POPULATE_WRITE = 23  # MADV_POPULATE_WRITE: faults in, and says when memory is short instead of a SIGBUS


def _typed() -> None:
    pointer, size = ctypes.c_void_p, ctypes.c_size_t
    _HELD.memmove.argtypes, _HELD.memmove.restype = (pointer, pointer, size), pointer
    _HELD.memcmp.argtypes = (pointer, pointer, size)
    _HELD.mmap.argtypes = (pointer, size, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_int64)
    _HELD.mmap.restype = pointer
    for name in ("pwritev", "preadv"):
        function = getattr(_HELD, name)
        function.argtypes, function.restype = (
            (ctypes.c_int, pointer, ctypes.c_int, ctypes.c_int64),
            ctypes.c_ssize_t,
        )
    for library in (_HELD, _FREE):
        library.madvise.argtypes = (pointer, size, ctypes.c_int)
        library.munmap.argtypes = (pointer, size)


_typed()


def down(number: int) -> int:
    """Round down to a page."""
    return number & -PAGE


def up(number: int) -> int:
    """Round up to a page."""
    return -(-number // PAGE) * PAGE


def copy(to: int, source: int, size: int) -> None:
    """Copy between two addresses; keeps the GIL."""
    _HELD.memmove(to, source, size)


def compare(one: int, other: int, size: int) -> bool:
    """Whether two pieces of memory are equal; keeps the GIL."""
    equal: bool = _HELD.memcmp(one, other, size) == 0
    return equal


_MOST_AT_ONCE = 1024
"""Pieces of memory that one system call takes (UIO_MAXIOV)."""


def gather(fd: int, offset: int, pieces: Sequence[tuple[int, int]]) -> None:
    """Write pieces of memory one behind the other into a file; keeps the GIL.

    A call for each of many pages takes longer than to copy it.

    Args:
        fd: of the file, which may be written.
        offset: of the first piece in it.
        pieces: address and size of each.

    Raises:
        OSError: there is no memory for it.
    """
    if _moved(_HELD.pwritev, fd, offset, pieces) < len(pieces):
        raise _error()


def scatter(fd: int, offset: int, pieces: Sequence[tuple[int, int]]) -> int:
    """Read a part of a file into pieces of memory; keeps the GIL.

    The file is not mapped for it, and no page of it has to be found by a fault of its own.

    Args:
        fd: of the file.
        offset: of what goes into the first piece.
        pieces: address and size of each; what one of them takes lies behind what the one before took.

    Returns:
        how many of them are filled; others may be in part.
    """
    return _moved(_HELD.preadv, fd, offset, pieces)


def _moved(call: Any, fd: int, offset: int, pieces: Sequence[tuple[int, int]]) -> int:
    for first in range(0, len(pieces), _MOST_AT_ONCE):
        some = pieces[first : first + _MOST_AT_ONCE]
        vector = array("Q", chain.from_iterable(some))
        size = sum(vector[1::2])
        if call(fd, vector.buffer_info()[0], len(some), offset) != size:
            return first
        offset += size
    return len(pieces)


def address_of(buffer: Any) -> int:
    """Return where the memory of a writable object with a buffer lies."""
    return ctypes.addressof(ctypes.c_char.from_buffer(buffer))


def _error() -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number))


def available() -> int:
    """Return how many bytes can be taken before this machine or container runs short. Keeps the GIL."""
    free = sys.maxsize
    for line in _read(b"/proc/meminfo").splitlines():
        if line.startswith(b"MemAvailable:"):
            free = int(line.split()[1]) * 1024
    most, now = _read(b"/sys/fs/cgroup/memory.max"), _read(b"/sys/fs/cgroup/memory.current")
    if most.strip().isdigit() and now.strip().isdigit():
        free = min(free, int(most) - int(now))
    return free


def _read(path: bytes) -> bytes:
    fd = _HELD.open(path, os.O_RDONLY | os.O_CLOEXEC)
    if fd < 0:
        return b""
    area = ctypes.create_string_buffer(8192)
    size = _HELD.read(fd, area, len(area))
    _HELD.close(fd)
    return area.raw[: max(0, size)]


def map_shared(fd: int, size: int, *, write: bool) -> int:
    """Map a file; return the address. Keeps the GIL.

    Raises:
        OSError: no memory, or not such a file.
    """
    found = _HELD.mmap(None, size, _READ_WRITE if write else mmap.PROT_READ, mmap.MAP_SHARED, fd, 0)
    if found in (_FAILED, None):
        raise _error()
    return int(found)


def unmap(address: int, size: int, *, held: bool = True) -> None:
    """Undo :func:`map_shared`.

    Args:
        address: of the first page.
        size: whole pages.
        held: whether the GIL is kept.
    """
    (_HELD if held else _FREE).munmap(address, size)


def populate(address: int, size: int, *, held: bool) -> None:
    """Give whole pages of a shared mapping their memory now.

    Args:
        address: of the first page.
        size: whole pages.
        held: whether the GIL is kept.

    Raises:
        OSError: there is not so much memory.
    """
    if (_HELD if held else _FREE).madvise(address, size, _POPULATE_WRITE) < 0:
        if ctypes.get_errno() == errno.EINVAL:
            return  # before Linux 5.14: memory comes with the first write
        raise _error()


def _malloc_is_glibcs() -> bool:
    """Whether what Python and numpy get from ``malloc`` may have other pages laid under it."""
    try:
        libc = os.confstr("CS_GNU_LIBC_VERSION") or ""
    except (AttributeError, OSError, ValueError):
        return False
    if sys.platform != "linux" or not libc.startswith("glibc"):
        return False

    class Found(ctypes.Structure):
        _fields_ = (
            ("file", ctypes.c_char_p),
            ("base", ctypes.c_void_p),
            ("name", ctypes.c_char_p),
            ("address", ctypes.c_void_p),
        )

    found = Found()
    try:
        known = _HELD.dladdr(ctypes.cast(_HELD.malloc, ctypes.c_void_p), ctypes.byref(found))
    except AttributeError:
        return False
    return bool(known) and os.path.basename(found.file or b"").startswith(b"libc.so")


_can_lay: bool | None = None
_areas_left = 0
"""How many more areas may be laid before the kernel's limit of mappings is looked at again."""


def _has_room() -> bool:
    """Whether there is room for another mapping; a process may have 65,530, and malloc needs some."""
    global _areas_left
    if _areas_left <= 0:
        try:
            with open("/proc/self/maps", "rb") as maps, open("/proc/sys/vm/max_map_count", "rb") as most:
                _areas_left = (int(most.read()) - sum(1 for _ in maps)) // 12
        except (OSError, ValueError):
            return False
    _areas_left -= 1
    return _areas_left > 0


def lay(address: int, size: int, fd: int, offset: int) -> bool:
    """Lay pages of a file under memory from ``malloc``: private, writable, nothing is copied.

    Args:
        address: of the first page.
        size: whole pages.
        fd: of the file.
        offset: of the first page in it.

    Returns:
        whether it was done; otherwise the memory is as usable as before, with unknown contents.

    Raises:
        MemoryError: neither those pages nor others could be put there.
    """
    global _can_lay
    if _can_lay is None:
        _can_lay = _malloc_is_glibcs()
    if not (_can_lay and _has_room()):
        return False
    fixed = mmap.MAP_PRIVATE | _MAP_FIXED
    if _HELD.mmap(address, size, _READ_WRITE, fixed, fd, offset) == address:
        return True
    # What lay there may be gone already.
    if _HELD.mmap(address, size, _READ_WRITE, fixed | mmap.MAP_ANONYMOUS, -1, 0) != address:
        raise MemoryError(f"no pages for {size} bytes")
    return False


# linux/userfaultfd.h and linux/fs.h
_USERFAULTFD = {"x86_64": 323, "aarch64": 282}
_UFFDIO_API, _UFFDIO_REGISTER, _UFFDIO_WRITEPROTECT = 0xC018AA3F, 0xC020AA00, 0xC018AA06
_API, _USER_MODE_ONLY = 0xAA, 1
_FEATURES = 1 << 0 | 1 << 13 | 1 << 15  # PAGEFAULT_FLAG_WP, WP_UNPOPULATED, WP_ASYNC
_MODE_WP = 2
_PROTECT = 1
_PAGEMAP_SCAN = 0xC0606610
_PROTECT_FOUND, _CHECK_WATCHED = 1, 2
_IS_WRITTEN = 1 << 1
_MOST_FOUND = 4096


class _Scan(ctypes.Structure):
    _fields_ = tuple(
        (name, ctypes.c_uint64)
        for name in (
            *("size", "flags", "start", "end", "walk_end", "vec", "vec_len"),
            *("max_pages", "inverted", "mask", "any_of", "wanted"),
        )
    )


class _Region(ctypes.Structure):
    _fields_ = (("start", ctypes.c_uint64), ("end", ctypes.c_uint64), ("categories", ctypes.c_uint64))


_WORDS = ctypes.sizeof(_Region) // 8
"""A list of regions is read as one of numbers: to make an object of each takes as long as the kernel does."""


class Tracker:
    """Tells which pages were written; owns two fds once something is watched."""

    def __init__(self) -> None:
        self._watcher = self._pagemap = -1
        self._works: bool | None = None
        self._found = (_Region * _MOST_FOUND)()
        self._words = memoryview(self._found).cast("B").cast("Q")

    def watch(self, start: int, end: int) -> bool:
        """Note writes to these whole pages from now on; ``False`` where that cannot be done."""
        return self.prepare(start, end) and self.begin(start, end)

    def prepare(self, start: int, end: int) -> bool:
        """Do what :meth:`watch` does first, which costs next to nothing; all pages count as written still."""
        if self._works is None:
            self._works = self._open()
        if not self._works:
            return False
        return self._ioctl(_UFFDIO_REGISTER, bytearray(struct.pack("4Q", start, end - start, _MODE_WP, 0)))

    def begin(self, start: int, end: int) -> bool:
        """Do the rest for some of these pages: 50 ms for a GiB."""
        return self._ioctl(_UFFDIO_WRITEPROTECT, bytearray(struct.pack("3Q", start, end - start, _PROTECT)))

    def changed(self, start: int, end: int, *, anew: bool) -> list[tuple[int, int]] | None:
        """Return the ranges of addresses that were written.

        Args:
            start: of the first page, which was given to :meth:`watch`.
            end: behind the last one.
            anew: note writes anew from this moment on.

        Returns:
            ranges of whole pages; ``None`` if it is not known, because other memory lies there now.
        """
        flags = _CHECK_WATCHED | (_PROTECT_FOUND if anew else 0)
        scan = _Scan(
            size=ctypes.sizeof(_Scan),
            flags=flags,
            start=start,
            end=end,
            vec=ctypes.addressof(self._found),
            vec_len=_MOST_FOUND,
            mask=_IS_WRITTEN,
            wanted=_IS_WRITTEN,
        )
        ranges: list[tuple[int, int]] = []
        while scan.start < end:
            count = _HELD.ioctl(self._pagemap, ctypes.c_ulong(_PAGEMAP_SCAN), ctypes.byref(scan))
            if count < 0:
                if ctypes.get_errno() == errno.EINTR:
                    continue
                return None
            found = self._words[: count * _WORDS].tolist()
            ranges += zip(found[::_WORDS], found[1::_WORDS], strict=True)
            if count < _MOST_FOUND:
                break  # the kernel went through to the end, but may say that it stopped before
            scan.start = scan.walk_end
        return ranges

    def close(self) -> None:
        """Watch nothing any more. Idempotent."""
        for fd in (self._watcher, self._pagemap):
            if fd >= 0:
                os.close(fd)
        self._watcher = self._pagemap = -1
        self._works = False

    def __del__(self) -> None:
        with contextlib.suppress(OSError):
            self.close()

    def _open(self) -> bool:
        number = _USERFAULTFD.get(platform.machine())
        if sys.platform != "linux" or number is None:
            return False
        self._watcher = _HELD.syscall(number, os.O_CLOEXEC | _USER_MODE_ONLY)
        if self._watcher < 0:
            return False
        try:
            self._pagemap = os.open("/proc/self/pagemap", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            self.close()
            return False
        if self._ioctl(_UFFDIO_API, bytearray(struct.pack("3Q", _API, _FEATURES, 0))) and self._scans():
            return True
        self.close()
        return False

    def _scans(self) -> bool:
        """Whether this kernel can be asked: it watches a page of ours, which we write."""
        with mmap.mmap(-1, 2 * PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as area:
            area[0] = 1
            start = address_of(area)
            end = start + 2 * PAGE
            self._works = True
            if not self.watch(start, end):
                return False
            before = self.changed(start, end, anew=True)
            area[PAGE] = 1
            after = self.changed(start, end, anew=True)
        return before == [] and after == [(start + PAGE, end)]

    def _ioctl(self, request: int, argument: bytearray) -> bool:
        area = (ctypes.c_char * len(argument)).from_buffer(argument)
        done: bool = _HELD.ioctl(self._watcher, ctypes.c_ulong(request), area) == 0
        return done
