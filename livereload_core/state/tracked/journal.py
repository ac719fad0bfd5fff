"""What of a container has been exported into parts, and what has not: one journal for each that a root holds.

::

    whole ──build──▶ parts + notes ──delta──▶ parts, few notes        in the background, in slices
      ▲                   │
      └──── clear() ──────┘          the layer of an export: what is noted, and what is restless

*Restless* is an entry whose value may change and can be reached from elsewhere: it is in every layer.

Order needs no notes. What was inserted since the parts were written stands at the end of a dict without a
gap, so the end of it, back to the first key without a note, comes last in the order that it has there.

Invariants:
    * Notes are taken off before the values are looked at; see ``containers``.
    * A layer holds all that is not in the parts: a reload that is rolled back has lost no note.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from itertools import takewhile
from threading import RLock
from typing import Any

from livereload_core.state.fields import Shape
from livereload_core.state.tracked.applying import Applied, Steps
from livereload_core.state.tracked.build import Build
from livereload_core.state.tracked.containers import DEAF
from livereload_core.state.tracked.pace import Pace
from livereload_core.state.tracked.parts import Extent, Layer, Part, Writer, merged
from livereload_core.state.tracked.settled import PLAIN, is_key, is_private, is_settled

__all__ = ["Dump", "Journal", "attached", "is_container", "is_container_class"]

Dump = Callable[[object], tuple[bytes, dict[str, Shape]]]
"""Writes one object; returns the stream and the shapes of the user's classes in it."""

SMALL = 1000
"""Entries up to which a container crosses as a whole: that takes a millisecond."""
MANY = 256
"""Notes from which on they are made a part of."""
_TRIES = 5
"""How often the keys of a container are looked at again, if a thread has changed its size meanwhile."""
_FEW = 4
"""Extents from which on the later ones are united: each is a descriptor in three processes."""
_SLACK = 1 << 20
"""Bytes of later parts that do not count when it is asked whether they outweigh the first ones."""
_EXCESS = 10_000
"""Keys in the parts that do not count when it is asked whether these hold far more than the container."""
_FLOOD = 20_000
"""Notes from which on, if they are many for the container, all of it is written anew: that can be sliced."""
_DUTY = 20
"""What is restless is looked at again after this many times the seconds that the last look took."""
_PATIENCE = 60.0
"""Seconds after which a container with a key that is not the same one elsewhere is looked at again: the key
may be gone. If it took long to come to it, more."""
_ROOM = 16 << 20
_MISSING: Any = object()


