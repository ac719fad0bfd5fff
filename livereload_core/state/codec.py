"""One object to one stream and back: the C pickler, with our reductions inside of it.

The memo of every stream begins with the roots. On the writing side it is preset (id -> number), so that
any mention of a root, from anywhere, is written as "get number n", at C speed and with no hook per
object. On the reading side a preamble is put in front of the stream, which loads the new process's
objects under the same numbers:

    PROTO 5 │ NEXT_BUFFER MEMOIZE │ NEXT_BUFFER MEMOIZE │ ... │ stream without its PROTO

NEXT_BUFFER takes the next object of an iterator, in C and of whatever kind it is: with 100 roots that may
mention each other there are 10,000 of them. They stay at the bottom of the stack, where nobody looks.
(Presetting ``Unpickler.memo`` instead does not survive ``load()``, and a ``persistent_id`` on the writing
side costs a Python call per object.)

Invariants:
    * A root is never written by its own stream either: a shallow copy of it is (see ``inplace``).
    * Loading imports by name only; code never comes out of a stream.
"""

from __future__ import annotations

import contextlib
import copyreg
import gc
import io
import pickle
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from livereload_core.state.deep import DeepPickler
from livereload_core.state.descriptors import Outgoing, writing
from livereload_core.state.fields import Shape, shape_of
from livereload_core.state.names import lookup
from livereload_core.state.plain import UNASKED, start_of
from livereload_core.state.reducers import Reducer, classify
from livereload_core.state.roots import class_key

__all__ = ["Dumper", "freeze", "grown_old", "load", "uncollected", "undisturbed"]

PROTOCOL = 5

