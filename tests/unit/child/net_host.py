"""A child process of the tests: a real, unmodified server under a :class:`Net`.

``python net_host.py SERVER LISTENER_FD`` runs the server in the main thread. A control thread reads one
command per line from stdin and prints one JSON answer per line; ``{"event": "listening"}`` comes by itself.
Every server answers ``ok``, on ``/slow`` only after the command ``go``.
"""

from __future__ import annotations

import _socket
import array
import json
import os
import resource
import socket
import sys
import threading
from collections.abc import Callable, Iterable
from typing import Any

from livereload_core.child.loops import current_loop
from livereload_core.child.net import Net
from livereload_core.posix.addresses import Address

GO = threading.Event()
_output = threading.Lock()


def say(**facts: Any) -> None:
    with _output:
        print(json.dumps(facts), flush=True)


def wait_for_go() -> None:
    say(event="slow")
    GO.wait(20)


class Held:
    """A listener that nobody in this process has open: its fd waits inside a socket pair.

    The layer looks for listeners among the open fds of the process, so a test cannot simply hold one.
    """

    def __init__(self, fd: int) -> None:
        self.inode = os.fstat(fd).st_ino
        self._near, self._far = _socket.socketpair()
        self._put(fd)

    def _put(self, fd: int) -> None:
        self._near.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))])
        os.close(fd)

    def take(self) -> int:
        fds = array.array("i")
        fds.frombytes(self._far.recvmsg(1, socket.CMSG_SPACE(4))[1][0][2])
        return fds[0]

    def dup(self) -> int:
        fd = self.take()
        duplicate = os.dup(fd)
        self._put(fd)
        return duplicate

    def close(self) -> None:
        self._near.close()
        self._far.close()


class Broker:
    """Lends the one listener that the test made."""

    def __init__(self, address: Address, fd: int) -> None:
        self.address = address
        self.held = Held(fd)
        self.registered: list[tuple[str, int]] = []

    def find(self, address: Address) -> int | None:
        return self.held.dup() if address == self.address else None

    def register(self, address: Address, fd: int, *, requested_port: int) -> None:
        self.registered.append((str(address), requested_port))


def control(net: Net, broker: Broker) -> None:
    for line in sys.stdin:
        word, _, argument = line.strip().partition(" ")
        answer: Any = None
        if word == "go":
            GO.set()
        elif word == "cpu":
            used = resource.getrusage(resource.RUSAGE_SELF)
            answer = used.ru_utime + used.ru_stime
        elif word == "wait_quiet":
            answer = net.wait_quiet(float(argument))
        elif word == "watch_answer":
            net.on_answer = lambda: say(event="answer")
        elif word == "registered":
            answer = broker.registered
        elif word == "listening":
            answer = [str(address) for address in net.listening()]
        elif word == "loop":
            loop = current_loop()
            answer = f"{type(loop).__module__}.{type(loop).__name__}" if loop else ""
        elif word == "let_go":
            net.let_go()
            threading.Thread(target=lambda: net.leave_connections(20, final=False), daemon=True).start()
        elif word == "quit":
            os._exit(0)
        else:
            answer = getattr(net, word)()
        say(answer=answer)
    os._exit(0)


def wsgi(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    if environ["PATH_INFO"] == "/slow":
        wait_for_go()
    start_response("200 OK", [("Content-Length", "2"), ("Content-Type", "text/plain")])
    return [b"ok"]


async def asgi(scope: Any, receive: Any, send: Any) -> None:
    import asyncio

    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    if scope["path"] == "/slow":
        await asyncio.to_thread(wait_for_go)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


def run_http_server(address: Address) -> None:
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            if self.path == "/slow":
                wait_for_go()
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, *_: Any) -> None:
            pass

    ThreadingHTTPServer((address.host, address.port), Handler).serve_forever()


