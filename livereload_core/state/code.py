"""Functions that no name leads to: lambdas, closures and decorated ones come back as the NEW code.

A function under a name crosses by that name. One without (``lambda``, ``def`` inside of a function,
the inner one of a decorator) crosses as: its module, its qualified name, a fingerprint of its code, and
what it captured. :mod:`matching` finds the code in the new process; what it cannot tell is refused.

Invariant: code is never pickled. dill and cloudpickle do, and run the OLD code for ever after.
"""

from __future__ import annotations

import sys
import types
from typing import Any

from livereload_core.state.matching import Mark, find, mark_of
from livereload_core.state.names import is_executing, located
from livereload_core.state.refusals import RefusedError

__all__ = ["make_cell", "reduce_cell", "reduce_function"]

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
    state = {
        "defaults": function.__defaults__,
        "kwdefaults": function.__kwdefaults__,
        "cells": tuple((cell.cell_contents,) if _filled(cell) else () for cell in cells),
        "dict": function.__dict__ or None,
    }
    code = function.__code__
    mark = mark_of(module, function.__qualname__, code)
    args = (function.__module__, function.__qualname__, mark, code.co_freevars, cells)
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
    mark: tuple[Any, ...],
    names: tuple[str, ...],
    cells: tuple[types.CellType, ...],
) -> types.FunctionType:
    __import__(module)
    loaded = sys.modules[module]
    candidates = find(loaded, qualname, Mark(*mark))
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
