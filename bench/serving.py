"""One contender as a process, from its start to its certain end, and a client that asks for its version.

Invariants:
    * At the end of the ``with`` block no process that the contender started is left.
    * Whatever the contender printed is kept in a file, never in a pipe that could fill up and stop it.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import socket
import subprocess
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from bench.contenders import Contender
from bench.sources import MODULE, SaveStyle, Weight, save, source
from livereload_core.testing import descendants_of_run, free_port
from livereload_core.testing.processes import RUN_VARIABLE, kill_run

__all__ = ["NotMeasuredError", "Serving", "wait_version"]

_START = 30.0
"""Seconds for a start: seconds of imports on a busy machine, and no more."""

_PARKED = 0.25
"""Seconds that one request may wait. A server that restarts leaves it in the backlog and answers it first,
so the limit adds nothing to the latency; it only frees the client from what a dying process took along."""

_PAUSE = 0.001
"""Seconds between two requests of the client."""

_REQUEST = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
_VERSION = re.compile(rb'"version": ?"(v\d+)"')


class NotMeasuredError(Exception):
    """A contender cannot take part in a measure; the message is for its row."""


class Serving:
    """A contender that serves an app in a folder of its own.

    Args:
        contender: who.
        folder: an empty folder.
        weight: which app.
        app: makes the source of each version of another app.

    Attributes:
        port: where it serves.
        file: the app's file.
        number: the version that was saved last.
    """

    def __init__(
        self,
        contender: Contender,
        folder: Path,
        *,
        weight: Weight = "light",
        app: Callable[[int], str] | None = None,
    ) -> None:
        self.contender = contender
        self._source = app or partial(source, contender.family, weight)
        self.port = free_port()
        self.number = 1
        self._folder = folder
        self.file = folder / f"{MODULE}.py"
        # Beside the folder: a watcher of the folder must not see its own output as a change.
        self._log = folder.with_name(f"{folder.name}.log")
        self._mark = secrets.token_hex(8)
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        if self.contender.version() is None:
            raise NotMeasuredError(f"{self.contender.distribution} is not installed")
        self._folder.mkdir(parents=True, exist_ok=True)
        self.file.write_text(self._source(self.number))
        # What configures a reloader or an interpreter from outside would make runs differ.
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("LIVECORE_", "FLASK_", "PYTHON"))}
        try:
            with self._log.open("wb") as log:
                self._process = subprocess.Popen(
                    self.contender.command(self.port),
                    cwd=self._folder,
                    env={**kept, RUN_VARIABLE: self._mark},
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            self._wait_ready()
        except OSError as error:
            self.close()
            raise NotMeasuredError(f"could not be started: {error}") from error
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End every process of the contender at once. Safe to call again."""
        kill_run(self._mark)
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            self._process.wait(10)

    @property
    def pid(self) -> int:
        """The process that was started: for all reloaders the one that watches, or the only one."""
        assert self._process is not None, "the contender has not been started"
        return self._process.pid

    def pids(self) -> dict[int, str]:
        """Return all processes of the contender with their command lines."""
        return descendants_of_run(self._mark)

    def edit(self, style: SaveStyle) -> float:
        """Save the next version; returns the clock right before."""
        self.number += 1
        return save(self.file, self._source(self.number), style)

    def latency(self, style: SaveStyle, *, patience: float) -> float | None:
        """Save the next version and return the seconds to its first answer, None if it never came."""
        began = self.edit(style)
        return wait_version(self.port, f"v{self.number}", began=began, patience=patience)

    def records(self) -> list[dict[str, Any]]:
        """Return what livecore said about its reloads so far; nothing for peers."""
        found = []
        for line in self._log.read_text(errors="replace").splitlines():
            with contextlib.suppress(ValueError):
                record = json.loads(line)
                if isinstance(record, dict) and record.get("event") == "reload":
                    found.append(record)
        return found

    def last_words(self) -> str:
        """Return the last line that was printed."""
        lines = [line for line in self._log.read_text(errors="replace").splitlines() if line.strip()]
        return lines[-1].strip()[:100] if lines else "it printed nothing"

    def _wait_ready(self) -> None:
        process = self._process
        assert process is not None
        deadline = time.perf_counter() + _START
        while time.perf_counter() < deadline:
            began = time.perf_counter()
            if wait_version(self.port, f"v{self.number}", began=began, patience=0.1) is not None:
                return
            if process.poll() is not None:
                raise NotMeasuredError(
                    f"ended at its start with code {process.returncode}: {self.last_words()}"
                )
        raise NotMeasuredError(f"did not serve within {_START:g} s: {self.last_words()}")


def wait_version(port: int, version: str, *, began: float, patience: float) -> float | None:
    """Ask again and again until the version answers; returns the seconds since ``began``, or None.

    Every request has a connection of its own: one that is kept alive may stay with old code, or die with it.
    """
    wanted = version.encode()
    while True:
        with contextlib.suppress(OSError):
            answer = _VERSION.search(_exchange(port))
            if answer is not None and answer[1] == wanted:
                return time.perf_counter() - began
        if time.perf_counter() - began > patience:
            return None
        time.sleep(_PAUSE)


def _exchange(port: int) -> bytes:
    received = b""
    with socket.create_connection(("127.0.0.1", port), timeout=_PARKED) as client:
        client.sendall(_REQUEST)
        while chunk := client.recv(65536):
            received += chunk
            # Not to the end of the connection: some servers linger before they close it.
            if _VERSION.search(received):
                break
    return received
