"""An application made by a function.

livecore run app:create_app --factory --app-dir playground/factory
"""

from __future__ import annotations

import os

from aiohttp import web

from livereload_core import preserve

VERSION = "1"  # <-- change it, save, and ask again


@preserve
def tally() -> dict[str, int]:
    """The factory form of preserve: call it, and it is always the one kept object."""
    return {"hits": 0}


def describe() -> dict[str, str | int]:
    return {"version": VERSION, "count": tally()["hits"], "pid": os.getpid()}


async def show(request: web.Request) -> web.Response:
    return web.json_response(describe())


async def hit(request: web.Request) -> web.Response:
    tally()["hits"] += 1
    return web.json_response(describe())


def create_app() -> web.Application:
    app = web.Application()
    app.router.add_get("/", show)
    app.router.add_get("/hit", hit)
    return app
