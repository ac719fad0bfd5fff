"""Copies that end without a word: what they have belongs to another object, and so does its ``__del__``.

A root is written from a copy of it, and filled from an object that was read. Both are dropped then, and a
``__del__`` of the program's would close the very files that the root has, or say a goodbye that nobody meant.

Invariant: no ``__del__`` runs for an object that the program has not made.
"""

from __future__ import annotations

import ctypes
from typing import Any

from livereload_core.state.inplace import attributes

__all__ = ["disarm"]

_husks: dict[type, type] = {}


def disarm(obj: Any) -> None:
    """Let an object that is about to be dropped be one of another class, with the same layout and no end."""
    cls = type(obj)
    if not hasattr(cls, "__del__"):
        return
    try:
        obj.__class__ = _husk_of(cls)
    except TypeError:  # a layout that no other class has (slots over two classes): it stays, and empty
        for name in attributes(obj):
            object.__delattr__(obj, name)
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(obj))


def _husk_of(cls: type) -> type:
    if cls not in _husks:
        built_in = next(base for base in cls.__mro__ if not base.__flags__ & _HEAP_TYPE)
        slots: dict[str, Any] = {}
        if not cls.__dictoffset__:
            names = [name for base in cls.__mro__ for name in _slots(base)]
            slots = {"__slots__": tuple(sorted({*names}))}
        _husks[cls] = type("Husk", (built_in,), slots)
    return _husks[cls]


def _slots(cls: type) -> tuple[str, ...]:
    names = vars(cls).get("__slots__", ())
    return (names,) if isinstance(names, str) else tuple(names)


_HEAP_TYPE = 1 << 9
"""Py_TPFLAGS_HEAPTYPE: made at run time."""
