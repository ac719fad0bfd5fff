"""Which folders hold the user's own code. What becomes of edits is shown end to end."""

from __future__ import annotations

import json
import sysconfig
from pathlib import Path
from typing import Any

import pytest

import livereload_core
from livereload_core.core.settings import Settings, Target, TargetKind
from livereload_core.parent.edits import editable_roots, user_roots

ELSEWHERE = [str(Path(root).resolve()) for root in editable_roots(sysconfig.get_path("purelib"))]
"""Other projects that are installed editable beside this one: on most machines none."""


def _install(site_packages: Path, name: str, direct_url: object) -> None:
    folder = site_packages / f"{name}-1.0.dist-info"
    folder.mkdir()
    text = direct_url if isinstance(direct_url, str) else json.dumps(direct_url)
    (folder / "direct_url.json").write_text(text)


def _editable(url: str) -> dict[str, Any]:
    return {"url": url, "dir_info": {"editable": True}}


def _settings(tmp_path: Path, target: Target | None = None, **others: Any) -> Settings:
    root = tmp_path / "project"
    root.mkdir(exist_ok=True)
    places = {"cwd": str(root), "root": str(root), "app_dir": str(root), **others}
    return Settings(target or Target(TargetKind.MODULE, "app"), **places)


def test_projects_installed_editable_are_found_in_the_order_of_their_names(tmp_path: Path) -> None:
    _install(tmp_path, "shop", _editable("file:///home/ann/shop"))
    _install(tmp_path, "cart", _editable("file:///home/ann/my%20cart"))
    assert editable_roots(str(tmp_path)) == ["/home/ann/my cart", "/home/ann/shop"]


def test_installs_that_are_copies_are_not(tmp_path: Path) -> None:
    _install(tmp_path, "copied", {"url": "file:///home/ann/copied", "dir_info": {}})
    _install(tmp_path, "refused", {"url": "file:///home/ann/refused", "dir_info": {"editable": False}})
    _install(tmp_path, "archive", {"url": "https://example.org/a.whl", "archive_info": {}})
    _install(tmp_path, "cloned", {"url": "https://example.org/a.git", "vcs_info": {"vcs": "git"}})
    assert editable_roots(str(tmp_path)) == []


@pytest.mark.parametrize("text", ["", "{", "{}", '{"dir_info": {"editable": true}}'])
def test_a_broken_install_hides_no_other(tmp_path: Path, text: str) -> None:
    _install(tmp_path, "broken", text)
    _install(tmp_path, "shop", _editable("file:///home/ann/shop"))
    assert editable_roots(str(tmp_path)) == ["/home/ann/shop"]


def test_livecore_itself_is_not_the_users_code(tmp_path: Path) -> None:
    ours = Path(livereload_core.__file__).parents[1]
    _install(tmp_path, "livereload_core", _editable(ours.as_uri()))
    assert editable_roots(str(tmp_path)) == []


def test_a_missing_folder_of_installs_has_none(tmp_path: Path) -> None:
    assert editable_roots(str(tmp_path / "missing")) == []


def test_the_project_comes_first_and_what_lies_below_it_is_not_named_again(tmp_path: Path) -> None:
    source = tmp_path / "project" / "src"
    source.mkdir(parents=True)
    roots = user_roots(_settings(tmp_path, app_dir=str(source), reload_dirs=(str(source),)))
    assert roots == (str(tmp_path / "project"), *ELSEWHERE)


def test_folders_beside_the_project_are_roots_too(tmp_path: Path) -> None:
    app_dir, extra = tmp_path / "app", tmp_path / "project-tools"
    roots = user_roots(_settings(tmp_path, app_dir=str(app_dir), reload_dirs=(str(extra),)))
    assert roots == (str(tmp_path / "project"), str(app_dir), str(extra), *ELSEWHERE)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("tool.py", ()), ("deep/tool.py", ()), ("../scripts/tool.py", ("scripts",)), ("{}/s/t.py", ("s",))],
    ids=["in the project", "below it", "beside it", "absolute"],
)
def test_the_folder_of_a_script_is_a_root(tmp_path: Path, name: str, expected: tuple[str, ...]) -> None:
    target = Target(TargetKind.SCRIPT, name.format(tmp_path))
    roots = user_roots(_settings(tmp_path, target))
    assert roots == (str(tmp_path / "project"), *(str(tmp_path / folder) for folder in expected), *ELSEWHERE)


def test_the_name_of_a_module_is_no_folder(tmp_path: Path) -> None:
    roots = user_roots(_settings(tmp_path, Target(TargetKind.PACKAGE, "shop.web")))
    assert roots == (str(tmp_path / "project"), *ELSEWHERE)


def test_roots_are_real_folders(tmp_path: Path) -> None:
    settings = _settings(tmp_path)
    link = tmp_path / "link"
    link.symlink_to(settings.root)
    assert user_roots(_settings(tmp_path, root=str(link), app_dir=str(link)))[0] == settings.root
