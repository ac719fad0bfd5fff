"""The last state of each of the last generations, for whoever wants to go back.

Kept are the bytes alone. What travelled beside them (sockets, files) is the business of the generation that
serves; a root that had some comes back lost, with the reason.

Invariants:
    * One state per generation: its last one.
    * All of them together take no more memory than ``MOST_BYTES``; the oldest go first.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from livereload_core.parent.snapshots import HeldSnapshot, Stored

__all__ = ["MOST_BYTES", "Kept", "KeptStates"]

MOST_BYTES = 256 << 20
"""Bytes of kept states. They lie in memory, beside the state that serves."""


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Kept:
    """A kept state.

    Attributes:
        generation: the one whose last state it is; 0 for that of an earlier run.
        why: what ended that generation.
        stored: the state.
    """

    generation: int
    why: str
    stored: Stored


class KeptStates:
    """The states that a run keeps, oldest first.

    Args:
        most: how many.

    Attributes:
        too_large: the size of the newest state that found no room, 0 if it did.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: list[Kept] = []
        self.too_large = 0

    def __len__(self) -> int:
        return len(self._kept)

    def __iter__(self) -> Iterator[Kept]:
        return iter(self._kept)

    def configure(self, most: int) -> None:
        """Keep so many from now on."""
        self._most = most
        self._trim()

    def keep(self, held: HeldSnapshot, generation: int, why: str) -> None:
        """Keep the last state of a generation in the place of an earlier one of the same."""
        self._kept = [kept for kept in self._kept if kept.generation != generation]
        stored = dataclasses.replace(held.stored(), generation=generation)
        self._kept.append(Kept(generation, why, stored))
        self._trim()
        self.too_large = 0 if self._kept or not self._most else stored.size

    def find(self, generation: int) -> Kept | None:
        """Return the state of a generation, if it is kept."""
        return next((kept for kept in self._kept if kept.generation == generation), None)

    @property
    def newest(self) -> Kept | None:
        """The one that was kept last."""
        return self._kept[-1] if self._kept else None

    def clear(self) -> None:
        """Keep none."""
        self._kept.clear()

    def _trim(self) -> None:
        while len(self._kept) > self._most or self._size() > MOST_BYTES:
            del self._kept[0]

    def _size(self) -> int:
        """Bytes of all; memory that several refer to counts once."""
        parts = [part for kept in self._kept for part in (kept.stored.memory, *kept.stored.segments)]
        return sum({part.identity: part.size for part in parts}.values())
