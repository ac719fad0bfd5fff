"""Values of fields that the new code has no place for, until one has: next to the objects, not in them.

Slots, structs and tuples have no room for a field that was removed. So its value waits here, is
written with the object again, and is back when the field is.

Invariant: nothing is kept alive: what only this table still holds is dropped at the next export.
"""

from __future__ import annotations

import sys
from typing import Any

__all__ = ["holds", "park", "parked_of", "sweep"]

_parked: dict[int, tuple[Any, dict[str, Any]]] = {}
_types: set[type] = set()


def park(obj: Any, fields: dict[str, Any]) -> None:
    """Put fields of an object aside."""
    _parked[id(obj)] = obj, {**parked_of(obj), **fields}
    _types.add(type(obj))


def parked_of(obj: Any) -> dict[str, Any]:
    """Return what was put aside for an object."""
    found = _parked.get(id(obj))
    return found[1] if found is not None and found[0] is obj else {}


def holds(cls: type) -> bool:
    """Whether something was put aside for an instance of exactly this class."""
    return cls in _types


def sweep() -> None:
    """Drop what belongs to objects that nobody else holds."""
    for number, (obj, _) in list(_parked.items()):
        # The tuple in the table, the one in the list, and the two names here.
        if sys.getrefcount(obj) <= _ONLY_OURS:
            del _parked[number]


def _only_ours() -> int:
    table: dict[int, tuple[Any, dict[str, Any]]] = {0: (object(), {})}
    for _, (obj, _) in list(table.items()):
        return sys.getrefcount(obj)
    raise AssertionError("unreachable")


_ONLY_OURS = _only_ours()
