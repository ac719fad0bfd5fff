"""Structures too deep for the C stack: the same pickle, with a list for a stack.

The C pickler calls itself for each part of a part, and gives up in the midst of it: lists within lists end at
497 (CPython 3.11), 748 (3.12) and 4,998 (3.13), with the default recursion limit. 3.12 and later limit that
whatever the size of the stack, so a thread with a larger one does not help; and a thread would need the GIL
to be let go, with which the state would no longer stand still.

So here is the part of the pickler that recurses, written as a loop. What remains to be written of each object
that was begun is an iterator on a list::

    stack                                current
    [rest of root's dict] [rest of a]    next parts of b, and then the opcode that ends b

The order in which parts are written is that of the C pickler, to the last one: an object is complete before
whoever refers to it is filled, unless they form a cycle. (Empty objects first and their contents later would
be easier, and wrong where a ``__setstate__`` or a hash looks at what it is given.)

Invariants:
    * No recursion: neither the C stack nor the recursion limit is used up by depth.
    * Only what exists can be deep without end in sight; what ``__reduce__`` makes up on the way is counted.
"""

from __future__ import annotations

import copyreg
import io
import itertools
import pickle
import struct
import types
from collections.abc import Callable, Iterator
from typing import Any

from livereload_core.state.inplace import OBJECTS, family_of_class
from livereload_core.state.plain import is_read_plainly
from livereload_core.state.reducers import Reducer, classify
from livereload_core.state.refusals import EndlessError

__all__ = ["DeepPickler"]

PROTOCOL = 5

_MOST_MADE_UP = 300_000
"""Objects with a reduction of their own that are within each other. Such a reduction can name new objects
without end; one that does is stopped here, after a second or two. Containers, and instances without one,
exist before they are written, so their depth has an end, and is not counted."""

_Pickler: Any = vars(pickle)["_Pickler"]
_STOCK: dict[type, Callable[[Any, Any], None]] = {
    str: _Pickler.save_str,
    bytes: _Pickler.save_bytes,
    bytearray: _Pickler.save_bytearray,
    pickle.PickleBuffer: _Pickler.save_picklebuffer,
    type: _Pickler.save_type,
    types.FunctionType: _Pickler.save_global,
}
"""What the standard library's pickler has for kinds without parts. Its own table does not do: once dill is
imported, there are functions in it that write code."""

_slotnames: Any = vars(copyreg)["_slotnames"]
_from_pairs = itertools.chain.from_iterable


class _Op(bytes):
    """Opcodes among the parts of an object."""

    __slots__ = ()


class _Act:
    """Something to do when the parts before it are written."""

    __slots__ = ("arguments", "call")

    def __init__(self, call: Callable[..., None], *arguments: Any) -> None:
        self.call = call
        self.arguments = arguments


_SETITEMS, _APPENDS, _ADDITEMS, _BUILD, _MARK = _Op(b"u"), _Op(b"e"), _Op(b"\x90"), _Op(b"b"), _Op(b"(")
_SETITEMS_BUILD, _REDUCE, _NEWOBJ, _NEWOBJ_EX = _Op(b"ub"), _Op(b"R"), _Op(b"\x81"), _Op(b"\x92")
_SLOTS_BUILD = _Op(b"u\x86b")  # the dict ends, TUPLE2 with the None before it
_SET_STATE = _Op(b"\x86R0")  # TUPLE2 REDUCE POP
_TUPLES = {1: b"\x85", 2: b"\x86", 3: b"\x87"}

Parts = Iterator[Any] | None
"""What remains to be written of an object that was begun."""


