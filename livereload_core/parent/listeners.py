"""The listening sockets of a run: the parent holds each one, children come and go.

Invariants:
    * One listener per address. A listener is never closed while a generation uses it, so the kernel's backlog
      keeps every connection attempt through a switch.
    * A port-0 listener keeps the port that it got: the n-th one that a generation asks for on a host is the
      n-th one that the run holds for it.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterable, Iterator

from livereload_core.core.settings import Settings
from livereload_core.posix.addresses import Address, listening_socket

__all__ = ["Listeners"]


class Listeners:
    """All listeners that the parent holds."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._held: dict[Address, socket.socket] = {}
        self._any_port: list[Address] = []
        self._configured: list[Address] = []
        self._claims: dict[tuple[int, str], int] = {}

    def __iter__(self) -> Iterator[tuple[Address, socket.socket]]:
        return iter(tuple(self._held.items()))

    def __len__(self) -> int:
        return len(self._held)

    @property
    def addresses(self) -> tuple[Address, ...]:
        """What is listened on, in the order in which it was opened."""
        return tuple(self._held)

    def find(self, child: int, wanted: Address) -> socket.socket | None:
        """The listener of this address, or for port 0 the next one of its host that ``child`` has not got."""
        if wanted.path or wanted.port:
            return self._held.get(wanted)
        same_host = [a for a in self._any_port if (a.family, a.host) == (wanted.family, wanted.host)]
        claimed = self._claims.get((child, wanted.host), 0)
        if claimed >= len(same_host):
            return None
        self._claims[child, wanted.host] = claimed + 1
        return self._held[same_host[claimed]]

    def add(self, child: int, address: Address, fd: int, *, requested_port: int) -> bool:
        """Take over ``fd``, a dup of a listener that a child opened; returns whether it was new."""
        sock = socket.socket(fileno=fd)
        if address in self._held:
            # The child bound an address that is held already (SO_REUSEPORT): ours stays the one that is kept.
            sock.close()
            return False
        self._held[address] = sock
        if requested_port == 0 and not address.path:
            self._any_port.append(address)
            self._claims[child, address.host] = self._claims.get((child, address.host), 0) + 1
        return True

    def configured(self) -> list[tuple[Address, socket.socket]]:
        """The listeners on the configured host and port, opened at the first call.

        Raises:
            PortBusyError: another program has the address.
            UsageError: the host name has no address.
        """
        if not self._configured:
            for address in _wanted(self._settings):
                sock = listening_socket(address)
                actual = Address.of(sock)
                self._held[actual] = sock
                self._configured.append(actual)
        return [(address, self._held[address]) for address in self._configured]

    def forget(self, child: int) -> None:
        """A child is gone: so are its claims."""
        for key in [key for key in self._claims if key[0] == child]:
            del self._claims[key]

    def keep_only(self, used: Iterable[Address]) -> tuple[Address, ...]:
        """Close listeners that nobody uses any more and return their addresses."""
        wanted = set(used)
        dropped = tuple(address for address in self._held if address not in wanted)
        for address in dropped:
            self._close(address)
        return dropped

    def close(self) -> None:
        """Close all; Unix sockets leave the file system."""
        for address in tuple(self._held):
            self._close(address)

    def _close(self, address: Address) -> None:
        self._held.pop(address).close()
        if address in self._any_port:
            self._any_port.remove(address)
        if address in self._configured:
            self._configured.remove(address)
        if address.path and not address.path.startswith("\0"):
            with contextlib.suppress(OSError):
                os.unlink(address.path)


def _wanted(settings: Settings) -> list[Address]:
    if settings.uds:
        return [Address.from_sockaddr(socket.AF_UNIX, settings.uds)]
    return [Address.resolve(settings.host, settings.port)]
