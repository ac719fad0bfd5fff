"""A snapshot as the parent holds it: a memfd, and the fds that travel beside it.

Invariants:
    * Each fd is closed exactly once: when the program has closed its own (or the peer of a connection would
      wait for an end that does not come), or else when the last one that holds the snapshot lets go of it,
      because a newer one has taken its place and no older generation can come back to it.
    * Places do not move: which ones are gone is told beside the fds that are left.
    * The memfd may outlive the rest (:attr:`HeldSnapshot.memory`): to be kept or saved, never to be sent
      as it is.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Collection, Iterable, Iterator

from livereload_core.posix import memfd
from livereload_core.wire import snapshots

__all__ = ["HeldSnapshot", "Memory", "alone"]


class Memory:
    """Owns a memfd until nobody refers to it.

    Args:
        fd: taken over.
    """

    def __init__(self, fd: int) -> None:
        self.fd = fd

    @property
    def size(self) -> int:
        """Its length in bytes."""
        return os.fstat(self.fd).st_size

    def __del__(self) -> None:
        os.close(self.fd)


class HeldSnapshot:
    """Owns the fds of one snapshot until nobody refers to it.

    Args:
        fds: the memfd, then what travels beside it; taken over.
        serial: its number among those of the generation that wrote it.
        generation: which one that was; 0 for an earlier run.
        resumed: it was kept beyond the process that wrote it, and is complete without any fd.

    Attributes:
        memory: the memfd.
        taken: when it came, in seconds since the epoch.
    """

    def __init__(
        self, fds: Iterable[int], serial: int = 0, *, generation: int = 0, resumed: bool = False
    ) -> None:
        first, *others = fds
        self.memory = Memory(first)
        self._others = dict(enumerate(others))
        self._gone: set[int] = set()
        self.serial = serial
        self.generation = generation
        self.resumed = resumed
        self.taken = time.time()

    @classmethod
    def alone(cls, pieces: Iterable[bytes | memoryview], generation: int, taken: float) -> HeldSnapshot:
        """Hold what was kept beyond the process that wrote it."""
        held = cls([memfd.create_of(pieces, "livecore-state")], generation=generation, resumed=True)
        held.taken = taken
        return held

    @property
    def fds(self) -> tuple[int, ...]:
        """The memfd, then those beside it that are left; to be sent, never closed by others."""
        return self.memory.fd, *self._others.values()

    @property
    def gone(self) -> tuple[int, ...]:
        """The places of those that are not left."""
        return tuple(sorted(self._gone))

    def drop(self, places: Iterable[int]) -> None:
        """Close some of those beside the memfd; unknown places are left alone."""
        for place in places:
            fd = self._others.pop(place, None)
            if fd is not None:
                self._gone.add(place)
                os.close(fd)

    def __del__(self) -> None:
        for fd in self._others.values():
            os.close(fd)


@contextlib.contextmanager
def alone(memory: Memory, gone: Collection[int]) -> Iterator[tuple[int, list[bytes | memoryview]]]:
    """Give the number of roots in a snapshot, and its pieces for a time when no fd is beside it.

    Runs in any thread: nothing but the memfd is touched, and nothing of it is copied but the index.

    Raises:
        SnapshotError: it is damaged.
    """
    with memfd.mapped(memory.fd) as view:
        head = snapshots.read(view, any_python=True)
        yield len(head.roots), snapshots.alone(head, gone)
