"""The clients of ``testing.links``: WebSocket, kept-alive HTTP/1.1, lines over TCP, server-sent events.

Each speaks as little of its protocol as it needs, and reads strictly: anything unexpected ends it. Importing
this module needs the ``websockets`` library.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from websockets.asyncio.client import ClientConnection, connect, unix_connect

from livereload_core.testing.links import Client, Said, read_answer

__all__ = ["EventsClient", "KeepAliveClient", "LineClient", "Place", "WebSocketClient", "dial", "read_head"]

Place = int | tuple[str, int] | Path
"""Where a server listens: a port of 127.0.0.1, an address, or the path of a Unix socket."""


async def dial(place: Place) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect."""
    if isinstance(place, Path):
        return await asyncio.open_unix_connection(place)
    host, port = ("127.0.0.1", place) if isinstance(place, int) else place
    return await asyncio.open_connection(host, port)


async def read_head(reader: asyncio.StreamReader) -> tuple[int, dict[str, str]]:
    """Read the head of an HTTP answer; return the status and the headers, names in lower case."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    status, *lines = head[:-4].split("\r\n")
    headers = {name.strip().lower(): value.strip() for name, _, value in (li.partition(":") for li in lines)}
    return int(status.split()[1]), headers


class _StreamClient(Client):
    """A client on asyncio's streams."""

    def __init__(self, place: Place, name: str) -> None:
        super().__init__(name)
        self._place = place
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter

    async def open(self) -> None:
        self._reader, self._writer = await dial(self._place)

    async def close(self) -> None:
        self._writer.close()
        await self._writer.wait_closed()


class WebSocketClient(Client):
    """Text messages over a WebSocket, several under way at once."""

    window = 3

    def __init__(self, place: Place, path: str = "/talk", name: str = "websocket") -> None:
        super().__init__(name)
        self._place = place
        self._path = path
        self._ws: ClientConnection

    async def open(self) -> None:
        """Connect and shake hands."""
        # no pings of its own: those would close the connection where only the machine is slow
        if isinstance(self._place, Path):
            self._ws = await unix_connect(
                str(self._place), f"ws://localhost{self._path}", ping_interval=None, open_timeout=60
            )
            return
        host, port = ("127.0.0.1", self._place) if isinstance(self._place, int) else self._place
        self._ws = await connect(
            f"ws://{f'[{host}]' if ':' in host else host}:{port}{self._path}",
            ping_interval=None,
            open_timeout=60,
            proxy=None,
        )

    async def say(self, number: int) -> None:
        """Send the number."""
        await self._ws.send(str(number))

    async def hear(self) -> Said:
        """Receive one message."""
        message = await self._ws.recv()
        return read_answer(message if isinstance(message, str) else message.decode())

    async def close(self) -> None:
        """Shake hands in parting."""
        await self._ws.close()


class LineClient(_StreamClient):
    """A line each way, several under way at once."""

    window = 3

    def __init__(self, place: Place, name: str = "line") -> None:
        super().__init__(place, name)

    async def say(self, number: int) -> None:
        """Send the number."""
        self._writer.write(b"%d\n" % number)

    async def hear(self) -> Said:
        """Read one line."""
        line = await self._reader.readline()
        if not line.endswith(b"\n"):
            raise ConnectionError(f"the server hung up behind {line!r}")
        return read_answer(line.decode())


class KeepAliveClient(_StreamClient):
    """One GET after the other on one HTTP/1.1 connection."""

    def __init__(self, place: Place, path: str = "/echo", name: str = "keep-alive") -> None:
        super().__init__(place, name)
        self._path = path

    async def say(self, number: int) -> None:
        """Send a request."""
        self._writer.write(b"GET %b?n=%d HTTP/1.1\r\nHost: x\r\n\r\n" % (self._path.encode(), number))

    async def hear(self) -> Said:
        """Read a whole answer."""
        status, headers = await read_head(self._reader)
        body = await self._reader.readexactly(int(headers["content-length"]))
        if status != 200:
            raise ConnectionError(f"status {status}: {body[:200]!r}")
        if "close" in headers.get("connection", "").lower():
            raise ConnectionError("the server announces that it will hang up")
        return read_answer(body.decode())


class EventsClient(_StreamClient):
    """Server-sent events over a chunked answer."""

    window = 0

    def __init__(self, place: Place, path: str = "/events", name: str = "events") -> None:
        super().__init__(place, name)
        self._path = path
        self._text = b""

    async def open(self) -> None:
        """Connect and ask for the stream."""
        await super().open()
        self._writer.write(
            b"GET %b HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n" % self._path.encode()
        )
        status, headers = await read_head(self._reader)
        if status != 200 or headers.get("transfer-encoding") != "chunked":
            raise ConnectionError(f"status {status}, {headers}")

    async def say(self, number: int) -> None:
        """Nothing: it only listens."""

    async def hear(self) -> Said:
        """Read chunks until an event is whole."""
        while b"\n\n" not in self._text:
            size = int((await self._reader.readuntil(b"\r\n")).strip(), 16)
            chunk = await self._reader.readexactly(size + 2)
            if not size:
                raise ConnectionError("the stream has ended")
            self._text += chunk[:-2]
        event, _, self._text = self._text.partition(b"\n\n")
        fields = dict(line.split(": ", 1) for line in event.decode().split("\n"))
        said = read_answer(fields["data"])
        if int(fields["id"]) != said.number:
            raise ConnectionError(f"event {fields['id']} says {fields['data']!r}")
        return said
