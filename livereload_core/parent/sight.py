"""What is in sight of the watcher: the list of watched folders, and what a change in one of them means.

No thread and no watch lives here. :class:`Sight` is asked from the loop's thread and from those of feeds; its
own lock guards the list, and no look at the disk that may take long happens under it.

Invariants:
    * A folder that the rules prune is watched only if a tracked file lies in it.
    * After every hand-over of changes the list is what :meth:`Sight.folders` returns, or the caller was told
      (:class:`News`) which folders have to be looked through for it.
"""

from __future__ import annotations

import dataclasses
import os
import threading
from collections.abc import Iterable

from livereload_core.core.watching import WatchRules
from livereload_core.parent.folders import (
    TELLING_RULES,
    existing_folder,
    learn_gitignore,
    learn_gitignores_above,
    look_through,
)
from livereload_core.parent.tracked import Tracked

__all__ = ["News", "Sight"]

OVERFLOW = 4000
"""Changes in one go after which the kernel's queue (16,384 events, some for each file) is not trusted."""

_MODIFIED = 2  # watchfiles.Change.modified
_GONE = (0, 0)


@dataclasses.dataclass(slots=True)
class News:
    """What a number of changes means.

    Attributes:
        files: to be reported.
        fresh: folders that came; to be watched.
        relist: whether folders have to be watched that are known, because they are others by now.
        all_again: whether all roots have to be looked through.
    """

    files: set[str] = dataclasses.field(default_factory=set)
    fresh: list[str] = dataclasses.field(default_factory=list)
    relist: bool = False
    all_again: bool = False


class Sight:
    """The list of watched folders and of the files that are never lost sight of.

    Attributes:
        included: folders in which files lie that the rules include, whatever imports them.
    """

    def __init__(self, rules: WatchRules) -> None:
        self._rules = rules
        self.included: set[str] = set()
        self.roots: list[str] = []
        self._lock = threading.Lock()
        self._tracked = Tracked()
        self._folders: set[str] = set()
        # Folders that no watched folder lies above: if one is made anew under its name, nothing tells.
        self._anchors: dict[str, tuple[int, int]] = {}
        self._links: dict[str, str] = {}  # target to symlink

    # --- the list -----------------------------------------------------------

    def add_root(self, root: str) -> str | None:
        """Let a folder and what is below come into sight; returns its real name, None if it is known."""
        real = os.path.realpath(root)
        if real in self.roots:
            return None
        self.roots.append(real)
        with TELLING_RULES:
            self._rules.add_root(real)
        return real

    def track(self, path: str) -> bool:
        """Never lose sight of a file; returns whether a folder has to be watched for it."""
        if path in self._tracked:
            return False
        self._tracked.add(path)
        with self._lock:
            return self._anchor(existing_folder(path))

    def folders(self, tops: Iterable[str], fresh: Iterable[str]) -> list[str]:
        """Return the folders to watch, after looking through ``tops`` and ``fresh``."""
        tops = tuple(tops)
        for root in tops:
            learn_gitignores_above(root, self._rules)
        tree = look_through([*tops, *fresh], self._rules)
        for path in tree.files:
            if self._rules.includes(path):
                self._tracked.add(path)
                self.included.add(os.path.dirname(path))
        with self._lock:
            self._folders.update(tree.folders)
            self._links.update(tree.links)
            for root in tops:
                self._anchors[root] = _identity(root)
            for target in tree.links:
                self._anchor(existing_folder(target))
            folders = sorted(self._folders)
        present = [folder for folder in folders if os.path.isdir(folder) and os.access(folder, os.R_OK)]
        with self._lock:
            self._folders.difference_update(set(folders).difference(present))
        return present

    def missed(self, tops: Iterable[str], fresh: Iterable[str]) -> News:
        """Return what happened between :meth:`folders` and the first watch of a new feed.

        The feed before may have heard of a .gitignore of the roots and not have said so yet.
        """
        again = [
            learn_gitignore(f"{root}/.gitignore", self._rules) | learn_gitignores_above(root, self._rules)
            for root in tuple(self.roots)
        ]
        fresh = tuple(fresh)
        came = [
            folder
            for folder in look_through([*tops, *fresh], self._rules).folders
            if folder not in self._folders
        ]
        return News(self.files_in([*fresh, *came]), came, all_again=any(again))

    def files_in(self, folders: Iterable[str]) -> set[str]:
        """Return the files below ``folders`` that are not ignored."""
        return {path for path in look_through(folders, self._rules).files if not self._rules.ignores(path)}

    def _anchor(self, folder: str) -> bool:
        if folder in self._folders:
            return False
        self._folders.add(folder)
        self._anchors[folder] = _identity(folder)
        return True

    # --- what changes mean --------------------------------------------------

    def sort(self, changes: Iterable[tuple[int, str]]) -> News:
        """Tell files from folders in what a feed heard: ``(kind of change, path)``."""
        news = News()
        changes = list(changes)
        for _, path in changes:
            # First, because it decides about the others, and changes come in no order.
            if path.endswith(("/.gitignore", "/info/exclude")):
                news.all_again |= learn_gitignore(path, self._rules)
        for change, path in changes:
            if path in self._tracked:
                self._tracked.saw(path)
                news.files.add(path)
            elif os.path.isdir(path) and not os.path.islink(path):
                if change != _MODIFIED or path not in self._folders:
                    self._came(path, news)
            elif path in self._folders:
                self._went(path)
            elif not self._rules.ignores(path):
                news.files.add(path)
            if path in self._links:
                news.files.add(self._links[path])
            if self._tracked.is_above(path):
                # A folder that came, went or was renamed, or a symlink to one that was switched.
                news.files |= self._tracked.changed(path)
        news.all_again |= len(changes) >= OVERFLOW
        return news

    def _came(self, folder: str, news: News) -> None:
        # A folder that was made anew under an old name is another one, and its watch is gone.
        if self._tracked.is_above(folder):
            with self._lock:
                for path in self._tracked.below(folder):
                    self._folders.discard(os.path.dirname(path))
                    news.relist |= self._anchor(existing_folder(path))
        below_root = any(folder == root or folder.startswith(f"{root}/") for root in self.roots)
        if below_root and not self._rules.prunes(folder):
            news.fresh.append(folder)
            news.files |= self.files_in([folder])

    def _went(self, folder: str) -> None:
        with self._lock:
            self._folders.discard(folder)
            if folder in self._anchors:
                self._anchors[folder] = _GONE

    def sort_polled(self, paths: Iterable[str]) -> set[str]:
        """The same for files that were found to differ by looking."""
        files: set[str] = set()
        for path in paths:
            if path.endswith("/.gitignore"):
                learn_gitignore(path, self._rules)
            if path in self._tracked:
                self._tracked.saw(path)
            if path in self._tracked or not self._rules.ignores(path):
                files.add(path)
            if path in self._links:
                files.add(self._links[path])
        return files

    # --- what nobody told ---------------------------------------------------

    def sweep_due(self) -> bool:
        """Whether it is time for :meth:`sweep`."""
        return self._tracked.due()

    def sweep(self) -> News:
        """Compare tracked files and the folders that stand alone with how they were last seen."""
        news = News(files=self._tracked.sweep())
        for folder, before in tuple(self._anchors.items()):
            now = _identity(folder)
            if now != before:
                self._anchors[folder] = now
                news.all_again |= now != _GONE
        return news


def _identity(folder: str) -> tuple[int, int]:
    try:
        found = os.stat(folder)
    except OSError:
        return _GONE
    return found.st_dev, found.st_ino
