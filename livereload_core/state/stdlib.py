"""Kinds of the standard library that neither pickle nor dill carries with its meaning.

One function per kind makes the reduction, and those that the stream names follow it. What is reached in
no public way comes from :mod:`insides`.

Invariants:
    * Nothing is emptied, acquired or called to find out what it holds.
    * Members that may lead back to the object cross as its state, so that cycles are kept.
"""

from __future__ import annotations

import functools
import queue
import types
import weakref
from collections.abc import Callable
from typing import Any

from livereload_core.state import insides
from livereload_core.state.matching import fingerprint
from livereload_core.state.names import located, lookup, name_of_global
from livereload_core.state.refusals import RefusedError
from livereload_core.state.shapes import is_trial

__all__ = ["BY_NAME", "BY_TYPE"]


# -- weak references: alive only if something else in the state holds what they point at ----------------


def _weak_mapping(mapping: Any) -> Any:
    return type(mapping), (), dict(mapping.items()), None, None, _fill_mapping


def _fill_mapping(mapping: Any, items: dict[Any, Any]) -> None:
    mapping.update(items)


def _weak_set(members: Any) -> Any:
    return type(members), (), list(members), None, None, _fill_set


def _fill_set(members: Any, items: list[Any]) -> None:
    members.update(items)


def _reference(reference: Any) -> Any:
    target, callback = reference(), reference.__callback__
    if type(reference) is weakref.WeakMethod:
        # Its own callback is a closure of the library's; the user's is not to be had.
        return (weakref.WeakMethod, (target,)) if target is not None else (_dead_reference, ())
    if type(reference) is not weakref.ref:
        return NotImplemented
    return (weakref.ref, (target, callback)) if target is not None else (_dead_reference, ())


class _Gone:
    """What dead references pointed at."""


def _dead_reference() -> Any:
    return weakref.ref(_Gone())


def _proxy(proxy: Any) -> Any:
    try:
        # Every attribute is asked of the referent, and a bound method knows whose it is.
        target = object.__getattribute__(proxy.__reduce_ex__, "__self__")
    except ReferenceError:
        raise RefusedError("a weak proxy whose object is gone", "remove it") from None
    return weakref.proxy, (target,)


# -- views and buffers -----------------------------------------------------------------------------------


def _mapping_proxy(proxy: Any) -> Any:
    mapping = insides.mapping_of(proxy)
    if mapping is None:
        return types.MappingProxyType, (dict(proxy),)
    for value in mapping.values():
        owner = getattr(value, "__objclass__", None)
        if isinstance(owner, type) and insides.mapping_of(vars(owner)) is mapping:
            return vars, (owner,)  # the namespace of a class: the new one's
    return types.MappingProxyType, (mapping,)


def _dict_view(method: str) -> Callable[[Any], Any]:
    def reduce(view: Any) -> Any:
        mapping = insides.mapping_of(view.mapping)
        return getattr(dict, method), (dict(view.mapping) if mapping is None else mapping,)

    return reduce


def _memoryview(view: memoryview) -> Any:
    whole = memoryview(view.obj) if isinstance(view.obj, (bytes, bytearray)) or view.c_contiguous else None
    if whole is None or whole.nbytes != view.nbytes or not view.c_contiguous:
        raise RefusedError(
            "a memoryview of a part of a buffer", "keep the buffer and the bounds, or bytes of the part"
        )
    return _view, (view.obj, view.format, view.shape, view.readonly)


def _view(obj: Any, form: str, shape: tuple[int, ...], readonly: bool) -> memoryview:
    view = memoryview(obj)
    if (view.format, view.shape) != (form, shape):
        view = view.cast("B").cast(form, shape)  # type: ignore[call-overload]
    return view.toreadonly() if readonly else view


def _iterator(iterator: Any) -> Any:
    import warnings

    with warnings.catch_warnings():
        # From 3.12 on the reductions of itertools warn that 3.14 has none: we support none of 3.14.
        warnings.simplefilter("ignore", DeprecationWarning)
        reduction = iterator.__reduce__()
    func, args, *state = reduction
    return func, args, *state, *(None,) * (3 - len(state)), _set_quietly


def _set_quietly(iterator: Any, state: Any) -> None:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        iterator.__setstate__(state)


# -- functions with a memory -----------------------------------------------------------------------------


def _lru_cache(wrapper: Any) -> Any:
    function = wrapper.__wrapped__
    calls = insides.cached_calls(wrapper)
    state = (fingerprint(function.__code__), calls) if calls and hasattr(function, "__code__") else None
    if located(wrapper):
        if state is None:
            return NotImplemented
        return _cache_of_name, (wrapper.__module__, wrapper.__qualname__), state, None, None, _fill_cache
    parameters = wrapper.cache_parameters()
    args = (function, parameters["maxsize"], parameters["typed"])
    return (_new_cache, args) if state is None else (_new_cache, args, state, None, None, _fill_cache)


def _cache_of_name(module: str, name: str) -> Any:
    return lookup(module, name)


def _new_cache(function: Any, maxsize: int | None, typed: bool) -> Any:
    return functools.lru_cache(maxsize, typed)(function)


def _answer(*args: Any, **kwargs: Any) -> Any:
    return -0.5  # stands for the result


