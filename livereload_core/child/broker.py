"""Asks the parent for listeners, from whatever thread the program binds in."""

from __future__ import annotations

import itertools
import os
import socket
from collections.abc import Callable

from livereload_core.child import native
from livereload_core.child.net import Net
from livereload_core.errors import PortBusyError, UsageError
from livereload_core.posix.addresses import Address
from livereload_core.posix.channel import BlockingChannel
from livereload_core.wire import messages as wire

__all__ = ["Broker"]

Answer = tuple[wire.Message, list[int]]


class Broker:
    """Requests over the control channel; the control thread delivers the answers.

    Attributes:
        reader: the control thread's identifier, once it runs.
        read: takes one message; for requests of that thread itself (a hook of a generation that leaves).
    """

    def __init__(self, channel: BlockingChannel) -> None:
        self._channel = channel
        self._numbers = itertools.count(1)
        self._waiting: dict[int, native.SimpleQueue[Answer]] = {}
        self.terminal: native.SimpleQueue[None] = native.SimpleQueue()
        self.reader: int | None = None
        self.read: Callable[[], None] | None = None
        self._owner = os.getpid()

    def find(self, address: Address) -> int | None:
        """An fd (the caller's) of the listener that the parent holds for ``address``."""
        _, fds = self._ask(wire.FindListener(self._next(), address.to_json()))
        return fds[0] if fds else None

    def exit_status(self, pid: int) -> int | None:
        """How a process ended that another one is the parent of, as of ``os.waitpid``; None: nobody knows."""
        if os.getpid() != self._owner:
            return None  # a fork: nobody would read the answer
        answer, _ = self._ask(wire.FindExit(self._next(), pid))
        assert isinstance(answer, wire.ExitFound)
        return answer.status

    def register(self, address: Address, fd: int, *, requested_port: int) -> None:
        """Give the parent a dup of a new listener."""
        self._channel.send(wire.NewListener(address.to_json(), requested_port), [fd])

    def open_configured(self, net: Net) -> list[socket.socket]:
        """Listeners on the configured address.

        Raises:
            PortBusyError: another program has it.
            UsageError: it cannot be bound.
        """
        answer, fds = self._ask(wire.OpenListeners(self._next()))
        assert isinstance(answer, wire.ListenersOpened)
        if answer.error:
            kind, _, text = answer.error.partition(":")
            raise PortBusyError(text) if kind == "port-busy" else UsageError(text)
        opened = []
        for fd, address in zip(fds, answer.addresses, strict=True):
            sock = socket.socket(fileno=fd)
            os.set_inheritable(fd, False)
            net.adopt_listener(sock, Address.from_json(address))
            opened.append(sock)
        return opened

    def deliver(self, request: int, answer: Answer) -> None:
        """An answer has come; called by the control thread."""
        waiting = self._waiting.pop(request, None)
        if waiting is None:
            for fd in answer[1]:
                os.close(fd)
        else:
            waiting.put(answer)

    def _next(self) -> int:
        return next(self._numbers)

    def _ask(self, message: wire.FindListener | wire.OpenListeners | wire.FindExit) -> Answer:
        answer: native.SimpleQueue[Answer] = native.SimpleQueue()
        self._waiting[message.request] = answer
        self._channel.send(message)
        if native.get_ident() == self.reader and self.read is not None:
            while answer.empty():
                self.read()
        return answer.get()
