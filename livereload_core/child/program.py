"""From the target that the user wrote to something that runs, with the ``sys`` that the user expects.

``sys.argv``, ``sys.path[0]``, ``__main__`` and ``__file__`` are what plain Python would show: for a script
its folder and its path, for ``-m`` the working directory and the module's file, for ``module:attr`` the
app dir and the target as written.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Callable
from types import CodeType, ModuleType
from typing import TYPE_CHECKING, Any

from livereload_core.child import gate
from livereload_core.core.settings import Settings, Target, TargetKind
from livereload_core.errors import UsageError

if TYPE_CHECKING:
    import ast

    from livereload_core.child.imports import UserImports

__all__ = ["GUESSED_ATTRIBUTES", "Program", "arguments", "load", "own_folder"]

GUESSED_ATTRIBUTES = ("app", "application", "main", "create_app", "make_app")
"""What is looked for in ``livecore run pkg.mod``, in this order; the last two are factories."""


class Program:
    """What the main thread does once the state is there.

    Attributes:
        target: the object that an adapter takes, or None for a script.
        script: runs the body of a script or of ``-m``; it waits at its own gate if it has one.
    """

    def __init__(self, target: Any = None, script: Callable[[], None] | None = None) -> None:
        self.target = target
        self.script = script


def own_folder(settings: Settings) -> str:
    """Return the folder that the program has first on its ``sys.path``."""
    target = settings.target
    if target.kind is TargetKind.SCRIPT:
        return os.path.dirname(os.path.realpath(os.path.join(settings.cwd, target.name)))
    return settings.cwd if target.kind is TargetKind.PACKAGE else settings.app_dir


def arguments(settings: Settings) -> list[str]:
    """Return what the program has as ``sys.argv`` while its modules are imported."""
    target = settings.target
    if target.kind is TargetKind.SCRIPT:
        return [target.name, *target.args]
    # As Python does it: a package that looks at sys.argv while it is imported for -m sees "-m" there.
    return ["-m" if target.kind is TargetKind.PACKAGE else str(target), *target.args]


def load(settings: Settings, imports: UserImports) -> Program:
    """Import the user's code as far as that is possible without running it.

    Raises:
        UsageError: the target does not name anything.
        BaseException: whatever the user's code raises at import.
    """
    target = settings.target
    sys.path.insert(0, own_folder(settings))
    sys.argv[:] = arguments(settings)
    if target.kind is TargetKind.SCRIPT:
        return _script(settings, imports)
    if target.kind is TargetKind.PACKAGE:
        return _package(settings, imports)
    module = importlib.import_module(target.name)
    found, factory = _attribute(module, target)
    if settings.factory or factory:
        if not callable(found):
            raise UsageError(f"{target} is not callable", advice="leave --factory out, or name a function")
        ended = imports.executing()
        try:
            found = found()
        finally:
            ended()
    return Program(target=found)


def _attribute(module: ModuleType, target: Target) -> tuple[Any, bool]:
    if not target.attribute:
        for name in GUESSED_ATTRIBUTES:
            if hasattr(module, name):
                return getattr(module, name), name in GUESSED_ATTRIBUTES[-2:]
        raise UsageError(
            f"module {target.name!r} has none of {', '.join(GUESSED_ATTRIBUTES)}",
            advice=f"say which attribute to run: {target.name}:NAME",
        )
    found: Any = module
    for part in target.attribute.split("."):
        # A plain AttributeError on purpose: it carries Python's own "did you mean" and names the module.
        found = getattr(found, part)
    return found, False


def _fresh_main(**attributes: Any) -> ModuleType:
    main = ModuleType("__main__")
    main.__dict__.update({"__builtins__": __builtins__, "__annotations__": {}, **attributes})
    # Our own __main__ has to outlive this: its globals belong to the frames below us.
    sys.modules["livereload_core.child.__main__"] = sys.modules["__main__"]
    sys.modules["__main__"] = main
    return main


def _script(settings: Settings, imports: UserImports) -> Program:
    path = os.path.join(settings.cwd, settings.target.name)
    main = _fresh_main(__file__=path, __spec__=None, __package__=None, __doc__=None, __cached__=None)
    return Program(script=_body(imports, path, main))


def _package(settings: Settings, imports: UserImports) -> Program:
    name = settings.target.name
    spec = importlib.util.find_spec(name)
    if spec is not None and spec.submodule_search_locations is not None:
        name = f"{name}.__main__"
        spec = importlib.util.find_spec(name)
    if spec is None or spec.loader is None or spec.origin is None:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    sys.argv[0] = spec.origin
    main = _fresh_main(
        __file__=spec.origin,
        __spec__=spec,
        __package__=spec.parent,
        __loader__=spec.loader,
        __doc__=None,
        __cached__=None,
    )
    if imports.is_user_path(spec.origin):
        return Program(script=_body(imports, spec.origin, main))
    get_code = getattr(spec.loader, "get_code", None)
    code: CodeType | None = get_code(name) if get_code is not None else None
    if code is None:
        raise UsageError(f"module {name!r} has no Python code to run", advice="name another one after -m")
    body = code

    def run() -> None:
        gate.enter()
        exec(body, main.__dict__)

    return Program(script=run)


def _body(imports: UserImports, path: str, main: ModuleType) -> Callable[[], None]:
    gated = False
    ahead: list[str] = []

    def transform(tree: ast.Module) -> ast.Module:
        nonlocal gated, ahead
        gated = gate.insert(tree)
        ahead = gate.leading_imports(tree)
        return tree

    code = imports.compile_script(path, transform=transform)

    def run() -> None:
        if not gated:
            # No main block: the whole script is its start-up. Its imports at least happen before the pause.
            for name in ahead:
                importlib.import_module(name)
            gate.enter()
        ended = imports.executing()
        try:
            exec(code, main.__dict__)
        finally:
            ended()
        gate.enter()

    return run