def run_wsgiref(address: Address) -> None:
    from wsgiref.simple_server import WSGIRequestHandler, make_server

    class Quiet(WSGIRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

    make_server(address.host, address.port, wsgi, handler_class=Quiet).serve_forever()


def run_waitress(address: Address) -> None:
    import waitress

    waitress.serve(wsgi, host=address.host, port=address.port, threads=4)


def run_werkzeug(address: Address) -> None:
    import logging

    from werkzeug.serving import run_simple

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    run_simple(address.host, address.port, wsgi, threaded=True)


def run_aiohttp(address: Address) -> None:
    import asyncio

    from aiohttp import web

    async def handle(request: web.Request) -> web.Response:
        if request.path == "/slow":
            await asyncio.to_thread(wait_for_go)
        return web.Response(text="ok")

    app = web.Application()
    app.router.add_get("/{tail:.*}", handle)
    web.run_app(app, host=address.host, port=address.port, print=lambda *_: None)


async def _stream(reader: Any, writer: Any) -> None:
    import asyncio

    while line := await reader.readline():
        while (await reader.readline()).strip():
            pass
        if b"/slow" in line:
            await asyncio.to_thread(wait_for_go)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        await writer.drain()
    writer.close()


async def _streams(address: Address, *, late: bool) -> None:
    import asyncio

    server = await asyncio.start_server(_stream, address.host, address.port, start_serving=not late)
    assert server.sockets[0].getsockname()[1] == address.port
    await server.serve_forever()


async def _unix(address: Address) -> None:
    """Serves, closes on ``go`` (which cleans up), and serves again."""
    import asyncio

    while True:
        server = await asyncio.start_unix_server(_stream, address.path)
        await asyncio.to_thread(GO.wait)
        GO.clear()
        server.close()
        say(event="closed")


def run_asyncio_unix(address: Address) -> None:
    import asyncio

    asyncio.run(_unix(address))


def run_uvloop_unix(address: Address) -> None:
    import uvloop

    uvloop.run(_unix(address))


def run_asyncio(address: Address) -> None:
    import asyncio

    asyncio.run(_streams(address, late=False))


def run_asyncio_serve_forever(address: Address) -> None:
    import asyncio

    asyncio.run(_streams(address, late=True))


def run_asyncio_sock_accept(address: Address) -> None:
    """A loop of the program's own around ``loop.sock_accept()``."""
    import asyncio

    async def main() -> None:
        sock = socket.socket()
        sock.setblocking(False)
        sock.bind((address.host, address.port))
        sock.listen()
        tasks = set()
        while True:
            connection, _ = await asyncio.get_running_loop().sock_accept(sock)
            reader, writer = await asyncio.open_connection(sock=connection)
            tasks.add(asyncio.create_task(_stream(reader, writer)))

    asyncio.run(main())


def run_uvloop_streams(address: Address) -> None:
    import uvloop

    uvloop.run(_streams(address, late=False))


def run_uvicorn(address: Address, loop: str = "asyncio") -> None:
    import uvicorn

    uvicorn.run(asgi, host=address.host, port=address.port, loop=loop, log_level="error")


def run_uvicorn_uvloop(address: Address) -> None:
    run_uvicorn(address, "uvloop")


def run_gunicorn(address: Address) -> None:
    from gunicorn.app.base import BaseApplication

    class App(BaseApplication):  # type: ignore[misc, unused-ignore]
        def load_config(self) -> None:
            self.cfg.set("bind", str(address))
            self.cfg.set("workers", 1)
            self.cfg.set("loglevel", "critical")

        def load(self) -> Any:
            return wsgi

    App().run()


def run_blocking(address: Address) -> None:
    """The plainest server: one thread, ``accept()`` that blocks."""
    listener = socket.create_server((address.host, address.port))
    while True:
        connection, _ = listener.accept()
        with connection:
            if b"/slow" in connection.recv(65536):
                wait_for_go()
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")


def main() -> None:
    server, fd = sys.argv[1], int(sys.argv[2])
    view = socket.socket(fileno=fd)
    address = Address.of(view)
    view.detach()
    broker = Broker(address, fd)
    net = Net(broker)
    net.on_listening = lambda address: say(event="listening", address=str(address))
    net.install()
    threading.Thread(target=control, args=(net, broker), daemon=True).start()
    globals()[f"run_{server}"](address)


if __name__ == "__main__":
    main()
