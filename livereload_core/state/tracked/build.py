"""The first export of a container that is under way: which keys are still to be written."""

from __future__ import annotations

from collections import deque
from itertools import islice
from typing import Any

from livereload_core.state.fields import Shape
from livereload_core.state.tracked.parts import Writer

__all__ = ["Build"]

_SCAN = 10_000
"""Keys that are listed at a time: 0.2 ms."""
_TRIES = 5
"""How often a container that is written to is listed in slices, before it is done at once."""


class Build:
    """Lists the keys, and keeps what is to come of it.

    Args:
        notes: of the container; taken off.
        keeps: whether there are older parts that they belong to.

    Attributes:
        older: what the layers over the older parts have to hold until this is done.
        listed: whether all keys are known.
        writer: writes the parts.
        written: how many keys are in parts already.
        restless: keys of values that others can reach and change.
        classes: shapes of the user's classes in the parts.
    """

    def __init__(self, notes: set[Any], *, keeps: bool) -> None:
        self.older: set[Any] = set()
        self.listed = False
        self.writer = Writer(0)
        self.written = 0
        self.restless: set[Any] = set()
        self.classes: dict[str, Shape] = {}
        self._notes = notes
        self._keeps = keeps
        self._keys: deque[list[Any]] = deque()
        self._listing: Any = None
        self._tries = 0
        self._at = 0
        self._take_notes()

    def list(self, entries: Any, base: Any) -> None:
        """List the next keys; from the beginning if there was a write, and at once after some tries."""
        if self._listing is None:
            self._keys.clear()
            self._listing = base.__iter__(entries)
            self._tries += 1
        try:
            if self._tries > _TRIES:
                self._keys.append([*base.__iter__(entries)])
                self._listing, self.listed = None, True
                return
            more = [*islice(self._listing, _SCAN)]
        except RuntimeError:  # changed its size meanwhile
            self._listing = None
            return
        self._keys.append(more)
        if self._notes:  # somebody wrote: the place of the iterator may be another one now
            self._listing = None
            self._take_notes()
        elif len(more) < _SCAN:
            self._listing, self.listed = None, True

    def _take_notes(self) -> None:
        if not self._keeps:
            self._notes.clear()
            return
        taken = self._notes.copy()
        self.older |= taken
        self._notes.difference_update(taken)

    def next(self, amount: int) -> Any:
        """Return the next keys, none at the end; those before are let go of bit by bit."""
        while self._keys:
            found = self._keys[0][self._at : self._at + amount]
            if found:
                self._at += amount
                return found
            self._keys.popleft()
            self._at = 0
        return []
