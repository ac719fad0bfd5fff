"""Saving files as editors do."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

__all__ = ["EditStyle", "edit", "write"]

EditStyle = Literal["rename", "inplace", "recreate"]
"""How a file is saved: atomically by a rename (vim, PyCharm), in place (VS Code, nano), or deleted first."""


def write(path: Path, content: str | bytes, *, how: EditStyle = "rename", mtime: float | None = None) -> None:
    """Save a file.

    Args:
        path: the file; its folder exists.
        content: what it holds afterwards.
        how: the way of saving.
        mtime: set as the time of change, so that two versions can look equal to a cache.
    """
    data = content.encode() if isinstance(content, str) else content
    if how == "rename":
        # The name is one that every reloader ignores, as the temporary names of editors are.
        beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        beside.write_bytes(data)
        if mtime is not None:
            os.utime(beside, (mtime, mtime))
        beside.replace(path)
        return
    if how == "recreate":
        path.unlink()
    path.write_bytes(data)
    if mtime is not None:
        os.utime(path, (mtime, mtime))


def edit(path: Path, old: str, new: str, *, how: EditStyle = "rename", mtime: float | None = None) -> None:
    """Replace ``old``, which must be there exactly once, and save the file."""
    text = path.read_text()
    if text.count(old) != 1:
        raise ValueError(f"{old!r} stands {text.count(old)} times in {path}, expected once:\n{text}")
    write(path, text.replace(old, new), how=how, mtime=mtime)
