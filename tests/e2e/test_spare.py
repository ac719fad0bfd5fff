"""The spare: an interpreter that is warm before the save, and what makes it worth nothing.

What a spare imports ahead is seen with modules of the test's own: they lie in a folder called
``site-packages``, so they count as installed, and who imports them writes its pid into a journal.
"""

from __future__ import annotations

import json
import os
import signal
import stat
from pathlib import Path
from typing import Any

import pytest

from livereload_core.testing import LivecoreProcess, until
from tests.e2e.launching import PLAYGROUND_APP, Launcher

TELLS = """
import os
with open(os.environ["JOURNAL"], "a") as journal:
    journal.write(f"{__name__} {os.getpid()} {os.environ.get('COLOUR', '-')}\\n")
"""

HEAVY_APP = """
import os
import fastapi
import heavy

VERSION = "1"
app = fastapi.FastAPI()

@app.get("/")
def show() -> dict[str, object]:
    return {"version": VERSION, "pid": os.getpid()}

@app.get("/lazy")
def lazily() -> dict[str, object]:
    import lazy
    return {"from": lazy.__name__}
"""

SAYS_VERSION = 'VERSION = "1"', 'VERSION = "2"'


class World:
    """Installed packages, their journal and a cache folder, all of one test."""

    def __init__(self, folder: Path, livecore: Launcher) -> None:
        self._livecore = livecore
        self.folder = folder
        self._journal = folder / "journal"
        self.cache = folder / "cache"
        self.installed = folder / "site-packages"
        self.installed.mkdir()
        for name in ("heavy", "lazy"):
            (self.installed / f"{name}.py").write_text(TELLS)
        self.env = {
            "PYTHONPATH": str(self.installed),
            "JOURNAL": str(self._journal),
            "XDG_CACHE_HOME": str(self.cache),
        }

    def run(
        self, *options: str, source: str = HEAVY_APP, started: bool = True, **others: str
    ) -> LivecoreProcess:
        """Run ``app.py`` with this source, and further files."""
        files = {"app.py": source, **{name.replace("__", "."): text for name, text in others.items()}}
        return self._livecore.program("app:app", *options, files=files, env=self.env, started=started)

    def imports(self, module: str) -> list[tuple[int, str]]:
        """Who has imported ``module``, in order: pid and what ``COLOUR`` was in its environment."""
        text = self._journal.read_text() if self._journal.exists() else ""
        entries = [line.split() for line in text.splitlines()]
        return [(int(pid), colour) for name, pid, colour in entries if name == module]

    def wait_warm(self, run: LivecoreProcess, module: str = "heavy", *, begun: bool = False) -> int:
        """Wait until the spare that ``status`` shows is warm; returns its pid.

        Args:
            run: whose it is.
            module: what it has to have imported ahead.
            begun: it is enough that it has begun with that one.
        """

        def warm_spare() -> int:
            spare = child_of(run, "spare")
            there = spare.get("pid", 0) in [who for who, _ in self.imports(module)]
            return spare["pid"] if there and (begun or spare["warm"]) else 0

        return until(warm_spare, timeout=20, what=f"a spare that has imported {module}")


@pytest.fixture
def world(tmp_path: Path, livecore: Launcher) -> World:
    return World(tmp_path, livecore)


def spare_pid(run: LivecoreProcess) -> int:
    """The pid of the spare as ``livecore status`` shows it, 0 while there is none."""
    return pid_of(run, "spare")


def pid_of(run: LivecoreProcess, role: str) -> int:
    pid: int = child_of(run, role).get("pid", 0)
    return pid


def child_of(run: LivecoreProcess, role: str) -> dict[str, Any]:
    return next((child for child in run.status()["children"] if child["role"] == role), {})


def commit(run: LivecoreProcess, old: str = SAYS_VERSION[0], new: str = SAYS_VERSION[1]) -> dict[str, Any]:
    """Save an edit and return the record of the reload that it leads to."""
    run.edit("app.py", old, new)
    return run.wait_reload("committed")


