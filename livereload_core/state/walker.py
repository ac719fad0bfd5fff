"""Which part of a value is at fault: a slow search that runs only after a dump has failed.

Breadth first, so that the shortest path is named; with an open list instead of recursion, so that deep
structures cannot overflow; each object is tried alone, so that no user method runs more often than needed.
"""

from __future__ import annotations

import json
import pickle
import sys
import types
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from livereload_core.state.blame import is_from_elsewhere, raised_at, text_of, told
from livereload_core.state.codec import Dumper
from livereload_core.state.refusals import EndlessError, RefusedError

__all__ = ["describe", "find_culprit"]

_LIMIT = 500_000
"""Objects looked at before giving up: a few seconds, in a reload that is turned down anyway."""

_LIMIT_OF_ENDLESS = 50_000
"""The same where each look may make up more of them."""

_DEPTH = 30
"""Steps to narrow a path down; each dumps the parts of one object."""

_ATOMS = (type(None), bool, int, float, complex, str, bytes, bytearray, range)


def find_culprit(dumper: Dumper, contents: object, name: str, error: BaseException) -> tuple[str, str, str]:
    """Find what made the dump of a root fail.

    Args:
        dumper: that wrote it; the other roots are not looked into.
        contents: the (copied) root.
        name: how the path begins.
        error: what the dump raised.

    Returns:
        path, message and remedy. The path is ``name`` when no single object fails alone.
    """
    if isinstance(error, EndlessError):
        return _path_of_last(dumper, contents, name, error.culprits), *describe(error)
    open_objects: deque[tuple[object, str]] = deque([(contents, name)])
    seen: dict[int, object] = {id(contents): contents}  # holds them, so that no id is used twice
    while open_objects and len(seen) < _LIMIT:
        obj, path = open_objects.popleft()
        try:
            children = list(_children(dumper, obj, path))
        except BaseException as found:  # the very thing looked for; reported by the caller
            if is_from_elsewhere(found):
                raise
            return path, *describe(found, obj)
        for child, child_path in children:
            if issubclass(type(child), _ATOMS) or id(child) in seen or id(child) in dumper.roots:
                continue
            seen[id(child)] = child
            open_objects.append((child, child_path))
    return _narrowed(dumper, contents, name, error)


def _path_of_last(dumper: Dumper, contents: object, name: str, wanted: Sequence[object]) -> str:
    """Return the path of the last of some objects that can be reached; looks may make up more."""
    places = {id(obj): place for place, obj in enumerate(wanted)}
    found = places.get(id(contents), -1)
    open_objects: deque[tuple[object, str]] = deque([(contents, name)])
    seen: dict[int, object] = {id(contents): contents}
    while open_objects and len(seen) < _LIMIT_OF_ENDLESS and found < len(wanted) - 1:
        obj, path = open_objects.popleft()
        try:
            children = list(_children(dumper, obj, path))
        except BaseException as error:  # something else is wrong here, which is not looked for
            if is_from_elsewhere(error):
                raise
            continue
        for child, child_path in children:
            if issubclass(type(child), _ATOMS) or id(child) in seen or id(child) in dumper.roots:
                continue
            seen[id(child)] = child
            open_objects.append((child, child_path))
            if places.get(id(child), -1) > found:
                found, name = places[id(child)], child_path
    return name


def _narrowed(dumper: Dumper, obj: object, path: str, error: BaseException) -> tuple[str, str, str]:
    """Follow the part that fails as a whole, for objects whose reduction is well made and yet wrong."""
    for _ in range(_DEPTH):
        try:
            children = list(_children(dumper, obj, path))
        except BaseException as found:  # looked at before, it did not fail: it is at fault now
            if is_from_elsewhere(found):
                raise
            return path, *describe(found, obj)
        for child, child_path in children:
            if issubclass(type(child), _ATOMS) or id(child) in dumper.roots:
                continue
            try:
                dumper.dump(child)
            except BaseException as found:  # the very thing looked for; reported by the caller
                if is_from_elsewhere(found):
                    raise
                obj, path, error = child, child_path, found
                if isinstance(found, EndlessError):
                    return path, *describe(found, child)  # each further step would take as long
                break
        else:
            break
    return path, *describe(error, obj)


