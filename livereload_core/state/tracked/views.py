"""``values()`` and ``items()`` of a dict whose values can change: what they yield counts as touched."""

from __future__ import annotations

from collections.abc import ItemsView, Iterator, ValuesView
from types import MappingProxyType
from typing import Any

from livereload_core.state.tracked.settled import PLAIN, is_settled

__all__ = ["WatchedItems", "WatchedValues"]


class WatchedValues(ValuesView[Any]):
    """As of ``dict.values()``."""

    __slots__ = ()
    _mapping: Any

    @property
    def mapping(self) -> MappingProxyType[Any, Any]:
        """The dict, read-only."""
        return MappingProxyType(self._mapping)

    def __iter__(self) -> Iterator[Any]:
        return _values(self._mapping, iter(dict.items(self._mapping)))

    def __reversed__(self) -> Iterator[Any]:
        return _values(self._mapping, reversed(dict.items(self._mapping)))

    def __repr__(self) -> str:
        return f"dict_values({list(self)!r})"


class WatchedItems(ItemsView[Any, Any]):
    """As of ``dict.items()``."""

    __slots__ = ()
    _mapping: Any

    @property
    def mapping(self) -> MappingProxyType[Any, Any]:
        """The dict, read-only."""
        return MappingProxyType(self._mapping)

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        return _items(self._mapping, iter(dict.items(self._mapping)))

    def __reversed__(self) -> Iterator[tuple[Any, Any]]:
        return _items(self._mapping, reversed(dict.items(self._mapping)))

    def __contains__(self, item: object) -> bool:
        # The one of ``collections.abc`` takes each item apart, and fails at what is no pair.
        return isinstance(item, tuple) and len(item) == 2 and super().__contains__(item)

    def __repr__(self) -> str:
        return f"dict_items({list(self)!r})"


# The iterator of the dict is made before the first step: it has to see whether the size changes from then on.


def _values(owner: Any, items: Iterator[tuple[Any, Any]]) -> Iterator[Any]:
    for key, value in items:
        if type(value) not in PLAIN:  # as ``_hand_out``
            notes = owner._notes
            if key not in notes and not is_settled(value):
                notes.add(key)
        yield value


def _items(owner: Any, items: Iterator[tuple[Any, Any]]) -> Iterator[tuple[Any, Any]]:
    for key, value in items:
        if type(value) not in PLAIN:  # as ``_hand_out``
            notes = owner._notes
            if key not in notes and not is_settled(value):
                notes.add(key)
        yield key, value
