"""A fresh interpreter that waits: imports ahead what the last generation used, then becomes the candidate.

Nothing of the user's is touched before ``Activate``. What is imported here are the modules that the run
needs in any case and third-party modules by name; a module that fails to import ahead is left to the
program, which will see the same error where it belongs. A spare that finds the user's own code among what
it imported gives itself up: that code would be the one of an earlier save. So does one that has imported
what the program would find elsewhere (``child.hiding``), be it when it is activated.
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
from typing import NoReturn

from livereload_core.child import program
from livereload_core.child.adapter import TargetAdapter, load_adapters
from livereload_core.child.conn_marks import Marks
from livereload_core.child.hiding import Hiding
from livereload_core.child.runtime import Runtime
from livereload_core.child.warming import collect_normally
from livereload_core.core.settings import Settings
from livereload_core.errors import UsageError
from livereload_core.posix import memfd
from livereload_core.posix.channel import BlockingChannel, ChannelClosedError
from livereload_core.posix.process import die_with_parent, widen_fd_table
from livereload_core.state import codec, declare, hooks, thirdparty
from livereload_core.wire import bundle
from livereload_core.wire import messages as wire

__all__ = ["main"]

_IMPORTED_AHEAD = (declare, hooks)
"""What ``from livereload_core import preserve`` in the user's code would load."""


def main(parent_pid: int, control_fd: int) -> int:
    """Serve one child's life; returns its exit code."""
    die_with_parent(parent_pid)
    widen_fd_table()
    os.set_inheritable(control_fd, False)
    # Ctrl-C reaches the whole foreground group; until the user's code runs it means nothing here.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})  # blocked by ``posix.process.spawn``
    channel = BlockingChannel(socket.socket(fileno=control_fd))
    try:
        channel.send(wire.Hello(os.getpid(), sys.version.split()[0]))
        spare = _Spare(channel)
        order, fds = spare.wait()
    except ChannelClosedError:
        return 0
    return spare.activate(order, fds)


class _Spare:
    """Gets warm until it is activated."""

    def __init__(self, channel: BlockingChannel) -> None:
        self._channel = channel
        self._runtime: Runtime | None = None
        self._broken: UsageError | None = None
        self._looked_at: set[str] = set()
        self._hiding: Hiding | None = None
        self._poll = select.poll()
        self._poll.register(channel.fileno(), select.POLLIN)

    def wait(self) -> tuple[wire.Activate, list[int]]:
        """Follow ``Warm`` until ``Activate`` comes."""
        while True:
            message, fds = self._channel.receive()
            if isinstance(message, wire.Warm):
                self._warm(message)
            elif isinstance(message, wire.Activate):
                return message, fds

    def activate(self, order: wire.Activate, fds: list[int]) -> int:
        """Become the candidate."""
        runtime = self._runtime
        if runtime is None or self._hiding is None:
            raise AssertionError("activated before it knew the run: a bug in the parent")
        self._hiding.stop()
        self._look_for_hidden(self._hiding)
        self._channel.send(wire.Begun())
        if self._broken is not None:
            runtime.attempt = order.attempt
            runtime.fail(runtime.failure_of(self._broken), self._broken)
        runtime.net.connections.marks = Marks(fds.pop(0), order.generation)
        runtime.net.connections.most = order.connections
        for fd, take in zip(fds, (runtime.imports.take_code, runtime.imports.take_overlay), strict=False):
            take(bundle.unpack(memfd.read(fd)))
            os.close(fd)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        return runtime.run(order)

    @property
    def _is_called(self) -> bool:
        """Whether the parent has said more: that it is in a hurry, or that it knows more modules."""
        return self._channel.pending or bool(self._poll.poll(0))

    def _warm(self, message: wire.Warm) -> None:
        thirdparty.know(message.codecs)
        if self._runtime is None:
            settings = Settings.from_json(message.settings)
            self._runtime = Runtime(self._channel, settings, message.roots, self._adapters(message.adapters))
            self._hiding = Hiding(program.own_folder(settings))
            sys.argv[:] = program.arguments(settings)
        if message.modules:
            self._runtime.imports.known_environ = frozenset(message.environ)
        assert self._hiding is not None
        self._hiding.start()
        for name in message.modules:
            if self._is_called:
                break  # activated while still cold: the program imports the rest itself
            if name not in sys.modules:
                # Whatever goes wrong here goes wrong again in the program, where the user sees it.
                with contextlib.suppress(BaseException):
                    importlib.import_module(name)
                self._look_for_user_code(self._runtime, name)
        self._hiding.stop()
        self._runtime.set_up()
        if not self._is_called:
            gc.collect()
            codec.freeze()
        collect_normally()
        if not self._is_called:
            self._channel.send(wire.Warmed(len(message.modules)))

    def _adapters(self, points: tuple[str, ...]) -> list[TargetAdapter]:
        try:
            return load_adapters(points)
        except UsageError as error:
            self._broken = error  # said when somebody waits for an answer
            return []

    def _look_for_user_code(self, runtime: Runtime, name: str) -> None:
        new = sys.modules.keys() - self._looked_at
        self._looked_at |= new
        for module in new:
            if module != "__main__" and runtime.imports.is_user_module(module):
                self._give_up(name, module)
        if self._hiding is not None:
            self._hiding.imported(name, new)
            self._look_for_hidden(self._hiding)

    def _look_for_hidden(self, hiding: Hiding) -> None:
        found = hiding.found()
        if found is not None:
            self._give_up(*found)

    def _give_up(self, name: str, module: str) -> NoReturn:
        self._channel.send(wire.Spoiled(name, module))
        os._exit(0)
