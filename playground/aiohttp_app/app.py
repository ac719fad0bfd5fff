"""An aiohttp application, served by livecore.

livecore run app:app --app-dir playground/aiohttp_app
"""

from __future__ import annotations

import os

from aiohttp import web

from livereload_core import preserve

VERSION = "1"  # <-- change it, save, and ask again

tally = preserve("tally", dict[str, int])


def describe() -> dict[str, str | int]:
    return {"version": VERSION, "count": tally.get("hits", 0), "pid": os.getpid()}


async def show(request: web.Request) -> web.Response:
    return web.json_response(describe())


async def hit(request: web.Request) -> web.Response:
    tally["hits"] = tally.get("hits", 0) + 1
    return web.json_response(describe())


app = web.Application()
app.router.add_get("/", show)
app.router.add_get("/hit", hit)
