"""Which changed files matter, decided on strings alone: the caller has read the .gitignore files.

The first rule that has an opinion decides:

    ===  ====================================================  ========
      1  ``--reload-exclude`` matches                          IGNORE
      2  the last failure named the file                       RELOAD
      3  the running program imported it                       RELOAD
      4  it lies outside of the watched folders                IGNORE
      5  it is something that nobody edits (.git, a swap file)  IGNORE
      6  one of its folders is in .gitignore                   IGNORE
      7  ``--reload-include`` matches                          RELOAD
      8  it is in .gitignore                                   IGNORE
      9  none of these                                         UNUSED
    ===  ====================================================  ========

A file that runs counts although it is in .gitignore (2 and 3 before 8): generated modules and local settings
are imported too. Rule 6 stands before 7 as in git itself, where a file cannot be taken back in once its
folder is out; a pattern that says the folder (``data/*.json``) opens it all the same.

Invariants:
    * Paths are absolute, with ``/``, and free of ``..`` and of symlinked roots; no path is looked up on disk.
    * Folders are judged by their place below the root: a project inside of ``~/venv`` is a project.
"""

from __future__ import annotations

import dataclasses
import enum
import fnmatch
import re
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence

from pathspec import GitIgnoreSpec

from livereload_core.errors import UsageError

__all__ = ["USUAL_FILES", "USUAL_FOLDERS", "Verdict", "WatchRules"]

USUAL_FOLDERS = frozenset(
    {
        *(".git", ".hg", ".svn", ".jj"),
        *(".venv", "venv", ".tox", ".nox", "node_modules", "__pypackages__", "site-packages"),
        *(
            "__pycache__",
            ".mypy_cache",
            ".ruff_cache",
            ".pytest_cache",
            ".hypothesis",
            ".import_linter_cache",
        ),
        *(".idea", ".vscode", ".livecore"),
    }
)
"""Names of folders in which nobody edits code that runs; they are not even watched."""

USUAL_FILES = ("*.py[cod]", "*.swp", "*.swo", "*.swx", "*~", ".#*", "#*#", "4913", "*.tmp", "*___jb_???___")
"""Bytecode, and what editors write beside a file while they save it (4913 is vim's probe for permissions)."""

_USUAL_FILES = tuple((glob, re.compile(fnmatch.translate(glob))) for glob in USUAL_FILES)
_WILD = re.compile(r"[*?\[]")


class Verdict(enum.Enum):
    """What a change of a file means."""

    RELOAD = "reload"  # the program depends on it
    IGNORE = "ignore"  # filtered out; such files are not even looked at
    UNUSED = "unused"  # could be code, but the running program does not use it


@dataclasses.dataclass(frozen=True, slots=True)
class _Pattern:
    """One line of gitignore syntax: where it stands and what it says."""

    line: int
    text: str


class _Patterns:
    """Lines of gitignore syntax that count from one folder; the last one that matches wins.

    Args:
        folder: where they count from.
        lines: patterns, comments and blank lines.
        option: the option that they come from; what is no pattern is an error then.
        keep: folders that no line may match: who runs livecore in an ignored folder wants its files.
    """

    def __init__(
        self, folder: str, lines: Iterable[str], *, option: str = "", keep: Sequence[str] = ()
    ) -> None:
        self.folder = folder
        usable: list[tuple[_Pattern, str]] = []
        for number, line in enumerate(lines, 1):
            if not line.strip() or line.startswith("#"):
                continue
            try:
                alone = GitIgnoreSpec.from_lines([line])
            except ValueError as error:
                if option:
                    raise UsageError(
                        f"{option} {line!r} is no pattern: {error}",
                        advice="patterns are written as in .gitignore",
                    ) from error
                continue  # git, too, passes over lines of .gitignore that it cannot read
            if any(alone.match_file(f"{_relative(root, folder)}/") for root in keep):
                continue
            usable.append((_Pattern(number, line.strip()), line))
        self._patterns = [pattern for pattern, _ in usable]
        self._spec = GitIgnoreSpec.from_lines(line for _, line in usable)

    def match(self, path: str) -> tuple[bool, _Pattern] | None:
        """Return whether ``path`` (a folder ends in ``/``) is matched, or taken out again; None: neither."""
        if not self._patterns or not _is_below(path, self.folder):
            return None
        result = self._spec.check_file(_relative(path, self.folder))
        if result.include is None or result.index is None:
            return None
        return result.include, self._patterns[result.index]

    def __iter__(self) -> Iterator[_Pattern]:
        return iter(self._patterns)


