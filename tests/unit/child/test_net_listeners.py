"""The table of listeners, while the program closes them in another thread."""

from __future__ import annotations

import os
import socket

from livereload_core.child.net_listeners import Listeners
from livereload_core.posix.addresses import Address


def test_listener_that_the_program_closes_meanwhile_is_left_alone() -> None:
    listeners = Listeners()
    with socket.create_server(("127.0.0.1", 0)) as sock:
        listener = listeners.add(Address.of(sock), sock.fileno())
        fds = listeners.fds(listener)
        assert fds == [sock.fileno()]
    before = set(os.listdir("/proc/self/fd"))
    listeners.replace(listener, fds)  # found a moment ago
    assert not listener.dummy
    assert set(os.listdir("/proc/self/fd")) == before


def test_number_that_is_another_file_by_now_is_left_alone() -> None:
    listeners = Listeners()
    with (
        open(os.devnull) as other,
        socket.create_server(("127.0.0.1", 0)) as sock,
        sock.dup() as closed,
    ):
        listener = listeners.add(Address.of(sock), sock.fileno())
        fds = listeners.fds(listener)
        number = closed.fileno()
        assert number in fds
        closed.close()
        os.dup2(other.fileno(), number)
        listeners.replace(listener, fds)
        assert os.path.sameopenfile(number, other.fileno())
        os.close(number)
        listeners.restore(listener)
        listeners.release_original(listener)
