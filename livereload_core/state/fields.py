"""What fields a class declares, whatever declares them: the shape that travels beside the data.

    kind        fields                                     default of a new one
    dataclass   as declared                                default, default_factory
    attrs       as declared                                default, Factory
    pydantic    model_fields                               default, default_factory
    msgspec     __struct_fields__                          filled in by the class itself
    tuple       _fields                                    _field_defaults
    slots       __slots__ of the class and its bases       as for plain
    plain       what ``__init__`` always assigns to self   the assigned value, where it is a literal, an
                                                           argument's default, or made by the standard library

What ``__post_init__`` and ``__attrs_post_init__`` always assign counts as a field of dataclasses and attrs,
too. Methods of the same object that these call are followed.

Libraries are told by the marks that they leave on a class; none is imported.

Invariant: a shape is made of JSON types only, and is equal for equal declarations.
"""

from __future__ import annotations

import ast
import builtins
import copyreg
import dataclasses
import functools
import sys
import typing
from collections.abc import Callable
from functools import partial
from typing import Any

from livereload_core.state.matching import class_statement

__all__ = [
    "LITERAL",
    "NO_DEFAULT",
    "Shape",
    "declared_fields",
    "default_of",
    "hint_of",
    "is_same",
    "kind_of",
    "shape_of",
]

Shape = dict[str, Any]
"""``{"kind": str, "fields": {name: annotation or ""}}``, fields in the order of the declaration.

Where a plain class has no annotation, and assigns a literal, its type stands there behind :data:`LITERAL`.
Models of pydantic with private attributes have their names under ``"private"``.
"""

LITERAL = "="

NO_DEFAULT: Any = object()

_HARMLESS = frozenset(("builtins", "collections", "asyncio", "datetime", "queue", "_queue", "decimal"))

_BEGINNINGS = ("__init__", "__post_init__", "__attrs_post_init__")
_DISPLAYS = {ast.List: "list", ast.Dict: "dict", ast.Set: "set", ast.Tuple: "tuple", ast.JoinedStr: "str"}

_ALLOWED = (
    *(ast.Constant, ast.List, ast.Tuple, ast.Dict, ast.Set, ast.Name, ast.Attribute, ast.Call, ast.keyword),
    *(ast.UnaryOp, ast.BinOp, ast.operator, ast.unaryop, ast.expr_context),
)


def kind_of(cls: type) -> str:
    """Return the kind of a class, as in the table above."""
    if dataclasses.is_dataclass(cls):
        return "dataclass"
    if "__attrs_attrs__" in _marks(cls):
        return "attrs"
    if "__pydantic_validator__" in _marks(cls):
        return "pydantic"
    if "__struct_fields__" in _marks(cls):
        return "msgspec"
    if issubclass(cls, tuple):
        return "tuple" if isinstance(getattr(cls, "_fields", None), tuple) else ""
    if any("__slots__" in vars(base) for base in cls.__mro__[:-1]):
        return "slots"
    return "plain"


def _marks(cls: type) -> set[str]:
    return {name for base in cls.__mro__[:-1] for name in vars(base)}


@functools.lru_cache(maxsize=4096)
def shape_of(cls: type) -> Shape | None:
    """Return the shape of a class, ``None`` for one without fields."""
    kind = kind_of(cls)
    names = _names(cls, kind) if kind else None
    if names is None:
        return None
    # Dataclasses with slots cross by position where they are frozen: they are a kind of their own.
    slots = kind == "dataclass" and "__slots__" in vars(cls)
    shape = {"kind": f"{kind} with slots" if slots else kind, "fields": names}
    private = sorted(getattr(cls, "__private_attributes__", ())) if kind == "pydantic" else []
    return {**shape, "private": private} if private else shape


def is_same(one: Shape | None, other: Shape | None) -> bool:
    """Whether two shapes are equal, the order of fields included."""
    return one == other and (not one or not other or list(one["fields"]) == list(other["fields"]))


def _names(cls: Any, kind: str) -> dict[str, str] | None:
    if kind in ("dataclass", "attrs"):
        declared = {field.name: _text(field.type) for field in _declared(cls, kind)}
        return {**dict.fromkeys(_assigned(cls), ""), **declared} if cls.__dictoffset__ else declared
    if kind == "pydantic":
        return {name: _text(field.annotation) for name, field in cls.model_fields.items()}
    noted = _annotations(cls)
    if kind in ("msgspec", "tuple"):
        names = cls.__struct_fields__ if kind == "msgspec" else cls._fields
        return {name: noted.get(name, "") for name in names}
    found = {name: assigned.annotation or _literal(assigned) for name, assigned in _assigned(cls).items()}
    if kind == "slots":
        slots = vars(copyreg)["_slotnames"](cls)
        return {name: noted.get(name) or found.get(name, "") for name in slots}
    return {name: noted.get(name) or note for name, note in found.items()} if found else None


def _declared(cls: Any, kind: str) -> tuple[Any, ...]:
    return tuple(dataclasses.fields(cls) if kind == "dataclass" else cls.__attrs_attrs__)


