"""The order in which a generation that takes service tells of it."""

from __future__ import annotations

import socket
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast
from unittest import mock

from livereload_core.child.control import Control
from livereload_core.child.runtime import Runtime
from livereload_core.posix.channel import BlockingChannel
from livereload_core.wire import messages as wire


class AnsweredAtOnce:
    """Stands for the sockets of a program whose loop answers a client while it is being let on."""

    on_answer: Callable[[], None] | None = None

    def in_use(self) -> list[Any]:
        return []

    def release(self) -> None:
        if self.on_answer is not None:
            self.on_answer()


def test_an_answer_in_the_moment_of_the_switch_proves_the_generation() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        runtime = mock.MagicMock()
        runtime.channel = BlockingChannel(theirs)
        runtime.net = AnsweredAtOnce()
        runtime.settings = SimpleNamespace(checkpoint=0, timeout_hook=1.0)
        runtime.imports.loaded.return_value = runtime.announced_files = {}
        parent = BlockingChannel(ours)
        with mock.patch(
            "livereload_core.child.native.start"
        ):  # this thread reads, so that nobody is left to wait
            Control(cast(Runtime, runtime)).start()
            parent.send(wire.Commit(1))
            runtime.broker.read()
        assert [type(parent.receive()[0]) for _ in range(2)] == [wire.Serving, wire.Proved]
