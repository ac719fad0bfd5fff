"""A look at what the last run has saved: no run is needed, and none of the program's code."""

from __future__ import annotations

import json
import os
import pickle
import zlib
from pathlib import Path
from typing import Any

import pytest

from livereload_core.cli.parser import settings_from
from livereload_core.cli.states import perform
from livereload_core.cli.statewords import StateCommand
from livereload_core.core.settings import Settings, Target, TargetKind
from livereload_core.errors import LivecoreError, UsageError
from livereload_core.parent.saving import BEFORE, saved_path
from livereload_core.posix.private import write_private
from livereload_core.state.snapshot import Entry, Kind, pack
from livereload_core.wire import saved, snapshots


class Project:
    """A project whose runs have all ended."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.warned: list[str] = []

    def save(self, target: str = "app", word: str = "saved", when: float = 1e9, **roots: Any) -> str:
        place = str(self.folder)
        settings = Settings(Target(TargetKind.MODULE, target), cwd=place, root=place, app_dir=place)
        path = saved_path(settings) + (BEFORE if word == "before" else "")
        entries = [
            Entry(f"app:{name}", "value", Kind.SHELL, 1, "builtins:dict", stream=pickle.dumps(value, 5))
            for name, value in roots.items()
        ]
        head = snapshots.read(pack(entries, 3))
        about = saved.About(when, target, place, place, "3.12.0", "run")
        write_private(path, saved.parts(snapshots.alone(head), about))
        return path

    def ask(self, *words: str) -> str:
        command = settings_from(words, {}, str(self.folder))
        assert isinstance(command, StateCommand)
        out: list[str] = []
        assert perform(command, str(self.folder), print_=out.append, warn=self.warned.append) == 0
        return "".join(out)

    def refused(self, *words: str) -> str:
        with pytest.raises(LivecoreError) as caught:
            self.ask(*words)
        assert "\n" not in str(caught.value)
        return str(caught.value)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "pyproject.toml").touch()
    return Project(folder)


def test_the_saved_state_is_what_is_shown_without_a_run(project: Project) -> None:
    project.save(users={"ann": 1}, password="hunter2")
    shown = project.ask("state", "show")
    assert "app:users  saved, 2001-09-09" in shown
    assert "'ann'  1" in shown
    assert "hunter2" not in shown
    assert "hunter2" in project.ask("state", "show", "password", "--reveal")
    (root,) = json.loads(project.ask("state", "show", "users", "--json"))["roots"]
    assert root["tree"]["children"][0] == {"kind": "int", "value": 1, "label": "'ann'"}


def test_depth_and_all_say_how_much(project: Project) -> None:
    project.save(deep={"a": {"b": {"c": {"d": {"e": {"f": 1}}}}}}, wide=list(range(100)))
    assert "'d'" in project.ask("state", "show", "deep")
    assert "'e'" not in project.ask("state", "show", "deep")
    assert "'b'" not in project.ask("state", "show", "deep", "--depth", "1")
    assert "'f'  1" in project.ask("state", "show", "deep", "--all")
    assert "… 80 more" in project.ask("state", "show", "wide")
    assert "more" not in project.ask("state", "show", "wide", "--all")


def test_saved_states_are_listed_and_compared(project: Project) -> None:
    project.save(word="before", counts={"n": 1}, gone={})
    project.save(counts={"n": 2}, new={})
    listed = project.ask("state", "ls")
    assert [line.split()[0] for line in listed.splitlines()] == ["saved", "before"]
    files = json.loads(project.ask("state", "ls", "--json"))["files"]
    assert [file["roots"] for file in files] == [["app:counts", "app:new"], ["app:counts", "app:gone"]]
    found = project.ask("state", "diff", "before", "saved")
    assert "app:counts['n']  1 → 2" in found
    assert "app:gone  there → not there" in found
    assert "app:new  not there → there" in found
    assert "no difference" in project.ask("state", "diff", "saved", "saved")


def test_a_state_is_exported_and_read_from_there(project: Project) -> None:
    project.save(counts={"n": 1})
    assert "1 object, to " in project.ask("state", "export", "mine.state")
    assert (project.folder / "mine.state").stat().st_mode & 0o777 == 0o600
    project.save(counts={"n": 2})
    assert "app:counts['n']  1 → 2" in project.ask("state", "diff", "mine.state", "saved")
    (project.folder / "link").symlink_to("mine.state")
    assert "'n'  1" in project.ask("state", "show", "--generation", "link")


def test_what_is_not_there_is_said_with_what_to_do(project: Project) -> None:
    assert "and no state is saved; start the program" in project.refused("state", "show")
    assert "and no state is saved; start a program" in project.refused("state", "ls")
    project.save(counts={})
    assert "did you mean 'app:counts'?" in project.refused("state", "show", "count")
    assert "no state of generation 3 is kept: nothing runs" in project.refused("state", "diff", "3")
    assert "no state is saved" in project.refused("state", "show", "--generation", "before")
    assert "nothing runs in" in project.refused("state", "restore", "saved")
    assert "nothing runs in" in project.refused("state", "restore", "3")
    for words in (("rollback",), ("reset",), ("reset", "counts")):
        assert "nothing runs in" in project.refused(*words)


def test_several_targets_are_told_apart(project: Project) -> None:
    first, second = project.save("app", a={}), project.save("worker", b={})
    sentence = project.refused("state", "show")
    assert f"{first} (app)" in sentence
    assert f"{second} (worker)" in sentence
    assert "app:b" in project.ask("state", "show", "--generation", second)


def test_a_script_of_another_root_is_found_from_where_it_was_started(project: Project) -> None:
    place = str(project.folder)
    settings = Settings(Target(TargetKind.SCRIPT, "sub/a.py"), cwd=place, root=f"{place}/sub", app_dir=place)
    head = snapshots.read(pack([], 1))
    about = saved.About(1e9, "sub/a.py", f"{place}/sub", place, "3.12.0", "run")
    write_private(saved_path(settings), saved.parts(snapshots.alone(head), about))
    assert "nothing is preserved" in project.ask("state", "show")


def test_a_damaged_file_is_named_and_the_others_are_listed(project: Project) -> None:
    good, bad = project.save("app", a={}), project.save("worker", b={})
    content = Path(bad).read_bytes()
    Path(bad).write_bytes(content[:50] + b"\xff" + content[51:])
    listed = project.ask("state", "ls")
    assert good in listed
    assert bad not in listed
    (warning,) = project.warned
    assert warning.startswith(f"{bad} is damaged")
    assert "is damaged" in project.refused("state", "show", "--generation", bad)


def test_a_file_of_others_is_not_looked_at(project: Project) -> None:
    path = project.save(a={})
    os.chmod(path, 0o666)
    assert "can be written by other users" in project.refused("state", "show")


def _with_index(path: str, change: Any) -> None:
    """Write a file whose index says something else, with right checksums."""
    found = saved.read(Path(path).read_bytes())
    head = snapshots.read(found.snapshot)
    change(head.index)
    index = json.dumps(head.index).encode()
    header = snapshots.HEADER.pack(
        snapshots.MAGIC, snapshots.FORMAT, *head.python, head.generation, len(index), len(head.streams)
    )
    checksum = zlib.crc32(head.streams, zlib.crc32(index, zlib.crc32(header)))
    pieces: list[bytes | memoryview] = [header + snapshots.CHECKSUM.pack(checksum) + index, head.streams]
    Path(path).write_bytes(b"".join(saved.parts(pieces, found.about)))


@pytest.mark.parametrize(
    "change",
    [
        lambda index: index.pop("roots"),
        lambda index: index.pop("tables"),
        lambda index: index.update(roots=5),
        lambda index: index.update(roots=[5]),
        lambda index: index.update(tables=[[5]]),
        lambda index: index["roots"][0].pop("key"),
        lambda index: index["roots"][0].update(key=None),
        lambda index: index["roots"][0].update(length=1 << 60),
        lambda index: index["roots"][0].update(offset=-1),
        lambda index: index["roots"][0].update(table=7),
        lambda index: index["roots"][0].update(table=-1),
        lambda index: index["roots"][0].update(classes=[]),
        lambda index: index["roots"][0].update(lost={}),
        lambda index: index["roots"][0].update(version="1"),
        lambda index: index["roots"][0].update(fds=None),
    ],
)
def test_an_index_that_lies_is_refused_with_a_sentence(project: Project, change: Any) -> None:
    path = project.save(a={})
    _with_index(path, change)
    assert "has an index that cannot be read" in project.refused("state", "show")


def test_shapes_that_lie_are_not_gone_by(project: Project) -> None:
    path = project.save(a=Settings(Target(TargetKind.MODULE, "x"), "", "", ""))
    name = f"{Settings.__module__}:Settings"
    shapes: list[Any] = [5, [], {"fields": 5}, {"fields": {"a": 1}}, {"fields": [[]]}]
    for shape in shapes:
        _with_index(path, lambda index, shape=shape: index["roots"][0].update(classes={name: shape}))
        assert "Settings" in project.ask("state", "show")


def test_a_stream_that_is_damaged_within_is_refused_with_a_sentence(project: Project) -> None:
    path = project.save(a={"x": 1})
    _with_index(path, lambda index: index["roots"][0].update(length=5))
    assert "the stream of app:a ends in the midst of a value" in project.refused("state", "show")


def test_a_usage_error_ends_with_its_code(project: Project) -> None:
    with pytest.raises(UsageError) as caught:
        project.ask("state", "show")
    assert caught.value.exit_code == 2
