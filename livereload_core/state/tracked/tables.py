"""The entries of a dict as CPython keeps them: which ones are not those of another dict?

To go through a million entries takes a tenth of a second, because each object is looked at, wherever it
lies. But a dict has its entries in one table, in their order, and all that is asked is whether the same
pointers are in it. So two tables are compared as memory, which takes some milliseconds::

    PyDictObject     refcount, type, used, tag, keys ──▶ ┌──────────────────────────────────────────────────┐
                                        values (or 0)    │ refcount │ log2 size, log2 index bytes, kind │ .. │
                                                         │ usable   │ entries │ index ...                   │
    kind 0: hash, key, value; kind 1: key, value         │ entry 0  │ entry 1 │ entry 2 ...                 │
                                                         └──────────────────────────────────────────────────┘

Its tag is another one, of all that there have been, after whatever is done to it (PEP 509): where it is still
the same, nothing has to be compared at all.

Source: ``Include/internal/pycore_dict.h`` of CPython 3.11, 3.12 and 3.13, whose layouts are the same. Where
it is another one, or does not prove to be this one, nothing is compared here, and all goes the long way (see
``differences``).

Invariants:
    * Only a table that a dict has at this very moment is read: that it has, and the reading, are done in one
      step of the interpreter, in which no other thread runs and no signal handler (``_at_once``).
    * An object is only reached through a dict that is known to hold it.
"""

from __future__ import annotations

import ctypes
import functools
import struct
import sys
from collections.abc import Callable, Iterable
from functools import partial
from itertools import compress, islice, repeat, starmap
from operator import add, call
from typing import Any, NamedTuple

from livereload_core.state.codec import uncollected

__all__ = ["Differing", "differing", "has_gaps", "tag_of"]

_VERSIONS = frozenset(((3, 11), (3, 12), (3, 13)))
_TAG, _KEYS, _VALUES = 24, 32, 40
"""Where a dict has its tag, the pointer to its table, and the one to values that lie elsewhere."""
_HEAD = struct.Struct("<8xBBB5xQQ")
"""Of a table: log2 of its size and of the bytes of its index, kind; entries that may come, and are there."""
_ENTRY = {0: (24, 8), 1: (16, 0)}
"""Bytes of an entry, and where in it the key is, which the value follows; by the kind of the table."""
_BLOCKS = (1 << 16, 1 << 12, 1 << 9)
_SHARES = (1.0, 0.97, 0.25)
"""Blocks of each size that may differ: where it is more, the long way is not longer."""
_SMALL = 1 << 15
"""Bytes of a table that is compared in any case."""
_POINTER = struct.Struct("<Q")


class Differing(NamedTuple):
    """How the table of a dict differs from an earlier one.

    Attributes:
        gone: keys of entries that are no longer there, or come again at the end.
        changed: keys of entries that have another value.
        more: addresses of the keys that have come at the end, in their order.
    """

    gone: list[Any]
    changed: list[Any]
    more: list[int]


class _Table(NamedTuple):
    keys: int
    """Address of the table."""
    size: int
    """Bytes of an entry."""
    key: int
    """Where in an entry the key is."""
    amount: int
    """Of entries, with those that are gone."""
    address: int
    """Of the first entry."""


def differing(seen: dict[Any, Any], now: dict[Any, Any]) -> Differing | None:
    """Compare the table of a dict with an earlier one.

    Args:
        seen: as it was; nobody else writes to it.
        now: as it is; other threads may write to it.

    Returns:
        ``None`` if it cannot be told in this way.

    Raises:
        RuntimeError: another thread has changed the size meanwhile: try again.
    """
    memory = _memory()
    if memory is None:
        return None
    with uncollected():
        then = memory.table(seen)
        found = memory.copied(now)
    if then is None or found is None:
        return None
    table, copy = found
    if table.size != then.size or table.amount < then.amount // 2:
        return None
    common = min(then.amount, table.amount)
    entries = memory.differing(then.address, ctypes.addressof(copy), common * table.size, table.size)
    if entries is None:
        return None
    gone: list[Any] = []
    changed: list[Any] = []
    words = memoryview(copy).cast("B").cast("Q")
    size, place = table.size // 8, table.key // 8
    for number in entries:
        key, value = words[number * size + place : number * size + place + 2]
        was = memory.key_at(then, number)
        if was == 0:
            if value:
                return None  # not in the order of then
            continue
        if not value:
            gone.append(memory.object_at(then, number))
        elif key == was:
            changed.append(memory.object_at(then, number))
        else:
            return None
    taken = range(common, then.amount)  # from the end
    gone += [memory.object_at(then, number) for number in taken if memory.key_at(then, number)]
    first, end = then.amount * size + place, table.amount * size
    more = [*compress(words[first:end:size], words[first + 1 : end : size])]
    return Differing(gone, changed, more)