def test_an_edit_is_taken_by_the_spare_which_has_imported_everything_foreign_ahead(world: World) -> None:
    run = world.run()
    spare = world.wait_warm(run)
    assert run.get().json() == {"version": "1", "pid": pid_of(run, "active")}
    record = commit(run)
    assert record["foreign"] == []
    assert run.get().json() == {"version": "2", "pid": spare}
    assert pid_of(run, "active") == spare
    assert [who for who, _ in world.imports("heavy")].count(spare) == 1
    # each phase is rounded to a microsecond, and so is the total
    assert sum(record["phases_ms"].values()) == pytest.approx(record["total_ms"], abs=0.01)
    assert record["phases_ms"].keys() >= {"activate", "import", "commit"}


def test_the_spare_after_it_is_warm_too(world: World) -> None:
    run = world.run()
    world.wait_warm(run)
    commit(run)
    run.get()
    second = world.wait_warm(run)
    record = commit(run, 'VERSION = "2"', 'VERSION = "3"')
    assert record["foreign"] == []
    assert run.get().json() == {"version": "3", "pid": second}


def test_a_module_that_a_request_imported_is_imported_ahead_for_the_next_edit(world: World) -> None:
    run = world.run()
    world.wait_warm(run)
    assert world.imports("lazy") == []
    assert run.get("/lazy").json() == {"from": "lazy"}
    spare = world.wait_warm(run, "lazy")
    assert commit(run)["foreign"] == []
    assert run.get().json()["pid"] == spare
    assert run.get("/lazy").status == 200
    assert [who for who, _ in world.imports("lazy")].count(spare) == 1


def test_a_module_that_binds_while_it_is_imported_does_not_hold_the_spare_up(world: World) -> None:
    # urllib3 finds out in this way whether there is IPv6
    probe = "import socket\nwith socket.socket() as probe:\n    probe.bind(('127.0.0.1', 0))\n"
    (world.installed / "lazy.py").write_text(probe + TELLS)
    run = world.run()
    world.wait_warm(run)
    run.get("/lazy")
    spare = world.wait_warm(run, "lazy")
    assert commit(run)["foreign"] == []
    assert run.get().json()["pid"] == spare


def test_a_second_run_of_the_project_is_warm_before_anything_has_run_in_it(world: World) -> None:
    first = world.run()
    first.get()
    first.get("/lazy")  # what a server imports by itself, it imports behind ``heavy``; this comes last
    world.wait_warm(first, "lazy")
    first.stop()
    (cache,) = world.cache.glob("livecore/*/modules.json")
    assert stat.S_IMODE(cache.stat().st_mode) == 0o600
    assert {"fastapi", "heavy"} <= set(json.loads(cache.read_text())["modules"])

    # A broken start: nobody serves who could tell what to import, so all that the spare knows is the cache.
    run = world.run(source="def broken(:\n", started=False)
    run.wait_event("hold")
    spare = world.wait_warm(run, "lazy")
    run.write("app.py", HEAVY_APP)
    assert run.wait_reload("committed")["foreign"] == []
    assert run.get().json() == {"version": "1", "pid": spare}


def test_the_first_edit_of_a_second_run_has_nothing_foreign_to_import(world: World) -> None:
    first = world.run()
    first.get()
    world.wait_warm(first)
    first.stop()
    run = world.run()
    spare = world.wait_warm(run)
    record = commit(run)
    assert record["foreign"] == []
    assert run.get().json() == {"version": "2", "pid": spare}


def test_a_spare_that_is_killed_is_replaced_and_the_next_edit_goes_live(world: World) -> None:
    run = world.run()
    killed = world.wait_warm(run)
    os.kill(killed, signal.SIGKILL)
    another = until(lambda: spare_pid(run) not in (0, killed) and world.wait_warm(run), what="another spare")
    assert run.get().json()["version"] == "1"
    record = commit(run)
    assert record["foreign"] == []
    assert run.get().json() == {"version": "2", "pid": another}


def test_a_spare_that_is_killed_in_the_moment_of_a_save_costs_no_edit(world: World) -> None:
    run = world.run()
    for number in (1, 2):
        spare = world.wait_warm(run)
        os.kill(run.pid, signal.SIGSTOP)  # it hears of both at once, in whichever order
        try:
            run.edit("app.py", f'VERSION = "{number}"', f'VERSION = "{number + 1}"')
            os.kill(spare, signal.SIGKILL)
        finally:
            os.kill(run.pid, signal.SIGCONT)
        run.wait_reload("committed")
        assert run.get().json()["version"] == f"{number + 1}"


