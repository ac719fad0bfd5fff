"""Only finished writes are told, and none of them is lost."""

from __future__ import annotations

import os
import select
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from livereload_core.posix.inotify import Inotify


@pytest.fixture
def inotify() -> Iterator[Inotify]:
    watch = Inotify()
    yield watch
    watch.close()


def _readable(inotify: Inotify) -> bool:
    return bool(select.select([inotify.fileno()], [], [], 0)[0])


def test_a_file_is_told_when_it_is_closed_and_not_while_it_is_written(
    inotify: Inotify, tmp_path: Path
) -> None:
    assert inotify.add(str(tmp_path))
    path = tmp_path / "app.py"
    with path.open("w") as file:
        file.write("half")
        file.flush()
        os.fsync(file.fileno())
        assert not _readable(inotify)
        assert inotify.read() == frozenset()
    assert _readable(inotify)
    assert inotify.read() == {str(path)}
    assert not _readable(inotify)
    assert inotify.read() == frozenset()


def test_a_file_renamed_into_place_is_told_under_its_new_name(inotify: Inotify, tmp_path: Path) -> None:
    beside = tmp_path / "elsewhere"
    beside.mkdir()
    (beside / "new").write_text("x")
    watched = tmp_path / "watched"
    watched.mkdir()
    inotify.add(str(watched))
    (beside / "new").replace(watched / "app.py")
    assert inotify.read() == {str(watched / "app.py")}


def test_a_rename_within_the_folder_is_told_once_and_not_under_the_old_name(
    inotify: Inotify, tmp_path: Path
) -> None:
    (tmp_path / "old.py").write_text("x")
    inotify.add(str(tmp_path))
    (tmp_path / "old.py").replace(tmp_path / "new.py")
    assert inotify.read() == {str(tmp_path / "new.py")}


def test_reading_changing_the_mode_and_removing_a_file_are_no_writes(
    inotify: Inotify, tmp_path: Path
) -> None:
    path = tmp_path / "app.py"
    path.write_text("x")
    inotify.add(str(tmp_path))
    path.read_text()
    path.chmod(0o600)
    path.unlink()
    (tmp_path / "folder").mkdir()
    assert inotify.read() == frozenset()


def test_several_saves_of_one_file_are_told_as_one(inotify: Inotify, tmp_path: Path) -> None:
    inotify.add(str(tmp_path))
    for number in range(5):
        (tmp_path / "app.py").write_text(str(number))
    assert inotify.read() == {str(tmp_path / "app.py")}


def test_each_of_many_files_is_told_over_as_many_reads_as_it_takes(inotify: Inotify, tmp_path: Path) -> None:
    inotify.add(str(tmp_path))
    written = set()
    for number in range(1500):  # more than one read takes
        path = tmp_path / f"a_module_with_a_rather_long_name_{number}.py"
        path.touch()
        written.add(str(path))
    told: set[str] = set()
    reads = 0
    while _readable(inotify):
        told |= inotify.read()
        reads += 1
    assert told == written
    assert reads > 1


def test_files_of_several_folders_are_told_with_their_folder(inotify: Inotify, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        assert inotify.add(str(tmp_path / name))
    (tmp_path / "one" / "app.py").touch()
    (tmp_path / "two" / "app.py").touch()
    assert inotify.read() == {str(tmp_path / "one" / "app.py"), str(tmp_path / "two" / "app.py")}


def test_folders_below_are_not_watched(inotify: Inotify, tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    inotify.add(str(tmp_path))
    (tmp_path / "below" / "app.py").touch()
    assert inotify.read() == frozenset()


def test_a_folder_is_watched_once_however_often_it_is_added(inotify: Inotify, tmp_path: Path) -> None:
    assert inotify.add(str(tmp_path))
    assert inotify.add(str(tmp_path))
    (tmp_path / "app.py").touch()
    assert inotify.read() == {str(tmp_path / "app.py")}


@pytest.mark.parametrize("kind", ["missing", "file"])
def test_what_is_no_folder_cannot_be_watched(inotify: Inotify, tmp_path: Path, kind: str) -> None:
    path = tmp_path / kind
    if kind == "file":
        path.touch()
    assert not inotify.add(str(path))


def test_a_removed_folder_is_forgotten_and_its_successor_can_be_watched(
    inotify: Inotify, tmp_path: Path
) -> None:
    folder = tmp_path / "package"
    folder.mkdir()
    inotify.add(str(folder))
    shutil.rmtree(folder)
    assert inotify.read() == frozenset()
    folder.mkdir()
    assert inotify.add(str(folder))
    (folder / "app.py").touch()
    assert inotify.read() == {str(folder / "app.py")}


def test_what_was_written_before_the_folder_was_removed_is_still_told(
    inotify: Inotify, tmp_path: Path
) -> None:
    folder = tmp_path / "package"
    folder.mkdir()
    inotify.add(str(folder))
    (folder / "app.py").touch()
    shutil.rmtree(folder)
    assert inotify.read() == {str(folder / "app.py")}


def test_names_that_are_no_text_are_told_as_python_has_them(inotify: Inotify, tmp_path: Path) -> None:
    inotify.add(str(tmp_path))
    names = ["grün.py", "with space.py", os.fsdecode(b"\xff\xfe.py")]
    for name in names:
        (tmp_path / name).touch()
    assert inotify.read() == {str(tmp_path / name) for name in names}


def test_closing_twice_is_harmless_and_leaves_no_fd() -> None:
    inotify = Inotify()
    fd = inotify.fileno()
    assert not os.get_inheritable(fd)
    assert os.readlink(f"/proc/self/fd/{fd}") == "anon_inode:inotify"
    inotify.close()
    inotify.close()
    with pytest.raises(OSError):
        os.fstat(fd)