class WatchRules:
    """Decides which changes matter.

    Args:
        roots: the watched folders.
        include: patterns (gitignore syntax, relative to the root) of files that reload although no module.
        exclude: patterns of files that never reload.
        gitignores: path of each .gitignore to its text; more can follow by :meth:`set_gitignore`.

    Raises:
        UsageError: ``include`` or ``exclude`` holds something that is no pattern.
    """

    def __init__(
        self,
        roots: Sequence[str],
        *,
        include: Sequence[str] = (),
        exclude: Sequence[str] = (),
        gitignores: Mapping[str, str] | None = None,
    ) -> None:
        self._lines = (tuple(include), tuple(exclude))
        self._roots: list[str] = []
        self._include: list[_Patterns] = []
        self._exclude: list[_Patterns] = []
        self._opened = [start for pattern in include if (start := _literal_start(pattern))]
        self._texts: dict[str, str] = {}
        self._gitignores: list[tuple[str, _Patterns]] = []
        self._folders: dict[str, str] = {}
        for root in roots:
            self.add_root(root)
        for path, text in (gitignores or {}).items():
            self.set_gitignore(path, text)

    @property
    def roots(self) -> tuple[str, ...]:
        """The watched folders, the innermost first."""
        return tuple(self._roots)

    def add_root(self, root: str) -> None:
        """Let files below one more folder count."""
        include, exclude = self._lines
        # Replaced as a whole, here and below, because the watcher's thread reads while another one changes.
        # The innermost root first: patterns count from there.
        self._roots = sorted({*self._roots, root.rstrip("/") or "/"}, key=lambda root: (-len(root), root))
        self._include = [_Patterns(root, include, option="--reload-include") for root in self._roots]
        self._exclude = [_Patterns(root, exclude, option="--reload-exclude") for root in self._roots]
        self._read_gitignores()

    def set_gitignore(self, path: str, text: str | None) -> bool:
        """Take the text of a .gitignore (or of .git/info/exclude), None when it is gone.

        Returns:
            whether anything changed, so that folders have to be looked through again.
        """
        if self._texts.get(path) == text:
            return False
        self._texts = {**self._texts, path: text} if text is not None else _without(self._texts, path)
        self._read_gitignores()
        return True

    def _read_gitignores(self) -> None:
        found: list[tuple[str, _Patterns]] = []
        for path, text in self._texts.items():
            folder = path.removesuffix("/.git/info/exclude") if path.endswith("/exclude") else _parent(path)
            keep = [root for root in self._roots if _is_below(root, folder)]
            found.append((path, _Patterns(folder, text.splitlines(), keep=keep)))
        # The deepest one has the first say.
        self._gitignores = sorted(found, key=lambda item: len(item[1].folder), reverse=True)
        self._folders = {}

    def prunes(self, folder: str) -> bool:
        """Whether nothing below ``folder`` needs to be watched."""
        return bool(self._pruned(folder))

    def ignores(self, path: str) -> bool:
        """Whether a change of ``path`` is filtered out, unless the program uses it."""
        return self.verdict(path, imported=(), named=()) is Verdict.IGNORE

    def includes(self, path: str) -> bool:
        """Whether ``path`` reloads because of the user's patterns alone."""
        return bool(self._lines[0]) and self.verdict(path, imported=(), named=()) is Verdict.RELOAD

    def verdict(self, path: str, *, imported: Container[str], named: Container[str]) -> Verdict:
        """Decide what a change of ``path`` means.

        Args:
            path: the changed file, which may be gone.
            imported: the files that the running program runs.
            named: the files that the last failure named, existing or not.
        """
        return self._decide(path, imported, named)[0]

    def why(self, path: str, *, imported: Container[str] = (), named: Container[str] = ()) -> str:
        """Return the reason for :meth:`verdict`, as in ``ignored by .gitignore:3 '*.log'``."""
        return self._decide(path, imported, named)[1]

    # --- the rules, in the order of the table --------------------------------

    def _decide(self, path: str, imported: Container[str], named: Container[str]) -> tuple[Verdict, str]:
        pattern = _matched(self._exclude, path)
        if pattern:
            return Verdict.IGNORE, f"matches --reload-exclude {pattern.text!r}"
        if path in named:
            return Verdict.RELOAD, "named by the last failure"
        if path in imported:
            return Verdict.RELOAD, "imported by the running program"
        if self._root_of(path) is None:
            return Verdict.IGNORE, "outside of the watched folders"
        reason = self._pruned(_parent(path)) or _usual_file(path)
        if reason:
            return Verdict.IGNORE, reason
        pattern = _matched(self._include, path)
        if pattern:
            return Verdict.RELOAD, f"matches --reload-include {pattern.text!r}"
        reason = self._gitignored(path)
        if reason:
            return Verdict.IGNORE, reason
        return Verdict.UNUSED, "not imported by the running program"

    def _root_of(self, path: str) -> str | None:
        return next((root for root in self._roots if path != root and _is_below(path, root)), None)

    def _pruned(self, folder: str) -> str:
        """Return why nothing below ``folder`` counts, or ``""``."""
        known = self._folders.get(folder)
        if known is None:
            # Every folder below a root is judged once; the dict is replaced when a .gitignore changes.
            folders = self._folders
            known = folders[folder] = self._judge_folder(folder)
        return known

    def _judge_folder(self, folder: str) -> str:
        root = self._root_of(folder)
        if root is None:
            return ""
        above = self._pruned(_parent(folder))
        if above:
            return above
        name = folder[folder.rindex("/") + 1 :]
        if name in USUAL_FOLDERS or name.endswith(".egg-info"):
            return f"below {name}/, which is never watched"
        pattern = _matched(self._exclude, f"{folder}/")
        if pattern:
            return f"matches --reload-exclude {pattern.text!r}"
        if any(_on_one_line(_relative(folder, root), start) for start in self._opened):
            return ""
        return self._gitignored(f"{folder}/")

    def _gitignored(self, path: str) -> str:
        root = self._root_of(path)
        for place, patterns in self._gitignores:
            found = patterns.match(path)
            if found is None:
                continue
            if not found[0]:
                return ""
            shown = _relative(place, root) if root and _is_below(place, root) else place
            return f"ignored by {shown}:{found[1].line} {found[1].text!r}"
        return ""


