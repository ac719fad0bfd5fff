"""What the kernel remembers of a TCP connection's traffic, for whoever has not seen it.

Kernel facts relied on: struct tcp_info in linux/tcp.h tells how many milliseconds ago data was sent and
received, and how many bytes of it (Linux 4.19), a FIN counting as one; FIONREAD tells what was received and
not read.
"""

from __future__ import annotations

import _socket
import array
import fcntl
import struct
import termios
from typing import NamedTuple

__all__ = ["Traffic", "read_bytes", "traffic_of", "unread_bytes"]

_LAST_DATA, _LAST_DATA_AT = struct.Struct("=III"), 44
_BYTES_RECEIVED, _BYTES_RECEIVED_AT = struct.Struct("=Q"), 128
_CLOSED, _ENDED = 7, (6, 8, 9, 11)
"""States in linux/tcp_states.h: closed, and those in which the other side's FIN has come."""
_BYTES_SENT, _BYTES_SENT_AT = struct.Struct("=Q"), 200


class Traffic(NamedTuple):
    """The traffic of one connection.

    Attributes:
        sent: bytes.
        sent_ago: milliseconds since the last of them.
        received: bytes, unread ones included.
        received_ago: milliseconds since the last of them.
    """

    sent: int
    sent_ago: int
    received: int
    received_ago: int


def read_bytes(fd: int) -> int | None:
    """Return how many bytes of the other side's were read here; None where nobody tells, or all is over."""
    try:
        while True:
            unread = unread_bytes(fd)
            info = _tcp_info(fd)
            if info is None or info[0] == _CLOSED:
                return None
            if unread == unread_bytes(fd):  # else some came between the two questions
                (received,) = _BYTES_RECEIVED.unpack_from(info, _BYTES_RECEIVED_AT)
                return int(received) - (info[0] in _ENDED) - unread
    except OSError:
        return None


def _tcp_info(fd: int) -> bytes | None:
    view = _socket.socket(fileno=fd)
    try:
        info = view.getsockopt(_socket.IPPROTO_TCP, _socket.TCP_INFO, 256)
    finally:
        view.detach()
    return info if len(info) >= _BYTES_SENT_AT + _BYTES_SENT.size else None


def traffic_of(fd: int) -> Traffic | None:
    """Return the traffic of a connection; None where the system does not tell.

    Raises:
        OSError: it is closed, or no TCP connection.
    """
    info = _tcp_info(fd)
    if info is None:
        return None
    sent_ago, _, received_ago = _LAST_DATA.unpack_from(info, _LAST_DATA_AT)
    (received,) = _BYTES_RECEIVED.unpack_from(info, _BYTES_RECEIVED_AT)
    (sent,) = _BYTES_SENT.unpack_from(info, _BYTES_SENT_AT)
    return Traffic(sent, sent_ago, received, received_ago)


def unread_bytes(fd: int) -> int:
    """Return how many received bytes the program has not read yet.

    Raises:
        OSError: it is closed.
    """
    count = array.array("i", [0])
    fcntl.ioctl(fd, termios.FIONREAD, count)
    return count[0]
