"""Large plain dicts and lists: what cannot change lies in parts, and only what differs from them crosses.

Nobody tells which entries of a plain dict were touched. But where a value can never change (see ``settled``)
it is the same as in the parts if it is the same object, and to compare a million takes less than a tenth of a
second (see ``differences``). Values that can change are in each export; where they are many, nothing is
gained, and all crosses in one stream as that of any other root does.

::

    live ──copy──▶ seen ──slices──▶ parts          in the background
    live ── is not ── seen ──▶ layer               in an export: what differs, and what can change

Invariants:
    * ``seen`` is what the parts say, neither more nor less, in both generations: what an export says is put
      into a copy. So exports that came before, or were rolled back, leave no trace.
    * The dict or list itself is only read.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from livereload_core.errors import CannotCarryError
from livereload_core.state.fields import Shape
from livereload_core.state.roots import Root
from livereload_core.state.segments import Piece
from livereload_core.state.tracked.differences import (
    UnsettledKeyError,
    apply,
    are_keys,
    difference,
    entries_of,
    first_number,
)
from livereload_core.state.tracked.journal import Dump
from livereload_core.state.tracked.pace import Pace
from livereload_core.state.tracked.parts import Extent, Layer, Part, Writer, bytes_of, merged, parts_of
from livereload_core.state.tracked.settled import PLAIN, is_settled

__all__ = ["Compared", "Comparisons"]

WIDE = 20_000
"""Entries from which on a dict or list is compared: as a whole it takes several milliseconds."""
HEAVY = 4 << 20
"""Bytes of a stream from which on it is, too."""
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
_LONG = 64
"""Characters from which on a text is watched for being in many places: each part has a copy of its own."""
_SETS = 251
"""Sets for the texts that were met: a single one of a million grows at once, which takes 0.1 s of one slice.
A prime, because texts of one length lie at equal distances."""
_LAYER = 1 << 20
"""Bytes of an export from which on what differs is made a part of, however few entries it is."""
_SAMPLE = 1000
"""Entries after which it can be told whether most of them can change."""
_PATIENCE = 60.0
"""Seconds after which a container most of whose values can change is looked at again."""
_TRIES = 5
"""How often a container is compared again if another thread has changed its size meanwhile."""
_REST = 4
"""In the background, a slice that took s seconds is followed by a rest of so many s."""
_MISSING: Any = object()


class _Build:
    """Parts of all that there is, under way."""

    def __init__(self, value: Any) -> None:
        self.seen = entries_of(value)
        self.items = iter(self.seen.items())
        self.writer = Writer(0)
        self.restless: set[Any] = set()
        self.classes: dict[str, Shape] = {}
        self.count = 0
        self._texts: list[set[int]] = [set() for _ in range(_SETS)]
        self._bytes = self._repeated = 0

    def is_worth_it(self, entries: Iterable[Any]) -> bool:
        """Whether parts still gain anything, with these values in the next one."""
        waiting = [*entries]
        while waiting:
            value = waiting.pop()
            cls = type(value)
            if cls is tuple or cls is frozenset:
                waiting.extend(value)
            elif (cls is str or cls is bytes) and len(value) >= _LONG:
                self._bytes += len(value)
                texts = self._texts[id(value) % _SETS]
                if id(value) in texts:
                    self._repeated += len(value)
                texts.add(id(value))
        if self._repeated > _LAYER and self._repeated > self._bytes // 4:
            return False
        return len(self.restless) <= max(_SAMPLE, self.count // 4)


class Compared:
    """What is known of one dict or list, in this generation and while it arrives.

    Attributes:
        is_behind: whether much differed from the parts when it was compared last, and need not.
    """

    def __init__(self) -> None:
        self._token = ""
        self._seen: dict[Any, Any] = {}
        self._extents: list[Extent] = []
        self._restless: set[Any] = set()
        self._classes: dict[str, Shape] = {}
        self._pending: Part = ([], {}, {})
        self._build: _Build | None = None
        self._not_before = 0.0
        self._inherits = True
        self._layer = 0
        self._waits = False
        self.is_behind = False

    # -- exporting ----------------------------------------------------------------------------------

    @property
    def classes(self) -> dict[str, Shape]:
        """Shapes of the user's classes in the parts."""
        return self._classes

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
        for attempt in range(_TRIES):
            try:
                gone, here, last = self._pending = difference(self._seen, value)
                break
            except RuntimeError:
                if attempt + 1 == _TRIES:
                    raise
            except UnsettledKeyError:
                self._leave()
                return None
        amount = len(gone) + len(here) + len(last)
        self._waits = amount > _MANY or self._is_flooded or (amount > 0 and self._layer > _LAYER)
        self.is_behind = self._waits or self._build is not None or len(self._extents) > _FEW
        here = here | self._changeable(value, gone, last)
        extra = {"list": True} if type(value) is list else {}
        return Layer(key, self._token, tuple(self._extents), (gone, here, last), extra)

    def _changeable(self, value: Any, gone: list[Any], last: dict[Any, Any]) -> dict[Any, Any]:
        """Return the entries that are the same objects as in the parts, and may have changed all the same."""
        if not self._restless:
            return {}
        left = self._restless.difference(gone)
        left.difference_update(last)
        if type(value) is not list:
            return {key: value[key] for key in left if key in value}
        first = first_number(self._seen)
        taken = next((at for at, number in enumerate(gone) if number != first + at), len(gone))
        return {number: value[number - first - taken] for number in left}

    def begin_anew(self) -> None:
        """Nothing that was exported counts any more."""
        if self._token or self._build is not None:
            self._seen, self._extents, self._classes = {}, [], {}
            self._token, self._build, self._restless = "", None, set()
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
        return bool(extents) and sum(extent.length for extent in extents[1:]) > extents[0].length + _SLACK

    def _build_on(self, value: Any, dump: Dump, pace: Pace, stop: Callable[[], bool]) -> None:
        began = time.monotonic()
        build = self._build
        if build is None:
            with pace:
                build = self._build = _Build(value)
        is_list = type(value) is list
        while not stop():
            with pace:
                if self._build is not build:
                    return
                part: Part = ([], {}, {})
                if not self._fill(part[2], build.items, build.restless, pace):
                    extents = build.writer.finish()
                    self._seen, self._extents, self._classes = build.seen, extents, build.classes
                    self._restless, self._build = build.restless, None
                    self._token = os.urandom(12).hex()
                    self._pending = ([], {}, {})
                    self.is_behind = self._waits = False
                    return
                build.count += pace.used
                if not (is_list or are_keys(part[2])) or not build.is_worth_it(part[2].values()):
                    self._leave(time.monotonic() - began)
                    return
                self._write(build.writer, part, dump, build.restless, build.classes)

    def _write_pending(self, dump: Dump, pace: Pace, stop: Callable[[], bool]) -> None:
        gone, here, last = self._pending
        extents = self._extents
        writer = Writer(extents[-1].first + extents[-1].count)
        waiting = deque([(iter(here.items()), False), (iter(last.items()), True)])
        try:
            while not stop():
                with pace:
                    part: Part = (gone, {}, {})
                    if not gone:
                        items, is_last = waiting[0]
                        if not self._fill(part[2] if is_last else part[1], items, self._restless, pace):
                            waiting.popleft()
                            if waiting:
                                continue
                            self._pending = ([], {}, {})
                            self.is_behind = self._waits = False
                            return
                    gone = []
                    self._write(writer, part, dump, self._restless, self._classes)
                    apply(part, self._seen)
                    self._restless.difference_update(part[0])
        finally:
            written = writer.finish()
            if self._token:
                self._extents = [*extents, *written]

    def _fill(
        self, target: dict[Any, Any], items: Iterator[tuple[Any, Any]], restless: set[Any], pace: Pace
    ) -> bool:
        """Take the entries of one slice; returns whether there were any."""
        size = used = 0
        for key, value in islice(items, pace.amount):
            used += 1
            cls = type(value)
            if cls in PLAIN:
                restless.discard(key)
                target[key] = value
                if cls is str or cls is bytes:
                    size += len(value)
                    if size > _SLICE:
                        break
            elif is_settled(value):
                restless.discard(key)
                target[key] = value
            else:
                restless.add(key)
                target[key] = value
        pace.used = used
        return used > 0

    def _write(
        self, writer: Writer, part: Part, dump: Dump, restless: set[Any], classes: dict[str, Shape]
    ) -> None:
        """Write a part; in the place of what can change stands nothing: each layer says what is there."""
        gone, here, last = part
        if restless:
            here = {key: None if key in restless else value for key, value in here.items()}
            last = {key: None if key in restless else value for key, value in last.items()}
        data, shapes = dump((gone, here, last))
        writer.write(data)
        classes.update(shapes)

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
            self._seen, done = {}, 0
        self._token = ""  # should a part not be readable
        for extent in layer.extents:
            if extent.first + extent.count <= done:
                continue
            for number, data in enumerate(parts_of(bytes_of(Piece(extent.length, extent.segment, 0)))):
                if extent.first + number >= done:
                    apply(load(data), self._seen)
        self._extents, self._token = list(layer.extents), layer.token
        self._classes, self._restless = dict(classes), set()
        self._inherits = inherits
        fresh = self._seen.copy()
        apply(layer.change, fresh)
        return list(fresh.values()) if layer.extra.get("list") else fresh

    def settle(self) -> None:
        """No other layer comes."""
        if not self._inherits:
            self.begin_anew()
            self._inherits = True