_PATIENCE = 5.0
"""Seconds for which other threads wait for the interpreter during a dump, instead of 5 ms.

Not longer: user code in a dump may release the interpreter (a file, a lock), and would then wait as
long for a thread that computes.
"""


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """No thread switches and no garbage collection while the block runs.

    A thread that began to wait before the block may still force one switch; whoever dumps starts a
    stream again when a container changed under it.
    """
    interval = sys.getswitchinterval()
    sys.setswitchinterval(max(interval, _PATIENCE))
    try:
        with uncollected():
            yield
    finally:
        sys.setswitchinterval(interval)


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """No garbage collection while the block runs: it would walk the growing heap again and again."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


_FROZEN_BY_PYTHON = gc.get_freeze_count()
"""Objects that the interpreter has frozen at its start: 375 in CPython 3.12.1, none in 3.11.7 and 3.13.0."""


_is_frozen = False


def freeze() -> None:
    """Freeze all objects, and remember it: to count them takes 3 ms where a spare has imported much."""
    global _is_frozen
    gc.freeze()
    _is_frozen = True


def grown_old() -> None:
    """Count all objects as old ones, so that those which were just read are not looked through at once.

    They stay for as long as the program does. What a program has frozen by itself stays frozen.
    """
    if not (_is_frozen or gc.get_freeze_count() > _FROZEN_BY_PYTHON):
        gc.freeze()
        gc.unfreeze()


def _override(
    kinds: dict[type, Reducer],
    starts: dict[type, tuple[type] | None],
    named: set[type],
    classes: set[type],
) -> Callable[[Any], Any]:
    """Return what the C pickler asks for a reduction of each object; it takes note of the classes it meets.

    A function and no method: it is called for every instance, and finds its own names sooner than attributes.
    """
    newobj = vars(copyreg)["__newobj__"]
    one, other = UNASKED

    def reducer_override(obj: Any) -> Any:
        try:
            start = starts[type(obj)]
        except KeyError:
            start = starts[type(obj)] = _start(obj, kinds)
        if start is not None:
            space = obj.__dict__
            if type(space) is dict and one not in space and other not in space:
                return newobj, start, space or None
            return NotImplemented
        cls = type(obj)
        reducer = kinds[cls]
        if reducer is None:
            return NotImplemented
        if not issubclass(cls, type):
            return reducer(obj)
        classes.add(obj)
        if obj in named:
            return NotImplemented
        reduction = reducer(obj)
        if reduction is NotImplemented:
            named.add(obj)
        return reduction

    return reducer_override


def _start(obj: object, kinds: dict[type, Reducer]) -> tuple[type] | None:
    """Return what objects of this type begin with if they are plain; see to it that their kind is known."""
    cls = type(obj)
    if cls not in kinds:
        kinds[cls] = classify(obj)
    return start_of(cls) if kinds[cls] is None else None


class _Pickler(pickle.Pickler):
    """The C pickler, with our reductions by type."""

    reducer_override: Any  # the pickler's own class has none


class Dumper:
    """Writes streams whose memo begins with the given roots.

    Args:
        roots: the objects that any stream may refer to, in the order of their table.
        is_user_module: tells whose classes are the user's, by module name.
        quiet, takes_buffers: see ``descriptors.Outgoing``.
    """

    _kinds: dict[type, Reducer] = {}  # noqa: RUF012 - one per process: types are classified once

    def __init__(
        self,
        roots: Sequence[object],
        is_user_module: Callable[[str], bool],
        *,
        quiet: bool = True,
        takes_buffers: bool = False,
    ) -> None:
        # Of one export: what instances begin with, classes that cross by name, and shapes by key.
        self._starts: dict[type, tuple[type] | None] = {}
        self._named: set[type] = set()
        self._shapes: dict[type, tuple[str, Shape] | None] = {}
        self._roots = {id(root): (number, root) for number, root in enumerate(roots)}
        self._is_user_module = is_user_module
        self.outgoing = Outgoing(quiet=quiet, takes_buffers=takes_buffers)
        preset = pickle.Pickler(io.BytesIO(), PROTOCOL)
        preset.memo = self._roots
        # A memo proxy is copied in C; a dict would be read entry by entry for each stream.
        self._memo = preset.memo
        self._keep_alive = preset

    @property
    def roots(self) -> dict[int, tuple[int, object]]:
        """Roots by id, as (number, object)."""
        return self._roots

    def dump(self, obj: object) -> tuple[bytes, dict[str, Shape]]:
        """Write one object.

        Returns:
            the stream, and the shapes of the user's classes in it; its fds are what ``outgoing.end()`` says.

        Raises:
            RefusedError: a value of a kind that cannot be carried.
            Exception: whatever the object's own methods raise.
        """
        classes: set[type] = set()
        return self._written(obj, classes), self._fields(classes)

    def dump_with_memo(self, obj: object) -> tuple[bytes, dict[str, Shape], dict[int, tuple[int, object]]]:
        """Write one object, and return besides what was written, by id; much slower.

        The memo keeps all of it alive, temporary objects included, so no id in it is used twice.

        Raises:
            RefusedError: a value of a kind that cannot be carried.
            Exception: whatever the object's own methods raise.
        """
        classes: set[type] = set()
        memo: dict[int, tuple[int, object]] = {}
        stream = self._written(obj, classes, memo)
        for number in self._roots:
            memo.pop(number, None)
        return stream, self._fields(classes), memo

    def reduction_of(self, obj: object) -> Any:
        """Return what would be written for ``obj`` alone; for the walker."""
        with contextlib.closing(self.outgoing.apart()) as unused, writing(unused):
            return _override(self._kinds, self._starts, self._named, set())(obj)

    def _written(
        self, obj: object, classes: set[type], memo: dict[int, tuple[int, object]] | None = None
    ) -> bytes:
        with writing(self.outgoing):
            try:
                file = io.BytesIO()
                pickler = _Pickler(file, PROTOCOL)
                pickler.reducer_override = _override(self._kinds, self._starts, self._named, classes)
                return self._attempt(pickler, file, self._memo, obj, memo)
            except RecursionError:
                pass  # also one of the object's own: it comes again below, and is raised then
            file = io.BytesIO()
            pickler = DeepPickler(file, self._kinds, classes)
            return self._attempt(pickler, file, dict(self._roots), obj, memo)

    def _attempt(
        self, pickler: Any, file: io.BytesIO, memo: Any, obj: object, written: dict[Any, Any] | None
    ) -> bytes:
        self.outgoing.begin()
        pickler.memo = memo
        pickler.dump(obj)
        if written is not None:
            written.update(pickler.memo.copy())
        return file.getvalue()

    def _fields(self, classes: set[type]) -> dict[str, Shape]:
        found = {}
        for cls in classes:
            if cls not in self._shapes:
                fields = shape_of(cls) if self._is_user_module(cls.__module__) else None
                self._shapes[cls] = None if fields is None else (class_key(cls), fields)
            shape = self._shapes[cls]
            if shape is not None:
                found[shape[0]] = shape[1]
        return found


class _Unpickler(pickle.Unpickler):
    def __init__(
        self, file: io.BytesIO, roots: Iterable[object], aliases: dict[tuple[str, str], type]
    ) -> None:
        super().__init__(file, buffers=roots)
        self._aliases = aliases

    def find_class(self, module: str, name: str) -> Any:
        found = self._aliases.get((module, name))
        return lookup(module, name) if found is None else found


def load(
    stream: bytes | memoryview,
    count: int,
    roots: Iterable[object],
    aliases: dict[tuple[str, str], type],
) -> Any:
    """Read one object.

    Args:
        stream: what :meth:`Dumper.dump` wrote.
        count: the number of roots with which its memo begins.
        roots: this process's objects for them, in order.
        aliases: (module, qualname) of old -> class that replaces it.

    Raises:
        RefusedError: a name is gone.
        Exception: whatever the object's own methods raise.
    """
    # In a frame, which is read at once: the stream is read from a file, opcode by opcode outside of frames.
    head = b"\x80\x05\x95" + (2 * count).to_bytes(8, "little") + b"\x97\x94" * count
    return _Unpickler(io.BytesIO(b"".join([head, memoryview(stream)[2:]])), roots, aliases).load()
