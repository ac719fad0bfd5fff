"""Live roots to a snapshot. Changes nothing: the generation goes on serving meanwhile, and afterwards.

Invariants:
    * Each root has a stream of its own; one that fails is refused or, if its user said so, given up,
      without touching the others.
    * Roots are references wherever they are mentioned. Roots that share other objects have one more stream
      for all of them (see ``sharing``).
    * What is held for declarations that nobody made yet is written again as it came, byte for byte.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Iterable, Mapping

from livereload_core.facts import RootFate, RootReport
from livereload_core.state import parking
from livereload_core.state.codec import undisturbed
from livereload_core.state.descriptors import Handed, NotQuietError, become_quiet
from livereload_core.state.roots import UNSET, Root
from livereload_core.state.sharing import Sharing
from livereload_core.state.snapshot import Entry, Kind, pack
from livereload_core.state.store import BehindError, Store
from livereload_core.state.tracked.comparisons import Comparisons
from livereload_core.state.tracked.journal import attached, is_container
from livereload_core.state.writing import Work

__all__ = ["Export", "export"]

_needs_quiet = False
"""Whether the state of this program holds what must not be interrupted while it is looked at."""

_REMEMBERED = 1 << 20
"""Bytes of a stream up to which it is kept for the case that its root cannot be written the next time."""


@dataclasses.dataclass(frozen=True, slots=True)
class Export:
    """A snapshot and what it holds.

    Attributes:
        data: the bytes.
        roots: the fate of each root so far: kept, parked, or lost where ``on_error="reset"`` gave it up.
        gaps: why a root is not there as it is now, and whether it is as it was before, by key; if lenient.
        handed: the fds that go with them; whoever exports closes it.
        store: where its large buffers come from.
    """

    data: bytes
    roots: tuple[RootReport, ...]
    gaps: Mapping[str, tuple[str, bool]] = dataclasses.field(default_factory=dict)
    handed: Handed = dataclasses.field(default_factory=Handed)
    store: Store | None = None

    def close(self) -> None:
        """It has been sent: close the duplicates, and do what nobody had to wait for. Idempotent."""
        self.handed.close()
        if self.store is not None:
            self.store.trim()


def export(
    roots: Iterable[Root],
    held: Mapping[str, Entry],
    generation: int,
    is_user_module: Callable[[str], bool],
    sharing: Sharing,
    store: Store,
    comparisons: Comparisons,
    earlier: dict[str, Entry],
    *,
    quiet: bool = True,
    patient: bool = False,
    lenient: bool = False,
) -> Export:
    """Write the state of all roots.

    Args:
        roots: declared and found ones; those without a value are skipped.
        held: entries that wait for their declaration.
        generation: the number of the generation that writes.
        is_user_module: tells whose classes are the user's, by module name.
        sharing: which roots belong together.
        store: what is known of large buffers.
        comparisons: what is known of large plain dicts and lists.
        earlier: what was written last, for roots that can be written again without their process; updated.
        quiet: the thread that works with the state is not in the midst of a line.
        patient: large buffers may be copied in slices first.
        lenient: a root that cannot be carried is written as it was before, or else lost, and costs no other.

    Raises:
        BehindError: if patient: ``Engine.catch_up`` is to do so.
        CannotCarryError: a root cannot be carried, and its user did not say ``on_error="reset"``.
        NotQuietError: something has to be looked at that may not be used meanwhile, and it is not quiet.
        OSError: no fd left for a duplicate.
    """
    alive = [root for root in roots if root.value is not UNSET and root.key not in held]
    containers = [root.value for root in alive if is_container(root.value)]
    if patient and any(attached(container).is_behind(container) for container in containers):
        raise BehindError
    work, entries, handed = _write(
        *(alive, held, is_user_module, sharing, store, comparisons),
        quiet=quiet,
        patient=patient,
        earlier=earlier if lenient else None,
    )
    work.raise_failures()
    reports = [_report(entry) for entry in entries[: len(alive)]]
    reports += [
        RootReport(key, RootFate.PARKED, "its declaration is gone")
        for key, entry in held.items()
        if entry.kind != Kind.GROUP
    ]
    try:
        data = pack(entries, generation)
        _remember(entries[: len(alive)], earlier)
        return Export(data, tuple(reports), work.gaps, handed, store)
    except BaseException:
        handed.close()
        raise


def _write(
    alive: list[Root],
    held: Mapping[str, Entry],
    is_user_module: Callable[[str], bool],
    sharing: Sharing,
    store: Store,
    comparisons: Comparisons,
    *,
    quiet: bool,
    patient: bool,
    earlier: Mapping[str, Entry] | None,
) -> tuple[Work, list[Entry], Handed]:
    """Write the streams, and duplicate their fds in the same stretch.

    Else the program could close one, and its number be used for another file.
    """
    global _needs_quiet
    while True:
        still, interval = quiet and _needs_quiet, sys.getswitchinterval()
        with undisturbed():
            if still:
                become_quiet(interval)
            parking.sweep()
            layers = comparisons.look(alive)
            if patient and comparisons.are_behind:
                raise BehindError
            work = Work(
                *(alive, is_user_module, comparisons, layers),
                looks=sharing.is_due(),
                quiet=still,
                earlier=earlier,
            )
            try:
                entries = [*work.with_pieces(work.entries(sharing), store, patient=patient), *held.values()]
                return work, entries, work.hand_over(entries)
            except NotQuietError:
                _needs_quiet = True
                if not quiet:
                    raise
            finally:
                work.close()


def _remember(entries: Iterable[Entry], earlier: dict[str, Entry]) -> None:
    """Note what can be written once more; what has descriptors cannot, and what is large is not worth it."""
    for entry in entries:
        if not (entry.lost or entry.fds) and len(entry.stream) <= _REMEMBERED:
            earlier[entry.key] = entry
        elif not entry.lost:
            earlier.pop(entry.key, None)


def _report(entry: Entry) -> RootReport:
    if entry.lost:
        return RootReport(entry.key, RootFate.LOST, entry.lost, entry.remedy)
    return RootReport(entry.key, RootFate.KEPT)
