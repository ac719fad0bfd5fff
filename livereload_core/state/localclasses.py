"""Classes that no name leads to: defined in a function, or made by ``namedtuple()`` and ``type()``.

A class statement in a function crosses as its module, its qualified name and what its methods captured. The
new process compiles the module's source, looks for the one class body of that qualified name and
executes it, with the bases that the old class had. So its instances run the new methods.

    refused     a body that is not there exactly once; decorators that we cannot repeat; a keyword argument
    dataclass   is decorated again, with the parameters of then
    namedtuple  is made again from its fields
    type()      is made again from its namespace, whose functions come back as the new code

Invariant: the body runs in the new code only, and what runs is what stands there now.
"""

from __future__ import annotations

import ast
import builtins
import collections
import dataclasses
import sys
import types
from typing import Any

from livereload_core.state.matching import class_statement, codes_of
from livereload_core.state.names import is_executing
from livereload_core.state.refusals import RefusedError

__all__ = ["is_made_at_run_time", "reduce_local_class"]

_ADVICE = "define it at module level, so that the new code can be found"
_OPTIMIZED = 0x1  # CO_OPTIMIZED: set for functions, not for class bodies
_INHERENT = frozenset(("__dict__", "__weakref__", "__module__", "__doc__", "__static_attributes__"))


def is_made_at_run_time(cls: type) -> bool:
    """Whether no module has anything under the name of this class."""
    if cls.__module__ == "builtins" or cls.__module__ not in sys.modules:
        return False
    first = cls.__qualname__.partition(".")[0]
    return "<locals>" in cls.__qualname__ or not hasattr(sys.modules[cls.__module__], first)


def reduce_local_class(cls: type) -> Any:
    """Reduce a class to what finds or makes it anew.

    Raises:
        RefusedError: it cannot be found again.
    """
    fields = getattr(cls, "_fields", None)
    if cls.__bases__ == (tuple,) and isinstance(fields, tuple):
        defaults = [cls._field_defaults.get(name, ...) for name in fields]  # type: ignore[attr-defined]
        return _named_tuple, (cls.__name__, fields, [d for d in defaults if d is not ...], cls.__module__)
    bodies = _bodies(cls.__module__, cls.__qualname__)
    if len(bodies) == 1:
        return _reduce_statement(cls, bodies[0])
    if bodies or type(cls) is not type or "__slots__" in vars(cls) or dataclasses.is_dataclass(cls):
        raise RefusedError(f"class {cls.__module__}:{cls.__qualname__} is local to a function", _ADVICE)
    state = {name: value for name, value in vars(cls).items() if name not in _INHERENT}
    args = (cls.__name__, cls.__bases__, cls.__module__, cls.__qualname__, cls.__doc__)
    return _plain_class, args, state, None, None, _set_members


def _reduce_statement(cls: type, body: types.CodeType) -> Any:
    _refuse_decorators(cls.__module__, cls.__qualname__)
    names = [name for name in body.co_freevars if name != "__class__"]
    cells = _captured(cls)
    missing = [name for name in names if name not in cells]
    if missing:
        raise RefusedError(
            f"class {cls.__module__}:{cls.__qualname__} captures {missing[0]!r} outside of its methods",
            _ADVICE,
        )
    contents = tuple(_content(cells[name]) for name in names)
    again = getattr(cls, "__dataclass_params__", None) if "__dataclass_params__" in vars(cls) else None
    params = None if again is None else {n: getattr(again, n) for n in again.__slots__}
    if params is not None:
        params["slots"] = "__slots__" in vars(cls)
    args = (
        *(cls.__module__, cls.__qualname__, cls.__bases__, type(cls), params),
        *(tuple(names), tuple(cells[name] for name in names)),
    )
    return _from_statement, args, contents, None, None, _set_contents


def _captured(cls: type) -> dict[str, types.CellType]:
    found: dict[str, types.CellType] = {}
    for member in vars(cls).values():
        function = getattr(member, "__func__", getattr(member, "fget", member))
        if isinstance(function, types.FunctionType):
            found.update(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))
    return found


def _content(cell: types.CellType) -> tuple[Any, ...]:
    try:
        return (cell.cell_contents,)
    except ValueError:
        return ()


def _from_statement(
    module: str,
    qualname: str,
    bases: tuple[type, ...],
    metaclass: type,
    params: dict[str, Any] | None,
    names: tuple[str, ...],
    cells: tuple[types.CellType, ...],
) -> Any:
    __import__(module)
    bodies = _bodies(module, qualname)
    if len(bodies) != 1:
        count = f"there {len(bodies)} times" if bodies else "no longer there"
        raise RefusedError(
            f"class {module}:{qualname} is {count}", _ADVICE, later=not bodies and is_executing(module)
        )
    _refuse_decorators(module, qualname)
    body, by_name = bodies[0], dict(zip(names, cells, strict=True))
    missing = [name for name in body.co_freevars if name not in by_name]
    if missing:
        raise RefusedError(
            f"class {module}:{qualname} captures {missing[0]!r} now, and the kept one did not", _ADVICE
        )
    function = types.FunctionType(
        body, vars(sys.modules[module]), body.co_name, None, tuple(by_name[name] for name in body.co_freevars)
    )
    more = {} if metaclass is type else {"metaclass": metaclass}
    made: Any = builtins.__build_class__(function, body.co_name, *bases, **more)
    # Which cell is which: the state holds contents in the order of the old names.
    _cells_of[made] = cells
    return made if params is None else _decorated(made, params, cells)


_cells_of: dict[type, tuple[types.CellType, ...]] = {}


def _decorated(cls: Any, params: dict[str, Any], cells: tuple[types.CellType, ...]) -> Any:
    made = dataclasses.dataclass(**params)(cls)
    _cells_of[made] = cells
    return made


def _set_contents(cls: type, contents: tuple[tuple[Any, ...], ...]) -> None:
    for cell, content in zip(_cells_of.pop(cls), contents, strict=True):
        if content:
            cell.cell_contents = content[0]


def _plain_class(name: str, bases: tuple[type, ...], module: str, qualname: str, doc: str | None) -> Any:
    return type(name, bases, {"__module__": module, "__qualname__": qualname, "__doc__": doc})


def _set_members(cls: type, members: dict[str, Any]) -> None:
    for name, value in members.items():
        setattr(cls, name, value)


def _named_tuple(name: str, fields: tuple[str, ...], defaults: list[Any], module: str) -> Any:
    return collections.namedtuple(name, fields, defaults=defaults, module=module)


def _bodies(module: str, qualname: str) -> list[types.CodeType]:
    loaded = sys.modules.get(module)
    codes = [] if loaded is None else codes_of(loaded, qualname)
    return [code for code in codes if not code.co_flags & _OPTIMIZED]


def _refuse_decorators(module: str, qualname: str) -> None:
    """Refuse a class statement that does more than its body: we could not repeat it."""
    statement = class_statement(sys.modules[module], qualname)
    if statement is None:
        return
    decorators = [_dotted(node) for node in statement.decorator_list]
    odd = [name for name in decorators if name.rpartition(".")[2] != "dataclass"]
    if odd or (statement.keywords and [word.arg for word in statement.keywords] != ["metaclass"]):
        what = f"decorated with {odd[0]!r}" if odd else "given keyword arguments"
        raise RefusedError(f"class {module}:{qualname} is local to a function and {what}", _ADVICE)


def _dotted(node: ast.expr) -> str:
    return ast.unparse(node.func if isinstance(node, ast.Call) else node)