def test_without_a_spare_the_next_interpreter_is_started_by_the_edit(world: World) -> None:
    run = world.run("--no-spare")
    for version in ("2", "3"):
        assert run.get().status == 200  # a first good answer ends the probation of the one before
        until(
            lambda: [child["role"] for child in run.status()["children"]] == ["active"],
            what="one child and no other",
        )
        assert run.pids().keys() == {run.pid, pid_of(run, "active")}
        before = run.pids()
        record = commit(run, f'VERSION = "{int(version) - 1}"', f'VERSION = "{version}"')
        assert {"fastapi", "heavy"} <= set(record["foreign"])
        answer = run.get().json()
        assert answer["version"] == version
        assert answer["pid"] not in before


def test_with_preload_off_the_new_code_imports_everything_itself(world: World) -> None:
    run = world.run("--preload", "off")
    run.wait_for(lambda record: "--preload off" in record.get("text", ""), what="the reason")
    run.get()
    run.wait_settled()
    spare = spare_pid(run)
    record = commit(run)
    assert {"fastapi", "heavy"} <= set(record["foreign"])
    assert run.get().json() == {"version": "2", "pid": spare}


def test_an_excluded_package_is_left_to_the_program_and_the_rest_is_imported_ahead(world: World) -> None:
    run = world.run("--preload-exclude", "fastapi")
    world.wait_warm(run)
    foreign = set(commit(run)["foreign"])
    assert "fastapi" in foreign
    assert "heavy" not in foreign


def test_a_changed_lock_file_reloads_in_a_new_interpreter(world: World) -> None:
    run = world.run(requirements__txt="fastapi\n")
    spare = world.wait_warm(run)
    run.write("requirements.txt", "fastapi\nnumpy\n")
    record = run.wait_reload("committed")
    assert record["files"] == ["requirements.txt"]
    served_by = run.get().json()["pid"]
    assert served_by != spare
    assert served_by == pid_of(run, "active")
    until(lambda: spare not in run.pids(), what="the end of the outdated spare")


def test_an_edit_that_comes_while_the_spare_gets_warm_imports_the_rest_itself(world: World) -> None:
    # The gate stands open for the first start only; the spare waits at it, as at a slow import.
    gate = world.folder / "gate"
    waits = "import os, time\nwhile not os.path.exists(os.environ['GATE']):\n    time.sleep(0.005)\n"
    (world.installed / "gated.py").write_text(TELLS + waits)
    world.env["GATE"] = str(gate)
    gate.touch()
    run = world.run(source=HEAVY_APP.replace("import heavy", "import gated\nimport heavy"))
    first = pid_of(run, "active")
    gate.unlink()
    spare = world.wait_warm(run, "gated", begun=True)
    run.edit("app.py", *SAYS_VERSION)
    until(lambda: run.status()["state"] == "prepare", what="an attempt that waits for its candidate")
    assert run.get().json() == {"version": "1", "pid": first}
    gate.touch()
    record = run.wait_reload("committed")
    assert "heavy" in record["foreign"]
    assert "gated" not in record["foreign"]
    assert run.get().json() == {"version": "2", "pid": spare}
    world.wait_warm(run)
    assert commit(run, 'VERSION = "2"', 'VERSION = "3"')["foreign"] == []


def test_an_installed_distribution_that_comes_is_met_by_a_new_spare_before_the_next_edit(
    world: World,
) -> None:
    run = world.run()
    outdated = world.wait_warm(run)
    (world.installed / "newcomer-1.0.dist-info").mkdir()
    spare = until(lambda: spare_pid(run) not in (0, outdated) and world.wait_warm(run), what="a new spare")
    assert commit(run)["foreign"] == []
    assert run.get().json() == {"version": "2", "pid": spare}


def test_modules_that_pull_the_users_code_in_are_left_to_the_program_however_many(world: World) -> None:
    # More of them than spares may die in a row: that they give themselves up is no death.
    plugged = [f"plugged{number}" for number in range(5)]
    for name in plugged:
        (world.installed / f"{name}.py").write_text("import mine\n")
    world.env["PYTHONPATH"] += f"{os.pathsep}{world.folder / 'program'}"
    source = HEAVY_APP.replace("import heavy", f"import {', '.join(plugged)}, heavy, mine")
    source = source.replace('"version": VERSION', '"version": mine.WORDS')
    run = world.run(source=source, mine__py='WORDS = "old"\n')
    assert run.get().json()["version"] == "old"
    spare = world.wait_warm(run)
    record = commit(run, 'VERSION = "1"', 'VERSION = "2"')
    assert run.get().json() == {"version": "old", "pid": spare}
    assert set(record["foreign"]) == set(plugged)
    run.edit("mine.py", "old", "new")
    run.wait_reload("committed")
    assert run.get().json()["version"] == "new"
    assert "keeps dying" not in run.transcript()


