"""Which changes matter, as a table."""

from __future__ import annotations

import pytest

from livereload_core.core.watching import Verdict, WatchRules
from livereload_core.errors import UsageError

ROOT = "/home/me/venv/project"
GITIGNORE = """\
# written by hand
*.log
!keep.log

build/
/data/
generated.py
"""


def _rules(*, include: tuple[str, ...] = (), exclude: tuple[str, ...] = ()) -> WatchRules:
    return WatchRules([ROOT], include=include, exclude=exclude, gitignores={f"{ROOT}/.gitignore": GITIGNORE})


@pytest.mark.parametrize(
    ("path", "verdict", "why"),
    [
        ("app.py", Verdict.UNUSED, "not imported by the running program"),
        ("used.py", Verdict.RELOAD, "imported by the running program"),
        ("missing/mod.py", Verdict.RELOAD, "named by the last failure"),
        ("generated.py", Verdict.IGNORE, "ignored by .gitignore:7 'generated.py'"),
        ("sub/a.log", Verdict.IGNORE, "ignored by .gitignore:2 '*.log'"),
        ("keep.log", Verdict.UNUSED, "not imported by the running program"),
        ("sub/build/x/y.py", Verdict.IGNORE, "ignored by .gitignore:5 'build/'"),
        (".git/index", Verdict.IGNORE, "below .git/, which is never watched"),
        ("web/node_modules/a/b.py", Verdict.IGNORE, "below node_modules/, which is never watched"),
        ("__pycache__/app.cpython-311.pyc", Verdict.IGNORE, "below __pycache__/, which is never watched"),
        ("app.pyc", Verdict.IGNORE, "*.py[cod] is never watched"),
        (".app.py.swp", Verdict.IGNORE, "*.swp is never watched"),
        ("app.py~", Verdict.IGNORE, "*~ is never watched"),
        (".#app.py", Verdict.IGNORE, ".#* is never watched"),
        ("#app.py#", Verdict.IGNORE, "#*# is never watched"),
        ("4913", Verdict.IGNORE, "4913 is never watched"),
        ("config.yaml", Verdict.UNUSED, "not imported by the running program"),
    ],
)
def test_file_below_the_root_is_judged_with_a_reason(path: str, verdict: Verdict, why: str) -> None:
    imported, named = {f"{ROOT}/used.py"}, {f"{ROOT}/missing/mod.py"}
    rules = _rules()
    assert rules.verdict(f"{ROOT}/{path}", imported=imported, named=named) is verdict
    assert rules.why(f"{ROOT}/{path}", imported=imported, named=named) == why
    assert rules.ignores(f"{ROOT}/{path}") == (verdict is Verdict.IGNORE)


def test_ignored_file_that_runs_counts() -> None:
    path = f"{ROOT}/generated.py"
    assert _rules().verdict(path, imported={path}, named=()) is Verdict.RELOAD
    assert _rules().verdict(path, imported=(), named={path}) is Verdict.RELOAD


def test_file_outside_counts_only_if_it_runs() -> None:
    assert _rules().why("/elsewhere/a.py") == "outside of the watched folders"
    assert _rules().why(f"{ROOT}-other/a.py") == "outside of the watched folders"
    assert _rules().verdict("/elsewhere/a.py", imported={"/elsewhere/a.py"}, named=()) is Verdict.RELOAD


def test_users_patterns_count_from_the_root() -> None:
    rules = _rules(include=("*.yaml", "/conf/*.ini"), exclude=("tests/", "local.yaml"))
    assert rules.why(f"{ROOT}/deep/er/a.yaml") == "matches --reload-include '*.yaml'"
    assert rules.includes(f"{ROOT}/conf/a.ini")
    assert not rules.includes(f"{ROOT}/deep/conf/a.ini")
    assert rules.why(f"{ROOT}/local.yaml") == "matches --reload-exclude 'local.yaml'"
    assert rules.prunes(f"{ROOT}/tests")
    path = f"{ROOT}/tests/helper.py"
    assert rules.why(path, imported={path}) == "matches --reload-exclude 'tests/'"