class DeepPickler(_Pickler):  # type: ignore[misc]
    """Writes what the C pickler would write, of any depth.

    What has no parts is left to the standard library's pickler in Python, from which this one derives.

    Args:
        file: takes the stream.
        kinds: reductions by type; filled on the way.
        classes: takes the classes that are met.
    """

    def __init__(self, file: io.BytesIO, kinds: dict[type, Reducer], classes: set[type]) -> None:
        super().__init__(file, PROTOCOL)
        self._file = file
        self._kinds = kinds
        self._classes = classes
        # What instances of a class begin with, if they are nothing but that and a ``__dict__``, or slots.
        self._plain: dict[type, bytes] = {}
        self._slotted: dict[type, tuple[bytes, list[str]]] = {}
        self._own: list[Any] = []  # objects that are being written and choose their parts themselves
        self._leave = _Act(self._own.pop)
        self._have_say: dict[type, bool] = {}
        self._begin: dict[type, Callable[[Any], Parts]] = {
            dict: self._dict,
            list: self._list,
            tuple: self._tuple,
            set: self._set,
            frozenset: self._frozenset,
        }

    def dump(self, obj: object) -> None:
        """Write one object.

        Raises:
            EndlessError: it makes up objects without end.
            RefusedError: a value of a kind that cannot be carried.
            Exception: whatever the object's own methods raise.
        """
        written: list[bytes] = []
        self.write = written.append
        self._write_large_bytes = lambda head, body: written.extend((head, bytes(body)))
        try:
            self.save(obj)
        except EndlessError as error:
            # Its traceback would hold all that was made up.
            written.clear()
            self.memo.clear()
            self._own.clear()
            raise error.with_traceback(None) from None
        self._file.write(b"".join([b"\x80\x05", *written, b"."]))

    def save(self, obj: Any, save_persistent_id: bool = True) -> None:
        """Write one object, and all that hangs on it; the stream goes on afterwards."""
        memo: dict[int, tuple[int, Any]] = self.memo
        write, plain, slotted = self.write, self._plain, self._slotted
        stack: list[Iterator[Any]] = []
        push, pop = stack.append, stack.pop
        parts: Iterator[Any] = iter((obj,))
        while True:
            for part in parts:
                cls = type(part)
                if cls is _Op:
                    write(part)
                    continue
                if cls in _ATOMS:
                    write(_ATOMS[cls](part))
                    continue
                number = id(part)
                if number in memo:
                    write(_get(memo[number][0]))
                    continue
                more: Parts
                if cls in plain and type(state := part.__dict__) is dict:
                    memo[number] = len(memo), part
                    write(plain[cls])
                    if not state:
                        continue
                    if id(state) in memo:
                        write(_get(memo[id(state)][0]) + b"b")
                        continue
                    memo[id(state)] = len(memo), state
                    write(b"}\x94(")
                    more = itertools.chain(_from_pairs(list(state.items())), (_SETITEMS_BUILD,))
                elif cls in plain:  # with an ordered dict, or whatever was put in its place
                    more = self._reduced(part, part.__reduce_ex__(PROTOCOL))
                elif cls in slotted:
                    memo[number] = len(memo), part
                    start, names = slotted[cls]
                    write(start)
                    values = _slots(part, names)
                    if not values:
                        continue
                    write(
                        b"N}("
                    )  # neither the tuple nor the dict is anybody else's: no number is spent on them
                    more = itertools.chain(_from_pairs(values), (_SLOTS_BUILD,))
                elif cls is _Act:
                    part.call(*part.arguments)
                    continue
                else:
                    more = self._opened(part, cls)
                if more is not None:
                    push(parts)
                    parts = more
                    break
            else:
                if not stack:
                    return
                parts = pop()

    def _opened(self, obj: Any, cls: type) -> Parts:
        """Write the beginning of an object; return the rest of it, if there is one."""
        begin = self._begin.get(cls)
        if begin is not None:
            return begin(obj)
        try:
            reducer = self._kinds[cls]
        except KeyError:
            reducer = self._kinds[cls] = classify(obj)
        if issubclass(cls, type):
            self._classes.add(obj)
        if reducer is not None:
            reduction = reducer(obj)
            if reduction is not NotImplemented:
                return self._reduced(obj, reduction, self._enter(obj))
        save = _STOCK.get(cls)
        if save is not None:
            save(self, obj)
            return None
        if issubclass(cls, type):
            self.save_global(obj)
            return None
        reduce = vars(pickle)["dispatch_table"].get(cls)
        if reduce is not None:
            return self._reduced(obj, reduce(obj), self._enter(obj))
        has_say = self._have_say.get(cls)
        if has_say is None:
            has_say = self._have_say[cls] = _have_say(cls)
        if has_say:
            return self._reduced(obj, obj.__reduce_ex__(PROTOCOL), self._enter(obj))
        if reducer is None and id(cls) in self.memo and self._is_quick(cls):
            return iter((obj,))
        return self._reduced(obj, obj.__reduce_ex__(PROTOCOL))

    def _is_quick(self, cls: Any) -> bool:
        """Whether instances of a class that is written already need not be asked for their reduction."""
        if family_of_class(cls) is not OBJECTS or not is_read_plainly(cls):
            return False
        start, names = _get(self.memo[id(cls)][0]) + b")\x81\x94", _slotnames(cls)
        if cls.__dictoffset__ and not names:
            self._plain[cls] = start
        elif names and not cls.__dictoffset__:
            self._slotted[cls] = start, names
        else:
            return False
        return True

    def _enter(self, obj: Any) -> bool:
        """An object begins whose own code, or that of a codec, chooses what its parts are."""
        self._own.append(obj)
        if len(self._own) > _MOST_MADE_UP:
            raise self._endless()
        return True

    def _endless(self) -> EndlessError:
        """Blame the outermost object of those that go on making up each other."""
        endless = {type(obj) for obj in self._own[-1000:]}
        first = len(self._own) - 1
        while first and type(self._own[first - 1]) in endless:
            first -= 1
        return EndlessError(self._own[: first + 1], len(self._own) - first)

    # -- containers --------------------------------------------------------------------------------------

    def _dict(self, obj: Any) -> Parts:
        self.write(b"}\x94(" if obj else b"}\x94")
        self.memo[id(obj)] = len(self.memo), obj
        return itertools.chain(_from_pairs(list(obj.items())), (_SETITEMS,)) if obj else None

    def _list(self, obj: Any) -> Parts:
        self.write(b"]\x94(" if obj else b"]\x94")
        self.memo[id(obj)] = len(self.memo), obj
        return itertools.chain(obj.copy(), (_APPENDS,)) if obj else None

    def _set(self, obj: Any) -> Parts:
        self.write(b"\x8f\x94(" if obj else b"\x8f\x94")
        self.memo[id(obj)] = len(self.memo), obj
        return itertools.chain(list(obj), (_ADDITEMS,)) if obj else None

    def _tuple(self, obj: Any) -> Parts:
        if not obj:
            self.write(b")")
            return None
        if len(obj) > 3:
            self.write(b"(")
        return itertools.chain(obj, (_Act(self._end, obj, _TUPLES.get(len(obj), b"t"), len(obj)),))

    def _frozenset(self, obj: Any) -> Parts:
        self.write(b"(")
        return itertools.chain(list(obj), (_Act(self._end, obj, b"\x91", 4),))

    def _end(self, obj: Any, op: bytes, size: int) -> None:
        """Make a tuple or a frozenset of its parts, unless one of these has led to it and made it already."""
        known = self.memo.get(id(obj))
        if known is None:
            self.write(op + b"\x94")
            self.memo[id(obj)] = len(self.memo), obj
        else:
            self.write((b"1" if size > 3 else b"0" * size) + _get(known[0]))

    # -- reductions --------------------------------------------------------------------------------------

    def _reduced(self, obj: Any, reduction: Any, entered: bool = False) -> Parts:
        if isinstance(reduction, str):
            self.save_global(obj, reduction)
            if entered:
                self._own.pop()
            return None
        if not isinstance(reduction, tuple):
            raise pickle.PicklingError("__reduce__ must return a string or tuple")
        if not 2 <= len(reduction) <= 6:
            raise pickle.PicklingError("tuple returned by __reduce__ must contain 2 through 6 elements")
        func, args, state, items, pairs, setter = (*reduction, None, None, None, None)[:6]
        if not callable(func):
            raise pickle.PicklingError("first item of the tuple returned by __reduce__ must be callable")
        if not isinstance(args, tuple):
            raise pickle.PicklingError("second item of the tuple returned by __reduce__ must be a tuple")
        parts: list[Any] = [*_made_by(obj, func, args), _Act(self._made, obj)]
        rest: list[Any] = []
        if state is not None:
            rest += (state, _BUILD) if setter is None else (setter, obj, state, _SET_STATE)
        if entered:
            rest.append(self._leave)
        if items is None and pairs is None:
            return iter(parts + rest)
        return itertools.chain(
            parts,
            () if items is None else itertools.chain((_MARK,), items, (_APPENDS,)),
            () if pairs is None else itertools.chain((_MARK,), _from_pairs(pairs), (_SETITEMS,)),
            rest,
        )

    def _made(self, obj: Any) -> None:
        """Note the object that a call has made; its arguments may have led to it and made it already."""
        known = self.memo.get(id(obj))
        if known is None:
            self.write(b"\x94")
            self.memo[id(obj)] = len(self.memo), obj
        else:
            self.write(b"0" + _get(known[0]))


