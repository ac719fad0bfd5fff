"""What the parent keeps of its children's words, and for how long."""

from __future__ import annotations

import os
import socket
from types import SimpleNamespace
from typing import Any, cast
from unittest import mock

from livereload_core.core.states import State
from livereload_core.parent.messages import ChildMessages
from livereload_core.posix import memfd
from livereload_core.wire import messages as wire
from livereload_core.wire.links import ENDS, Kind, Link, mark_at, pack

OLD, NEW = 1, 2


def test_the_table_of_an_attempt_that_was_given_up_meanwhile_is_not_believed_when_the_program_dies() -> None:
    run = mock.MagicMock()
    run.machine = SimpleNamespace(active=OLD, attempt=None, state=State.IDLE)
    run.children = {}
    run.settings.keep_generations = 0
    messages = ChildMessages(run)
    ours, client = socket.socketpair()
    link = Link(7, Kind.HTTP, "x", mark=mark_at(OLD, 0))
    with ours, client:
        messages.vault.opened(OLD, 7, link, os.dup(ours.fileno()))
        frozen = wire.Frozen(3, 1, (), (7,), {}, 1, ())
        messages.receive(cast(Any, SimpleNamespace(number=OLD)), frozen, [memfd.create(pack([link]))])
        os.pwrite(messages.vault.marks_for(OLD), bytes([ENDS]), link.mark)  # it goes on, and reads a request
        messages.forget(OLD)
        run.machine.active = None
        messages._promise(NEW)
        ours.close()
        client.settimeout(20)
        assert client.recv(1) == b"", "closed, so that its client comes again"
    messages.close()
