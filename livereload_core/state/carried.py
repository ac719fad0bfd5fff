"""The fds of the snapshot that this generation has adopted, and what has become of each.

::

    of the snapshot ──arrive──▶ waiting ──an object takes it──▶ waiting, and a duplicate is the object's
                                   └──no entry needs it any more──▶ closed

Whoever leads the generation asks which fds of the process stand for which of the snapshot, and tells the
parent what the program has closed: that must not be opened again by a later generation.

Invariants:
    * A fd waits for as long as an entry that is held needs it, and no longer: the objects have duplicates.
    * The place of a fd in the snapshot is its name. It stays the same whatever is closed meanwhile.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

from livereload_core.state.descriptors import GONE
from livereload_core.state.snapshot import Entry

__all__ = ["Carried"]


class Carried:
    """What is known of them; nothing until a snapshot arrives."""

    def __init__(self) -> None:
        self._waiting: dict[int, int] = {}  # fds that entries need -> their place in the snapshot
        self._taken: dict[int, list[int]] = {}

    def arrive(self, fds: Sequence[int]) -> list[int]:
        """A snapshot is adopted.

        Args:
            fds: what came beside it, -1 for what is gone; they stay the caller's.

        Returns:
            duplicates for its entries, which are let go of here.
        """
        self._taken = {place: [] for place in range(len(fds))}
        own = [fd if fd == GONE else os.dup(fd) for fd in fds]
        self._waiting = {fd: place for place, fd in enumerate(own) if fd != GONE}
        return own

    def leave_segments(self, fds: Sequence[int]) -> None:
        """Segments have owners of their own, and the program has none that it could close."""
        for fd in fds:
            self._taken[self._waiting.pop(fd)] = [GONE]
            os.close(fd)

    def took(self, pairs: Iterable[tuple[int, int]]) -> None:
        """Objects have taken some; the pairs are as of ``Incoming.taken``."""
        for source, fd in pairs:
            self._taken[self._waiting[source]].append(fd)

    def forget(self, closed: Iterable[int]) -> None:
        """Note that fds do not stand for those of the snapshot any more."""
        gone = set(closed)
        for place, fds in self._taken.items():
            self._taken[place] = [fd for fd in fds if fd not in gone]

    def let_go(self, held: Iterable[Entry]) -> None:
        """Close what no entry that is held needs any more: the objects have duplicates of their own."""
        needed = {fd for entry in held for fd in entry.fds}
        for fd in self._waiting.keys() - needed:
            os.close(fd)
            del self._waiting[fd]

    def open_fds(self) -> list[int]:
        """Return those fds of this process that belong to some of the snapshot."""
        return [fd for fds in self.by_place() for fd in fds if fd != GONE]

    def by_place(self) -> list[list[int]]:
        """Return which fds of this process belong to each fd of the snapshot."""
        waiting = {place: fd for fd, place in self._waiting.items()}
        return [
            [*fds, *((waiting[place],) if place in waiting else ())]
            for place, fds in sorted(self._taken.items())
        ]
