"""What becomes of fds that a snapshot took along: who may use them, and who has let them go.

Three moments:

    resume   The reload was given up. Positions and flags of open files are shared by all who hold them, so
             they are put back to what they were when this generation stood still.
    retire   The next generation serves. Dead ends are put over this generation's fds before one more line of
             it runs: its shutdown, ``finally`` blocks and buffers cannot harm what crossed.
    closed   The program has closed an fd whose duplicate the parent holds for the case that it dies. The
             parent is told, or the peer of a connection would never hear of the end.

Closing is noticed by looking, four times a second, and not by patches: sockets, files and pipes are closed in
too many ways (by object, by number, by garbage collection, in C).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from typing import Any, Self

from livereload_core.posix import epoll, stopped
from livereload_core.state.descriptors import GONE, Handed

__all__ = ["LOOK", "Handing", "Marks", "spread"]

LOOK = 0.25
"""Seconds between two looks at whether the program has closed what the parent holds for it."""

Identity = tuple[int, int, int]


def _identity(fd: int) -> Identity | None:
    """Tell one open file from another that took its number; None when it is closed."""
    try:
        found = os.fstat(fd)
    except OSError:
        return None
    return found.st_dev, found.st_ino, stat.S_IFMT(found.st_mode)


def spread(fds: Sequence[int], gone: Sequence[int]) -> list[int]:
    """Put fds into their places, with a mark in those of the ones that are gone."""
    left = iter(fds)
    absent = set(gone)
    return [GONE if place in absent else next(left) for place in range(len(fds) + len(absent))]


class Handing:
    """The fds that the parent holds for this generation."""

    def __init__(self) -> None:
        self._serial = 0
        self._held: tuple[int, list[list[tuple[int, Identity | None]]]] = (0, [])
        self._told: set[int] = set()

    def begin(self, carried: Sequence[Sequence[int]]) -> None:
        """This generation serves with a snapshot whose fds have become these of its own."""
        self._held = (0, [[(fd, _identity(fd)) for fd in fds] for fds in carried])

    def next(self) -> int:
        """Return the number of the next snapshot of this generation, from 1 on."""
        self._serial += 1
        return self._serial

    def sent(self, serial: int, handed: Handed) -> None:
        """The parent has a newer snapshot."""
        pairs = zip(handed.sources, handed.fds, strict=True)
        self._told = set()
        self._held = (serial, [[(source, _identity(copy))] for source, copy in pairs])

    def closed(self) -> tuple[int, list[int]]:
        """Return the number of the snapshot and the places in it that the program has closed since."""
        serial, held = self._held
        told = self._told
        places = [
            place
            for place, fds in enumerate(held)
            # one that was opened for the snapshot alone has no other owner who could close it
            if place not in told
            and all(fd != GONE and (known is None or _identity(fd) != known) for fd, known in fds)
        ]
        told.update(places)
        return serial, places

    @staticmethod
    def identities(handed: Handed) -> tuple[Identity | None, ...]:
        """Say which open files a snapshot takes along: equal bytes may stand for others than before."""
        return tuple(_identity(fd) for fd in handed.fds)


class Marks:
    """What this generation has to do with the fds of its decisive snapshot, once the verdict is there.

    A context from the snapshot to the verdict, while every thread stands still: it keeps the GIL.

    Attributes:
        cuts: calls that part this generation from what it handed over, for :func:`stopped.hear`.
    """

    def __init__(self, handed: Handed) -> None:
        self._marks = [(fd, stopped.position(fd), stopped.flags(fd)) for fd in handed.fds]
        # Listeners are parted with in a way of their own (Net.let_go).
        self._own = [
            (source, copy)
            for source, copy in zip(handed.sources, handed.fds, strict=True)
            if source != GONE and not stopped.is_listener(copy)
        ]
        self._ends = stopped.DeadEnds()
        self._cuts = handed.cuts

    def __enter__(self) -> Self:
        if self._own:
            self._ends.open()
        self.cuts: list[tuple[Any, ...]] = [(setattr, *cut) for cut in self._cuts]
        self.cuts += [stopped.replacing(source, self._ends.like(copy)) for source, copy in self._own]
        return self

    def settle(self, *, retire: bool) -> None:
        """Do what the verdict asks for; the cuts have been made if it is to retire."""
        if retire:
            # An event loop would still be told of events of an open file, by an entry to which the number
            # does not lead any more.
            for source, copy in self._own:
                epoll.forget(source, copy, self._ends.like(copy))
            return
        # The candidate does not serve: undo what it did to the open files, which both hold.
        for fd, position, flags in self._marks:
            stopped.set_flags(fd, flags)
            # What was written meanwhile stays: one that is only written goes on behind its last byte.
            writes = flags & os.O_ACCMODE == os.O_WRONLY
            if position is not None and not (writes and (stopped.position(fd) or 0) > position):
                stopped.move(fd, position)

    def __exit__(self, *_: object) -> None:
        self._ends.close()
