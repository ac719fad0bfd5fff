"""What plain pickle cannot do, or does wrong: one reduction per kind of object.

A reduction is what ``__reduce_ex__`` would return. Five sources, in this order:

    by fd       sockets, files, child processes: ``state.descriptors`` and the modules that build on it
    ours        kinds that pickle or dill carry with the wrong meaning (locks held, enums by value ...)
    codecs      kinds of third-party libraries: ``state.thirdparty``
    refused     kinds that have no meaning in another process, with advice (threads, generators ...)
    dill        kinds that plain pickle refuses and dill knows; imported at that moment, not before

Invariants:
    * Functions and classes never cross by value: the new code must be what runs.
    * A kind is classified once per process, by type; objects of a plain kind cost one lookup.
"""

from __future__ import annotations

import array
import copyreg
import enum
import functools
import importlib
import io
import operator
import sys
import threading
import types
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any

from livereload_core.state import arrays, code, parking, stdlib
from livereload_core.state.dillbridge import dill_reduction, has_saver
from livereload_core.state.endless import bounded, may_be_endless, reduce_bounded
from livereload_core.state.inplace import attributes
from livereload_core.state.localclasses import is_made_at_run_time, reduce_local_class
from livereload_core.state.refusals import RefusedError, is_refused, refusal_of
from livereload_core.state.shapes import build, enum_flags, enum_member, set_fields
from livereload_core.state.thirdparty import codec_for

__all__ = ["Reducer", "classify"]

Reducer = Callable[[Any], Any] | None
"""Returns a reduction or ``NotImplemented``; ``None`` stands for "as plain pickle does"."""


def classify(obj: object) -> Reducer:
    """Find out how objects of the type of ``obj`` are reduced; the answer holds for the whole type."""
    cls = type(obj)
    if issubclass(cls, type):
        return _reduce_class
    if cls in _OURS:
        return _OURS[cls]
    carried = _carried(cls)
    if carried is not None:
        return carried
    for base in cls.__mro__:
        named = _BY_NAME.get(f"{base.__module__}:{base.__qualname__}")
        if named is not None:
            return named
    codec = codec_for(cls)
    if codec is not None:
        return codec.reduce
    refused = refusal_of(cls)
    if refused is not None:
        message, remedy = refused
        return lambda obj: _refuse(message, remedy)
    if issubclass(cls, enum.Enum):
        return _reduce_enum
    if issubclass(cls, (defaultdict, Counter)) and cls not in (defaultdict, Counter):
        return _reduce_with_attributes
    if parking.holds(cls):
        return _reduce_with_parked
    if _is_positional_dataclass(cls):
        return _reduce_fields
    if hasattr(cls, "__struct_fields__"):
        return _reduce_struct
    return _by_probe(obj)


def _carried(cls: type) -> Reducer:
    """Return the reducer of a kind that crosses by fd; imported at that moment, not before."""
    for base in cls.__mro__:
        name = f"{base.__module__}:{base.__qualname__}"
        if name in _CARRIED:
            module, _, function = _CARRIED[name].partition(":")
            reducer: Reducer = getattr(importlib.import_module(f"livereload_core.state.{module}"), function)
            return reducer
        if is_refused(name):
            return None
    return None


def _refuse(message: str, remedy: str) -> Any:
    raise RefusedError(message, remedy)


def _by_probe(obj: object) -> Reducer:
    cls = type(obj)
    default = cls.__reduce_ex__ is object.__reduce_ex__ and cls.__reduce__ is object.__reduce__
    endless = reduce_bounded if may_be_endless(cls) else None
    if not default or cls in copyreg.dispatch_table:
        return endless
    try:
        obj.__reduce_ex__(5)
    except TypeError:
        return dill_reduction if has_saver(cls) else None
    except Exception:  # the pickler meets it again at once, and the walker names the object
        return None
    return endless


def _reduce_class(cls: type) -> Any:
    if is_made_at_run_time(cls):
        return reduce_local_class(cls)
    module = sys.modules.get(cls.__module__)
    found: Any = module
    for part in cls.__qualname__.split("."):
        found = getattr(found, part, None)
    if found is cls or module is None:
        return NotImplemented
    if cls.__module__ == "builtins" and has_saver(type):
        return dill_reduction(cls)  # ``function``, ``generator`` ...: types that have no public name
    raise RefusedError(
        f"class {cls.__module__}:{cls.__qualname__} is not what that name stands for now",
        "do not rebind the names of classes whose instances are kept",
    )


def _reduce_enum(member: enum.Enum) -> Any:
    # By name: pickle's own reduction is by value, and ``auto()`` numbers anew when members are reordered.
    cls, name = type(member), getattr(member, "_name_", None)
    if name is not None and cls.__members__.get(name) is member:
        return enum_member, (cls, name)
    if not isinstance(member, enum.Flag):
        return NotImplemented
    parts = [part for part in type(member) if part in member]
    rest = member.value & ~functools.reduce(operator.or_, (part.value for part in parts), 0)
    return enum_flags, (type(member), [part.name for part in parts], rest)


