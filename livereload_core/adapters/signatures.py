"""What a callable wants: how kinds of target without a common base class are told apart."""

from __future__ import annotations

import inspect

__all__ = ["required_positionals"]


def required_positionals(target: object) -> int | None:
    """How many positional arguments ``target`` cannot be called without; None if that is not known."""
    if not callable(target):
        return None
    try:
        parameters = inspect.signature(target).parameters.values()
    except (TypeError, ValueError):
        return None
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(1 for p in parameters if p.kind in positional and p.default is inspect.Parameter.empty)
