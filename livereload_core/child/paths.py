"""Which files are the user's, and under which names one file is known.

A file is the user's when it lies below a root and is not installed: not in site-packages, not in a virtual
environment, not in the standard library. Both its name as written and its real name are asked, because either
may lead into a root: a symlink in the project to shared code outside, and a project reached by a symlink.

Invariants:
    * Every name that leaves this module is absolute and starts with a real root where it lies below one.
    * What a folder is, is looked up once: one process imports from one layout of the project.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

__all__ = ["NOT_USER_FOLDERS", "UserPaths", "is_below", "is_installed"]

NOT_USER_FOLDERS = frozenset(
    {
        "site-packages",
        "dist-packages",
        ".venv",
        "venv",
        ".tox",
        ".nox",
        "node_modules",
        "__pypackages__",
        ".git",
    }
)
"""Names of folders below a root in which code is installed rather than written."""

_INSTALLED = ("site-packages", "dist-packages")
_STDLIB = os.path.dirname(os.path.realpath(os.__file__))
_OURS = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))


def is_below(path: str, folder: str) -> bool:
    """Whether ``path`` is ``folder`` or lies below it; both are absolute."""
    return path == folder or path.startswith(folder if folder.endswith("/") else f"{folder}/")


def is_installed(path: str) -> bool:
    """Whether ``path`` belongs to the standard library or to a distribution that is installed by copying."""
    real = os.path.realpath(path)
    return is_below(real, _STDLIB) or any(f"/{name}/" in real for name in _INSTALLED)


class UserPaths:
    """Tells the user's files from all others.

    Args:
        roots: folders that hold the user's code.
        exclude: folders and files below them that do not.
        prefix: ``sys.prefix`` of a virtual environment, or ``""``.
    """

    def __init__(self, roots: Sequence[str], exclude: Sequence[str] = (), *, prefix: str = "") -> None:
        self._spelled = [(os.path.abspath(root), os.path.realpath(root)) for root in roots]
        self.roots = tuple(dict.fromkeys(real for _, real in self._spelled))
        self._foreign = [_OURS, _STDLIB, *(os.path.realpath(path) for path in exclude)]
        real_prefix = os.path.realpath(prefix) if prefix else ""
        # A project that is developed inside of its own virtual environment is a project all the same.
        if prefix and not any(is_below(root, real_prefix) for root in self.roots):
            self._foreign.append(real_prefix)
        self._folders: dict[str, bool] = {}
        self._third_party: dict[str, bool] = {}
        self._real: dict[str, str] = {}

    def names(self, path: str) -> tuple[str, ...]:
        """Return every name of a file that an edit may happen under, the real one first.

        Usually that is one. A symlinked file or folder adds the name as written, so that switching the link
        is noticed too.
        """
        written = os.path.abspath(path)
        for spelled, real in self._spelled:
            if spelled != real and is_below(written, spelled):
                written = real + written[len(spelled) :]
                break
        folder, name = os.path.split(written)
        linked = os.path.join(self._real_folder(folder), name)
        # Looked up for every module: one lstat here instead of one for each folder above.
        real_path = os.path.realpath(linked) if os.path.islink(linked) else linked
        if real_path == linked == written:
            return (written,)
        return tuple(dict.fromkeys((real_path, linked, written)))

    def is_user_folder(self, folder: str) -> bool:
        """Whether modules in ``folder`` are the user's; the folder need not exist."""
        known = self._folders.get(folder)
        if known is None:
            names = self.names(folder)
            known = not self._is_foreign(names[0]) and any(self._lies_in_root(name) for name in names)
            self._folders[folder] = known
        return known

    def is_user_path(self, path: str) -> bool:
        """Whether a file is the user's; it need not exist."""
        path = os.path.abspath(path)
        if path in self._foreign:
            return False
        return self.is_user_folder(os.path.dirname(path)) or (
            os.path.islink(path) and self.is_user_folder(os.path.dirname(os.path.realpath(path)))
        )

    def is_third_party(self, path: str) -> bool:
        """Whether a module file is of the standard library or of a distribution that is not editable."""
        folder = os.path.dirname(path)
        known = self._third_party.get(folder)
        if known is None:
            known = self._third_party[folder] = is_installed(path) and not self.is_user_folder(folder)
        return known

    def user_folders(self, candidates: Iterable[str]) -> list[str]:
        """Return those of ``candidates`` that are user folders, then the roots; each once, made real."""
        own = [
            self.names(folder)[-1] for folder in candidates if self.is_user_folder(os.path.abspath(folder))
        ]
        return list(dict.fromkeys([*own, *self.roots]))

    def _real_folder(self, folder: str) -> str:
        known = self._real.get(folder)
        if known is None:
            known = self._real[folder] = os.path.realpath(folder)
        return known

    def _is_foreign(self, real: str) -> bool:
        return any(is_below(real, foreign) for foreign in self._foreign)

    def _lies_in_root(self, name: str) -> bool:
        for root in self.roots:
            if is_below(name, root):
                return NOT_USER_FOLDERS.isdisjoint(name[len(root) :].split("/"))
        return False
