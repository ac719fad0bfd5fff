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

from livereload_core.errors import CannotCarryError
from livereload_core.facts import RootFate, RootReport
from livereload_core.state import parking
from livereload_core.state.areas import Claim
from livereload_core.state.blame import is_from_elsewhere, text_of
from livereload_core.state.codec import Dumper, undisturbed
from livereload_core.state.descriptors import Handed, NotQuietError, become_quiet
from livereload_core.state.fields import Shape
from livereload_core.state.inplace import family_of, is_immutable
from livereload_core.state.roots import UNSET, Form, Root, class_key, global_of
from livereload_core.state.segments import Piece
from livereload_core.state.sharing import Memo, Sharing
from livereload_core.state.snapshot import Entry, Kind, pack, segments_of
from livereload_core.state.store import BehindError, Store
from livereload_core.state.tracked.compared import Comparisons
from livereload_core.state.tracked.family import type_key
from livereload_core.state.tracked.journal import attached, is_container
from livereload_core.state.tracked.parts import Layer
from livereload_core.state.waiving import WITHOUT_CONTENTS
from livereload_core.state.walker import find_culprit

__all__ = ["Export", "export"]

_needs_quiet = False
"""Whether the state of this program holds what must not be interrupted while it is looked at."""

_REMEMBERED = 1 << 20
"""Bytes of a stream up to which it is kept for the case that its root cannot be written the next time."""
_ATTEMPTS = 5
"""How often a stream is begun again when another thread changed a container under it."""
_CHANGED = ("changed size during iteration", "mutated during iteration", "keys changed during iteration")
"""How containers say that somebody has come between: dicts and sets, then deques and ordered dicts."""


