"""Names of the old code, looked up in the new one.

Invariant: a name that is gone is refused with what looks like it, never replaced by a guess.
"""

from __future__ import annotations

import sys
from typing import Any

from livereload_core.state.refusals import RefusedError
from livereload_core.state.roots import UNSET, space_of

__all__ = ["is_executing", "located", "lookup", "name_of_global"]


def located(thing: Any) -> bool:
    """Whether module and qualified name lead back to this very function or class."""
    found: Any = sys.modules.get(getattr(thing, "__module__", None) or "")
    for part in thing.__qualname__.split("."):
        found = getattr(found, part, None)
    return found is thing


def name_of_global(thing: object, likely: str) -> tuple[str, str] | None:
    """Return (module, name) of a module global that is this very object, ``likely`` names first."""
    names = [name for name in list(sys.modules) if space_of(name)]
    for module in names:
        if space_of(module).get(likely) is thing:
            return module, likely
    for module in names:
        for name, value in list(space_of(module).items()):
            if value is thing:
                return module, name
    return None


def lookup(module: str, name: str) -> Any:
    """Return what a dotted name in a module stands for in the new code.

    Raises:
        RefusedError: it is gone, or not there yet (``later``).
    """
    found: Any = _module(module)
    for part in name.split("."):
        found = getattr(found, part, UNSET)
    if found is UNSET:
        # Raised here, without a cause: the frames of a traceback would keep the unpickler alive.
        raise RefusedError(
            f"{module}:{name} is gone{_look_alike(module, name)}",
            "put it back, or name what replaces it: @preserve(aliases="
            f'("{module}:{name}",)) on the class, or version= and migrate=',
            later=is_executing(module),
        )
    return found


def is_executing(module: str) -> bool:
    """Whether names may yet appear in a module: it is ``__main__``, or its import is under way."""
    if module == "__main__":
        return True
    spec = getattr(sys.modules.get(module), "__spec__", None)
    return bool(getattr(spec, "_initializing", False))


def _module(name: str) -> Any:
    try:
        __import__(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise  # it is there, and imports something that is not
        return UNSET
    return sys.modules[name]


def _look_alike(module: str, name: str) -> str:
    import difflib

    loaded = sys.modules.get(module)
    if loaded is None:
        return f" (there is no module {module!r})"
    close = difflib.get_close_matches(name, [n for n, v in vars(loaded).items() if callable(v)], 1)
    return f" ({close[0]!r} looks like it)" if close else ""
