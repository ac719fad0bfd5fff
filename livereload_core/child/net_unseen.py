"""Accepted connections that Python never saw, because a loop in C accepted them (uvloop).

They are found among the open sockets by their local address, and are known only from outside: open, and
whether the kernel holds unread bytes.
"""

from __future__ import annotations

import _socket
from collections.abc import Iterable

from livereload_core.child.accounting import unread_bytes
from livereload_core.child.net_descriptors import open_sockets
from livereload_core.posix.addresses import Address

__all__ = ["close_idle", "find"]

_SHUT_RD = _socket.SHUT_RD


def find(addresses: Iterable[Address], seen: set[int]) -> list[int]:
    """Return the fds of connections to one of ``addresses`` that are not in ``seen``."""
    exact = set(addresses)
    wildcard = {(a.family, a.port) for a in exact if a.host in ("0.0.0.0", "::")}
    found = []
    for fds in open_sockets().values():
        if seen.intersection(fds):
            continue
        address = _connected(fds[0])
        if address is not None and (address in exact or (address.family, address.port) in wildcard):
            found.append(fds[0])
    return found


def close_idle(fds: Iterable[int]) -> None:
    """Let the program read end-of-file where nothing is unread: it closes them in its own way."""
    for fd in fds:
        try:
            if not unread_bytes(fd):
                view = _socket.socket(fileno=fd)
                try:
                    view.shutdown(_SHUT_RD)
                finally:
                    view.detach()
        except OSError:
            continue  # closed meanwhile, by the client or by the program


def _connected(fd: int) -> Address | None:
    try:
        view = _socket.socket(fileno=fd)
    except OSError:
        return None
    try:
        view.getpeername()  # fails for a listener
        return Address.from_sockaddr(view.family, view.getsockname())
    except (OSError, ValueError):
        return None
    finally:
        view.detach()
