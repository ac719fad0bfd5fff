"""What clients feel while much state is exported in the background, beside the same clients while nothing is.

A program under livecore keeps a large array, or a large dict, and 200 requests/s come. The values are made in
small steps first, and put at once into what is kept, which was empty until then. All is exported
then, which is one window; when that is over nothing is left to export for some seconds, which is the other.
Each start of the program gives one ratio; what is reported is their median with its interval.

What is under way is read from the kernel, not from livecore: the export of much has begun when the program
has a new file in memory for it, and has ended when the parent has that file, too. The state is not saved on
disk here, which would write for seconds after the export.

Invariants:
    * No request counts that was asked before the last value was in its place, and those that had to wait for
      it were answered.
    * A window without an export is one: no file in memory of the program's came, went or grew in it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import http.client
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.connections import settled
from bench.contenders import CONTENDERS
from bench.model import Column, Measure, Row, median_interval, quantile
from bench.openload import RATE, TIMEOUT
from bench.plan import Plan
from bench.serving import NotMeasuredError, Serving
from bench.sources import keeping

__all__ = ["Turn", "compared", "measure_exporting"]

_PATIENCE = 150.0
"""Seconds for one change, and for its export: a million texts take most of a minute, in small slices."""
_LOOK = 0.01
"""Seconds between two looks at the files."""
_STILL = 0.3
"""Seconds in which nothing has changed after which nothing is under way."""
_TEXT = 450
"""Bytes of each text."""

_ARRAY = """\
import numpy

made = numpy.empty(@SIZE@)


@preserve
def kept():
    return made


def make(start, end):
    made[start:end] = changes


def put():
    kept()
"""
_TEXTS = f"""\
kept = @KEPT@
made = {{}}


