"""Reads a pickle without running it: to look at what is in it.

A pickle is a program for a small machine with a stack and a memo. Here that machine builds records of what
the program *would* do: a class or function is a :class:`Name`, a call of one a :class:`Call`, with what is
put into the result beside it. Nothing is imported, looked up or called, so any stream may be read, a hostile
one too: what it names is only ever shown.

    opcode                                 what stands on the stack then
    numbers, texts, bytes, None, booleans  the value itself
    ( [ { set frozenset, and their items   Items, Pairs
    STACK_GLOBAL, GLOBAL                   Name(module, name)
    REDUCE, NEWOBJ, INST, OBJ ...          Call(function, arguments), with ``items``, ``pairs``, ``states``
    PERSID, EXT, NEXT_BUFFER               Call of a Name in the module "pickle"

(The machine of the standard library with a ``find_class`` that hands out stubs would do the same faster.
But it calls what it finds, it asks ``copyreg`` for extensions, and a number in a stream decides how much
memory it takes.)

Invariants:
    * Time and memory grow with the length of the stream and nothing else that it says.
    * Whatever is wrong with a stream is a PickleDamageError.
"""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from livereload_core.errors import StateError

__all__ = ["Call", "Items", "Name", "Node", "Pairs", "PickleDamageError", "Ref", "read"]


class PickleDamageError(StateError):
    """The stream is no pickle, or not all of one."""


@dataclasses.dataclass(slots=True, eq=False)
class Items:
    """A list, tuple, set or frozenset."""

    kind: str
    values: list[Any]


@dataclasses.dataclass(slots=True, eq=False)
class Pairs:
    """A dict, in its order; keys may be of any kind."""

    values: list[tuple[Any, Any]]


@dataclasses.dataclass(frozen=True, slots=True)
class Name:
    """A class or function."""

    module: str
    name: str

    def __str__(self) -> str:
        return self.name if self.module == "builtins" else f"{self.module}.{self.name}"


@dataclasses.dataclass(frozen=True, slots=True)
class Ref:
    """Another root."""

    key: str


@dataclasses.dataclass(slots=True, eq=False)
class Call:
    """An object that a call would make.

    Attributes:
        function: what is called: a name as a rule.
        args: with what.
        kwargs: by name.
        items: what is appended or added to it.
        pairs: what is put into it by key.
        states: what it is given as its state, one after the other.
    """

    function: Any
    args: list[Any]
    kwargs: Any = None
    items: list[Any] = dataclasses.field(default_factory=list)
    pairs: list[tuple[Any, Any]] = dataclasses.field(default_factory=list)
    states: list[Any] = dataclasses.field(default_factory=list)


Node = Items | Pairs | Name | Ref | Call | str | bytes | bytearray | int | float | bool | None

_MARK: Any = object()
_U2, _U4, _U8 = struct.Struct("<H"), struct.Struct("<I"), struct.Struct("<Q")
_I4, _F8 = struct.Struct("<i"), struct.Struct(">d")


def read(stream: bytes | memoryview, roots: Sequence[str] = ()) -> Node:
    """Return what a stream would make.

    Args:
        stream: the pickle.
        roots: keys of the roots with which its memo begins.

    Raises:
        PickleDamageError: it is none, or not all of one.
    """
    machine = _Machine(bytes(stream), roots)
    try:
        result: Node = machine.run()
        return result
    except PickleDamageError:
        raise
    except (IndexError, KeyError, ValueError, TypeError, struct.error, AttributeError) as error:
        where = machine.at
        raise PickleDamageError(f"cannot be read from byte {where} on ({type(error).__name__})") from error


