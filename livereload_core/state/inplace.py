"""Objects that can be emptied and refilled: how a kept value gets into the object that the user holds.

``sessions = preserve("sessions", dict)`` returned the real object at import, before the state came;
other modules may hold it by now. So the state goes *into* it. Each :class:`Family` knows three moves:

    clone(root)         a shallow copy: what is pickled instead of the root itself, so that the pickler
                        can treat the root as a reference wherever its own contents name it
    shell(cls, args)    an empty object, made before its contents are known: lets roots name each other
    become(live, new)   pour the contents of ``new`` into ``live``

Invariants:
    * Moves are raw: they use the methods of the built-in base, never what a subclass overrides, so no
      user code runs here and no half-built object is asked anything.
    * ``become`` keeps attributes that ``live`` has and ``new`` lacks: fields that the new code added.
"""

from __future__ import annotations

import array
import copyreg
import datetime
import enum
import functools
import pathlib
import re
import sys
import threading
import types
import typing
from collections import OrderedDict, defaultdict, deque
from typing import Any

from livereload_core.state.roots import UNSET

__all__ = [
    "OBJECTS",
    "ArrayMemory",
    "Family",
    "add_family",
    "attributes",
    "family_of",
    "family_of_class",
    "is_immutable",
    "is_python_class",
    "set_attributes",
]

_IMMUTABLE_TYPE = 1 << 8  # Py_TPFLAGS_IMMUTABLETYPE
_HEAP_TYPE = 1 << 9  # Py_TPFLAGS_HEAPTYPE: made at run time, by a class statement or by C code


def attributes(obj: object) -> dict[str, Any]:
    """Return the instance attributes of ``obj``, from ``__dict__`` and from slots."""
    found: dict[str, Any] = {}
    for name in copyreg._slotnames(type(obj)):  # type: ignore[attr-defined]
        value = _slot(obj, name)
        if value is not UNSET:
            found[name] = value
    found.update(_dict_of(obj) or {})
    return found


def set_attributes(obj: object, values: dict[str, Any]) -> list[str]:
    """Set instance attributes past ``__setattr__``, frozen or not; return those that have no place."""
    slots = set(copyreg._slotnames(type(obj)))  # type: ignore[attr-defined]
    space = _dict_of(obj)
    homeless = []
    for name, value in values.items():
        if name in slots:
            object.__setattr__(obj, name, value)
        elif space is not None:
            space[name] = value
        else:
            homeless.append(name)
    return homeless


def _dict_of(obj: object) -> dict[str, Any] | None:
    try:
        space = object.__getattribute__(obj, "__dict__")
    except AttributeError:
        return None
    return space if type(space) is dict else None


def _slot(obj: object, name: str) -> Any:
    try:
        return object.__getattribute__(obj, name)
    except AttributeError:
        return UNSET


class Family:
    """Instances of plain Python classes, and the base of the others."""

    def args(self, obj: Any) -> tuple[Any, ...] | None:
        """Return what :meth:`shell` needs, as JSON types; ``None`` if it cannot be written down so."""
        return ()

    def shell(self, cls: type, args: tuple[Any, ...]) -> Any:
        """Make an empty object; no ``__init__`` runs."""
        return object.__new__(cls)

    def pour(self, live: Any, new: Any) -> None:
        """Replace the items of ``live`` by those of ``new``; attributes are the caller's affair."""

    def clone(self, obj: Any, without: tuple[str, ...] = ()) -> Any:
        """Return a shallow copy, leaving out the attributes named in ``without``."""
        if type(obj) in (dict, list, set):  # one step in C: no other thread can come between
            return obj.copy()
        new = self.shell(type(obj), self.args(obj) or ())
        self.pour(new, obj)
        set_attributes(new, {k: v for k, v in attributes(obj).items() if k not in without})
        return new

    def why_not(self, live: Any, new: Any) -> str:
        """Say why ``live`` cannot become ``new``, or ``""``."""
        return ""

    def has_place(self, live: Any, new: Any) -> bool:
        """Whether the memory of ``live`` can hold that of ``new`` as it is, byte for byte."""
        return False

    def become(self, live: Any, new: Any) -> list[str]:
        """Make ``live`` hold what ``new`` holds; return the attributes that found no place."""
        self.pour(live, new)
        return set_attributes(live, attributes(new))


