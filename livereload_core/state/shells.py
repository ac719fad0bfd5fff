"""Empty objects that stand for roots while streams are read, and who has taken hold of them.

Every stream is offered an object for every root, and refers to few. So nothing is noted when one is asked
for; who refers to a shell is told afterwards, by counting.

Invariant: one dict holds the shells, and no other container.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable, Mapping
from typing import Any

from livereload_core.state.refusals import RefusedError

__all__ = ["UNREFERENCED", "Absent", "Resolved", "are_unreferenced"]


class Absent:
    """Stands for a root that cannot be made; harmless unless something refers to it."""

    def __init__(self, refused: RefusedError) -> None:
        self.refused = refused


class Resolved(dict[str, Any]):
    """Objects by key; asks for one that is not there yet. A lookup of one that is there runs in C alone."""

    def __init__(self, find: weakref.WeakMethod[Callable[[str], Any]]) -> None:
        super().__init__()
        self._find = find

    def __missing__(self, key: str) -> Any:
        find = self._find()
        assert find is not None  # a method of whoever asks
        return find(key)


def are_unreferenced(shells: Mapping[str, object]) -> bool:
    """Whether nothing but the mapping holds any of its values."""
    return max(map(sys.getrefcount, shells.values()), default=0) <= _UNREFERENCED_IN_MAP


def _unreferenced() -> int:
    holder = {"key": object()}
    shell = holder["key"]
    return sys.getrefcount(shell)


UNREFERENCED = _unreferenced()
"""What ``sys.getrefcount`` says of an object that one dict and one local variable hold."""

_UNREFERENCED_IN_MAP = max(map(sys.getrefcount, {"key": object()}.values()))
"""The same of one that nothing but a dict holds, where its values are mapped."""
