"""All large plain dicts and lists of one generation: which roots they are, and which attributes of roots.

An object or a small dict with a large one in it is written as ever, with a layer in the place of that. It has
to be nobody else's: a layer makes a dict of its own on the other side.

Invariant: what no root holds any more is forgotten, and holds no value of the program's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from sys import getrefcount
from typing import Any

from livereload_core.errors import CannotCarryError
from livereload_core.state.fields import Shape
from livereload_core.state.inplace import attributes
from livereload_core.state.roots import Root
from livereload_core.state.tracked.compared import Compared
from livereload_core.state.tracked.journal import Dump
from livereload_core.state.tracked.pace import Pace
from livereload_core.state.tracked.parts import Layer
from livereload_core.state.tracked.settled import is_plain_class

__all__ = ["Comparisons", "is_inside"]

WIDE = 20_000
"""Entries from which on a dict or list is compared: as a whole it takes several milliseconds."""
HEAVY = 4 << 20
"""Bytes of a stream from which on it is, too."""
_INSIDE = "\0"
"""Between the key of a root and the name of an attribute."""
_FEW = 1000
"""Entries of a dict up to which each is looked at: whether it is a large dict or list itself."""
_REST = 4
"""In the background, a slice that took s seconds is followed by a rest of so many s."""


class Comparisons:
    """All of one generation, by the keys of their roots, and of the attributes that they are.

    Attributes:
        inside: what of a root's attributes crosses as a layer, by name, by the key of the root: after
            :meth:`look`.
    """

    def __init__(self) -> None:
        self.inside: dict[str, dict[str, Layer]] = {}
        self._known: dict[str, Compared] = {}
        self._sizes: dict[str, int] = {}
        self._values: dict[str, Any] = {}

    def arriving(self, key: str) -> Compared:
        """Return what a layer is received by."""
        return self._known.setdefault(key, Compared())

    def tried(self) -> None:
        """The trial is over, and nothing that it has made is there any more."""
        for found in self._known.values():
            found.tried()

    def settle(self, roots: Iterable[Root]) -> None:
        """All that comes has come: forget what no root has taken."""
        keys = {root.key for root in roots}
        self._known = {key: found for key, found in self._known.items() if key.partition(_INSIDE)[0] in keys}
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
        self.inside = {}
        earlier, self._known = self._known, {}
        for root in roots:
            if root.slot:
                continue
            is_plain = type(root.value) is dict or type(root.value) is list
            size = self._sizes.get(root.key, 0)
            if is_plain:
                layer = self._looked(root.key, root.value, earlier, size)
                if layer is not None:
                    layers[root.key] = layer
                if root.key in self._known:
                    continue
            for name, value in _attributes_of(root, is_heavy=size >= HEAVY):
                key = f"{root.key}{_INSIDE}{name}"
                layer = self._looked(key, value, earlier, _bytes_in(value) if size >= HEAVY else 0)
                if layer is not None:
                    self.inside.setdefault(root.key, {})[name] = layer
        return layers

    def _looked(self, key: str, value: Any, earlier: dict[str, Compared], size: int) -> Layer | None:
        found = earlier.get(key)
        if found is None:
            found = Compared()
        if len(value) < WIDE and max(size, found.weight) < HEAVY:
            return None
        self._known[key] = found
        layer = found.look(value, key)
        if found.is_behind:
            self._values[key] = value
        return layer

    def classes(self, key: str) -> dict[str, Shape]:
        """Return the shapes of the user's classes in the parts of a root."""
        keys = (key, *(f"{key}{_INSIDE}{name}" for name in self.inside.get(key, ())))
        known = [self._known[one] for one in keys if one in self._known]
        return {name: shape for found in known for name, shape in found.classes.items()}

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


def is_inside(key: str) -> bool:
    """Whether a layer is that of an attribute of a root."""
    return _INSIDE in key


def _attributes_of(root: Root, *, is_heavy: bool) -> list[tuple[str, Any]]:
    """Return the dicts and lists that are attributes of a root, or entries of one, and nobody else's.

    Those of a class that has a say in what is written for it are not looked at.
    """
    value = root.value
    if type(value) is dict:
        space = value.copy() if len(value) <= _FEW or is_heavy else {}
    elif is_plain_class(type(value)):
        space = attributes(value)
    else:
        return []
    found = [
        (name, one)
        for name, one in space.items()
        if (type(one) is dict or type(one) is list) and getrefcount(one) <= _ALONE
    ]
    return [(name, one) for name, one in found if type(name) is str and name not in root.transient]


def _counted() -> int:
    """Return what is counted in such a loop of an object that only its owner refers to."""
    owner = {"name": [1]}
    space = owner.copy()
    (count,) = [getrefcount(one) for name, one in space.items() if name and type(one) is list]
    return count


_ALONE = _counted()


def _bytes_in(value: Any) -> int:
    """Return roughly how much of a dict or list is texts."""
    items = value.values() if type(value) is dict else value
    return sum(len(one) for one in items if type(one) is str or type(one) is bytes)
