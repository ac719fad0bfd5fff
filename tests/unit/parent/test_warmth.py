"""What is imported ahead is learned, kept for the next run, and thrown away when its world has changed."""

from __future__ import annotations

import dataclasses
import json
import os
import stat
import sys
from pathlib import Path
from typing import Any

import pytest

from livereload_core.core.settings import Settings, Target, TargetKind
from livereload_core.errors import UsageError
from livereload_core.facts import ENTRY_POINTS
from livereload_core.parent.warmth import LOCK_FILES, Warmth, environment

NAMES = ("json", "fastapi", "numpy")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return folder


def _settings(root: Path, **others: Any) -> Settings:
    root.mkdir(exist_ok=True)
    place = str(root)
    return Settings(Target(TargetKind.MODULE, "app"), cwd=place, root=place, app_dir=place, **others)


@pytest.fixture
def settings(tmp_path: Path, cache: Path) -> Settings:
    return _settings(tmp_path / "project")


def _file(cache: Path) -> Path:
    (path,) = cache.glob("livecore/*/modules.json")
    return path


def test_a_project_that_never_ran_is_cold(settings: Settings, cache: Path) -> None:
    assert Warmth(settings).modules() == ((), "")
    assert not cache.exists()


def test_what_was_learned_is_there_in_the_next_run(settings: Settings) -> None:
    assert Warmth(settings).learn(NAMES)
    assert Warmth(settings).modules() == (NAMES, "")


def test_what_was_learned_is_for_its_owner_alone(settings: Settings, cache: Path) -> None:
    Warmth(settings).learn(NAMES)
    file = _file(cache)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert os.listdir(file.parent) == [file.name]  # no temporary file is left


def test_only_what_is_new_is_written(settings: Settings, cache: Path) -> None:
    warmth = Warmth(settings)
    assert warmth.learn(NAMES)
    before = _file(cache).stat().st_ino
    assert not warmth.learn(NAMES)
    assert not Warmth(settings).learn(NAMES)
    assert _file(cache).stat().st_ino == before
    assert warmth.learn((*NAMES, "pandas"))
    assert warmth.learn(NAMES)  # fewer is news too
    assert Warmth(settings).modules() == (NAMES, "")


def test_projects_do_not_mix(settings: Settings, tmp_path: Path, cache: Path) -> None:
    Warmth(settings).learn(NAMES)
    assert Warmth(_settings(tmp_path / "other")).modules() == ((), "")


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b'{"python": 1}',
        json.dumps({"python": sys.version, "prefix": sys.prefix}).encode(),
        json.dumps({"python": sys.version, "prefix": sys.prefix, "modules": 3}).encode(),
        json.dumps({"python": "3.9.0", "prefix": sys.prefix, "modules": ["json"]}).encode(),
        json.dumps({"python": sys.version, "prefix": "/elsewhere", "modules": ["json"]}).encode(),
    ],
    ids=[
        "empty",
        "half",
        "list",
        "null",
        "no text",
        "too little",
        "no modules",
        "number",
        "other Python",
        "other environment",
    ],
)
def test_what_is_damaged_or_of_another_python_is_cold_and_mends_itself(
    settings: Settings, cache: Path, damage: bytes
) -> None:
    Warmth(settings).learn(NAMES)
    _file(cache).write_bytes(damage)
    warmth = Warmth(settings)
    assert warmth.modules() == ((), "")
    assert warmth.learn(NAMES)
    assert Warmth(settings).modules() == (NAMES, "")


def test_what_cannot_be_written_is_known_for_this_run(settings: Settings, cache: Path) -> None:
    cache.write_text("a file where a folder should be")
    warmth = Warmth(settings)
    assert warmth.learn(NAMES)
    assert warmth.modules() == (NAMES, "")


def test_without_a_cache_folder_of_ones_own_it_is_the_one_in_the_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    Warmth(_settings(tmp_path / "project")).learn(NAMES)
    assert _file(tmp_path / "home" / ".cache").exists()


def test_a_module_that_pulled_the_users_code_in_is_left_to_the_program(settings: Settings) -> None:
    warmth = Warmth(settings)
    warmth.learn((*NAMES, "numpy.linalg"))
    warmth.exclude("numpy")
    assert warmth.modules() == (("json", "fastapi"), "")
    assert Warmth(settings).modules() == ((*NAMES, "numpy.linalg"), "")  # the next run tries it again


def test_the_users_word_on_preloading_counts(settings: Settings) -> None:
    Warmth(settings).learn(NAMES)
    without = dataclasses.replace(settings, preload_exclude=("fastapi",))
    assert Warmth(without).modules() == (("json", "numpy"), "")
    modules, reason = Warmth(dataclasses.replace(settings, preload=("off",))).modules()
    assert modules == ()
    assert reason


def test_the_fingerprint_is_the_same_while_nothing_changes(settings: Settings) -> None:
    assert Warmth(settings).fingerprint() == Warmth(settings).fingerprint()


@pytest.mark.parametrize("name", LOCK_FILES)
def test_the_fingerprint_changes_when_a_lock_file_comes_changes_and_goes(
    settings: Settings, name: str
) -> None:
    warmth = Warmth(settings)
    path = Path(settings.root) / name
    seen = [warmth.fingerprint()]
    path.write_text("a\n")
    seen.append(warmth.fingerprint())
    os.utime(path, (1, 1))
    seen.append(warmth.fingerprint())
    assert len(set(seen)) == 3
    path.unlink()
    assert warmth.fingerprint() == seen[0]


