"""The demo: a page with a counter and a list that survive every edit of this file.

    livecore run app:app --app-dir playground/demo

Open the page, click, add a line or two. Then change GREETING or COLOUR below, or anything else, and save:
the page shows the new code at once, and the counter and the list are where they were. Break the file on
purpose: the page works on, and the terminal says what is wrong. Put it right: it goes live by itself.
"""

from __future__ import annotations

import html
import os
from pathlib import Path
from typing import TypedDict

from aiohttp import web

from livereload_core import generation, preserve

GREETING = "Hello. Edit me, save, and look here."  # <-- change this line
COLOUR = "#2563eb"  # <-- or this one

PAGE = Path(__file__).with_name("page.html")


class Board(TypedDict):
    """What the page shows; kept by `preserve`, so never by a global that a reload would reset."""

    clicks: int
    lines: list[str]


def empty_board() -> Board:
    """Make the board of a first start."""
    return Board(clicks=0, lines=["this list lives in memory only"])


# The one line that keeps the object over every edit. Without livecore it is simply `empty_board()`.
board = preserve("board", empty_board)

routes = web.RouteTableDef()


@routes.get("/")
async def page(request: web.Request) -> web.Response:
    # Read at each request: an edit of the page needs no new code, only a look in the browser.
    return web.Response(text=PAGE.read_text(), content_type="text/html")


def board_now() -> web.Response:
    """Everything that the page shows."""
    return web.json_response(
        {
            "greeting": GREETING,
            "colour": COLOUR,
            "clicks": board["clicks"],
            "lines": [html.escape(line) for line in board["lines"]],
            "generation": generation(),
            "pid": os.getpid(),
        }
    )


@routes.get("/state")
async def state(request: web.Request) -> web.Response:
    return board_now()  # the page asks for it twice a second


@routes.post("/click")
async def click(request: web.Request) -> web.Response:
    board["clicks"] += 1  # <-- or count in steps of 10
    return board_now()


@routes.post("/lines")
async def add_line(request: web.Request) -> web.Response:
    line = (await request.text()).strip()
    if line:
        board["lines"].append(line)
    return board_now()


app = web.Application()
app.add_routes(routes)