def _is_positional_dataclass(cls: type) -> bool:
    # dataclass(slots=True, frozen=True) pickles by position: fields in a new order would be silently wrong.
    return getattr(cls.__dict__.get("__getstate__"), "__name__", "") == "_dataclass_getstate"


def _reduce_fields(obj: object) -> Any:
    return copyreg.__newobj__, (type(obj),), attributes(obj), None, None, set_fields  # type: ignore[attr-defined]


def _reduce_struct(struct: Any) -> Any:
    # msgspec pickles by position: fields in a new order would be silently wrong.
    return build, (type(struct), {name: getattr(struct, name) for name in struct.__struct_fields__})


def _reduce_with_parked(obj: Any) -> Any:
    parked = parking.parked_of(obj)
    names = getattr(obj, "__struct_fields__", getattr(obj, "_fields", None))
    if names is not None:
        return build, (type(obj), {**{name: getattr(obj, name) for name in names}, **parked})
    fields = {**attributes(obj), **parked}
    return copyreg.__newobj__, (type(obj),), fields, None, None, set_fields  # type: ignore[attr-defined]


def _reduce_with_attributes(obj: Any) -> Any:
    # The reductions of Counter and defaultdict forget the attributes of subclasses.
    reduction = obj.__reduce__()
    if vars(obj) and (len(reduction) < 3 or reduction[2] is None):
        reduction = (*reduction[:2], vars(obj), *reduction[3:])
    return bounded(obj, reduction)


def _lock(_: object) -> Any:
    return threading.Lock, ()


def _rlock(_: object) -> Any:
    return threading.RLock, ()


def _condition(condition: Any) -> Any:
    # Its waiters are locks on which threads of this process sleep.
    return type(condition), (condition._lock,)


def _event(event: Any) -> Any:
    return _make_event, (type(event), event.is_set())


def _make_event(cls: Any, is_set: bool) -> Any:
    event = cls()
    if is_set:
        event.set()
    return event


def _semaphore(semaphore: Any) -> Any:
    # A bounded one says how many there were; for a plain one the value is all there is.
    return type(semaphore), (getattr(semaphore, "_initial_value", None) or semaphore._value,)


def _bounded_async_semaphore(semaphore: Any) -> Any:
    return type(semaphore), (semaphore._bound_value,)


def _free(obj: object) -> Any:
    return type(obj), ()


def _barrier(barrier: Any) -> Any:
    return type(barrier), (barrier.parties, barrier._action, barrier._timeout)


def _queue_items(queue: Any) -> Any:
    items = list(queue._queue)
    return _make_queue, (type(queue), queue.maxsize), items, None, None, _fill_queue


def _make_queue(cls: Any, maxsize: int) -> Any:
    return cls(maxsize)


def _fill_queue(queue: Any, items: list[Any]) -> None:
    queue._queue.extend(items)
    if items:
        queue._unfinished_tasks = len(items)
        queue._finished.clear()


def _module(module: types.ModuleType) -> Any:
    if sys.modules.get(module.__name__) is not module:
        raise RefusedError(f"module {module.__name__!r} is not in sys.modules", "import it by its name")
    return _import, (module.__name__,)


def _import(name: str) -> types.ModuleType:
    __import__(name)
    return sys.modules[name]


_OURS: dict[type, Reducer] = {
    **dict.fromkeys((type(None), bool, int, float, str, bytes, bytearray, complex, range, slice)),
    **dict.fromkeys((dict, list, tuple, set, frozenset, types.BuiltinFunctionType, types.MethodType)),
    array.array: arrays.reduce_array,
    types.FunctionType: code.reduce_function,
    types.CellType: code.reduce_cell,
    types.ModuleType: _module,
    type(threading.Lock()): _lock,
    type(threading.RLock()): _rlock,
    threading.Condition: _condition,
    threading.Event: _event,
    threading.Semaphore: _semaphore,
    threading.BoundedSemaphore: _semaphore,
    threading.Barrier: _barrier,
    **stdlib.BY_TYPE,
}

_CARRIED = {
    **dict.fromkeys(
        (
            f"{cls.__module__}:{cls.__qualname__}"
            for cls in (
                io.TextIOWrapper,
                io.BufferedReader,
                io.BufferedWriter,
                io.BufferedRandom,
                io.FileIO,
            )
        ),
        "files:reduce_file",
    ),
    "tempfile:_TemporaryFileWrapper": "files:reduce_temporary",
    "socket:socket": "sockets:reduce_socket",
    "multiprocessing.connection:Connection": "sockets:reduce_connection",
    "subprocess:Popen": "processes:reduce_popen",
    "sqlite3:Connection": "databases:reduce_sqlite",
}

_BY_NAME: dict[str, Reducer] = {
    "asyncio.locks:Lock": _free,
    "asyncio.locks:Event": _event,
    "asyncio.locks:Condition": _condition,
    "asyncio.locks:BoundedSemaphore": _bounded_async_semaphore,
    "asyncio.locks:Semaphore": _semaphore,
    "asyncio.queues:Queue": _queue_items,
    **stdlib.BY_NAME,
}
