"""A snapshot to live roots, or to scratch ones for a trial.

For each root: decode its stream, convert fields; then migrate, check, pour into the object that the user
holds, validate (see ``pouring``). Roots may mention each other, so all are decoded before any migration
runs, and one whose decoding needs another's contents (an object used as a key) is tried again after the
others.

Invariants:
    * In a trial no live object is touched and no factory is called.
    * A root that fails leaves its live object as the new code made it.
    * A root that nobody declared is made only if another one really refers to it. What lies in parts is read
      ahead in a trial, which nobody notices if it fails.
"""

from __future__ import annotations

import functools
import sys
import time
import weakref
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from livereload_core.facts import RootFate
from livereload_core.state.blame import is_from_elsewhere, told
from livereload_core.state.codec import grown_old, load, uncollected
from livereload_core.state.descriptors import Incoming, receiving
from livereload_core.state.each import steps_between
from livereload_core.state.husks import disarm
from livereload_core.state.inplace import family_of, family_of_class
from livereload_core.state.names import lookup
from livereload_core.state.outcome import MIGRATE, Outcome, is_migrated
from livereload_core.state.pouring import pour
from livereload_core.state.refusals import RefusedError
from livereload_core.state.roots import UNSET, Form, Options, Root
from livereload_core.state.shapes import Conversion, converting, keep_aside
from livereload_core.state.shells import UNREFERENCED, Absent, Resolved, are_unreferenced
from livereload_core.state.snapshot import Entry, Kind
from livereload_core.state.store import Store
from livereload_core.state.tracked.applying import Steps
from livereload_core.state.tracked.arriving import filling, undo
from livereload_core.state.tracked.comparisons import Comparisons, is_inside
from livereload_core.state.tracked.family import kind_of
from livereload_core.state.tracked.journal import is_container, is_container_class

__all__ = ["Restorer"]


