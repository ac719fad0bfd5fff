"""Keeps file descriptors between the process that writes and the one that reads, as the parent does."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import tempfile
import threading
from collections.abc import Sequence
from types import TracebackType

__all__ = ["ADDRESS", "Keeper", "put", "take"]

ADDRESS = "LIVECORE_TEST_KEEPER"
"""Environment variable: the path of the keeper's socket."""
_MOST = 64


class Keeper:
    """Listens while the block runs. Whoever takes something gets duplicates; the keeper closes its own at the end."""

    def __init__(self) -> None:
        self._folder = tempfile.mkdtemp(prefix="lc-")  # short: the path of a socket has 107 bytes
        self.address = os.path.join(self._folder, "keeper")
        self._kept: dict[str, list[int]] = {}
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)

    def __enter__(self) -> Keeper:
        self._listener.bind(self.address)
        self._listener.listen(8)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()
        for fds in self._kept.values():
            for fd in fds:
                os.close(fd)
        shutil.rmtree(self._folder)

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:  # the block has ended
                return
            with client, contextlib.suppress(OSError):
                data, fds, _, _ = socket.recv_fds(client, 1024, _MOST)
                act, _, name = data.decode().partition(" ")
                if act == "put":
                    self._kept[name] = fds
                    client.send(b"kept")
                else:
                    socket.send_fds(client, [b"taken"], self._kept.get(name, []))


def put(name: str, fds: Sequence[int]) -> None:
    """Give fds to the keeper; the caller's stay open."""
    if fds:
        _ask(f"put {name}", fds)


def take(name: str) -> list[int]:
    """Get fds back."""
    return _ask(f"take {name}", ())


def _ask(question: str, fds: Sequence[int]) -> list[int]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client:
        client.connect(os.environ[ADDRESS])
        socket.send_fds(client, [question.encode()], fds)
        return socket.recv_fds(client, 16, _MOST)[1]
