"""The hold page: while no code serves, the parent answers 503 and says why.

A listener that is held with nobody behind it would let clients hang until their own time-out; an answer
that names the error is what a person at the browser and a health check both can use. The page asks the
browser to come back, so the fix shows by itself.
"""

from __future__ import annotations

import asyncio
import html
import socket
from collections.abc import Iterable

from livereload_core.facts import Failure

__all__ = ["HoldPage", "render"]

_HEAD_LIMIT = 64 * 1024
_HEAD_TIMEOUT = 5.0
_RETRY_AFTER = 1

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>waiting for a fix</title>
<meta http-equiv="refresh" content="{retry}">
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 3rem auto; padding: 0 1rem; }}
h1 {{ font-size: 1.25rem; color: #c0392b; }}
pre {{ overflow-x: auto; padding: 1rem; border-radius: 6px; background: rgba(127, 127, 127, .12); }}
</style></head>
<body><h1>{reason}</h1><pre>{traceback}</pre>
<p>Fix it and save: the program starts by itself, and this page reloads.</p></body></html>
"""


def render(failure: Failure, accept: str) -> tuple[str, bytes]:
    """Return content type and body of the page for a client that accepts ``accept``."""
    if "text/html" in accept.lower():
        page = _PAGE.format(
            retry=_RETRY_AFTER,
            reason=html.escape(failure.reason),
            traceback=html.escape(failure.traceback or failure.reason),
        )
        return "text/html; charset=utf-8", page.encode(errors="replace")
    text = f"{failure.reason}\n\n{failure.traceback}".strip()
    return "text/plain; charset=utf-8", f"{text}\n\nwaiting for a fix\n".encode(errors="replace")


class HoldPage:
    """Answers on dups of the listeners, from ``show`` to ``hide``."""

    def __init__(self) -> None:
        self._failure: Failure | None = None
        self._servers: list[asyncio.Server] = []
        self._lock = asyncio.Lock()

    async def show(self, failure: Failure, listeners: Iterable[socket.socket]) -> None:
        """Answer with this failure from now on."""
        async with self._lock:
            self._failure = failure
            if self._servers:
                return
            for listener in listeners:
                server = await asyncio.start_server(self._serve, sock=listener.dup(), limit=_HEAD_LIMIT)
                if self._hidden():  # while we awaited: code serves again
                    server.close()
                else:
                    self._servers.append(server)

    def _hidden(self) -> bool:
        return self._failure is None

    def hide(self) -> None:
        """Accept no more; answers that have begun are finished. Takes effect before it returns."""
        self._failure = None
        servers, self._servers = self._servers, []
        for server in servers:
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        failure = self._failure or Failure("hold", "the program is starting")
        try:
            async with asyncio.timeout(_HEAD_TIMEOUT):
                head = await reader.readuntil(b"\r\n\r\n")
                writer.write(_answer(head, failure))
                await writer.drain()
                writer.write_eof()
                # Read what the client still sends, so that closing does not reset what it has not read.
                while await reader.read(_HEAD_LIMIT):
                    pass
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # the client is gone or is no HTTP client; nobody waits for an answer
        finally:
            writer.close()


def _answer(head: bytes, failure: Failure) -> bytes:
    accept = ""
    for line in head.decode("latin-1").split("\r\n")[1:]:
        name, _, value = line.partition(":")
        if name.strip().lower() == "accept":
            accept = value
    content_type, body = render(failure, accept)
    status = (
        "HTTP/1.1 503 Service Unavailable\r\n"
        f"Content-Type: {content_type}\r\n"
        f"Content-Length: {len(body)}\r\n"
        f"Retry-After: {_RETRY_AFTER}\r\n"
        "Cache-Control: no-store\r\n"
        "Connection: close\r\n\r\n"
    )
    return status.encode() + (b"" if head.startswith(b"HEAD ") else body)