def tag_of(entries: dict[Any, Any]) -> int | None:
    """Return what is never the same again once anything is done to a dict; ``None`` if it cannot be told."""
    memory = _memory()
    return None if memory is None else memory.tag(entries)


def has_gaps(entries: dict[Any, Any]) -> bool:
    """Whether entries of a dict that nobody else writes to have gone, and left their places empty."""
    memory = _memory()
    if memory is None:
        return False
    with uncollected():
        table = memory.table(entries)
    return table is not None and table.amount > len(entries)


class _Memory:
    """Reads tables with functions of C that keep the GIL."""

    def __init__(self) -> None:
        library = ctypes.PyDLL(None)
        library.memcmp.argtypes = library.memcpy.argtypes = (
            ctypes.c_void_p,
            ctypes.c_void_p,
            ctypes.c_size_t,
        )
        library.memcpy.restype = None
        self._compare, self._copy = library.memcmp, library.memcpy

    def tag(self, entries: dict[Any, Any]) -> int:
        """Return the tag of a dict."""
        return int.from_bytes(ctypes.string_at(id(entries) + _TAG, 8), "little")

    def table(self, entries: dict[Any, Any]) -> _Table | None:
        """Return where a dict has its table; ``None`` if it is not all there.

        Raises:
            RuntimeError: another thread has changed it meanwhile.
        """
        place = id(entries)
        pointers = ctypes.string_at(place + _KEYS, _VALUES + 8 - _KEYS)
        keys, values = struct.unpack("<QQ", pointers)
        head = ctypes.create_string_buffer(_HEAD.size)
        self._at_once(
            (self._compare, place + _KEYS, pointers, _POINTER.size),
            (self._copy, ctypes.addressof(head), keys, _HEAD.size),
        )
        log2_size, log2_index, kind, _, count = _HEAD.unpack(head.raw)
        if values or kind not in _ENTRY or not len(entries) <= count <= 1 << log2_size:
            return None
        size, key = _ENTRY[kind]
        return _Table(keys, size, key, count, keys + _HEAD.size + (1 << log2_index))

    def copied(self, entries: dict[Any, Any]) -> tuple[_Table, ctypes.Array[ctypes.c_char]] | None:
        """Return where a dict has its table, and a copy of what is in it.

        Raises:
            RuntimeError: another thread has changed its size meanwhile.
        """
        table = self.table(entries)
        if table is None:
            return None
        copy = (ctypes.c_char * max(8, table.amount * table.size))()
        count = _POINTER.pack(table.amount)
        self._at_once(
            (self._compare, id(entries) + _KEYS, _POINTER.pack(table.keys), _POINTER.size),
            (self._compare, table.keys + _HEAD.size - _POINTER.size, count, _POINTER.size),
            (self._copy, ctypes.addressof(copy), table.address, table.amount * table.size),
        )
        return table, copy

    def _at_once(self, *calls: tuple[Any, ...]) -> None:
        """Make calls one after the other, until one of them finds a difference.

        It is all one step of the interpreter: no other thread runs in it, and without collections no code of
        Python's does.

        Raises:
            RuntimeError: there is a difference.
        """
        if any(starmap(call, calls)):
            raise RuntimeError("another thread has changed its size")

    def differing(self, first: int, second: int, length: int, size: int) -> list[int] | None:
        """Return the numbers of the entries that differ; ``None`` if they are too many.

        Args:
            first: address.
            second: address.
            length: in bytes.
            size: of one entry.
        """
        offsets: Iterable[int] = (0,) if length else ()
        within = length
        for block, share in zip(_BLOCKS, _SHARES, strict=True):
            parts = [at for offset in offsets for at in range(offset, min(offset + within, length), block)]
            lengths = [block] * len(parts)
            if parts and parts[-1] + block > length:
                lengths[-1] = length - parts[-1]
            differ = map(
                self._compare, map(add, parts, repeat(first)), map(add, parts, repeat(second)), lengths
            )
            offsets, within = [*compress(parts, differ)], block
            if len(offsets) * block > max(share * length + block, _SMALL):
                return None
        found: set[int] = set()
        for offset in offsets:
            amount = min(within, length - offset)
            bits = int.from_bytes(ctypes.string_at(first + offset, amount), "little")
            bits ^= int.from_bytes(ctypes.string_at(second + offset, amount), "little")
            while bits:
                number = (offset + ((bits & -bits).bit_length() - 1) // 8) // size
                found.add(number)
                end = ((number + 1) * size - offset) * 8
                bits = bits >> end << end
        return sorted(found)

    def key_at(self, table: _Table, number: int) -> int:
        """Return the address of the key of an entry; 0 if that is gone."""
        place = table.address + number * table.size + table.key
        key, value = struct.unpack("<QQ", ctypes.string_at(place, 16))
        return key if value else 0

    def object_at(self, table: _Table, number: int) -> Any:
        """Return the key of an entry that is there."""
        return ctypes.py_object.from_address(table.address + number * table.size + table.key).value


@functools.cache
def _memory() -> _Memory | None:
    """Return what reads tables; ``None`` if they are not what is known here."""
    if (
        sys.implementation.name != "cpython"
        or sys.version_info[:2] not in _VERSIONS
        or sys.byteorder != "little"
        or "t" in sys.abiflags
        or (object.__basicsize__, dict.__basicsize__) != (16, 48)
    ):
        return None
    memory = _Memory()
    texts = {f"key {number}": [number] for number in range(50)}
    numbers = {number: [number] for number in range(300)}
    right = (
        _proves_right(memory, texts) and _proves_right(memory, numbers) and _tags_prove_right(memory, texts)
    )
    return memory if right else None


def _tags_prove_right(memory: _Memory, entries: dict[Any, Any]) -> bool:
    """Whether a dict has another tag whenever it is another one, and keeps it while it is not."""
    key, other = islice(entries, 2)
    acts: tuple[Callable[[], object], ...] = (
        partial(entries.__setitem__, key, []),
        partial(entries.__setitem__, "new", []),
        partial(entries.__delitem__, other),
        partial(entries.update, {key: None}),
        partial(entries.__ior__, {"one more": None}),
        partial(entries.setdefault, "by default"),
        partial(entries.pop, "new"),
        entries.popitem,
        entries.clear,
        partial(entries.update, {number: number for number in range(100)}),
    )
    tags = [memory.tag(entries)]
    for act in acts:
        act()
        tags.append(memory.tag(entries))
        entries.get(key), [*entries.items()], entries.copy()
        if memory.tag(entries) != tags[-1]:
            return False
    return len({*tags, memory.tag({})}) > len(acts) + 1


def _proves_right(memory: _Memory, entries: dict[Any, Any]) -> bool:
    """Whether the table of a dict has its entries where they are expected."""
    keys = [*entries]
    keys.append("came last")
    entries[keys[-1]] = entries[keys[9]] = []
    del entries[keys[7]]
    try:
        found = memory.copied(entries)
    except RuntimeError:
        return False
    if found is None:
        return False
    table, copy = found
    words = memoryview(copy).cast("B").cast("Q")
    size, key = table.size // 8, table.key // 8
    pairs = [*zip(words[key::size], words[key + 1 :: size], strict=False)]
    return pairs == [(id(key), id(entries[key])) if key in entries else (0, 0) for key in keys]
