"""Large plain dicts and lists: what cannot change lies in parts, and only what differs from them crosses.

Nobody tells which entries of a plain dict were touched. But where a value can never change (see ``settled``)
it is the same as in the parts if it is the same object, and to compare a million takes less than a tenth of a
second (see ``differences``). One that can change is the same if nothing in it is another object, and nobody
else refers to it (see ``rows``). What is neither is restless: it is in each export, and where there is
much of it, nothing is gained, and all crosses in one stream as that of any other root does.

::

    live ──copy──▶ seen ──slices──▶ parts          in the background
    live ── is not ── seen ──▶ layer               in an export: what differs, has changed, or is restless

Invariants:
    * ``seen`` is what the parts say, neither more nor less, in both generations: what an export says is put
      into a copy. So exports that came before, or were rolled back, leave no trace.
    * What can change in ``seen`` is the program's as well, so what has been noted of it tells what the parts
      say. What a trial has changed of it is read once more.
    * The dict or list itself is only read.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping
from itertools import chain
from typing import Any

from livereload_core.state.blame import is_from_elsewhere
from livereload_core.state.codec import undisturbed
from livereload_core.state.fields import Shape
from livereload_core.state.segments import Piece
from livereload_core.state.tracked.building import LAYER, SAMPLE, Building, Keys
from livereload_core.state.tracked.differences import (
    Remembered,
    UnsettledKeyError,
    apply,
    first_number,
)
from livereload_core.state.tracked.journal import Dump
from livereload_core.state.tracked.pace import Pace
from livereload_core.state.tracked.parts import Extent, Layer, Part, Writer, bytes_of, merged, parts_of
from livereload_core.state.tracked.rows import OWN, Rows, changeable
from livereload_core.state.tracked.settled import CONTAINERS, PLAIN, is_settled
from livereload_core.state.tracked.tables import has_gaps

__all__ = ["Compared"]

_MANY = 1000
"""Differences from which on they are made a part of."""
_FLOOD = 20_000
"""Differences from which on, if they are many for the container, all of it is written anew."""
_FEW = 4
"""Extents from which on the later ones are united: each is a descriptor in three processes."""
_SLACK = 1 << 20
"""Bytes of later parts that do not count when it is asked whether they outweigh the first ones."""
_SLICE = 256 << 10
"""Bytes of texts after which a slice ends."""
_PATIENCE = 60.0
"""Seconds after which a container most of whose values can change is looked at again."""
_IN_BUILD = OWN + 2
"""References to a value that is written for the first time: the part has it, and what lists its rows."""
_IN_PENDING = OWN + 3
"""The same of one that has changed: by what waits to be written, too."""
_TRIES = 5
"""How often a container is compared again if another thread has changed its size meanwhile."""
_MISSING: Any = object()


class Compared:
    """What is known of one dict or list, in this generation and while it arrives.

    Attributes:
        rows: what is noted of values that can change, and can be compared.
        restless: keys of those that cannot: the parts have nothing for them.
        classes: shapes of the user's classes in the parts.
        is_behind: whether much differed from the parts when it was compared last, and need not.
    """

    def __init__(self) -> None:
        self._token = ""
        self._seen: dict[Any, Any] = {}
        self._extents: list[Extent] = []
        self.rows = Rows()
        self.restless: set[Any] = set()
        self.classes: dict[str, Shape] = {}
        self._pending: Part = ([], {}, {})
        self._build: Building | None = None
        self._not_before = 0.0
        self._inherits = True
        self._is_certain = True
        self._is_list = False
        self._ready: dict[Any, Any] | list[Any] | None = None
        self._layer = 0
        self._waits = False
        self._difference = Remembered()
        self.is_behind = False

    # -- exporting ----------------------------------------------------------------------------------

    @property
    def weight(self) -> int:
        """Bytes of the parts."""
        return sum(extent.length for extent in self._extents)

    def written(self, size: int) -> None:
        """Note how many bytes an export took."""
        self._layer = size

    def look(self, value: Any, key: str) -> Layer | None:
        """Compare; return what is to be exported now, ``None`` if all crosses as a whole.

        Raises:
            RuntimeError: another thread changes its size all the time.
        """
        if not self._token:
            self.is_behind = time.monotonic() >= self._not_before
            return None
        self._pending = [], {}, {}  # refers to rows
        for attempt in range(_TRIES):
            try:
                gone, here, last = self._difference.of(self._seen, value)
                break
            except RuntimeError:
                if attempt + 1 == _TRIES:
                    raise
            except UnsettledKeyError:
                self._leave()
                return None
        changed, shared = self.rows.look(OWN)
        if self.rows.are_watched or len(shared) > max(SAMPLE, len(value) // 4):
            self._leave()
            return None
        here |= self._with_values(changed, value, gone, last)
        self._pending = gone, here, last
        amount = len(gone) + len(here) + len(last)
        self._waits = amount > _MANY or self._is_flooded or (amount > 0 and self._layer > LAYER)
        self.is_behind = self._waits or self._build is not None or len(self._extents) > _FEW
        here = here | self._with_values(shared | self.restless, value, gone, last)
        extra = {"list": True} if type(value) is list else {}
        return Layer(key, self._token, tuple(self._extents), (gone, here, last), extra)

    def _with_values(
        self, keys: set[Any], value: Any, gone: list[Any], last: dict[Any, Any]
    ) -> dict[Any, Any]:
        """Return the entries of some keys that are the same objects as in the parts, and may have changed."""
        left = keys.difference(gone)
        left.difference_update(last)
        if type(value) is not list:
            return {key: value[key] for key in left if key in value}
        first = first_number(self._seen)
        taken = next((at for at, number in enumerate(gone) if number != first + at), len(gone))
        return {number: value[number - first - taken] for number in left}

    def begin_anew(self) -> None:
        """Nothing that was exported counts any more."""
        if self._token or self._build is not None:
            self._seen, self._extents, self.classes = {}, [], {}
            self._token, self._build, self.restless = "", None, set()
            self.rows = Rows()
            self._pending = ([], {}, {})
        self.is_behind = self._waits = False

    def _leave(self, took: float = 0.0) -> None:
        """Nothing is gained by parts of such a one: for some time it crosses as a whole."""
        self.begin_anew()
        self._not_before = time.monotonic() + max(_PATIENCE, 100 * took)

    # -- in the background --------------------------------------------------------------------------

    def catch_up(self, value: Any, dump: Dump, pace: Pace, stop: Callable[[], bool]) -> None:
        """Write parts, in slices between which the program runs.

        Args:
            value: the dict or list.
            dump: writes one object.
            pace: a context for each slice.
            stop: whether to leave the rest for the next time.

        Raises:
            OSError: there is no memory for it.
        """
        if not self._token or self._build is not None or self._is_flooded or self._is_mostly_old:
            self._build_on(value, dump, pace, stop)
        elif self._waits:
            self._write_pending(dump, pace, stop)
        if not self.is_behind and len(self._extents) > _FEW:
            self._extents = [self._extents[0], merged(self._extents[1:])]

    @property
    def _is_flooded(self) -> bool:
        amount = sum(map(len, self._pending))
        return 2 * amount > len(self._seen) or amount > max(_FLOOD, len(self._seen) // 4)

    @property
    def _is_mostly_old(self) -> bool:
        extents = self._extents
        if self.rows.outdated > max(_MANY, len(self._seen) // 4):
            return True  # which would be kept alive by what has been noted of them
        return bool(extents) and sum(extent.length for extent in extents[1:]) > extents[0].length + _SLACK

    def _build_on(self, value: Any, dump: Dump, pace: Pace, stop: Callable[[], bool]) -> None:
        began = time.monotonic()
        build = self._build
        if build is None:
            if self.rows:
                self.begin_anew()  # to what is noted twice there would be more references than expected
            build = self._build = Building(value)
        try:
            while not (build.is_copied or stop()):
                with pace:
                    build.copy()
        except UnsettledKeyError:
            self._leave(time.monotonic() - began)
            return
        while not stop():
            with pace:
                if self._build is not build:
                    return
                part: Part = ([], {}, {})
                unsettled = self._fill(part[2], build.keys, build.seen, pace)
                if not part[2]:
                    extents = build.writer.finish()
                    self._seen, self._extents, self.classes = build.seen, extents, build.classes
                    self.rows, self.restless, self._build = build.rows, build.restless, None
                    self._token = os.urandom(12).hex()
                    self._pending = ([], {}, {})
                    self.is_behind = self._waits = False
                    break
                build.count += pace.used
                made_of = self._write(build, build.writer, part, unsettled, dump)
                if build.rows.are_watched or not build.is_worth_it(chain(part[2].values(), made_of)):
                    self._leave(time.monotonic() - began)
                    return
        else:
            return
        build.let_go(pace)

    def _write_pending(self, dump: Dump, pace: Pace, stop: Callable[[], bool]) -> None:
        gone, here, last = self._pending
        extents = self._extents
        writer = Writer(extents[-1].first + extents[-1].count)
        waiting = deque([(Keys(here), here, False), (Keys(last), last, True)])
        try:
            while not stop():
                with pace:
                    part: Part = (gone, {}, {})
                    unsettled: dict[Any, Any] = {}
                    if not gone:
                        keys, entries, is_last = waiting[0]
                        target = part[2] if is_last else part[1]
                        unsettled = self._fill(target, keys, entries, pace)
                        if not target:
                            waiting.popleft()
                            if waiting:
                                continue
                            self._pending = ([], {}, {})
                            self.is_behind = self._waits = False
                            return
                    gone = []
                    self._write(self, writer, part, unsettled, dump)
                    self.rows.forget(part[0])
                    self.restless.difference_update(part[0])
                    apply(part, self._seen)
        finally:
            written = writer.finish()
            if self._token:
                self._extents = [*extents, *written]

    def _fill(
        self, target: dict[Any, Any], waiting: Keys, entries: dict[Any, Any], pace: Pace
    ) -> dict[Any, Any]:
        """Take the entries of one slice; returns those whose values can change."""
        keys = waiting.next(pace.amount)
        values = [*map(entries.__getitem__, keys)]
        pace.used = len(keys)
        classes = {*map(type, values)}
        if classes <= CONTAINERS:
            target.update(zip(keys, values, strict=True))
            return {**target}
        unsettled = {}
        size = 0
        for number, (key, value) in enumerate(zip(keys, values, strict=True)):
            target[key] = value
            cls = type(value)
            if cls in PLAIN:
                if cls is str or cls is bytes:
                    size += len(value)
                    if size > _SLICE:
                        pace.used = number + 1
                        waiting.give_back(len(keys) - pace.used)
                        break
            elif not is_settled(value):
                unsettled[key] = value
        return unsettled

    def _write(
        self, to: Building | Compared, writer: Writer, part: Part, unsettled: dict[Any, Any], dump: Dump
    ) -> Iterable[Any]:
        """Write a part, and note what can change; return what that is made of.

        In the place of what cannot be compared stands nothing: each layer says what is there.
        """
        to.restless.difference_update(part[1], part[2])
        made_of: Iterable[Any] = ()
        if not unsettled:
            data, shapes = dump(part)
        else:
            again, own = (self._seen, _IN_PENDING) if to is self else ({}, _IN_BUILD)
            with undisturbed():
                restless, made_of = to.rows.note(unsettled, own, again)
                try:
                    data, shapes = dump(_without(part, restless))
                except BaseException as error:  # an export says what is wrong, and where
                    if is_from_elsewhere(error):
                        raise
                    restless = {*unsettled}
                    data, shapes = dump(_without(part, restless))
            to.restless.update(restless)
        writer.write(data)
        to.classes.update(shapes)
        return made_of

    # -- arriving -----------------------------------------------------------------------------------

    def receive(
        self,
        layer: Layer,
        load: Callable[[memoryview], Part],
        *,
        inherits: bool,
        classes: Mapping[str, Shape],
    ) -> Any:
        """Return a fresh dict or list as a layer says; what the parts say is kept for the next layer.

        Args:
            layer: as it came.
            load: reads a part.
            inherits: what is in the parts may be handed on as it is.
            classes: shapes of the user's classes in the parts.
        """
        done = sum(extent.count for extent in self._extents)
        total = sum(extent.count for extent in layer.extents)
        if self._token != layer.token or done > total:
            self._seen, self.rows, self._ready, done = {}, Rows(), None, 0
        self._token = ""  # should a part not be readable
        for extent in layer.extents:
            if extent.first + extent.count <= done:
                continue
            for number, data in enumerate(parts_of(bytes_of(Piece(extent.length, extent.segment, 0)))):
                if extent.first + number >= done:
                    self._take(load(data))
        self._extents, self._token = list(layer.extents), layer.token
        self._is_list = bool(layer.extra.get("list"))
        self.classes, self.restless = dict(classes), set()
        self._inherits = inherits
        return self._made(layer.change)

    def _made(self, change: Part) -> Any:
        """Return what a change makes of what the parts say."""
        ready, self._ready = self._ready, None
        gone, here, last = change
        if self._is_list and type(ready) is list and not gone:
            first = first_number(self._seen)
            for number, value in here.items():
                ready[number - first] = value
            ready.extend(last.values())
            return ready
        fresh = ready if type(ready) is dict and not self._is_list else self._seen.copy()
        apply(change, fresh)
        return list(fresh.values()) if self._is_list else fresh

    def _take(self, part: Part) -> None:
        gone, here, last = part
        if type(self._ready) is dict:
            apply(part, self._ready)
        else:
            self._ready = None
        self.rows.forget(gone)
        rows = changeable({**here, **last})
        if rows:
            self._is_certain &= not self.rows.note(rows, OWN, self._seen)[0]
        apply(part, self._seen)

    def tried(self) -> None:
        """The trial is over: see whether it has left alone what can change.

        Only what it has made refers to the copy that is kept. What has changed is read once more. Else what
        comes in the pause is made ready but for what will have changed: a copy of a million takes 60 ms.
        """
        self._ready = None
        if self.rows and not (self._is_certain and not any(self.rows.look(OWN - 1))):
            self._extents, self._token = [], ""
            self._seen, self.rows, self._is_certain = {}, Rows(), True
        elif self._seen:
            if has_gaps(self._seen):
                self._seen = {**self._seen}  # in the order of what the program will have, which begins anew
            self._ready = list(self._seen.values()) if self._is_list else self._seen.copy()

    def settle(self) -> None:
        """No other layer comes."""
        self._ready = None
        if not self._inherits:
            self.begin_anew()
            self._inherits = True


def _without(part: Part, keys: Collection[Any]) -> Part:
    """Return a part with nothing in the place of some values."""
    if not keys:
        return part
    gone, here, last = part
    return (
        gone,
        {key: None if key in keys else value for key, value in here.items()},
        {key: None if key in keys else value for key, value in last.items()},
    )
