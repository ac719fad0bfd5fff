"""ASGI: FastAPI, Starlette, Django and any other callable of ``(scope, receive, send)``, under uvicorn."""

from __future__ import annotations

import copy
import inspect
import logging
import traceback
from typing import TYPE_CHECKING, Any

from livereload_core.adapters.signatures import required_positionals
from livereload_core.errors import UsageError

if TYPE_CHECKING:
    from livereload_core.child.adapter import RunContext

__all__ = ["AsgiAdapter", "spare_silent_access_log"]


class AsgiAdapter:
    """Serves an app with uvicorn, lifespan included; uvicorn is the extra ``[asgi]``."""

    name = "asgi"
    priority = 30

    def __init__(self) -> None:
        self._server: Any = None
        self._app: _Recorded | None = None

    def matches(self, target: object) -> bool:
        """A coroutine function of three arguments, or an object whose ``__call__`` is one."""
        call = target if inspect.isroutine(target) else getattr(type(target), "__call__", None)  # noqa: B004 - its kind is asked, not its presence
        if inspect.isclass(target) or call is None:
            return False
        return inspect.iscoroutinefunction(call) and required_positionals(target) == 3

    def prepare(self, target: Any, context: RunContext) -> None:
        """Import and configure uvicorn."""
        try:
            import uvicorn
        except ImportError:
            raise UsageError(
                "an ASGI app is served by uvicorn, which is not installed",
                advice="install it: pip install 'livereload_core[asgi]'",
            ) from None

        class Server(uvicorn.Server):
            """uvicorn's server, which says when it has started and leaves when it is told."""

            async def startup(self, sockets: Any = None) -> None:
                await super().startup(sockets=sockets)
                spare_silent_access_log()
                if not self.should_exit:
                    context.on_retired(self.leave)
                    await context.ready_async()

            def leave(self) -> None:
                self.should_exit = True

        config = uvicorn.Config(
            target,
            interface="asgi3",
            log_level="warning",
            timeout_graceful_shutdown=max(1, round(context.settings.timeout_graceful)),
            server_header=True,
        )
        self._app = _watch_lifespan(config)
        self._server = Server(config)

    def run(self, target: Any, context: RunContext) -> None:
        """Lifespan start-up, service, lifespan shutdown."""
        server, app = self._server, self._app
        assert app is not None  # prepared
        try:
            server.run(sockets=context.listeners())
        except SystemExit:
            # uvicorn's way to say that the lifespan failed; the exception itself tells the user more
            if app.error is not None:
                raise app.error from None
            raise
        if app.error is not None and not server.started:
            raise app.error


def spare_silent_access_log() -> None:
    """Do what uvicorn does without an access log, where it says nothing: else each request writes its line.

    The program has set up its logging by now, and may have let it speak.
    """
    log = logging.getLogger("uvicorn.access")
    if not log.isEnabledFor(logging.INFO):
        log.handlers = []
        log.propagate = False


def _watch_lifespan(config: Any) -> _Recorded:
    """Let the lifespan, and nothing else, run through a wrapper: each request would pay for it."""
    config.load()
    recorded = _Recorded(config.loaded_app)
    original = config.lifespan_class

    def lifespan(config: Any) -> Any:
        watched = copy.copy(config)
        watched.loaded_app = recorded
        return original(watched)

    config.lifespan_class = lifespan
    return recorded


class _Recorded:
    """Remembers what the app raised in its lifespan, which uvicorn only logs."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self.error: BaseException | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        started = False

        async def observed(message: Any) -> None:
            nonlocal started
            started = started or message["type"] == "lifespan.startup.complete"
            if message["type"] == "lifespan.startup.failed" and self.error is None:
                self.error = RuntimeError(message.get("message") or "the lifespan start-up failed")
            await send(message)

        try:
            await self.app(scope, receive, observed)
        except BaseException as error:
            if not started and not _means_unsupported(error):
                self.error = error
            raise


def _means_unsupported(error: BaseException) -> bool:
    """Apps without a lifespan raise on its scope: the specification tells servers to go on then."""
    modules = [frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_tb(error.__traceback__)]
    own = [name for name in modules if name.partition(".")[0] != "uvicorn"]
    return isinstance(error, (AssertionError, KeyError, NotImplementedError)) and len(own) <= 2