def test_the_fingerprint_does_not_know_the_users_own_files(settings: Settings) -> None:
    warmth = Warmth(settings)
    before = warmth.fingerprint()
    (Path(settings.root) / "app.py").write_text("x = 1\n")
    assert warmth.fingerprint() == before


def test_the_environment_file_is_part_of_the_world(settings: Settings, tmp_path: Path) -> None:
    file = tmp_path / "settings.env"
    file.write_text("A=1\n")
    assert str(file) not in Warmth(settings).files
    warmth = Warmth(dataclasses.replace(settings, env_file=str(file)))
    assert str(file) in warmth.files
    before = warmth.fingerprint()
    os.utime(file, (1, 1))
    assert warmth.fingerprint() != before


def test_lock_files_are_looked_for_in_the_root(settings: Settings) -> None:
    assert Warmth(settings).files == tuple(f"{settings.root}/{name}" for name in LOCK_FILES)


def test_the_environment_of_the_run_stands_above_the_file_as_it_is_now(
    settings: Settings, tmp_path: Path
) -> None:
    file = tmp_path / "settings.env"
    file.write_text("COLOUR=green\nSHAPE=round\n")
    given = dataclasses.replace(settings, env_file=str(file), env=(("COLOUR", "grey"), ("SIZE", "old")))
    assert environment(given, {"SHAPE": "square"}) == {"COLOUR": "green", "SHAPE": "square"}
    file.write_text("COLOUR=blue\n")
    assert environment(given, {}) == {"COLOUR": "blue"}


def test_without_a_file_the_given_variables_stand_below_the_environment(settings: Settings) -> None:
    given = dataclasses.replace(settings, env=(("COLOUR", "grey"), ("SHAPE", "round")))
    assert environment(given, {"SHAPE": "square"}) == {"COLOUR": "grey", "SHAPE": "square"}


@pytest.mark.parametrize("kind", ["missing", "no text"])
def test_an_environment_file_that_cannot_be_read_is_said_with_its_name(
    settings: Settings, tmp_path: Path, kind: str
) -> None:
    file = tmp_path / "settings.env"
    if kind == "no text":
        file.write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match=r"settings\.env cannot be read.*restore the file"):
        environment(dataclasses.replace(settings, env_file=str(file)), {})


def _install(folder: Path, *points: str) -> None:
    info = folder / "plugin-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: plugin\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("\n".join([f"[{ENTRY_POINTS}]", *points, ""]))


def test_kinds_of_target_are_found_where_the_child_will_look(settings: Settings, tmp_path: Path) -> None:
    _install(tmp_path / "lib", "mine = plugin.module:Adapter")
    warmth = Warmth(settings)
    assert "mine = plugin.module:Adapter" not in warmth.plugins({})[0]
    found = warmth.plugins({"PYTHONPATH": str(tmp_path / "lib")})[0]
    assert "mine = plugin.module:Adapter" in found
    assert {point.partition(" ")[0] for point in found} >= {
        "aiohttp",
        "asgi",
        "wsgi",
        "coroutine",
        "function",
    }


def test_kinds_of_target_are_looked_for_once_per_installation(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "site-packages"
    place.mkdir()
    monkeypatch.syspath_prepend(tmp_path)  # stands for the folder of the command, which children do not have
    monkeypatch.setattr(sys, "path", [sys.path[0], str(place), *sys.path[1:]])
    warmth = Warmth(settings)
    first = warmth.plugins({})[0]
    assert warmth.plugins({})[0] is first
    _install(place, "late = plugin.module:Adapter")
    os.utime(place, (1, 1))
    assert "late = plugin.module:Adapter" in warmth.plugins({})[0]


def test_a_folder_of_installed_distributions_on_the_path_is_part_of_the_world(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "dist-packages"
    place.mkdir()
    monkeypatch.setattr(sys, "path", [*sys.path, str(place)])
    warmth = Warmth(settings)
    before = warmth.fingerprint()
    _install(place)
    os.utime(place, (1, 1))
    assert warmth.fingerprint() != before


def test_other_settings_of_the_project_count_from_then_on(settings: Settings, tmp_path: Path) -> None:
    warmth = Warmth(settings)
    warmth.learn(NAMES)
    file = tmp_path / "other.env"
    file.write_text("")
    warmth.configure(dataclasses.replace(settings, preload_exclude=("fastapi",), env_file=str(file)))
    assert warmth.modules() == (("json", "numpy"), "")
    assert str(file) in warmth.files


def test_a_package_of_which_several_modules_pull_the_users_code_in_is_left_out(settings: Settings) -> None:
    warmth = Warmth(settings)
    warmth.learn(("json", "web.a", "web.b", "web.c", "web.d", "webby"))
    for name, left in (("web.a", "web.b web.c web.d "), ("web.c", "web.b web.d "), ("web.b", "")):
        warmth.exclude(name)
        assert warmth.modules() == (tuple(f"json {left}webby".split()), "")


@pytest.mark.parametrize("place", ["root", "cwd"])
def test_the_usual_environment_file_is_part_of_the_world_although_nobody_names_it(
    settings: Settings, place: str
) -> None:
    warmth = Warmth(settings)
    before = warmth.fingerprint()
    Path(getattr(settings, place), ".env").write_text("A=1\n")
    assert warmth.fingerprint() != before
    assert not any(file.endswith(".env") for file in warmth.files), "it reloads nothing by itself"
