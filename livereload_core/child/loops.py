"""The patches of event loops: no server of asyncio or uvloop starts before the gate is open.

asyncio: ``create_server``, ``create_unix_server``, ``Server.start_serving`` and ``serve_forever`` all end in
``BaseSelectorEventLoop._start_serving``, once per listener; that one call is put off, and everything else
(the server object, ``is_serving()``, ``sockets``) is as always. Should it vanish from some Python, the gate
in ``accept()`` does the same work less elegantly.

uvloop: the server is made with ``start_serving=False`` underneath and started when the gate opens; it
listens and accepts in C. Until then the program holds a stand-in (child.net_late).

Neither package is imported here: they are patched when the program imports them.
"""

from __future__ import annotations

import functools
import sys
import threading
from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING, Any

from livereload_core.child import conn_tornado
from livereload_core.child.conn_gates import Gates
from livereload_core.child.conn_hub import Server
from livereload_core.child.conn_servers import patch_loop, patch_unix_loop
from livereload_core.child.net_afterimport import AfterImport
from livereload_core.child.net_late import LateServer, soon
from livereload_core.child.net_patches import Patches

if TYPE_CHECKING:
    import asyncio

    from livereload_core.child.net import Net

__all__ = ["LoopLayer", "current_loop"]

_running: list[asyncio.AbstractEventLoop] = []  # in the main thread; one, save where run_forever() is nested


def current_loop() -> asyncio.AbstractEventLoop | None:
    """Return the event loop that runs in the main thread now."""
    return _running[-1] if _running else None


class LoopLayer:
    """Patches the event loops for one :class:`Net`."""

    def __init__(self, net: Net) -> None:
        self._net = net
        self._patches = Patches()
        self._gates = Gates()
        self._imports = AfterImport(
            {
                "asyncio.base_events": self._patch_base,
                "asyncio.selector_events": self._patch_selector,
                "asyncio.unix_events": self._patch_unix,
                "uvloop": self._patch_uvloop,
                **conn_tornado.callbacks(self._patches, net),
            }
        )

    def install(self) -> None:
        """Patch what is imported, and watch for what is not."""
        self._imports.install()
        self._gates.install()

    def uninstall(self) -> None:
        """Take the patches back."""
        self._gates.uninstall()
        self._imports.uninstall()
        self._patches.undo()

    def _patch_base(self, module: ModuleType) -> None:
        self._patch_run(module.BaseEventLoop)
        patch_loop(self._patches, module.BaseEventLoop, self._net.connections)

    def _patch_unix(self, module: ModuleType) -> None:
        patch_unix_loop(self._patches, module.SelectorEventLoop, self._net.connections)

    def _patch_run(self, loop_class: Any) -> None:
        original = loop_class.run_forever

        @functools.wraps(original)
        def run_forever(loop: Any) -> None:
            if threading.current_thread() is not threading.main_thread():
                original(loop)
                return
            _running.append(loop)
            try:
                original(loop)
            finally:
                _running.pop()

        self._patches.put(loop_class, "run_forever", run_forever)

    # -- asyncio ---------------------------------------------------------------------------------------

    def _patch_selector(self, module: ModuleType) -> None:
        loop_class = module.BaseSelectorEventLoop
        original = getattr(loop_class, "_start_serving", None)
        if original is None:
            return
        net = self._net

        @functools.wraps(original)
        def start_serving(loop: Any, protocol_factory: Any, sock: Any, *args: Any, **kwargs: Any) -> None:
            listener = net.listeners.of(sock.fileno())
            if listener is not None and isinstance(protocol_factory, Server):
                listener.linked = True

            def start() -> None:
                if sock.fileno() >= 0:  # else the server was closed before it could begin
                    original(loop, protocol_factory, sock, *args, **kwargs)

            if net.gate.is_open or listener is None:
                start()
            else:
                net.when_open(lambda: soon(loop, start))

        self._patches.put(loop_class, "_start_serving", start_serving)

    # -- uvloop ----------------------------------------------------------------------------------------

    def _patch_uvloop(self, module: ModuleType) -> None:
        loop_class = module.Loop
        self._patch_run(loop_class)
        for name in ("create_server", "create_unix_server"):
            self._patches.put(loop_class, name, self._late(getattr(loop_class, name)))
        patch_loop(self._patches, loop_class, self._net.connections)
        patch_unix_loop(self._patches, loop_class, self._net.connections)

    def _late(self, original: Callable[..., Any]) -> Callable[..., Any]:
        net = self._net
        layer = self
        # asyncio is imported by now, since uvloop does it
        base = sys.modules["asyncio"].AbstractServer
        stand_in: Any = type("LateServer", (LateServer, base), {})

        @functools.wraps(original)
        async def create(loop: Any, *args: Any, **kwargs: Any) -> Any:
            net.accepts_in_c = True
            if net.gate.is_open:
                server = await original(loop, *args, **kwargs)
                layer._announce(server)
                return server
            wanted = kwargs.pop("start_serving", True)
            server = await original(loop, *args, start_serving=False, **kwargs)
            layer._announce(server)
            late = stand_in(net, loop, server, layer._announce)
            if wanted:
                late.want()
            return late

        return create

    def _announce(self, server: Any) -> None:
        # also after it has begun to serve: its own backlog is smaller than ours
        for sock in server.sockets:
            self._net.announce(sock.fileno())
