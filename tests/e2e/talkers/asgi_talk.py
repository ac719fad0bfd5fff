"""FastAPI; as a script: the port, then uvicorn's ``ws``, ``http`` and ``loop``, or "hypercorn"."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import talk
from fastapi import FastAPI, Request, Response, WebSocket, WebSocketDisconnect
from fastapi.responses import StreamingResponse

VERSION = "1"
FAULTY = False


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    if FAULTY:
        raise RuntimeError("a fault in the start-up")
    yield


app = FastAPI(lifespan=lifespan)


@app.websocket("/talk")
async def converse(ws: WebSocket) -> None:
    await ws.accept()
    try:
        while True:
            await ws.send_text(talk.answer(await ws.receive_text(), VERSION))
    except WebSocketDisconnect:
        pass


@app.get("/echo")
async def echo(n: str) -> Response:
    return Response(talk.answer(n, VERSION))


@app.get("/hit")
async def hit() -> Response:
    return Response(talk.hit(VERSION))


@app.get("/events")
async def events(request: Request) -> StreamingResponse:
    async def stream(number: int) -> AsyncIterator[bytes]:
        while True:
            number += 1
            yield talk.event(number, VERSION)
            await asyncio.sleep(0.02)

    last = int(request.headers.get("Last-Event-ID", "0"))
    return StreamingResponse(stream(last), media_type="text/event-stream")


def run_hypercorn(port: int) -> None:
    from hypercorn.asyncio import serve
    from hypercorn.config import Config

    config = Config()
    config.bind = [f"127.0.0.1:{port}"]
    config.loglevel = "WARNING"
    served: Any = app
    asyncio.run(serve(served, config))


def run_uvicorn(port: int, ws: Any, http: Any, loop: Any) -> None:
    import uvicorn

    uvicorn.run(app, host="127.0.0.1", port=port, ws=ws, http=http, loop=loop, log_level="warning")


if __name__ == "__main__":
    number, kind, *more = sys.argv[1:]
    if kind == "hypercorn":
        run_hypercorn(int(number))
    else:
        run_uvicorn(int(number), kind, *more)
