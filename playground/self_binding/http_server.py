"""The standard library's http.server, which binds by itself.

livecore run playground/self_binding/http_server.py -- 8000
python playground/self_binding/http_server.py 8000
"""

from __future__ import annotations

import json
import os
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

from livereload_core import preserve

VERSION = "1"  # <-- change it, save, and ask again

tally = preserve("tally", dict[str, int])
one_at_a_time = threading.Lock()


class Handler(BaseHTTPRequestHandler):
    """Answers every GET; /hit counts."""

    def do_GET(self) -> None:
        with one_at_a_time:
            if self.path == "/hit":
                tally["hits"] = tally.get("hits", 0) + 1
            body = json.dumps(
                {"version": VERSION, "count": tally.get("hits", 0), "pid": os.getpid()}
            ).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Say nothing."""


class Server(HTTPServer):
    """Room for a burst of connections; the standard library's queue of 5 refuses some on its own."""

    request_queue_size = 256


def main() -> None:
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 8000
    Server(("127.0.0.1", port), Handler).serve_forever()


if __name__ == "__main__":
    main()
