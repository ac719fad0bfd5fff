"""Addresses of listening sockets, and how one is made.

Invariants:
    * An address is a key: two spellings that the kernel binds alike (a relative and an absolute path, ``""``
      and ``0.0.0.0``) give equal addresses. Host names are resolved before (:meth:`Address.resolve`).
    * A path is absolute; an abstract Unix socket keeps its leading null byte, ``str()`` shows it as ``@``.
    * The file of a Unix socket is replaced only when nobody listens behind it.
"""

from __future__ import annotations

import dataclasses
import errno
import os
import socket
import stat
from typing import Any, Literal

from livereload_core.errors import PortBusyError, UsageError

__all__ = ["Address", "Family", "listening_socket"]

Family = Literal["inet", "inet6", "unix"]

_KERNEL: dict[Family, socket.AddressFamily] = {
    "inet": socket.AF_INET,
    "inet6": socket.AF_INET6,
    "unix": socket.AF_UNIX,
}
_OURS: dict[int, Family] = {int(number): name for name, number in _KERNEL.items()}
_ANY: dict[Family, str] = {"inet": "0.0.0.0", "inet6": "::"}


@dataclasses.dataclass(frozen=True, slots=True)
class Address:
    """Where a stream socket listens.

    Attributes:
        family: ``inet``, ``inet6`` or ``unix``.
        host: the numeric host (with ``%zone`` where IPv6 has one), ``""`` for a Unix socket.
        port: the port, 0 for "any" and for a Unix socket.
        path: the absolute path of a Unix socket, else ``""``.
    """

    family: Family
    host: str = ""
    port: int = 0
    path: str = ""

    def __str__(self) -> str:
        if self.family == "unix":
            return self.path.replace("\0", "@", 1) if self.path.startswith("\0") else self.path
        return f"[{self.host}]:{self.port}" if self.family == "inet6" else f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """What a person opens: ``http://127.0.0.1:8000``; a wildcard host is shown as its loopback."""
        if self.family == "unix":
            return f"unix:{self}"
        loopback = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)
        return f"http://{dataclasses.replace(self, host=loopback)}"

    @property
    def kernel_family(self) -> socket.AddressFamily:
        """The family as :func:`socket.socket` wants it."""
        return _KERNEL[self.family]

    @property
    def sockaddr(self) -> Any:
        """What ``bind()`` and ``connect()`` want."""
        return self.path if self.family == "unix" else (self.host, self.port)

    @property
    def is_file(self) -> bool:
        """Whether the address is a path in the file system."""
        return self.family == "unix" and not self.path.startswith("\0")

    def to_json(self) -> dict[str, Any]:
        """Return a dict of JSON types from which :meth:`from_json` restores an equal address."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Address:
        """Restore what :meth:`to_json` wrote."""
        family: Family = data["family"]
        if family not in _KERNEL:
            raise ValueError(f"unknown address family {family!r}; known are {', '.join(_KERNEL)}")
        return cls(family, str(data["host"]), int(data["port"]), str(data["path"]))

    @classmethod
    def from_sockaddr(cls, family: int, sockaddr: Any) -> Address:
        """Read what ``getsockname()`` returns or ``bind()`` is given (with a numeric host).

        Raises:
            ValueError: no stream listener has an address of this family or form.
        """
        name = _OURS.get(int(family))
        if name is None:
            raise ValueError(f"address family {family!r} is not one of {', '.join(_KERNEL)}")
        if name == "unix":
            path = os.fsdecode(sockaddr)
            if not path:
                raise ValueError("a Unix socket without a name has no address")
            return cls(name, path=path if path.startswith("\0") else os.path.abspath(path))
        host, port = sockaddr[0] or _ANY[name], int(sockaddr[1])
        if len(sockaddr) == 4 and sockaddr[3] and "%" not in host:
            host = f"{host}%{socket.if_indextoname(sockaddr[3])}"
        return cls(name, host=host, port=port)

    @classmethod
    def of(cls, sock: socket.socket) -> Address:
        """Return the address that ``sock`` is bound to."""
        return cls.from_sockaddr(sock.family, sock.getsockname())

    @classmethod
    def resolve(cls, host: str, port: int) -> Address:
        """Return the first address that ``host`` (a name or a number) stands for.

        Raises:
            UsageError: the name cannot be resolved.
        """
        try:
            found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        except (OSError, UnicodeError) as error:
            raise UsageError(
                f"host {host!r} cannot be resolved ({error})", advice="pass another one with --host"
            ) from error
        # "localhost" gives ::1 first on many systems, but what people type into curl and tests is IPv4
        first = min(found, key=lambda info: info[0] != socket.AF_INET)
        return cls.from_sockaddr(first[0], first[4])


def listening_socket(address: Address, backlog: int = 2048) -> socket.socket:
    """Bind ``address`` and listen.

    The socket is close-on-exec and blocking. SO_REUSEADDR is set, so that a port whose last connections are
    in TIME_WAIT is free; an address on which another program listens is busy all the same.

    Raises:
        PortBusyError: another program listens there.
        UsageError: the address cannot be bound here (no permission, no such interface or folder).
    """
    sock = socket.socket(address.kernel_family, socket.SOCK_STREAM)
    try:
        if address.family != "unix":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if address.family == "inet6":
            # as asyncio does it: "::" leaves the port of 0.0.0.0 to others
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        try:
            _bind(sock, address)
            sock.listen(backlog)
        except OSError as error:
            raise _explained(address, error) from error
    except BaseException:
        sock.close()
        raise
    return sock


def _bind(sock: socket.socket, address: Address) -> None:
    try:
        sock.bind(address.sockaddr)
    except OSError as error:
        if error.errno != errno.EADDRINUSE or not address.is_file or not _is_stale(address.path):
            raise
        os.unlink(address.path)
        sock.bind(address.sockaddr)


def _is_stale(path: str) -> bool:
    """Whether ``path`` is the file of a Unix socket that nobody listens on any more."""
    if not stat.S_ISSOCK(os.lstat(path).st_mode):
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)  # a full backlog is EAGAIN: somebody lives there
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            return True
        except OSError:
            return False
    return False


def _explained(address: Address, error: OSError) -> UsageError:
    other = "--uds" if address.family == "unix" else "--port"
    if error.errno == errno.EADDRINUSE:
        return PortBusyError(
            f"{address} is taken by another program", advice=f"stop it or choose another one with {other}"
        )
    if error.errno == errno.EACCES and address.family != "unix":
        return UsageError(
            f"no permission to listen on {address}", advice="ports below 1024 are kept for root; use --port"
        )
    return UsageError(
        f"cannot listen on {address} ({os.strerror(error.errno or 0).lower()})",
        advice=f"check {'the folder' if address.family == 'unix' else '--host'} or pass another {other}",
    )
