"""A cache of a million rows, of which an edit carries what was touched.

    livecore run app:app --app-dir playground/rows

``GET /fill`` makes the rows; ``ROWS`` says how many, a million without it. ``GET /touch?n=1000`` changes
some. Change VERSION and save: the next answer comes from the new code, with every row as it was.
"""

from __future__ import annotations

import os
import zlib

from aiohttp import web

from livereload_core import preserve

VERSION = "1"
ROWS = int(os.environ.get("ROWS", "1000000"))

rows: dict[str, int] = preserve.dict()
recent = preserve.lru[str, int](maxsize=100)


async def show(request: web.Request) -> web.Response:
    last = next(reversed(rows), None)
    told = {"version": VERSION, "pid": os.getpid(), "rows": len(rows), "last": last}
    return web.json_response({**told, "touched": list(recent), "sum": checksum()})


async def fill(request: web.Request) -> web.Response:
    rows.update({f"row {number}": number for number in range(ROWS)})
    return await show(request)


async def touch(request: web.Request) -> web.Response:
    """Change some rows, and move one to the end."""
    for number in range(int(request.query.get("n", "1000"))):
        key = f"row {number * 37 % ROWS}"
        rows[key] = rows.get(key, 0) + 1
        recent[key] = rows[key]
    key = next(iter(rows))
    rows[key] = rows.pop(key)
    return await show(request)


def checksum() -> int:
    """Tell two states apart, the order of the rows included."""
    return zlib.crc32(repr(list(rows.items())).encode())


app = web.Application()
app.router.add_get("/", show)
app.router.add_get("/fill", fill)
app.router.add_get("/touch", touch)
