"""What no reloader can undercut: a fresh interpreter, its imports, the kernel's word that a file changed."""

from __future__ import annotations

import ctypes
import os
import queue
import select
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import watchfiles

from bench.model import Column, Measure, Row, spread
from bench.plan import Plan
from bench.serving import NotMeasuredError
from bench.sources import save

__all__ = ["measure_floors"]

_HEAVY = "import numpy, pandas, pydantic, sqlalchemy, sqlalchemy.orm"
_PROGRAMS = {
    "python -c pass": "pass",
    "python, import asyncio": "import asyncio",
    "python, import uvicorn": "import uvicorn",
    "python, import aiohttp.web": "import aiohttp.web",
    "python, import flask": "import flask",
    "python, the heavy imports": _HEAVY,
}

_IN_CLOSE_WRITE = 0x00000008
_IN_MOVED_TO = 0x00000080
_LIMIT = 5.0
"""Seconds until an event counts as lost."""

Notify = Callable[[float], None]
"""Takes the clock at which a change was noticed."""


def measure_floors(folder: Path, plan: Plan, progress: Callable[[str], None], *, ours: Row | None) -> Measure:
    """Measure the floors, beside one row of livecore's that they are compared with."""
    rows = []
    for name, program in _PROGRAMS.items():
        progress(f"floor: {name}")
        # The heavy imports take most of a second each; and what takes long varies little.
        runs = plan.floor_runs if program is not _HEAVY else max(1, plan.floor_runs // 3)
        try:
            rows.append(_row(name, [_execute(program) for _ in range(runs)]))
        except NotMeasuredError as error:
            rows.append(Row(name, note=str(error)))
    watchers: dict[str, Callable[[Path, Notify, threading.Event], None]] = {
        "inotify": _inotify,
        "watchfiles, step 1 ms": lambda *given: _watchfiles(*given, step=1),
        "watchfiles as it comes (step 50 ms)": lambda *given: _watchfiles(*given, step=50),
    }
    for name, watcher in watchers.items():
        progress(f"floor: {name}")
        rows.append(
            _row(f"save to event: {name}", _noticed(watcher, folder / name.split(",")[0], plan.floor_runs))
        )
    if ours is not None:
        rows.append(ours)
    columns = (Column("p50", "p50 ms", 2), Column("p95", "p95 ms", 2), Column("min", "min ms", 2))
    return Measure("floors", "Floors of this machine", columns, tuple(rows), lead="p50")


def _row(name: str, seconds: list[float]) -> Row:
    samples = tuple(one * 1000 for one in seconds)
    return Row(name, values=spread(samples), samples=samples) if samples else Row(name, note="no event came")


def _execute(program: str) -> float:
    began = time.perf_counter()
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.DEVNULL) as process:
        # A wait with a limit polls, with sleeps that grow to 50 ms, and would measure those.
        limit = threading.Timer(60, process.kill)
        limit.start()
        try:
            code = process.wait()
        finally:
            limit.cancel()
        took = time.perf_counter() - began
    if code != 0:
        raise NotMeasuredError(f"{program!r} ended with code {code}")
    return took


def _noticed(
    watcher: Callable[[Path, Notify, threading.Event], None], folder: Path, runs: int
) -> list[float]:
    folder = folder.with_name(folder.name.replace(" ", "-"))
    folder.mkdir(parents=True)
    noticed: queue.SimpleQueue[float] = queue.SimpleQueue()
    stop = threading.Event()
    thread = threading.Thread(target=watcher, args=(folder, noticed.put, stop), daemon=True)
    thread.start()
    took = []
    try:
        _until_watched(folder, noticed)
        for number in range(runs):
            began = save(folder / "app.py", f"VERSION = {number}\n", "rename")
            took.append(noticed.get(timeout=_LIMIT) - began)
            _drain(noticed)
    except queue.Empty:
        pass  # the row shows what came, or says that nothing did
    finally:
        stop.set()
        thread.join(_LIMIT)
    return took


def _until_watched(folder: Path, noticed: queue.SimpleQueue[float]) -> None:
    """Save until an event comes: only that tells that the watch is in place."""
    deadline = time.perf_counter() + _LIMIT
    while True:
        save(folder / "app.py", f"# {time.perf_counter()}\n", "rename")
        try:
            noticed.get(timeout=0.2)
        except queue.Empty:
            if time.perf_counter() > deadline:
                raise
        else:
            _drain(noticed)
            return


def _drain(noticed: queue.SimpleQueue[float]) -> None:
    """Take further events of the same save; over when none came for a moment."""
    while True:
        try:
            noticed.get(timeout=0.1)
        except queue.Empty:
            return


def _inotify(folder: Path, notify: Notify, stop: threading.Event) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    fd = libc.inotify_init1(os.O_CLOEXEC)
    if fd < 0:
        return
    try:
        if libc.inotify_add_watch(fd, os.fsencode(folder), _IN_CLOSE_WRITE | _IN_MOVED_TO) < 0:
            return
        while not stop.is_set():
            if select.select([fd], [], [], 0.2)[0]:
                now = time.perf_counter()
                # The temporary file's close comes before the rename, and before the clock starts.
                if b"app.py\0" in os.read(fd, 4096).replace(b".app.py.tmp", b""):
                    notify(now)
    finally:
        os.close(fd)


def _watchfiles(folder: Path, notify: Notify, stop: threading.Event, *, step: int) -> None:
    def is_app(_: watchfiles.Change, path: str) -> bool:
        return path.endswith("/app.py")

    for _ in watchfiles.watch(
        folder, watch_filter=is_app, step=step, stop_event=stop, rust_timeout=200, yield_on_timeout=False
    ):
        notify(time.perf_counter())
