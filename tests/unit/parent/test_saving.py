"""State on disk: written beside what serves, and read only if it is whole, ours and of this Python."""

from __future__ import annotations

import asyncio
import dataclasses
import errno
import functools
import os
import stat
import sys
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from livereload_core.core.records import Notice
from livereload_core.core.settings import Settings, Target, TargetKind
from livereload_core.errors import SnapshotError
from livereload_core.parent import saving as saving_module
from livereload_core.parent.saving import BEFORE, Saving, clock, load, saved_path
from livereload_core.parent.snapshots import HeldSnapshot
from livereload_core.posix import memfd
from livereload_core.posix.private import write_private
from livereload_core.state.snapshot import Entry, Kind, pack, unpack
from livereload_core.wire import snapshots


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(saving_module, "DELAY", 0.0)
    monkeypatch.setattr(saving_module, "LEAST", 0.0)
    monkeypatch.setattr(saving_module, "DUTY", 0)
    place = str(tmp_path)
    target = Target(TargetKind.ATTRIBUTE, "app", "app", ("--verbose",))
    return Settings(target, cwd=place, root=place, app_dir=place)


class Run:
    """As much of a run as saving needs."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.said: list[str] = []
        self.loop = asyncio.get_running_loop()

    def emit(self, record: Any) -> None:
        assert isinstance(record, Notice)
        self.said.append(record.text)


def snapshot(value: bytes, key: str = "app:x") -> bytes:
    roots = [Entry(key, "value", Kind.SHELL, 1, "builtins:dict", (), (), stream=value)] if value else []
    return pack(roots, 3)


def held(value: bytes) -> HeldSnapshot:
    return HeldSnapshot([memfd.create(snapshot(value))])


def play(settings: Settings, work: Callable[[Run, Saving], Awaitable[None]], **changes: Any) -> list[str]:
    """Do something with the saving of a run, from its start to its end; returns what was said."""

    async def main() -> list[str]:
        run = Run(dataclasses.replace(settings, **changes))
        saving = Saving(run)  # type: ignore[arg-type]
        try:
            await work(run, saving)
        finally:
            await saving.close()
        return run.said

    return asyncio.run(asyncio.wait_for(main(), 30))


async def until(fact: Callable[[], object]) -> None:
    """Let the loop run until something is so; whoever waits in vain is ended by :func:`play`."""
    while not fact():  # noqa: ASYNC110 - another thread makes it so
        await asyncio.sleep(0.01)


def content_of(path: str) -> bytes:
    _, again = load(path)
    return memfd.read(again.memory.fd)


def value_of(path: str) -> bytes:
    return bytes(unpack(content_of(path)).entries["app:x"].stream)


def saved(path: str) -> bool:
    return os.path.exists(path)


def holds(path: str, value: bytes) -> bool:
    return saved(path) and value_of(path) == value


def save(settings: Settings, value: bytes) -> list[str]:
    async def work(run: Run, saving: Saving) -> None:
        saving.open()
        saving.note(held(value))

    return play(settings, work)


def resume(settings: Settings) -> tuple[HeldSnapshot | None, list[str]]:
    found: list[HeldSnapshot | None] = []

    async def work(run: Run, saving: Saving) -> None:
        found.append(saving.open())

    said = play(settings, work, resume=True)
    return found[0], said


def test_what_was_noted_last_is_there_in_the_next_run(settings: Settings) -> None:
    async def work(run: Run, saving: Saving) -> None:
        assert saving.open() is None
        for number in range(5):
            saving.note(held(b"%d" % number))

    assert play(settings, work) == []
    again, said = resume(settings)
    assert again is not None
    assert again.resumed
    assert unpack(memfd.read(again.memory.fd)).entries["app:x"].stream == b"4"
    assert said == [f"resumes the state of {clock(again.taken)}"]


def test_it_is_for_its_owner_alone(settings: Settings) -> None:
    save(settings, b"a")
    path = Path(saved_path(settings))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert path.stat().st_uid == os.getuid()
    assert sorted(os.listdir(path.parent)) == [path.name, f"{path.name}.lock"]


def test_it_is_written_while_the_run_goes_on(settings: Settings) -> None:
    """Whoever kills livecore finds nearly all of it."""

    async def work(run: Run, saving: Saving) -> None:
        saving.open()
        for number in range(3):
            saving.note(held(b"%d" % number))
            await until(functools.partial(holds, saving.path, b"%d" % number))

    play(settings, work)


def test_the_loop_does_not_wait_for_the_disk(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    gate, begun = threading.Event(), threading.Event()

    def slow(*args: Any, **options: Any) -> int:
        begun.set()
        assert gate.wait(20)
        return write_private(*args, **options)

    monkeypatch.setattr(saving_module, "write_private", slow)

    async def work(run: Run, saving: Saving) -> None:
        saving.open()
        saving.note(held(b"1"))
        await until(begun.is_set)
        saving.note(held(b"2"))  # the loop runs: this line is reached
        gate.set()

    play(settings, work)
    assert value_of(saved_path(settings)) == b"2"


@pytest.mark.parametrize(("limit", "value"), [("LEAST", 60.0), ("DUTY", 1e9), ("RATE", 1.0)])
def test_writes_keep_their_distance(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, limit: str, value: float
) -> None:
    monkeypatch.setattr(saving_module, limit, value)
    writes = []

    def counted(*args: Any, **options: Any) -> int:
        writes.append(1)
        return write_private(*args, **options)

    monkeypatch.setattr(saving_module, "write_private", counted)

    async def work(run: Run, saving: Saving) -> None:
        saving.open()
        saving.note(held(b"0"))
        await until(lambda: writes)
        for number in range(50):
            saving.note(held(b"%d" % number))
            await asyncio.sleep(0)

    play(settings, work)
    assert len(writes) == 2, "the first, and the last at the end"
    assert value_of(saved_path(settings)) == b"49"


def test_a_run_that_was_not_told_to_go_on_says_that_it_could(settings: Settings) -> None:
    save(settings, b"a")

    async def work(run: Run, saving: Saving) -> None:
        assert saving.open() is None

    (said,) = play(settings, work)
    assert "--resume goes on with it, this run starts afresh" in said


def test_what_a_fresh_run_finds_is_moved_aside_and_not_lost(settings: Settings) -> None:
    save(settings, b"first")
    save(settings, b"second")
    path = saved_path(settings)
    assert value_of(path) == b"second"
    assert value_of(path + BEFORE) == b"first"


def test_a_run_that_went_on_moves_nothing_aside(settings: Settings) -> None:
    save(settings, b"first")

    async def work(run: Run, saving: Saving) -> None:
        assert saving.open() is not None
        saving.note(held(b"second"))

    play(settings, work, resume=True)
    path = saved_path(settings)
    assert value_of(path) == b"second"
    assert not os.path.exists(path + BEFORE)


def test_a_program_without_state_leaves_what_another_has_saved(settings: Settings) -> None:
    save(settings, b"first")
    save(settings, b"")
    assert value_of(saved_path(settings)) == b"first"


def test_a_run_that_may_not_save_does_not(settings: Settings) -> None:
    assert save(dataclasses.replace(settings, save=False), b"a") == []
    assert not os.path.exists(saved_path(settings))


def test_each_target_has_its_own(settings: Settings) -> None:
    other = dataclasses.replace(settings, target=dataclasses.replace(settings.target, args=("--quiet",)))
    assert saved_path(settings) != saved_path(other)


def test_of_two_runs_of_one_target_the_first_one_saves(settings: Settings) -> None:
    async def work(run: Run, saving: Saving) -> None:
        saving.open()
        second = Saving(run)  # type: ignore[arg-type]
        second.open()
        second.note(held(b"second"))
        second.note(held(b"second"))
        await second.close()
        assert not saved(saving.path)
        saving.note(held(b"first"))

    said = play(settings, work)
    assert said == ["another run of this target saves its state; the one of this run is not saved"]
    assert value_of(saved_path(settings)) == b"first"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EROFS])
def test_a_full_or_broken_disk_is_said_once_and_the_next_write_is_tried(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    broken = True
    tried = 0

    def failing(*args: Any, **options: Any) -> int:
        nonlocal tried
        tried += 1
        if broken:
            raise OSError(number, os.strerror(number))
        return write_private(*args, **options)

    monkeypatch.setattr(saving_module, "write_private", failing)

    async def work(run: Run, saving: Saving) -> None:
        nonlocal broken
        saving.open()
        for attempt in (1, 2, 3):
            saving.note(held(b"a"))
            await until(functools.partial(lambda number: tried >= number, attempt))
        broken = False
        saving.note(held(b"b"))

    said = play(settings, work)
    assert said == [f"the state of this run cannot be saved: {os.strerror(number)} ({saved_path(settings)})"]
    assert value_of(saved_path(settings)) == b"b"


def test_a_folder_that_cannot_be_made_is_said_and_the_run_goes_on(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where a folder should be")
    (said,) = save(settings, b"a")
    assert said.startswith("the state of this run cannot be saved: ")
    assert save(settings, b"") == [said], "and again in the next run, as soon as there is something to save"


@pytest.mark.skipif(os.getuid() == 0, reason="root may write into every folder")
def test_a_read_only_folder_is_said_and_the_run_goes_on(settings: Settings) -> None:
    save(settings, b"a")
    folder = os.path.dirname(saved_path(settings))
    os.chmod(folder, 0o500)
    try:
        (said,) = save(settings, b"b")
    finally:
        os.chmod(folder, 0o700)
    assert "Permission denied" in said
    assert value_of(saved_path(settings)) == b"a"


def _refused(settings: Settings) -> str:
    path = saved_path(settings)
    content = Path(path).read_bytes()
    found, (said,) = resume(settings)
    assert found is None
    assert said.endswith(f": the program starts afresh, nothing is deleted ({path})")
    assert "\n" not in said
    assert Path(path).read_bytes() == content
    return said


def test_a_damaged_state_is_refused_with_a_sentence_and_stays(settings: Settings) -> None:
    save(settings, b"a")
    path = Path(saved_path(settings))
    good = path.read_bytes()
    for place in (0, 40, len(good) // 2, len(good) - 1):
        bad = bytearray(good)
        bad[place] ^= 1
        path.write_bytes(bytes(bad))
        assert "the saved state is" in _refused(settings)
    path.write_bytes(good[:-5])
    assert "is cut off or damaged" in _refused(settings)


def test_a_state_of_another_python_is_refused_with_a_sentence_and_stays(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(settings, b"a")
    monkeypatch.setattr(sys, "version_info", (3, 99, 0))
    said = _refused(settings)
    monkeypatch.undo()
    assert "was written by Python" in said
    assert "this is 3.99; run with the Python that wrote it" in said


def test_a_state_of_a_newer_livecore_is_refused_with_a_sentence_and_stays(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(snapshots, "FORMAT", snapshots.FORMAT + 1)
        patch.setattr("livereload_core.state.snapshot.FORMAT", snapshots.FORMAT)
        save(settings, b"a")
    assert f"has format {snapshots.FORMAT + 1}" in _refused(settings)


def test_a_state_that_somebody_else_could_have_written_is_refused(settings: Settings) -> None:
    save(settings, b"a")
    os.chmod(saved_path(settings), 0o666)
    assert "can be written by other users" in _refused(settings)


def test_a_state_that_cannot_be_read_is_refused_with_the_systems_reason(settings: Settings) -> None:
    save(settings, b"a")
    path = Path(saved_path(settings))
    path.rename(path.with_name("elsewhere"))
    path.symlink_to(path.with_name("elsewhere"))
    assert "the saved state cannot be read: Too many levels of symbolic links: " in _refused(settings)


def test_a_refused_state_is_moved_aside_when_the_run_has_one_of_its_own(settings: Settings) -> None:
    save(settings, b"a")
    path = Path(saved_path(settings))
    bad = path.read_bytes()[:-1] + b"\0"
    path.write_bytes(bad)

    async def work(run: Run, saving: Saving) -> None:
        assert saving.open() is None
        saving.note(held(b"b"))

    play(settings, work, resume=True)
    assert value_of(str(path)) == b"b"
    assert Path(f"{path}{BEFORE}").read_bytes() == bad


def test_without_a_saved_state_to_go_on_with_that_is_said(settings: Settings) -> None:
    assert resume(settings) == (None, ["no state of this target is saved: the program starts afresh"])


def test_what_cannot_be_kept_beyond_its_process_is_marked(settings: Settings) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    roots = [
        Entry("app:x", "value", Kind.SHELL, 1, "builtins:dict", (), (), stream=b"1"),
        Entry("app:pipe", "value", Kind.SHELL, 1, "builtins:dict", (), (), fds=(writing,), stream=b"2"),
        Entry("livereload_core:connections", "value", Kind.SHELL, 1, "builtins:dict", stream=b"3"),
    ]

    async def work(run: Run, saving: Saving) -> None:
        saving.open()
        saving.note(HeldSnapshot([memfd.create(pack(roots, 1)), writing]))

    play(settings, work)
    entries = unpack(content_of(saved_path(settings))).entries
    assert entries.keys() == {"app:x", "app:pipe"}
    assert entries["app:pipe"].lost == snapshots.LOST_WITH_ITS_PROCESS


def test_load_verifies_before_it_believes(settings: Settings) -> None:
    save(settings, b"abc")
    path = Path(saved_path(settings))
    good = path.read_bytes()
    for place in range(len(good)):
        bad = bytearray(good)
        bad[place] ^= 0x80
        path.write_bytes(bytes(bad))
        with pytest.raises(SnapshotError):
            load(str(path))


def test_segments_are_saved_and_come_back(settings: Settings) -> None:
    async def work(run: Run, saving: Saving) -> None:
        saving.open()
        saving.note(HeldSnapshot([memfd.create(snapshot(b"1")), *map(memfd.create, (b"a" * 5000, b"b"))]))

    play(settings, work)
    _, again = load(saved_path(settings))
    assert [memfd.read(fd) for fd in again.fds[1:]] == [b"a" * 5000, b"b"]
    assert again.resumed
