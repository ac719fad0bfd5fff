"""The apps that are served, and how a save of them is made and timed.

Every app answers ``{"version": "v17"}`` on ``/`` and ``/hit``. The version stands inside the function that
answers, so that in-process patchers, which replace functions, can do the same work as those that start
afresh. Light and heavy differ only in what is imported at the top. Those with WebSockets echo on ``/ws``,
with the pid of the process that answers in front. Those with a page answer with a hundred rows beside the
version, made and written as JSON for each request: what a small page or a call of an API takes. Those that
keep much change all of it on ``/change``, and answer when that is done.

Invariants:
    * No two versions of a file have the same size: a peer that trusts a stale ``.pyc`` of the same second and
      size would be measured as blind, which is another matter than speed.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

__all__ = ["BROKEN", "MODULE", "Family", "SaveStyle", "Weight", "keeping", "save", "source"]

Family = Literal["asgi", "wsgi", "aiohttp"]
Weight = Literal["light", "heavy", "websockets", "page"]
SaveStyle = Literal["rename", "inplace"]

MODULE = "app"
"""The module that holds the app; its attribute is ``app``."""

BROKEN = "def app(:\n"
"""A syntax error."""

_HEAVY = """\
import numpy
import pandas
import pydantic
import sqlalchemy
import sqlalchemy.orm
"""

_ASGI = """\
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while (await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})
        return
    body = b'{"version": "@VERSION@"}'
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


if __name__ == "__main__":
    import sys

    import uvicorn

    uvicorn.run(
        app, host="127.0.0.1", port=int(sys.argv[1]), http="h11", loop="asyncio", log_level="warning"
    )
"""

_WSGI = """\
from flask import Flask

app = Flask(__name__)


@app.get("/")
@app.get("/hit")
def show():
    return {"version": "@VERSION@"}
"""

_AIOHTTP = """\
from aiohttp import web


async def show(request):
    return web.json_response({"version": "@VERSION@"})


app = web.Application()
app.router.add_get("/", show)
app.router.add_get("/hit", show)
"""

_ASGI_ECHO = """\
import os


async def echo(receive, send):
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": f"{os.getpid()} {message['text']}"})


"""

_AIOHTTP_ECHO = """\
import os


async def echo(request):
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    async for message in socket:
        await socket.send_str(f"{os.getpid()} {message.data}")
    return socket


app.router.add_get("/ws", echo)
"""

_BODIES: dict[Family, str] = {"asgi": _ASGI, "wsgi": _WSGI, "aiohttp": _AIOHTTP}
_BODIES_WITH_ECHO: dict[Family, str] = {
    "asgi": _ASGI_ECHO
    + _ASGI.replace(
        '    if scope["type"] == "lifespan":\n',
        '    if scope["type"] == "websocket":\n        return await echo(receive, send)\n'
        '    if scope["type"] == "lifespan":\n',
        1,
    ),
    "aiohttp": _AIOHTTP + _AIOHTTP_ECHO,
}


_ROWS = '[{"id": n, "name": f"name {n}", "price": n * 1.25, "tags": ["a", str(n)]} for n in range(100)]'
_ASGI_PAGE = "import json\n\n\n" + _ASGI.replace(
    """body = b'{"version": "@VERSION@"}'""",
    'body = json.dumps({"version": "@VERSION@", "rows": ' + _ROWS + "}).encode()",
    1,
)
_AIOHTTP_PAGE = _AIOHTTP.replace('"@VERSION@"}', '"@VERSION@", "rows": ' + _ROWS + "}", 1)
_BODIES_WITH_PAGE: dict[Family, str] = {"asgi": _ASGI_PAGE, "aiohttp": _AIOHTTP_PAGE}

_ASGI_KEEPS = """\
import asyncio

from livereload_core import preserve

@KEPT@
changes = 0


async def change():
    global changes
    changes += 1
    for start in range(0, @SIZE@, @STEP@):
        make(start, min(start + @STEP@, @SIZE@))
        await asyncio.sleep(0)
    put()
    await asyncio.sleep(0.1)  # who has waited for it is answered first


""" + _ASGI.replace(
    "    body = b", '    if scope["path"] == "/change":\n        await change()\n    body = b', 1
)


def keeping(kept: str, size: int, step: int) -> Callable[[int], str]:
    """Return what makes the source of an app that keeps much.

    Args:
        kept: code that declares it, with two functions: ``make(start, end)`` makes other values for this
            part, by ``changes``, and ``put()`` puts all of them into their place.
        size: of all of it, in what ``make`` counts.
        step: how much is made at a time.
    """
    text = _ASGI_KEEPS.replace("@KEPT@", kept).replace("@SIZE@", str(size)).replace("@STEP@", str(step))
    return lambda number: _marked(text, number)


def source(family: Family, weight: Weight, number: int) -> str:
    """Return the app that answers with version ``v<number>``."""
    top = _HEAVY if weight == "heavy" else ""
    bodies = {"websockets": _BODIES_WITH_ECHO, "page": _BODIES_WITH_PAGE}.get(weight, _BODIES)
    return _marked(top + bodies[family], number)


def _marked(text: str, number: int) -> str:
    return f"{text.replace('@VERSION@', f'v{number}')}# {'.' * number}\n"


def save(path: Path, text: str, style: SaveStyle) -> float:
    """Save a file and return the clock (``perf_counter``) right before the save could be seen whole.

    That is before the rename, or before the close that writes the text out.
    """
    if style == "rename":
        # Named as editors name them: hidden, and without the suffix that reloaders look for.
        beside = path.with_name(f".{path.name}.tmp")
        beside.write_text(text)
        began = time.perf_counter()
        os.replace(beside, path)
        return began
    file = path.open("w")
    try:
        file.write(text)
        began = time.perf_counter()
    finally:
        file.close()
    return began
