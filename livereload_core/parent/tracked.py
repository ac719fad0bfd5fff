"""Files that are never lost sight of: each is remembered as it was last seen.

Events may be missed; a difference between then and now is not. One thread may add files while another one
compares: single dict operations are atomic, and loops run over a copy.
"""

from __future__ import annotations

import time

from livereload_core.parent.folders import Signature, signature

__all__ = ["SWEEP_INTERVAL", "Tracked"]

SWEEP_INTERVAL = 1.0
"""Seconds between two comparisons; stat of 500 files takes about 1 ms."""

_SHARE = 100
"""A comparison of very many files may take one hundredth of the time at most."""


class Tracked:
    """The files and how they were last seen."""

    def __init__(self) -> None:
        self._seen: dict[str, Signature | None] = {}
        self._above: set[str] = set()
        self._next = 0.0

    def __contains__(self, path: object) -> bool:
        return path in self._seen

    def add(self, path: str) -> None:
        """Track a file, which need not exist."""
        if path in self._seen:
            return
        self._seen[path] = signature(path)
        folder = path
        while (folder := folder.rpartition("/")[0]) and folder not in self._above:
            self._above.add(folder)

    def is_above(self, folder: str) -> bool:
        """Whether a tracked file lies below ``folder``, or would."""
        return folder in self._above

    def below(self, folder: str) -> list[str]:
        """Return the tracked files below ``folder``."""
        return [path for path in tuple(self._seen) if path.startswith(f"{folder}/")]

    def saw(self, path: str) -> None:
        """A change of this file is known: only later ones are news."""
        self._seen[path] = signature(path)

    def changed(self, folder: str = "") -> set[str]:
        """Return the files (below ``folder``) that differ from how they were last seen, and look anew."""
        found: set[str] = set()
        for path, before in tuple(self._seen.items()):
            if path.startswith(f"{folder}/"):
                now = signature(path)
                if now != before:
                    self._seen[path] = now
                    found.add(path)
        return found

    def due(self) -> bool:
        """Whether it is time for :meth:`sweep`."""
        return time.monotonic() >= self._next

    def sweep(self) -> set[str]:
        """Compare all files; see :meth:`changed`."""
        began = time.monotonic()
        found = self.changed()
        self._next = began + max(SWEEP_INTERVAL, _SHARE * (time.monotonic() - began))
        return found
