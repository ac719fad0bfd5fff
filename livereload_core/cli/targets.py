"""Reading a target, and saying what was probably meant when there is no such thing.

Invariants:
    * User code is looked for, never imported: a broken module is a matter for the hold page, which waits for
      the fix, while a name that nothing stands for is a slip of the hand and ends with exit code 2.
    * What can only be known by importing (the attribute, what kind of app it is) is not judged here.
    * In doubt the target is let through: finders of other people may know more than we see.
"""

from __future__ import annotations

import importlib.machinery
import os
import sys
from collections.abc import Sequence

from livereload_core.cli.options import closest
from livereload_core.core.settings import Target, TargetKind
from livereload_core.errors import UsageError

__all__ = ["check_target", "parse_target", "script_path"]

_SHAPES = "write pkg.mod:attr, pkg.mod, path/script.py or -m pkg.mod"


def parse_target(text: str | None, module: str | None, args: Sequence[str], cwd: str) -> Target:
    """Turn what was written into a target, by its form alone.

    Args:
        text: the positional argument.
        module: the value of ``-m``.
        args: what stood behind ``--``.
        cwd: the working directory, where a script is recognised by being there.

    Raises:
        UsageError: nothing, both, or something of another form was given.
    """
    if text and module:
        raise UsageError(
            f"both the target {text!r} and -m {module!r} were given",
            advice=f"keep one; arguments for the program go behind --: livecore run -m {module} -- {text}",
        )
    if module:
        name, colon, attribute = module.partition(":")
        if colon:
            raise UsageError(
                f"-m {module!r} names an attribute", advice=f"write -m {name} or, without -m, {module}"
            )
        _require_dotted(name, f"-m {module!r}")
        return Target(TargetKind.PACKAGE, name, args=tuple(args))
    if not text:
        raise UsageError("there is no target to run", advice=_SHAPES)
    if _is_script(text, cwd):
        return Target(TargetKind.SCRIPT, text, args=tuple(args))
    name, colon, attribute = text.partition(":")
    _refuse_file_with_attribute(text, name, attribute, colon)
    _require_dotted(name, f"target {text!r}")
    if not colon:
        return Target(TargetKind.MODULE, name, args=tuple(args))
    if not attribute or not _is_dotted(attribute):
        raise UsageError(
            f"target {text!r} has no attribute behind the colon", advice=f"write {name}:app or just {name}"
        )
    return Target(TargetKind.ATTRIBUTE, name, attribute, args=tuple(args))


def script_path(target: Target, cwd: str) -> str:
    """Return the absolute path of a script, symbolic links kept as they are."""
    return os.path.normpath(os.path.join(cwd, target.name))


def check_target(target: Target, *, cwd: str, app_dir: str, extra_path: Sequence[str] = ()) -> None:
    """Refuse a target that stands for nothing, naming what looks like it.

    Args:
        target: what to look for.
        cwd: where a script's path begins.
        app_dir: the folder that is searched first for modules.
        extra_path: further folders that the program will have on ``sys.path``.

    Raises:
        UsageError: there is no such script or module.
    """
    if target.kind is TargetKind.SCRIPT:
        _check_script(target, cwd)
        return
    path = [app_dir, *extra_path, *(entry for entry in sys.path if entry)]
    spec, missing = _find(target.name, path, app_dir)
    if missing:
        raise _no_module(target, missing, app_dir)
    if target.kind is TargetKind.PACKAGE and spec is not None and spec.submodule_search_locations is not None:
        _, missing = _find(f"{target.name}.__main__", path, app_dir)
        if missing:
            raise UsageError(
                f"-m {target.name!r} is a package without a __main__.py",
                advice="add one or name a module inside of it",
            )


def _is_script(text: str, cwd: str) -> bool:
    if text.endswith((".py", ".pyw")):
        return True
    if "/" in text or os.sep in text or text in (".", ".."):
        # `src/app.py:app` is a module target in disguise and gets its own sentence.
        return ".py:" not in text
    return ":" not in text and not _is_dotted(text) and os.path.isfile(os.path.join(cwd, text))


def _is_dotted(name: str) -> bool:
    return all(part.isidentifier() for part in name.split("."))


def _require_dotted(name: str, what: str) -> None:
    if not _is_dotted(name):
        raise UsageError(f"{what} is neither a module nor a script", advice=_SHAPES)


def _refuse_file_with_attribute(text: str, name: str, attribute: str, colon: str) -> None:
    if not colon or not (name.endswith(".py") or "/" in name):
        return
    folder, file = os.path.split(name.removesuffix(".py"))
    where = f"--app-dir {folder} " if folder else ""
    raise UsageError(
        f"target {text!r} mixes a file and an attribute",
        advice=f"write {where}{file}:{attribute or 'app'}, or {name} to run the script",
    )