def test_modules_that_the_programs_own_folder_hides_are_the_programs_in_each_generation(world: World) -> None:
    """Installed ones, those of the standard library, and those that come between two edits."""
    (world.installed / "hidden.py").write_text('WHOSE = "installed"\n')
    (world.installed / "later.py").write_text('WHOSE = "installed"\n')
    (world.installed / "user.py").write_text("import hidden, colorsys\n")
    source = HEAVY_APP.replace("import heavy", "import colorsys, hidden, later, user, heavy")
    shown = '"version": [VERSION, colorsys.WHOSE, hidden.WHOSE, later.WHOSE, user.hidden.WHOSE]'
    mine = 'WHOSE = "mine"\n'
    run = world.run(
        source=source.replace('"version": VERSION', shown), colorsys__py=mine, hidden__py=mine, later__py=mine
    )
    assert run.get().json()["version"] == ["1", "mine", "mine", "mine", "mine"]
    (run.cwd / "later.py").unlink()
    run.wait_reload("committed")
    assert run.get().json()["version"] == ["1", "mine", "mine", "installed", "mine"]
    world.wait_warm(run)
    commit(run)
    assert run.get().json()["version"] == ["2", "mine", "mine", "installed", "mine"]
    world.wait_warm(run)
    (run.cwd / "later.py").write_text(mine)
    commit(run, 'VERSION = "2"', 'VERSION = "3"')
    assert run.get().json()["version"] == ["3", "mine", "mine", "mine", "mine"]


def test_a_module_of_the_programs_that_an_installed_one_can_do_without_is_found(world: World) -> None:
    plug = "try:\n    import mine\n    WHOSE = mine.WORDS\nexcept ImportError:\n    WHOSE = 'nobody'\n"
    (world.installed / "plug.py").write_text(plug)
    source = HEAVY_APP.replace("import heavy", "import plug, heavy")
    run = world.run(
        source=source.replace('"version": VERSION', '"version": plug.WHOSE'), mine__py='WORDS = "mine"\n'
    )
    assert run.get().json()["version"] == "mine"
    for old, new in (("1", "2"), ("2", "3")):
        world.wait_warm(run)
        commit(run, f'VERSION = "{old}"', f'VERSION = "{new}"')
        assert run.get().json()["version"] == "mine"
    run.edit("mine.py", '"mine"', '"new"')
    run.wait_reload("committed")
    assert run.get().json()["version"] == "new"


def test_what_is_imported_ahead_sees_the_arguments_of_the_program(world: World) -> None:
    (world.installed / "arguments.py").write_text("import sys\nSEEN = list(sys.argv)\n")
    source = HEAVY_APP.replace("import heavy", "import arguments, heavy")
    run = world.run(source=source.replace('"version": VERSION', '"version": arguments.SEEN'))
    world.wait_warm(run)
    commit(run)
    assert run.get().json()["version"] == ["app:app"]


def test_a_kind_of_target_that_cannot_be_loaded_is_named(world: World) -> None:
    info = world.installed / "broken-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[livereload_core.targets]\nbroken = nowhere:Adapter\n")
    run = world.run(started=False)
    failure = run.wait_event("hold", "refused")
    assert "the target adapter 'broken' (nowhere:Adapter) cannot be loaded" in json.dumps(failure)


def test_an_edit_after_a_lock_file_was_touched_runs_in_a_new_interpreter(world: World) -> None:
    run = world.run(requirements__txt="fastapi\n")
    spare = world.wait_warm(run)
    os.utime(run.cwd / "requirements.txt", (1, 1))
    commit(run)
    answer = run.get().json()
    assert answer["version"] == "2"
    assert answer["pid"] != spare


