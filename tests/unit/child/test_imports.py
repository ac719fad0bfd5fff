"""Importing the user's files: what is told is what was compiled, and the rest of Python does not notice."""

from __future__ import annotations

import ast
import importlib
import importlib.machinery
import importlib.resources
import importlib.util
import inspect
import os
import pkgutil
import py_compile
import shutil
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from livereload_core.child.imports import UserImports, names_for_failure, user_traceback
from livereload_core.wire import bundle

Install = Callable[..., UserImports]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project that is first on ``sys.path``."""
    root = tmp_path / "project"
    root.mkdir()
    monkeypatch.syspath_prepend(str(root))
    return root


@pytest.fixture
def install(project: Path) -> Iterator[Install]:
    """Installs the import of the user's code for a project; undone at the end."""
    before = set(sys.modules)
    installed: list[UserImports] = []

    def install(
        *roots: Path, overlay: Mapping[str, bytes] | None = None, exclude: tuple[str, ...] = ()
    ) -> UserImports:
        imports = UserImports(
            roots=[str(root) for root in roots or (project,)], overlay=overlay, exclude=exclude
        )
        imports.install()
        installed.append(imports)
        return imports

    yield install
    for imports in installed:
        imports.uninstall()
    for name in set(sys.modules) - before:
        if "project" in str(getattr(sys.modules[name], "__spec__", "")) or name.startswith("u_"):
            del sys.modules[name]


