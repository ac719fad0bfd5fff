"""What is on disk below a project: folders, .gitignore files, signs of change, kinds of file system."""

from __future__ import annotations

import dataclasses
import os
import threading
import time
from collections.abc import Iterable

from livereload_core.core.watching import WatchRules

__all__ = [
    "TELLING_RULES",
    "Signature",
    "Tree",
    "existing_folder",
    "git_busy",
    "learn_gitignore",
    "learn_gitignores_above",
    "look_through",
    "signature",
    "silent_mount",
]

Signature = tuple[int, int, int, int]
"""Device, inode, size and time of change in nanoseconds: what differs when a file was saved."""

TELLING_RULES = threading.Lock()
"""Held while rules are told anything: they are asked from several threads and told by one at a time."""

_LOCK_LIMIT = 10.0
"""Seconds after which .git/index.lock is a leftover, or that of a commit whose message is being written."""

_SILENT = frozenset(
    {
        *("9p", "drvfs", "virtiofs", "vboxsf", "vmhgfs", "prl_fs", "fakeowner"),
        *("nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "ceph", "glusterfs"),
        *("fuse.sshfs", "fuse.osxfs", "fuse.grpcfuse", "fuse.vmhgfs-fuse", "fuse.s3fs", "fuse.rclone"),
    }
)
"""File systems whose other side changes files without our kernel hearing of it."""


def signature(path: str) -> Signature | None:
    """Return what changes when the file is saved, None if there is no file."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


@dataclasses.dataclass(slots=True)
class Tree:
    """What was found below some folders.

    Attributes:
        folders: the folders that are worth watching.
        files: the files in them.
        links: target of each symlinked file to the symlink.
    """

    folders: list[str] = dataclasses.field(default_factory=list)
    files: list[str] = dataclasses.field(default_factory=list)
    links: dict[str, str] = dataclasses.field(default_factory=dict)


def look_through(tops: Iterable[str], rules: WatchRules) -> Tree:
    """Walk folders, leave out what the rules prune, and tell the rules of each .gitignore on the way.

    Symlinked folders are not entered: they may lead into a loop or to a whole disk. What the program imports
    through one is watched by its real name.
    """
    tree = Tree()
    waiting = list(tops)
    while waiting:
        folder = waiting.pop()
        if rules.prunes(folder):
            continue
        try:
            with os.scandir(folder) as found:
                entries = list(found)
        except OSError:
            continue  # gone by now, or not for us to read; its parent tells when it comes (back)
        tree.folders.append(folder)
        # Before the folders below are judged: this file decides about them.
        if any(entry.name == ".gitignore" for entry in entries):
            learn_gitignore(f"{folder}/.gitignore", rules)
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                waiting.append(entry.path)
            else:
                tree.files.append(entry.path)
                if entry.is_symlink():
                    tree.links[os.path.realpath(entry.path)] = entry.path
    return tree


def learn_gitignores_above(root: str, rules: WatchRules) -> bool:
    """Tell the rules of the .gitignore files from ``root`` up to the top of its repository.

    Returns:
        whether any of them says something else than before.
    """
    top = _repository(root)
    folder = root
    is_news = False
    while top is not None:
        for path in (f"{folder}/.gitignore", f"{folder}/.git/info/exclude"):
            if os.path.isfile(path):
                is_news |= learn_gitignore(path, rules)
        if folder == top:
            break
        folder = os.path.dirname(folder)
    return is_news


def learn_gitignore(path: str, rules: WatchRules) -> bool:
    """Tell the rules what a .gitignore says now; returns whether that is something else than before."""
    # Read and told in one go: two threads may be here, and the older text must not come last.
    with TELLING_RULES:
        try:
            with open(path, encoding="utf-8", errors="replace") as file:
                text: str | None = file.read()
        except OSError:
            text = None
        return rules.set_gitignore(path, text)


def git_busy(root: str) -> bool:
    """Whether git is rewriting the files of the repository that ``root`` belongs to."""
    top = _repository(os.path.realpath(root))
    if top is None:
        return False
    git = f"{top}/.git"
    try:
        if os.path.isfile(git):
            # A worktree or a submodule: "gitdir: <path>", which may be relative
            with open(git, encoding="utf-8", errors="surrogateescape") as file:
                git = os.path.join(top, file.read().removeprefix("gitdir:").strip())
        age = time.time() - os.stat(f"{git}/index.lock").st_mtime
    except (OSError, ValueError):
        return False  # no lock
    # The clock of the file system is the wall clock, which may jump: an age below zero says nothing.
    return abs(age) < _LOCK_LIMIT


def existing_folder(path: str) -> str:
    """Return the innermost folder above ``path`` that exists."""
    folder = os.path.dirname(path)
    while not os.path.isdir(folder) and folder != "/":
        folder = os.path.dirname(folder)
    return folder


def silent_mount(path: str, mounts: str = "/proc/mounts") -> str:
    """Return the type of the file system of ``path`` if changes there may go unheard, else ``""``."""
    try:
        with open(mounts, encoding="utf-8", errors="surrogateescape") as file:
            lines = [line.split() for line in file]
    except OSError:
        return ""  # not Linux
    best, kind = "", ""
    real = os.path.realpath(path)
    for fields in lines:
        if len(fields) < 3:
            continue
        place = fields[1].replace("\\040", " ").replace("\\011", "\t").rstrip("/")
        # Later lines of the same place are mounted over the earlier ones.
        if len(place) >= len(best) and f"{real}/".startswith(f"{place}/"):
            best, kind = place, fields[2]
    return kind if kind in _SILENT else ""


def _repository(folder: str) -> str | None:
    while not os.path.exists(f"{folder}/.git"):
        above = os.path.dirname(folder)
        if above == folder:
            return None
        folder = above
    return folder
