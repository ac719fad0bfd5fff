"""Doing something right after a module was imported, without importing it.

The finder finds nothing by itself: it asks the others and hangs a callback onto the loader that they return.
Loaders keep their type, so that tools which look at ``__spec__.loader`` see what they always see.
"""

from __future__ import annotations

import importlib.machinery
import sys
from collections.abc import Callable, Sequence
from types import ModuleType

__all__ = ["AfterImport"]


class AfterImport:
    """A finder for ``sys.meta_path``.

    Args:
        callbacks: module name -> what to call with the module once its code has run. A module that is
            imported already is called for at :meth:`install`.
    """

    def __init__(self, callbacks: dict[str, Callable[[ModuleType], None]]) -> None:
        self._callbacks = callbacks

    def install(self) -> None:
        """Begin to watch."""
        sys.meta_path.insert(0, self)
        for name, callback in self._callbacks.items():
            module = sys.modules.get(name)
            if module is not None:
                callback(module)

    def uninstall(self) -> None:
        """Stop to watch."""
        if self in sys.meta_path:
            sys.meta_path.remove(self)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Return what the next finder finds, with the callback attached; None for other modules."""
        callback = self._callbacks.get(fullname)
        if callback is None:
            return None
        for finder in sys.meta_path:
            if finder is self or not hasattr(finder, "find_spec"):
                continue
            spec = finder.find_spec(fullname, path, target)
            if spec is not None:
                _attach(spec, callback)
                return spec
        return None


def _attach(spec: importlib.machinery.ModuleSpec, callback: Callable[[ModuleType], None]) -> None:
    loader = spec.loader
    execute = getattr(loader, "exec_module", None)
    if loader is None or execute is None:
        return

    def exec_module(module: ModuleType) -> None:
        execute(module)
        callback(module)

    try:
        loader.exec_module = exec_module  # type: ignore[method-assign]
    except AttributeError:
        pass  # a loader with slots: its module stays unpatched, and the gate in accept() remains