class _Machine:
    def __init__(self, data: bytes, roots: Sequence[str]) -> None:
        self._data = data
        self.at = 0
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {place: Ref(key) for place, key in enumerate(roots)}
        self._result: Any = None
        self._running = True

    def run(self) -> Any:
        data, handlers = self._data, self._HANDLERS
        while self._running:
            handler = handlers[data[self.at]]
            self.at += 1
            handler(self)
        return self._result

    # -- what the opcodes read --------------------------------------------------------------------------

    def _take(self, count: int) -> bytes:
        start, self.at = self.at, self.at + count
        if self.at > len(self._data):
            raise PickleDamageError("ends in the midst of a value")
        return self._data[start : self.at]

    def _raw_line(self) -> bytes:
        end = self._data.index(b"\n", self.at)
        line = self._data[self.at : end]
        self.at = end + 1
        return line

    def _line(self) -> str:
        return self._raw_line().decode("utf-8", "surrogateescape")

    def _number(self, form: struct.Struct) -> Any:
        return form.unpack(self._take(form.size))[0]

    def _to_mark(self) -> list[Any]:
        stack = self._stack
        for place in range(len(stack) - 1, -1, -1):
            if stack[place] is _MARK:
                values = stack[place + 1 :]
                del stack[place:]
                return values
        raise PickleDamageError("has no mark where one is wanted")

    def _top(self) -> Any:
        top = self._stack[-1]
        if top is _MARK:
            raise PickleDamageError("puts something into nothing")
        return top

    # -- values -----------------------------------------------------------------------------------------

    def _text(self, form: struct.Struct) -> None:
        self._stack.append(self._take(self._number(form)).decode("utf-8", "surrogatepass"))

    def _bytes(self, form: struct.Struct) -> None:
        self._stack.append(self._take(self._number(form)))

    def _old_text(self, form: struct.Struct) -> None:
        self._stack.append(self._take(self._number(form)).decode("latin-1"))

    def _bytearray(self) -> None:
        self._stack.append(bytearray(self._take(self._number(_U8))))

    def _long(self, form: struct.Struct) -> None:
        self._stack.append(int.from_bytes(self._take(self._number(form)), "little", signed=True))

    def _int_line(self) -> None:
        line = self._line()
        self._stack.append({"00": False, "01": True}.get(line) if line in ("00", "01") else int(line))

    # -- containers -------------------------------------------------------------------------------------

    def _tuple(self, count: int) -> None:
        stack = self._stack
        if any(value is _MARK for value in stack[-count:]) or len(stack) < count:
            raise PickleDamageError("takes more from the stack than is there")
        values = stack[-count:]
        stack[-count:] = [Items("tuple", values)]

    def _dict(self) -> None:
        values = self._to_mark()
        self._stack.append(Pairs(list(zip(values[::2], values[1::2], strict=True))))

    def _append(self, values: list[Any]) -> None:
        top = self._top()
        if isinstance(top, Items):
            top.values.extend(values)
        elif isinstance(top, Call):
            top.items.extend(values)
        # Into anything else nothing can be put; the standard machine would raise when it runs it.

    def _set_items(self, values: list[Any]) -> None:
        top = self._top()
        pairs = zip(values[::2], values[1::2], strict=True)
        if isinstance(top, Pairs):
            top.values.extend(pairs)
        elif isinstance(top, Call):
            top.pairs.extend(pairs)

    # -- objects ----------------------------------------------------------------------------------------

    def _call(self, function: Any, args: Any, kwargs: Any = None) -> None:
        values = args.values if isinstance(args, Items) else [args]
        self._stack.append(Call(function, list(values), kwargs))

    def _reduce(self) -> None:
        args, function = self._pop(), self._pop()
        self._call(function, args)

    def _newobj_ex(self) -> None:
        kwargs, args, function = self._pop(), self._pop(), self._pop()
        self._call(function, args, kwargs)

    def _obj(self) -> None:
        function, *args = self._to_mark()
        self._stack.append(Call(function, args))

    def _inst(self) -> None:
        name = Name(self._line(), self._line())
        self._stack.append(Call(name, self._to_mark()))

    def _build(self) -> None:
        state, target = self._pop(), self._top()
        if isinstance(target, Call):
            target.states.append(state)

    def _global(self) -> None:
        self._stack.append(Name(self._line(), self._line()))

    def _stack_global(self) -> None:
        name, module = self._pop(), self._pop()
        if not (isinstance(module, str) and isinstance(name, str)):
            raise PickleDamageError("names something by what is no text")
        self._stack.append(Name(module, name))

    def _drop(self) -> None:
        """POP: as a rule after a call that gives an object its state (the sixth part of a reduction)."""
        top = self._stack.pop()
        if isinstance(top, Call) and len(top.args) == 2 and isinstance(top.args[0], Call):
            top.args[0].states.append(top.args[1])

    def _pop(self) -> Any:
        value = self._stack.pop()
        if value is _MARK:
            raise PickleDamageError("takes more from the stack than is there")
        return value

    def _foreign(self, what: str, value: Any) -> None:
        self._stack.append(Call(Name("pickle", what), [value]))

    # -- memo, and the rest -----------------------------------------------------------------------------

    def _memoize(self) -> None:
        self._memo[len(self._memo)] = self._top()

    def _put(self, place: int) -> None:
        self._memo[place] = self._top()

    def _get(self, place: int) -> None:
        self._stack.append(self._memo[place])

    def _stop(self) -> None:
        self._result, self._running = self._pop(), False

    _HANDLERS: ClassVar[dict[int, Callable[[_Machine], None]]] = {}


