"""The gate of a script: between its definitions and its ``if __name__ == "__main__":`` block.

The compiled script calls :func:`enter` as the first statement of that block. There the candidate says that
it is prepared and waits; the state comes, and the block runs only when nobody else serves.
"""

from __future__ import annotations

import ast
from collections.abc import Callable

__all__ = ["enter", "insert", "install", "leading_imports"]

_wait: Callable[[], None] | None = None


def install(wait: Callable[[], None]) -> None:
    """Set what :func:`enter` calls."""
    global _wait
    _wait = wait


def enter() -> None:
    """Called by the script when its main block begins."""
    if _wait is not None:
        _wait()


_CALL = "__import__('livereload_core.child.gate', fromlist=('enter',)).enter()"


def insert(tree: ast.Module) -> bool:
    """Put the gate into the main block of a script, in place; returns whether it has such a block."""
    found = False
    for statement in tree.body:
        if isinstance(statement, ast.If) and _is_main_test(statement.test):
            call = ast.parse(_CALL).body[0]
            for node in ast.walk(call):
                ast.copy_location(node, statement.body[0])
            statement.body.insert(0, call)
            found = True
    return found


def _is_main_test(test: ast.expr) -> bool:
    if not (isinstance(test, ast.Compare) and len(test.ops) == 1 and isinstance(test.ops[0], ast.Eq)):
        return False
    sides = (test.left, test.comparators[0])
    names = [side.id for side in sides if isinstance(side, ast.Name)]
    values = [side.value for side in sides if isinstance(side, ast.Constant)]
    return names == ["__name__"] and values == ["__main__"]


def leading_imports(tree: ast.Module) -> list[str]:
    """Modules that a script imports before it does anything else: safe to import ahead, in this order."""
    modules: list[str] = []
    for statement in tree.body:
        if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
            continue
        if isinstance(statement, ast.Import):
            modules += [alias.name for alias in statement.names]
        elif isinstance(statement, ast.ImportFrom) and statement.level == 0 and statement.module:
            modules.append(statement.module)
        else:
            break
    return modules
