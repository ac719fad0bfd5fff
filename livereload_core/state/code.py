"""Functions that no name leads to: lambdas, closures and decorated ones come back as the NEW code.

A function under a name crosses by that name. One without (``lambda``, ``def`` inside of a function,
the inner one of a decorator) crosses as: its module, its qualified name, a fingerprint of its code, and
what it captured. The new process compiles the module's source and looks for code of that qualified name:

    1. exactly one             that one
    2. several, one unchanged  the unchanged one (identical twins do the same, so either will do)
    3. several, one that takes the same arguments and captures the same names: that one
    4. otherwise               refused: picking one would run the wrong code in silence

Invariant: code is never pickled. dill and cloudpickle do, and run the OLD code for ever after.
"""

from __future__ import annotations

import functools
import os
import sys
import types
import zlib
from typing import Any

from livereload_core.state.names import is_executing, located
from livereload_core.state.refusals import RefusedError

__all__ = ["codes_of", "fingerprint", "make_cell", "reduce_cell", "reduce_function", "source_of"]

_ADVICE = "give it a name at module level (def), so that the new code can be found"


def make_cell() -> types.CellType:
    """Make an empty cell; the function that is loaded with it fills it."""
    return types.CellType()


def reduce_cell(cell: types.CellType) -> Any:
    """Reduce a cell to its identity; its content crosses with the functions that share it.

    As part of the cell the content could lead back to a function that does not exist yet.
    """
    return make_cell, ()


def reduce_function(function: types.FunctionType) -> Any:
    """Reduce a function to its name, or to what finds its new code."""
    if located(function):
        return NotImplemented
    module = sys.modules.get(function.__module__ or "")
    if module is None or function.__globals__ is not vars(module):
        raise RefusedError(f"function {function.__qualname__!r} belongs to no module", _ADVICE)
    cells = function.__closure__ or ()
    code = function.__code__
    signature = (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags & 0xC)
    where = (function.__module__, function.__qualname__, code.co_firstlineno)
    state = {
        "defaults": function.__defaults__,
        "kwdefaults": function.__kwdefaults__,
        "cells": tuple((cell.cell_contents,) if _filled(cell) else () for cell in cells),
        "dict": function.__dict__ or None,
    }
    args = (*where, signature, code.co_freevars, fingerprint(code), cells)
    return _make_function, args, state, None, None, _set_function_state


def _filled(cell: types.CellType) -> bool:
    try:
        _ = cell.cell_contents
    except ValueError:
        return False
    return True


def _make_function(
    module: str,
    qualname: str,
    line: int,
    signature: tuple[int, ...],
    names: tuple[str, ...],
    mark: int,
    cells: tuple[types.CellType, ...],
) -> types.FunctionType:
    __import__(module)
    loaded = sys.modules[module]
    candidates = codes_of(loaded, qualname)
    same = [code for code in candidates if fingerprint(code) == mark]
    if len(candidates) > 1 and same:
        candidates = [min(same, key=lambda code: abs(code.co_firstlineno - line))]
    elif len(candidates) > 1:
        candidates = [
            code
            for code in candidates
            if (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags & 0xC)
            == signature
            and code.co_freevars == names
        ]
    if len(candidates) != 1:
        count = "no longer there" if not candidates else f"there {len(candidates)} times, all of them changed"
        later = not candidates and is_executing(module)
        raise RefusedError(f"function {module}:{qualname} is {count}", _ADVICE, later=later)
    code = candidates[0]
    by_name = dict(zip(names, cells, strict=True))
    missing = [name for name in code.co_freevars if name not in by_name]
    if missing:
        raise RefusedError(
            f"function {module}:{qualname} captures {missing[0]!r} now, and the kept one did not", _ADVICE
        )
    closure = tuple(by_name[name] for name in code.co_freevars)
    function = types.FunctionType(code, vars(loaded), code.co_name, None, closure)
    # Which cell is which: the state holds contents in the order of the old names.
    function.__dict__["__livecore_cells__"] = cells
    return function


def _set_function_state(function: types.FunctionType, state: dict[str, Any]) -> None:
    cells = function.__dict__.pop("__livecore_cells__")
    for cell, content in zip(cells, state["cells"], strict=True):
        if content:
            cell.cell_contents = content[0]
    function.__defaults__ = state["defaults"]
    function.__kwdefaults__ = state["kwdefaults"]
    function.__dict__.update(state["dict"] or {})


def codes_of(module: types.ModuleType, qualname: str) -> list[types.CodeType]:
    """Return all code of a qualified name in the source that a module runs; none without a source."""
    path = getattr(module, "__file__", None)
    if not path:
        return []
    try:
        root = _compiled(os.fspath(path), source_of(module, os.fspath(path)))
    except (OSError, SyntaxError, ValueError):
        # No source to look into: the caller refuses the function by name.
        return []
    found, open_codes = [], [root]
    while open_codes:
        code = open_codes.pop()
        if code.co_qualname == qualname:
            found.append(code)
        open_codes.extend(const for const in code.co_consts if isinstance(const, types.CodeType))
    return found


def source_of(module: types.ModuleType, path: str) -> str | bytes:
    """Return the source that a module runs.

    Raises:
        OSError: it cannot be read.
    """
    # The loader knows the source that is running; the file may have been saved again by now.
    get_source = getattr(getattr(module, "__loader__", None), "get_source", None)
    if get_source is not None:
        try:
            source = get_source(module.__name__)
        except ImportError:
            source = None  # a loader for another name, as that of a script may be
        if isinstance(source, str):
            return source
    with open(path, "rb") as file:
        return file.read()


@functools.lru_cache(maxsize=64)
def _compiled(path: str, source: str | bytes) -> types.CodeType:
    return compile(source, path, "exec", dont_inherit=True)


def fingerprint(code: types.CodeType) -> int:
    """Return a number that is equal for equal code, wherever it stands."""

    def parts(code: types.CodeType) -> tuple[Any, ...]:
        consts = tuple(parts(c) if isinstance(c, types.CodeType) else _stable(c) for c in code.co_consts)
        return code.co_code, code.co_names, code.co_varnames, code.co_freevars, consts

    return zlib.crc32(repr(parts(code)).encode("utf-8", "surrogatepass"))


def _stable(const: object) -> str:
    # Strings hash differently in each process, and so the repr of a frozenset changes its order.
    return repr(sorted(map(repr, const))) if isinstance(const, frozenset) else repr(const)
