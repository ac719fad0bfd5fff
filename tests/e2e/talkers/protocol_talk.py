"""``loop.create_server`` with a protocol of the program's own, which keeps its half line in ``state``."""

from __future__ import annotations

import asyncio
import sys

import talk

from livereload_core import connection

VERSION = "1"
FAULTY = False


class Lines(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.kept = connection().state

    def data_received(self, data: bytes) -> None:
        *lines, half = (self.kept.get("half", b"") + data).split(b"\n")
        self.kept["half"] = half
        for line in lines:
            said = talk.hit(VERSION) if line == b"hit" else talk.answer(line.decode(), VERSION)
            self.transport.write(said.encode() + b"\n")
            if line == b"hit":
                self.transport.close()


async def main() -> None:
    if FAULTY:
        raise RuntimeError("a fault in the start-up")
    server = await asyncio.get_running_loop().create_server(Lines, "127.0.0.1", int(sys.argv[1]))
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    if sys.argv[2] == "uvloop":
        import uvloop

        uvloop.run(main())
    else:
        asyncio.run(main())
