"""livecore and its peers: who serves which family of apps with which command.

Each peer is started as its own documentation says for development, quiet where it can be, with nothing else
tuned.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.sources import MODULE, Family, Weight

__all__ = ["BARE", "CONTENDERS", "PAIRS", "Contender", "Pair"]

_APP = f"{MODULE}:app"
_PYTHON = sys.executable
_SCRIPTS = Path(sysconfig.get_path("scripts"))


@dataclasses.dataclass(frozen=True, slots=True)
class Contender:
    """One way to serve an app.

    Attributes:
        name: as shown.
        family: the kind of app.
        distribution: what must be installed, and whose version is reported.
        command: makes the command for a port; it runs in the folder of the app.
        ours: whether it is livecore.
    """

    name: str
    family: Family
    distribution: str
    command: Callable[[int], list[str]]
    ours: bool = False

    def version(self) -> str | None:
        """Return the installed version, None when it is missing."""
        try:
            return importlib.metadata.version(self.distribution)
        except importlib.metadata.PackageNotFoundError:
            return None


def _livecore(port: int) -> list[str]:
    run = [_PYTHON, "-m", "livereload_core", "run", _APP, "--host", "127.0.0.1", "--port", str(port)]
    return [*run, "--log-format", "json", "--no-keys"]


def _module(*words: str) -> Callable[[int], list[str]]:
    return lambda port: [_PYTHON, "-m", *words, "--host", "127.0.0.1", "--port", str(port)]


def _script(name: str, *words: str) -> Callable[[int], list[str]]:
    return lambda port: [str(_SCRIPTS / name), *words, "--host", "127.0.0.1", "--port", str(port)]


def _file(name: str, *words: str) -> Callable[[int], list[str]]:
    path = str(Path(__file__).with_name(name))
    return lambda port: [_PYTHON, path, *words, "--host", "127.0.0.1", "--port", str(port)]


def _inline(program: str) -> Callable[[int], list[str]]:
    return lambda port: [_PYTHON, "-c", program.replace("@PORT@", str(port))]


_QUIET = ("--log-level", "warning")

CONTENDERS: tuple[Contender, ...] = (
    Contender("livecore asgi", "asgi", "livereload_core", _livecore, ours=True),
    Contender("livecore aiohttp", "aiohttp", "livereload_core", _livecore, ours=True),
    Contender("livecore flask", "wsgi", "livereload_core", _livecore, ours=True),
    Contender("uvicorn", "asgi", "uvicorn", _module("uvicorn", _APP, "--reload", *_QUIET)),
    Contender(
        "granian", "asgi", "granian", _module("granian", _APP, "--interface", "asgi", "--reload", *_QUIET)
    ),
    Contender("flask", "wsgi", "flask", _file("flask_run.py", "--app", MODULE, "run", "--debug")),
    Contender("jurigged", "asgi", "jurigged", _module("jurigged", "-w", ".", "-m", "uvicorn", _APP, *_QUIET)),
    Contender("uvicorn-hmr", "asgi", "uvicorn-hmr", _script("uvicorn-hmr", _APP, *_QUIET)),
)
"""All that can take part, livecore first."""

BARE: dict[Family, Contender] = {
    "asgi": Contender(
        "bare uvicorn",
        "asgi",
        "uvicorn",
        _inline(
            f"import uvicorn; from {MODULE} import app; "
            "uvicorn.Server(uvicorn.Config(app, host='127.0.0.1', port=@PORT@, log_level='warning', "
            "access_log=False)).run()"
        ),
    ),
    "aiohttp": Contender(
        "bare aiohttp",
        "aiohttp",
        "aiohttp",
        _inline(
            f"from aiohttp import web; from {MODULE} import app; "
            "web.run_app(app, host='127.0.0.1', port=@PORT@, print=None)"
        ),
    ),
}
"""The servers that livecore runs such apps with, started without it and without a reloader."""


@dataclasses.dataclass(frozen=True, slots=True)
class Pair:
    """One server under livecore and without it, doing the same work.

    Attributes:
        family: of the app.
        ours: under livecore.
        bare: alone.
        weight: which app.
        fresh: whether each request has a connection of its own.
    """

    family: Family
    ours: Contender
    bare: Contender
    weight: Weight = "light"
    fresh: bool = False

    @property
    def again(self) -> Contender:
        """The bare server a second time: what this pair shows is what the method cannot tell apart."""
        return dataclasses.replace(self.bare, name=f"{self.bare.name}, again")


def _livecore_script(port: int) -> list[str]:
    run = [_PYTHON, "-m", "livereload_core", "run", f"{MODULE}.py"]
    return [*run, "--log-format", "json", "--no-keys", "--", str(port)]


_SMALLEST: tuple[Pair, ...] = (
    Pair(
        "asgi",
        Contender("livecore uvicorn h11", "asgi", "uvicorn", _livecore_script, ours=True),
        Contender("bare uvicorn h11", "asgi", "uvicorn", lambda port: [_PYTHON, f"{MODULE}.py", str(port)]),
    ),
    # The fast parser and loop are what uvicorn takes where they are installed.
    Pair(
        "asgi",
        Contender("livecore uvicorn httptools uvloop", "asgi", "uvloop", _livecore, ours=True),
        dataclasses.replace(BARE["asgi"], name="bare uvicorn httptools uvloop", distribution="uvloop"),
    ),
    Pair(
        "aiohttp",
        Contender("livecore aiohttp", "aiohttp", "aiohttp", _livecore, ours=True),
        BARE["aiohttp"],
    ),
)


def _varied(pair: Pair, words: str, **changes: Any) -> Pair:
    ours, bare = (dataclasses.replace(one, name=f"{one.name}, {words}") for one in (pair.ours, pair.bare))
    return dataclasses.replace(pair, ours=ours, bare=bare, **changes)


PAIRS: tuple[Pair, ...] = (
    *_SMALLEST,
    *(_varied(pair, "page", weight="page") for pair in _SMALLEST[1:]),
    *(_varied(pair, "a connection each", fresh=True) for pair in _SMALLEST),
)
"""Each kind of connection that livecore looks into: parsed in Python, in C, and by aiohttp; with the smallest
answer there is, with one of a usual size, and with a new connection for each of the smallest."""
