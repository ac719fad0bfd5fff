"""The servers whose connections are kept, each with clients that talk to it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from livereload_core.testing import LivecoreProcess, Load, free_port
from livereload_core.testing.harness import JsonRecord
from livereload_core.testing.link_clients import (
    EventsClient,
    KeepAliveClient,
    LineClient,
    Place,
    WebSocketClient,
)
from livereload_core.testing.links import Client
from livereload_core.testing.waiting import scaled, until
from tests.e2e.launching import Launcher

__all__ = ["FOLDER", "TALKERS", "Talk", "Talker", "break_in_start_up", "break_syntax", "mend"]

FOLDER = Path(__file__).parent / "talkers"


@dataclasses.dataclass(frozen=True)
class Talker:
    """One program of ``talkers``, and how it is run.

    Attributes:
        name: of the test.
        file: the program, without its suffix.
        target: whether livecore serves ``file:app``; else the file is run as a script.
        args: what follows ``--`` and the place.
        kinds: which clients it can talk to: letters of "wkel" for WebSocket, keep-alive, events, lines.
    """

    name: str
    file: str
    kinds: str
    target: bool = False
    args: tuple[str, ...] = ()

    def start(self, livecore: Launcher, *, place: str = "") -> Talk:
        """Run it and wait until it answers."""
        port = free_port()
        files = {path.name: path.read_text() for path in FOLDER.glob("*.py")}
        run = livecore.program(
            *((f"{self.file}:app",) if self.target else (f"{self.file}.py",)),
            files=files,
            args=() if self.target else (place or str(port), *self.args),
            serves=self.target,
            port=port,
        )
        return Talk(self, run, f"{self.file}.py")


@dataclasses.dataclass
class Talk:
    """A running talker."""

    talker: Talker
    run: LivecoreProcess
    file: str
    version: int = 1

    def answers(self) -> None:
        """Wait until it listens."""
        with self.load(rate=20) as load:
            until(lambda: load.answers, timeout=30, what="a first answer", context=load.report)

    def load(self, *, rate: float = scaled(100, least=50)) -> Load:
        """Return a load of fresh connections beside the kept ones."""
        if "l" in self.talker.kinds:
            return Load.of_lines(self.run.port, rate=rate)
        return Load(self.run.port, rate=rate)

    def clients(self, number: int = 8, place: Place | None = None) -> list[Client]:
        """Return ``number`` WebSockets or lines, and 3 kept-alive and 1 of events where it has them."""
        at = self.run.port if place is None else place
        kinds = self.talker.kinds
        clients: list[Client] = []
        if "w" in kinds:
            clients += [WebSocketClient(at, name=f"websocket {n}") for n in range(number)]
        if "l" in kinds:
            clients += [LineClient(at, name=f"line {n}") for n in range(number)]
        if "k" in kinds:
            clients += [KeepAliveClient(at, name=f"keep-alive {n}") for n in range(3)]
        if "e" in kinds:
            clients.append(EventsClient(at))
        return clients

    def edit(self) -> JsonRecord:
        """Save a new version and wait until it serves; return the record."""
        self.save_edit()
        return self.run.wait_reload("committed", timeout=60)

    def save_edit(self) -> None:
        """Save a new version."""
        self.run.edit(self.file, f'VERSION = "{self.version}"', f'VERSION = "{self.version + 1}"')
        self.version += 1

    def change(self, old: str, new: str) -> JsonRecord:
        """Change something else and wait until it serves; return the record."""
        self.run.edit(self.file, old, new)
        return self.run.wait_reload("committed", timeout=60)


def break_syntax(talk: Talk) -> None:
    """Save what cannot be compiled, wait until it is refused, and undo it."""
    talk.run.edit(talk.file, f'VERSION = "{talk.version}"', f'VERSION = ("{talk.version}"')
    talk.run.wait_reload("rejected", timeout=60)


def break_in_start_up(talk: Talk) -> None:
    """Save what fails when it starts, which is after the connections were held."""
    talk.run.edit(talk.file, "FAULTY = False", "FAULTY = True")
    talk.run.wait_reload("rejected", "rolled-back", timeout=60)


def mend(talk: Talk) -> None:
    """Save a new version of what was broken."""
    path = talk.run.cwd / talk.file
    text = (
        path.read_text()
        .replace(f'("{talk.version}"', f'"{talk.version}"')
        .replace("FAULTY = True", "FAULTY = False")
    )
    talk.version += 1
    talk.run.write(talk.file, text.replace(f'VERSION = "{talk.version - 1}"', f'VERSION = "{talk.version}"'))
    talk.run.wait_reload("committed", timeout=60)


def _uvicorn(ws: str, http: str, loop: str) -> Talker:
    return Talker(f"uvicorn-{ws}-{http}-{loop}", "asgi_talk", "wke", args=(ws, http, loop))


TALKERS = (
    Talker("aiohttp", "aiohttp_talk", "wke", target=True),
    Talker("aiohttp-run_app", "aiohttp_talk", "wke"),
    Talker("asgi", "asgi_talk", "wke", target=True),
    _uvicorn("websockets-sansio", "h11", "asyncio"),
    _uvicorn("websockets", "httptools", "uvloop"),
    _uvicorn("wsproto", "h11", "uvloop"),
    _uvicorn("websockets-sansio", "httptools", "uvloop"),
    _uvicorn("websockets", "h11", "asyncio"),
    _uvicorn("wsproto", "httptools", "asyncio"),
    Talker("hypercorn", "asgi_talk", "wke", args=("hypercorn",)),
    Talker("websockets-asyncio", "websockets_talk", "w", args=("asyncio",)),
    Talker("websockets-uvloop", "websockets_talk", "w", args=("uvloop",)),
    Talker("streams", "streams_talk", "l", args=("127.0.0.1",)),
    Talker("protocol-asyncio", "protocol_talk", "l", args=("asyncio",)),
    Talker("protocol-uvloop", "protocol_talk", "l", args=("uvloop",)),
)
"""Every server and event loop whose connections go over."""
