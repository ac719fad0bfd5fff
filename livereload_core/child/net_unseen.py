"""Accepted connections that Python never saw, because a loop in C accepted them (uvloop).

They are found among the open sockets by their local address, and are known only from outside: what the
kernel holds unread, and what it remembers of their traffic (TCP_INFO).
"""

from __future__ import annotations

import _socket
from collections.abc import Collection, Iterable

from livereload_core.child.accounting import FRESH_GRACE
from livereload_core.child.net_descriptors import inode_of, open_sockets
from livereload_core.posix.addresses import Address
from livereload_core.posix.tcp import traffic_of, unread_bytes

__all__ = ["close_idle", "find", "in_flight"]

_SHUT_RD = _socket.SHUT_RD


def find(addresses: Iterable[Address], seen: set[int], parted: Collection[int] = ()) -> list[int]:
    """Return the fds of connections to one of ``addresses`` that are not in ``seen``.

    Args:
        addresses: of the listeners.
        seen: fds of connections that are known.
        parted: inodes of sockets that have gone over to another generation.
    """
    exact = set(addresses)
    wildcard = {(a.family, a.port) for a in exact if a.host in ("0.0.0.0", "::")}
    found = {}
    for inode, fds in open_sockets(besides=seen).items():
        if inode in parted:
            continue
        address = _connected(fds[0])
        if address is not None and (address in exact or (address.family, address.port) in wildcard):
            found[inode] = fds[0]
    if found:
        for fd in seen:
            found.pop(inode_of(fd), None)  # a duplicate of one that is seen
    return list(found.values())


def in_flight(fds: Iterable[int]) -> int:
    """Count connections whose last word was the client's: unread, or read and not answered."""
    return sum(1 for fd in fds if _is_busy(fd))


def _is_busy(fd: int) -> bool:
    try:
        if unread_bytes(fd):
            return True
        traffic = traffic_of(fd)
    except OSError:
        return False  # closed meanwhile, or no TCP: a Unix socket tells nothing more
    if traffic is None:
        return False
    if not traffic.received:
        return traffic.received_ago < FRESH_GRACE * 1000
    return not traffic.sent or traffic.received_ago < traffic.sent_ago


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