def make(start, end):
    made.update({{f"key {{n}}": f"{{n + changes:010d}}" * {_TEXT // 10} for n in range(start, end)}})


def put():
    kept.update(made)
    made.clear()
"""

_COLUMNS = (
    Column("p50_rest", "p50 ms at rest", 2),
    Column("p50", "while exported", 2),
    Column("p99_rest", "p99 ms at rest", 2),
    Column("p99", "while exported", 2),
    Column("max_rest", "longest ms at rest", 1),
    Column("max", "while exported", 1),
    Column("p99_ratio", "p99 by rest", 2),
    Column("p99_low", "from", 2),
    Column("p99_high", "to", 2),
    Column("took", "export s", 2),
    Column("requests", "requests", 0),
    Column("starts", "starts", 0),
)


@dataclasses.dataclass(frozen=True, slots=True)
class Turn:
    """What one start of the program gave.

    Attributes:
        rest: milliseconds of each request while there was nothing to export.
        export: the same while all was exported.
        took: seconds of the export.
        failed: requests that failed, whenever it was.
    """

    rest: Sequence[float]
    export: Sequence[float]
    took: float
    failed: int = 0


def measure_exporting(folder: Path, plan: Plan, progress: Callable[[str], None]) -> Measure:
    """Measure each kind of state."""
    size = plan.array_mib << 20
    entries = plan.tracked_entries
    kinds: tuple[tuple[str, Callable[[int], str], int], ...] = (
        (f"array of {plan.array_mib:,} MiB", keeping(_ARRAY, size // 8, 128 * 1024), size),
        *(
            (
                f"{name} of {entries:,} texts",
                keeping(_TEXTS.replace("@KEPT@", made), entries, 500),
                entries * _TEXT,
            )
            for name, made in (("dict", 'preserve("kept", dict)'), ("preserve.dict", "preserve.dict()"))
        ),
    )
    rows = []
    for number, (name, app, weight) in enumerate(kinds):
        progress(f"200 requests/s while exported: {name}")
        try:
            # Those of a container take long, and see many requests each.
            starts = plan.export_starts if number == 0 else max(1, plan.export_starts // 3)
            rows.append(_row(name, app, weight, folder / str(number), starts, plan.export_rest))
        except NotMeasuredError as error:
            rows.append(Row(name, ours=True, note=str(error)))
    return Measure(
        "exporting",
        f"{RATE:g} requests/s on fresh connections while all state is exported in the background",
        _COLUMNS,
        tuple(rows),
    )


def compared(turns: Sequence[Turn]) -> tuple[dict[str, float], tuple[float, ...]]:
    """Return the values of a row, and the ratios of p99 of the turns. Pure.

    Raises:
        NotMeasuredError: a window is without any request.
    """
    if not all(turn.rest and turn.export for turn in turns):
        raise NotMeasuredError("a window was too short for a single request")
    ratios = tuple(quantile(turn.export, 0.99) / quantile(turn.rest, 0.99) for turn in turns)
    low, high = median_interval(ratios)
    values = {"p99_ratio": quantile(ratios, 0.5), "p99_low": low, "p99_high": high}
    for key, windows in (("_rest", [turn.rest for turn in turns]), ("", [turn.export for turn in turns])):
        waits = [wait for window in windows for wait in window]
        values |= {f"p50{key}": quantile(waits, 0.5), f"p99{key}": quantile(waits, 0.99)}
        values |= {f"max{key}": max(waits)}
    values["requests"] = float(sum(len(turn.export) for turn in turns))
    values["starts"] = float(len(turns))
    values["took"] = quantile([turn.took for turn in turns], 0.5)
    return values, ratios


def _row(name: str, app: Callable[[int], str], weight: int, folder: Path, starts: int, rest: float) -> Row:
    ours = next(one for one in CONTENDERS if one.ours and one.family == "asgi")
    who = dataclasses.replace(ours, command=lambda port: [*ours.command(port), "--no-save"])
    turns = []
    for number in range(starts):
        with Serving(who, folder / str(number), app=app) as serving:
            turns.append(_turn(serving, weight, rest))
    values, ratios = compared(turns)
    failed = sum(turn.failed for turn in turns)
    note = f"{failed} requests failed" if failed else ""
    return Row(name, ours=True, values=values, samples=ratios, note=note, flawed=bool(failed))


# -- one turn -----------------------------------------------------------------------------------------------

_Files = dict[int, tuple[int, int]]
"""Size, and bytes that have memory, of each file in memory that state is exported into, by its inode."""


def _turn(serving: Serving, weight: int, rest: float) -> Turn:
    parent, child = serving.pid, settled(serving)
    before = _files(child).keys()
    with _load(serving.port) as end:
        _ask_for_change(serving.port)
        changed = time.monotonic()
        begun = _wait_for(lambda: bool(_large(child, weight) - before), "no export has begun")
        ended = _wait_for(
            lambda: bool(fresh := _large(child, weight) - before) and fresh <= _files(parent).keys(),
            "the export did not end",
        )
        still = _wait_still(child)
        resting = time.monotonic()
        time.sleep(rest)
        rested = time.monotonic()
        if _files(child) != still:
            raise NotMeasuredError("something was exported although nothing had changed")
        load = end()
    return Turn(
        rest=_latencies(load, resting, rested),
        export=_latencies(load, max(changed, begun), ended),
        took=ended - begun,
        failed=load["failed"],
    )


def _latencies(load: Mapping[str, Any], start: float, end: float) -> list[float]:
    """Return the milliseconds of the requests that were asked in a window."""
    pairs = zip(load["began"], load["latencies"], strict=True)
    return [seconds * 1000 for began, seconds in pairs if start <= began <= end]


def _wait_still(pid: int) -> _Files:
    deadline = time.monotonic() + _PATIENCE
    seen = _files(pid)
    while time.monotonic() < deadline:
        time.sleep(_STILL)
        seen, before = _files(pid), seen
        if seen == before:
            return seen
    raise NotMeasuredError("the program is never done with its exports")


def _wait_for(is_so: Callable[[], bool], otherwise: str) -> float:
    """Wait until something is so; returns when that was seen."""
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        if is_so():
            return time.monotonic()
        time.sleep(_LOOK)
    raise NotMeasuredError(f"{otherwise} within {_PATIENCE:g} s")


def _large(pid: int, weight: int) -> set[int]:
    """Return the files that are no mere side work by their size."""
    return {inode for inode, (size, _) in _files(pid).items() if size >= weight // 4}


def _files(pid: int) -> _Files:
    found = {}
    folder = f"/proc/{pid}/fd"
    try:
        for fd in os.listdir(folder):
            with contextlib.suppress(FileNotFoundError):  # closed meanwhile
                if os.readlink(f"{folder}/{fd}").startswith("/memfd:livecore-segment"):
                    about = os.stat(f"{folder}/{fd}")
                    found[about.st_ino] = about.st_size, about.st_blocks * 512
    except OSError as error:
        raise NotMeasuredError(f"the files of process {pid} cannot be seen: {error.strerror}") from error
    return found


def _ask_for_change(port: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_PATIENCE)
    try:
        connection.request("GET", "/change")
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        raise NotMeasuredError(f"nothing was changed: {error!r}") from error
    finally:
        connection.close()
    if status != 200:
        raise NotMeasuredError(f"nothing was changed: status {status}")


@contextlib.contextmanager
def _load(port: int) -> Iterator[Callable[[], dict[str, Any]]]:
    """Load the port from another process; what is returned ends it and returns what came of it."""
    command = [sys.executable, "-m", "bench.openload", str(port)]
    with subprocess.Popen(
        command,
        cwd=Path(__file__).parents[1],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as client:

        def end() -> dict[str, Any]:
            try:
                said = json.loads(client.communicate("", timeout=TIMEOUT + 30)[0])
            except (subprocess.TimeoutExpired, ValueError) as error:
                raise NotMeasuredError("the load did not end") from error
            assert isinstance(said, dict)
            return said

        try:
            assert client.stdout is not None
            client.stdout.readline()
            yield end
        finally:
            client.kill()
