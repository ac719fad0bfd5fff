"""Whose fault it is that a dump or a load was broken off, and how that is said.

Users' methods run while state is written and read, and whatever they raise is contained: it becomes the
reason why one root is refused. Three things only pass through a dump on their way to somebody else:

    KeyboardInterrupt               for whoever runs the program
    NotQuietError                   for the export, which begins again
    what a signal handler raised    for the program, which is told to stop, or a test whose time is up:
                                    Python runs handlers between any two lines of the main thread

Invariant: every ``except BaseException`` around users' methods asks :func:`is_from_elsewhere` first.
"""

from __future__ import annotations

import signal
import types
from typing import Any

from livereload_core.state.descriptors import NotQuietError

__all__ = ["is_from_elsewhere", "raised_at", "text_of", "told"]


def is_from_elsewhere(error: BaseException) -> bool:
    """Whether what was raised is not for the object that was being written or read."""
    if isinstance(error, (KeyboardInterrupt, NotQuietError)):
        return True
    handlers = _codes_of_handlers()
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code in handlers:
            return True
        trace = trace.tb_next
    return False


def _codes_of_handlers() -> set[types.CodeType]:
    """Return the code of what the program has installed; a handler in C leaves no frame that could tell."""
    codes: set[types.CodeType] = set()
    for number in signal.valid_signals():
        handler: Any = signal.getsignal(number)
        if not callable(handler):
            continue
        handler = getattr(handler, "func", handler)  # of a partial
        handler = getattr(handler, "__func__", handler)
        if not hasattr(handler, "__code__"):
            handler = type(handler).__call__
        code = getattr(handler, "__code__", None)
        if isinstance(code, types.CodeType):
            codes.add(code)
    return codes


def told(error: BaseException) -> str:
    """Return type, text and place of an error in one line."""
    return f"{type(error).__name__}: {text_of(error)}{raised_at(error)}"


def text_of(error: BaseException) -> str:
    """Return what an error says of itself; one of the user's may fail at that."""
    try:
        return str(error)
    except KeyboardInterrupt:
        raise
    except BaseException:  # only a label: its type and its place are shown all the same
        return "(its text cannot be shown)"


def raised_at(error: BaseException) -> str:
    """Return the user's innermost frame in a traceback as `` (in f, file:line)``, or ``""``."""
    place = ""
    trace = error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        module = str(trace.tb_frame.f_globals.get("__name__", ""))
        if module.partition(".")[0] not in ("livereload_core", "pickle", "copyreg"):
            place = f" (in {code.co_qualname}, {code.co_filename}:{trace.tb_lineno})"
        trace = trace.tb_next
    return place
