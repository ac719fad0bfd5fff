"""aiohttp: a ``web.Application``, or with ``--factory`` what a (possibly async) factory returns."""

from __future__ import annotations

import asyncio
import inspect
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from livereload_core.child.adapter import RunContext

__all__ = ["AiohttpAdapter"]


class AiohttpAdapter:
    """Serves an application with aiohttp's own runner, as ``web.run_app`` would."""

    name = "aiohttp"
    priority = 40

    def matches(self, target: object) -> bool:
        """An ``aiohttp.web.Application``, or the coroutine that an async factory returned."""
        module = sys.modules.get("aiohttp.web_app")
        if module is not None and isinstance(target, module.Application):
            return True
        return module is not None and inspect.iscoroutine(target)

    def run(self, target: Any, context: RunContext) -> None:
        """Start-up (``on_startup``, ``cleanup_ctx``), service, clean-up."""
        from aiohttp import web

        async def main() -> None:
            app: web.Application = await target if inspect.iscoroutine(target) else target
            runner = web.AppRunner(
                app, handle_signals=False, shutdown_timeout=context.settings.timeout_graceful
            )
            await runner.setup()
            try:
                for listener in context.listeners():
                    await web.SockSite(runner, listener).start()
                await context.ready_async()
                await context.until_retired()
            finally:
                await runner.cleanup()

        asyncio.run(main())
