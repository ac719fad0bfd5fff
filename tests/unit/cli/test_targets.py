"""Targets: their forms, and the sentence for each slip of the hand."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from livereload_core.cli.targets import check_target, parse_target
from livereload_core.core.settings import Target, TargetKind
from livereload_core.errors import UsageError


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name in (
        "app.py",
        "serve.py",
        "shop/__init__.py",
        "shop/app.py",
        "shop/__main__.py",
        "shop/api/v1.py",
    ):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("raise RuntimeError('imported')\n")
    (tmp_path / "src" / "hidden").mkdir(parents=True)
    (tmp_path / "src" / "hidden" / "__init__.py").touch()
    (tmp_path / "empty").mkdir()
    return tmp_path


def check(project: Path, text: str = "", *, module: str = "", extra: tuple[str, ...] = ()) -> Target:
    target = parse_target(text or None, module or None, (), str(project))
    check_target(target, cwd=str(project), app_dir=str(project), extra_path=extra)
    return target


@pytest.mark.parametrize(
    ("text", "module", "target"),
    [
        ("app:app", "", Target(TargetKind.ATTRIBUTE, "app", "app")),
        ("shop.app:make.it", "", Target(TargetKind.ATTRIBUTE, "shop.app", "make.it")),
        ("shop.app", "", Target(TargetKind.MODULE, "shop.app")),
        ("shop.api.v1", "", Target(TargetKind.MODULE, "shop.api.v1")),
        ("app.py", "", Target(TargetKind.SCRIPT, "app.py")),
        ("./shop/app.py", "", Target(TargetKind.SCRIPT, "./shop/app.py")),
        ("", "shop", Target(TargetKind.PACKAGE, "shop")),
        ("", "http.server", Target(TargetKind.PACKAGE, "http.server")),
        ("os.path", "", Target(TargetKind.MODULE, "os.path")),
        ("sys", "", Target(TargetKind.MODULE, "sys")),
    ],
)
def test_each_form_is_recognised_and_found_without_importing(
    project: Path, text: str, module: str, target: Target
) -> None:
    assert check(project, text, module=module) == target
    assert "shop" not in sys.modules


def test_a_script_needs_no_extension_when_it_is_there(project: Path) -> None:
    (project / "run-me").touch()
    assert check(project, "run-me").kind is TargetKind.SCRIPT


def test_modules_on_the_extra_path_are_found(project: Path) -> None:
    assert check(project, "hidden", extra=(str(project / "src"),)).name == "hidden"


@pytest.mark.parametrize(
    ("text", "module", "expected"),
    [
        ("", "", "there is no target to run; write pkg.mod:attr"),
        ("app", "shop", "both the target 'app' and -m 'shop'"),
        ("app.py:app", "", "write app:app, or app.py to run the script"),
        ("src/app.py:app", "", "write --app-dir src app:app"),
        ("app:", "", "write app:app or just app"),
        ("app:1x", "", "has no attribute"),
        ("a b", "", "neither a module nor a script"),
        ("", "shop:app", "write -m shop or, without -m, shop:app"),
        ("", "shop/app.py", "neither a module nor a script"),
        ("ap.py", "", "did you mean app.py?"),
        ("shop/ap.py", "", "did you mean shop/app.py?"),
        ("empty/x.py", "", "that folder holds no .py file"),
        ("zzzzzzzz.py", "", "there are app.py, serve.py"),
        ("nowhere/app.py", "", "there is no folder 'nowhere'"),
        ("shop/", "", "is a folder; name -m shop"),
        ("empty/", "", "is a folder; name a script inside of it"),
        ("shp.app:app", "", "did you mean shop.app:app?"),
        ("shop.ap:app", "", "did you mean shop.app:app?"),
        ("", "shp", "did you mean -m shop?"),
        ("app.nothing", "", "there is no module 'app.nothing'"),
        ("hidden:app", "", "it lies in src/: add --app-dir src"),
        ("zzzzzzzz", "", "point --app-dir at the folder"),
        ("", "shop.api", "is a package without a __main__.py"),
    ],
)
def test_a_slip_gets_one_sentence_with_what_was_meant(
    project: Path, text: str, module: str, expected: str
) -> None:
    with pytest.raises(UsageError) as caught:
        check(project, text, module=module)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_broken_module_is_not_a_usage_error(project: Path) -> None:
    (project / "app.py").write_text("def broken(:\n")
    assert check(project, "app:app").name == "app"
