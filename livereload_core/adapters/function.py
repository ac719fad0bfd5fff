"""A plain function such as ``def main()``: a server that binds by itself, a simulation, any program."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from livereload_core.adapters.signatures import required_positionals

if TYPE_CHECKING:
    from livereload_core.child.adapter import RunContext

__all__ = ["FunctionAdapter"]


class FunctionAdapter:
    """Runs ``def main()``."""

    name = "function"
    priority = 0

    def matches(self, target: object) -> bool:
        """A callable that needs no argument."""
        return not inspect.iscoroutinefunction(target) and required_positionals(target) == 0

    def run(self, target: Any, context: RunContext) -> None:
        """Call it; it serves until it returns or is interrupted."""
        context.serve_by_itself(target)
