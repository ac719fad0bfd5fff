"""The patches that put links between servers and event loops, asyncio's and uvloop's.

Every server that asks the loop for connections does it through ``create_server`` or ``create_unix_server``:
there its protocol factory is wrapped. What needs the loop's own transport (``sendfile``, ``start_tls``) gets
it.

Servers in other threads, and those with TLS, are left alone: their connections end politely at an edit.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any

from livereload_core.child.conn_hub import Connections
from livereload_core.child.conn_link import Link
from livereload_core.child.net_patches import Patches

__all__ = ["patch_loop", "patch_unix_loop"]


def patch_loop(patches: Patches, loop_class: Any, hub: Connections) -> None:
    """Patch a class of event loops."""
    patches.put(loop_class, "create_server", _linked(loop_class.create_server, hub))
    patches.put(loop_class, "sendfile", _sendfile(loop_class.sendfile))
    patches.put(loop_class, "start_tls", _start_tls(loop_class.start_tls))


def patch_unix_loop(patches: Patches, loop_class: Any, hub: Connections) -> None:
    """Patch its Unix servers, which asyncio has in a class of their own."""
    patches.put(loop_class, "create_unix_server", _linked(loop_class.create_unix_server, hub))


def _linked(original: Callable[..., Any], hub: Connections) -> Callable[..., Any]:
    @functools.wraps(original)
    async def create(loop: Any, protocol_factory: Any, *args: Any, **kwargs: Any) -> Any:
        main = threading.current_thread() is threading.main_thread()
        if kwargs.get("ssl") is not None or not main:
            return await original(loop, protocol_factory, *args, **kwargs)
        entry = hub.server(loop, protocol_factory)
        server = await original(loop, entry, *args, **kwargs)
        entry.held = server
        hub.serves(entry, server.sockets)
        return server

    return create


def _sendfile(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    async def sendfile(loop: Any, transport: Any, *args: Any, **kwargs: Any) -> Any:
        if not isinstance(transport, Link):
            return await original(loop, transport, *args, **kwargs)
        sent = await original(loop, transport.loop_transport, *args, **kwargs)
        transport.sent_by_kernel(sent)
        return sent

    return sendfile


def _start_tls(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    async def start_tls(loop: Any, transport: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(transport, Link):
            transport.becomes_opaque()
            transport = transport.loop_transport
        return await original(loop, transport, *args, **kwargs)

    return start_tls