@dataclasses.dataclass(frozen=True, slots=True)
class Export:
    """A snapshot and what it holds.

    Attributes:
        data: the bytes.
        roots: the fate of each root so far: kept, parked, or lost where ``on_error="reset"`` gave it up.
        gaps: why a root is not there as it is now, and whether it is as it was before, by key; if lenient.
        handed: the fds that go with them; whoever exports closes it.
    """

    data: bytes
    roots: tuple[RootReport, ...]
    gaps: Mapping[str, tuple[str, bool]] = dataclasses.field(default_factory=dict)
    handed: Handed = dataclasses.field(default_factory=Handed)

    def close(self) -> None:
        """Close the duplicates. Idempotent."""
        self.handed.close()


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
        return Export(data, tuple(reports), work.gaps, handed)
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
) -> tuple[_Work, list[Entry], Handed]:
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
            work = _Work(
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


def _without_remedy(error: CannotCarryError) -> str:
    return str(error).removesuffix(f"; {error.remedy}")


def _shell_args(value: object) -> tuple[object, ...] | None:
    """Return what an empty object of this kind is made from, ``None`` where none can be made."""
    family = family_of(value)
    return None if family is None or is_immutable(value) else family.args(value)


class _Work:
    """One export: the table of roots, and the failures so far.

    Attributes:
        memos: what was written for each root, where shared objects are looked for.
        gaps: as of :class:`Export`.
    """

    def __init__(
        self,
        roots: list[Root],
        is_user_module: Callable[[str], bool],
        comparisons: Comparisons,
        layers: Mapping[str, Layer],
        *,
        looks: bool,
        quiet: bool,
        earlier: Mapping[str, Entry] | None,
    ) -> None:
        self.memos: dict[str, Memo] = {}
        self._comparisons = comparisons
        self._layers = layers
        self._earlier = earlier
        self.gaps: dict[str, tuple[str, bool]] = {}
        self._roots = roots
        self._looks = looks and len(roots) > 1
        self._contents: dict[str, Callable[[], object]] = {}
        self._claims: dict[str, list[Claim | Piece]] = {}
        self._failures: list[CannotCarryError] = []
        self._rebound = {root.key: root.follow_rebinding() for root in roots}
        named: dict[int, tuple[str, object]] = {}
        for root in roots:
            if not root.slot and _shell_args(root.value) is not None:
                named.setdefault(id(root.value), (root.key, root.value))
        self._table = tuple(key for key, _ in named.values())
        self._dumper = Dumper(
            [obj for _, obj in named.values()], is_user_module, quiet=quiet, takes_buffers=True
        )

    def entry(self, root: Root) -> Entry:
        """Write one root; a failure is noted, and leaves an entry without a stream."""
        if root.given_up:
            return self._empty(root)
        try:
            return self._written(root)
        except CannotCarryError as error:
            if not root.options.resets:
                if self._earlier is None:
                    self._failures.append(error)
                elif root.key in self._earlier:
                    self.gaps[root.key] = str(error), True
                    return dataclasses.replace(self._earlier[root.key], group="")
                else:
                    self.gaps[root.key] = str(error), False
            return dataclasses.replace(
                self._empty(root), lost=_without_remedy(error), remedy=error.remedy, born=0.0
            )

    def entries(self, sharing: Sharing) -> list[Entry]:
        """Write all roots, one by one, and then the groups."""
        entries = {root.key: self.entry(root) for root in self._roots}
        if self._failures:
            return list(entries.values())
        if self.memos:
            sharing.find(self.memos)
        self.memos.clear()
        joint = [self.group(group, entries) for group in sharing.groups(self._roots)]
        return [*entries.values(), *filter(None, joint)]

    def with_pieces(self, entries: list[Entry], store: Store, *, patient: bool) -> list[Entry]:
        """Let the entries have what they claimed, as it is now.

        Raises:
            BehindError: if patient, and there is much to copy.
            CannotCarryError: there is no memory for it.
        """
        if self._failures:
            return entries
        wanted = [claim for entry in entries for claim in self._claims.get(entry.key, ())]
        claims = [claim for claim in wanted if isinstance(claim, Claim)]
        if patient:
            store.refuse_if_behind(claims)
        captured = iter(store.capture(claims))
        pieces = iter([claim if isinstance(claim, Piece) else next(captured) for claim in wanted])
        return [
            dataclasses.replace(entry, pieces=tuple(next(pieces) for _ in self._claims[entry.key]))
            if self._claims.get(entry.key)
            else entry
            for entry in entries
        ]

    def hand_over(self, entries: Iterable[Entry]) -> Handed:
        """Duplicate the fds of all entries and segments; with failures there is nothing to hand over."""
        given = () if self._failures else tuple(entries)
        segments = [segment.fd for segment in segments_of(given)]
        return self._dumper.outgoing.hand_over((entry.fds for entry in given), segments)

    def close(self) -> None:
        """Close what was opened for the snapshot alone. Idempotent."""
        self._dumper.outgoing.close()

    def group(self, roots: list[Root], entries: dict[str, Entry]) -> Entry | None:
        """Write roots that belong together as one, and note that in their entries; ``None`` if it fails."""
        written = [root for root in roots if root.key in self._contents and root.key not in self.gaps]
        members = [root for root in written if not entries[root.key].lost]
        if len(members) < 2:
            return None
        key = f"group of {' '.join(root.key for root in members)}"
        try:
            stream, classes = self._repeated(lambda: tuple(self._contents[root.key]() for root in members))
        except BaseException as error:
            if is_from_elsewhere(error):
                raise
            return None  # each of them was written alone, and said what is wrong with it
        self._claims[key] = self._dumper.outgoing.claims()
        for root in members:
            if is_container(root.value):
                classes = {**attached(root.value).classes, **classes}
            elif root.key in self._layers:
                classes = {**self._comparisons.classes(root.key), **classes}
        for index, root in enumerate(members):
            entries[root.key] = dataclasses.replace(entries[root.key], group=key, index=index)
        return Entry(
            key,
            Kind.GROUP,
            Kind.GROUP,
            0,
            args=tuple(root.key for root in members),
            table=self._table,
            classes=classes,
            fds=self._dumper.outgoing.end(),
            stream=stream,
        )

    def raise_failures(self) -> None:
        """Raise the first failure, and say how many more there are."""
        if not self._failures:
            return
        first = self._failures[0]
        if len(self._failures) > 1:
            others = ", ".join(error.path or "?" for error in self._failures[1:4])
            first.add_note(f"and {len(self._failures) - 1} more: {others}")
        raise first

    def _written(self, root: Root) -> Entry:
        if self._rebound[root.key]:
            raise CannotCarryError(
                self._rebound[root.key], path=root.name, remedy="change it in place, or use the factory form"
            )
        if root.slot:
            return self._slot(root)
        if is_container(root.value):
            return self._container(root)
        layer = self._layers.get(root.key)
        if layer is not None:
            return self._differences(root, layer)
        family, args = family_of(root.value), _shell_args(root.value)
        if family is None or args is None:
            return self._whole(root)
        stream, classes = self._dump(root, lambda: family.clone(root.value, root.options.transient))
        self._comparisons.written(root.key, len(stream), is_layer=False)
        return self._entry(root, Kind.SHELL, type_key(root.value), args, stream, classes)

    def _slot(self, root: Root) -> Entry:
        value = global_of(root.key)
        if value is UNSET:
            module, _, name = root.key.partition(":")
            raise CannotCarryError(
                f"is {type(root.value).__name__}, which cannot be changed in place,"
                f" and {module!r} has no global {name!r} to read its value from",
                path=root.name,
                remedy="name the key like the global, or keep a dict, an object, or use the factory form",
            )
        stream, classes = self._dump(root, lambda: value)
        return self._entry(root, Kind.SLOT, root.initial, (), stream, classes)

    def _container(self, root: Root) -> Entry:
        """Write what of a tracked container was touched; the rest lies in segments already."""
        container, journal = root.value, attached(root.value)
        stream, classes = self._dump(root, lambda: journal.layer(container, root.key))
        args = _shell_args(container) or ()
        return self._entry(
            root, Kind.SHELL, type_key(container), args, stream, {**journal.classes, **classes}
        )

    def _differences(self, root: Root, layer: Layer) -> Entry:
        """Write what of a large dict or list is not as in its parts."""
        stream, classes = self._dump(root, lambda: layer)
        self._comparisons.written(root.key, len(stream), is_layer=True)
        classes = {**self._comparisons.classes(root.key), **classes}
        return self._entry(root, Kind.SHELL, type_key(root.value), (), stream, classes)

    def _whole(self, root: Root) -> Entry:
        if root.form is not Form.FACTORY:
            raise CannotCarryError(
                f"{type(root.value).__module__}.{type(root.value).__qualname__} cannot be refilled in place",
                path=root.name,
                remedy="use the factory form: @preserve on a function that makes it",
            )
        stream, classes = self._dump(root, lambda: root.value)
        return self._entry(root, Kind.WHOLE, class_key(type(root.value)), (), stream, classes)

    def _entry(
        self,
        root: Root,
        kind: str,
        of: str,
        args: tuple[object, ...],
        stream: bytes,
        classes: dict[str, Shape],
    ) -> Entry:
        self._claims[root.key] = self._dumper.outgoing.claims()
        return Entry(
            root.key,
            root.form.value,
            kind,
            root.options.version,
            of,
            args,
            self._table,
            classes,
            fds=self._dumper.outgoing.end(),
            born=root.born,
            stream=stream,
        )

    def _empty(self, root: Root) -> Entry:
        """Write a root whose contents its user has given up; they are not looked at."""
        args = None if root.slot else _shell_args(root.value)
        kind = Kind.WHOLE if args is None else Kind.SHELL
        entry = Entry(root.key, root.form.value, kind, root.options.version, table=self._table)
        return dataclasses.replace(
            entry, type=type_key(root.value), args=args or (), born=root.born, **WITHOUT_CONTENTS
        )

    def _dump(self, root: Root, contents: Callable[[], object]) -> tuple[bytes, dict[str, Shape]]:
        self._contents[root.key] = contents
        try:
            return self._repeated(contents, root.key)
        except BaseException as error:  # becomes the reason of the rejection
            if is_from_elsewhere(error):
                raise
            raise self._failure(root, contents, error) from error

    def _repeated(self, contents: Callable[[], object], key: str = "") -> tuple[bytes, dict[str, Shape]]:
        """Write, and begin again when another thread has changed a container."""
        for attempt in range(_ATTEMPTS):
            try:
                if not (self._looks and key):
                    return self._dumper.dump(contents())
                stream, classes, self.memos[key] = self._dumper.dump_with_memo(contents())
                return stream, classes
            except RuntimeError as error:
                if not text_of(error).endswith(_CHANGED) or attempt + 1 == _ATTEMPTS:
                    raise
        raise AssertionError("unreachable")

    def _failure(self, root: Root, contents: Callable[[], object], error: BaseException) -> CannotCarryError:
        if isinstance(error, SystemExit):
            return CannotCarryError("its own methods end the program", path=root.name)
        try:
            copy = contents()
        except BaseException as found:
            if is_from_elsewhere(found):
                raise
            copy = None  # it is the copying that fails, and ``error`` says how
        if type(copy) is Layer:
            copy = copy.contents()
        path, message, remedy = find_culprit(self._dumper, copy, root.name, error)
        return CannotCarryError(message, path=path, remedy=remedy)
