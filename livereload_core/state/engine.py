"""The life of preserved state in one generation: declared, restored, exported.

    activate ─▶ user code is imported: declare_* ─▶ trial ─▶ adopt ─▶ start-up: declare_* ─▶ settle
                                                                          serving: export, again and again

Invariants:
    * ``trial`` and ``export`` change nothing.
    * Nothing is lost without an explicit act: what no declaration claims is parked, and written again.
    * After :meth:`Engine.settle` each root has exactly one fate.
"""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from livereload_core.facts import RootFate, RootReport
from livereload_core.state import exporting, runtime
from livereload_core.state.codec import Dumper, uncollected
from livereload_core.state.declaring import Declaring
from livereload_core.state.exporting import Export
from livereload_core.state.inplace import attributes, set_attributes
from livereload_core.state.mainwatch import MainWatch, main_waits
from livereload_core.state.restoring import Restorer
from livereload_core.state.roots import UNSET, Allowed, Root
from livereload_core.state.sharing import Sharing
from livereload_core.state.snapshot import Entry, Kind, unpack
from livereload_core.state.tracked import background
from livereload_core.state.tracked.comparisons import Comparisons
from livereload_core.state.tracked.family import kind_of
from livereload_core.state.tracked.journal import attached, is_container
from livereload_core.state.waiving import Waive, allow, allowed_by, give_up

__all__ = ["Engine", "Export", "Waive"]

_NOTHING = Waive()
_ALL: Mapping[str, Allowed] = {}
"""Nothing may be left out."""


