"""What new code opens to write it anew is not emptied before the state has come."""

from __future__ import annotations

import builtins
import bz2
import gc
import gzip
import io
import logging
import os
import pickle
import tarfile
import tempfile
import warnings
import weakref
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from livereload_core.facts import RootFate
from livereload_core.state import withheld as module
from livereload_core.state.withheld import Withheld
from tests.unit.state.conftest import Program

KEPT = "of the program that serves\n"


class Journal:
    def __init__(self, path: Path) -> None:
        self.file = path.open("w", encoding="utf-8")
        self.file.write("head\n")


class Other(Journal):
    pass


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "log.txt"
    path.write_text(KEPT, encoding="utf-8")
    return path


@pytest.fixture
def withheld() -> Withheld:
    return Withheld(lambda cls: cls is Journal)


def nothing(_: str) -> bool:
    return False


def decide(withheld: Withheld, *carried: int) -> None:
    """The state is there, and then the switch is made."""
    withheld.decide(lambda: carried, nothing)
    withheld.write()


def opened(withheld: Withheld, path: Path, mode: str = "w", **options: Any) -> Any:
    with withheld.making("app:log"):
        return path.open(mode, **options)


def census() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize(
    ("mode", "options"),
    [
        ("w", {"encoding": "utf-8"}),
        ("w+", {"encoding": "utf-8"}),
        ("wb", {}),
        ("wb+", {}),
        ("wb", {"buffering": 0}),
        ("w", {"encoding": "utf-8", "buffering": 1}),
    ],
)
def test_file_of_new_state_is_emptied_once_that_is_known(
    withheld: Withheld, path: Path, mode: str, options: dict[str, Any]
) -> None:
    before = census()
    file = opened(withheld, path, mode, **options)
    data: Any = b"first\n" if "b" in mode else "first\n"
    file.write(data)
    file.flush()
    assert path.read_text() == KEPT
    decide(withheld)
    assert path.read_text() == "first\n"
    file.write(data)
    file.flush()
    assert path.read_text() == "first\nfirst\n"
    assert file.name == str(path)
    assert os.fstat(file.fileno()).st_ino == path.stat().st_ino
    assert not os.get_inheritable(file.fileno())
    file.close()
    assert census() == before


def test_what_was_not_flushed_is_written_behind_what_was(withheld: Withheld, path: Path) -> None:
    file = opened(withheld, path, "w+", encoding="utf-8")
    file.write("one\n")
    file.flush()
    file.write("two\n")
    decide(withheld)
    assert path.read_text() == "one\n"
    file.write("three\n")
    file.seek(0)
    assert file.read() == "one\ntwo\nthree\n" == path.read_text()
    file.close()


def test_file_that_came_with_the_state_is_not_emptied(withheld: Withheld, path: Path) -> None:
    before = census()
    with path.open("a", encoding="utf-8") as kept:
        file = opened(withheld, path, encoding="utf-8")
        file.write("head\n" * 10_000)
        decide(withheld, kept.fileno())
        file.write("more\n")
        file.close()
        kept.write("goes on\n")
    assert path.read_text() == KEPT + "more\ngoes on\n"
    assert census() == before


def test_object_that_nobody_took_leaves_the_file_alone(withheld: Withheld, path: Path) -> None:
    before = census()
    file = opened(withheld, path, encoding="utf-8")
    file.write("head\n")
    del file
    decide(withheld)
    assert path.read_text() == KEPT
    assert census() == before


@pytest.mark.parametrize("mode", ["w", "wb", "w+b"])
def test_object_that_only_a_cycle_holds_leaves_the_kept_file_alone(
    withheld: Withheld, path: Path, mode: str
) -> None:
    class Knot:
        pass

    gc.collect()
    before = census()
    knot: Any = Knot()
    knot.knot, knot.file = knot, opened(withheld, path, mode)
    knot.file.write("head\n" if mode == "w" else b"head\n")
    gone = weakref.ref(knot)
    del knot
    with path.open("a", encoding="utf-8") as kept:
        decide(withheld, kept.fileno())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()
    assert gone() is None
    assert census() == before
    assert path.read_text() == KEPT


