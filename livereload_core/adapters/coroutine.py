"""A coroutine function such as ``async def main()``: runs under ``asyncio.run`` and opens its own servers."""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING, Any

from livereload_core.adapters.signatures import required_positionals

if TYPE_CHECKING:
    from livereload_core.child.adapter import RunContext

__all__ = ["CoroutineAdapter"]


class CoroutineAdapter:
    """Runs ``async def main()``."""

    name = "coroutine"
    priority = 10

    def matches(self, target: object) -> bool:
        """A coroutine function that needs no argument, or the coroutine that a factory returned."""
        return inspect.iscoroutine(target) or (
            inspect.iscoroutinefunction(target) and required_positionals(target) == 0
        )

    def run(self, target: Any, context: RunContext) -> None:
        """Run it to its end."""
        context.serve_by_itself(lambda: asyncio.run(target if inspect.iscoroutine(target) else target()))
