"""Files for their owner alone: the project's folder in the user's cache, locks, whole files or none.

Invariants:
    * A file is written under another name and renamed: who reads sees the one before or all of the new one.
    * What is read back is a regular file of this user that nobody else can write, looked at by its fd: a
      link, a pipe, or a file that was exchanged in between is refused.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import stat
import tempfile
from collections.abc import Iterable, Mapping

from livereload_core.posix.memfd import read

__all__ = ["Lock", "NotOursError", "cache_base", "project_folder", "read_private", "sweep", "write_private"]

_NEW = ".new"


class NotOursError(OSError):
    """The file could have been written by somebody else; ``str()`` says how it could."""


def cache_base(environ: Mapping[str, str] = os.environ) -> str:
    """Return the folder in which each project has one; it may not exist yet."""
    base = environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return os.path.join(base, "livecore")


def project_folder(root: str, environ: Mapping[str, str] = os.environ) -> str:
    """Return the folder of the project at ``root``; it may not exist yet."""
    key = hashlib.blake2b(os.fsencode(root), digest_size=8).hexdigest()
    return os.path.join(cache_base(environ), key)


def write_private(path: str, pieces: Iterable[bytes | memoryview], *, durable: bool = False) -> int:
    """Write a file of mode 0600, in a folder of mode 0700 if it has to be made; return its size.

    Args:
        path: where; what is there is replaced.
        pieces: the content; they are asked for while it is written.
        durable: wait until the disk has it.

    Raises:
        OSError: it cannot be written; what was there before still is, and nothing else.
    """
    folder, base = os.path.split(path)
    os.makedirs(folder or ".", mode=0o700, exist_ok=True)
    fd, fresh = tempfile.mkstemp(dir=folder or ".", prefix=f".{base}-", suffix=_NEW)  # 0600
    size = 0
    try:
        try:
            for piece in pieces:
                view = memoryview(piece).cast("B")
                size += len(view)
                while view:
                    view = view[os.write(fd, view) :]
            if durable:
                os.fsync(fd)
        finally:
            os.close(fd)
        os.replace(fresh, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(fresh)
        raise
    return size


def sweep(path: str) -> None:
    """Remove what a :func:`write_private` of ``path`` left behind when its process was killed."""
    folder, base = os.path.split(path)
    with contextlib.suppress(OSError):
        for name in os.listdir(folder):
            if name.startswith(f".{base}-") and name.endswith(_NEW):
                os.unlink(os.path.join(folder, name))


def read_private(path: str, *, last: int = 0) -> bytes:
    """Return the content of a file that nobody else can have written.

    Args:
        path: its path.
        last: only so many bytes of its end, 0 for all.

    Raises:
        NotOursError: somebody else could have.
        OSError: there is none, or it cannot be read.
    """
    # Without O_NONBLOCK a named pipe in its place would hold us up.
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            raise NotOursError("is no regular file")
        if found.st_uid != os.getuid():
            raise NotOursError("belongs to another user")
        if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise NotOursError("can be written by other users")
        return os.pread(fd, last, max(0, found.st_size - last)) if last else read(fd)
    finally:
        os.close(fd)


class Lock:
    """A file that one process at a time holds; the kernel lets go of it when the process ends.

    Attributes:
        held: whether this one does.

    Raises:
        OSError: the file cannot be made.
    """

    def __init__(self, path: str) -> None:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.held = False
        else:
            self.held = True

    def close(self) -> None:
        """Let go. Idempotent."""
        self.held = False
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
