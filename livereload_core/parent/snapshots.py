"""A snapshot as the parent holds it: a memfd, and the fds that travel beside it.

Invariants:
    * Each fd is closed exactly once: when the program has closed its own (or the peer of a connection would
      wait for an end that does not come), or else when the last one that holds the snapshot lets go of it,
      because a newer one has taken its place and no older generation can come back to it.
    * Places do not move: which ones are gone is told beside the fds that are left.
    * Memory may outlive the rest (:class:`Stored`): to be kept or saved, never to be sent as it is.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import time
from collections.abc import Iterable, Iterator, Sequence

from livereload_core.posix import memfd
from livereload_core.wire import snapshots

__all__ = ["Contents", "HeldSnapshot", "Memory", "Stored"]


class Memory:
    """Owns an fd until nobody refers to it.

    Args:
        fd: taken over.
    """

    def __init__(self, fd: int) -> None:
        self.fd = fd

    @property
    def size(self) -> int:
        """Its length in bytes."""
        return os.fstat(self.fd).st_size

    @property
    def identity(self) -> tuple[int, int]:
        """Tells one file from another, whichever fd it is reached by."""
        found = os.fstat(self.fd)
        return found.st_dev, found.st_ino

    def __del__(self) -> None:
        os.close(self.fd)


@dataclasses.dataclass(frozen=True, slots=True)
class Contents:
    """What is in a stored snapshot, while it is open.

    Attributes:
        roots: how many.
        pieces: of a snapshot that needs no descriptor.
        segments: what it refers to.
    """

    roots: int
    pieces: list[bytes | memoryview]
    segments: list[memoryview]


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Stored:
    """The memory of a snapshot, without what only a process can hold.

    Attributes:
        memory: the snapshot.
        segments: memory that it refers to.
        gone: places of descriptors that the program had closed itself.
        generation: the one that wrote it; 0 for an earlier run.
        taken: when it came, in seconds since the epoch.
    """

    memory: Memory
    segments: tuple[Memory, ...]
    gone: tuple[int, ...]
    generation: int
    taken: float

    @property
    def size(self) -> int:
        """Bytes of all of it."""
        return self.memory.size + sum(segment.size for segment in self.segments)

    @contextlib.contextmanager
    def opened(self) -> Iterator[Contents]:
        """Give what is in it, in any thread; nothing is copied but the index.

        Raises:
            SnapshotError: it is damaged.
        """
        with contextlib.ExitStack() as stack:
            view = stack.enter_context(memfd.mapped(self.memory.fd))
            segments = [stack.enter_context(memfd.mapped(segment.fd)) for segment in self.segments]
            head = snapshots.read(view, any_python=True)
            yield Contents(len(head.roots), snapshots.alone(head, self.gone), segments)


class HeldSnapshot:
    """Owns the fds of one snapshot until nobody refers to it.

    Args:
        fds: the memfd, then what travels beside it: descriptors of objects, then segments; taken over.
        serial: its number among those of the generation that wrote it.
        generation: which one that was; 0 for an earlier run.

    Attributes:
        memory: the memfd.
        resumed: it is there for the time when the process that wrote it is gone: what it lacks is lost.
        taken: when it came, in seconds since the epoch.
    """

    def __init__(self, fds: Iterable[int], serial: int = 0, *, generation: int = 0) -> None:
        self.memory, *others = map(Memory, fds)
        self._others = dict(enumerate(others))
        self._gone: set[int] = set()
        self.serial = serial
        self.generation = generation
        self.resumed = False
        self.taken = time.time()

    @classmethod
    def alone(cls, stored: Stored) -> HeldSnapshot:
        """Hold what was kept beyond the process that wrote it.

        Raises:
            SnapshotError: it is damaged.
        """
        with stored.opened() as contents:
            held = cls([memfd.create_of(contents.pieces, "livecore-state")], generation=stored.generation)
        held._others = dict(enumerate(stored.segments))
        held.resumed, held.taken = True, stored.taken
        return held

    @classmethod
    def saved(
        cls, snapshot: memoryview, segments: Sequence[memoryview], generation: int, taken: float
    ) -> HeldSnapshot:
        """Hold what was saved on disk, where nothing was beside it."""
        fds = [memfd.create(view, "livecore-state") for view in (snapshot, *segments)]
        held = cls(fds, generation=generation)
        held.resumed, held.taken = True, taken
        return held

    def stored(self) -> Stored:
        """Return what can be kept of it."""
        segments: tuple[Memory, ...] = ()
        if self._others:
            with memfd.mapped(self.memory.fd) as view:
                first = snapshots.descriptors(view)
            segments = tuple(fd for place, fd in self._others.items() if place >= first)
        return Stored(self.memory, segments, self.gone, self.generation, self.taken)

    @property
    def fds(self) -> tuple[int, ...]:
        """The memfd, then those beside it that are left; to be sent, never closed by others."""
        return self.memory.fd, *(other.fd for other in self._others.values())

    @property
    def gone(self) -> tuple[int, ...]:
        """The places of those that are not left."""
        return tuple(sorted(self._gone))

    def drop(self, places: Iterable[int]) -> None:
        """Close some of those beside the memfd; unknown places are left alone."""
        for place in places:
            if self._others.pop(place, None) is not None:
                self._gone.add(place)
