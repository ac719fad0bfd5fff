"""Saving files in every way that editors and tools do."""

from __future__ import annotations

import os

import pytest

from livereload_core.testing import EditStyle, LivecoreProcess, Load, edit, scaled, write
from tests.e2e.launching import EXACT, PLAYGROUND_APP, Launcher

STYLES: tuple[EditStyle, ...] = ("rename", "inplace", "recreate")


APP = PLAYGROUND_APP.replace("import os\n", "import os\nimport sentinel\n")
"""With one more module, for the edit that ends a test; see _wait_sentinel."""


def _versioned(version: str) -> str:
    return APP.replace('VERSION = "1"', f'VERSION = "{version}"')


@pytest.mark.parametrize("how", STYLES)
def test_each_way_of_saving_is_one_reload(livecore: Launcher, how: EditStyle) -> None:
    run = _app(livecore)
    for version in ("2", "3"):
        run.write("app.py", _versioned(version), how=how)
        run.wait_version(version)
    # A file that is deleted first, or seen half written, may be turned down; what was saved commits once.
    _wait_sentinel(run)
    assert _files_of_commits(run) == [["app.py"], ["app.py"], ["sentinel.py"]]


@pytest.mark.slow
@pytest.mark.parametrize("how", ["rename", "inplace"])
def test_last_of_twenty_saves_in_a_second_is_what_runs_even_of_equal_size_and_time(
    livecore: Launcher, how: EditStyle
) -> None:
    run = _app(livecore, source=_versioned("00"))
    path = run.cwd / "app.py"
    frozen = float(int(path.stat().st_mtime))
    last = ""
    for burst in range(scaled(8, least=2)):
        for number in range(1, 21):
            last = f"{(burst * 20 + number) % 100:02d}"
            # One size and one second for all: a cache that trusts these would run an older one.
            write(path, _versioned(last), how=how, mtime=frozen)
        run.wait_version(last)
    _wait_sentinel(run)
    assert run.get().json()["version"] == last
    assert (path.stat().st_size, path.stat().st_mtime) == (len(_versioned("00")), frozen)


def test_stale_bytecode_of_the_same_second_and_size_is_never_run(livecore: Launcher) -> None:
    helper = "WHO = {!r}\n"
    source = APP.replace('VERSION = "1"', "from who import WHO as VERSION")
    run = _app(livecore, source=source, **{"who.py": helper.format("aa")})
    path = run.cwd / "who.py"
    frozen = float(int(path.stat().st_mtime))
    for who in ("bb", "cc", "dd"):
        write(path, helper.format(who), mtime=frozen)
        run.wait_reload("committed")
        assert run.get().json()["version"] == who
        os.utime(path, (frozen, frozen))


def test_two_hundred_files_at_once_are_one_reload(livecore: Launcher) -> None:
    number = 200
    modules = {f"many/m{i:03d}.py": "VALUE = 1\n" for i in range(number)}
    total = (
        "import importlib\nTOTAL = sum(importlib.import_module(f'many.m{i:03d}').VALUE for i in range(200))\n"
    )
    source = APP.replace('VERSION = "1"', f"{total}VERSION = str(TOTAL)")
    run = _app(livecore, source=source, **{"many/__init__.py": "", **modules})
    assert run.get().json()["version"] == "200"
    for name in modules:
        write(run.cwd / name, "VALUE = 2\n")
    run.wait_version("400")
    _wait_sentinel(run)
    assert [len(files) for files in _files_of_commits(run)] == [number, 1]


def test_identical_content_and_a_touch_are_no_reload(livecore: Launcher) -> None:
    run = _app(livecore)
    path = run.cwd / "app.py"
    path.touch()
    write(path, APP, how="rename")
    write(path, APP, how="inplace")
    write(path, APP, how="recreate")
    _wait_sentinel(run)
    assert len(run.reloads()) == 1


def test_file_that_the_program_did_not_import_is_no_reload(livecore: Launcher) -> None:
    run = _app(livecore, **{"unused.py": "A = 1\n", "notes.txt": "a"})
    write(run.cwd / "unused.py", "A = 2\n")
    write(run.cwd / "notes.txt", "b")
    write(run.cwd / "new_and_unused.py", "A = 1\n")
    _wait_sentinel(run)
    assert [record["files"] for record in run.reloads()] == [["sentinel.py"]]


def test_file_of_the_users_patterns_reloads(livecore: Launcher) -> None:
    source = APP.replace('VERSION = "1"', 'VERSION = open("version.yaml").read().strip()')
    run = _app(livecore, "--reload-include", "*.yaml", source=source, **{"version.yaml": "1"})
    write(run.cwd / "version.yaml", "2")
    assert run.wait_reload("committed")["files"] == ["version.yaml"]
    assert run.get().json()["version"] == "2"


def test_program_that_writes_into_its_own_folder_does_not_reload_itself(livecore: Launcher) -> None:
    writing = APP.replace('tally["hits"] = ', 'print("hit", file=open("app.log", "a"))\n    tally["hits"] = ')
    run = _app(
        livecore, source=writing.replace("import os", "import os, warnings\nwarnings.simplefilter('ignore')")
    )
    with Load(run.port) as load:
        load.more(100)
        _wait_sentinel(run)
        load.more(50)
    load.assert_flawless()
    assert len(run.reloads()) == 1


def test_edits_without_a_pause_end_with_the_last_one_served_and_no_request_failed(livecore: Launcher) -> None:
    run = _app(livecore, *EXACT)
    with Load(run.port) as load:
        for version in range(2, scaled(50, least=12)):
            edit(run.cwd / "app.py", f'VERSION = "{version - 1}"', f'VERSION = "{version}"')
            load.more(5)
        run.wait_version(str(version))
        load.more(20)
    load.assert_flawless()
    load.assert_exact()


def test_edit_that_is_undone_at_once_ends_with_the_old_code(livecore: Launcher) -> None:
    run = _app(livecore)
    for how in STYLES:
        write(run.cwd / "app.py", _versioned("2"), how=how)
        write(run.cwd / "app.py", _versioned("1"), how=how)
    _wait_sentinel(run)
    assert run.get().json()["version"] == "1"


def _app(livecore: Launcher, *options: str, source: str = APP, **others: str) -> LivecoreProcess:
    return livecore.app(*options, source=source, **{"sentinel.py": "NUMBER = 0\n", **others})


def _wait_sentinel(run: LivecoreProcess) -> None:
    """Edit one more file, whose commit shows that everything before it has been looked at."""
    run.write("sentinel.py", "NUMBER = 1\n")
    run.wait_for(
        lambda record: record.get("outcome") == "committed" and "sentinel.py" in record["files"],
        what="commit of the sentinel",
    )


def _files_of_commits(run: LivecoreProcess) -> list[list[str]]:
    return [record["files"] for record in run.reloads("committed")]
