"""From what the user named to what runs: which attribute is guessed, and what is said when there is none.

What a program sees of ``sys`` is shown end to end.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from livereload_core.child import gate
from livereload_core.child.imports import UserImports
from livereload_core.child.program import GUESSED_ATTRIBUTES, Program, load
from livereload_core.core.settings import Settings, Target, TargetKind
from livereload_core.errors import UsageError

Load = Callable[..., Program]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Load]:
    """Writes the files of a project and loads a target of it; ``sys`` is as before afterwards."""
    folder = tmp_path.resolve()
    imports = UserImports(roots=[str(folder)])
    monkeypatch.setattr(sys, "argv", [*sys.argv])
    monkeypatch.setattr(sys, "path", [*sys.path])
    modules = dict(sys.modules)

    def run(target: Target, *, factory: bool = False, **files: str) -> Program:
        for name, source in files.items():
            path = folder / f"{name.replace('__', '/', 1) if '__' in name else name}.py"
            path.parent.mkdir(exist_ok=True)
            path.write_text(source)
        imports.install()
        place = str(folder)
        return load(Settings(target, cwd=place, root=place, app_dir=place, factory=factory), imports)

    yield run
    imports.uninstall()
    sys.modules.clear()
    sys.modules.update(modules)


def _attribute(name: str, attribute: str) -> Target:
    return Target(TargetKind.ATTRIBUTE, name, attribute)


def _module(name: str) -> Target:
    return Target(TargetKind.MODULE, name)


@pytest.mark.parametrize("name", GUESSED_ATTRIBUTES)
def test_an_attribute_with_one_of_the_usual_names_is_found(run: Load, name: str) -> None:
    program = run(_module("shop"), shop=f"def {name}(): return 'made'\n")
    if name in ("create_app", "make_app"):
        assert program.target == "made"  # factories by their name
    else:
        assert program.target.__name__ == name


def test_the_more_usual_name_wins(run: Load) -> None:
    source = "".join(f"{name} = {name!r}\n" for name in reversed(GUESSED_ATTRIBUTES))
    assert run(_module("shop"), shop=source).target == GUESSED_ATTRIBUTES[0]


def test_a_module_without_any_of_them_is_told_how_to_say_which(run: Load) -> None:
    with pytest.raises(UsageError) as raised:
        run(_module("shop"), shop="application_ = 1\n")
    assert str(raised.value).startswith(
        "module 'shop' has none of app, application, main, create_app, make_app"
    )
    assert raised.value.advice == "say which attribute to run: shop:NAME"


def test_a_dotted_attribute_is_followed(run: Load) -> None:
    source = "class web:\n    class site:\n        app = 'found'\n"
    assert run(_attribute("shop", "web.site.app"), shop=source).target == "found"


def test_a_factory_by_its_usual_name_is_not_called_when_it_was_named(run: Load) -> None:
    program = run(_attribute("shop", "create_app"), shop="def create_app(): raise ValueError\n")
    assert program.target.__name__ == "create_app"


def test_with_factory_the_attribute_is_called(run: Load) -> None:
    target = _attribute("shop", "build")
    assert run(target, factory=True, shop="def build(): return ['app']\n").target == ["app"]


def test_a_factory_that_is_no_function_is_refused(run: Load) -> None:
    with pytest.raises(UsageError, match=r"shop:app is not callable; leave --factory out"):
        run(_attribute("shop", "app"), factory=True, shop="app = 3\n")


def test_a_missing_attribute_is_pythons_own_error_with_its_proposal(run: Load) -> None:
    with pytest.raises(AttributeError) as raised:
        run(_attribute("shop", "ap"), shop="app = 3\n")
    assert raised.value.name == "ap"
    assert raised.value.obj is sys.modules["shop"]


def test_a_missing_module_is_pythons_own_error_with_its_name(run: Load) -> None:
    with pytest.raises(ModuleNotFoundError) as raised:
        run(_module("no_such_shop"))
    assert raised.value.name == "no_such_shop"


@pytest.mark.parametrize("error", ["ValueError", "SystemExit", "KeyboardInterrupt"])
def test_what_the_code_raises_comes_out_as_it_is(run: Load, error: str) -> None:
    with pytest.raises((Exception, SystemExit, KeyboardInterrupt)) as raised:
        run(_module("shop"), shop=f"raise {error}('the code objects')\n")
    assert type(raised.value).__name__ == error


@dataclasses.dataclass
class Notes:
    """What a script and its gate have noted."""

    entries: list[str]

    def __call__(self, entry: str) -> None:
        self.entries.append(entry)


@pytest.fixture
def note(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Scripts find it as ``sys.note``."""
    entries: list[str] = []
    monkeypatch.setattr(sys, "note", Notes(entries), raising=False)
    gate.install(lambda: entries.append("gate"))
    yield entries
    gate.install(lambda: None)