class Journal:
    """What is known of one container.

    Args:
        notes: of the container, while not all of it crosses in any case.
    """

    def __init__(self, notes: set[Any]) -> None:
        self._notes = notes
        self._whole = True
        self._not_before = 0.0
        self._token = ""
        self._extents: list[Extent] = []
        self._written = 0
        self._classes: dict[str, Shape] = {}
        self._restless: set[Any] = set()
        self._look_again = 0.0
        self._build: Build | None = None
        self._applied = Applied()
        self._epoch = self._edition = 0
        self._taking: set[Any] = set()
        self._guard = RLock()

    def begin_anew(self, container: Any) -> None:
        """The container is emptied: nothing that was exported counts any more.

        In this order: see :meth:`layer`.
        """
        with self._guard:
            self._whole = True
            self._edition += 1
            self._epoch += 1
            self._build = None
            container._notes = DEAF
            self._notes.clear()
            self._extents, self._classes = [], {}
            self._restless, self._written = set(), 0
            self._applied.forget()

    # -- exporting ----------------------------------------------------------------------------------

    @property
    def classes(self) -> dict[str, Shape]:
        """Shapes of the user's classes in the parts."""
        return self._classes

    def layer(self, container: Any, key: str) -> Layer:
        """Return what is to be exported now; changes nothing.

        It waits for nobody: the main thread may have been stopped for it, with ``_guard`` in its hands. So
        whoever changes what is read here says first that all crosses, then counts ``_edition`` on, and only
        then does it.

        Raises:
            RuntimeError: another thread has changed the size of the container meanwhile: try again.
        """
        edition, extra = self._edition, container._extra()
        entries, base = container._raw()
        if self._whole:
            return Layer(key, "", (), ([], {}, dict(base.items(entries))), extra)
        extents, token = tuple(self._extents), self._token
        pending = self._notes | self._restless | self._taking
        build = self._build
        if build is not None:
            pending |= build.older
        last, rest = _split(pending, entries, base)
        part: Part = ([], {}, {})
        for keys, target in ((rest, part[1]), (last, part[2])):
            for item in keys:
                value = base.get(entries, item, _MISSING)
                if value is _MISSING:
                    part[0].append(item)
                else:
                    target[item] = value
        if self._edition != edition or not self._notes <= pending:  # by a signal handler, or another thread
            raise RuntimeError("container changed size during iteration")
        return Layer(key, token, extents, part, extra)

    # -- in the background --------------------------------------------------------------------------

    def is_behind(self, container: Any) -> bool:
        """Whether there is much that a layer would have to hold, and need not."""
        if time.monotonic() < self._not_before:
            return False
        if self._whole or self._build is not None:
            return len(container) > SMALL
        return (
            len(self._notes) > MANY + len(self._restless) // 4
            or (len(self._restless) > MANY and time.monotonic() >= self._look_again)
            or len(self._extents) > _FEW
            or self._is_mostly_old(container)
        )

    def _is_mostly_old(self, container: Any) -> bool:
        extents = self._extents  # another thread may empty the container meanwhile, here and below
        if not extents:
            return False
        outweighed = sum(extent.length for extent in extents[1:]) > extents[0].length + _SLACK
        return outweighed or self._written > 2 * len(container) + _EXCESS

    def catch_up(self, container: Any, dump: Dump, pace: Pace, stop: Callable[[], bool]) -> None:
        """Write parts, in slices between which the program runs.

        Args:
            container: whose journal it is.
            dump: writes one object.
            pace: a context for each slice.
            stop: whether to leave the rest for the next time.

        Raises:
            OSError: there is no memory for it.
        """
        if not self.is_behind(container):
            build, self._build = self._build, None
            if self._whole:  # all of it crosses in any case
                container._notes = DEAF
            elif build is not None:
                self._notes.update(build.older)
            return
        is_old = self._is_mostly_old(container)
        if is_old and len(container) <= SMALL:
            self.begin_anew(container)
            return
        epoch, began = self._epoch, time.monotonic()
        try:
            if self._whole or self._build is not None or is_old or self._is_flooded(container):
                self._go_on_building(container, dump, pace, stop)
            else:
                self._write_notes(container, dump, pace, stop)
                extents = self._extents
                if len(extents) > _FEW:
                    self._extents = [extents[0], merged(extents[1:])]
        finally:
            now = time.monotonic()
            self._look_again = now + _DUTY * (now - began)
            if self._not_before > now:
                self._not_before = max(self._not_before, now + 100 * (now - began))
            if self._epoch != epoch:  # another thread has emptied it: what was written is of before
                self.begin_anew(container)

    def _is_flooded(self, container: Any) -> bool:
        return len(self._notes) + len(self._restless) > max(_FLOOD, len(container) // 16)

    def _go_on_building(self, container: Any, dump: Dump, pace: Pace, stop: Callable[[], bool]) -> None:
        build = self._build
        if build is None:
            container._relax()
            build = self._build = Build(self._notes, keeps=not self._whole)
            container._notes = self._notes
        try:
            self._build_on(build, container, dump, pace, stop)
        except BaseException:
            self._build = None
            self._notes.update(build.older)
            raise

    def _build_on(
        self, build: Build, container: Any, dump: Dump, pace: Pace, stop: Callable[[], bool]
    ) -> None:
        while not stop():
            with pace:
                if not build.listed:
                    build.list(*container._raw())
                    continue
                if self._build is not build:
                    return  # emptied meanwhile, or not to be tracked now
                keys = build.next(pace.amount)
                pace.used = len(keys)
                if keys:
                    build.written += len(keys)
                    self._write_part(build.writer, keys, (), container, dump, build.restless, build.classes)
                    continue
                extents = build.writer.finish()
                token = os.urandom(12).hex()
                with self._guard:
                    if self._build is build:
                        self._whole = True
                        self._edition += 1
                        self._extents, self._classes = extents, build.classes
                        self._restless, self._token = build.restless, token
                        self._written = build.written
                        self._whole, self._build = False, None
                return

    def _write_notes(self, container: Any, dump: Dump, pace: Pace, stop: Callable[[], bool]) -> None:
        with pace:
            last, rest = self._take_notes(*container._raw())
        extents = self._extents
        writer = Writer(extents[-1].first + extents[-1].count if extents else 0, _ROOM)
        waiting = [*((key, False) for key in rest), *((key, True) for key in last)]
        at = 0
        try:
            while at < len(waiting) and not self._whole and not stop():
                with pace:
                    some = waiting[at : at + pace.amount]
                    here = [key for key, is_last in some if not is_last]
                    self._write_part(
                        writer,
                        [key for key, is_last in some if is_last],
                        here,
                        container,
                        dump,
                        self._restless,
                        self._classes,
                    )
                    at += len(some)
                    self._written += len(some)
                    pace.used = len(some)
        finally:
            self._notes.update(key for key, _ in waiting[at:])
            written = writer.finish()
            with self._guard:
                if not self._whole:
                    self._extents = [*extents, *written]
                self._edition += 1
                self._taking = set()

    def _take_notes(self, entries: Any, base: Any) -> tuple[list[Any], list[Any]]:
        """Take all notes off; return the keys that come last, in order, and the others.

        What is touched from now on is noted again: its place may be another one then.
        Until all is written the layers hold it still.
        """
        self._taking = self._restless.copy()
        for _ in range(_TRIES):  # until nobody has come between the two steps
            noted = self._notes.copy()
            self._taking |= noted
            self._notes.difference_update(noted)
            if not self._notes:
                break
        for _ in range(_TRIES):
            pending = self._taking | self._notes
            try:
                last, _ = _split(pending, entries, base)
            except RuntimeError:  # changed its size meanwhile
                continue
            if not self._notes <= pending:
                continue  # a key has come to the end meanwhile: those before it would not seem to be there
            # With those at the end that were noted since: others would be put behind them that stand before.
            return last, list(self._taking.difference(last))
        self._notes.update(self._taking)
        return [], []

    def _write_part(
        self,
        writer: Writer,
        last: Iterable[Any],
        here: Iterable[Any],
        container: Any,
        dump: Dump,
        restless: set[Any],
        classes: dict[str, Shape],
    ) -> None:
        """Write some entries as one part; they are noted again if it fails."""
        entries, base = container._raw()
        delta = restless is self._restless
        taken = [*here, *last] if delta else []
        part: Part = ([], {}, {})
        try:
            restless.difference_update(taken)
            for keys, target, keeps_place in ((here, part[1], False), (last, part[2], True)):
                for key in keys:
                    value = base.get(entries, key, _MISSING)
                    if value is _MISSING:
                        if delta:
                            part[0].append(key)
                    elif type(value) in PLAIN or is_settled(value):
                        target[key] = value
                    else:
                        container._forget((key,))  # or the container itself would seem to be somebody else
                        if is_private(value):
                            target[key] = value
                        else:
                            restless.add(key)
                            if keeps_place:
                                target[key] = None  # each layer says what is there
                    if type(key) is not str and not is_key(key):
                        # Not the same key elsewhere: all crosses in one stream, for as long as it is there.
                        self._not_before = time.monotonic() + _PATIENCE
                        self.begin_anew(container)
                        return
            value = None
            try:
                data, shapes = dump(part)
            except Exception:  # who is at fault is found out, and reported by the export that carries it
                data, shapes = _without_failing(part, dump, restless)
            writer.write(data)
            classes.update(shapes)
        except BaseException:
            self._notes.update(taken)
            raise

    # -- arriving -----------------------------------------------------------------------------------

    def receive(
        self,
        container: Any,
        layer: Layer,
        load: Callable[[memoryview], Part],
        steps: Steps = (),
        *,
        trial: bool,
        inherits: bool,
        again: bool = False,
        classes: dict[str, Shape],
    ) -> int:
        """Make the container what a layer says.

        Args:
            container: whose journal it is.
            layer: as it came.
            load: reads a part.
            steps: what migrates each value.
            trial: another layer over the same parts may come.
            inherits: what is in the parts may be handed on as it is.
            again: all of it is migrated afterwards, in place perhaps: what the parts say will be needed anew.
            classes: shapes of the user's classes in the parts.

        Returns:
            the number of parts that were read.
        """
        read = self._applied.apply(container, layer, load, steps, is_touched=bool(self._notes))
        self._written = self._applied.written
        self._notes.clear()
        container._notes = self._notes
        if trial:
            self._applied.remember(layer, load, steps, again=again)
            return read
        self._restless, self._build = set(), None
        if layer.extents and inherits:
            self._whole = False
            self._extents, self._token, self._classes = list(layer.extents), layer.token, dict(classes)
            self._notes.update(*layer.change)
        else:
            self.begin_anew(container)
        container._arrived(layer.extra)
        return read

    def settle(self, container: Any) -> None:
        """Start-up is over: what the new code had made is not wanted any more."""
        self._applied.settle()
        container._relax()

    def undo(self, container: Any) -> None:
        """Make the container what the new code had made it, after it could not be received."""
        if self._applied.undo(container):
            self.begin_anew(container)


def _without_failing(part: Part, dump: Dump, restless: set[Any]) -> tuple[bytes, dict[str, Shape]]:
    """Write a part without the values that cannot be written: these count as restless."""
    for target in part[1:]:
        for key, value in list(target.items()):
            try:
                dump(value)
            except Exception:  # reported by the export that carries it
                restless.add(key)
                target[key] = None
    return dump(part)


def _split(pending: set[Any], entries: Any, base: Any) -> tuple[list[Any], list[Any]]:
    """Return the keys that come last, in order, and the others."""
    last = list(takewhile(pending.__contains__, base.__reversed__(entries)))
    last.reverse()
    return last, list(pending.difference(last))


def is_container(obj: object) -> bool:
    """Whether it is one of ours."""
    return is_container_class(type(obj))


def is_container_class(cls: type) -> bool:
    """Whether its instances are."""
    return hasattr(cls, "_take") and hasattr(cls, "_raw")


def attached(container: Any) -> Journal:
    """Return the journal of a container that a root holds."""
    journal: Journal | None = container._journal
    if journal is None:
        journal = Journal(set())
        container._attach(journal)
    return journal
