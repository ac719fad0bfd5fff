"""Sockets: the fd crosses, and with it the connection and the bytes that nobody has read yet.

The new object is built around a duplicate of the same open socket. Its blocking mode belongs to the open
socket, its timeout to the object, so both are those of before. A listener is shown to whoever leads this
process (``runtime.on_listener``), which decides when it may be accepted on.
"""

from __future__ import annotations

import _socket
import contextlib
import socket
from typing import Any

from livereload_core.state import runtime
from livereload_core.state.descriptors import GoneError, incoming, outgoing

__all__ = ["reduce_connection", "reduce_socket"]


def reduce_socket(sock: Any) -> Any:
    """Return the reduction of a socket, open or closed."""
    # A class of ours that only watches a connection says as what it crosses.
    cls = getattr(type(sock), "__carried_as__", type(sock))
    family, kind, proto = int(sock.family), int(sock.type), int(sock.proto)
    attributes = dict(getattr(sock, "__dict__", ()))
    if sock.fileno() < 0:
        return _make_closed, (cls, family, kind, proto, attributes)
    number = outgoing().number(sock.fileno())
    return _make_socket, (cls, family, kind, proto, sock.gettimeout(), number, attributes)


def _make_socket(
    cls: Any,
    family: int,
    kind: int,
    proto: int,
    timeout: float | None,
    number: int,
    attributes: dict[str, Any],
) -> Any:
    try:
        fd = incoming().take(number)
    except GoneError:
        return _make_closed(cls, family, kind, proto, attributes)
    sock = cls.__new__(cls)
    # Not cls(...): a class of the user's may want other arguments.
    socket.socket.__init__(sock, family, kind, proto, fileno=fd)
    sock.settimeout(timeout)
    if attributes:
        vars(sock).update(attributes)
    incoming().made(sock.close, fd)
    if not incoming().scratch and runtime.on_listener is not None and _listens(sock):
        runtime.on_listener(sock)
    return sock


def _listens(sock: socket.socket) -> bool:
    with contextlib.suppress(OSError):  # a family that knows no listening
        return bool(_socket.socket.getsockopt(sock, socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
    return False


def _make_closed(cls: Any, family: int, kind: int, proto: int, attributes: dict[str, Any]) -> Any:
    sock = cls.__new__(cls)
    socket.socket.__init__(sock, family, kind, proto)
    sock.close()
    if attributes:
        vars(sock).update(attributes)
    return sock


def reduce_connection(connection: Any) -> Any:
    """Return the reduction of one end of a ``multiprocessing.Pipe()``."""
    if connection.closed:
        return _make_closed_connection, (type(connection),)
    number = outgoing().number(connection.fileno())
    return _make_connection, (type(connection), number, connection.readable, connection.writable)


def _make_connection(cls: Any, number: int, readable: bool, writable: bool) -> Any:
    try:
        fd = incoming().take(number)
    except GoneError:
        return _make_closed_connection(cls)
    connection = cls(fd, readable=readable, writable=writable)
    incoming().made(connection.close, fd)
    return connection


def _make_closed_connection(cls: Any) -> Any:
    ours, theirs = socket.socketpair()
    theirs.close()
    connection = cls(ours.detach())
    connection.close()
    return connection
