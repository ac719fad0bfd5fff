"""aiohttp: ``app:app`` style, and as a script with ``web.run_app``."""

from __future__ import annotations

import asyncio
import sys

import talk
from aiohttp import web

VERSION = "1"
FAULTY = False


async def converse(request: web.Request) -> web.WebSocketResponse:
    ws = web.WebSocketResponse()
    await ws.prepare(request)
    async for message in ws:
        await ws.send_str(talk.answer(message.data, VERSION))
    return ws


async def echo(request: web.Request) -> web.Response:
    return web.Response(text=talk.answer(request.query["n"], VERSION))


async def hit(request: web.Request) -> web.Response:
    return web.json_response(text=talk.hit(VERSION))


async def events(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    number = int(request.headers.get("Last-Event-ID", "0"))
    while True:
        number += 1
        await response.write(talk.event(number, VERSION))
        await asyncio.sleep(0.02)


async def start(app: web.Application) -> None:
    if FAULTY:
        raise RuntimeError("a fault in the start-up")


app = web.Application()
app.router.add_get("/talk", converse)
app.router.add_get("/echo", echo)
app.router.add_get("/hit", hit)
app.router.add_get("/events", events)
app.on_startup.append(start)

if __name__ == "__main__":
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), print=None)
