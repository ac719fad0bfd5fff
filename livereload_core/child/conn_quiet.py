"""Handlers of an old generation whose connections have gone over: what they log of it is nobody's business.

To such a handler its client has left, in the midst of a send for one that only pushes. Servers log that as an
error with a traceback, at every edit and for every such connection, although nothing has gone wrong.

Invariants:
    * Only records with an exception are left out, of a context whose connection has gone over, and only when
    the
      exception was raised by a library. What the program's own lines raise is shown.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import TracebackType
from typing import Any

from livereload_core.child.net_patches import Patches
from livereload_core.state.connection import current

__all__ = ["install"]


def install(patches: Patches, is_user_path: Callable[[str], bool]) -> None:
    """Leave such records out from now on; for a generation that leaves."""
    logging = sys.modules.get("logging")
    if logging is None:
        return
    handle = logging.Logger.handle

    def handle_others(logger: Any, record: Any) -> None:
        if not _is_of_the_past(record.exc_info, is_user_path):
            handle(logger, record)

    patches.put(logging.Logger, "handle", handle_others)


def _is_of_the_past(exc_info: Any, is_user_path: Callable[[str], bool]) -> bool:
    if not isinstance(exc_info, tuple) or exc_info[1] is None:
        return False
    if not getattr(current.get(None), "moved", False):
        return False
    error: BaseException = exc_info[1]
    while isinstance(error, BaseExceptionGroup) and error.exceptions:
        error = error.exceptions[0]
    return not is_user_path(_raised_in(error.__traceback__))


def _raised_in(traceback: TracebackType | None) -> str:
    """The file whose line raised."""
    path = ""
    while traceback is not None:
        path = traceback.tb_frame.f_code.co_filename
        traceback = traceback.tb_next
    return path
