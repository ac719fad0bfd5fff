"""A program: many WebSockets to one server, of which a few are talked on, told by lines on stdin.

``python -m bench.webclients PORT COUNT`` prints ``open`` once all are open. Then it does what it is told, and
prints one line of JSON for each::

    talk        a few of them send, wait for the echo, rest a little, and send again
    count       they stop; each that is open is asked once more: {"open", "kept", "asked", "p50", "longest"}
    kill PID    kill -9, and ask one of them until another process answers: {"took"}

Times are in milliseconds. In a process of its own, so that what else is measured does not hold it up.

Invariants:
    * A connection counts as kept only when it is answered on: one that is merely open may have no server.
    * Nothing connects anew.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import sys
import time

from bench.model import quantile

__all__ = ["TALKERS", "main"]

TALKERS = 4
_REST = 0.002
"""Seconds between an echo and the next message of a talker."""
_PATIENCE = 20.0
"""Seconds in which each connection must answer to be kept, and in which a killed server must be back."""
_HANDSHAKE = (
    b"GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
_clock = time.perf_counter


class Client:
    """One WebSocket; messages are short texts, answered by ``"<pid of the server> <text>"``."""

    def __init__(self, port: int) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), 30)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.sendall(_HANDSHAKE)
        self._buffer = b""
        while b"\r\n\r\n" not in self._buffer:
            data = self.sock.recv(4096)
            if not data:
                raise ConnectionError("closed in the handshake")
            self._buffer += data
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 101"):
            raise ConnectionError(f"no WebSocket: {head[:60]!r}")
        self.sock.setblocking(False)
        self.lost = False
        self.asked_at = 0.0

    def send(self, text: bytes, opcode: int = 1) -> None:
        """Send a frame; its mask is zero, which every server takes."""
        try:
            self.sock.send(bytes([0x80 | opcode, 0x80 | len(text)]) + bytes(4) + text)
        except OSError:
            self.lost = True

    def answers(self) -> list[bytes]:
        """Return the messages that have come; none and ``lost`` at the end."""
        try:
            data = self.sock.recv(65536)
        except BlockingIOError:
            return []
        except OSError:
            data = b""
        if not data:
            self.lost = True
            return []
        self._buffer += data
        found = []
        while len(self._buffer) >= 2 and len(self._buffer) >= 2 + self._buffer[1]:
            opcode, size = self._buffer[0] & 15, self._buffer[1]
            payload, self._buffer = self._buffer[2 : 2 + size], self._buffer[2 + size :]
            if opcode == 9:
                self.send(payload, 10)
            elif opcode == 8:
                self.lost = True
            else:
                found.append(payload)
        return found


class Crowd:
    """All of them.

    Args:
        port: of the server.
        count: how many.
    """

    def __init__(self, port: int, count: int) -> None:
        self._clients = [Client(port) for _ in range(count)]
        self._by_fd = {client.sock.fileno(): client for client in self._clients}
        self._poll = select.epoll()
        for fd in self._by_fd:
            self._poll.register(fd, select.EPOLLIN)
        self._poll.register(sys.stdin.fileno(), select.EPOLLIN)
        self._number = 0

    def _ready(self, timeout: float) -> list[Client]:
        """Wait; returns who has something to read. Clients that are gone are not looked at again."""
        found = [self._by_fd[fd] for fd, _ in self._poll.poll(timeout) if fd in self._by_fd]
        for client in self._clients:
            if client.lost and client.sock.fileno() in self._by_fd:
                del self._by_fd[client.sock.fileno()]
                self._poll.unregister(client.sock)
        return found

    def talk(self) -> list[float]:
        """Talk until a line comes; returns the round trips in seconds, those without an end included."""
        # Spread over all: the first ones opened might be the first ones served again.
        talkers = self._clients[:: max(1, len(self._clients) // TALKERS)][:TALKERS]
        waiting: dict[Client, bytes] = {}
        resting = dict.fromkeys(talkers, 0.0)
        took: list[float] = []
        while not select.select([sys.stdin], [], [], 0)[0]:
            now = _clock()
            for client in [client for client, due in resting.items() if due <= now]:
                del resting[client]
                self._number += 1
                waiting[client] = text = b"%d" % self._number
                client.asked_at = _clock()
                client.send(text)
            for client in self._ready(_REST / 2):
                for answer in client.answers():
                    if answer.endswith(b" " + waiting.get(client, b"?")):
                        now = _clock()
                        took.append(now - client.asked_at)
                        del waiting[client]
                        resting[client] = now + _REST
        # What is still waited for, and then that of which no answer came, has waited for at least so long.
        end = _clock() + _PATIENCE
        while any(not client.lost for client in waiting) and _clock() < end:
            for client in self._ready(0.05):
                for answer in client.answers():
                    if answer.endswith(b" " + waiting.get(client, b"?")):
                        took.append(_clock() - client.asked_at)
                        del waiting[client]
        return took

    def count(self) -> int:
        """Ask each that is open; returns how many answer."""
        asked: dict[Client, bytes] = {}
        for client in self._clients:
            if not client.lost:
                self._number += 1
                asked[client] = b"%d" % self._number
                client.send(asked[client])
        kept, end = 0, _clock() + _PATIENCE
        while asked and _clock() < end:
            for client in self._ready(0.05):
                for answer in client.answers():
                    if client in asked and answer.endswith(b" " + asked[client]):
                        del asked[client]
                        kept += 1
            for client in [client for client in asked if client.lost]:
                del asked[client]
        return kept

    def kill(self, pid: int) -> float | None:
        """Kill the server and return the seconds to the first answer by another process; None: it never came.

        It is asked again and again, for what a dying process has read is gone with it.
        """
        client, killed = self._clients[0], b"%d " % pid
        os.kill(pid, signal.SIGKILL)
        began = _clock()
        while _clock() - began < _PATIENCE and not client.lost:
            client.send(b"back?")
            for _ in self._ready(_REST):
                if any(not answer.startswith(killed) for answer in client.answers()):
                    return _clock() - began
        return None


def main(port: int, count: int) -> None:
    """See the head of the module."""
    crowd = Crowd(port, count)
    print("open", flush=True)
    took: list[float] = []
    for line in iter(sys.stdin.readline, ""):
        word, *rest = line.split()
        if word == "talk":
            print(json.dumps({"talking": TALKERS}), flush=True)
            took = crowd.talk()
            continue
        if word == "kill":
            seconds = crowd.kill(int(rest[0]))
            said: dict[str, float | None] = {"took": None if seconds is None else seconds * 1000}
        else:
            said = {"open": count, "kept": crowd.count(), "asked": len(took)}
            if took:
                said |= {"p50": quantile(took, 0.5) * 1000, "longest": max(took) * 1000}
        print(json.dumps(said), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
