"""The keyboard for the program: ``input()`` and debuggers work as without us.

The parent reads single keys from the terminal. Before the program reads a line, it asks the parent to let
go, and afterwards hands the terminal back. Debuggers built on ``cmd`` (pdb) read through ``input()`` too.
"""

from __future__ import annotations

import builtins
import os
import sys

from livereload_core.child.broker import Broker
from livereload_core.posix.channel import BlockingChannel
from livereload_core.wire import messages as wire

__all__ = ["install"]


def install(channel: BlockingChannel, broker: Broker) -> None:
    """Wrap ``builtins.input``; without a terminal there is nothing to share and nothing is done."""
    if sys.stdin is None or not sys.stdin.isatty():
        return
    plain = builtins.input
    owner = os.getpid()

    def shared_input(prompt: object = "", /) -> str:
        if os.getpid() != owner:
            return plain(prompt)  # a fork: the parent's answer would go to the process that it came from
        channel.send(wire.Terminal(taken=True))
        broker.terminal.get()
        try:
            return plain(prompt)
        finally:
            channel.send(wire.Terminal(taken=False))

    shared_input.__name__ = shared_input.__qualname__ = "input"
    shared_input.__doc__ = plain.__doc__
    builtins.input = shared_input
