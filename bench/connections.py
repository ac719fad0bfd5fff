"""What open WebSockets feel: of an edit, with hundreds of them, and of the death of the serving process.

The pause is compared with floors of the same run: hand-overs of as many sockets to nobody, and to programs
that do nothing else (``handover``). Peers that start afresh lose every connection; how many each keeps is
counted by asking on all of them afterwards.
"""

from __future__ import annotations

import contextlib
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from bench.contenders import Contender
from bench.handover import measure_adoption, measure_handover, measure_transports
from bench.idle import cpu_seconds
from bench.model import Column, Measure, Row, quantile, spread
from bench.plan import Plan
from bench.serving import NotMeasuredError, Serving, wait_version
from bench.webclients import TALKERS
from livereload_core.errors import LivecoreError
from livereload_core.parent.control import request

__all__ = ["floor_name", "measure_connections", "settled"]

_MANY_FILES = 16_384
_REST = 0.3
"""Seconds of no processor time after which a spare interpreter is warm."""
_LIMIT = 30.0
_LEAD = 0.3
"""Seconds of talk before an edit."""


def measure_connections(
    contenders: Sequence[Contender], folder: Path, plan: Plan, progress: Callable[[str], None]
) -> list[Measure]:
    """Measure the pause, who keeps what over an edit, and the way back from a death."""
    _allow_files()
    ours = [one for one in contenders if one.ours and one.family != "wsgi"]
    peers = [one for one in contenders if not one.ours and one.family == "asgi"]
    return [
        _pauses(ours, folder / "pause", plan, progress),
        _keeping([*ours, *peers], folder / "kept", plan, progress),
        _deaths(ours, folder / "death", plan, progress),
    ]


def floor_name(count: int) -> str:
    """Return the name of the floor's row for so many sockets."""
    return f"floor: {count:,} fds to another process"


# -- the three tables -----------------------------------------------------------------------------------


def _pauses(ours: Sequence[Contender], folder: Path, plan: Plan, progress: Callable[[str], None]) -> Measure:
    rows = []
    for count in plan.websockets:
        family = f"{count} sockets"
        progress(f"floor: {count} fds")
        took = [seconds * 1000 for seconds in measure_handover(count, plan.floor_runs)]
        rows.append(
            Row(floor_name(count), family, values={"pause": quantile(took, 0.5)}, samples=tuple(took))
        )
        for name, measure in (
            ("to an event loop", measure_transports),
            ("to an event loop that answers each client", measure_adoption),
        ):
            progress(f"floor: {count} fds {name}")
            took = [seconds * 1000 for seconds in measure(count, plan.floor_runs)]
            values = {"pause": quantile(took, 0.5)}
            rows.append(Row(f"{count:,} fds {name}", family, values=values, samples=tuple(took)))
        for who in ours:
            progress(f"an edit with {count} WebSockets: {who.name}")
            name = f"{who.name}, {count:,} WebSockets"
            try:
                rows.append(_pause(who, name, family, folder / f"{who.family}-{count}", count, plan))
            except NotMeasuredError as error:
                rows.append(Row(name, family, ours=True, note=str(error)))
    return Measure(
        "websockets_pause",
        "An edit while WebSockets are open: the pause that livecore reports, and the longest round trip of "
        f"{TALKERS} clients that talk through it",
        (
            Column("pause", "pause ms", 2),
            Column("pause_max", "longest pause", 2),
            Column("trip", "usual round trip ms", 2),
            Column("longest", "longest round trip, p50"),
            Column("longest_max", "longest of all"),
            Column("open", "WebSockets", 0),
            Column("kept", "kept", 0),
        ),
        tuple(rows),
        lead="pause",
    )


def _pause(who: Contender, name: str, family: str, folder: Path, count: int, plan: Plan) -> Row:
    with Serving(who, folder, weight="websockets") as serving, _crowd(serving.port, count) as tell:
        said = [_edit(serving, tell, plan) for _ in range(plan.websocket_edits)]
        records = [r for r in serving.records() if r["outcome"] == "committed"]
    if not records:
        raise NotMeasuredError("no committed reload was reported")
    pauses = tuple(record["pause_ms"] for record in records)
    kept = min(one["kept"] for one in said)
    values = {"pause": quantile(pauses, 0.5), "pause_max": max(pauses)}
    values |= {"open": float(count), "kept": float(kept)}
    longest = [one["longest"] for one in said if "longest" in one]
    if longest:
        values |= {"trip": quantile([one["p50"] for one in said if "p50" in one], 0.5)}
        values |= {"longest": quantile(longest, 0.5), "longest_max": max(longest)}
    note = "" if kept == count else f"{count - kept} of {count} lost"
    return Row(name, family, True, values, pauses, note, flawed=kept != count)


