"""Every kind of conversation with aiohttp; as a script with the ports of HTTP and of lines."""

from __future__ import annotations

import asyncio
import hashlib
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import streams_talk
import talk
from aiohttp import WSMsgType, web

from livereload_core import connection, reload_policy

VERSION = "1"
FAULTY = False
EXTRA = True
DIALECTS = ("one", "two")
LET_GO = Path("let-go")


async def converse(request: web.Request) -> web.WebSocketResponse:
    ws = web.WebSocketResponse(protocols=DIALECTS, max_msg_size=0)
    await ws.prepare(request)
    async for message in ws:
        if message.type is WSMsgType.BINARY:
            await ws.send_bytes(message.data + VERSION.encode())
        elif message.data == "big":
            for number in range(80):
                await ws.send_bytes(bytes([number]) * 65536)
        else:
            await ws.send_str(talk.answer(message.data, VERSION))
    return ws


@reload_policy("drain")
async def drain(request: web.Request) -> web.WebSocketResponse:
    return await converse(request)


@reload_policy("close")
async def close(request: web.Request) -> web.WebSocketResponse:
    return await converse(request)


async def slow(request: web.Request) -> web.WebSocketResponse:
    ws = web.WebSocketResponse()
    await ws.prepare(request)
    async for message in ws:
        await asyncio.sleep(0.05)
        await ws.send_str(talk.answer(message.data, VERSION))
    return ws


async def push(request: web.Request) -> web.WebSocketResponse:
    ws = web.WebSocketResponse()
    await ws.prepare(request)
    while True:
        await ws.send_str(talk.answer(str(connection().state.get("served", 0) + 1), VERSION))
        await asyncio.sleep(0.02)


async def echo(request: web.Request) -> web.Response:
    return web.Response(text=talk.answer(request.query["n"], VERSION))


async def hit(request: web.Request) -> web.Response:
    return web.json_response(text=talk.hit(VERSION))


async def upload(request: web.Request) -> web.Response:
    digest = hashlib.sha256()
    async for chunk in request.content.iter_any():
        digest.update(chunk)
    return web.Response(text=f"{VERSION} {digest.hexdigest()}")


async def pieces() -> AsyncIterator[bytes]:
    """Half of it, and the rest once somebody lets it go."""
    for number in range(32):
        yield bytes([number]) * 16384
        while number == 15 and not LET_GO.exists():  # noqa: ASYNC110, ASYNC240 - another process makes it
            await asyncio.sleep(0.01)


async def download(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"X-Version": VERSION})
    if "sized" in request.query:
        response.content_length = 32 * 16384
    await response.prepare(request)
    async for piece in pieces():
        await response.write(piece)
    await response.write_eof()
    return response


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
    streams_talk.VERSION = VERSION
    app["lines"] = await asyncio.start_server(streams_talk.converse, "127.0.0.1", int(sys.argv[2]))


app = web.Application(client_max_size=1 << 30)
for handler in (converse, slow, push, drain, close, echo, hit, download, events):
    app.router.add_get("/talk" if handler is converse else f"/{handler.__name__}", handler)
app.router.add_post("/upload", upload)
if EXTRA:
    app.router.add_get("/extra", converse)
app.on_startup.append(start)

if __name__ == "__main__":
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), print=None)
