"""What arrives, applied to a container: the parts that are new to it, and the layer over them.

::

    trial   ──▶ parts 0 ... n, and a layer       all are read, while the program before serves
    adopt   ──▶ parts n ... m, and another one   only what has come since is read

Invariants:
    * What a trial has applied counts for the same parts, migrated by the same steps, while nobody has touched
      the container. Else all is read anew: it is never guessed what is in it.
    * What the new code had made of the container is kept until start-up is over, and comes back by
      :meth:`Applied.undo`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from livereload_core.state.each import migrated_each
from livereload_core.state.segments import Piece
from livereload_core.state.tracked.differences import apply
from livereload_core.state.tracked.parts import Extent, Layer, Part, bytes_of, parts_of

__all__ = ["Applied", "Steps"]

Steps = tuple[Callable[[Any], Any], ...]
"""What migrates one value, step by step."""

_NONE: tuple[str, int, Steps] = ("", 0, ())


class Applied:
    """What one container has received.

    Attributes:
        written: how many keys the parts have that were applied, each as often as it is in one.
    """

    def __init__(self) -> None:
        self.written = 0
        self._last = _NONE
        self._read: tuple[str, int, dict[Any, Any]] | None = None
        self._fresh: dict[Any, Any] | None = None

    def apply(
        self,
        container: Any,
        layer: Layer,
        load: Callable[[memoryview], Part],
        steps: Steps,
        *,
        is_touched: bool,
    ) -> int:
        """Make the entries of the container what a layer says.

        Args:
            container: always the same one.
            layer: as it came.
            load: reads a part.
            steps: what migrates each value.
            is_touched: the container is not as it was after the last one.

        Returns:
            the number of parts that were read.
        """
        entries, base = container._raw()
        if self._fresh is None:
            self._fresh = dict(base.items(entries))
        token, done, migrated = self._last
        total = sum(extent.count for extent in layer.extents)
        if not token or token != layer.token or done > total or migrated != steps or is_touched:
            base.clear(entries)
            done = self.written = 0
            if self._read is not None and self._read[0] == layer.token and self._read[1] <= total:
                _, done, before = self._read
                container._take(before)
        self._read = None
        self._last = _NONE
        read = 0
        touched: dict[Any, None] = {}
        for data in _parts_from(layer.extents, done):
            part = load(data)
            self.written += sum(map(len, part))
            _apply(part, container, entries, base)
            read += 1
            if steps:
                touched |= dict.fromkeys([*part[1], *part[2]])
        change, known = layer.change, dict[int, Any]()
        if steps:  # in a part may stand nothing in the place of what the layer holds
            here = (key for key in touched if key not in change[1] and key not in change[2])
            pairs = [(key, base.get(entries, key)) for key in here if base.__contains__(entries, key)]
            container._take(dict(migrated_each(steps, pairs, {})))
            first, last = (dict(migrated_each(steps, part.items(), known)) for part in change[1:])
            change = (change[0], first, last)
        _apply(change, container, entries, base)
        return read

    def remember(
        self, layer: Layer, load: Callable[[memoryview], Part], steps: Steps, *, again: bool
    ) -> None:
        """That was a trial: another layer over the same parts may come.

        Args:
            layer: as it came.
            load: reads a part.
            steps: what migrated each value.
            again: all of it is migrated afterwards, in place perhaps: what the parts say will be needed anew.
        """
        total = sum(extent.count for extent in layer.extents)
        self._last = (layer.token, total, steps)
        if again and total:
            self._read = (layer.token, total, _read_anew(layer.extents, load))

    def forget(self) -> None:
        """The container is emptied: nothing that was applied counts any more."""
        self._last = _NONE

    def settle(self) -> None:
        """Start-up is over: what the new code had made is not wanted any more."""
        self._fresh = self._read = None

    def undo(self, container: Any) -> bool:
        """Make the entries what the new code had made them; ``False`` if nothing was applied."""
        if self._fresh is None:
            return False
        entries, base = container._raw()
        fresh, self._fresh = self._fresh, None
        base.clear(entries)
        container._take(fresh)
        return True


def _parts_from(extents: Iterable[Extent], done: int) -> Iterator[memoryview]:
    """Yield the parts from a number on."""
    for extent in extents:
        if extent.first + extent.count > done:
            for number, data in enumerate(parts_of(bytes_of(Piece(extent.length, extent.segment, 0)))):
                if extent.first + number >= done:
                    yield data


def _read_anew(extents: Iterable[Extent], load: Callable[[memoryview], Part]) -> dict[Any, Any]:
    """Read all parts into a dict of their own."""
    entries: dict[Any, Any] = {}
    for data in _parts_from(extents, 0):
        apply(load(data), entries)
    return entries


def _apply(part: Part, container: Any, entries: Any, base: Any) -> None:
    gone, here, last = part
    pop = base.pop
    for key in gone:
        pop(entries, key, None)
    if len(entries):
        for key in last:
            pop(entries, key, None)
    container._take(here)
    container._take(last)