def test_unbuffered_object_that_nobody_took_leaves_the_file_alone(withheld: Withheld, path: Path) -> None:
    before = census()
    file = opened(withheld, path, "wb", buffering=0)
    file.write(b"head\n")
    del file
    decide(withheld)
    assert path.read_text() == KEPT
    assert census() == before


def test_object_that_closes_its_file_when_it_is_dropped_leaves_the_kept_one_alone(
    withheld: Withheld, path: Path
) -> None:
    before = census()
    with withheld.making("app:archive"):
        archive = zipfile.ZipFile(path, "w")
        archive.writestr("a", "one")
    with path.open("a", encoding="utf-8") as kept:
        del archive
        decide(withheld, kept.fileno())
    assert path.read_text() == KEPT
    assert census() == before


def test_file_that_is_closed_outside_of_its_factory_is_written_with_the_switch(
    withheld: Withheld, path: Path
) -> None:
    before = census()
    file = opened(withheld, path, encoding="utf-8")
    file.write("all of it")
    file.close()
    assert path.read_text() == KEPT
    withheld.decide(list, nothing)
    assert path.read_text() == KEPT
    withheld.write()
    assert path.read_text() == "all of it"
    assert census() == before


def test_what_is_never_decided_changes_nothing(withheld: Withheld, path: Path) -> None:
    before = census()
    one, other = (opened(withheld, path, encoding="utf-8") for _ in range(2))
    one.write("one")
    one.close()
    withheld.decide(list, nothing)
    withheld.forget()
    other.close()
    withheld.write()
    assert path.read_text() == KEPT
    assert census() == before


@pytest.mark.parametrize("mode", ["w", "w+", "wb"])
def test_other_object_that_is_in_use_goes_on_in_the_kept_file(
    withheld: Withheld, path: Path, mode: str
) -> None:
    before = census()
    file = opened(withheld, path, mode)
    data: Any = b"head\n" if "b" in mode else "head\n"
    file.write(data)
    with path.open("r+" if mode == "w+" else "a", encoding="utf-8") as kept:
        kept.seek(0, os.SEEK_END)
        decide(withheld, kept.fileno())
        file.write(data)
        file.flush()
        kept.seek(0, os.SEEK_END)
        kept.write("of the kept one\n")
    assert path.read_text() == KEPT + "head\nof the kept one\n"
    file.close()
    assert census() == before


def test_kept_file_that_cannot_be_written_to_is_not_gone_on_in(withheld: Withheld, path: Path) -> None:
    with path.open(encoding="utf-8") as kept, opened(withheld, path, "w") as file:
        decide(withheld, kept.fileno())
        file.write("head\n")
        file.flush()
        assert path.read_text() == KEPT


def test_names_by_which_the_standard_library_opens_files_are_known(withheld: Withheld, path: Path) -> None:
    with withheld.making("app:archive"):
        files: list[Any] = [open_(path, "w") for open_ in (tarfile.open, bz2.open, gzip.open)]
    assert path.read_text() == KEPT
    withheld.forget()
    for file in files:
        file.close()
    assert path.read_text() == KEPT
    assert not isinstance(vars(tarfile)["bltn_open"], module._Open)


def test_name_that_a_module_has_of_open_stays_good(withheld: Withheld, path: Path) -> None:
    withheld.watch()
    kept = io.open
    with withheld.making("app:log"):
        file: Any = kept(path, "w", encoding="utf-8")
    withheld.unwatch()
    assert path.read_text() == KEPT
    decide(withheld)
    file.close()
    with kept(path, "w", encoding="utf-8"):
        assert path.read_text() == ""


def test_factory_that_fails_leaves_the_file_alone(withheld: Withheld, path: Path) -> None:
    files = []

    def make() -> None:
        files.append(path.open("w", encoding="utf-8"))
        raise LookupError

    with pytest.raises(LookupError), withheld.making("app:log"):
        make()
    files[0].close()
    assert path.read_text() == KEPT


def test_file_that_the_factory_closes_is_written_at_once(withheld: Withheld, path: Path) -> None:
    with withheld.making("app:log"):
        path.write_text("cache", encoding="utf-8")
        assert path.read_text() == "cache"
    opened_and_dropped(withheld, path)
    assert path.read_text() == "more"
    decide(withheld)
    assert path.read_text() == "more"