def _matched(groups: Sequence[_Patterns], path: str) -> _Pattern | None:
    for patterns in groups:
        if _is_below(path, patterns.folder):
            found = patterns.match(path)
            return found[1] if found is not None and found[0] else None
    return None


def _usual_file(path: str) -> str:
    name = path[path.rindex("/") + 1 :]
    for glob, regex in _USUAL_FILES:
        if regex.match(name):
            return f"{glob} is never watched"
    return ""


def _literal_start(pattern: str) -> str:
    """Return the folders that a pattern says without wildcards: ``data/raw`` for ``data/raw/*.json``."""
    folders, slash, _ = pattern.lstrip("/").rpartition("/")
    if not slash or pattern.startswith(("!", "#")):
        return ""
    literal: list[str] = []
    for part in folders.split("/"):
        if _WILD.search(part):
            break
        literal.append(part)
    return "/".join(literal)


def _on_one_line(one: str, other: str) -> bool:
    """Whether one of two relative folders is the other one or lies below it."""
    return f"{one}/".startswith(f"{other}/") or f"{other}/".startswith(f"{one}/")


def _is_below(path: str, folder: str) -> bool:
    return path.startswith(folder if folder.endswith("/") else f"{folder}/")


def _relative(path: str, folder: str) -> str:
    return path[len(folder.rstrip("/")) + 1 :]


def _without(texts: Mapping[str, str], path: str) -> dict[str, str]:
    return {other: text for other, text in texts.items() if other != path}


def _parent(path: str) -> str:
    return path.rstrip("/").rpartition("/")[0] or "/"
