"""``websockets.serve``: a port, and "uvloop" or "asyncio"."""

from __future__ import annotations

import asyncio
import sys

import talk
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response

VERSION = "1"
FAULTY = False


async def converse(ws: ServerConnection) -> None:
    async for message in ws:
        await ws.send(talk.answer(str(message), VERSION))


def plain(ws: ServerConnection, request: Request) -> Response | None:
    return ws.respond(200, talk.hit(VERSION)) if request.path == "/hit" else None


async def main() -> None:
    if FAULTY:
        raise RuntimeError("a fault in the start-up")
    async with serve(converse, "127.0.0.1", int(sys.argv[1]), process_request=plain) as server:
        await server.serve_forever()


if __name__ == "__main__":
    if sys.argv[2] == "uvloop":
        import uvloop

        uvloop.run(main())
    else:
        asyncio.run(main())
