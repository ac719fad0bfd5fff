"""Finished writes, told by the kernel at once: a file was closed after writing, or renamed into place.

Only these two kinds of event are asked for: at neither moment is a file half written. What else can happen to
a tree (folders that come and go, links, file systems without inotify) is left to the watcher proper; this is
its fast path for the folders of files that run.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys

__all__ = ["Inotify"]

_IN_CLOSE_WRITE = 0x008  # sys/inotify.h
_IN_MOVED_TO = 0x080
_IN_IGNORED = 0x8000
_IN_ONLYDIR = 0x01000000
_EVENT = struct.Struct("=iIII")
_READ = 64 * 1024


class Inotify:
    """One inotify instance; its fd is for the event loop.

    Raises:
        OSError: the system has no inotify, or the limit of instances is reached.
    """

    def __init__(self) -> None:
        if not sys.platform.startswith("linux"):
            raise OSError("no inotify on this system")
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._fd = self._libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "inotify_init1")
        self._folders: dict[int, str] = {}

    def fileno(self) -> int:
        """The fd that is readable when something was written."""
        return int(self._fd)

    def add(self, folder: str) -> bool:
        """Watch the files of one folder; False when that is not possible (gone, limit of watches)."""
        if folder in self._folders.values():
            return True
        mask = _IN_CLOSE_WRITE | _IN_MOVED_TO | _IN_ONLYDIR
        number = self._libc.inotify_add_watch(self._fd, os.fsencode(folder), mask)
        if number < 0:
            return False
        self._folders[number] = folder
        return True

    def read(self) -> frozenset[str]:
        """Return the paths that were written since the last call."""
        try:
            data = os.read(self._fd, _READ)
        except BlockingIOError:
            return frozenset()
        paths = set()
        offset = 0
        while offset < len(data):
            number, mask, _, length = _EVENT.unpack_from(data, offset)
            offset += _EVENT.size
            name = data[offset : offset + length].rstrip(b"\0")
            offset += length
            if mask & _IN_IGNORED:
                self._folders.pop(number, None)  # the folder is gone; a new one of its name is another
            elif name and number in self._folders:
                paths.add(os.path.join(self._folders[number], os.fsdecode(name)))
        return frozenset(paths)

    def close(self) -> None:
        """Let go of the instance. Safe to call again."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