def _run(program: Program) -> None:
    assert program.target is None
    assert program.script is not None
    program.script()


def test_a_script_is_compiled_at_once_and_runs_up_to_its_gate_later(run: Load, note: list[str]) -> None:
    source = "import sys\nsys.note('define')\nif __name__ == '__main__':\n    sys.note('main')\n"
    program = run(Target(TargetKind.SCRIPT, "tool.py"), tool=source)
    assert note == []
    _run(program)
    assert note == ["define", "gate", "main", "gate"]


def test_a_script_without_a_main_block_makes_its_first_imports_before_the_gate(
    run: Load, note: list[str]
) -> None:
    program = run(
        Target(TargetKind.SCRIPT, "tool.py"),
        tool="import early\nimport sys\nsys.note('body')\nimport late\n",
        early="import sys\nsys.note('early')\n",
        late="import sys\nsys.note('late')\n",
    )
    _run(program)
    assert note == ["early", "gate", "body", "late", "gate"]


def test_a_script_that_cannot_be_compiled_is_said_before_it_runs(run: Load) -> None:
    with pytest.raises(SyntaxError) as raised:
        run(Target(TargetKind.SCRIPT, "tool.py"), tool="def broken(:\n")
    assert raised.value.lineno == 1


def test_a_missing_script_is_said_with_its_path(run: Load) -> None:
    with pytest.raises(FileNotFoundError, match=r"missing\.py"):
        run(Target(TargetKind.SCRIPT, "missing.py"))


def test_a_package_runs_its_main_module_and_a_module_itself(run: Load, note: list[str]) -> None:
    files = {
        "pack____init__": "",
        "pack____main__": "import sys\nsys.note(__name__ + ' ' + __package__)\n",
        "pack__inner": "import sys\nsys.note('inner ' + __package__)\n",
    }
    _run(run(Target(TargetKind.PACKAGE, "pack"), **files))
    _run(run(Target(TargetKind.PACKAGE, "pack.inner"), **files))
    assert [entry for entry in note if entry != "gate"] == ["__main__ pack", "inner pack"]


@pytest.mark.parametrize(
    ("name", "missing"),
    [("no_such_pack", "no_such_pack"), ("pack", "pack.__main__")],
    ids=["none", "no main"],
)
def test_a_package_that_cannot_be_run_is_pythons_own_error(run: Load, name: str, missing: str) -> None:
    with pytest.raises(ModuleNotFoundError) as raised:
        run(Target(TargetKind.PACKAGE, name), pack____init__="")
    assert raised.value.name == missing


def test_an_installed_module_is_run_behind_the_gate(run: Load, note: list[str], capsys: Any) -> None:
    _run(run(Target(TargetKind.PACKAGE, "this")))  # the standard library's shortest program
    assert note == ["gate"]
    assert "Beautiful is better than ugly" in capsys.readouterr().out


def test_a_module_without_python_code_cannot_be_run(run: Load) -> None:
    extension = next(
        name
        for name in ("_asyncio", "_json", "_heapq", "_bisect")
        if str(getattr(sys.modules.get(name), "__file__", "")).endswith(".so")
    )
    with pytest.raises(UsageError, match=rf"module '{extension}' has no Python code to run"):
        run(Target(TargetKind.PACKAGE, extension))
