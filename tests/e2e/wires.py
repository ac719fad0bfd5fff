"""One connection by hand: bytes go out exactly as a test cuts them, and come back exactly as they came."""

from __future__ import annotations

import base64
import os
import socket
from types import TracebackType
from typing import NamedTuple, Self

from livereload_core.testing.links import Said, read_answer

__all__ = [
    "BINARY",
    "CLOSE",
    "CONTINUATION",
    "PING",
    "PONG",
    "TEXT",
    "Frame",
    "Wire",
    "frame",
    "handshake",
    "request",
]

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA


class Frame(NamedTuple):
    """A frame from the server."""

    opcode: int
    final: bool
    payload: bytes


def frame(payload: bytes, opcode: int = TEXT, *, final: bool = True) -> bytes:
    """Return a client's frame, masked."""
    size = len(payload)
    if size < 126:
        length = bytes([0x80 | size])
    elif size < 1 << 16:
        length = bytes([0x80 | 126]) + size.to_bytes(2, "big")
    else:
        length = bytes([0x80 | 127]) + size.to_bytes(8, "big")
    mask = os.urandom(4)
    masked = bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))
    return bytes([opcode | (0x80 if final else 0)]) + length + mask + masked


def handshake(path: str, *headers: str) -> bytes:
    """Return the request that opens a WebSocket, with a browser's wish for compression."""
    key = base64.b64encode(os.urandom(16)).decode()
    lines = [
        f"GET {path} HTTP/1.1",
        "Host: localhost",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Key: {key}",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits",
        *headers,
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


class Wire:
    """A blocking connection to a port of 127.0.0.1; every wait has an end."""

    def __init__(self, port: int, *, receive_buffer: int = 0, timeout: float = 60.0) -> None:
        self.sock = socket.socket()
        if receive_buffer:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.sock.settimeout(timeout)
        self.sock.connect(("127.0.0.1", port))
        self._read = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.sock.close()

    def send(self, data: bytes) -> None:
        """Send these bytes."""
        self.sock.sendall(data)

    def exactly(self, size: int) -> bytes:
        """Read so many bytes."""
        while len(self._read) < size:
            self._more()
        found, self._read = self._read[:size], self._read[size:]
        return found

    def until(self, end: bytes) -> bytes:
        """Read up to ``end``, which belongs to it."""
        while end not in self._read:
            self._more()
        size = self._read.index(end) + len(end)
        return self.exactly(size)

    def ended(self) -> bool:
        """Wait for the end of the connection; whether it came before any further byte."""
        try:
            return not self._read and not self.sock.recv(1)
        except ConnectionError:
            return True

    def _more(self) -> None:
        data = self.sock.recv(1 << 16)
        if not data:
            raise ConnectionError(f"the server has hung up behind {self._read[-200:]!r}")
        self._read += data

    # -- HTTP ------------------------------------------------------------------------------------------------

    def head(self) -> tuple[int, dict[str, str]]:
        """Read the head of an answer: status, and headers in lower case."""
        status, *lines = self.until(b"\r\n\r\n").decode("latin-1")[:-4].split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        return int(status.split()[1]), headers

    def answer(self) -> bytes:
        """Read a whole answer of status 200, and return its body."""
        status, headers = self.head()
        assert status == 200, (status, headers)
        return self.exactly(int(headers["content-length"]))

    def chunk(self) -> bytes:
        """Read one chunk of a body; ``b""`` is the last."""
        size = int(self.until(b"\r\n"), 16)
        return self.exactly(size + 2)[:-2]

    def get(self, number: int, path: str = "/echo") -> Said:
        """Ask once more, on this connection."""
        self.send(request(number, path))
        return read_answer(self.answer().decode())

    # -- WebSocket -------------------------------------------------------------------------------------------

    def upgrade(self, path: str, *headers: str) -> dict[str, str]:
        """Open a WebSocket; return the headers of the answer."""
        self.send(handshake(path, *headers))
        status, answer = self.head()
        assert status == 101, (status, answer)
        return answer

    def frame(self) -> Frame:
        """Read one frame."""
        first, second = self.exactly(2)
        size = second & 0x7F
        if size > 125:
            size = int.from_bytes(self.exactly(2 if size == 126 else 8), "big")
        return Frame(first & 0x0F, bool(first & 0x80), self.exactly(size))

    def said(self) -> Said:
        """Read a text message."""
        found = self.frame()
        assert found.opcode == TEXT, found
        assert found.final, found
        return read_answer(found.payload.decode())

    def ask(self, number: int) -> Said:
        """Send a message and read its answer."""
        self.send(frame(str(number).encode()))
        return self.said()

    def closed_with(self) -> int:
        """Read a close frame; return its code."""
        found = self.frame()
        assert found.opcode == CLOSE, found
        return int.from_bytes(found.payload[:2], "big")


def request(number: int, path: str = "/echo") -> bytes:
    """Return a GET that leaves the connection open."""
    return f"GET {path}?n={number} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
