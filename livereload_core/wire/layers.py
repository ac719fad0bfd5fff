"""A container as people see it: one dict or list, put together from its parts and the layer over them.

What lies where: ``state.tracked.parts``. Nothing is unpickled here either.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from livereload_core.wire import pickles
from livereload_core.wire.pickles import Call, Items, Name, Pairs, PickleDamageError

__all__ = ["flattened"]

_ARRIVE = Name("livereload_core.state.tracked.parts", "arrive")
_LENGTH = struct.Struct("<Q")


def flattened(node: Any, fields: Mapping[str, Any], index: Mapping[str, Any], segments: Sequence[Any]) -> Any:
    """Return what a stream would make, and if that is a container in parts, the dict or list that it holds.

    Args:
        node: what the stream would make.
        fields: what the index says of its root.
        index: of the snapshot.
        segments: views of what the snapshot refers to.

    Raises:
        PickleDamageError: a part is missing, or damaged.
    """
    if not _is_layer(node):
        _flatten_inside(node, fields, index, segments)
        return node
    try:
        _, _, extents, gone, here, last, extra = node.args
        found: dict[Any, tuple[Any, Any]] = {}
        for extent in extents.values:
            number = extent.values[0]
            length, segment, place = index["pieces"][fields["pieces"][number]][:3]
            for part in _parts(memoryview(segments[segment])[place : place + length]):
                _apply(found, *pickles.read(part).values)  # type: ignore[union-attr]
        _apply(found, gone, here, last)
    except (LookupError, AttributeError, RecursionError, TypeError, ValueError, struct.error) as error:
        raise PickleDamageError(f"has a part that cannot be read ({type(error).__name__})") from error
    if ("list", True) in extra.values:
        return Items("list", [value for _, value in found.values()])
    return Pairs(list(found.values()))


def _flatten_inside(
    node: Any, fields: Mapping[str, Any], index: Mapping[str, Any], segments: Sequence[Any]
) -> None:
    """Put containers in the place of what would make them: values of a dict, attributes of an object."""
    if isinstance(node, Call):
        waiting: list[Any] = [*node.states]
        found = [pairs for pairs in waiting if isinstance(pairs, Pairs)]
        found += [one for state in waiting if isinstance(state, Items) for one in state.values]
    else:
        found = [node]
    for pairs in found:
        if isinstance(pairs, Pairs):
            pairs.values = [
                (name, flattened(value, fields, index, segments) if _is_layer(value) else value)
                for name, value in pairs.values
            ]


def _is_layer(node: Any) -> bool:
    return isinstance(node, Call) and node.function == _ARRIVE


def _parts(view: memoryview) -> Iterator[memoryview]:
    at = 0
    while at < len(view):
        (length,) = _LENGTH.unpack_from(view, at)
        at += _LENGTH.size
        if at + length > len(view):
            raise PickleDamageError("has a part that is cut off")
        yield view[at : at + length]
        at += length


def _apply(found: dict[Any, tuple[Any, Any]], gone: Items, here: Pairs, last: Pairs) -> None:
    for key in gone.values:
        found.pop(_frozen(key), None)
    for pair in here.values:
        found[_frozen(pair[0])] = pair
    for pair in last.values:
        key = _frozen(pair[0])
        found.pop(key, None)
        found[key] = pair


def _frozen(node: Any) -> Any:
    """Return what tells a key from others; equal keys of Python are so here."""
    waiting, flat = [node], list[Any]()
    while waiting:
        item = waiting.pop()
        if isinstance(item, Items):
            if item.kind == "frozenset":  # in another order in each process
                flat.append((item.kind, frozenset(map(_frozen, item.values))))
                continue
            flat.append((item.kind, len(item.values)))
            waiting.extend(item.values)
        elif isinstance(item, Call):
            flat.append((item.function, len(item.args), len(item.states)))
            waiting.extend([*item.args, *item.states])
        elif isinstance(item, Pairs):
            flat.append(("dict", len(item.values)))
            waiting.extend(part for pair in item.values for part in pair)
        else:
            flat.append(item)
    return tuple(flat) if len(flat) > 1 else flat[0]