@functools.lru_cache(maxsize=4096)
def declared_fields(cls: Any) -> tuple[str, ...]:
    """Return the fields that a class declares; those that are only assigned behind ``__init__`` are none."""
    kind = kind_of(cls)
    if kind in ("dataclass", "attrs"):
        return tuple(field.name for field in _declared(cls, kind))
    return tuple((shape_of(cls) or {"fields": ()})["fields"])


def _annotations(cls: type) -> dict[str, str]:
    found: dict[str, str] = {}
    for base in reversed(cls.__mro__[:-1]):
        notes = vars(base).get("__annotations__")
        if isinstance(notes, dict):
            found.update({name: _text(note) for name, note in notes.items()})
    return found


def _text(annotation: Any) -> str:
    """Write an annotation down, the same whether or not it was a string in the source."""
    if annotation is None or annotation is dataclasses.MISSING:
        return ""
    if isinstance(annotation, type) and not typing.get_args(annotation):
        return annotation.__qualname__
    text = annotation if isinstance(annotation, str) else repr(annotation)
    return text.replace("typing.", "")


def hint_of(cls: Any, name: str) -> Any:
    """Return what a field is annotated with, :data:`NO_DEFAULT` where that cannot be found out."""
    if kind_of(cls) == "pydantic":
        return cls.model_fields[name].annotation
    try:
        hints = typing.get_type_hints(cls)
    except Exception:  # an annotation of the user's that cannot be evaluated: nothing is known then
        return NO_DEFAULT
    if name in hints:
        return hints[name]
    note = _assigned(cls).get(name)
    if note is None or not note.annotation:
        return NO_DEFAULT
    try:
        return eval(note.annotation, dict(vars(sys.modules[note.module])))
    except Exception:
        return NO_DEFAULT


def default_of(cls: Any, name: str) -> Callable[[], Any] | None:
    """Return what makes the value of a new field, ``None`` where the code has none for it."""
    kind = kind_of(cls)
    if kind in ("dataclass", "attrs") and name not in declared_fields(cls):
        return _value_of(cls, _assigned(cls)[name])
    if kind == "dataclass":
        field = next(field for field in dataclasses.fields(cls) if field.name == name)
        info: Any = field.default
        if hasattr(info, "get_default"):  # pydantic's own, which it leaves there
            return None if info.is_required() else partial(info.get_default, call_default_factory=True)
        if field.default is not dataclasses.MISSING:
            return lambda: field.default
        return None if field.default_factory is dataclasses.MISSING else field.default_factory
    if kind == "attrs":
        return _attrs_default(next(field.default for field in cls.__attrs_attrs__ if field.name == name))
    if kind == "pydantic":
        info = cls.model_fields[name]
        return None if info.is_required() else lambda: info.get_default(call_default_factory=True)
    if kind == "tuple":
        defaults = cls._field_defaults
        return (lambda: defaults[name]) if name in defaults else None
    assigned = _assigned(cls).get(name)
    return None if assigned is None else _value_of(cls, assigned)


def _attrs_default(default: Any) -> Callable[[], Any] | None:
    if getattr(default, "name", "") == "NOTHING":
        return None
    factory = getattr(default, "factory", None)
    if factory is not None and hasattr(default, "takes_self"):
        return None if default.takes_self else typing.cast("Callable[[], Any]", factory)
    return lambda: default


@dataclasses.dataclass(frozen=True, slots=True)
class _Assigned:
    """``self.name: annotation = value`` in an ``__init__``, or in a method that it calls."""

    module: str
    init: Any
    annotation: str
    value: ast.expr | None


@functools.lru_cache(maxsize=4096)
def _assigned(cls: type) -> dict[str, _Assigned]:
    """Return what the ``__init__`` of a class and its bases assigns in any case, or what runs behind it."""
    found: dict[str, _Assigned] = {}
    methods: dict[str, _Method] = {}
    for base in reversed(cls.__mro__[:-1]):
        module = sys.modules.get(base.__module__)
        functions = {name: one for name, one in vars(base).items() if hasattr(one, "__code__")}
        foreign = base.__module__.partition(".")[0] in sys.stdlib_module_names - {"__main__"}
        statement = (
            class_statement(module, base.__qualname__) if module and functions and not foreign else None
        )
        own: dict[str, _Method] = {}
        for node in statement.body if statement is not None else ():
            if isinstance(node, ast.FunctionDef) and node.args.args and node.name in functions:
                own[node.name] = _Method(base.__module__, functions[node.name], node)
        methods |= own
        for name in _BEGINNINGS:
            if name in own:
                _Collector(methods, found).follow(own[name])
    return found


class _Method(typing.NamedTuple):
    module: str
    function: Any
    node: ast.FunctionDef


