"""The half of a stream that only hands on: what servers ask of a transport, asked of the loop's own."""

from __future__ import annotations

import asyncio
import operator
from typing import Any

__all__ = ["Forwarding", "learn_names"]

_FAMILIAR: set[type] = set()
"""Classes of transports all of whose names a stream has."""


class Forwarding(asyncio.Transport):
    """A transport in front of another one; see ``child.conn_stream``."""

    __slots__ = ("_protocol", "_transport")

    _protocol: Any
    _transport: Any

    def _writelines(self, list_of_data: Any) -> None:
        """Send several pieces."""
        self.write(b"".join(list_of_data))

    def can_write_eof(self) -> bool:
        """Whether it can."""
        return bool(self._transport.can_write_eof())

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """What the loop's transport knows."""
        return self._transport.get_extra_info(name, default)

    def pause_reading(self) -> None:
        """Take nothing more from the client."""
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Go on."""
        self._transport.resume_reading()

    def is_reading(self) -> bool:
        """Whether it reads."""
        return bool(self._transport.is_reading())

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """See asyncio."""
        self._transport.set_write_buffer_limits(high, low)

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """See asyncio."""
        limits: tuple[int, int] = self._transport.get_write_buffer_limits()
        return limits

    def get_write_buffer_size(self) -> int:
        """Bytes that the kernel has not taken."""
        return int(self._transport.get_write_buffer_size())

    def get_protocol(self) -> asyncio.BaseProtocol:
        """The server's protocol."""
        protocol: asyncio.BaseProtocol = self._protocol
        return protocol


def learn_names(cls: type, transport: object) -> None:
    """Give a class of streams what only the transports of one loop have.

    Not by ``__getattr__``: a class that has it pays for a slow look-up at each attribute that there is, which
    was half of what a request cost here.
    """
    if type(transport) in _FAMILIAR:
        return
    _FAMILIAR.add(type(transport))
    for name in dir(transport):
        if not (name.startswith("__") or hasattr(cls, name)):
            setattr(cls, name, property(operator.attrgetter(f"_transport.{name}")))