def _keeping(who: Sequence[Contender], folder: Path, plan: Plan, progress: Callable[[str], None]) -> Measure:
    count = plan.websockets[0]
    rows = []
    for one in who:
        progress(f"{count} WebSockets over an edit: {one.name}")
        try:
            with (
                Serving(one, folder / one.name.replace(" ", "-"), weight="websockets") as serving,
                _crowd(serving.port, count) as tell,
            ):
                said = _edit(serving, tell, plan)
        except NotMeasuredError as error:
            rows.append(Row(one.name, one.family, one.ours, note=str(error)))
            continue
        kept = said["kept"]
        values = {"open": float(count), "kept": float(kept)}
        if kept == count and "longest" in said:
            values["longest"] = said["longest"]
        rows.append(Row(one.name, one.family, one.ours, values, note=said["note"], flawed=kept < count))
    columns = (
        Column("open", "WebSockets", 0),
        Column("kept", "kept", 0),
        Column("longest", "longest round trip ms"),
    )
    return Measure("websockets_kept", "WebSockets over one edit", columns, tuple(rows))


def _deaths(ours: Sequence[Contender], folder: Path, plan: Plan, progress: Callable[[str], None]) -> Measure:
    count = plan.websockets[0]
    rows = []
    for who in ours:
        progress(f"kill -9 with {count} WebSockets: {who.name}")
        try:
            with (
                Serving(who, folder / who.family, weight="websockets") as serving,
                _crowd(serving.port, count) as tell,
            ):
                took = [tell(f"kill {settled(serving)}")["took"] for _ in range(plan.kills)]
                kept = tell("count")["kept"]
        except NotMeasuredError as error:
            rows.append(Row(who.name, who.family, True, note=str(error)))
            continue
        samples = tuple(one for one in took if one is not None)
        values = {**spread(samples), "kept": float(kept)} if samples else {}
        lost = len(took) - len(samples)
        note = f"{lost} of {len(took)} kills without an answer on the old WebSocket" if lost else ""
        rows.append(Row(who.name, who.family, True, values, samples, note, flawed=bool(lost)))
    columns = (
        Column("p50", "p50 ms"),
        Column("p95", "p95 ms"),
        Column("max", "max ms"),
        Column("kept", f"kept of {count}", 0),
    )
    title = f"kill -9, warm spare: to the first echo on an old WebSocket, {plan.kills} kills"
    return Measure("websockets_killed", title, columns, tuple(rows))


# -- one edit, one crowd of clients -----------------------------------------------------------------------


def _edit(serving: Serving, tell: Callable[[str], dict[str, Any]], plan: Plan) -> dict[str, Any]:
    """Save the next version while a few talk; returns what ``count`` told, with a note."""
    if serving.contender.ours:
        settled(serving)
    else:
        time.sleep(plan.gap)
    tell("talk")
    time.sleep(_LEAD)
    began = serving.edit("inplace")  # the one way of saving that all contenders see
    version = f"v{serving.number}"
    live = wait_version(serving.port, version, began=began, patience=plan.patience + _LEAD)
    said = tell("count")
    return {**said, "note": "" if live is not None else "the edit never went live"}


def settled(serving: Serving) -> int:
    """Wait until one child serves and a warm spare stands by; returns the pid of the first."""
    deadline = time.monotonic() + _LIMIT
    before: tuple[int, float] | None = None
    while time.monotonic() < deadline:
        children = {child["role"]: child["pid"] for child in _status(serving)["children"]}
        if set(children) == {"active", "spare"}:
            # Nobody tells that a spare is warm; one that imports uses the processor.
            now = (children["spare"], cpu_seconds(children["spare"]))
            if now == before:
                return int(children["active"])
            before = now
        else:
            before = None
        time.sleep(_REST)
    raise NotMeasuredError(f"no warm spare within {_LIMIT:g} s")


def _status(serving: Serving) -> Any:
    try:
        return request(str(serving.file.parent), {"op": "status"}, pid=serving.pid)
    except LivecoreError as error:
        raise NotMeasuredError(f"no status: {error}") from error


@contextlib.contextmanager
def _crowd(port: int, count: int) -> Iterator[Callable[[str], dict[str, Any]]]:
    """Open WebSockets in a process of its own; what is returned tells it a line and returns the answer."""
    command = [sys.executable, "-m", "bench.webclients", str(port), str(count)]
    with subprocess.Popen(
        command,
        cwd=Path(__file__).parents[1],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as clients:
        assert clients.stdin is not None
        assert clients.stdout is not None
        told, answered = clients.stdin, clients.stdout

        def tell(line: str) -> dict[str, Any]:
            try:
                print(line, file=told, flush=True)
                said = json.loads(answered.readline())
            except (OSError, ValueError) as error:
                raise NotMeasuredError("the clients have ended") from error
            assert isinstance(said, dict)
            return said

        try:
            if answered.readline() != "open\n":
                assert clients.stderr is not None
                last = clients.stderr.read().strip().splitlines()[-1:] or ["they said nothing"]
                raise NotMeasuredError(f"the WebSockets were not opened: {last[0][:100]}")
            yield tell
        finally:
            clients.kill()


def _allow_files() -> None:
    """Raise the soft limit of open files, which children inherit: each process holds all connections."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MANY_FILES if hard == resource.RLIM_INFINITY else min(_MANY_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
