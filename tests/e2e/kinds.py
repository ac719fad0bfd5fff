"""One run for all tests of a module: each opens connections of its own, edits, and looks at them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from livereload_core.testing import LivecoreProcess, free_port, scaled, until
from tests.e2e.launching import Launcher
from tests.e2e.talking import FOLDER, Talk, Talker
from tests.e2e.wires import Wire

__all__ = ["CHOSEN", "KINDS", "Kinds", "start_kinds"]

KINDS = (
    Talker("aiohttp", "aiohttp_kinds", "wke"),
    Talker(
        "uvicorn-websockets-httptools-uvloop", "asgi_kinds", "wke", args=("websockets", "httptools", "uvloop")
    ),
    Talker("uvicorn-sansio-h11-asyncio", "asgi_kinds", "wke", args=("websockets-sansio", "h11", "asyncio")),
    Talker("uvicorn-wsproto-h11-uvloop", "asgi_kinds", "wke", args=("wsproto", "h11", "uvloop")),
)
GRACE = "60"
"""Seconds that an old generation may drain: no test waits for them, and none may be hurried by them."""


class Kinds(Talk):
    """A running program of all kinds.

    Attributes:
        lines: the port of its server of lines.
    """

    lines: int

    def wire(self, path: str = "", *headers: str, receive_buffer: int = 0) -> Wire:
        """Return a connection; with a path, a WebSocket that is open."""
        wire = Wire(self.run.port, receive_buffer=receive_buffer)
        if path:
            wire.upgrade(path, *headers)
        return wire

    def held(self, number: int) -> None:
        """Wait until the parent holds that many connections: then all that were opened are known to it."""
        until(
            lambda: self.run.status()["connections"] >= number, timeout=30, what=f"{number} connections held"
        )

    def held_exactly(self, number: int) -> None:
        """Wait until the parent holds that many connections and no more."""
        until(
            lambda: self.run.status()["connections"] == number, timeout=30, what=f"{number} connections held"
        )

    def old_one_is_gone(self) -> None:
        """Wait until no generation but the one that serves is there."""
        until(
            lambda: all(child["role"] in ("active", "spare") for child in self.run.status()["children"]),
            timeout=60,
            what="the end of the old generation",
            context=lambda: str(self.run.status()["children"]),
        )


def start_kinds(folder: Path, talker: Talker, *options: str) -> Iterator[Kinds]:
    """Run it in ``folder`` until the generator is closed."""
    runs: list[LivecoreProcess] = []
    port, lines = free_port(), free_port()
    with ExitStack() as stack:
        run = Launcher(folder, stack, runs).program(
            f"{talker.file}.py",
            *(options or ("--timeout-graceful-shutdown", GRACE)),
            files={path.name: path.read_text() for path in FOLDER.glob("*.py")},
            args=(str(port), str(lines), *talker.args),
            serves=False,
            port=port,
        )
        kinds = Kinds(talker, run, f"{talker.file}.py")
        kinds.lines = lines
        kinds.answers()
        yield kinds


CHOSEN = KINDS[: scaled(len(KINDS), least=2)]
"""All of them at the full size of a test run; one of each event loop otherwise."""


@pytest.fixture(scope="module", params=CHOSEN, ids=lambda talker: talker.name)
def kinds(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kinds]:
    """A program of all kinds, shared by the tests of a module; its version goes up with each edit."""
    yield from start_kinds(tmp_path_factory.mktemp("kinds"), request.param)
