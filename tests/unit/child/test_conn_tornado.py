"""Tornado's accepting: only what can be followed is, and an unknown Tornado is left alone."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from types import ModuleType
from typing import Any, cast

import pytest
import tornado.iostream
import tornado.tcpserver

from livereload_core.child import conn_tornado
from livereload_core.child.conn_hub import Connections
from livereload_core.child.conn_link import Link
from livereload_core.child.net_patches import Patches


class Listeners:
    def of(self, fd: int) -> None:
        return None


class Net:
    def __init__(self) -> None:
        self.connections = Connections()
        self.listeners = Listeners()


class Greeting(tornado.tcpserver.TCPServer):
    streams: list[Any]

    async def handle_stream(self, stream: Any, address: Any) -> None:
        self.streams.append(stream)
        await stream.write(b"hello " + await stream.read_until(b"\n"))
        stream.close()


class Own(Greeting):
    def _handle_connection(self, connection: socket.socket, address: Any) -> None:
        super()._handle_connection(connection, address)


def _patch(module: ModuleType, net: Net) -> Patches:
    patches = Patches()
    callback: Callable[[ModuleType], None]
    (callback,) = conn_tornado.callbacks(patches, cast(Any, net)).values()
    callback(module)
    return patches


def _greet(server: Greeting) -> tuple[bytes, Net, Any]:
    """Return what a client hears, and the stream that the server got."""
    net = Net()
    patches = _patch(tornado.tcpserver, net)
    server.streams = []

    async def main() -> bytes:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            listener.setblocking(False)
            server.add_socket(listener)
            reader, writer = await asyncio.open_connection(*listener.getsockname())
            writer.write(b"Ann\n")
            answer = await reader.read()
            writer.close()
            await writer.wait_closed()
            server.stop()
            return answer

    try:
        return asyncio.run(main()), net, server.streams[0]
    finally:
        patches.undo()


def test_stream_of_a_server_reads_and_writes_a_link() -> None:
    answer, net, stream = _greet(Greeting())
    assert answer == b"hello Ann\n"
    assert len(net.connections.servers) == 1
    assert isinstance(stream._inlet.link, Link)
    assert isinstance(stream, tornado.iostream.IOStream)


def test_server_with_a_way_of_its_own_to_handle_connections_keeps_it() -> None:
    answer, net, stream = _greet(Own())
    assert answer == b"hello Ann\n"
    assert net.connections.servers == []
    assert type(stream) is tornado.iostream.IOStream


def test_server_with_tls_is_left_alone() -> None:
    net = Net()
    patches = _patch(tornado.tcpserver, net)

    async def main() -> None:
        server = Greeting(ssl_options=ssl.create_default_context(ssl.Purpose.CLIENT_AUTH))
        with socket.create_server(("127.0.0.1", 0)) as listener:
            server.add_socket(listener)
            server.stop()

    try:
        asyncio.run(main())
    finally:
        patches.undo()
    assert net.connections.servers == []


@pytest.mark.parametrize("gone", ["", "add_accept_handler", "IOStream", "_handle_connection", "read_into"])
def test_tornado_that_is_not_known_is_left_alone(gone: str) -> None:
    class Stream:
        read_from_fd = write_to_fd = close_fd = get_fd_error = set_nodelay = start_tls = None
        read_until_regex = read_until = read_bytes = read_into = read_until_close = None

    class Server:
        def _handle_connection(self) -> None: ...

    def add_accept_handler(*_: object) -> None: ...

    module = ModuleType("tornado.tcpserver")
    names = {"add_accept_handler": add_accept_handler, "IOStream": Stream, "TCPServer": Server}
    vars(module).update({name: value for name, value in names.items() if name != gone})
    for owner in (Stream, Server):
        if gone in vars(owner):
            delattr(owner, gone)
    before = dict(vars(module))
    _patch(module, Net())
    assert (vars(module) == before) is bool(gone)
