"""The apps that are served, and how a save of them is made and timed.

Every app answers ``{"version": "v17"}`` on ``/`` and ``/hit``. The version stands inside the function that
answers, so that in-process patchers, which replace functions, can do the same work as those that start
afresh. Light and heavy differ only in what is imported at the top.

Invariants:
    * No two versions of a file have the same size: a peer that trusts a stale ``.pyc`` of the same second and
      size would be measured as blind, which is another matter than speed.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Literal

__all__ = ["BROKEN", "MODULE", "Family", "SaveStyle", "Weight", "save", "source"]

Family = Literal["asgi", "wsgi", "aiohttp"]
Weight = Literal["light", "heavy"]
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

_BODIES: dict[Family, str] = {"asgi": _ASGI, "wsgi": _WSGI, "aiohttp": _AIOHTTP}


def source(family: Family, weight: Weight, number: int) -> str:
    """Return the app that answers with version ``v<number>``."""
    top = _HEAVY if weight == "heavy" else ""
    return f"{top}{_BODIES[family].replace('@VERSION@', f'v{number}')}# {'.' * number}\n"


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
