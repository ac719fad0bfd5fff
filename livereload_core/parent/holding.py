"""Which snapshots the parent holds, and what becomes of them as generations come and go.

    newest     of the generation that serves, or served last: for the case that it dies
    trial      what the candidate decodes while the old one serves
    earlier    the state that the user wants back, while that is tried
    whole      the state with the objects that the user gives up, while that is tried
    kept       the last states of the last generations

Invariants:
    * The newest one is held until a newer one of the serving generation takes its place.
    * What a candidate has taken up becomes the newest at COMMIT, and not before.
"""

from __future__ import annotations

import os

from livereload_core.core.attempt import Attempt, Kind
from livereload_core.parent.kept import KeptStates
from livereload_core.parent.snapshots import HeldSnapshot

__all__ = ["Holding"]


class Holding:
    """Holds the snapshots of one run.

    Args:
        most: how many earlier states are kept.
    """

    def __init__(self, most: int) -> None:
        self.newest: HeldSnapshot | None = None
        self.trial: HeldSnapshot | None = None
        self.earlier: HeldSnapshot | None = None
        self.whole: HeldSnapshot | None = None
        self.kept = KeptStates(most)
        self._taken_up: HeldSnapshot | None = None

    def take_trial(self, *, earlier: bool) -> HeldSnapshot | None:
        """Return what is to be decoded on trial; it is held no longer than that."""
        trial, self.trial = self.trial, None
        return self.earlier if earlier else trial

    def take_up(self, *, with_state: bool, earlier: bool) -> HeldSnapshot | None:
        """Return what the candidate starts with."""
        self._taken_up = self.earlier if earlier else self.newest if with_state else None
        return self._taken_up

    def give_up(self) -> None:
        """No attempt is under way: let go of what only that needed."""
        self._taken_up = None

    def committed(self, attempt: Attempt | None, generation: int) -> HeldSnapshot | None:
        """Another generation serves, with what it has taken up.

        Args:
            attempt: how it came to that.
            generation: the one before, whose last state is kept from now on.

        Returns:
            what that one would come back with, should it have to; None where the user gave its state up.
        """
        before = self.newest
        if before is not None and attempt is not None:
            # A generation that never handed anything over still has what it began with. What it hands over
            # for a reset of some objects is without them, and the way back from that reset needs them.
            self.kept.keep(self.whole or before, generation, _why(attempt))
        if self._taken_up is None:
            before = None
        self.newest, self._taken_up = self._taken_up, None
        return before

    def close(self) -> None:
        """Let go of every fd."""
        self.newest = self.trial = self.earlier = self.whole = self._taken_up = None
        self.kept.clear()


def _why(attempt: Attempt) -> str:
    """Say what ended the generation before, for the list of kept states."""
    if attempt.kind is Kind.START:
        return "the run before"
    if attempt.kind is Kind.RECOVER:
        return "died"
    if attempt.earlier:
        return "rollback"
    if attempt.reset or attempt.keys:
        return "reset"
    names = sorted(os.path.basename(file) for file in attempt.files)
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return f"edit of {names[0]}{more}" if names else "reload"
