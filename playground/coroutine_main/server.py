"""A server of lines on asyncio streams: say "hit" or anything else, get one line of JSON.

livecore run server:main --app-dir playground/coroutine_main -- 8000
python playground/coroutine_main/server.py 8000
"""

from __future__ import annotations

import asyncio
import json
import os
import sys

from livereload_core import preserve

VERSION = "1"  # <-- change it, save, and ask again

tally = preserve("tally", dict[str, int])


async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer one line and hang up."""
    if (await reader.readline()).strip() == b"hit":
        tally["hits"] = tally.get("hits", 0) + 1
    answer = {"version": VERSION, "count": tally.get("hits", 0), "pid": os.getpid()}
    writer.write(json.dumps(answer).encode() + b"\n")
    await writer.drain()
    writer.close()
    await writer.wait_closed()


async def main() -> None:
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 8000
    server = await asyncio.start_server(converse, "127.0.0.1", port)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