class _Dicts(Family):
    base: Any = dict

    def shell(self, cls: type, args: tuple[Any, ...]) -> Any:
        return self.base.__new__(cls)

    def pour(self, live: Any, new: Any) -> None:
        base = self.base
        if type(live) is dict and type(new) is dict and live is not new:
            live.clear()
            live.update(new)  # an empty one takes over the table as it is
            return
        items = list(base.items(new))  # ``new`` may be ``live``
        base.clear(live)
        if type(live) is dict:
            live.update(items)
            return
        for key, value in items:
            base.__setitem__(live, key, value)


class _OrderedDicts(_Dicts):
    base = OrderedDict


class _DefaultDicts(_Dicts):
    base = defaultdict

    def pour(self, live: Any, new: Any) -> None:
        super().pour(live, new)
        if live.default_factory is None:  # else the new code's own, which may have been edited
            live.default_factory = new.default_factory


class _Lists(Family):
    def shell(self, cls: type, args: tuple[Any, ...]) -> Any:
        return list.__new__(cls)

    def pour(self, live: Any, new: Any) -> None:
        list.__setitem__(live, slice(None), list(list.__iter__(new)))


class _Sets(Family):
    def shell(self, cls: type, args: tuple[Any, ...]) -> Any:
        return set.__new__(cls)

    def pour(self, live: Any, new: Any) -> None:
        items = list(set.__iter__(new))
        set.clear(live)
        set.update(live, items)


class _Deques(Family):
    def args(self, obj: Any) -> tuple[Any, ...]:
        return (obj.maxlen,)

    def shell(self, cls: type, args: tuple[Any, ...]) -> Any:
        new: deque[Any] = deque.__new__(cls)
        deque.__init__(new, (), *args)
        return new

    def pour(self, live: Any, new: Any) -> None:
        items = list(deque.__iter__(new))
        deque.clear(live)
        deque.extend(live, items)  # ``live`` keeps its maxlen: the new code's own, which may have been edited


class _ByteArrays(Family):
    def shell(self, cls: type, args: tuple[Any, ...]) -> Any:
        return bytearray.__new__(cls)

    def pour(self, live: Any, new: Any) -> None:
        bytearray.__setitem__(live, slice(None), bytes(new))


class _Arrays(Family):
    def args(self, obj: Any) -> tuple[Any, ...]:
        return (obj.typecode,)

    def shell(self, cls: type, args: tuple[Any, ...]) -> Any:
        return array.array.__new__(cls, *args)

    def why_not(self, live: Any, new: Any) -> str:
        if live.typecode != new.typecode:
            return f"was an array of {new.typecode!r}, is one of {live.typecode!r} now"
        return ""

    def pour(self, live: Any, new: Any) -> None:
        array.array.__setitem__(live, slice(None), new[:])


class ArrayMemory:
    """Lends the memory of a numpy array to another array object.

    Attributes:
        owner: the array.
    """

    def __init__(self, owner: Any) -> None:
        self.owner = owner
        self.__array_interface__ = owner.__array_interface__


class _NdArrays(Family):
    """numpy arrays, without importing numpy: an array exists only where somebody else did."""

    def args(self, obj: Any) -> tuple[Any, ...] | None:
        plain = obj.dtype.fields is None and obj.dtype.kind in "biufcmMSU"
        return (list(obj.shape), obj.dtype.str) if plain else None

    def shell(self, cls: type, args: tuple[Any, ...]) -> Any:
        shape, dtype = args
        return sys.modules["numpy"].empty(tuple(shape), dtype)

    def clone(self, obj: Any, without: tuple[str, ...] = ()) -> Any:
        numpy = sys.modules["numpy"]
        # Another object over the same memory. Not a plain view: it would be carried as one of the root, which
        # is a reference, and its contents would not be carried at all.
        return obj.view() if isinstance(obj.base, numpy.ndarray) else numpy.asarray(ArrayMemory(obj))

    def why_not(self, live: Any, new: Any) -> str:
        if (live.shape, live.dtype) != (new.shape, new.dtype):
            return f"was an array of {new.shape} {new.dtype}, is one of {live.shape} {live.dtype} now"
        return ""

    def has_place(self, live: Any, new: Any) -> bool:
        owns: bool = live.flags.owndata and live.flags.writeable and live.strides == new.strides
        return owns

    def become(self, live: Any, new: Any) -> list[str]:
        live[...] = new
        return []


