"""What objects hold that offer no way to look inside: asked of the garbage collector, which must know.

``gc.get_referents`` runs an object's own ``tp_traverse``, so nothing is changed, emptied or called. The
order in which a type visits its parts is no promise of CPython's. Therefore each reader checks what it
found against what the object says of itself (its length, its hits), and gives up where they differ.

Invariant: a reader returns the whole truth or ``None``, never a part of it.
"""

from __future__ import annotations

import gc
from typing import Any

__all__ = ["cached_calls", "default_of", "mapping_of", "queued_items"]

Call = tuple[tuple[Any, ...], dict[str, Any], Any]


def queued_items(queue: Any) -> list[Any] | None:
    """Return the items of a ``SimpleQueue`` in order, without taking them."""
    count = queue.qsize()
    held = [part for part in gc.get_referents(queue) if part is not type(queue)]
    if any(type(part) is list for part in gc.get_referents(type(queue)())):
        held = held[0]  # 3.11 and 3.12: one list whose front may have been taken; 3.13: the items themselves
    return None if len(held) < count else held[len(held) - count :]


def mapping_of(view: Any) -> Any:
    """Return the mapping behind a ``mappingproxy``, or ``None``."""
    held = gc.get_referents(view)
    return held[0] if len(held) == 1 and len(held[0]) == len(view) else None


def default_of(variable: Any) -> tuple[Any, ...]:
    """Return the default of a ``ContextVar`` as a tuple of one, or ``()``."""
    held = gc.get_referents(variable)
    return tuple(held[1:2]) if held and held[0] == variable.name else ()


def cached_calls(wrapper: Any) -> list[Call] | None:
    """Return what an ``lru_cache`` holds as (args, kwargs, result), the oldest first."""
    parameters, size = wrapper.cache_parameters(), wrapper.cache_info().currsize
    if size == 0:
        return []
    held = gc.get_referents(wrapper)
    results = _bounded(held, size) if parameters["maxsize"] is not None else _unbounded(held, size)
    if results is None:
        return None
    mark = next((part for part in held if type(part) is object), None)
    return [(*_arguments(key, mark, parameters["typed"]), result) for key, result in results]


def _bounded(held: list[Any], size: int) -> list[tuple[Any, Any]] | None:
    links = next(
        (part for part in held if isinstance(part, type) and part.__name__ == "_lru_list_elem"), None
    )
    cache = next(
        (p for p in held if type(p) is dict and len(p) == size and all(type(v) is links for v in p.values())),
        None,
    )
    if links is None or cache is None:
        return None
    first = held.index(links) - 2
    triples = [held[at : at + 3] for at in range(first, first + 3 * size, 3)]
    if first < 0 or any(len(t) != 3 or t[2] is not links for t in triples):
        return None
    known = {id(key) for key in cache}
    return [(t[0], t[1]) for t in triples] if all(id(t[0]) in known for t in triples) else None


def _unbounded(held: list[Any], size: int) -> list[tuple[Any, Any]] | None:
    # The wrapper's own ``__dict__`` is the other dict; it tells itself by what it wraps.
    found = [part for part in held if type(part) is dict and len(part) == size and "__wrapped__" not in part]
    return list(found[0].items()) if len(found) == 1 else None


def _arguments(key: Any, mark: object, typed: bool) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Undo the key of a call: args, then a mark, names and values; then, when typed, their types."""
    if type(key) is not tuple:
        return (key,), {}
    at = next((index for index, part in enumerate(key) if part is mark), -1)
    if at < 0:
        return (key[: len(key) // 2] if typed else key), {}
    pairs = (len(key) - 1 - 2 * at) // 3 if typed else (len(key) - 1 - at) // 2
    rest = key[at + 1 : at + 1 + 2 * pairs]
    return key[:at], dict(zip(rest[::2], rest[1::2], strict=True))
