"""A fresh interpreter that waits: imports ahead what the last generation used, then becomes the candidate.

Nothing of the user's is touched before ``Activate``. What is imported here are the modules that the run
needs in any case and third-party modules by name; a module that fails to import ahead is left to the
program, which will see the same error where it belongs.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import select
import signal
import socket
import sys

from livereload_core.child.adapter import discover
from livereload_core.child.runtime import Runtime
from livereload_core.posix import memfd
from livereload_core.posix.channel import BlockingChannel, ChannelClosedError
from livereload_core.posix.process import die_with_parent
from livereload_core.wire import bundle
from livereload_core.wire.messages import Activate, Hello, Preload

__all__ = ["main"]


def main(parent_pid: int, control_fd: int) -> int:
    """Serve one child's life; returns its exit code."""
    die_with_parent(parent_pid)
    os.set_inheritable(control_fd, False)
    # Ctrl-C reaches the whole foreground group; until the user's code runs it means nothing here.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})  # blocked by ``posix.process.spawn``
    channel = BlockingChannel(socket.socket(fileno=control_fd))
    try:
        channel.send(Hello(os.getpid(), sys.version.split()[0]))
        adapters = discover()
        while True:
            message, fds = channel.receive()
            if isinstance(message, Preload):
                _preload(message.modules, channel)
            elif isinstance(message, Activate):
                break
    except ChannelClosedError:
        return 0
    overlay = {}
    for fd in fds:
        overlay = bundle.unpack(memfd.read(fd))
        os.close(fd)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    return Runtime(channel, message, adapters, overlay).run()


def _preload(modules: tuple[str, ...], channel: BlockingChannel) -> None:
    poll = select.poll()
    poll.register(channel.fileno(), select.POLLIN)
    for name in modules:
        if channel.pending or poll.poll(0):
            return  # activated while still cold: the program imports the rest itself
        if name not in sys.modules:
            # Whatever goes wrong here goes wrong again in the program, where the user sees it.
            with contextlib.suppress(BaseException):
                importlib.import_module(name)
    gc.collect()
    gc.freeze()
