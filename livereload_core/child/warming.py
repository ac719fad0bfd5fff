"""The garbage collector while an interpreter gets warm: imports make many objects, and hardly any garbage."""

from __future__ import annotations

import gc

__all__ = ["GC_WHILE_WARMING", "collect_normally"]

_NORMAL = gc.get_threshold()
GC_WHILE_WARMING = (1_000_003, *_NORMAL[1:])
"""A threshold that no import reaches, and that nobody else sets. The collector is not disabled: a module
that does so for itself must be told from us."""


def collect_normally() -> None:
    """Go back to what Python has by default, unless a module that was imported meanwhile wants otherwise."""
    if gc.get_threshold() == GC_WHILE_WARMING:
        gc.set_threshold(*_NORMAL)
