"""Roots to the entries of a snapshot: how each is written, and what is told of one that cannot be.

Invariants:
    * A root that fails is noted, and the others are written all the same: whoever exports raises, or goes
      on without it.
    * What an entry claims of large buffers is captured after all are written, in one stretch.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping

from livereload_core.errors import CannotCarryError
from livereload_core.state.areas import Claim
from livereload_core.state.blame import is_from_elsewhere, text_of
from livereload_core.state.codec import Dumper
from livereload_core.state.descriptors import Handed
from livereload_core.state.fields import Shape
from livereload_core.state.husks import disarm
from livereload_core.state.inplace import Family, family_of, is_immutable, set_attributes
from livereload_core.state.roots import UNSET, Form, Root, class_key, global_of
from livereload_core.state.segments import Piece
from livereload_core.state.sharing import Memo, Sharing
from livereload_core.state.snapshot import Entry, Kind, segments_of
from livereload_core.state.store import Store
from livereload_core.state.tracked.comparisons import Comparisons
from livereload_core.state.tracked.family import type_key
from livereload_core.state.tracked.journal import attached, is_container
from livereload_core.state.tracked.parts import Layer
from livereload_core.state.waiving import WITHOUT_CONTENTS
from livereload_core.state.walker import find_culprit

__all__ = ["Work"]

_ATTEMPTS = 5
"""How often a stream is begun again when another thread changed a container under it."""
_CHANGED = ("changed size during iteration", "mutated during iteration", "keys changed during iteration")
"""How containers say that somebody has come between: dicts and sets, then deques and ordered dicts."""


def _without_remedy(error: CannotCarryError) -> str:
    return str(error).removesuffix(f"; {error.remedy}")


def _shell_args(value: object) -> tuple[object, ...] | None:
    """Return what an empty object of this kind is made from, ``None`` where none can be made."""
    family = family_of(value)
    return None if family is None or is_immutable(value) else family.args(value)


def _clone(family: Family, root: Root, inside: Mapping[str, Layer]) -> object:
    """Return what is written for a root: a copy, with layers in the place of large attributes."""
    copy = family.clone(root.value, root.transient)
    if type(copy) is dict:
        copy.update(inside)
    elif inside:
        set_attributes(copy, {**inside})
    return copy


class Work:
    """The entries of one export: the table of roots, and the failures so far.

    Attributes:
        memos: what was written for each root, where shared objects are looked for.
        gaps: as of ``exporting.Export``.
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
        self._copies: list[object] = []
        self._failures: list[tuple[Root, CannotCarryError]] = []
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
            if not root.resets:
                if self._earlier is None:
                    self._failures.append((root, error))
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
        while self._copies:
            disarm(self._copies.pop())

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
            else:
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
        """Raise the first failure, with the way out that is always there, and how many more there are."""
        if not self._failures:
            return
        root, first = self._failures[0]
        way_out = f"go on without the object: livecore reset {root.name}"
        told = CannotCarryError(
            _without_remedy(first).removeprefix(f"{first.path}: "),
            path=first.path,
            remedy=f"{first.remedy}; or {way_out}" if first.remedy else way_out,
        )
        if len(self._failures) > 1:
            others = ", ".join(error.path or "?" for _, error in self._failures[1:4])
            told.add_note(f"and {len(self._failures) - 1} more: {others}")
        raise told from first

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
        inside = self._comparisons.inside.get(root.key, {})
        stream, classes = self._dump(root, lambda: self._cloned(family, root, inside))
        self._comparisons.written(root.key, len(stream), is_layer=False)
        classes = {**self._comparisons.classes(root.key), **classes}
        return self._entry(root, Kind.SHELL, type_key(root.value), args, stream, classes)

    def _cloned(self, family: Family, root: Root, inside: Mapping[str, Layer]) -> object:
        copy = _clone(family, root, inside)
        if hasattr(type(copy), "__del__"):
            self._copies.append(copy)
        return copy

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