def opened_and_dropped(withheld: Withheld, path: Path) -> None:
    """As some write a file."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        with withheld.making("app:log"):
            path.open("w", encoding="utf-8").write("more")


def test_file_that_was_not_there_is_made_at_once(withheld: Withheld, tmp_path: Path) -> None:
    path = tmp_path / "new.txt"
    with opened(withheld, path, encoding="utf-8") as file:
        file.write("first")
        file.flush()
        assert path.read_text() == "first"


def test_devices_and_temporary_files_are_opened_as_ever(withheld: Withheld) -> None:
    with withheld.making("app:log"):
        with open(os.devnull, "w", encoding="utf-8") as null:
            assert os.fstat(null.fileno()).st_rdev == os.stat(os.devnull).st_rdev
        with tempfile.NamedTemporaryFile("w+", encoding="utf-8") as temporary:
            temporary.write("a")
            temporary.flush()
            assert Path(temporary.name).read_text() == "a"


def test_what_cannot_be_opened_is_said_as_ever(withheld: Withheld, path: Path, tmp_path: Path) -> None:
    before = census()
    with withheld.making("app:log"):
        with pytest.raises(IsADirectoryError):
            tmp_path.open("w")
        with pytest.raises(LookupError):
            path.open("w", encoding="no such encoding")
        with pytest.raises(ValueError, match="mode"):
            path.open("wr")
    assert path.read_text() == KEPT
    assert census() == before


def test_opener_of_the_program_is_asked_without_emptying(withheld: Withheld, path: Path) -> None:
    seen = []

    def opener(name: str, flags: int) -> int:
        seen.append(flags)
        return os.open(name, flags, 0o600)

    with withheld.making("app:log"):
        file = open(path, "w", encoding="utf-8", opener=opener)  # noqa: SIM115 -- it is what is tested
    assert [flags & os.O_TRUNC for flags in seen] == [0]
    assert path.read_text() == KEPT
    decide(withheld)
    assert path.read_text() == ""
    file.close()


def test_other_modes_and_other_places_are_as_ever(withheld: Withheld, path: Path) -> None:
    with withheld.making("app:log"):
        with path.open("a", encoding="utf-8") as file:
            assert os.fstat(file.fileno()).st_ino == path.stat().st_ino
        assert path.read_text() == KEPT
    assert builtins.open is io.open
    assert not isinstance(open, module._Open)
    with path.open("w", encoding="utf-8"):
        assert path.read_text() == ""


def test_instances_of_kept_classes_are_watched(withheld: Withheld, path: Path, tmp_path: Path) -> None:
    withheld.watch()
    withheld.watch()
    try:
        journal = Journal(path)
        assert path.read_text() == KEPT
        other = tmp_path / "other.txt"
        other.write_text(KEPT)
        assert other.read_text() == KEPT
        held = Other(other)
        assert other.read_text() == ""
        held.file.close()
    finally:
        withheld.unwatch()
        withheld.unwatch()
    decide(withheld)
    assert path.read_text() == ""
    journal.file.close()
    assert path.read_text() == "head\n"
    assert not isinstance(open, module._Open)


def test_root_that_is_still_awaited_is_decided_later(withheld: Withheld, path: Path) -> None:
    file = opened(withheld, path, encoding="utf-8")
    withheld.decide(list, lambda key: key == "app:log")
    assert path.read_text() == KEPT
    decide(withheld)
    assert path.read_text() == ""
    file.close()


def test_handler_that_keeps_what_it_opens_with_crosses(withheld: Withheld, path: Path) -> None:
    with withheld.making("app:log"):
        handler = logging.FileHandler(path, "w")
        kept = handler._builtin_open  # type: ignore[attr-defined]
    assert pickle.loads(pickle.dumps(kept)) is open
    assert path.read_text() == KEPT
    decide(withheld)
    handler.emit(logging.makeLogRecord({"msg": "a line"}))
    handler.close()
    assert path.read_text() == "a line\n"


PROGRAM = """
    from livereload_core import preserve

    def make():
        file = open({path!r}, "w")
        file.write("head\\n")
        file.flush()
        return {{"file": file}}

    log = preserve("log", make)

    @preserve
    class Journal:
        def __init__(self):
            self.file = open({path!r} + ".journal", "w")

    journal = Journal()

    @preserve
    def lazy():
        return open({path!r} + ".lazy", "w")

    def say(text):
        for file in log["file"], journal.file, lazy():
            file.write(text + "\\n")
            file.flush()
