"""Whether a value is what an annotation says, deep into containers."""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Literal, Union

__all__ = ["fits"]

_CALLABLE: Any = Callable


def fits(value: Any, hint: Any) -> bool:
    """Whether a value fits an annotation; ``False`` also where that cannot be told."""
    if hint is Any or hint is object:
        return True
    if hint is None:
        return value is None
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is None:
        return _fits_class(value, hint)
    if origin in (Union, types.UnionType):
        return any(fits(value, arg) for arg in args)
    if origin is Literal:
        return any(value == arg and type(value) is type(arg) for arg in args)
    if origin in (typing.Annotated, typing.ClassVar, typing.Final):
        return fits(value, args[0])
    if not isinstance(origin, type):
        return False
    if issubclass(origin, _CALLABLE):
        return callable(value)
    return isinstance(value, origin) and _fits_items(value, origin, args)


def _fits_class(value: Any, hint: Any) -> bool:
    base = getattr(hint, "__supertype__", None)
    if base is not None:
        return fits(value, base)
    if not isinstance(hint, type):
        return False
    if (hint is float and type(value) is int) or (hint is complex and type(value) in (int, float)):
        return True  # as PEP 484 has it
    if isinstance(value, bool) and hint is int:
        return True
    try:
        return isinstance(value, hint)
    except TypeError:  # a protocol that cannot be asked
        return False


def _fits_items(value: Any, origin: type, args: tuple[Any, ...]) -> bool:
    if origin is tuple:
        if len(args) == 2 and args[1] is ...:
            return all(fits(item, args[0]) for item in value)
        return len(args) == len(value) and all(map(fits, value, args))
    if issubclass(origin, Mapping) and len(args) == 2:
        items: Iterable[tuple[Any, Any]] = value.items()
        return all(fits(key, args[0]) and fits(item, args[1]) for key, item in items)
    if issubclass(origin, Collection) and len(args) == 1:
        return all(fits(item, args[0]) for item in value)
    return False
