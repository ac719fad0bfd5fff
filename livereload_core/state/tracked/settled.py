"""Which values cannot change, and which nobody but their container can reach.

By exact type: a subclass may have attributes, a ``tzinfo`` of the user's may have state, and a
frozen dataclass can be changed with ``object.__setattr__``. With an open list instead of recursion: nesting
may be deep.
"""

from __future__ import annotations

import copyreg
import datetime
import enum
import pathlib
import sys
import weakref
from typing import Any

from livereload_core.state.inplace import is_python_class

__all__ = ["CONTAINERS", "PLAIN", "is_key", "is_plain_class", "is_private", "is_settled", "slots_of"]

PLAIN: frozenset[type] = frozenset((int, float, str, bytes, bool, type(None), complex))
"""Types of which nearly all values are; looked at first."""

_ATOMS: frozenset[type] = PLAIN | {
    datetime.date,
    datetime.timedelta,
    datetime.timezone,
    pathlib.PurePosixPath,
    pathlib.PosixPath,
    pathlib.PureWindowsPath,
    pathlib.WindowsPath,
}
_BY_NAME = (("decimal", "Decimal"), ("uuid", "UUID"), ("zoneinfo", "ZoneInfo"))
"""The same, of modules that take long to import: an object of theirs is there only if they are."""
_CLOCKS = (datetime.datetime, datetime.time)
_GROUPS = (tuple, frozenset)
CONTAINERS: frozenset[type] = frozenset((list, dict, set))
"""Types of which nearly all values are that can change."""
_MOST = 1000
"""Objects in one value from which on nobody looks whether it can be reached from elsewhere."""


def is_settled(value: object) -> bool:
    """Whether a value can never change, nor anything in it."""
    if type(value) in _ATOMS:
        return True
    if type(value) in CONTAINERS:
        return False
    waiting = [value]
    while waiting:
        item = waiting.pop()
        cls = type(item)
        if cls in _ATOMS:
            continue
        if cls in _GROUPS:
            waiting.extend(item)  # type: ignore[arg-type]
        elif cls in CONTAINERS or not _is_rare_atom(item, cls):
            return False
    return True


def _is_rare_atom(item: Any, cls: type) -> bool:
    if isinstance(cls, enum.EnumMeta):  # crosses by its name, and is one object in each process
        return cls.__members__.get(getattr(item, "_name_", None) or "") is item
    if cls in _CLOCKS:
        zone = item.tzinfo
        return zone is None or type(zone) is datetime.timezone or _is_named(type(zone))
    return _is_named(cls)


def _is_named(cls: type) -> bool:
    return any(
        cls.__name__ == name and cls is getattr(sys.modules.get(module), name, None)
        for module, name in _BY_NAME
    )


def is_key(key: object) -> bool:
    """Whether a key is the same key in another process: settled, and equal to itself (NaN is not)."""
    cls = type(key)
    if cls is str or cls is int or cls is bytes:
        return True
    if not is_settled(key):
        return False
    waiting = [key]
    while waiting:
        item = waiting.pop()
        if type(item) in _GROUPS:
            waiting.extend(item)  # type: ignore[arg-type]
        elif item != item:
            return False
    return True


def is_private(value: Any) -> bool:
    """Whether nobody but its container can reach a value that may change, nor anything in it that may.

    Called as ``is_private(value)`` with the value in one container and one local variable of the caller.

    Args:
        value: what is not settled.
    """
    if sys.getrefcount(value) != _IN_ONE_CONTAINER:
        return False
    if type(value) is list and PLAIN.issuperset(map(type, value)):
        return True  # as most are: a tenth of the time that it takes below
    if type(value) is dict and PLAIN.issuperset(map(type, [*value, *value.values()])):
        return True
    waiting = [[value]]
    value = None
    seen = 0
    while waiting:
        # What is looked at now is referred to by its parent, ``here`` and ``item``.
        here = waiting.pop()
        for item in here:
            cls = type(item)
            if cls in _ATOMS or is_settled(item):
                continue
            seen += 1
            if seen > _MOST or (seen > 1 and sys.getrefcount(item) != _IN_TWO):
                return False
            parts = _parts(item, cls)
            if parts is None:
                return False
            waiting.append(parts)
    return True


def _parts(item: Any, cls: type) -> list[Any] | None:
    """Return what is in an object of a kind that is known through and through, else ``None``."""
    if cls is list or cls is tuple:
        return list(item)
    if cls is dict:
        return [*item.keys(), *item.values()]
    if cls is set or cls is frozenset:
        return None if weakref.getweakrefcount(item) else list(item)
    if _is_named_tuple(cls):
        return list(item) if _is_written_plainly(cls) else None
    if cls is bytearray:
        return []
    if not is_plain_class(cls) or weakref.getweakrefcount(item):
        return None
    found = []
    for name in slots_of(cls):
        try:
            found.append(object.__getattribute__(item, name))
        except AttributeError:
            continue
    try:
        space = object.__getattribute__(item, "__dict__")
    except AttributeError:
        return found
    if type(space) is not dict or sys.getrefcount(space) != _SPACE:
        return None
    return [*found, *space.values()]


_OWN_WAYS = (
    *("__reduce__", "__reduce_ex__", "__getstate__", "__setstate__"),
    *("__getnewargs_ex__", "__del__"),
)


def _is_named_tuple(cls: type) -> bool:
    return cls.__bases__ == (tuple,) and not cls.__dictoffset__ and hasattr(cls, "_fields")


_plainly_written: weakref.WeakKeyDictionary[type, bool] = weakref.WeakKeyDictionary()
_plain_classes: weakref.WeakKeyDictionary[type, bool] = weakref.WeakKeyDictionary()


def slots_of(cls: type) -> list[str]:
    """Return the names of a class's slots, those of its bases among them."""
    names: list[str] = copyreg._slotnames(cls)  # type: ignore[attr-defined]
    return names


def is_plain_class(cls: type) -> bool:
    """Whether instances are their attributes and nothing else, and are pickled as such."""
    known = _plain_classes.get(cls)
    if known is None:
        known = _plain_classes[cls] = (
            cls is not object
            and all(map(is_python_class, cls.__mro__[:-1]))
            and not any("__getnewargs__" in vars(base) for base in cls.__mro__[:-1])
            and _is_written_plainly(cls)
        )
    return known


def _is_written_plainly(cls: type) -> bool:
    """Whether a class has no say in what is written for its instances, the arguments of a tuple apart."""
    known = _plainly_written.get(cls)
    if known is None:
        own = any(name in vars(base) for base in filter(is_python_class, cls.__mro__) for name in _OWN_WAYS)
        known = _plainly_written[cls] = not own and cls not in copyreg.dispatch_table
    return known


class _Probe:
    def __init__(self) -> None:
        self.value = 1


def _in_one_container() -> int:
    held = {"key": [1]}
    value = held["key"]

    def count(value: Any) -> int:
        return sys.getrefcount(value)

    return count(value)


def _in_two() -> int:
    parent = [[1]]
    here = [*parent]
    found = 0
    for item in here:
        found = sys.getrefcount(item)
    return found


def _space() -> int:
    item = _Probe()
    space = object.__getattribute__(item, "__dict__")
    return sys.getrefcount(space)


_IN_ONE_CONTAINER = _in_one_container()
_IN_TWO = _in_two()
_SPACE = _space()
"""What ``sys.getrefcount`` says of an object that is referred to from where it has to be, and nowhere else:
how a call of Python counts differs between versions."""