def _write(path: Path, text: str, *, mtime: int | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    if mtime is not None:
        os.utime(path, (mtime, mtime))
    return path


# --- from source, always ------------------------------------------------------------------------------


def test_source_of_equal_size_and_second_is_run_not_the_stale_bytecode(
    project: Path, install: Install
) -> None:
    file = _write(project / "u_stale.py", "VALUE = 1\n", mtime=1_000_000_000)
    py_compile.compile(str(file))
    _write(file, "VALUE = 2\n", mtime=1_000_000_000)
    install()
    assert importlib.import_module("u_stale").VALUE == 2


def test_no_bytecode_is_written_and_the_module_says_so(project: Path, install: Install) -> None:
    _write(project / "u_plain.py", "VALUE = 1\n")
    install()
    module = importlib.import_module("u_plain")
    assert not (project / "__pycache__").exists()
    assert module.__file__ == str(project / "u_plain.py")
    assert not hasattr(module, "__cached__")
    assert module.__spec__ is not None
    assert module.__spec__.cached is None
    assert isinstance(module.__spec__.loader, importlib.machinery.SourceFileLoader)


def test_loaded_tells_path_and_digest_of_what_was_compiled(project: Path, install: Install) -> None:
    file = _write(project / "u_pkg" / "__init__.py", "from u_pkg import part\n")
    part = _write(project / "u_pkg" / "part.py", "VALUE = 1\n")
    imports = install()
    importlib.import_module("u_pkg")
    part.write_text("VALUE = 2\n")
    assert imports.loaded() == {
        str(file): bundle.content_digest(b"from u_pkg import part\n"),
        str(part): bundle.content_digest(b"VALUE = 1\n"),
    }


def test_module_that_fails_is_told_too(project: Path, install: Install) -> None:
    file = _write(project / "u_fails.py", "1 / 0\n")
    imports = install()
    with pytest.raises(ZeroDivisionError):
        importlib.import_module("u_fails")
    assert str(file) in imports.loaded()


def test_reload_compiles_anew(project: Path, install: Install) -> None:
    file = _write(project / "u_again.py", "VALUE = 1\n", mtime=1_000_000_000)
    imports = install()
    module = importlib.import_module("u_again")
    _write(file, "VALUE = 2\n", mtime=1_000_000_000)
    assert importlib.reload(module).VALUE == 2
    assert imports.loaded()[str(file)] == bundle.content_digest(b"VALUE = 2\n")


def test_user_modules_that_were_imported_before_are_forgotten(project: Path, install: Install) -> None:
    file = _write(project / "u_early.py", "VALUE = 1\n", mtime=1_000_000_000)
    assert importlib.import_module("u_early").VALUE == 1
    _write(file, "VALUE = 2\n", mtime=1_000_000_000)
    install()
    assert importlib.import_module("u_early").VALUE == 2


def test_module_that_appears_after_the_folder_was_looked_at_is_found(project: Path, install: Install) -> None:
    sys.path_importer_cache.pop(str(project), None)
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("u_late")
    _write(project / "u_late.py", "VALUE = 1\n")
    install()
    assert importlib.import_module("u_late").VALUE == 1


def test_module_loaded_after_the_mark_is_told_as_late(project: Path, install: Install) -> None:
    _write(project / "u_first.py", "")
    late = _write(project / "u_second.py", "")
    imports = install()
    told: list[str] = []
    imports.on_late_import = told.append
    importlib.import_module("u_first")
    imports.mark()
    importlib.import_module("u_second")
    importlib.import_module("u_first")
    assert told == [str(late)]


# --- Python's ways go on working -----------------------------------------------------------------------


def test_coding_cookie_is_honoured(project: Path, install: Install) -> None:
    (project / "u_latin.py").write_bytes("# coding: latin-1\nWORD = 'grün'\n".encode("latin-1"))
    install()
    module = importlib.import_module("u_latin")
    assert module.WORD == "grün"
    assert "grün" in inspect.getsource(module)


def test_source_shown_is_the_source_that_runs(project: Path, install: Install) -> None:
    file = _write(project / "u_shown.py", "def broken():\n    raise ValueError('old')\n")
    install()
    module = importlib.import_module("u_shown")
    file.write_text("\n\n\n# something else\n")
    assert inspect.getsource(module.broken) == "def broken():\n    raise ValueError('old')\n"
    with pytest.raises(ValueError, match="old") as caught:
        module.broken()
    assert "raise ValueError('old')" in "".join(traceback.format_exception(caught.value))


def test_namespace_packages_resources_and_package_listing_work(project: Path, install: Install) -> None:
    _write(project / "u_space" / "inner.py", "VALUE = 1\n")
    _write(project / "u_data" / "__init__.py", "")
    _write(project / "u_data" / "words.txt", "one two")
    imports = install()
    assert importlib.import_module("u_space.inner").VALUE == 1
    package = importlib.import_module("u_data")
    assert importlib.resources.files(package).joinpath("words.txt").read_text() == "one two"
    assert pkgutil.get_data("u_data", "words.txt") == b"one two"
    assert [found.name for found in pkgutil.iter_modules(importlib.import_module("u_space").__path__)] == [
        "inner"
    ]
    assert imports.is_user_module("u_space")
    assert imports.is_user_module("u_space.inner")


def test_sourceless_module_beside_the_sources_is_imported_and_told(project: Path, install: Install) -> None:
    source = _write(project / "u_bare.py", "VALUE = 3\n")
    compiled = project / "u_bare.pyc"
    py_compile.compile(str(source), cfile=str(compiled))
    source.unlink()
    imports = install()
    assert importlib.import_module("u_bare").VALUE == 3
    assert list(imports.loaded()) == [str(compiled)]
    assert bundle.unpack(imports.bundle()) == {}


def test_extension_module_beside_the_sources_is_loaded_and_told(project: Path, install: Install) -> None:
    installed = importlib.util.find_spec("multidict._multidict")
    assert installed is not None
    assert installed.origin is not None
    copied = Path(shutil.copy(installed.origin, project))
    imports = install()
    spec = importlib.machinery.PathFinder.find_spec("_multidict", [str(project)])
    assert spec is not None
    assert isinstance(spec.loader, importlib.machinery.ExtensionFileLoader)
    importlib.util.module_from_spec(spec)
    assert imports.loaded() == {str(copied): bundle.content_digest(copied.read_bytes())}


def test_optimised_python_drops_asserts_of_the_users_modules(project: Path) -> None:
    _write(project / "u_lean.py", "DEBUG = __debug__\nassert False, 'kept'\n")
    program = (
        "import sys\nfrom livereload_core.child.imports import UserImports\n"
        f"sys.path.insert(0, {str(project)!r})\nUserImports(roots=[{str(project)!r}]).install()\n"
        "import u_lean\nprint(u_lean.DEBUG)"
    )
    done = subprocess.run(
        [sys.executable, "-O", "-c", program], capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stdout == "False\n"


def test_other_modules_keep_their_own_loaders(project: Path, install: Install) -> None:
    imports = install()
    spec = importlib.util.find_spec("json.tool")
    assert spec is not None
    assert type(spec.loader) is importlib.machinery.SourceFileLoader
    assert not imports.is_user_module("json")


def test_finder_of_an_editable_install_gets_modules_compiled_from_source(
    tmp_path: Path, project: Path, install: Install
) -> None:
    src = tmp_path / "project_src"
    file = _write(src / "u_edit" / "__init__.py", "VALUE = 1\n", mtime=1_000_000_000)
    _write(src / "u_edit" / "part.py", "VALUE = 1\n")
    py_compile.compile(str(file))
    _write(file, "VALUE = 2\n", mtime=1_000_000_000)

    class EditableFinder:
        @staticmethod
        def find_spec(
            name: str, path: object = None, target: object = None
        ) -> importlib.machinery.ModuleSpec | None:
            return importlib.util.spec_from_file_location(name, file) if name == "u_edit" else None

    sys.meta_path.append(EditableFinder)
    try:
        imports = install(project, src)
        assert importlib.import_module("u_edit").VALUE == 2
        assert importlib.import_module("u_edit.part").VALUE == 1
    finally:
        sys.meta_path.remove(EditableFinder)
    assert set(imports.loaded()) == {str(file), str(src / "u_edit" / "part.py")}


# --- symlinks ------------------------------------------------------------------------------------------


def test_project_reached_by_a_symlink_is_told_under_its_real_name_only(
    tmp_path: Path, install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = _write(tmp_path / "real_project" / "u_behind.py", "")
    (tmp_path / "project_link").symlink_to(tmp_path / "real_project")
    monkeypatch.syspath_prepend(str(tmp_path / "project_link"))
    imports = install(tmp_path / "project_link")
    importlib.import_module("u_behind")
    assert list(imports.loaded()) == [str(file)]


def test_symlinked_file_is_told_under_both_names(tmp_path: Path, project: Path, install: Install) -> None:
    target = _write(tmp_path / "shared" / "v1.py", "VALUE = 1\n")
    (project / "u_linked.py").symlink_to(target)
    imports = install()
    assert importlib.import_module("u_linked").VALUE == 1
    assert list(imports.loaded()) == [str(target), str(project / "u_linked.py")]


def test_symlinked_folder_is_user_code_under_both_names(
    tmp_path: Path, project: Path, install: Install
) -> None:
    target = _write(tmp_path / "releases" / "u_rel.py", "VALUE = 1\n")
    (project / "current").symlink_to(target.parent)
    sys.path.insert(0, str(project / "current"))
    imports = install()
    importlib.import_module("u_rel")
    assert list(imports.loaded()) == [str(target), str(project / "current" / "u_rel.py")]


# --- whose file it is ----------------------------------------------------------------------------------


def test_installed_code_below_the_root_is_not_the_users(tmp_path: Path) -> None:
    imports = UserImports(roots=[str(tmp_path)], exclude=[str(tmp_path / "generated")])
    assert imports.is_user_path(str(tmp_path / "app.py"))
    assert imports.is_user_path(str(tmp_path / "deep" / "er" / "app.py"))
    for foreign in (
        ".venv/lib/python3.11/site-packages/a.py",
        "env/site-packages/a.py",
        "node_modules/a.py",
        "generated/a.py",
    ):
        assert not imports.is_user_path(str(tmp_path / foreign)), foreign
    assert not imports.is_user_path(str(tmp_path.parent / "other.py"))
    assert not imports.is_user_path(os.__file__)


def test_library_is_not_the_users_even_if_the_root_is_above_it() -> None:
    imports = UserImports(roots=["/"])
    assert not imports.is_user_path(os.__file__)
    assert not imports.is_user_path(pytest.__file__)
    assert not imports.is_user_path(inspect.getfile(UserImports))
    assert imports.is_user_module("__main__")


def test_third_party_lists_libraries_in_import_order_and_nothing_of_the_users(
    project: Path, install: Install
) -> None:
    _write(project / "u_mine.py", "import json.tool\n")
    imports = install()
    importlib.import_module("u_mine")
    names = imports.third_party()
    assert names.index("json") < names.index("json.tool")
    assert {"pytest", "argparse"} <= set(names)
    assert not {"u_mine", "__main__", "sys", "os.path", "livereload_core"} & set(names)
    assert all(not name.startswith("livereload_core.") for name in names)


def test_what_was_loaded_before_a_module_changed_the_environment_stays_third_party(
    tmp_path: Path, project: Path, install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("U_COLOUR", "green")
    installed = tmp_path / "site-packages"
    monkeypatch.syspath_prepend(str(installed))
    for name in ("u_heavy", "u_lazy"):
        _write(installed / f"{name}.py", "")
    _write(project / "u_main.py", "import u_heavy, u_settings, u_lazy\n")
    _write(project / "u_settings.py", "import os\nos.environ['U_COLOUR'] = 'red'\n")
    imports = install()
    importlib.import_module("u_main")
    names = imports.third_party()
    assert "u_heavy" in names
    assert "u_lazy" not in names


# --- the overlay ---------------------------------------------------------------------------------------


def _run_and_bundle(project: Path, install: Install, *names: str) -> dict[str, bytes]:
    imports = install()
    for name in names:
        importlib.import_module(name)
    imports.uninstall()
    for name in tuple(sys.modules):
        if name.startswith("u_"):
            del sys.modules[name]
    return bundle.unpack(imports.bundle())


def test_overlay_goes_before_a_broken_disk(project: Path, install: Install) -> None:
    file = _write(project / "u_over.py", "VALUE = 'good'\n")
    overlay = _run_and_bundle(project, install, "u_over")
    file.write_text("VALUE = (\n")
    imports = install(overlay=overlay)
    module = importlib.import_module("u_over")
    assert module.VALUE == "good"
    assert inspect.getsource(module) == "VALUE = 'good'\n"
    assert imports.loaded() == {str(file): bundle.content_digest(b"VALUE = 'good'\n")}


def test_overlay_serves_packages_and_namespaces_whose_folders_are_gone(
    project: Path, install: Install
) -> None:
    _write(project / "u_gone" / "__init__.py", "from u_gone.sub.deep import VALUE\n")
    _write(project / "u_gone" / "sub" / "deep.py", "VALUE = 5\n")
    overlay = _run_and_bundle(project, install, "u_gone")
    shutil.rmtree(project)
    install(overlay=overlay)
    assert importlib.import_module("u_gone").VALUE == 5


def test_overlay_wins_over_a_module_that_became_a_package_since(project: Path, install: Install) -> None:
    file = _write(project / "u_grew.py", "VALUE = 'module'\n")
    overlay = _run_and_bundle(project, install, "u_grew")
    file.unlink()
    _write(project / "u_grew" / "__init__.py", "VALUE = 'package'\n")
    install(overlay=overlay)
    assert importlib.import_module("u_grew").VALUE == "module"


def test_what_the_overlay_lacks_comes_from_the_disk(project: Path, install: Install) -> None:
    _write(project / "u_one.py", "")
    overlay = _run_and_bundle(project, install, "u_one")
    _write(project / "u_two.py", "VALUE = 2\n")
    install(overlay=overlay)
    assert importlib.import_module("u_two").VALUE == 2


# --- the script ----------------------------------------------------------------------------------------


def test_script_is_compiled_transformed_and_told(project: Path, install: Install) -> None:
    script = _write(project / "run.py", "VALUE = 1\n")
    imports = install()

    def transform(tree: ast.Module) -> ast.Module:
        tree.body += ast.parse("VALUE += 1").body
        return tree

    for transformer, expected in ((None, 1), (transform, 2)):
        namespace: dict[str, object] = {}
        code = imports.compile_script(str(script), transform=transformer)
        exec(code, namespace)
        assert namespace["VALUE"] == expected
        assert code.co_filename == str(script)
    assert list(imports.loaded()) == [str(script)]


def test_script_does_not_inherit_our_future_imports(project: Path, install: Install) -> None:
    script = _write(project / "run.py", "def f(x: int) -> None: ...\nNOTES = f.__annotations__\n")
    namespace: dict[str, object] = {}
    exec(install().compile_script(str(script)), namespace)
    assert namespace["NOTES"] == {"x": int, "return": None}


# --- failures ------------------------------------------------------------------------------------------


def _failure(name: str) -> BaseException:
    try:
        importlib.import_module(name)
    except BaseException as error:
        return error
    raise AssertionError(f"{name} was expected to fail")


def test_traceback_shows_the_users_frames_only(project: Path, install: Install) -> None:
    _write(project / "u_outer.py", "import u_inner\n")
    _write(project / "u_inner.py", "def f():\n    return {}['missing']\nf()\n")
    install()
    shown = user_traceback(_failure("u_outer")).splitlines()
    places = [line.strip() for line in shown if line.strip().startswith("File")]
    assert places == [
        f'File "{__file__}", line {_line_of("importlib.import_module(name)")}, in _failure',
        f'File "{project}/u_outer.py", line 1, in <module>',
        f'File "{project}/u_inner.py", line 3, in <module>',
        f'File "{project}/u_inner.py", line 2, in f',
    ]
    assert shown[-1] == "KeyError: 'missing'"


def _line_of(text: str) -> int:
    lines = inspect.getsource(_failure).splitlines()
    offset = next(number for number, line in enumerate(lines) if text in line)
    return _failure.__code__.co_firstlineno + offset


def test_syntax_error_is_shown_with_its_caret_and_without_our_frames(project: Path, install: Install) -> None:
    file = _write(project / "u_syntax.py", "x = (\n")
    install()
    error = _failure("u_syntax")
    shown = user_traceback(error)
    assert "livereload_core" not in shown
    assert "importlib/__init__" not in shown
    assert "<frozen" not in shown
    assert shown.endswith(
        f"  File \"{file}\", line 1\n    x = (\n        ^\nSyntaxError: '(' was never closed\n"
    )
    assert names_for_failure(error)[0] == str(file)


def test_syntax_error_of_the_script_is_shown_without_a_heading(project: Path, install: Install) -> None:
    script = _write(project / "run.py", "def\n")
    imports = install()
    try:
        imports.compile_script(str(script))
    except SyntaxError as error:
        error.__traceback__ = error.__traceback__ and error.__traceback__.tb_next
        shown = user_traceback(error)
    assert shown.startswith(f'  File "{script}", line 1\n')


def test_causes_contexts_and_groups_are_kept_and_name_their_files(project: Path, install: Install) -> None:
    for name in ("u_cause", "u_member"):
        _write(project / f"{name}.py", f"def f():\n    raise ValueError('{name}')\n")
    file = _write(
        project / "u_chain.py",
        "import u_cause, u_member\n"
        "try:\n    u_cause.f()\nexcept ValueError as error:\n    cause = error\n"
        "try:\n    u_member.f()\nexcept ValueError as error:\n    member = error\n"
        "raise ExceptionGroup('both', [member]) from cause\n",
    )
    install()
    error = _failure("u_chain")
    shown = user_traceback(error)
    assert "direct cause of the following exception" in shown
    assert "ValueError: u_cause" in shown
    assert "| ValueError: u_member" in shown
    assert "livereload_core" not in shown
    assert set(names_for_failure(error)) == {
        str(file),
        str(project / "u_cause.py"),
        str(project / "u_member.py"),
    }


def test_missing_module_names_the_places_where_it_would_be(project: Path, install: Install) -> None:
    file = _write(project / "u_needs.py", "import u_absent\n")
    package = _write(project / "u_have" / "__init__.py", "import u_have.absent\n")
    plain = _write(project / "u_notpkg.py", "import u_needed.part\n")
    _write(project / "u_needed.py", "")
    install()
    assert set(names_for_failure(_failure("u_needs"))) == {
        str(project / "u_absent.py"),
        str(project / "u_absent" / "__init__.py"),
        str(file),
    }
    assert {str(package), f"{project}/u_have/absent.py", f"{project}/u_have/absent/__init__.py"} == set(
        names_for_failure(_failure("u_have"))
    )
    names = names_for_failure(_failure("u_notpkg"))
    assert {f"{project}/u_needed/__init__.py", f"{project}/u_needed/part.py", str(plain)} <= set(names)


def test_name_that_cannot_be_imported_names_its_module_and_a_possible_submodule(
    project: Path, install: Install
) -> None:
    package = _write(project / "u_from" / "__init__.py", "")
    file = _write(project / "u_asks.py", "from u_from import absent\n")
    install()
    names = names_for_failure(_failure("u_asks"))
    assert set(names) == {
        str(package),
        str(project / "u_from" / "absent.py"),
        str(project / "u_from" / "absent" / "__init__.py"),
        str(file),
    }


def test_file_that_could_not_be_opened_is_named(project: Path, install: Install) -> None:
    missing = project / "config.json"
    _write(project / "u_opens.py", f"open({str(missing)!r})\n")
    install()
    assert names_for_failure(_failure("u_opens"))[0] == str(missing)


def test_exception_that_cannot_be_shown_is_still_told(project: Path, install: Install) -> None:
    install()

    class HostileError(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no")

    assert "HostileError" in user_traceback(HostileError())
    assert names_for_failure(HostileError()) == ()