def test_a_changed_environment_file_reaches_the_new_code(world: World) -> None:
    shown = HEAVY_APP.replace('"version": VERSION', '"version": os.environ["COLOUR"]')
    run = world.run("--env-file", ".env", source=shown, __env="COLOUR=green\n")
    spare = world.wait_warm(run)
    assert run.get().json()["version"] == "green"
    run.write(".env", "COLOUR=blue\n")
    assert run.wait_reload("committed")["files"] == [".env"]
    answer = run.get().json()
    assert answer["version"] == "blue"
    assert answer["pid"] != spare
    # Modules that read it while they are imported see it as well.
    assert (answer["pid"], "blue") in world.imports("heavy")


def test_a_program_that_changes_its_environment_before_its_imports_keeps_working(world: World) -> None:
    source = HEAVY_APP.replace("import fastapi\n", 'os.environ["COLOUR"] = "red"\nimport fastapi\n')
    run = world.run(source=source)
    run.get()
    run.wait_settled()
    commit(run)
    assert run.get().json()["version"] == "2"
    assert {colour for _, colour in world.imports("heavy")} == {"red"}


def test_two_files_that_are_saved_at_once_are_one_edit_and_taken_by_the_spare(world: World) -> None:
    source = HEAVY_APP.replace("import heavy", "import heavy, other").replace(
        '"version": VERSION', '"version": VERSION + other.MORE'
    )
    run = world.run(source=source, other__py='MORE = "a"\n')
    spare = world.wait_warm(run)
    os.kill(run.pid, signal.SIGSTOP)  # what is saved now is heard of at once
    try:
        (run.cwd / "other.py").write_text('MORE = "b"\n')
        (run.cwd / "app.py").write_text(source.replace(*SAYS_VERSION))
    finally:
        os.kill(run.pid, signal.SIGCONT)
    record = run.wait_reload("committed")
    assert sorted(record["files"]) == ["app.py", "other.py"]
    assert run.get().json() == {"version": "2b", "pid": spare}


def test_an_edit_that_begins_to_change_the_environment_before_its_imports_is_right_at_once(
    world: World,
) -> None:
    run = world.run()
    world.wait_warm(run)
    commit(run, "import heavy\n", 'os.environ["COLOUR"] = "red"\nimport heavy\n')
    assert (run.get().json()["pid"], "red") in world.imports("heavy")
    spare = until(lambda: (child_of(run, "spare").get("warm") and spare_pid(run)) or 0, what="a warm spare")
    commit(run)
    assert run.get().json() == {"version": "2", "pid": spare}
    assert (spare, "red") in world.imports("heavy")
    commit(run, 'os.environ["COLOUR"] = "red"\n', "")
    run.get()
    assert commit(run, 'VERSION = "2"', 'VERSION = "3"')["outcome"] == "committed"
    assert (run.get().json()["pid"], "-") in world.imports("heavy")


@pytest.mark.parametrize("when", ["factory", "start-up"])
def test_what_is_imported_behind_a_change_of_the_environment_is_so_in_each_generation(
    world: World, when: str
) -> None:
    head, body = HEAVY_APP.replace("import heavy\n", "").split("app = ")
    late = 'os.environ["COLOUR"] = "red"\n    import heavy\n'
    if when == "factory":
        body = "app = " + body.replace("\n", "\n    ")
        source = f"{head}\ndef app():\n    {late}    {body}\n    return app\n"
    else:
        started = f"async def start(_):\n    {late}    yield\n\n"
        source = f"{head}\n{started}app = {body}".replace("FastAPI()", "FastAPI(lifespan=start)")
    run = world.run(*["--factory"] * (when == "factory"), source=source)
    for number in (1, 2, 3):
        assert (run.get().json()["pid"], "red") in world.imports("heavy")
        until(lambda: child_of(run, "spare").get("warm"), what="a warm spare")
        commit(run, f'VERSION = "{number}"', f'VERSION = "{number + 1}"')
    assert {colour for _, colour in world.imports("heavy")} == {"red"}


def test_the_parent_stays_small_over_several_edits(livecore: Launcher) -> None:
    run = livecore.app(source=PLAYGROUND_APP)
    for version in range(1, 4):
        run.get()
        run.wait_settled()
        commit(run, f'VERSION = "{version}"', f'VERSION = "{version + 1}"')
    run.get()
    run.wait_settled()
    status = run.status()
    assert status["pid"] == run.pid
    assert 0 < status["rss"] < 60e6
