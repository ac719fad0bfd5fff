"""Codecs of third-party types, found by entry point.

A codec is registered under the entry point group ``livereload_core.codecs``, with the top-level module
of the library as its name::

    [project.entry-points."livereload_core.codecs"]
    shapely = "my_package.livecore:ShapelyCodec"

So a codec is loaded when the first object of its library is met, and not before: a program that does not
use a library pays nothing for its codec.

Invariant: the new process needs no codec to load what one wrote; the stream names the functions.
"""

from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import Iterable
from typing import Any, Protocol, runtime_checkable

from livereload_core.facts import CODEC_ENTRY_POINTS as ENTRY_POINTS
from livereload_core.state.refusals import RefusedError

__all__ = ["ENTRY_POINTS", "StateCodec", "codec_for", "know"]

_known: tuple[tuple[str, str], ...] | None = None


def know(points: Iterable[str]) -> None:
    """Take over what the parent has found, each as ``name = module:attribute``.

    To read the metadata of all distributions takes tens of milliseconds and fds, and an export has neither.
    """
    global _known
    pairs = (point.partition("=") for point in points)
    _known = tuple((name.strip(), value.strip()) for name, _, value in pairs)
    _codecs.cache_clear()


@runtime_checkable
class StateCodec(Protocol):
    """Carries objects of one library."""

    @property
    def types(self) -> tuple[str, ...]:
        """``module:qualname`` of the classes that it carries, with their subclasses."""

    def reduce(self, obj: Any) -> Any:
        """Return what ``obj.__reduce_ex__(5)`` should have, or ``NotImplemented`` for what it does itself.

        It changes nothing: the object goes on working. Members that may lead back to the object belong
        into the state (third place, with a setter in the sixth), not into the arguments.

        Raises:
            RefusedError: this one cannot be carried; says why, and what to do instead.
        """


def codec_for(cls: type) -> StateCodec | None:
    """Return the codec that carries instances of a class, if one is registered."""
    names = [f"{base.__module__}:{base.__qualname__}" for base in cls.__mro__]
    libraries = {name.partition(":")[0].partition(".")[0] for name in names}
    for library in libraries - sys.stdlib_module_names:
        for codec in _codecs(library):
            if not codec.types or not set(codec.types).isdisjoint(names):
                return codec
    return None


@functools.cache
def _codecs(library: str) -> tuple[StateCodec, ...]:
    return tuple(_load(name, value) for name, value in _points() if name == library)


def _points() -> tuple[tuple[str, str], ...]:
    return _found() if _known is None else _known


@functools.cache
def _found() -> tuple[tuple[str, str], ...]:
    import importlib_metadata

    points = importlib_metadata.entry_points(group=ENTRY_POINTS)
    return tuple((point.name, point.value) for point in points)


def _load(name: str, value: str) -> StateCodec:
    remedy = f"fix or uninstall the package that registers it under {ENTRY_POINTS!r}"
    module, _, attribute = value.partition(":")
    try:
        codec = getattr(importlib.import_module(module), attribute)()
    except Exception as error:
        raise RefusedError(f"its codec {name!r} ({value}) cannot be loaded ({error})", remedy) from error
    if not isinstance(codec, StateCodec):
        raise RefusedError(f"its codec {name!r} ({value}) lacks types or reduce()", remedy)
    return codec
