"""What a program would import otherwise than a spare does: its own folder is the first on its ``sys.path``.

A module there hides an installed one, or one of the standard library, of the same name; and what an installed
module tries to import, and does without, may be there. A spare that has imported either is none for this
program.

Invariant: what an interpreter of ours has loaded before it imports anything ahead is the same in a spare and
in a candidate that imports cold; nothing is said of that.
"""

from __future__ import annotations

import importlib.machinery
import os
import sys
from collections.abc import Iterable, Sequence

__all__ = ["Hiding"]

_SUFFIXES = tuple(importlib.machinery.all_suffixes())


class Hiding:
    """Compares what is imported ahead with what is in the folder.

    Args:
        folder: the program's own one.
    """

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._own = frozenset(sys.modules)
        self._seen: tuple[int, frozenset[str]] = (-1, frozenset())
        self._by: dict[str, str] = {}
        self._missed: dict[str, str] = {}
        self._missing: set[str] = set()

    def start(self) -> None:
        """Note from now on what is looked for in vain."""
        sys.meta_path.append(self)

    def stop(self) -> None:
        """Note nothing any more."""
        if self in sys.meta_path:
            sys.meta_path.remove(self)

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: object = None) -> None:
        """Find nothing, as all the others have."""
        if path is None:
            self._missing.add(name)

    def imported(self, name: str, modules: Iterable[str]) -> None:
        """To import ``name`` ahead has loaded these."""
        for module in modules:
            if "." not in module and module not in self._own:
                self._by.setdefault(module, name)
        for missing in self._missing:
            self._missed.setdefault(missing, name)
        self._missing.clear()

    def found(self) -> tuple[str, str] | None:
        """Return a module that is hidden or was missed, behind what was imported ahead when it was."""
        names = self._names()
        for known in (self._by, self._missed):
            for module in known.keys() & names:
                return known[module], module
        return None

    def _names(self) -> frozenset[str]:
        """Return the names that are taken by modules and packages in the folder."""
        try:
            stamp = os.stat(self._folder).st_mtime_ns
            if stamp != self._seen[0]:
                self._seen = stamp, frozenset(_modules_in(self._folder))
        except OSError:
            return frozenset()
        return self._seen[1]


def _modules_in(folder: str) -> Iterable[str]:
    for entry in os.listdir(folder):
        if entry.endswith(_SUFFIXES):
            yield entry.partition(".")[0]
        elif "." not in entry and os.path.exists(os.path.join(folder, entry, "__init__.py")):
            yield entry
