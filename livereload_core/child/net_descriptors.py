"""What /proc says about this process's open sockets.

A socket is told by its inode, never by an fd number: the inode names the open socket itself, is shared by all
its duplicates in all processes, and is not reused for 2**32 sockets, while a number is reused at once.
"""

from __future__ import annotations

import os
from collections.abc import Collection

__all__ = ["inode_of", "open_sockets"]


def inode_of(fd: int) -> int:
    """Return the inode behind ``fd``, or 0 when it is not open."""
    try:
        return os.fstat(fd).st_ino
    except OSError:
        return 0


def open_sockets(besides: Collection[int] = ()) -> dict[int, list[int]]:
    """Return the open sockets of this process: inode -> fds in ascending order.

    Empty where there is no /proc.

    Args:
        besides: fds to leave out. To ask for the inode of each costs more than to list them all.
    """
    try:
        numbers = sorted({int(number) for number in os.listdir("/proc/self/fd")}.difference(besides))
    except OSError:
        return {}
    found: dict[int, list[int]] = {}
    for number in numbers:
        try:
            link = os.readlink(f"/proc/self/fd/{number}")
        except OSError:
            continue  # closed meanwhile, by another thread
        if link.startswith("socket:["):
            found.setdefault(int(link[8:-1]), []).append(number)
    return found
