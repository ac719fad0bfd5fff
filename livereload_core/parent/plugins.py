"""The kinds of target that are installed: found here once, for all interpreters of the run.

Only names are read. What they stand for is imported by the children, never by the parent.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence

from livereload_core.facts import CODEC_ENTRY_POINTS, ENTRY_POINTS

__all__ = ["registered", "search_path"]


def search_path(env: Mapping[str, str]) -> list[str]:
    """Return where a child with this environment finds distributions: where we do, less our own folder."""
    own = sys.path if sys.flags.safe_path else sys.path[1:]
    return list(dict.fromkeys([*filter(None, env.get("PYTHONPATH", "").split(os.pathsep)), *own]))


def registered(path: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the adapters and the codecs installed on ``path``, each as ``name = module:attribute``."""
    import importlib_metadata  # while the first child boots, so that it delays nothing

    found = {
        (point.group, distribution.name, point.name): f"{point.name} = {point.value}"
        for distribution in reversed(list(importlib_metadata.distributions(path=list(path))))
        for point in distribution.entry_points
        if point.group in (ENTRY_POINTS, CODEC_ENTRY_POINTS)
    }
    adapters = tuple(value for key, value in found.items() if key[0] == ENTRY_POINTS)
    return adapters, tuple(value for key, value in found.items() if key[0] == CODEC_ENTRY_POINTS)