class Comparisons:
    """All of one generation, by the keys of their roots."""

    def __init__(self) -> None:
        self._known: dict[str, Compared] = {}
        self._sizes: dict[str, int] = {}
        self._values: dict[str, Any] = {}

    def arriving(self, key: str) -> Compared:
        """Return what a layer for a root is received by."""
        return self._known.setdefault(key, Compared())

    def settle(self, roots: Iterable[Root]) -> None:
        """All that comes has come: forget what no root has taken."""
        keys = {root.key for root in roots}
        self._known = {key: found for key, found in self._known.items() if key in keys}
        for found in self._known.values():
            found.settle()

    def written(self, key: str, size: int, *, is_layer: bool) -> None:
        """Note how many bytes the stream of a root took."""
        if is_layer:
            self._known[key].written(size)
        else:
            self._sizes[key] = size

    def look(self, roots: Iterable[Root]) -> dict[str, Layer]:
        """Compare what has parts; return the layers by the keys of the roots.

        Raises:
            RuntimeError: another thread changes the size of one all the time.
        """
        layers = {}
        self._values.clear()
        for root in roots:
            value = root.value
            if (type(value) is not dict and type(value) is not list) or root.slot:
                continue
            found = self._known.get(root.key)
            if found is None:
                found = Compared()
            if len(value) < WIDE and max(self._sizes.get(root.key, 0), found.weight) < HEAVY:
                self._known.pop(root.key, None)
                continue
            self._known[root.key] = found
            layer = found.look(value, root.key)
            if layer is not None:
                layers[root.key] = layer
            if found.is_behind:
                self._values[root.key] = value
        return layers

    def classes(self, key: str) -> dict[str, Shape]:
        """Return the shapes of the user's classes in the parts of a root."""
        return self._known[key].classes

    @property
    def are_behind(self) -> bool:
        """Whether :meth:`catch_up` has something to do."""
        return bool(self._values)

    def catch_up(self, dump: Dump, *, hurry: bool, stop: Callable[[], bool]) -> None:
        """Write what was behind when it was compared last into parts.

        Raises:
            CannotCarryError: there is no memory for it.
        """
        pace = Pace(0 if hurry else _REST)
        for key, value in list(self._values.items()):
            if stop():
                return
            try:
                self._known[key].catch_up(value, dump, pace, stop)
            except OSError as error:
                raise CannotCarryError(
                    f"there is no shared memory for it ({error.strerror})",
                    path=key.partition(":")[2],
                    remedy="free some, or keep less",
                ) from error
            if not self._known[key].is_behind:
                self._values.pop(key, None)
