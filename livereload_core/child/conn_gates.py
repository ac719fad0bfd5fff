"""Gates: where handlers take messages, so that a reload knows what was taken and lets nobody take more.

A server's library reads ahead: when a message has passed the link, its handler may not have seen it. What was
delivered and not taken goes over to the next generation. So every place where handlers receive counts, and
parks them while the link holds. Such places are public methods, patched when their library is imported:

    asyncio       StreamReader.read, readline, readuntil, readexactly
    aiohttp       WebSocketResponse.receive (``async for`` included)
    websockets    Connection.recv, recv_streaming; the legacy protocol's recv
    ASGI          the ``receive`` that uvicorn and hypercorn give to the app

Invariants:
    * A handler is never parked before its WebSocket is open: the handshake itself needs it.
    * Each message is counted once, by the outermost gate: uvicorn receives through websockets.
"""

from __future__ import annotations

import asyncio
import copy
import functools
import weakref
from collections.abc import AsyncIterator, Callable
from types import ModuleType
from typing import Any

from livereload_core.child import conn_socketio
from livereload_core.child.conn_link import Link
from livereload_core.child.net_afterimport import AfterImport
from livereload_core.child.net_patches import Patches
from livereload_core.state.connection import current

__all__ = ["Gates", "gated_app"]


