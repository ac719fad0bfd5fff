"""A snapshot as the parent holds it: a memfd, and the fds that travel beside it.

Invariants:
    * Each fd is closed exactly once: when the program has closed its own (or the peer of a connection would
      wait for an end that does not come), or else when the last one that holds the snapshot lets go of it,
      because a newer one has taken its place and no older generation can come back to it.
    * Places do not move: which ones are gone is told beside the fds that are left.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

__all__ = ["HeldSnapshot"]


class HeldSnapshot:
    """Owns the fds of one snapshot until nobody refers to it.

    Args:
        fds: the memfd, then what travels beside it; taken over.
        serial: its number among those of the generation that wrote it.
    """

    def __init__(self, fds: Iterable[int], serial: int = 0) -> None:
        self._memfd, *others = fds
        self._others = dict(enumerate(others))
        self._gone: set[int] = set()
        self.serial = serial

    @property
    def fds(self) -> tuple[int, ...]:
        """The memfd, then those beside it that are left; to be sent, never closed by others."""
        return self._memfd, *self._others.values()

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
        for fd in self.fds:
            os.close(fd)