# --- scripts ---------------------------------------------------------------------------------------


def _check_script(target: Target, cwd: str) -> None:
    path = script_path(target, cwd)
    if os.path.isfile(path):
        if not os.access(path, os.R_OK):
            raise UsageError(f"script {target.name!r} cannot be read", advice="check its permissions")
        return
    if os.path.isdir(path):
        package = os.path.basename(path)
        hint = (
            f"-m {package}" if os.path.isfile(os.path.join(path, "__main__.py")) else "a script inside of it"
        )
        raise UsageError(f"target {target.name!r} is a folder", advice=f"name {hint}")
    folder = os.path.dirname(path)
    shown = os.path.dirname(target.name)
    if not os.path.isdir(folder):
        raise UsageError(
            f"there is no folder {shown!r} for script {target.name!r}",
            advice=f"check the path; it is read from {cwd}",
        )
    scripts = [name for name in _entries(folder) if name.endswith(".py")]
    like = closest(os.path.basename(path), scripts)
    raise UsageError(
        f"there is no script {target.name!r} in {folder}", advice=_script_advice(shown, like, scripts)
    )


def _script_advice(shown: str, like: str, scripts: list[str]) -> str:
    if like:
        return f"did you mean {os.path.join(shown, like)}?"
    if scripts:
        listed = ", ".join(os.path.join(shown, name) for name in scripts[:5])
        return f"there are {listed}" + (" and more" if len(scripts) > 5 else "")
    return "check the path; that folder holds no .py file"


def _entries(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError:  # only suggestions are lost
        return []


# --- modules ---------------------------------------------------------------------------------------


def _find(name: str, path: list[str], app_dir: str) -> tuple[importlib.machinery.ModuleSpec | None, str]:
    """Return the spec of ``name``, or the first part of the name that is missing.

    Below a foreign module that is no package everything counts as found: ``os.path`` exists, too.
    """
    done, search = "", path
    spec: importlib.machinery.ModuleSpec | None = None
    for part in name.split("."):
        done = f"{done}.{part}" if done else part
        parent, spec = spec, _spec(done, search, top=done == part)
        if spec is None:
            ours = parent is None or parent.submodule_search_locations is not None or _below(parent, app_dir)
            return None, done if ours else ""
        # list() of a namespace path would ask sys.modules for its parent, which is not imported here.
        locations = spec.submodule_search_locations
        search = [] if locations is None else list(getattr(locations, "_path", locations))
    return spec, ""


def _below(spec: importlib.machinery.ModuleSpec, folder: str) -> bool:
    return bool(spec.origin) and os.path.dirname(str(spec.origin)).startswith(folder)


def _spec(name: str, search: list[str], *, top: bool) -> importlib.machinery.ModuleSpec | None:
    try:
        spec = importlib.machinery.PathFinder.find_spec(name, search)
    except KeyError:
        # A namespace package in a package: its path object wants the parent to be imported.
        leaf = name.rpartition(".")[2]
        spec = importlib.machinery.ModuleSpec(name, None, is_package=True)
        spec.submodule_search_locations = [os.path.join(folder, leaf) for folder in search]
    if spec is not None or not top:
        return spec
    for finder in sys.meta_path:  # built-in modules, and editable installs with a finder of their own
        find = getattr(finder, "find_spec", None)
        try:
            other = find(name, None) if find else None
        except Exception:  # a finder of somebody else; the program's own import will say what is wrong
            continue
        if isinstance(other, importlib.machinery.ModuleSpec):
            return other
    return None


def _no_module(target: Target, missing: str, app_dir: str) -> UsageError:
    parent, _, leaf = missing.rpartition(".")
    folder = os.path.join(app_dir, *parent.split(".")) if parent else app_dir
    what = f"there is no module {missing!r} in {folder}"
    like = closest(leaf, _modules(folder))
    if like:
        name = f"{parent}.{like}" if parent else like
        whole = name + target.name[len(missing) :] + (f":{target.attribute}" if target.attribute else "")
        dash = "-m " if target.kind is TargetKind.PACKAGE else ""
        return UsageError(what, advice=f"did you mean {dash}{whole}?")
    if not parent:
        for entry in _entries(app_dir):
            below = os.path.join(app_dir, entry)
            if not entry.startswith((".", "_")) and os.path.isdir(below) and leaf in _modules(below):
                return UsageError(what, advice=f"it lies in {entry}/: add --app-dir {entry}")
    return UsageError(what, advice="check the name, or point --app-dir at the folder that holds it")


def _modules(folder: str) -> list[str]:
    names = []
    for entry in _entries(folder):
        stem, extension = os.path.splitext(entry)
        if extension == ".py" and stem != "__init__":
            names.append(stem)
        elif not extension and entry.isidentifier() and os.path.isdir(os.path.join(folder, entry)):
            names.append(entry)
    return names
