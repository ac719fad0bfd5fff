"""Starting livecore on a playground program, or on a program that the test writes."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from livereload_core.testing import Answer, LivecoreProcess, Load, ask_http, ask_line, free_port, until

__all__ = ["EXACT", "PLAYGROUND", "PLAYGROUND_APP", "TARGETS", "Launcher", "Target"]

PLAYGROUND = Path(__file__).resolve().parents[2] / "playground"

PLAYGROUND_APP = (PLAYGROUND / "aiohttp_app" / "app.py").read_text()
"""The source of a small application, for tests that break it."""


@dataclasses.dataclass(frozen=True)
class Target:
    """One program of the playground, and how it is run.

    Attributes:
        name: of the test.
        folder: below the playground; copied for each test, which runs in the copy.
        arguments: what is typed behind ``livecore run``.
        edited: the file in which VERSION stands.
        args: what follows ``--``; ``{port}`` is replaced. Empty when livecore serves the target itself.
        lines: whether it talks in lines and not in HTTP.
        exact: whether its count survives; not so where the state lives in a process that the program forks.
    """

    name: str
    folder: str
    arguments: tuple[str, ...]
    edited: str
    args: tuple[str, ...] = ()
    lines: bool = False
    exact: bool = True

    def ask(self, port: int) -> Answer:
        """Ask for the version and the count, without counting."""
        return ask_line(port, "show") if self.lines else ask_http(port, "/")

    def load(self, port: int, *, rate: float = 200.0) -> Load:
        """Return a load of requests that count."""
        return Load.of_lines(port, rate=rate) if self.lines else Load(port, rate=rate)


def _self_binding(name: str, edited: str) -> Target:
    return Target(name, "self_binding", (f"{name}.py",), edited, ("{port}",))


TARGETS = (
    Target("aiohttp_app", "aiohttp_app", ("app:app",), "app.py"),
    Target("aiohttp_main", "aiohttp_main", ("main:main",), "main.py", ("{port}",)),
    Target("fastapi_app", "fastapi_app", ("app:app",), "app.py"),
    Target("flask_app", "flask_app", ("app:app",), "app.py"),
    Target("coroutine_main", "coroutine_main", ("server:main",), "server.py", ("{port}",), lines=True),
    Target("script", "script", ("serve.py",), "serve.py", ("{port}",)),
    Target("package", "package", ("-m", "greeter"), "greeter/answers.py", ("{port}",)),
    Target("factory", "factory", ("app:create_app", "--factory"), "app.py"),
    _self_binding("http_server", "http_server.py"),
    _self_binding("werkzeug_simple", "wsgi_app.py"),
    _self_binding("waitress_serve", "wsgi_app.py"),
    _self_binding("uvicorn_run", "asgi_app.py"),
    _self_binding("uvloop_run", "asgi_app.py"),
    Target(
        "gunicorn",
        "self_binding",
        ("-m", "gunicorn"),
        "wsgi_app.py",
        (
            "--preload",
            "--workers",
            "1",
            "--bind",
            "127.0.0.1:{port}",
            "--log-level",
            "error",
            "--no-control-socket",
            "wsgi_app:app",
        ),
        exact=False,
    ),
)
"""Every kind of target that answers requests; the simulation has a test of its own."""


EXACT = ("--timeout-quiesce", "30")
"""Options of a run whose counts are checked: where a busy machine takes longer for a request than the switch
waits, the old code finishes it after its state has gone, and the report says so."""


class Launcher:
    """Starts runs in a temporary folder and ends them with the test."""

    def __init__(self, folder: Path, stack: ExitStack, runs: list[LivecoreProcess]) -> None:
        self.folder = folder
        self._stack = stack
        self._runs = runs

    def target(self, target: Target, *options: str) -> LivecoreProcess:
        """Run a copy of a playground program and wait until it serves."""
        cwd = self.folder / target.folder
        shutil.copytree(PLAYGROUND / target.folder, cwd, ignore=shutil.ignore_patterns("__pycache__"))
        port = free_port()
        run = self._enter(
            LivecoreProcess(
                *target.arguments,
                *options,
                cwd=cwd,
                args=[arg.format(port=port) for arg in target.args],
                port=port,
                pass_port=not target.args,
            )
        )
        run.wait_started()
        # A program that binds by itself counts as started when it runs, a moment before it listens.
        until(lambda: target.ask(port), what="a first answer")
        return run

    def program(
        self,
        *arguments: str,
        files: Mapping[str, str | bytes],
        args: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        serves: bool = True,
        started: bool = True,
        terminal: bool = False,
        port: int | None = None,
    ) -> LivecoreProcess:
        """Write a program and run it.

        Args:
            arguments: what is typed behind ``livecore run``.
            files: path below the folder of the run, and content.
            args: what follows ``--``.
            env: variables beside those of this process.
            serves: whether livecore serves the target, and so is given a port.
            started: wait until it serves.
            terminal: run on a terminal of its own.
            port: the port; by default a free one.
        """
        cwd = self.folder / "program"
        for name, content in files.items():
            path = cwd / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        run = self._enter(
            LivecoreProcess(
                *arguments,
                cwd=cwd,
                args=args,
                port=(port or free_port()) if serves else port,
                pass_port=serves,
                env=env,
                terminal=terminal,
            )
        )
        if started:
            run.wait_started()
        return run

    def app(self, *options: str, source: str = PLAYGROUND_APP, **others: str) -> LivecoreProcess:
        """Run ``app.py`` with this source (by default the playground's) and wait until it serves."""
        return self.program("app:app", *options, files={"app.py": source, **others})

    def _enter(self, run: LivecoreProcess) -> LivecoreProcess:
        self._runs.append(run)
        return self._stack.enter_context(run)
