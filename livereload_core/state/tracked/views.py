"""``values()`` and ``items()`` of a dict whose values can change: what they yield counts as touched."""

from __future__ import annotations

from collections.abc import ItemsView, Iterator, ValuesView
from types import MappingProxyType
from typing import Any

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
        owner = self._mapping
        for key, value in dict.items(owner):
            owner._hand_out(key, value)
            yield value

    def __reversed__(self) -> Iterator[Any]:
        owner = self._mapping
        for key, value in reversed(dict.items(owner)):
            owner._hand_out(key, value)
            yield value

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
        owner = self._mapping
        for key, value in dict.items(owner):
            owner._hand_out(key, value)
            yield key, value

    def __reversed__(self) -> Iterator[tuple[Any, Any]]:
        owner = self._mapping
        for key, value in reversed(dict.items(owner)):
            owner._hand_out(key, value)
            yield key, value

    def __repr__(self) -> str:
        return f"dict_items({list(self)!r})"