class _Locks(Family):
    """Bare locks: they come back free, so there is nothing to pour."""

    def shell(self, cls: type, args: tuple[Any, ...]) -> Any:
        return threading.RLock() if cls is type(threading.RLock()) else threading.Lock()

    def clone(self, obj: Any, without: tuple[str, ...] = ()) -> Any:
        return self.shell(type(obj), ())

    def become(self, live: Any, new: Any) -> list[str]:
        return []


OBJECTS = Family()
"""Instances of classes that are made by class statements, down to ``object``."""
_LOCKS = _Locks()
_NDARRAYS = _NdArrays()
_BUILTINS: dict[type, Family] = {
    OrderedDict: _OrderedDicts(),
    defaultdict: _DefaultDicts(),
    dict: _Dicts(),
    list: _Lists(),
    set: _Sets(),
    deque: _Deques(),
    bytearray: _ByteArrays(),
    array.array: _Arrays(),
    type(threading.Lock()): _LOCKS,
    type(threading.RLock()): _LOCKS,
}


def add_family(cls: type, family: Family) -> None:
    """Say how the instances of a class of ours are refilled."""
    _BUILTINS[cls] = family
    family_of_class.cache_clear()


_IMMUTABLE: tuple[type, ...] = (
    *(type(None), bool, int, float, complex, str, bytes, tuple, frozenset, range, slice, type),
    *(datetime.date, datetime.time, datetime.timedelta, datetime.tzinfo, enum.Enum),
    *(pathlib.PurePath, re.Pattern, types.FunctionType, types.BuiltinFunctionType),
    *(types.MethodType, types.ModuleType, types.MappingProxyType, type(NotImplemented), type(Ellipsis)),
)
_IMMUTABLE_TOO = frozenset({("decimal", "Decimal"), ("fractions", "Fraction"), ("uuid", "UUID")})
"""The same by name, of modules that take long to import: an object of theirs is there only if they are."""


def is_immutable(obj: object) -> bool:
    """Whether a program changes such a value by binding its name anew."""
    if _is_immutable_class(type(obj)):
        return True
    params = getattr(type(obj), "__dataclass_params__", None)
    return bool(getattr(params, "frozen", False))


def family_of(obj: object) -> Family | None:
    """Return how an object is refilled in place, or ``None`` when there is no way."""
    cls: Any = type(obj)
    return family_of_class(cls)


@functools.lru_cache(maxsize=4096)
def family_of_class(cls: type) -> Family | None:
    """The same for the instances of a class."""
    if _is_immutable_class(cls):
        return None
    for base in cls.__mro__:
        if base in _BUILTINS:
            return _BUILTINS[base]
        if base.__module__ == "numpy" and base is getattr(sys.modules.get("numpy"), "ndarray", None):
            return _NDARRAYS if cls is base else None
        # The first base that is written in C decides the layout; ``object`` has none of its own.
        if base is object:
            return OBJECTS if is_python_class(cls) else None
        if not is_python_class(base):
            return None
    return None


def _is_immutable_class(cls: type) -> bool:
    if issubclass(cls, _IMMUTABLE):
        return True
    for base in cls.__mro__:
        module, name = base.__module__, base.__qualname__
        if (module, name) in _IMMUTABLE_TOO and getattr(sys.modules.get(module), name, None) is base:
            return True
    return False


def is_python_class(cls: type) -> bool:
    """Whether a class comes from a class statement, its bases apart."""
    if cls is typing.Generic:
        return True  # written in C since CPython 3.12, and adds nothing
    # A class statement leaves ``__dict__`` or ``__slots__`` behind, or inherits the former. A class
    # written in C may have a ``__dict__`` too, but then brings a ``__new__`` that is no function, or cannot
    # be changed.
    return (
        cls.__flags__ & (_HEAP_TYPE | _IMMUTABLE_TYPE) == _HEAP_TYPE
        and not isinstance(vars(cls).get("__new__"), types.BuiltinFunctionType)
        and ("__slots__" in vars(cls) or any("__dict__" in vars(base) for base in cls.__mro__[:-1]))
    )