def _fill_cache(wrapper: Any, state: tuple[int, list[insides.Call]]) -> None:
    """Fill a cache whose code is unchanged.

    It offers no way to put results in. So it is called, while the code of its function is exchanged for
    one that knows the answer.
    """
    function = getattr(wrapper, "__wrapped__", None)
    if not isinstance(function, types.FunctionType) or not hasattr(wrapper, "cache_clear"):
        return  # another kind of function by now: it computes anew
    code, (then, calls) = function.__code__, state
    if is_trial() or fingerprint(code) != then:
        return
    wrapper.cache_clear()
    blank = _answer.__code__.replace(co_freevars=code.co_freevars)
    try:
        for args, kwargs, result in calls:
            consts = tuple(result if const == -0.5 else const for const in blank.co_consts)
            function.__code__ = blank.replace(co_consts=consts)
            wrapper(*args, **kwargs)
    finally:
        function.__code__ = code


def _context_variable(variable: Any) -> Any:
    # Its values belong to contexts, which belong to tasks and threads of this process.
    found = name_of_global(variable, variable.name)
    if found is not None:
        return lookup, found
    return _new_variable, (variable.name, insides.default_of(variable))


def _new_variable(name: str, default: tuple[Any, ...]) -> Any:
    from contextvars import ContextVar

    return ContextVar(name, default=default[0]) if default else ContextVar(name)


# -- threads' things -------------------------------------------------------------------------------------


def _thread_local(local: Any) -> Any:
    # Other threads end with this process; the one that exports is the one that goes on.
    return type(local), (), dict(vars(local)), None, None, _set_locals


def _set_locals(local: Any, values: dict[str, Any]) -> None:
    vars(local).update(values)


def _simple_queue(waiting: Any) -> Any:
    items = insides.queued_items(waiting)
    if items is None:
        raise RefusedError("a SimpleQueue that cannot be read without emptying it", "use queue.Queue")
    return queue.SimpleQueue, (), items, None, None, _put_all


def _put_all(waiting: Any, items: list[Any]) -> None:
    for item in items:
        waiting.put(item)


def _thread_pool(pool: Any) -> Any:
    idle = pool._idle_semaphore._value if pool._threads else 0
    if idle < len(pool._threads) or not pool._work_queue.empty():
        raise RefusedError("an executor with work under way", "let it finish in a before_reload hook")
    if type(pool).__init__ is not _thread_pool_class().__init__:
        raise RefusedError(
            "an executor of a class of its own owns threads", "name it in transient=, or make it anew"
        )
    return _new_pool, (
        type(pool),
        pool._max_workers,
        pool._thread_name_prefix,
        pool._initializer,
        pool._initargs,
        pool._shutdown,
    )


def _thread_pool_class() -> Any:
    from concurrent.futures import ThreadPoolExecutor

    return ThreadPoolExecutor


def _new_pool(cls: Any, workers: int, prefix: str, initializer: Any, args: Any, ended: bool) -> Any:
    pool = cls(workers, prefix, initializer, args)
    if ended:
        pool.shutdown()
    return pool


def _log_handler(handler: Any) -> Any:
    reduction = handler.__reduce_ex__(4)
    if len(reduction) < 3 or not isinstance(reduction[2], dict):
        return NotImplemented
    state = {name: value for name, value in reduction[2].items() if name != "lock"}
    return *reduction[:2], state, None, None, _set_handler


def _set_handler(handler: Any, state: dict[str, Any]) -> None:
    import logging

    handler.__dict__.update(state)
    handler.createLock()
    # What Handler.__init__ does besides: the list of those that are flushed at the end.
    note = getattr(logging, "_addHandlerRef", None)
    if note is not None and not is_trial():
        note(handler)


def _logger(logger: Any) -> Any:
    import logging

    if logging.Logger.manager.loggerDict.get(logger.name) is not logger and logger is not logging.root:
        raise RefusedError(
            "a logger that logging.getLogger() does not know has no name to cross by",
            "make it with logging.getLogger(name), or name it in transient=",
        )
    return NotImplemented  # crosses by its name


def _struct(form: Any) -> Any:
    return type(form), (form.format,)


_ITERTOOLS = (
    *("accumulate", "chain", "combinations", "combinations_with_replacement", "compress", "count", "cycle"),
    *("dropwhile", "filterfalse", "groupby", "islice", "permutations", "product", "repeat", "starmap"),
    *("takewhile", "zip_longest", "_tee"),
)

BY_TYPE: dict[type, Callable[[Any], Any]] = {
    types.MappingProxyType: _mapping_proxy,
    type({}.keys()): _dict_view("keys"),
    type({}.values()): _dict_view("values"),
    type({}.items()): _dict_view("items"),
    memoryview: _memoryview,
    weakref.WeakValueDictionary: _weak_mapping,
    weakref.WeakKeyDictionary: _weak_mapping,
    weakref.WeakSet: _weak_set,
    weakref.ref: _reference,
    weakref.WeakMethod: _reference,
    weakref.ProxyType: _proxy,
    weakref.CallableProxyType: _proxy,
    queue.SimpleQueue: _simple_queue,
    type(functools.lru_cache(lambda: None)): _lru_cache,
}
"""Reductions by exact type."""

BY_NAME: dict[str, Callable[[Any], Any]] = {
    "_thread:_local": _thread_local,
    "_contextvars:ContextVar": _context_variable,
    "builtins:ContextVar": _context_variable,
    "concurrent.futures.thread:ThreadPoolExecutor": _thread_pool,
    "_struct:Struct": _struct,
    "logging:Handler": _log_handler,
    "logging:Logger": _logger,
    **{f"itertools:{name}": _iterator for name in _ITERTOOLS},
}
"""Reductions by ``module:qualname`` of a class or a base of it, for what need not be imported."""
