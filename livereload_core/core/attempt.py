"""One attempt to bring a new generation up, and the record that it ends in."""

from __future__ import annotations

import dataclasses
import enum

from livereload_core.core import events as ev
from livereload_core.core.records import Outcome, ReloadRecord
from livereload_core.core.states import PAUSE_PHASES
from livereload_core.facts import Failure, RootReport

__all__ = ["Attempt", "Kind"]


class Kind(enum.Enum):
    """Why an attempt is made."""

    START = "start"
    RELOAD = "reload"
    RECOVER = "recover"


@dataclasses.dataclass(slots=True)
class Attempt:
    """One try to bring a new generation up."""

    kind: Kind
    number: int
    since: float
    files: frozenset[str] = frozenset()
    reset: bool = False
    keys: tuple[str, ...] = ()
    """Preserved objects whose contents the user has given up."""
    earlier: bool = False
    """It starts with an earlier state, in the place of today's."""
    resume: bool = False
    """A first start with the state of the last run."""
    entered: float = 0.0
    phases: list[tuple[str, float]] = dataclasses.field(default_factory=list)
    roots: tuple[RootReport, ...] = ()
    foreign: tuple[str, ...] = ()
    notes: list[str] = dataclasses.field(default_factory=list)
    lingering: int = 0
    connections: int = 0
    moved: int = 0
    kept_back: tuple[tuple[str, int], ...] = ()
    old: ev.Child | None = None
    """The generation that stands still (or is about to) for this attempt."""

    def mark(self, phase: str, now: float) -> None:
        """Book the time since the last mark on ``phase``."""
        self.phases.append((phase, now - self.entered))
        self.entered = now

    def mark_parts(self, parts: tuple[str, str], now: float, *, second: float) -> None:
        """Book the time since the last mark on two phases.

        Args:
            parts: their names; the first one is the way to what was measured.
            now: monotonic seconds.
            second: seconds of the second one, as the child measured them; at most all of the time is taken.
        """
        whole = now - self.entered
        second = min(second, whole)
        self.phases += [(parts[0], whole - second), (parts[1], second)]
        self.entered = now

    def mark_wait(self, waited: float, now: float) -> None:
        """Book what the parent waited on purpose on ``debounce``, and leave the rest to the next mark.

        Args:
            waited: seconds; at most the time since the last mark is taken, for a wait may have begun before
                the attempt.
            now: monotonic seconds.
        """
        waited = min(waited, now - self.entered)
        self.phases.append(("debounce", waited))
        self.entered += waited

    def record(
        self, outcome: Outcome, generation: int, root: str, now: float, failure: Failure | None
    ) -> ReloadRecord:
        """The terminal record; phases that came more than once (superseded) are added up."""
        phases: dict[str, float] = {}
        for name, seconds in self.phases:
            phases[name] = phases.get(name, 0.0) + seconds
        prefix = root.rstrip("/") + "/"
        return ReloadRecord(
            outcome=outcome,
            generation=generation,
            files=tuple(sorted(file.removeprefix(prefix) for file in self.files)),
            total=now - self.since,
            pause=sum(seconds for name, seconds in phases.items() if name in PAUSE_PHASES),
            phases=tuple(phases.items()),
            roots=self.roots,
            foreign=self.foreign,
            failure=failure,
            notes=tuple(self.notes),
            connections=self.moved if outcome is Outcome.COMMITTED else 0,
            kept_back=self.kept_back if outcome is Outcome.COMMITTED else (),
        )
