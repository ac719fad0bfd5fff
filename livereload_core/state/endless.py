"""Reductions that name items without end: stopped before they fill the memory.

A reduction may name the items of an object by an iterator, and one that a class has written may never come to
its end. A pickler in C asks it for one after the other, with the GIL. So where code of a class makes such an
iterator, items are counted on their way, and whoever names too many is refused. Iterators that Python itself
makes (of a list, a dict, a deque) run over what exists: they have an end and are left alone.
"""

from __future__ import annotations

import copyreg
import time
import weakref
from collections import OrderedDict, deque
from collections.abc import Iterator
from typing import Any

from livereload_core.state import memory
from livereload_core.state.inplace import is_python_class
from livereload_core.state.refusals import EndlessItemsError

__all__ = ["bounded", "may_be_endless", "reduce_bounded"]

_MOST = 5_000_000
"""Items that a class may name by an iterator of its own."""
_LONGEST = 5.0
"""Seconds for which it may, if the items are many by then: a few large ones may take their time."""
_LOOK = 1 << 16
"""Items after which time and memory are looked at; what is fewer is never too many."""

_endless: weakref.WeakSet[type] = weakref.WeakSet()
"""Classes of which one object was stopped: the next snapshot does not wait so long for it."""

_SAYS = ("__reduce__", "__reduce_ex__")
_SHOWS = ("__iter__", "items")
_ITERATED = (list, dict, set, frozenset, deque)

_WHOLES: tuple[Any, ...] = (
    *([], (), {}, {}.values(), {}.items(), set(), deque(), OrderedDict(), OrderedDict().items()),
    *(range(0), range(1 << 70), "", b""),
)
_FINITE = tuple(type(iter(whole)) for whole in _WHOLES)
"""Iterators over what exists."""


def may_be_endless(cls: type) -> bool:
    """Whether code of a class, or code that is registered for it, has a say in what items are written."""
    names = _SAYS + (_SHOWS if issubclass(cls, _ITERATED) else ())
    own = any(name in vars(base) for base in cls.__mro__ if is_python_class(base) for name in names)
    return own or cls in copyreg.dispatch_table


def reduce_bounded(obj: Any) -> Any:
    """Reduce an object as plain pickle does, and count the items."""
    cls = type(obj)
    registered = copyreg.dispatch_table.get(cls)
    if registered is not None:
        return bounded(obj, registered(obj))
    if issubclass(cls, (set, frozenset)) and cls.__reduce_ex__ is object.__reduce_ex__:
        kind: Any = set if issubclass(cls, set) else frozenset
        if cls.__reduce__ is kind.__reduce__:  # it would list them all, without asking anybody
            return cls, (list(_counted(obj, iter(obj))),), obj.__getstate__()
    return bounded(obj, obj.__reduce_ex__(5))


def bounded(obj: object, reduction: Any) -> Any:
    """Return a reduction whose items are counted; what is wrong with it is left for the pickler to say."""
    if type(reduction) is not tuple or len(reduction) < 4:
        return reduction
    items = (
        _counted(obj, part) if isinstance(part, Iterator) and type(part) not in _FINITE else part
        for part in reduction[3:5]
    )
    return (*reduction[:3], *items, *reduction[5:])


def _counted(obj: object, items: Iterator[Any]) -> Iterator[Any]:
    began, free = time.monotonic(), memory.available()
    most = _LOOK if type(obj) in _endless else _MOST
    for count, item in enumerate(items, 1):
        if not count % _LOOK and (
            count >= most or time.monotonic() - began > _LONGEST or memory.available() < free // 2
        ):
            _endless.add(type(obj))
            raise EndlessItemsError(obj, count)
        yield item
