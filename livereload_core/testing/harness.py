"""A real ``livecore run`` in a process of its own, judged from outside: by what it says, serves and holds.

Invariants:
    * The process, and whatever it started, has ended when the ``with`` block ends.
    * A failure inside of the block shows everything that the run printed.
    * Lines of stdout that are records go to ``records``; all others are the program's own ``output``.
"""

from __future__ import annotations

import contextlib
import json
import os
import pty
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from livereload_core.testing.editing import EditStyle, edit, write
from livereload_core.testing.load import Answer, ask_http
from livereload_core.testing.processes import (
    RUN_VARIABLE,
    ProcessCensus,
    census,
    descendants_of_run,
    fds,
    kill_run,
)
from livereload_core.testing.waiting import until

__all__ = ["JsonRecord", "LivecoreProcess"]

JsonRecord = dict[str, Any]
"""One line of ``--log-format json``."""

_TAKE_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""
"""Makes stdin the controlling terminal and becomes the command: then Ctrl-C in the terminal is a real one."""


class LivecoreProcess:
    """One ``livecore run``.

    Args:
        arguments: target and options, as typed behind ``livecore run``.
        cwd: the folder in which it is typed.
        args: what follows ``--``.
        port: passed as ``--port`` unless ``pass_port`` is false; where :meth:`get` asks.
        pass_port: whether the target is served by livecore, and so needs ``--port``.
        env: variables beside those of this process.
        terminal: run on a terminal of its own, as for a person; :meth:`type` presses keys.

    Attributes:
        records: what ``--log-format json`` said, in order.
        output: the other lines of stdout, in order.
        stderr: the lines of stderr, in order.
    """

    def __init__(
        self,
        *arguments: str,
        cwd: Path,
        args: Sequence[str] = (),
        port: int | None = None,
        pass_port: bool = True,
        env: Mapping[str, str] | None = None,
        terminal: bool = False,
    ) -> None:
        self.cwd = cwd
        self.records: list[JsonRecord] = []
        self.output: list[str] = []
        self.stderr: list[str] = []
        self._port = port
        options = ["--port", str(port)] if port is not None and pass_port else []
        self.command = [sys.executable, "-m", "livereload_core", "run", *arguments, "--log-format", "json"]
        self.command += [*options, *(["--", *args] if args else [])]
        self._mark = secrets.token_hex(8)
        # Unbuffered, a program's print() is two writes, and a record could come between them. Where bytecode
        # may not be cached, every interpreter would compile anew, which is not what users see.
        left_out = ("LIVECORE_", "PYTEST_", "PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE")
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(left_out)}
        self._env = {**inherited, RUN_VARIABLE: self._mark, **(env or {})}
        self._terminal = terminal
        self._master = -1
        self._process: subprocess.Popen[bytes] | None = None
        self._readers: list[threading.Thread] = []
        self._said = threading.Condition()
        self._transcript: list[str] = []
        self._began = 0.0
        self._ended = False
        self._reloads_seen = 0

    # --- life ---------------------------------------------------------------

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
        if error is not None:
            error.add_note(self.transcript())

    def _start(self) -> None:
        self._began = time.monotonic()
        if self._terminal:
            self._master, slave = pty.openpty()
            command = [sys.executable, "-c", _TAKE_TERMINAL, *self.command]
            stdin, stdout = slave, slave
        else:
            slave, command = -1, self.command
            stdin, stdout = subprocess.DEVNULL, subprocess.PIPE
        try:
            self._process = subprocess.Popen(
                command,
                cwd=self.cwd,
                env=self._env,
                stdin=stdin,
                stdout=stdout,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        finally:
            if slave >= 0:
                os.close(slave)
        errors = self._process.stderr
        out = self._process.stdout
        assert errors is not None
        out_fd = out.fileno() if out is not None else self._master
        for fd, take, name in (
            (out_fd, self._take_output, "out"),
            (errors.fileno(), self._take_error, "err"),
        ):
            reader = threading.Thread(
                target=self._read, args=(fd, take), name=f"livecore-{name}", daemon=True
            )
            reader.start()
            self._readers.append(reader)

    def close(self) -> None:
        """End everything that this run started, at once. Safe to call again."""
        kill_run(self._mark)
        process = self._process
        if process is None:
            return
        if process.poll() is None:
            process.kill()
        process.wait(10)
        for reader in self._readers:
            reader.join(10)
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()
        if self._master >= 0:
            os.close(self._master)
            self._master = -1

    def stop(self, *, timeout: float = 10.0) -> int:
        """Press Ctrl-C once, as a terminal does it: SIGINT to the whole group. Returns the exit code."""
        self.interrupt()
        return self.wait_exit(timeout=timeout)

    def interrupt(self) -> None:
        """Send SIGINT to every process of the foreground group."""
        if self._terminal:
            self.type("\x03")
        else:
            os.killpg(self.pid, signal.SIGINT)

    def kill(self) -> None:
        """Kill the parent with SIGKILL, and nothing else."""
        os.kill(self.pid, signal.SIGKILL)

    def wait_exit(self, *, timeout: float = 10.0) -> int:
        """Wait for the end of the parent and return its exit code."""
        assert self._process is not None
        try:
            code = self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"livecore did not end within {timeout:g} s") from None
        for reader in self._readers:
            # Children that outlive the parent hold the pipes open; the test looks at those by itself.
            reader.join(1)
        return code

    def type(self, keys: str) -> None:
        """Press keys in the terminal of the run."""
        os.write(self._master, keys.encode())

    # --- what it says ---------------------------------------------------------

    def wait_for(
        self,
        predicate: Callable[[JsonRecord], bool],
        *,
        since: int = 0,
        timeout: float = 20.0,
        what: str = "",
    ) -> JsonRecord:
        """Return the first record, from number ``since`` on, that fulfils the predicate.

        Raises:
            AssertionError: none came in time, or the run has ended without one.
        """
        position = since
        deadline = time.monotonic() + timeout
        with self._said:
            while True:
                for record in self.records[position:]:
                    position += 1
                    if predicate(record):
                        return record
                left = deadline - time.monotonic()
                if left <= 0 or self._ended:
                    why = "the run has ended" if self._ended else f"{timeout:g} s have passed"
                    raise AssertionError(f"no {what or 'fitting'} record came: {why}")
                self._said.wait(left)

    def wait_event(self, *events: str, since: int = 0, timeout: float = 20.0) -> JsonRecord:
        """Return the first record of one of these kinds, from number ``since`` on."""
        return self.wait_for(
            lambda record: record["event"] in events, since=since, timeout=timeout, what=" or ".join(events)
        )

    def wait_started(self, *, timeout: float = 20.0) -> JsonRecord:
        """Wait until the first generation serves."""
        return self.wait_event("started", timeout=timeout)

    def wait_reload(self, *outcomes: str, timeout: float = 20.0) -> JsonRecord:
        """Return the next record of a reload that was not returned yet; it must have one of the outcomes.

        Args:
            outcomes: ``committed`` (the default), ``rejected``, ``rolled-back``.
            timeout: seconds.
        """
        expected = outcomes or ("committed",)
        record = self.wait_for(
            lambda record: record["event"] == "reload",
            since=self._reloads_seen,
            timeout=timeout,
            what=f"reload {' or '.join(expected)}",
        )
        self._reloads_seen = self.records.index(record, self._reloads_seen) + 1
        if record["outcome"] not in expected:
            raise AssertionError(
                f"a reload was {record['outcome']}, expected {' or '.join(expected)}: {record}"
            )
        return record

    def skip_reloads(self) -> None:
        """Let :meth:`wait_reload` look only at what comes from now on."""
        with self._said:
            self._reloads_seen = len(self.records)

    def reloads(self, outcome: str | None = None) -> list[JsonRecord]:
        """Return the records of all reloads so far, or those with one outcome."""
        with self._said:
            return [
                record
                for record in self.records
                if record["event"] == "reload" and outcome in (None, record["outcome"])
            ]

    def wait_output(self, predicate: Callable[[str], bool], *, since: int = 0, timeout: float = 20.0) -> str:
        """Return the first line that the program itself printed, from number ``since`` on, which fits."""

        def find() -> str | None:
            return next((line for line in self.output[since:] if predicate(line)), None)

        return until(find, timeout=timeout, what="a line of the program") or ""

    def transcript(self) -> str:
        """Return everything that was printed so far, with seconds since the start."""
        code = self._process.poll() if self._process is not None else None
        head = f"--- {' '.join(self.command[2:])}  (exit code {code})"
        return "\n".join([head, *self._transcript[-400:], "---"])

    # --- what it serves, holds and reads ----------------------------------------

    @property
    def pid(self) -> int:
        """The parent's process id."""
        assert self._process is not None, "the run has not been started"
        return self._process.pid

    @property
    def port(self) -> int:
        """The port that was given."""
        assert self._port is not None, "no port was given"
        return self._port

    def get(self, path: str = "/", *, accept: str = "*/*", timeout: float = 10.0) -> Answer:
        """GET a path on a connection of its own."""
        return ask_http(self.port, path, accept=accept, timeout=timeout)

    def wait_version(self, version: str, *, timeout: float = 20.0) -> None:
        """Wait until ``GET /`` is answered by this version."""
        until(
            lambda: self.get().json()["version"] == version,
            timeout=timeout,
            what=f"an answer by version {version!r}",
        )

    def pids(self) -> dict[int, str]:
        """Return every living process of the run with its command line, the parent included."""
        return descendants_of_run(self._mark)

    def fds(self, pid: int | None = None) -> dict[int, str]:
        """Return the file descriptors of a process, by default of the parent."""
        return fds(self.pid if pid is None else pid)

    def wait_snapshots(self, kept: int) -> None:
        """Wait until the parent holds states of ``kept`` earlier generations and of the serving one."""
        until(
            lambda: self.census().fds.get("/memfd:livecore-state (deleted)") == kept + 1,
            what="a snapshot of the generation that serves",
        )

    def holds(self, text: str) -> bool:
        """Whether a snapshot of the state that the parent holds has this text in it."""
        for number, target in self.fds().items():
            if "livecore-state" in target:
                with contextlib.suppress(OSError):  # a newer one has taken its place
                    if text.encode() in Path(f"/proc/{self.pid}/fd/{number}").read_bytes():
                        return True
        return False

    def census(self) -> ProcessCensus:
        """Count what the parent holds."""
        return census(self.pid)

    def status(self) -> JsonRecord:
        """Return what ``livecore status --json`` says of this run, asked from outside as a user would."""
        done = subprocess.run(
            [sys.executable, "-m", "livereload_core", "status", "--json"],
            cwd=self.cwd,
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
        if done.returncode != 0:
            raise AssertionError(f"no status: {done.stderr}")
        status = json.loads(done.stdout)
        assert isinstance(status, dict)
        return status

    def wait_settled(self, *, timeout: float = 20.0) -> None:
        """Wait until nothing is under way: one child serves, one is spare, and no other is left."""
        until(
            lambda: sorted(child["role"] for child in self.status()["children"]) == ["active", "spare"],
            timeout=timeout,
            what="an active child and a spare one, and no other",
            context=lambda: str(self.status()["children"]),
        )

    def edit(self, file: str, old: str, new: str, *, how: EditStyle = "rename") -> None:
        """Replace ``old``, which must be there once, in a file below ``cwd``."""
        edit(self.cwd / file, old, new, how=how)

    def write(self, file: str, content: str | bytes, *, how: EditStyle = "rename") -> None:
        """Save a file below ``cwd``."""
        write(self.cwd / file, content, how=how)

    # --- reading -------------------------------------------------------------------

    def _read(self, fd: int, take: Callable[[str], None]) -> None:
        rest = b""
        while True:
            try:
                chunk = os.read(fd, 65536)
            except OSError:
                # A terminal reports EIO when the last process that had it open is gone: the end.
                chunk = b""
            *lines, rest = (rest + chunk).split(b"\n")
            if not chunk and rest:
                lines, rest = [*lines, rest], b""
            with self._said:
                for line in lines:
                    text = line.decode(errors="replace").rstrip("\r")
                    self._transcript.append(f"{time.monotonic() - self._began:8.3f} {text}")
                    take(text)
            if not chunk:
                break
        with self._said:
            # Whoever waits for a record must learn that none can come any more.
            self._ended = self._ended or take == self._take_output
            self._said.notify_all()

    def _take_output(self, line: str) -> None:
        # The program shares this stream: where it writes a line in pieces, a record may begin within it.
        said, mark, rest = line.partition(_RECORD)
        record = _record_in(mark + rest) if mark else None
        if record is None:
            self.output.append(line)
        else:
            if said:
                self.output.append(said)
            self.records.append(record)
        self._said.notify_all()

    def _take_error(self, line: str) -> None:
        self.stderr.append(line)


_RECORD = '{"v": 1, "event": '


def _record_in(line: str) -> JsonRecord | None:
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) and "event" in record else None
