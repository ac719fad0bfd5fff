"""python-socketio, whose session inside of the WebSocket goes on in new code under its old names.

``framing.sessions`` plays the client's handshake to new code. Three things are known to the library alone:

    names   Engine.IO and Socket.IO give each client a ``sid``, which programs and clients remember. While a
            handshake is played, ``BaseServer.generate_id()`` gives the old ones again.
    rooms   what a client has entered by an event of long ago is not in its handshake. It is kept beside the
            connection, and entered again as soon as the client is connected anew.
    events  run in tasks of their own: a connection is at work until they have ended.

Everything is looked up by name when the library is imported; what is missing there is left out.
"""

from __future__ import annotations

import functools
import weakref
from types import ModuleType
from typing import Any

from livereload_core.child.conn_link import Link
from livereload_core.child.net_patches import Patches
from livereload_core.state.connection import current
from livereload_core.wire.links import Kind

__all__ = ["callbacks"]

_ROOMS = "livecore.socketio.rooms"
"""Where the rooms are in the state of a connection: a list of namespace and room."""


def callbacks(patches: Patches) -> dict[str, Any]:
    """Return module name -> what to do when it was imported."""
    return {
        "engineio.base_server": lambda module: _patch_ids(patches, module),
        "socketio.async_server": lambda module: _patch_events(patches, module),
        "socketio.base_manager": lambda module: _patch_rooms(patches, module),
    }


def _link() -> Link | None:
    """The WebSocket whose handler runs now."""
    link = current.get(None)
    return link if isinstance(link, Link) else None


def _patch_ids(patches: Patches, module: ModuleType) -> None:
    server_class = module.BaseServer
    original = getattr(server_class, "generate_id", None)
    if original is None:
        return

    @functools.wraps(original)
    def generate_id(server: Any) -> Any:
        link = _link()
        ids = getattr(link.replay, "ids", None) if link is not None else None
        return ids.pop(0) if ids else original(server)

    patches.put(server_class, "generate_id", generate_id)


def _patch_events(patches: Patches, module: ModuleType) -> None:
    server_class = module.AsyncServer
    original = getattr(server_class, "_handle_event_internal", None)
    if original is None:
        return

    @functools.wraps(original)
    async def handle(server: Any, *args: Any, **kwargs: Any) -> Any:
        link = _link()
        if link is None:
            return await original(server, *args, **kwargs)
        with link.at_work():
            return await original(server, *args, **kwargs)

    patches.put(server_class, "_handle_event_internal", handle)


def _patch_rooms(patches: Patches, module: ModuleType) -> None:
    manager_class = module.BaseManager
    enter = getattr(manager_class, "basic_enter_room", None)
    leave = getattr(manager_class, "basic_leave_room", None)
    if enter is None or leave is None:
        return
    links: weakref.WeakValueDictionary[tuple[Any, Any], Link] = weakref.WeakValueDictionary()

    @functools.wraps(enter)
    def basic_enter_room(manager: Any, sid: Any, namespace: Any, room: Any, eio_sid: Any = None) -> None:
        enter(manager, sid, namespace, room, eio_sid)
        if room is None:  # the client itself comes in, and its handler runs
            link = _link()
            if link is not None and link.kind == Kind.WEBSOCKET:
                links[sid, namespace] = link
                for known, entered in _rooms(link):
                    if known == namespace:
                        enter(manager, sid, namespace, entered)
            return
        link = links.get((sid, namespace))
        if link is not None and room != sid and isinstance(room, (str, int)):
            rooms = _rooms(link)
            if (namespace, room) not in rooms:
                link.connection.state[_ROOMS] = [*rooms, (namespace, room)]

    @functools.wraps(leave)
    def basic_leave_room(manager: Any, sid: Any, namespace: Any, room: Any) -> None:
        leave(manager, sid, namespace, room)
        link = links.get((sid, namespace))
        if link is not None and (namespace, room) in _rooms(link):
            link.connection.state[_ROOMS] = [kept for kept in _rooms(link) if kept != (namespace, room)]

    patches.put(manager_class, "basic_enter_room", basic_enter_room)
    patches.put(manager_class, "basic_leave_room", basic_leave_room)


def _rooms(link: Link) -> list[tuple[Any, Any]]:
    rooms: list[tuple[Any, Any]] = link.connection.state.get(_ROOMS, [])
    return rooms
