"""``asyncio.start_server``: lines over TCP, over IPv6, or over a Unix socket (when the place has a slash)."""

from __future__ import annotations

import asyncio
import sys

import talk

VERSION = "1"
FAULTY = False


async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while line := (await reader.readline()).strip().decode():
        said = talk.hit(VERSION) if line == "hit" else talk.answer(line, VERSION)
        writer.write(said.encode() + b"\n")
        await writer.drain()
        if line == "hit":
            break
    writer.close()


async def main() -> None:
    if FAULTY:
        raise RuntimeError("a fault in the start-up")
    place = sys.argv[1]
    if "/" in place:
        server = await asyncio.start_unix_server(converse, place)
    else:
        server = await asyncio.start_server(converse, sys.argv[2], int(place))
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
