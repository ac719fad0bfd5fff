"""Standing still until the verdict, whoever hears it first."""

from __future__ import annotations

import socket
import threading
from typing import cast
from unittest import mock

from livereload_core.child.runtime import Runtime
from livereload_core.child.standstill import Standstill
from livereload_core.posix.channel import BlockingChannel
from livereload_core.wire import messages as wire


def test_a_verdict_that_the_control_thread_has_just_taken_is_not_waited_for_on_the_socket() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        parent = BlockingChannel(ours)
        runtime = mock.MagicMock()
        runtime.channel = BlockingChannel(theirs)
        runtime.net.listening.return_value = []
        runtime.net.connections.export.return_value = ((), b"", {})
        runtime.net.open_connections.return_value = 0
        runtime.handing.next.return_value = 1
        standstill = Standstill(cast(Runtime, runtime))
        taken = threading.Event()
        parent.send(wire.Resume(1))

        def control() -> None:
            with standstill.reading():
                verdict, _ = runtime.channel.receive()
                assert isinstance(verdict, wire.Resume)
                taken.set()
                parent.receive()  # Frozen: who stands still listens from now on
                standstill.tell(verdict)

        thread = threading.Thread(target=control, daemon=True)
        thread.start()
        assert taken.wait(20)
        assert not standstill._stand_still(wire.Freeze(1, 1.0, False, (), False))
        thread.join(20)
