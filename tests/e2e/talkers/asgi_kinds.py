"""Every kind of conversation with FastAPI under uvicorn: two ports, then ``ws``, ``http`` and ``loop``."""

from __future__ import annotations

import asyncio
import hashlib
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import streams_talk
import talk
from fastapi import FastAPI, Request, Response, WebSocket, WebSocketDisconnect
from fastapi.responses import StreamingResponse

from livereload_core import connection, reload_policy

VERSION = "1"
FAULTY = False
EXTRA = True
DIALECTS = ("one", "two")
LET_GO = Path("let-go")


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    if FAULTY:
        raise RuntimeError("a fault in the start-up")
    streams_talk.VERSION = VERSION
    async with await asyncio.start_server(streams_talk.converse, "127.0.0.1", int(sys.argv[2])):
        yield


app = FastAPI(lifespan=lifespan)


@app.websocket("/talk")
async def converse(ws: WebSocket) -> None:
    wanted = ws.scope.get("subprotocols") or []
    await ws.accept(subprotocol=next((name for name in DIALECTS if name in wanted), None))
    try:
        while True:
            message = await ws.receive()
            if message["type"] == "websocket.disconnect":
                break
            if message.get("bytes") is not None:
                await ws.send_bytes(message["bytes"] + VERSION.encode())
            elif message["text"] == "big":
                for number in range(80):
                    await ws.send_bytes(bytes([number]) * 65536)
            else:
                await ws.send_text(talk.answer(message["text"], VERSION))
    except WebSocketDisconnect:
        pass


@app.websocket("/drain")
@reload_policy("drain")
async def drain(ws: WebSocket) -> None:
    await converse(ws)


@app.websocket("/close")
@reload_policy("close")
async def close(ws: WebSocket) -> None:
    await converse(ws)


if EXTRA:
    app.websocket("/extra")(converse)


@app.websocket("/slow")
async def slow(ws: WebSocket) -> None:
    await ws.accept()
    try:
        while True:
            text = await ws.receive_text()
            await asyncio.sleep(0.05)
            await ws.send_text(talk.answer(text, VERSION))
    except WebSocketDisconnect:
        pass


@app.websocket("/push")
async def push(ws: WebSocket) -> None:
    await ws.accept()
    while True:
        await ws.send_text(talk.answer(str(connection().state.get("served", 0) + 1), VERSION))
        await asyncio.sleep(0.02)


@app.get("/echo")
async def echo(n: str) -> Response:
    return Response(talk.answer(n, VERSION))


@app.get("/hit")
async def hit() -> Response:
    return Response(talk.hit(VERSION))


@app.post("/upload")
async def upload(request: Request) -> Response:
    digest = hashlib.sha256()
    async for chunk in request.stream():
        digest.update(chunk)
    return Response(f"{VERSION} {digest.hexdigest()}")


async def pieces() -> AsyncIterator[bytes]:
    """Half of it, and the rest once somebody lets it go."""
    for number in range(32):
        yield bytes([number]) * 16384
        while number == 15 and not LET_GO.exists():  # noqa: ASYNC110, ASYNC240 - another process makes it
            await asyncio.sleep(0.01)


@app.get("/download")
async def download(sized: bool = False) -> StreamingResponse:
    headers = {"X-Version": VERSION} | ({"Content-Length": str(32 * 16384)} if sized else {})
    return StreamingResponse(pieces(), headers=headers)


@app.get("/events")
async def events(request: Request) -> StreamingResponse:
    async def stream(number: int) -> AsyncIterator[bytes]:
        while True:
            number += 1
            yield talk.event(number, VERSION)
            await asyncio.sleep(0.02)

    last = int(request.headers.get("Last-Event-ID", "0"))
    return StreamingResponse(stream(last), media_type="text/event-stream")


if __name__ == "__main__":
    import uvicorn

    port, _, ws, http, loop = sys.argv[1:]
    options: dict[str, str] = {"ws": ws, "http": http, "loop": loop}
    uvicorn.run(app, host="127.0.0.1", port=int(port), log_level="warning", **options)  # type: ignore[arg-type]
