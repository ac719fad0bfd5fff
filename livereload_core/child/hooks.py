"""Runs the user's hooks, sync or async, each with its deadline.

An async hook that overruns is cancelled. A sync one cannot be stopped from outside: the parent's own
deadline turns the reload down, and the hook goes on in a process that is then given up or resumed.
"""

from __future__ import annotations

import asyncio
import inspect
from concurrent.futures import Future
from typing import Any

from livereload_core.errors import ReloadFailedError
from livereload_core.state import hooks

__all__ = ["run_hooks", "run_hooks_async", "run_hooks_in"]


def run_hooks(kind: str, timeout: float) -> None:
    """Run all hooks of ``kind`` in a thread without an event loop.

    Raises:
        ReloadFailedError: a hook overran its time.
        BaseException: what a hook raises.
    """
    for hook in hooks.of(kind):
        result = hook.function()
        if inspect.isawaitable(result):
            asyncio.run(_bounded(hook, result, timeout))


async def run_hooks_async(kind: str, timeout: float) -> None:
    """The same in the running event loop."""
    for hook in hooks.of(kind):
        result = hook.function()
        if inspect.isawaitable(result):
            await _bounded(hook, result, timeout)


def run_hooks_in(loop: asyncio.AbstractEventLoop | None, kind: str, timeout: float) -> None:
    """Run them in ``loop`` (which runs in another thread), or here when there is none; wait for the end."""
    if not hooks.of(kind):
        return
    if loop is None:
        run_hooks(kind, timeout)
        return
    future: Future[None] = asyncio.run_coroutine_threadsafe(run_hooks_async(kind, timeout), loop)
    future.result()


async def _bounded(hook: hooks.Hook, awaitable: Any, default: float) -> None:
    seconds = default if hook.timeout is None else hook.timeout
    try:
        async with asyncio.timeout(seconds) as limit:
            await awaitable
    except TimeoutError:
        if not limit.expired():
            raise  # the hook's own
        raise ReloadFailedError(
            f"hook {hook.name!r} took longer than {seconds:g} s; make it faster or pass timeout="
        ) from None