def describe(error: BaseException, obj: object = None) -> tuple[str, str]:
    """Turn what a dump or load raised into a message and a remedy."""
    if isinstance(error, RefusedError):
        return error.message, error.remedy
    where = raised_at(error)
    cls = type(obj)
    if isinstance(error, RecursionError):
        # Depth alone is no reason (see ``deep``), so these are methods of its own.
        return f"its methods call each other too deeply{where}", "look for one that calls itself without end"
    if isinstance(error, (pickle.PicklingError, TypeError)) and not where:
        return f"{cls.__module__}.{cls.__qualname__} cannot be carried ({text_of(error)})", (
            "name it in transient=, or give its class __getstate__ and __setstate__"
        )
    return told(error), ""


def _children(dumper: Dumper, obj: Any, path: str) -> Iterator[tuple[object, str]]:
    """Yield the parts of one object with their paths; raise what its reduction raises."""
    cls = type(obj)
    if cls is dict:
        for key, value in list(obj.items()):
            yield key, f"{path} (key {_short(key)})"
            yield value, f"{path}[{_short(key)}]"
    elif cls in (list, tuple):
        for index, value in enumerate(obj):
            yield value, f"{path}[{index}]"
    elif cls in (set, frozenset):
        for value in obj:
            yield value, f"{path} (element {_short(value)})"
    else:
        yield from _reduced(obj, _reduce(dumper, obj), path)


def _reduce(dumper: Dumper, obj: Any) -> Any:
    reduction = dumper.reduction_of(obj)
    if reduction is NotImplemented:
        if isinstance(obj, (type, types.FunctionType)):
            return ""
        reduce = vars(pickle)["dispatch_table"].get(type(obj))
        reduction = obj.__reduce_ex__(5) if reduce is None else reduce(obj)
    if not isinstance(reduction, (str, tuple)):
        raise TypeError("__reduce__ must return a string or a tuple")
    if isinstance(reduction, str):
        module = getattr(obj, "__module__", None)
        if isinstance(module, str) and getattr(sys.modules.get(module), reduction, obj) is not obj:
            raise RefusedError(f"{module}:{reduction} is not this object")
    return reduction


def _reduced(obj: Any, reduction: Any, path: str) -> Iterator[tuple[object, str]]:
    if not isinstance(reduction, tuple):
        return
    _, args, state, items, pairs = (*reduction, None, None, None)[:5]
    for part in state if isinstance(state, tuple) else (state,):
        if isinstance(part, dict):
            for name, value in part.items():
                yield value, f"{path}.{name}" if isinstance(name, str) else f"{path}[{_short(name)}]"
        else:
            yield part, f"{path} (state of {type(obj).__name__})"
    for index, value in enumerate(islice(items or (), _LIMIT)):
        yield value, f"{path}[{index}]"
    for key, value in islice(pairs or (), _LIMIT):
        yield key, f"{path} (key {_short(key)})"
        yield value, f"{path}[{_short(key)}]"
    names = {id(value): name for name, value in getattr(obj, "__dict__", {}).items()}
    for value in args or ():
        name = names.get(id(value))
        yield value, f"{path}.{name}" if name else path


def _short(key: object) -> str:
    if isinstance(key, str):
        text = json.dumps(key, ensure_ascii=False)
    else:
        try:
            text = repr(key)
        except BaseException as error:  # only a label: the path stays readable without it
            if is_from_elsewhere(error):
                raise
            text = f"<{type(key).__name__}>"
    return text if len(text) <= 60 else f"{text[:57]}..."
