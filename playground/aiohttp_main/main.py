"""A program that calls web.run_app itself.

livecore run main:main --app-dir playground/aiohttp_main -- 8000
python playground/aiohttp_main/main.py 8000
"""

from __future__ import annotations

import os
import sys

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


def main() -> None:
    app = web.Application()
    app.router.add_get("/", show)
    app.router.add_get("/hit", hit)
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]) if len(sys.argv) > 1 else 8000, print=None)


if __name__ == "__main__":
    main()
