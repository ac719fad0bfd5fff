"""What an exception says to the user: their traceback, and the files whose edit may mend it.

Frames of ours and of the import system are cut away, so that a traceback reads as if the program had been
started by plain Python. Causes, contexts and the members of groups are kept.
"""

from __future__ import annotations

import importlib
import os
import re
import runpy
import sys
import traceback
from collections.abc import Iterable, Iterator

from livereload_core.child.paths import UserPaths, is_below

__all__ = ["files_of_failure", "user_traceback"]

_OURS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_MACHINERY = frozenset(
    {
        "<frozen importlib._bootstrap>",
        "<frozen importlib._bootstrap_external>",
        "<frozen runpy>",
        runpy.__file__,
        importlib.__file__,
    }
)
_CANNOT_IMPORT = re.compile(r"cannot import name '([^']+)'")


def user_traceback(exc: BaseException) -> str:
    """Return what Python would print for ``exc``, without frames that are not the program's."""
    try:
        told = traceback.TracebackException.from_exception(exc)
        _cut(told, set())
        return "".join(told.format())
    except Exception as error:
        # An exception that cannot be shown must not hide that there was one: the reader sees this line.
        return f"{type(exc).__name__} (its traceback cannot be shown: {type(error).__name__})\n"


def _cut(told: traceback.TracebackException, seen: set[int]) -> None:
    if id(told) in seen:
        return
    seen.add(id(told))
    stack = told.stack
    stack[:] = [frame for frame in stack if not _is_machinery(frame.filename)]
    if not stack:
        # Without frames Python leaves the heading out, as for a syntax error in the script itself.
        told.stack = None  # type: ignore[assignment]
    for other in (told.__cause__, told.__context__, *(told.exceptions or ())):
        if other is not None:
            _cut(other, seen)


def _is_machinery(filename: str) -> bool:
    return filename in _MACHINERY or is_below(filename, _OURS)


def files_of_failure(exc: BaseException, paths: UserPaths) -> tuple[str, ...]:
    """Return the user's files that ``exc`` names, the most telling first; some may not exist yet.

    These are the files in its traceback (and in those of its causes, contexts and members), the file of a
    syntax error, the places where a missing module would be, and the file that could not be opened.
    """
    found: dict[str, None] = {}
    for error in _related(exc):
        for path in (*_named_by(error, paths), *_traced(error)):
            if path.startswith("<") or not paths.is_user_path(path):
                continue
            found.update(dict.fromkeys(paths.names(path)))
    return tuple(found)


def _related(exc: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    waiting: list[BaseException | None] = [exc]
    while waiting:
        error = waiting.pop(0)
        if error is None or id(error) in seen:
            continue
        seen.add(id(error))
        yield error
        waiting += [error.__cause__, error.__context__]
        if isinstance(error, BaseExceptionGroup):
            waiting += error.exceptions


def _traced(error: BaseException) -> list[str]:
    """Return the files of the traceback, the innermost frame first."""
    files = [frame.f_code.co_filename for frame, _ in traceback.walk_tb(error.__traceback__)]
    return files[::-1]


def _named_by(error: BaseException, paths: UserPaths) -> Iterable[str]:
    if isinstance(error, SyntaxError):
        return [error.filename] if error.filename else []
    if isinstance(error, ModuleNotFoundError):
        return _places(error.name, paths) if error.name else []
    if isinstance(error, ImportError):
        return _half_imported(error, paths)
    if isinstance(error, OSError) and isinstance(error.filename, (str, bytes)):
        return [os.path.abspath(os.fsdecode(error.filename))]
    return []


def _half_imported(error: ImportError, paths: UserPaths) -> list[str]:
    """``from package import missing``: the module itself, and where a submodule of that name would be."""
    files = [error.path] if error.path else []
    match = _CANNOT_IMPORT.match(str(error))
    if match and error.name:
        files += _places(f"{error.name}.{match[1]}", paths)
    return files


def _places(name: str, paths: UserPaths) -> list[str]:
    """Return where a module of that name would be, below the roots."""
    parent, _, tail = name.rpartition(".")
    files: list[str] = []
    folders = paths.user_folders(entry or os.getcwd() for entry in sys.path)
    if parent:
        package = sys.modules.get(parent)
        search: Iterable[str] | None = getattr(package, "__path__", None)
        if search is None:
            # The parent is a plain module, or missing too: either of them may become the package.
            base = parent.replace(".", "/")
            files += [f"{folder}/{base}/__init__.py" for folder in folders]
            search = [f"{folder}/{base}" for folder in folders]
        folders = list(search)
    files += [f"{folder}/{tail}{suffix}" for folder in folders for suffix in (".py", "/__init__.py")]
    return files