_Machine._HANDLERS.update(
    {
        ord(code): handler
        for code, handler in {
            "(": lambda m: m._stack.append(_MARK),
            ".": _Machine._stop,
            "0": _Machine._drop,
            "1": lambda m: m._to_mark() and None,
            "2": lambda m: m._stack.append(m._top()),
            "N": lambda m: m._stack.append(None),
            "\x88": lambda m: m._stack.append(True),
            "\x89": lambda m: m._stack.append(False),
            "K": lambda m: m._stack.append(m._take(1)[0]),
            "M": lambda m: m._stack.append(m._number(_U2)),
            "J": lambda m: m._stack.append(m._number(_I4)),
            "\x8a": lambda m: m._stack.append(int.from_bytes(m._take(m._take(1)[0]), "little", signed=True)),
            "\x8b": lambda m: m._long(_U4),
            "I": _Machine._int_line,
            "L": lambda m: m._stack.append(int(m._line().rstrip("L"))),
            "F": lambda m: m._stack.append(float(m._line())),
            "G": lambda m: m._stack.append(m._number(_F8)),
            "\x8c": lambda m: m._stack.append(m._take(m._take(1)[0]).decode("utf-8", "surrogatepass")),
            "X": lambda m: m._text(_U4),
            "\x8d": lambda m: m._text(_U8),
            "V": lambda m: m._stack.append(m._raw_line().decode("raw-unicode-escape")),
            "S": lambda m: m._stack.append(m._line()),
            "U": lambda m: m._stack.append(m._take(m._take(1)[0]).decode("latin-1")),
            "T": lambda m: m._old_text(_U4),
            "C": lambda m: m._stack.append(m._take(m._take(1)[0])),
            "B": lambda m: m._bytes(_U4),
            "\x8e": lambda m: m._bytes(_U8),
            "\x96": _Machine._bytearray,
            ")": lambda m: m._stack.append(Items("tuple", [])),
            "t": lambda m: m._stack.append(Items("tuple", m._to_mark())),
            "\x85": lambda m: m._tuple(1),
            "\x86": lambda m: m._tuple(2),
            "\x87": lambda m: m._tuple(3),
            "]": lambda m: m._stack.append(Items("list", [])),
            "l": lambda m: m._stack.append(Items("list", m._to_mark())),
            "}": lambda m: m._stack.append(Pairs([])),
            "d": _Machine._dict,
            "\x8f": lambda m: m._stack.append(Items("set", [])),
            "\x91": lambda m: m._stack.append(Items("frozenset", m._to_mark())),
            "a": lambda m: m._append([m._pop()]),
            "e": lambda m: m._append(m._to_mark()),
            "\x90": lambda m: m._append(m._to_mark()),
            "s": lambda m: m._set_items([m._pop(), m._pop()][::-1]),
            "u": lambda m: m._set_items(m._to_mark()),
            "c": _Machine._global,
            "\x93": _Machine._stack_global,
            "R": _Machine._reduce,
            "\x81": _Machine._reduce,
            "\x92": _Machine._newobj_ex,
            "o": _Machine._obj,
            "i": _Machine._inst,
            "b": _Machine._build,
            "P": lambda m: m._foreign("persistent", m._line()),
            "Q": lambda m: m._foreign("persistent", m._pop()),
            "\x82": lambda m: m._foreign("extension", m._take(1)[0]),
            "\x83": lambda m: m._foreign("extension", m._number(_U2)),
            "\x84": lambda m: m._foreign("extension", m._number(_U4)),
            "\x97": lambda m: m._foreign("buffer", None),
            "\x98": lambda m: None,
            "\x94": _Machine._memoize,
            "p": lambda m: m._put(int(m._line())),
            "q": lambda m: m._put(m._take(1)[0]),
            "r": lambda m: m._put(m._number(_U4)),
            "g": lambda m: m._get(int(m._line())),
            "h": lambda m: m._get(m._take(1)[0]),
            "j": lambda m: m._get(m._number(_U4)),
            "\x80": lambda m: m._take(1) and None,
            "\x95": lambda m: m._take(8) and None,
        }.items()
    }
)