class Gates:
    """Patches what is imported, and watches for what is not."""

    def __init__(self) -> None:
        self._patches = Patches()
        self._imports = AfterImport(
            {
                "asyncio.streams": self._patch_streams,
                "aiohttp.web_ws": self._patch_aiohttp,
                "websockets.asyncio.connection": self._patch_websockets,
                "websockets.legacy.protocol": self._patch_legacy_websockets,
                "uvicorn.config": self._patch_uvicorn,
                "hypercorn.app_wrappers": self._patch_hypercorn,
                **conn_socketio.callbacks(self._patches),
            }
        )

    def install(self) -> None:
        """Begin."""
        self._imports.install()

    def uninstall(self) -> None:
        """Take the patches back."""
        self._imports.uninstall()
        self._patches.undo()

    # -- streams -------------------------------------------------------------------------------------------

    def _patch_streams(self, module: ModuleType) -> None:
        reader_class = module.StreamReader
        set_transport = reader_class.set_transport

        @functools.wraps(set_transport)
        def linked(reader: Any, transport: Any) -> None:
            set_transport(reader, transport)
            if isinstance(transport, Link):
                transport.streams = True
                reader._livecore_link = transport

        self._patches.put(reader_class, "set_transport", linked)
        for name in ("read", "readline", "readuntil", "readexactly"):
            self._patches.put(reader_class, name, _counted_read(getattr(reader_class, name)))

    # -- libraries -------------------------------------------------------------------------------------------

    def _patch_aiohttp(self, module: ModuleType) -> None:
        response_class = module.WebSocketResponse
        prepare, receive = response_class.prepare, response_class.receive
        links: weakref.WeakKeyDictionary[Any, Link] = weakref.WeakKeyDictionary()
        data = (module.WSMsgType.TEXT, module.WSMsgType.BINARY)

        @functools.wraps(prepare)
        async def linked(ws: Any, request: Any) -> Any:
            if isinstance(request.transport, Link):
                links[ws] = request.transport
                request.transport.gate = request.transport.gate or "aiohttp"
            return await prepare(ws, request)

        @functools.wraps(receive)
        async def gated(ws: Any, *args: Any, **kwargs: Any) -> Any:
            link = links.get(ws)
            if link is None or link.gate != "aiohttp":
                return await receive(ws, *args, **kwargs)
            return await _receive(
                link, lambda: receive(ws, *args, **kwargs), lambda message: message.type in data
            )

        self._patches.put(response_class, "prepare", linked)
        self._patches.put(response_class, "receive", gated)

    def _patch_websockets(self, module: ModuleType) -> None:
        connection_class = module.Connection
        self._patch_recv(connection_class)
        made = connection_class.connection_made
        streaming = connection_class.recv_streaming

        @functools.wraps(made)
        def connection_made(connection: Any, transport: Any) -> None:
            if isinstance(transport, Link):
                transport.gate = transport.gate or "websockets"
            made(connection, transport)

        @functools.wraps(streaming)
        async def recv_streaming(connection: Any, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
            link = _websockets_link(connection)
            fragments = streaming(connection, *args, **kwargs)
            if link is None:
                async for fragment in fragments:
                    yield fragment
                return
            first = await _receive(link, lambda: anext(fragments), lambda _: False)
            yield first
            async for fragment in fragments:
                yield fragment
            link.taken()

        self._patches.put(connection_class, "connection_made", connection_made)
        self._patches.put(connection_class, "recv_streaming", recv_streaming)

    def _patch_legacy_websockets(self, module: ModuleType) -> None:
        protocol_class = module.WebSocketCommonProtocol
        self._patch_recv(protocol_class)
        made = protocol_class.connection_made

        @functools.wraps(made)
        def connection_made(protocol: Any, transport: Any) -> None:
            if isinstance(transport, Link):
                transport.gate = transport.gate or "websockets"
            made(protocol, transport)

        self._patches.put(protocol_class, "connection_made", connection_made)

    def _patch_recv(self, owner: Any) -> None:
        recv = owner.recv

        @functools.wraps(recv)
        async def gated(connection: Any, *args: Any, **kwargs: Any) -> Any:
            link = _websockets_link(connection)
            if link is None:
                return await recv(connection, *args, **kwargs)
            return await _receive(link, lambda: recv(connection, *args, **kwargs), lambda _: True)

        self._patches.put(owner, "recv", gated)

    # -- ASGI ------------------------------------------------------------------------------------------------

    def _patch_uvicorn(self, module: ModuleType) -> None:
        config_class = module.Config
        load = config_class.load

        @functools.wraps(load)
        def loaded(config: Any) -> None:
            load(config)
            if config.ws_protocol_class is not None:
                config.ws_protocol_class = _gated_protocol(config.ws_protocol_class)

        self._patches.put(config_class, "load", loaded)

    def _patch_hypercorn(self, module: ModuleType) -> None:
        wrapper_class = module.ASGIWrapper
        original = wrapper_class.__call__

        @functools.wraps(original)
        async def call(wrapper: Any, scope: Any, receive: Any, send: Any, *rest: Any) -> None:
            link = _asgi_link(scope)
            await original(wrapper, scope, receive if link is None else _gated(link, receive), send, *rest)

        self._patches.put(wrapper_class, "__call__", call)


def _gated_protocol(protocol_class: Callable[..., Any]) -> Callable[..., Any]:
    """Return what makes uvicorn's protocols for WebSockets; plain requests pass no gate."""

    @functools.wraps(protocol_class, updated=())
    def make(*args: Any, config: Any, **kwargs: Any) -> Any:
        gated = copy.copy(config)
        gated.loaded_app = gated_app(config.loaded_app)
        return protocol_class(*args, config=gated, **kwargs)

    return make


def gated_app(app: Any) -> Any:
    """Return an ASGI app whose WebSockets receive through a gate."""

    @functools.wraps(app, updated=())
    def gated(scope: Any, receive: Any, send: Any) -> Any:
        if scope["type"] == "websocket":
            link = _asgi_link(scope)
            if link is not None:
                receive = _gated(link, receive)
        return app(scope, receive, send)

    return gated


def _asgi_link(scope: Any) -> Link | None:
    if scope["type"] != "websocket":
        return None
    link = current.get(None)
    if not isinstance(link, Link):
        return None
    link.gate = "asgi"
    return link


def _gated(link: Link, receive: Callable[[], Any]) -> Callable[[], Any]:
    async def gated() -> Any:
        return await _receive(link, receive, lambda message: message["type"] == "websocket.receive")

    return gated


def _websockets_link(connection: Any) -> Link | None:
    link = getattr(connection, "transport", None)
    return link if isinstance(link, Link) and link.gate == "websockets" else None


async def _receive(link: Link, receive: Callable[[], Any], counts: Callable[[Any], bool]) -> Any:
    """Receive one message through the gate."""
    if link.holds_messages:
        await link.park()
    link.asks()
    link.receiving += 1
    try:
        message = await receive()
    finally:
        link.receiving -= 1
    if counts(message):
        link.taken()
    return message


def _counted_read(read: Any) -> Any:
    @functools.wraps(read)
    async def counted(reader: Any, *args: Any, **kwargs: Any) -> bytes:
        link: Link | None = getattr(reader, "_livecore_link", None)
        if link is None or link.reading:  # one read is made of others
            data: bytes = await read(reader, *args, **kwargs)
            return data
        if link.holds_bytes:
            await link.park()
        link.asks()
        link.reading += 1
        try:
            data = await read(reader, *args, **kwargs)
        except asyncio.IncompleteReadError as error:
            link.taken_bytes(len(error.partial))
            raise
        except ValueError:
            link.becomes_opaque()  # a line over the limit: the reader has dropped part of it
            raise
        finally:
            link.reading -= 1
        link.taken_bytes(len(data))
        return data

    return counted
