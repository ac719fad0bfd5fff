"""A uvloop server that was made while the gate was not open.

uvloop's own server is a C object: its ``start_serving()`` and ``serve_forever()`` listen and accept at once,
and neither can be patched. ``async with server: await server.serve_forever()`` is how most programs end, so
they get this stand-in, which waits for the gate and then does what the real one does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio

    from livereload_core.child.net import Net

__all__ = ["LateServer", "soon"]


class LateServer:
    """Stands in for ``server`` and starts it when the gate opens, if the program wants it to serve by then.

    Args:
        net: whose gate.
        loop: the loop of the server.
        server: the real one, not serving yet.
        announce: called with the real server once it serves.
    """

    def __init__(self, net: Net, loop: Any, server: Any, announce: Callable[[Any], None]) -> None:
        self._net = net
        self._loop = loop
        self._server = server
        self._announce = announce
        self._wanted = False

    def want(self) -> None:
        """Serve from when the gate is open."""
        if not self._wanted:
            self._wanted = True
            self._net.when_open(lambda: soon(self._loop, self._start))

    def _start(self) -> None:
        async def start() -> None:
            if self._server.sockets:  # else it was closed before it could begin
                await self._server.start_serving()
                self._announce(self._server)

        keep(self._loop.create_task(start()))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._server, name)

    def __repr__(self) -> str:
        return repr(self._server)

    async def __aenter__(self) -> LateServer:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()
        await self.wait_closed()

    @property
    def sockets(self) -> Any:
        """The listening sockets."""
        return self._server.sockets

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """Return the loop of the server."""
        loop: asyncio.AbstractEventLoop = self._server.get_loop()
        return loop

    def is_serving(self) -> bool:
        """Whether the program has asked it to serve: to the program, waiting clients are a slow kernel."""
        return bool(self._server.is_serving() or (self._wanted and self._server.sockets))

    def close(self) -> None:
        """Stop serving."""
        self._server.close()

    async def wait_closed(self) -> None:
        """Wait until the server is closed."""
        await self._server.wait_closed()

    async def start_serving(self) -> None:
        """Serve from when the gate is open; returns at once."""
        self.want()

    async def serve_forever(self) -> None:
        """Serve from when the gate is open until cancelled."""
        self.want()
        opened = self._loop.create_future()
        self._net.when_open(lambda: soon(self._loop, lambda: opened.done() or opened.set_result(None)))
        try:
            await opened
        except BaseException:
            # cancelled while it waited: ends as the real one does
            self.close()
            await self.wait_closed()
            raise
        await self._server.serve_forever()


_tasks: set[Any] = set()


def keep(task: Any) -> None:
    """Hold ``task`` until it is done: a loop refers to its tasks weakly."""
    _tasks.add(task)
    task.add_done_callback(_tasks.discard)


def soon(loop: Any, callback: Callable[[], object]) -> None:
    """Call ``callback`` in the loop's thread, unless the program has closed the loop."""
    try:
        loop.call_soon_threadsafe(callback)
    except RuntimeError:
        pass  # closed, and its servers with it
