"""The user's source files as the parent sees them: hashed and compiled, never imported.

Invariants:
    * Nothing here runs code of the user: ``compile`` only.
    * No function raises because of what a file holds, or because there is none.
    * That a file compiles proves nothing, that it does not saves a candidate, which would compile it again.
"""

from __future__ import annotations

import os
import re
import stat
import time
import traceback
import warnings
from collections.abc import Collection, Iterable

from livereload_core.facts import Failure
from livereload_core.wire import bundle

__all__ = ["CHECK_BUDGET", "check", "digest"]

CHECK_BUDGET = 0.02
"""Seconds that a check may take from the loop before it leaves further files to the candidate.

Compiling costs about 1 ms per 150 lines: some twenty files of usual size fit in. A branch switch may touch
hundreds, and an error in one that was not looked at rejects the reload a moment later, in PREPARE.
"""

# What a bad escape in a literal is called ('unicodeescape' codec) is a plain syntax error.
_ENCODING = re.compile(r"unknown encoding|encoding problem|'(?!unicodeescape)[\w-]+' codec can't decode")


def digest(path: str) -> str | None:
    """Return the digest of a file's content (the one of ``wire.bundle``), None if it cannot be read."""
    try:
        # Not to wait for ever: a pipe in the tree may match a pattern too.
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(fd, "rb") as file:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                return None
            return bundle.content_digest(file.read())
    except (OSError, ValueError):
        # Gone, a folder by now, not for us to read: to the program all of these are "not there".
        return None


def check(
    paths: Iterable[str], *, root: str = "", required: Collection[str] = (), budget: float = CHECK_BUDGET
) -> tuple[Failure, ...]:
    """Compile Python files and say which ones cannot be compiled.

    A file that is gone is no failure: its module may have been removed together with the imports of it, or
    become a package. Whether somebody still needs it shows when the candidate imports.

    Args:
        paths: absolute paths; those that do not end in ``.py`` are checked only if ``required``.
        root: failures name files relative to this folder.
        required: files without which there is nothing to run (the script).
        budget: seconds after which no further file is begun.
    """
    end = time.monotonic() + budget
    failures: list[Failure] = []
    with warnings.catch_warnings():
        # The candidate compiles the same text and warns where the user sees it, once.
        warnings.simplefilter("ignore")
        for path in sorted(set(paths)):
            if not path.endswith((".py", ".pyw")) and path not in required:
                continue
            failure = _check_one(path, _shown(path, root), required=path in required)
            if failure is not None:
                failures.append(failure)
            if time.monotonic() > end:
                break
    return tuple(failures)


def _check_one(path: str, shown: str, *, required: bool) -> Failure | None:
    try:
        with open(path, "rb") as file:
            data = file.read()
    except FileNotFoundError:
        return _failure(path, f"{shown} is gone; put it back, or name another target") if required else None
    except OSError as error:
        return _failure(path, f"{shown} cannot be read: {error.strerror}")
    zero = data.find(b"\0")
    if zero >= 0:
        # Said in our own words: where and how compile() refuses a null byte differs between versions.
        line = data.count(b"\n", 0, zero) + 1
        text = f'  File "{path}", line {line}\nSyntaxError: source code cannot contain null bytes\n'
        return _failure(path, f"null byte in {shown}, line {line}", text)
    try:
        compile(data, path, "exec", dont_inherit=True)
    except SyntaxError as error:
        return _failure(path, _sentence(error, shown), _as_python_prints(error))
    except (ValueError, OverflowError) as error:
        return _failure(path, f"{shown} cannot be compiled: {error}", _as_python_prints(error))
    except (RecursionError, MemoryError):
        # Too deep for this process at this moment, which is no fault of the file: the candidate decides.
        return None
    return None


def _sentence(error: SyntaxError, shown: str) -> str:
    where = f"{shown}, line {error.lineno}" if error.lineno else shown
    kind = "indentation error" if isinstance(error, IndentationError) else "syntax error"
    if _ENCODING.search(error.msg):
        kind = "encoding error"
    return f"{kind} in {where}: {error.msg}"


def _as_python_prints(error: Exception) -> str:
    return "".join(traceback.format_exception_only(error))


def _failure(path: str, reason: str, text: str = "") -> Failure:
    return Failure(phase="check", reason=reason, traceback=text, files=(path,))


def _shown(path: str, root: str) -> str:
    return os.path.relpath(path, root) if root and path.startswith(f"{root.rstrip('/')}/") else path