class _Collector:
    """Goes through a method, and those of the same object that it calls in any case."""

    def __init__(self, methods: dict[str, _Method], found: dict[str, _Assigned]) -> None:
        self._methods, self._found = methods, found
        self._under_way: list[_Method] = []
        self._knows_values = True

    def follow(self, method: _Method, *, knows_values: bool = True) -> None:
        """Collect what a method assigns; not the values, if what it is called with has a part in them."""
        if method not in self._under_way:
            before, self._knows_values = self._knows_values, self._knows_values and knows_values
            self._under_way.append(method)
            self._statements(method.node.body)
            self._under_way.pop()
            self._knows_values = before

    def _statements(self, body: list[ast.stmt]) -> None:
        for node in body:
            if isinstance(node, (ast.With, ast.Try, ast.For)):
                self._statements(node.body)
            elif isinstance(node, ast.Assign):
                for target in node.targets:
                    self._target(target, "", node.value)
            elif isinstance(node, ast.AnnAssign) and node.value is not None:
                self._target(node.target, ast.unparse(node.annotation), node.value)
            elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
                self._call(node.value)

    def _target(self, target: ast.expr, note: str, value: ast.expr) -> None:
        if isinstance(target, (ast.Tuple, ast.List)):
            several = value.elts if isinstance(value, (ast.Tuple, ast.List)) else []
            known = len(several) == len(target.elts)
            for index, part in enumerate(target.elts):
                self._assign(self._attribute_of_self(part), note, several[index] if known else None)
        elif isinstance(target, ast.Subscript) and self._is_space(target.value):
            self._assign(_constant(target.slice), note, value)
        else:
            self._assign(self._attribute_of_self(target), note, value)

    def _call(self, call: ast.Call) -> None:
        called, arguments = call.func, call.args
        if isinstance(called, ast.Name) and called.id == "setattr" and len(arguments) == 3:
            if self._is_self(arguments[0]):
                self._assign(_constant(arguments[1]), "", arguments[2])
        elif isinstance(called, ast.Attribute) and called.attr == "update" and self._is_space(called.value):
            for keyword in call.keywords:
                self._assign(keyword.arg, "", keyword.value)
        else:
            name = self._attribute_of_self(called)
            if name is not None and name in self._methods and name not in _BEGINNINGS:
                self.follow(self._methods[name], knows_values=not (arguments or call.keywords))

    def _assign(self, name: str | None, note: str, value: ast.expr | None) -> None:
        if name is not None:
            method = self._under_way[-1]
            known = value if self._knows_values else None
            self._found[name] = _Assigned(method.module, method.function, note, known)

    def _is_self(self, node: ast.expr) -> bool:
        return isinstance(node, ast.Name) and node.id == self._under_way[-1].node.args.args[0].arg

    def _is_space(self, node: ast.expr) -> bool:
        """Whether it is ``self.__dict__`` or ``vars(self)``."""
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and len(node.args) == 1:
            return node.func.id == "vars" and self._is_self(node.args[0])
        return self._attribute_of_self(node) == "__dict__"

    def _attribute_of_self(self, node: ast.expr) -> str | None:
        return node.attr if isinstance(node, ast.Attribute) and self._is_self(node.value) else None


def _constant(node: ast.expr) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def _literal(assigned: _Assigned) -> str:
    """Return the type of a literal that is assigned without an annotation, as a shape has it."""
    value = assigned.value
    if isinstance(value, ast.Constant):
        return "" if value.value is None else LITERAL + type(value.value).__name__
    return next((LITERAL + name for kind, name in _DISPLAYS.items() if isinstance(value, kind)), "")


def _value_of(cls: type, assigned: _Assigned) -> Callable[[], Any] | None:
    """Return what evaluates an assigned value, if that needs nothing of the call and harms nobody."""
    value = assigned.value
    if value is None:
        return None
    code = assigned.init.__code__
    space = vars(sys.modules[assigned.module])
    if isinstance(value, ast.Name) and value.id in code.co_varnames:
        return _argument_default(assigned.init, value.id)
    for node in ast.walk(value):
        if not isinstance(node, _ALLOWED):
            return None
        if isinstance(node, ast.Name) and (
            node.id in code.co_varnames or not (node.id in space or hasattr(builtins, node.id))
        ):
            return None
        if isinstance(node, ast.Call) and not _is_harmless(_evaluated(node.func, space)):
            return None
    if isinstance(value, ast.Constant):
        constant = value.value
        return lambda: constant
    return partial(_result, compile(ast.Expression(value), "<default>", "eval"), space)


def _argument_default(init: Any, name: str) -> Callable[[], Any] | None:
    import inspect

    parameter = inspect.signature(init).parameters.get(name)
    if parameter is None or parameter.default is inspect.Parameter.empty:
        return None
    return lambda: parameter.default


def _evaluated(node: ast.expr, space: dict[str, Any]) -> Any:
    return _result(compile(ast.Expression(node), "<default>", "eval"), space)


def _result(code: Any, space: dict[str, Any]) -> Any:
    try:
        return eval(code, space if "__builtins__" in space else dict(space))
    except Exception:  # not for us to tell: the caller says that there is no default
        return NO_DEFAULT


def _is_harmless(called: Any) -> bool:
    """Whether a call makes an object and does nothing else, as ``dict()`` and ``threading.Lock()``."""
    module = (getattr(called, "__module__", "") or "").partition(".")[0]
    if module in ("threading", "_thread"):
        return True
    return module in _HARMLESS and isinstance(called, type)
