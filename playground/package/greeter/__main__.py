"""A package, run by its name.

cd playground/package && livecore run -m greeter -- 8000
cd playground/package && python -m greeter 8000
"""

from __future__ import annotations

import sys

from aiohttp import web

from greeter import answers


async def show(request: web.Request) -> web.Response:
    return web.json_response(answers.describe())


async def hit(request: web.Request) -> web.Response:
    return web.json_response(answers.hit())


def main() -> None:
    app = web.Application()
    app.router.add_get("/", show)
    app.router.add_get("/hit", hit)
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]) if len(sys.argv) > 1 else 8000, print=None)


if __name__ == "__main__":
    main()