def _int(number: int) -> bytes:
    if 0 <= number < 256:
        return b"K%c" % number
    if -0x80000000 <= number < 0x80000000:
        return b"J" + number.to_bytes(4, "little", signed=True)
    data = number.to_bytes(number.bit_length() // 8 + 1, "little", signed=True)
    return (b"\x8a%c" % len(data) if len(data) < 256 else b"\x8b" + struct.pack("<i", len(data))) + data


_ATOMS: dict[type, Callable[[Any], bytes]] = {
    int: _int,
    float: lambda number: b"G" + struct.pack(">d", number),
    bool: lambda value: b"\x88" if value else b"\x89",
    type(None): lambda value: b"N",
}


_PACKED = struct.Struct("<cI").pack


def _get(number: int) -> bytes:
    return b"h%c" % number if number < 256 else _PACKED(b"j", number)


def _made_by(obj: Any, func: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
    name = getattr(func, "__name__", "")
    if name == "__newobj_ex__":
        return (*args, _NEWOBJ_EX)
    if name == "__newobj__":
        if not args or not hasattr(args[0], "__new__"):
            raise pickle.PicklingError("args[0] from __newobj__ args has no __new__")
        if args[0] is not obj.__class__:
            raise pickle.PicklingError("args[0] from __newobj__ args has the wrong class")
        return args[0], args[1:], _NEWOBJ
    return func, args, _REDUCE


_SAYS = ("__reduce_ex__", "__reduce__", "__getstate__", "__getnewargs__", "__getnewargs_ex__")
_OF_C = (type(None), types.MethodDescriptorType, types.WrapperDescriptorType, types.ClassMethodDescriptorType)


def _have_say(cls: type) -> bool:
    """Whether a class chooses by code of its own what is written for its instances."""
    return not all(isinstance(getattr(cls, name, None), _OF_C) for name in _SAYS)


_NOTHING = object()


def _slots(obj: Any, names: list[str]) -> list[tuple[str, Any]]:
    values = ((name, getattr(obj, name, _NOTHING)) for name in names)
    return [pair for pair in values if pair[1] is not _NOTHING]
