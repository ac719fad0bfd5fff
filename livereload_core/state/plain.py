"""Instances that cross as nothing but their class and their ``__dict__``: most of what a program keeps.

``object.__reduce_ex__`` asks each instance anew for all that it may say of itself, which is half the time of
a dump. Where the class says nothing, its answer is known beforehand, but for the ``__dict__``::

    copyreg.__newobj__, (cls,), instance.__dict__

Invariants:
    * That is what ``object.__reduce_ex__(5)`` would return: the stream is the same to the last byte.
    * What a class says can be changed while the program runs, so it is asked in each export. What it is
      made of stays.
"""

from __future__ import annotations

import copyreg
import functools
from typing import Any

from livereload_core.state.inplace import OBJECTS, family_of_class

__all__ = ["UNASKED", "is_read_plainly", "start_of"]

UNASKED = ("__reduce_ex__", "__getstate__")
"""What Python looks for in the instance first: one with such an attribute is asked, whatever its class is."""

_SAYS = (*UNASKED, "__reduce__", "__getnewargs_ex__", "__getnewargs__", "__getattr__")


def start_of(cls: type) -> tuple[type] | None:
    """Return what instances of a class begin with, ``None`` if they have to be asked one by one."""
    if cls in copyreg.dispatch_table or not _is_made_plainly(cls):
        return None
    spaces = [vars(base) for base in cls.__mro__[:-1]]
    return None if any(name in space for space in spaces for name in _SAYS) else (cls,)


@functools.lru_cache(maxsize=4096)
def _is_made_plainly(cls: Any) -> bool:
    """Whether all that an instance holds is a ``__dict__``, and to read that runs no code."""
    return (
        family_of_class(cls) is OBJECTS
        and cls.__dictoffset__ != 0
        and not vars(copyreg)["_slotnames"](cls)
        and is_read_plainly(cls)
    )


def is_read_plainly(cls: Any) -> bool:
    """Whether reading the attributes of instances runs no code, and shows what is there."""
    return cls.__getattribute__ is object.__getattribute__ and all(
        "__class__" not in vars(base) and type(vars(base).get("__dict__", _DICT)) is type(_DICT)
        for base in cls.__mro__[:-1]
    )


class _Plain:
    pass


_DICT = vars(_Plain)["__dict__"]
