"""WSGI: Flask, Django, Bottle and any other callable of ``(environ, start_response)``.

Served by the standard library's wsgiref with a thread per request, so that nothing has to be installed. A
program that wants another server starts it itself (``waitress.serve``, werkzeug's ``run_simple``).
"""

from __future__ import annotations

import inspect
import socket
import socketserver
import threading
from typing import TYPE_CHECKING, Any
from wsgiref import simple_server

from livereload_core.adapters.signatures import required_positionals

if TYPE_CHECKING:
    from livereload_core.child.adapter import RunContext

__all__ = ["WsgiAdapter"]


class _Handler(simple_server.WSGIRequestHandler):
    timeout = 10.0  # seconds that a client may take for its request before its thread is given up

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - named by http.server
        """Be quiet: the terminal belongs to the program."""

    def address_string(self) -> str:
        """No reverse look-up, and a name for clients of Unix sockets, which have no address."""
        return str(self.client_address[0]) if len(self.client_address) else ""


class _Server(socketserver.ThreadingMixIn, simple_server.WSGIServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, listener: socket.socket, app: Any) -> None:
        super().__init__(("", 0), _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listener
        self.address_family = listener.family
        address = listener.getsockname()
        self.server_address = address
        host, port = address[:2] if isinstance(address, tuple) else ("localhost", 0)
        # no getfqdn() as wsgiref would: it can hang for seconds in name resolution
        self.server_name, self.server_port = host, port
        self.server_activate()
        self.setup_environ()
        self.set_app(app)

    def get_request(self) -> tuple[socket.socket, Any]:
        request, address = super().get_request()
        return request, address or ("", 0)


class WsgiAdapter:
    """Serves an app with one thread per request."""

    name = "wsgi"
    priority = 20

    def matches(self, target: object) -> bool:
        """A plain callable of two arguments, or an object whose ``__call__`` is one."""
        if inspect.isclass(target) or inspect.iscoroutinefunction(target):
            return False
        return required_positionals(target) == 2

    def run(self, target: Any, context: RunContext) -> None:
        """Serve until retired."""
        servers = [_Server(listener, target) for listener in context.listeners()]
        for server in servers:
            context.on_retired(server.shutdown)
        context.ready()
        for server in servers[1:]:
            threading.Thread(target=server.serve_forever, daemon=True).start()
        servers[0].serve_forever(poll_interval=0.1)
        for server in servers:
            server.server_close()
