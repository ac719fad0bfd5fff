"""A chat whose members stay connected while you edit it.

    livecore run app:app --app-dir playground/chat

Open the page in two windows, give yourself names, talk. Then change TITLE or ``dress`` below and save: the
page shows the new code, "reconnects" stays 0 and nobody is greeted again. Kill the serving process with
``kill -9`` (``livecore status`` tells its pid): the page does not notice.

After an edit each open WebSocket enters ``chat`` again from the top, on the same request. What it is to know
from before stands in ``connection().state``; what the program is to know stands under ``preserve``.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
from pathlib import Path
from typing import Any

from aiohttp import WSMsgType, web

from livereload_core import connection, generation, preserve

TITLE = "A chat that survives its code"  # <-- change this line

PAGE = Path(__file__).with_name("page.html")


def dress(text: str) -> str:
    """Make of what somebody typed what all will read."""
    return text  # <-- or this one: text.upper()


@dataclasses.dataclass
class Message:
    """One line of the chat; its number is its place in the list, from 1."""

    name: str
    text: str


@dataclasses.dataclass
class Member:
    """Somebody who has been here."""

    said: int = 0


messages = preserve("messages", list[Message])
members = preserve("members", dict[str, Member])


@dataclasses.dataclass(eq=False)
class Guest:
    """One open page.

    Attributes:
        ws: to the page.
        state: kept with the connection: ``name``, and ``seen``, the number of the last message that was sent.
    """

    ws: web.WebSocketResponse
    state: dict[str, Any]

    async def catch_up(self) -> None:
        """Send every message that the page has not got: each once and in order, whoever else sends, too."""
        while self.state["seen"] < len(messages) and not self.ws.closed:
            # Counted in the same step in which it is written: an edit cannot come between the two.
            self.state["seen"] = number = self.state["seen"] + 1
            message = messages[number - 1]
            await self.send(kind="message", number=number, **dataclasses.asdict(message))

    async def send(self, **fields: Any) -> None:
        """Send something; a page that has gone is not missed here, its own handler ends by itself."""
        if not self.ws.closed:
            try:
                await self.ws.send_str(json.dumps(fields))
            except ConnectionError:
                pass


here: set[Guest] = set()
"""The open pages. A plain global, and so empty after an edit: each page enters itself again."""

routes = web.RouteTableDef()


@routes.get("/")
async def page(request: web.Request) -> web.Response:
    return web.Response(text=PAGE.read_text(), content_type="text/html")


@routes.get("/chat")
async def chat(request: web.Request) -> web.WebSocketResponse:
    link = connection()
    ws = web.WebSocketResponse(compress=False)
    await ws.prepare(request)
    guest = Guest(ws, link.state)
    if link.resumed and "name" in guest.state:
        await guest.send(kind="resumed", title=TITLE, generation=generation())
    else:
        # A connection that is younger than the newest state has none when the program is killed: a new guest.
        guest.state |= {"name": f"guest {len(members) + 1}", "seen": len(messages)}
        members[guest.state["name"]] = Member()
        await guest.send(kind="welcome", title=TITLE, generation=generation(), **guest.state)
    here.add(guest)
    try:
        await guest.catch_up()  # what was said while other pages were back already and this one was not
        async for frame in ws:
            if frame.type == WSMsgType.TEXT:
                await take(guest, frame.json())
    finally:
        here.discard(guest)
    return ws


async def take(guest: Guest, said: dict[str, str]) -> None:
    """Do what a page asks for: ``{"name": ...}`` or ``{"text": ...}``."""
    if name := said.get("name", "").strip():
        guest.state["name"] = name
        await guest.send(kind="named", name=name)
    if text := said.get("text", "").strip():
        name = guest.state["name"]
        members.setdefault(name, Member()).said += 1
        messages.append(Message(name, dress(text)))
        await asyncio.gather(*(other.catch_up() for other in tuple(here)))


app = web.Application()
app.add_routes(routes)