def test_include_takes_back_an_ignored_file_but_not_one_in_an_ignored_folder() -> None:
    rules = _rules(include=("*.log", "*.json"))
    assert rules.verdict(f"{ROOT}/a.log", imported=(), named=()) is Verdict.RELOAD
    assert rules.verdict(f"{ROOT}/data/a.json", imported=(), named=()) is Verdict.IGNORE
    assert rules.verdict(f"{ROOT}/node_modules/a.json", imported=(), named=()) is Verdict.IGNORE


def test_include_that_says_the_folder_opens_it() -> None:
    rules = _rules(include=("data/raw/*.json",))
    assert not rules.prunes(f"{ROOT}/data")
    assert not rules.prunes(f"{ROOT}/data/raw")
    assert rules.prunes(f"{ROOT}/build")
    assert rules.includes(f"{ROOT}/data/raw/a.json")


def test_nested_gitignore_counts_from_its_folder_and_has_the_last_word() -> None:
    rules = _rules()
    assert rules.set_gitignore(f"{ROOT}/sub/.gitignore", "!*.log\n/only.py\n")
    assert not rules.ignores(f"{ROOT}/sub/a.log")
    assert rules.why(f"{ROOT}/sub/only.py") == "ignored by sub/.gitignore:2 '/only.py'"
    assert not rules.ignores(f"{ROOT}/sub/deep/only.py")
    assert rules.ignores(f"{ROOT}/a.log")


def test_gitignore_that_changes_is_followed() -> None:
    rules = _rules()
    path = f"{ROOT}/.gitignore"
    assert rules.prunes(f"{ROOT}/build")
    assert not rules.set_gitignore(path, GITIGNORE)
    assert rules.set_gitignore(path, "*.txt\n")
    assert not rules.prunes(f"{ROOT}/build")
    assert rules.ignores(f"{ROOT}/a.txt")
    assert rules.set_gitignore(path, None)
    assert not rules.ignores(f"{ROOT}/a.txt")


def test_gitignore_above_the_root_ignores_files_but_not_the_root_itself() -> None:
    rules = WatchRules([f"{ROOT}/sandbox"], gitignores={f"{ROOT}/.gitignore": "sandbox/\n*.log\n"})
    assert not rules.ignores(f"{ROOT}/sandbox/app.py")
    assert rules.why(f"{ROOT}/sandbox/a.log") == f"ignored by {ROOT}/.gitignore:2 '*.log'"
    rules.set_gitignore(f"{ROOT}/.git/info/exclude", "private.py\n")
    assert rules.ignores(f"{ROOT}/sandbox/private.py")


def test_line_that_is_no_pattern_is_passed_over_in_gitignore_and_refused_from_the_user() -> None:
    rules = WatchRules([ROOT], gitignores={f"{ROOT}/.gitignore": "!\n*.log\n"})
    assert rules.why(f"{ROOT}/a.log") == "ignored by .gitignore:2 '*.log'"
    with pytest.raises(UsageError, match="--reload-include '!' is no pattern"):
        _rules(include=("!",))


def test_several_roots_each_count_their_own_patterns() -> None:
    rules = WatchRules([ROOT, "/libs/one"], include=("/settings.toml",))
    rules.add_root("/libs/two/")
    for root in (ROOT, "/libs/one", "/libs/two"):
        assert rules.includes(f"{root}/settings.toml"), root
        assert not rules.includes(f"{root}/sub/settings.toml"), root
    assert rules.roots == (ROOT, "/libs/one", "/libs/two")


def test_root_of_the_file_system_can_be_watched() -> None:
    rules = WatchRules(["/"], include=("*.yaml",))
    assert rules.includes("/a.yaml")
    assert rules.includes("/srv/a.yaml")
    assert rules.prunes("/srv/.git")
