"""Sockets cross with their connection, their unread bytes and their timeouts."""

from __future__ import annotations

import multiprocessing
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest

from livereload_core.state import runtime
from livereload_core.state.refusals import RefusedError
from tests.unit.state.carrying import carry, census, refuse, send


def connected(family: int, folder: Path) -> tuple[socket.socket, socket.socket]:
    """A client and what was accepted."""
    if family == socket.AF_UNIX:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(folder / "sock"))
        listener.listen()
    else:
        listener = socket.create_server(("127.0.0.1", 0))
    with listener:
        client = socket.socket(family)
        client.connect(listener.getsockname())
        return client, listener.accept()[0]


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_UNIX])
@pytest.mark.parametrize("timeout", [None, 0.0, 7.5])
def test_connection_goes_on_with_what_nobody_has_read(
    tmp_path: Path, family: int, timeout: float | None
) -> None:
    client, peer = connected(family, tmp_path)
    with client, peer:
        peer.sendall(b"unread")
        client.settimeout(timeout)
        back = carry(client)
        with back:
            client.close()
            assert type(back) is socket.socket
            assert (back.family, back.type, back.gettimeout()) == (family, socket.SOCK_STREAM, timeout)
            assert back.recv(10) == b"unread"
            back.sendall(b"answer")
            assert peer.recv(10) == b"answer"
        assert peer.recv(1) == b""


class Named(socket.socket):
    def __init__(self, name: str) -> None:
        super().__init__(socket.AF_UNIX)
        self.name = name


def test_class_of_the_users_keeps_its_attributes_and_is_not_initialised() -> None:
    with Named("line 1") as sock, carry(sock) as back:
        assert type(back) is Named
        assert back.name == "line 1"


def test_two_mentions_of_a_socket_are_one_socket() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        first, second = carry([ours, ours])
        with first:
            assert first is second


def test_closed_socket_comes_back_closed() -> None:
    with socket.socket() as sock:
        pass
    assert carry(sock).fileno() == -1


def test_listener_accepts_and_whoever_leads_the_process_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Any] = []
    monkeypatch.setattr(runtime, "on_listener", told.append)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        carried = send(listener)
        _, incoming = carried.receive(scratch=True)
        incoming.close()
        assert not told, "a trial is not for accepting"
        back, _ = carried.receive()
        carried.handed.close()
        with back, socket.create_connection(listener.getsockname()):
            assert told == [back]
            back.accept()[0].close()


def test_tls_sockets_are_refused_with_the_reason() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    ours, theirs = socket.socketpair()
    with theirs, context.wrap_socket(ours, server_hostname="x", do_handshake_on_connect=False) as sock:
        refuse(sock, RefusedError, lambda error: "TLS" in error.message and error.remedy)


def test_connection_of_multiprocessing_goes_on() -> None:
    ours, theirs = multiprocessing.Pipe()
    with ours, theirs:
        theirs.send({"a": 1})
        with carry(ours) as back:
            assert back.recv() == {"a": 1}
            back.send("answer")
            assert theirs.recv() == "answer"
    assert carry(ours).closed


def test_trial_of_sockets_steals_no_bytes_and_leaves_nothing_open() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(b"unread")
        before = census()
        carried = send({"a": ours})
        for _ in range(3):
            carried.receive(scratch=True)[1].close()
        carried.handed.close()
        assert census() == before
        assert ours.recv(10) == b"unread"