"""


@pytest.fixture
def shut() -> Iterator[list[Any]]:
    """Modules whose files are closed in the end: as a process does that ends."""
    apps: list[Any] = []
    yield apps
    for app in apps:
        for file in app.log["file"], app.journal.file, app.lazy():
            file.close()


def contents(path: Path) -> list[str]:
    return [Path(f"{path}{end}").read_text() for end in ("", ".journal", ".lazy")]


def test_kept_files_of_each_form_go_on(program: Program, path: Path, shut: list[Any]) -> None:
    source = PROGRAM.format(path=str(path))
    shut.append(program.start(app=source))
    shut[-1].say("one")
    assert contents(path) == ["head\none\n", "one\n", "one\n"]
    for text in ("two", "three"):
        shut.append(program.reload(app=source))
        shut[-1].say(text)
    gc.collect()
    lines = "one\ntwo\nthree\n"
    assert contents(path) == [f"head\n{lines}", lines, lines]
    assert not isinstance(open, module._Open)


def test_edit_that_is_turned_down_empties_nothing(program: Program, path: Path, shut: list[Any]) -> None:
    source = PROGRAM.format(path=str(path))
    shut.append(program.start(app=source))
    shut[-1].say("one")
    before = contents(path)
    shut.append(program.begin({"app": source + "\n    lazy()"}, awaits=True))
    shut[-1].say("of a trial")
    program.engine.give_up()
    shut[-1].say("of a trial")
    assert contents(path) == before


def test_declaration_that_is_new_has_its_file_emptied(program: Program, path: Path, shut: list[Any]) -> None:
    program.start(app="from livereload_core import preserve")
    shut.append(program.reload(app=PROGRAM.format(path=str(path))))
    shut[-1].say("one")
    assert contents(path) == ["head\none\n", "one\n", "one\n"]


def test_generation_without_state_begins_anew(program: Program, path: Path, shut: list[Any]) -> None:
    shut.append(program.begin({"app": PROGRAM.format(path=str(path))}, awaits=True))
    assert path.read_text() == KEPT
    program.engine.start_anew()
    shut[-1].say("one")
    assert path.read_text() == KEPT, "the switch may fail"
    program.engine.commit()
    assert contents(path) == ["head\none\n", "one\n", "one\n"]


STARTS = """
    from livereload_core import preserve

    def start():
        log = preserve("log", lambda: {{"file": open({path!r}, "w")}})
        log["file"].write("line\\n")
        log["file"].flush()
        return log["file"]
"""


def test_declaration_after_the_start_up_leaves_its_file_alone(program: Program, path: Path) -> None:
    source = STARTS.format(path=str(path))
    with program.start(app=source).start():
        app = program.reload(app=source)
        assert program.reports["app:log"].fate is RootFate.PARKED
        with app.start():
            assert path.read_text() == "line\nline\n"


def test_switch_that_fails_leaves_the_file_of_a_new_declaration_alone(
    program: Program, path: Path, shut: list[Any]
) -> None:
    program.start(app="from livereload_core import preserve")
    export = program.engine.export()
    shut.append(program.begin({"app": PROGRAM.format(path=str(path))}, awaits=True))
    program.engine.adopt(export.data, export.handed.fds)
    program.settle()
    program.engine.give_up()
    assert path.read_text() == KEPT


def test_declaration_in_the_start_up_leaves_its_file_alone(program: Program, path: Path) -> None:
    source = STARTS.format(path=str(path))
    with program.start(app=source).start():
        export = program.engine.export()
        app = program.begin({"app": source}, awaits=True)
        program.engine.trial(export.data, export.handed.fds)
        program.engine.adopt(export.data, export.handed.fds)
        export.handed.close()
        with app.start():
            program.settle()
            assert path.read_text() == "line\nline\n"
