"""``livecore state``, ``reset`` and ``rollback``: looks at state, and asks the run to go back to one.

A run hands out copies of what it holds, as files in a private folder; without a run the file that the last
one has saved is looked at. What is in them is decoded here, and nothing of the program is imported for that.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

from livereload_core.cli.client import palette, tell_reload
from livereload_core.cli.config import project_root
from livereload_core.cli.statewords import BEFORE, NOW, SAVED, Source, StateCommand
from livereload_core.errors import LivecoreError, SnapshotError, UsageError
from livereload_core.parent.control import Message, find_runs, request
from livereload_core.parent.saving import BEFORE as BEFORE_SUFFIX
from livereload_core.parent.saving import SUFFIX, clock
from livereload_core.posix.private import cache_base, project_folder, read_private, write_private
from livereload_core.ui.statediff import differences
from livereload_core.ui.states import render_differences, render_list, render_root
from livereload_core.ui.statetree import DEEPEST, Limits, Viewer
from livereload_core.wire import layers, pickles, saved, snapshots

__all__ = ["perform"]

_EVERYTHING = 1 << 60
_SLOW = 60.0
"""Seconds that a run may take to hand a copy out: gigabytes go through a disk."""

Print = Callable[[str], None]


@dataclasses.dataclass(frozen=True, slots=True)
class Opened:
    """A state that can be looked at.

    Attributes:
        head: the snapshot.
        about: what its file tells of itself.
        data: the file.
        title: which one it is, for people.
        segments: what the snapshot refers to.
    """

    head: snapshots.Head
    about: saved.About
    data: bytes
    title: str
    segments: list[memoryview]

    @property
    def keys(self) -> list[str]:
        """The keys of its objects."""
        return [str(fields["key"]) for fields in self.head.roots]

    def fields(self, key: str) -> dict[str, Any] | None:
        """Return what the index says of an object."""
        return next((fields for fields in self.head.roots if fields["key"] == key), None)

    def tree(self, key: str) -> Any:
        """Return what an object is made of."""
        fields = self.fields(key)
        assert fields is not None
        table = self.head.index["tables"][fields["table"]]
        try:
            node = pickles.read(self.head.stream(fields), table)
            return layers.flattened(node, fields, self.head.index, self.segments)
        except pickles.PickleDamageError as error:
            raise LivecoreError(f"the stream of {key} {error}") from error


def perform(command: StateCommand, cwd: str, *, print_: Print, warn: Print) -> int:
    """Carry out a command about state.

    Args:
        command: what was asked for.
        cwd: the working directory: run and saved state are found from here.
        print_: writes the answer.
        warn: writes a sentence beside it.

    Returns:
        the exit code.

    Raises:
        LivecoreError: there is no such run, state or object, or the run refused.
    """
    return _Client(command, cwd, print_, warn).perform()


class _Client:
    def __init__(self, command: StateCommand, cwd: str, print_: Print, warn: Print) -> None:
        self._command = command
        self._cwd = cwd
        self._root = project_root(cwd)
        self._print = print_
        self._warn = warn

    def perform(self) -> int:
        done: dict[str, Callable[[], int]] = {
            "ls": self._list,
            "show": self._show,
            "diff": self._diff,
            "export": self._export,
            "restore": self._restore,
            "rollback": self._roll_back,
            "reset": self._reset,
        }
        return done[self._command.op]()

    # -- looking --------------------------------------------------------------------------------------

    def _list(self) -> int:
        answer: Message = {"states": [], "saved": ""}
        runs = self._runs()
        if runs:
            answer = self._ask({"op": "states"})
        files = []
        for path in self._saved_files(answer.get("saved") or ""):
            try:
                opened = self._open_file(path, path)
            except LivecoreError as error:
                self._warn(str(error))
                continue
            word = BEFORE if path.endswith(BEFORE_SUFFIX) else SAVED
            row = {"word": word, "path": path, "taken": opened.about.saved, "size": len(opened.data)}
            files.append({**row, "target": opened.about.target, "roots": opened.keys})
        if self._command.json:
            self._print(json.dumps({"states": answer["states"], "files": files}) + "\n")
            return 0
        if not answer["states"] and not files:
            raise UsageError(self._nothing(), advice="start a program that calls preserve()")
        self._print(render_list(answer["states"], files, answer.get("too_large", 0), clock, palette()))
        return 0

    def _show(self) -> int:
        command = self._command
        opened = self._open(command.sources[0] if command.sources else Source(word=NOW))
        keys = [snapshots.whole_key(word, opened.keys) for word in command.keys] or opened.keys
        limits = self._limits()
        shown = []
        for key in keys:
            fields = opened.fields(key)
            assert fields is not None
            lost = str(fields["lost"])
            view = None if lost else Viewer(limits, fields["classes"]).view(opened.tree(key), key)
            shown.append((fields, view))
        if command.json:
            roots = [
                {
                    **{name: fields[name] for name in ("key", "form", "version", "type", "born", "lost")},
                    "tree": view.as_json() if view else None,
                }
                for fields, view in shown
            ]
            head = {"generation": opened.head.generation, "taken": opened.about.saved}
            self._print(json.dumps({**head, "python": list(opened.head.python), "roots": roots}) + "\n")
            return 0
        self._print("".join(render_root(fields, view, opened.title, palette()) for fields, view in shown))
        if not shown:
            self._print(f"{opened.title}: nothing is preserved\n")
        return 0

    def _diff(self) -> int:
        first, second = (*self._command.sources, Source(word=NOW))[:2]
        was, now = self._open(first), self._open(second)
        found, lost = [], []
        limits = self._limits()
        for key in dict.fromkeys([*was.keys, *now.keys]):
            one, other = was.fields(key), now.fields(key)
            if one is None or other is None or one["lost"] or other["lost"]:
                states = [_presence(one), _presence(other)]
                if states[0] != states[1]:
                    lost.append({"key": key, "was": states[0], "now": states[1]})
                continue
            shapes = one["classes"], other["classes"]
            found += differences(key, was.tree(key), now.tree(key), limits, shapes)
        if self._command.json:
            rows = [dataclasses.asdict(difference) for difference in found]
            self._print(json.dumps({"was": was.title, "now": now.title, "roots": lost, "differences": rows}))
            self._print("\n")
            return 0
        most = len(found) if self._command.all else 200
        self._print(render_differences(was.title, now.title, lost, found, most, palette()))
        return 0

    def _limits(self) -> Limits:
        command = self._command
        usual = Limits(reveal=command.reveal)
        if command.all:
            return Limits(command.depth or DEEPEST, _EVERYTHING, _EVERYTHING, command.reveal)
        return usual if command.depth is None else dataclasses.replace(usual, depth=command.depth)

    def _export(self) -> int:
        path = os.path.join(self._cwd, os.path.expanduser(self._command.file))
        folder = os.path.dirname(path)
        if not os.path.isdir(folder):  # else a slip of the pen would make one
            raise UsageError(
                f"{path} cannot be written: there is no folder {folder}",
                advice="make it, or name another file",
            )
        opened = self._open(self._command.sources[0] if self._command.sources else Source(word=NOW))
        try:
            write_private(path, [opened.data], durable=True)
        except OSError as error:
            raise UsageError(
                f"{path} cannot be written: {error.strerror or error}", advice="name another file"
            ) from error
        count = len(opened.keys)
        self._print(f"wrote {opened.title}, {count} object{'s' * (count != 1)}, to {path}\n")
        return 0

    # -- going back -------------------------------------------------------------------------------------

    def _restore(self) -> int:
        source = self._command.sources[0]
        if source.generation is not None:
            return self._reload({"op": "restore", "generation": source.generation})
        path = self._path(source)
        self._open_file(path, str(source))  # says what is wrong with it before anything is asked of the run
        return self._reload({"op": "restore", "file": os.path.realpath(path)})

    def _roll_back(self) -> int:
        if self._command.sources:
            return self._reload({"op": "restore", "generation": self._command.sources[0].generation})
        return self._reload({"op": "rollback"})

    def _reset(self) -> int:
        return self._reload({"op": "reset", "keys": list(self._command.keys)})

    def _reload(self, message: Message) -> int:
        return tell_reload(self._ask(message, timeout=None), self._print)

    # -- where states are -----------------------------------------------------------------------------

    def _runs(self) -> bool:
        runs = find_runs(self._root)
        if self._command.pid is not None:
            return True  # if it is wrong, the request says so
        return any(run.exact or run.cwd == self._cwd for run in runs)

    def _ask(self, message: Message, timeout: float | None = _SLOW) -> Message:
        return request(self._root, message, pid=self._command.pid, timeout=timeout, cwd=self._cwd)

    def _open(self, source: Source) -> Opened:
        if source.file or source.word in (SAVED, BEFORE):
            return self._open_file(self._path(source), str(source))
        if not self._runs():
            if source.generation is not None:
                raise UsageError(
                    f"no state of generation {source.generation} is kept: nothing runs in {self._root}",
                    advice="`saved` is what the last run has left",
                )
            return self._open_file(self._path(Source(word=SAVED)), SAVED)
        with _private_folder() as folder:
            path = os.path.join(folder, "copy")
            answer = self._ask({"op": "copy", "generation": source.generation, "path": path})
            number, taken = answer.get("generation"), float(answer.get("taken") or 0)
            if answer.get("stale"):
                self._warn(f"this is not the state of now, but of {clock(taken)}: {answer['stale']}")
            whose = f"generation {number}" if number else "the run before"
            return self._open_file(path, f"state of {whose}, {clock(taken)}", named=True)

    def _open_file(self, path: str, word: str, *, named: bool = False) -> Opened:
        try:
            data = read_private(os.path.realpath(path))
            found = saved.read(data)
            head = snapshots.read(found.snapshot, any_python=True)
        except SnapshotError as error:
            raise LivecoreError(f"{path} {str(error).removeprefix('snapshot ')}") from error
        except OSError as error:
            raise UsageError(
                f"{path}: {error.strerror or error}", advice="see `livecore state ls`"
            ) from error
        title = word if named else f"{word}, {clock(found.about.saved)}"
        return Opened(head, found.about, data, title, list(found.segments))

    def _path(self, source: Source) -> str:
        if source.file:
            return os.path.join(self._cwd, os.path.expanduser(source.file))
        suffix = "" if source.word == SAVED else BEFORE_SUFFIX
        if self._runs():
            mine = str(self._ask({"op": "states"}).get("saved") or "")
            if not mine or not os.path.exists(mine + suffix):
                raise UsageError(f"this run has no state {source.word!r}", advice="see `livecore state ls`")
            return mine + suffix
        files = [path for path in self._saved_files("") if path.endswith(SUFFIX + suffix)]
        if not files:
            raise UsageError(self._nothing(), advice="start the program with `livecore run TARGET`")
        if len(files) > 1:
            listed = ", ".join(f"{path} ({_target_of(path)})" for path in files)
            raise UsageError(f"{len(files)} targets have one: {listed}", advice="name the file")
        return files[0]

    def _saved_files(self, mine: str) -> list[str]:
        """Return the saved states of this project; of a script, those of runs that were started here."""
        folders = [project_folder(self._root)]
        if mine:
            folders.append(os.path.dirname(mine))
        found = _state_files(folders)
        if not found:
            with contextlib.suppress(OSError):
                others = [os.path.join(cache_base(), name) for name in sorted(os.listdir(cache_base()))]
                found = [path for path in _state_files(others) if _about(path).cwd == self._cwd]
        return found

    def _nothing(self) -> str:
        return f"nothing runs in {self._root}, and no state is saved"


def _state_files(folders: list[str]) -> list[str]:
    found = []
    for folder in dict.fromkeys(folders):
        with contextlib.suppress(OSError):
            names = sorted(os.listdir(folder))
            found += [
                os.path.join(folder, name)
                for name in names
                if name.endswith((SUFFIX, SUFFIX + BEFORE_SUFFIX)) and not name.startswith(".")
            ]
    return found


def _about(path: str) -> saved.About:
    try:
        return saved.tell(read_private(path, last=1 << 16))
    except (OSError, SnapshotError):  # not ours to look at, or damaged: it is none of this folder's
        return saved.About()


def _target_of(path: str) -> str:
    return _about(path).target or "of an unknown target"


def _presence(fields: dict[str, Any] | None) -> str:
    if fields is None:
        return ""
    return f"lost: {fields['lost']}" if fields["lost"] else "there"


@contextlib.contextmanager
def _private_folder() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="livecore-") as folder:  # 0700
        yield folder
