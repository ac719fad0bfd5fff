"""How tracked containers are refilled in place; see ``inplace``."""

from __future__ import annotations

from typing import Any

from livereload_core.state import inplace
from livereload_core.state.inplace import Family
from livereload_core.state.roots import class_key
from livereload_core.state.tracked.containers import TrackedDict
from livereload_core.state.tracked.lru import Lru

__all__ = ["kind_of", "type_key"]


class _Containers(Family):
    def args(self, obj: Any) -> tuple[Any, ...] | None:
        return (obj.maxsize,) if isinstance(obj, Lru) else ()

    def shell(self, cls: Any, args: tuple[Any, ...]) -> Any:
        return kind_of_class(cls)(*args)

    def pour(self, live: Any, new: Any) -> None:
        if live is new:
            return
        items = dict(new.items())
        live.clear()
        live.update(items)

    def clone(self, obj: Any, without: tuple[str, ...] = ()) -> Any:
        made = self.shell(type(obj), self.args(obj) or ())
        self.pour(made, obj)
        return made

    def become(self, live: Any, new: Any) -> list[str]:
        self.pour(live, new)
        return []


def kind_of_class(cls: type) -> type:
    """Return the class under which containers of this class are known."""
    return TrackedDict if issubclass(cls, TrackedDict) else cls


def kind_of(obj: object) -> type:
    """Return the class of an object; of a container the one under which it is known."""
    return kind_of_class(type(obj))


def type_key(obj: object) -> str:
    """Return ``module:qualname`` of :func:`kind_of`."""
    return class_key(kind_of(obj))


_FAMILY = _Containers()
inplace.add_family(TrackedDict, _FAMILY)
inplace.add_family(Lru, _FAMILY)
