"""What the package says; edit this module, or __main__.py itself."""

from __future__ import annotations

import os

from livereload_core import preserve

VERSION = "1"  # <-- change it, save, and ask again

tally = preserve("tally", dict[str, int])


def describe() -> dict[str, str | int]:
    return {"version": VERSION, "count": tally.get("hits", 0), "pid": os.getpid()}


def hit() -> dict[str, str | int]:
    tally["hits"] = tally.get("hits", 0) + 1
    return describe()