class Restorer:
    """Restores roots out of a set of entries.

    Args:
        entries: what the snapshot holds (and what is parked), by key.
        find_root: returns today's root for a key of then.
        aliases: (module, qualname) of then -> class of today.
        renamed: class -> {old field: new field}.
        store: where large buffers are known from now on.
        comparisons: where large plain dicts and lists are.
        scratch: a trial: leave live objects alone.
        ready: tracked containers that a trial has filled before they were declared, by key.

    Attributes:
        received: the fds of the streams that were read; whoever restores decides when they are closed.
        waived: roots whose loss turns nothing down, with their fates.
    """

    def __init__(
        self,
        entries: Mapping[str, Entry],
        find_root: Callable[[str], Root | None],
        aliases: dict[tuple[str, str], type],
        renamed: Mapping[type, Mapping[str, str | None]],
        store: Store,
        comparisons: Comparisons,
        *,
        scratch: bool = False,
        ready: dict[str, Any] | None = None,
    ) -> None:
        self._entries = entries
        self._ready = {} if ready is None else ready
        self._find_root = find_root
        self._aliases = aliases
        self._renamed = renamed
        self._store = store
        self._comparisons = comparisons
        self._scratch = scratch
        # Each stream asks for every root in its table. References to shells are counted: one dict holds them.
        self._shells: dict[str, Any] = Resolved(weakref.WeakMethod(self._add_shell))
        self._live: dict[str, Any] = Resolved(weakref.WeakMethod(self._live_or_shell))
        self._fills_containers = False
        self._filled: set[str] = set()
        self._referenced: set[str] = set()
        self._wanted: dict[str, Outcome] = {}
        self.received: list[Incoming] = []
        self.waived: dict[str, RootFate] = {}
        # None: it could not be loaded. Contents, until settled; taken ones are UNSET.
        self._groups: dict[str, tuple[list[Any], list[str], Incoming] | None] = {}

    def restore(self, pairs: Iterable[tuple[Root, Entry]]) -> list[Outcome]:
        """Restore some roots; nothing is raised, each outcome says how it went."""
        outcomes = [Outcome(root, entry) for root, entry in pairs]
        self._live.clear()
        roots = map(self._find_root, self._entries)
        self._fills_containers = any(root is not None and is_container(root.value) for root in roots)
        with uncollected():
            open_outcomes = outcomes
            while open_outcomes:
                for outcome in open_outcomes:
                    self._guarded(outcome, self._decode)
                self._fill_wanted()
                decoded = [outcome for outcome in open_outcomes if outcome.refused is None]
                # Migrations may look at other roots, so the plain ones are filled first.
                for outcome in sorted(decoded, key=is_migrated):
                    self._guarded(outcome, self._apply)
                if not decoded:
                    break
                open_outcomes = [outcome for outcome in open_outcomes if outcome.new is UNSET]
            if self._scratch:
                self._fill_ahead()
            elif outcomes:
                grown_old()
        return outcomes

    def end(self) -> None:
        """A trial is over: what stood for live objects is dropped."""
        for shell in self._shells.values():
            if not is_container(shell):
                disarm(shell)

    def shell_of(self, key: str) -> Any:
        """Return the object that other roots took for this one before it was declared, or ``UNSET``."""
        return self._shells.get(key, UNSET) if key in self._filled else UNSET

    def _guarded(self, outcome: Outcome, step: Callable[[Outcome], object]) -> None:
        outcome.refused = None
        try:
            step(outcome)
        except RefusedError as refused:
            undo((outcome.new, outcome.root.value))
            # Its traceback would keep the unpickler alive, and with it every shell that it was given.
            outcome.refused = refused.with_traceback(None)
        except BaseException as error:  # becomes the reason of the rejection
            if is_from_elsewhere(error):
                raise
            undo((outcome.new, outcome.root.value))
            outcome.refused = RefusedError(f"the new code cannot take it ({told(error)})", MIGRATE)
            outcome.refused.__cause__ = error

    def _decode(self, outcome: Outcome) -> None:
        entry = outcome.entry
        outcome.waived = self.waived.get(entry.key)
        if outcome.waived is not None:
            raise RefusedError(entry.lost, entry.remedy)
        ttl, age = outcome.root.options.ttl, time.time() - entry.born
        if ttl is not None and age > ttl:
            outcome.expired = True
            raise RefusedError(f"is {age:.0f} s old, and kept for {ttl:g} s")
        if entry.lost:
            raise RefusedError(f"could not be carried ({entry.lost})", entry.remedy)
        if entry.key in self._filled:
            outcome.new = _copy_of(self._shells[entry.key])
            return
        try:
            if not self._take_from_group(outcome):
                outcome.new, outcome.notes = self._load(entry, outcome)
        except BaseException:
            # What was half built may live on in tracebacks and hold shells that nothing else refers to.
            kept = self._filled | self._referenced
            for key in self._shells.keys() - kept:
                del self._shells[key]
            raise

    def _take_from_group(self, outcome: Outcome) -> bool:
        """Take what was loaded for all of a group at once; ``False`` where each has to see for itself."""
        key = outcome.entry.group
        group = self._entries.get(key) if key else None
        if group is None:
            return False
        if key not in self._groups:
            try:
                self._load_group(key, group, outcome)
            except RefusedError as refused:
                if refused.later:
                    raise
                self._groups[key] = None
            except BaseException as error:
                if is_from_elsewhere(error):
                    raise
                self._groups[key] = None  # whoever is at fault fails alone too, and says why
        loaded = self._groups[key]
        if loaded is None:
            others = len(group.args) - 1
            outcome.notes = [f"what it shared with {others} other{'s' * (others > 1)} is its own now"]
            new, notes = self._load(outcome.entry, outcome)
            outcome.new, outcome.notes = new, notes + outcome.notes
            return True
        _, notes, outcome.received = loaded
        outcome.new = self._left_in_group(outcome.entry)
        outcome.notes = list(notes)
        return outcome.new is not UNSET

    def _load_group(self, key: str, group: Entry, outcome: Outcome) -> None:
        contents, notes = self._load(group, outcome)
        self._groups[key] = list(contents), notes, self.received[-1]

    def _left_in_group(self, entry: Entry) -> Any:
        """Return what a group that was loaded holds for an entry, ``UNSET`` if there is none."""
        loaded = self._groups.get(entry.group) if entry.group else None
        if loaded is None:
            return UNSET
        contents = loaded[0]
        found, contents[entry.index] = contents[entry.index], UNSET
        return found

    def leave_groups(self) -> list[int]:
        """Drop what the members that nobody declared would have taken: each is restored alone from now on.

        Returns:
            fds of objects that nothing else holds; they are closed.
        """
        loaded = [group for group in self._groups.values() if group is not None]
        self._groups.clear()
        closed = []
        for contents, _, received in loaded:
            contents.clear()
            closed += received.close_unheld()
        return closed

    def _load(self, entry: Entry, outcome: Outcome) -> tuple[Any, list[str]]:
        renamed = dict(self._renamed)
        for key in entry.args if entry.kind == Kind.GROUP else (entry.key,):
            written, root = self._entries.get(key), self._find_root(key)
            if root is not None and root.options.renamed and written is not None and written.type:
                renamed[self._class(written.type)] = root.options.renamed
        received = Incoming(
            entry.fds,
            scratch=self._scratch,
            pieces=entry.pieces,
            store=self._store,
            waits=entry.kind == Kind.SHELL and entry.type == "numpy:ndarray",
        )
        with (
            receiving(received),
            converting(entry.classes, renamed, self._class_or_none, trial=self._scratch) as conversion,
            filling(received, self._container, self._steps, entry.classes, conversion, self._aliases),
        ):
            new = load(
                entry.stream,
                len(entry.table),
                map(self._objects.__getitem__, entry.table),
                self._aliases,
            )
            self._refuse_lacking(conversion, new, outcome)
            if received.parts or not self._scratch:  # what containers have read on trial they keep
                keep_aside()
            self._note_references(entry, outcome)
        self.received.append(received)
        outcome.received = received
        return new, list(conversion.notes)

    def _steps(self, key: str) -> Steps | None:
        """Return what migrates each value of a root, nothing if that needs all, None if there is no need."""
        root, entry = self._find_root(key), self._entries[key]
        if root is None or entry.version == root.options.version:
            return None
        return steps_between(root.options.migrate, entry.version, root.options.version)

    def _container(self, key: str) -> Any:
        """Return the tracked container that a root of then is, or becomes, or what receives a plain one."""
        if is_inside(key):
            return self._comparisons.arriving(key)
        entry = self._entries[key]
        cls = self._class(entry.type)
        if cls is dict or cls is list:
            return self._comparisons.arriving(key)
        found = self._objects[key]
        if kind_of(found) is cls and key not in self._filled:  # one that is filled may be in use
            return found
        family = family_of_class(cls)
        assert family is not None
        return family.shell(cls, entry.args)

    def _refuse_lacking(self, conversion: Conversion, new: Any, outcome: Outcome) -> None:
        """Refuse objects without a value for a new field, unless a root has it from its fresh object."""
        fresh = outcome.root.value
        for obj, name, refused in conversion.lacking:
            if not (obj is new and fresh is not UNSET and hasattr(fresh, name)):
                raise refused

    def _class(self, key: str) -> type:
        module, _, name = key.partition(":")
        found = self._aliases.get((module, name)) or lookup(module, name)
        if not isinstance(found, type):
            raise RefusedError(f"{key} is no class any more", MIGRATE)
        return found

    def _class_or_none(self, key: str) -> type | None:
        try:
            return self._class(key)
        except RefusedError:
            return None  # the stream names it too, and loading that says so

    @property
    def _objects(self) -> dict[str, Any]:
        """This process's objects for roots, by key: live ones, or empty ones to be filled."""
        return self._shells if self._scratch and not self._fills_containers else self._live

    def _live_or_shell(self, key: str) -> Any:
        root = self._find_root(key)
        if root is not None and self._scratch and not is_container(root.value):
            root = None
        if root is not None and root.value is not UNSET and not root.slot:
            self._live[key] = root.value
            return root.value
        return self._shells[key]

    def _add_shell(self, key: str) -> Any:
        shell = self._shells[key] = self._new_shell(key)
        return shell

    def _new_shell(self, key: str) -> Any:
        entry = self._entries.get(key)
        if entry is None or entry.kind != Kind.SHELL:
            return Absent(RefusedError(f"refers to {key}, which is not there any more", MIGRATE))
        try:
            cls = self._class(entry.type)
            family = family_of_class(cls)
            if family is None:
                raise RefusedError(f"{entry.type} cannot be refilled in place any more", MIGRATE)
            shell = self._ready.get(key)
            if shell is None:
                shell = family.shell(cls, entry.args)
                if is_container(shell):
                    self._ready[key] = shell
            return shell
        except RefusedError as refused:
            return Absent(refused.with_traceback(None))

    def _note_references(self, entry: Entry, outcome: Outcome) -> None:
        if are_unreferenced(self._shells):
            return
        for key in entry.table if self._shells else ():
            if key == entry.key or key in self._filled or key not in self._shells:
                continue
            shell = self._shells[key]
            if sys.getrefcount(shell) <= UNREFERENCED + (self._ready.get(key) is shell):
                continue
            if type(shell) is Absent:
                refused = shell.refused
                del self._shells[key]  # may be there the next time
                raise refused
            self._wanted[key] = outcome
            self._referenced.add(key)

    def _fill_wanted(self) -> None:
        """Fill the shells that decoded roots refer to and that have no declaration of their own."""
        while self._wanted:
            key, outcome = self._wanted.popitem()
            if key in self._filled or self._find_root(key) is not None:
                continue
            self._guarded(outcome, functools.partial(self._fill, key))

    def _fill(self, key: str, outcome: Outcome) -> None:
        if self._entries[key].lost:
            raise RefusedError(f"refers to {key}, which {self._entries[key].lost}", MIGRATE)
        entry, own = self._entries[key], outcome.received
        group = self._entries.get(entry.group) if entry.group else None
        if group is not None and entry.group not in self._groups:
            try:
                self._load_group(entry.group, group, outcome)
            except BaseException as error:  # whoever is at fault fails alone too, and says why
                if is_from_elsewhere(error):
                    raise
        new = self._left_in_group(entry)
        if new is UNSET:
            new, _ = self._load(entry, outcome)
            self.received[-1].complete()
        outcome.received = own
        shell = self._shells[key]
        family = family_of(shell)
        assert family is not None  # made by one
        family.become(shell, new)
        self._filled.add(key)

    def _fill_ahead(self) -> None:
        """Read containers in parts that the new code may declare later: they keep what they have read."""
        for key, entry in self._entries.items():
            cls = self._class_or_none(entry.type) if entry.kind == Kind.SHELL and not entry.lost else None
            if cls is None or self._find_root(key) is not None:
                continue
            unnoticed = Outcome(Root(key, Form.VALUE, Options.of({})), entry)
            if (cls is dict or cls is list) and entry.pieces:
                self._guarded(unnoticed, functools.partial(self._load, entry))
            elif is_container_class(cls):
                self._shells[key]  # makes it
                if key not in self._filled:
                    self._guarded(unnoticed, functools.partial(self._fill, key))

    def _apply(self, outcome: Outcome) -> None:
        pour(outcome, self._objects, self._filled, scratch=self._scratch)


def _copy_of(obj: Any) -> Any:
    family = family_of(obj)
    return obj if family is None or is_container(obj) else family.clone(obj)
