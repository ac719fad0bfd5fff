"""``preserve.dict()``, ``preserve.lru()`` and ``preserve.array()``: what stands behind the names.

Invariants:
    * Without ``livecore`` they make a ``dict``, an ``Lru`` that nobody listens to, and an array of numpy.
    * Importing this module loads nothing; numpy is imported where an array is called for.
"""

from __future__ import annotations

import sys

from livereload_core.errors import UsageError
from livereload_core.state import runtime

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType
    from typing import Any, Protocol, TypeVar, overload

    from numpy.typing import DTypeLike, NDArray

    from livereload_core.state.tracked.lru import Lru

    K = TypeVar("K")
    V = TypeVar("V")

    class DictOf(Protocol[K, V]):
        """What ``preserve.dict[K, V]`` is: called, it makes a dict; it is a factory, too."""

        def __call__(self, key: str | None = None, /) -> dict[K, V]: ...

    class LruOf(Protocol[K, V]):
        """What ``preserve.lru[K, V]`` is."""

        def __call__(self, key: str | None = None, /, *, maxsize: int | None = 128) -> Lru[K, V]: ...
else:

    def overload(function):
        """Stand in for ``typing.overload``: typing is too dear to import for a no-op."""
        return function


__all__ = ["Arrays", "Dicts", "Lrus"]


class Dicts:
    """Makes tracked dicts."""

    __slots__ = ()

    def __call__(self, key: str | None = None, /) -> dict[K, V]:
        """Make a dict of which a reload carries what was touched.

        Args:
            key: under which it is preserved. Without: the name of the module global that it is assigned to.
                In a function it is preserved by whoever declares what the function returns.

        Raises:
            UsageError: at the top level of a module, and it is assigned to no global; or the key is taken.
        """
        made: dict[K, V] = _declared("dict", key, _new_dict, sys._getframe(1))
        return made

    @overload
    def __getitem__(self, item: tuple[type[K], type[V]], /) -> DictOf[K, V]: ...
    @overload
    def __getitem__(self, item: Any, /) -> DictOf[Any, Any]: ...  # noqa: F811
    def __getitem__(self, item: Any, /) -> Any:  # noqa: F811
        """Say what is in it, for type checkers."""
        return self


class Lrus:
    """Makes caches that forget what was not used for longest."""

    __slots__ = ()

    def __call__(self, key: str | None = None, /, *, maxsize: int | None = 128) -> Lru[K, V]:
        """Make a cache of which a reload carries what was touched, in the order of its use.

        Args:
            key: as of ``preserve.dict()``.
            maxsize: entries; None: no limit.

        Raises:
            UsageError: as of ``preserve.dict()``, or ``maxsize`` is no number of entries.
        """
        from livereload_core.state.tracked.lru import Lru

        made: Lru[K, V] = _declared("lru", key, lambda: Lru(maxsize), sys._getframe(1))
        return made

    @overload
    def __getitem__(self, item: tuple[type[K], type[V]], /) -> LruOf[K, V]: ...
    @overload
    def __getitem__(self, item: Any, /) -> LruOf[Any, Any]: ...  # noqa: F811
    def __getitem__(self, item: Any, /) -> Any:  # noqa: F811
        """Say what is in it, for type checkers."""
        return self


class Arrays:
    """Makes arrays of numpy in shared memory."""

    __slots__ = ()

    def __call__(
        self, shape: int | tuple[int, ...], dtype: DTypeLike = float, key: str | None = None
    ) -> NDArray[Any]:
        """Make an array of zeroes of which a reload carries the pages that were written.

        Args:
            shape: of the array.
            dtype: of its items, anything that numpy takes for one.
            key: as of ``preserve.dict()``.

        Raises:
            UsageError: as of ``preserve.dict()``.
        """

        def make() -> Any:
            from livereload_core.state.codecs.numpy_arrays import zeroes

            engine = runtime.current
            array = zeroes(shape, dtype)
            return array if engine is None else engine.share(array)

        made: NDArray[Any] = _declared("array", key, make, sys._getframe(1))
        return made


def _new_dict() -> Any:
    if runtime.current is None:
        return {}
    from livereload_core.state.tracked.containers import TrackedDict

    return TrackedDict()


def _declared(kind: str, key: Any, factory: Callable[[], Any], frame: FrameType) -> Any:
    if key is not None and not (isinstance(key, str) and key):
        raise UsageError(
            f"preserve.{kind}() got the key {key!r}", advice=f'pass a name: preserve.{kind}("name")'
        )
    engine = runtime.current
    if engine is None:
        return factory()
    if key is None:
        if frame.f_locals is not frame.f_globals or "__name__" not in frame.f_globals:
            return factory()  # in a function or class: it belongs to what is made there
        key = _target(frame)
        if not key:
            raise UsageError(
                f"preserve.{kind}() is assigned to no global here, so it has no name",
                advice=f'pass one: preserve.{kind}("name"), or preserve("name", preserve.{kind})',
            )
    return engine.declare_value(key, factory, {}, frame)


def _target(frame: FrameType) -> str:
    """Return the global that what is called now is assigned to, or ``""``."""
    from opcode import opname

    code = frame.f_code.co_code
    extended = 0
    for at in range(frame.f_lasti + 2, len(code), 2):
        name, argument = opname[code[at]], extended << 8 | code[at + 1]
        if name in ("STORE_NAME", "STORE_GLOBAL"):
            return frame.f_code.co_names[argument]
        if name == "EXTENDED_ARG":
            extended = argument
        elif name not in ("CACHE", "COPY"):
            return ""
    return ""