class Engine(Declaring):
    """Preserved state of this process.

    Args:
        is_user_module: tells the user's modules from installed ones, by name.

    Attributes:
        generation: the number of this generation. Whoever leads the process sets it: the parent counts.
        took: CPU seconds for which the last export kept the program; on a busy machine it was kept longer.
    """

    def __init__(self, *, is_user_module: Callable[[str], bool]) -> None:
        super().__init__()
        self.generation = 1
        self.took = 0.0
        self._is_user_module = _remembered(is_user_module)
        self._reports: dict[str, RootReport] = {}
        self._comparisons = Comparisons()
        self._earlier: dict[str, Entry] = {}
        self._restorer = self._new_restorer(self._held)
        self._sharing = Sharing()
        self._at_commit: list[Callable[[], None]] = []
        self._watch = MainWatch(self._retry)

    def activate(self) -> None:
        """Make ``preserve`` live; call it before user code is imported."""
        if self.awaits:
            self._withheld.watch()
        runtime.current = self

    def deactivate(self) -> None:
        """Make ``preserve`` a no-op again (tests)."""
        self._watch.stop()
        self._withheld.unwatch()
        self._withheld.forget()
        if runtime.current is self:
            runtime.current = None

    # -- what the child's runtime calls --------------------------------------------------------------

    def export(
        self,
        *,
        quiet: bool = True,
        patient: bool = False,
        lenient: bool = False,
        reset: Collection[str] = (),
        allowed: Mapping[str, Allowed] = _ALL,
    ) -> Export:
        """Write the state of all roots; the program may go on running.

        Args:
            reset: keys of roots whose contents the user has given up.
            allowed: what the next generation does without, as of its :meth:`allowed`.
            quiet: the thread that works with the state is not in the midst of a line.
            patient: large buffers may be copied in slices first, by :meth:`catch_up`.
            lenient: a root that cannot be carried is written as it was before, or else lost, and costs no
                other.

        Raises:
            BehindError: they shall be.
            CannotCarryError: with path and remedy, for a root that is not ``on_error="reset"``.
            NotQuietError: it has to be quiet, and is not.
        """
        began = time.thread_time()
        try:
            with self._lock, uncollected():
                roots = self._all_roots()
                allow(roots, allowed)
                return exporting.export(
                    roots,
                    give_up(roots, self._held, reset),
                    self.generation,
                    self._is_user_module,
                    self._sharing,
                    self._store,
                    self._comparisons,
                    self._earlier,
                    quiet=quiet,
                    patient=patient,
                    lenient=lenient,
                )
        finally:
            self.took = time.thread_time() - began

    def allowed(self) -> dict[str, Allowed]:
        """Return what those declarations that were made need not be given by the generation before."""
        with self._lock:
            declared = [(root.key, root.options) for root in self._roots.values()]
            return allowed_by([*declared, *self._classes.declared()])

    def catch_up(self, *, hurry: bool, stop: Callable[[], bool] = lambda: False) -> None:
        """Copy large buffers ahead, in slices between which the program runs; see ``Store.catch_up``.

        Not while another thread exports: whoever leads the generation does one thing at a time.

        Raises:
            CannotCarryError: there is no memory for them.
        """
        self._store.catch_up(hurry=hurry, stop=stop)
        with self._lock:
            containers = self._containers()
        dump = Dumper((), self._is_user_module).dump
        background.catch_up(containers, dump, hurry=hurry, stop=stop)
        self._comparisons.catch_up(dump, hurry=hurry, stop=stop)

    @property
    def is_untidy(self) -> bool:
        """Whether :meth:`catch_up` has something to do although no export asked for it."""
        with self._lock:
            containers = self._containers()
            if self._store.is_untidy or self._comparisons.are_behind:
                return True
        return any(attached(one).is_behind(one) for one in containers)

    def _containers(self) -> list[Any]:
        return [root.value for root in self._roots.values() if is_container(root.value)]

    def trial(
        self, data: bytes | memoryview, fds: Sequence[int] = (), waive: Waive = _NOTHING
    ) -> tuple[RootReport, ...]:
        """Decode, migrate and validate a snapshot into scratch objects; other live ones are not touched.

        Args:
            data: the snapshot.
            fds: what came beside it, -1 for what is gone; they stay the caller's.
            waive: whose loss turns nothing down.

        Tracked containers alone are filled already: nobody uses them before :meth:`adopt`, which then has to
        put into them what has changed since.

        Returns:
            the fates that :meth:`adopt` would bring about; roots that nobody declared yet are left out.

        Raises:
            CannotCarryError: the new code cannot take a root.
            SnapshotError: the snapshot cannot be read.
        """
        with self._lock, uncollected():  # what was read is gone before it could be looked through
            reports = self._tried(unpack(data, fds).entries, waive)
            self._comparisons.tried()
            return reports

    def _tried(self, entries: dict[str, Entry], waive: Waive) -> tuple[RootReport, ...]:
        waived = waive.sort(entries)
        self._ready.clear()
        restorer = self._new_restorer(entries, scratch=True)
        restorer.waived = waived
        try:
            outcomes = restorer.restore(self._pairs(entries))
        finally:
            for received in restorer.received:
                received.close()
            restorer.end()
            background.spare_collector(restorer.received, in_time=True)
        if not main_waits():
            outcomes = [outcome for outcome in outcomes if not outcome.later]
        for outcome in outcomes:
            if outcome.rejects:
                raise outcome.error()
        return tuple(outcome.report() for outcome in outcomes)

    def adopt(self, data: bytes | memoryview, fds: Sequence[int] = (), waive: Waive = _NOTHING) -> None:
        """Fill every declared root in place; roots that are declared later are filled then.

        Args:
            data: the snapshot.
            fds: what came beside it, -1 for what is gone; they stay the caller's.
            waive: whose loss turns nothing down.

        Raises:
            CannotCarryError: the new code cannot take a root.
            SnapshotError: the snapshot cannot be read.
        """
        # A thousand runs of arrays are enough to begin a collection, and it goes through all the program has.
        with self._lock, uncollected():
            own = self._carried.arrive(fds)
            # A copy: the caller may unmap the snapshot, and parked roots outlive it.
            snapshot = unpack(bytes(data), own)
            self._held.update(snapshot.entries)
            self._restorer.waived = waive.sort(self._held)
            self._carried.leave_segments(own[snapshot.fds :])
            final = main_waits()
            self._restore_found(final=final)
            if not final and any(key.startswith("__main__:") for key in self._held):
                self._watch.start()
            self.awaits = False
            self._decide()

    def give_up(self) -> None:
        """This generation ends before it serves; what the old one has must stay as it is."""
        self._withheld.forget()

    def start_anew(self) -> None:
        """There is no state for this generation after all."""
        with self._lock:
            self.awaits = False
            self._decide()

    def carrying(self) -> list[list[int]]:
        """Return which fds of this process belong to each fd of the snapshot that was adopted."""
        with self._lock:
            return self._carried.by_place()

    def commit(self) -> None:
        """This generation serves: what was carried is its own from now on."""
        with self._lock:
            self._committed = True
            self._withheld.write()
            waiting, self._at_commit = self._at_commit, []
        for act in waiting:
            act()

    def settle(self) -> tuple[RootReport, ...]:
        """Start-up has run: fill what was missing, park what nobody declared.

        Returns:
            the fate of every root.

        Raises:
            CannotCarryError: a declared root cannot be filled.
        """
        with self._lock:
            self._settled = True
            self._watch.stop()
            self._restore_found()
            self.awaits = False
            self._decide()
            self._carried.forget(self._restorer.leave_groups())
            for key, entry in list(self._held.items()):
                if entry.kind == Kind.GROUP:
                    del self._held[key]
                else:  # the others of its group go on without it
                    self._held[key] = dataclasses.replace(entry, group="")
            for key, entry in self._held.items():
                fate = self._restorer.waived.get(key, RootFate.LOST if entry.lost else RootFate.PARKED)
                detail = entry.lost or "its declaration is gone; it comes back with it"
                self._reports[key] = RootReport(key, fate, detail, entry.remedy)
            for key in [key for key, entry in self._held.items() if entry.lost]:
                del self._held[key]
            self._carried.let_go(self._held.values())
            self._ready.clear()
            for container in self._containers():
                attached(container).settle(container)
            roots = self._all_roots()
            self._comparisons.settle(roots)
            for root in roots:
                root.follow_rebinding()
                self._reports.setdefault(root.key, RootReport(root.key, RootFate.NEW))
            return tuple(self._reports.values())

    def _all_roots(self) -> list[Root]:
        declared = list(self._roots.values())
        return [*declared, *self._classes.instances(self._roots, self._is_user_module)]

    # -- restoring -------------------------------------------------------------------------------------

    def _new_restorer(self, entries: Mapping[str, Entry], *, scratch: bool = False) -> Restorer:
        return Restorer(
            entries,
            self._find,
            self._classes.aliases,
            self._classes.renamed,
            self._store,
            self._comparisons,
            scratch=scratch,
            ready=self._ready,
        )

    def _pairs(self, entries: Mapping[str, Entry]) -> list[tuple[Root, Entry]]:
        pairs = ((self._find(key, entry.type), entry) for key, entry in entries.items())
        return [(root, entry) for root, entry in pairs if root is not None]

    def _claim(self, root: Root) -> None:
        """Give a root that was just declared what is held for it, and retry what waits for more code."""
        if not self._held:
            return
        for key in (root.key, *(alias for alias, target in self._aliases.items() if target == root.key)):
            shell = self._restorer.shell_of(key)
            if shell is not UNSET and kind_of(shell) is kind_of(root.value):
                # Other roots hold the shell already, so it is the object; the fresh one only lends it
                # the fields that the new code added.
                present = attributes(shell)
                set_attributes(shell, {k: v for k, v in attributes(root.value).items() if k not in present})
                root.value = shell
        self._restore_found()

    def _retry(self) -> None:
        with self._lock:
            self._restore_found()

    def _restore_found(self, *, final: bool = False) -> None:
        outcomes = self._restorer.restore(self._pairs(self._held))
        self._note_received()
        for outcome in outcomes:
            if outcome.later and not final and not self._settled:
                continue
            if outcome.rejects:
                raise outcome.error()
            self._reports[outcome.root.key] = outcome.report()
            del self._held[outcome.entry.key]
        self._carried.let_go(self._held.values())

    def _note_received(self) -> None:
        background.spare_collector(self._restorer.received)
        while self._restorer.received:
            received = self._restorer.received.pop()
            self._carried.took(received.taken)
            if self._committed:
                for act in received.at_commit:
                    act()
            else:
                self._at_commit += received.at_commit


def _remembered(is_user_module: Callable[[str], bool]) -> Callable[[str], bool]:
    """Ask once per module: exports do so for every loaded one. Not before it is loaded, though."""
    known: dict[str, bool] = {}

    def is_users(name: str) -> bool:
        if name not in known:
            if name not in sys.modules:
                return is_user_module(name)
            known[name] = is_user_module(name)
        return known[name]

    return is_users
