"""All large plain dicts and lists of one generation: which roots they are, and who of them is behind.

Invariant: what no root holds any more is forgotten, and holds no value of the program's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from livereload_core.errors import CannotCarryError
from livereload_core.state.fields import Shape
from livereload_core.state.roots import Root
from livereload_core.state.tracked.compared import Compared
from livereload_core.state.tracked.journal import Dump
from livereload_core.state.tracked.pace import Pace
from livereload_core.state.tracked.parts import Layer

__all__ = ["Comparisons"]

WIDE = 20_000
"""Entries from which on a dict or list is compared: as a whole it takes several milliseconds."""
HEAVY = 4 << 20
"""Bytes of a stream from which on it is, too."""
_REST = 4
"""In the background, a slice that took s seconds is followed by a rest of so many s."""


class Comparisons:
    """All of one generation, by the keys of their roots."""

    def __init__(self) -> None:
        self._known: dict[str, Compared] = {}
        self._sizes: dict[str, int] = {}
        self._values: dict[str, Any] = {}

    def arriving(self, key: str) -> Compared:
        """Return what a layer for a root is received by."""
        return self._known.setdefault(key, Compared())

    def tried(self) -> None:
        """The trial is over, and nothing that it has made is there any more."""
        for found in self._known.values():
            found.tried()

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
                self._known.pop(root.key, None)  # it refers to values whose references others count
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
