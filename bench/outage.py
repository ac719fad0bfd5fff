"""What clients feel at 200 requests per second while good and broken edits are saved."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bench.contenders import BARE, Contender
from bench.model import Column, Measure, Row, quantile
from bench.openload import TIMEOUT
from bench.plan import Plan
from bench.serving import NotMeasuredError, Serving, wait_version
from bench.sources import BROKEN, save

__all__ = ["measure_outage"]

_LEAD_IN = 1.0
"""Seconds of load before the first edit and after the last one."""

Edits = Callable[[Serving], str]
"""Makes edits under load; returns a note for the row."""


def measure_outage(
    contenders: Sequence[Contender], folder: Path, plan: Plan, progress: Callable[[str], None]
) -> list[Measure]:
    """Measure good edits, then a broken one and its fix.

    A server that nobody edits shows what the load itself sees without any reason.
    """

    def good(serving: Serving) -> str:
        for _ in range(plan.good_edits):
            serving.edit("inplace")  # the one way of saving that all contenders see
            time.sleep(plan.good_gap)
        return _served_in_the_end(serving)

    def broken(serving: Serving) -> str:
        save(serving.file, BROKEN, "inplace")
        time.sleep(plan.broken)
        serving.edit("inplace")
        return _served_in_the_end(serving)

    def none(serving: Serving) -> str:
        time.sleep(plan.good_gap * plan.good_edits)
        return "no edit: the floor"

    measures = []
    for key, title, edits, seconds in (
        ("good_edits", f"{plan.good_edits} good edits", good, plan.good_edits * plan.good_gap),
        ("broken_edit", f"a syntax error for {plan.broken:g} s, then the fix", broken, plan.broken + 1),
    ):
        rows = []
        for contender in contenders:
            progress(f"200 requests/s: {key}: {contender.name}")
            rows.append(_under_load(contender, folder / key, edits, seconds + 2 * _LEAD_IN))
        if key == "good_edits":
            rows.append(_under_load(BARE["asgi"], folder / "no-edits", none, seconds + 2 * _LEAD_IN))
        measures.append(_measure(key, title, rows))
    return measures


def _measure(key: str, title: str, rows: list[Row]) -> Measure:
    columns = (
        Column("requests", "requests", 0),
        Column("failed", "failed", 0),
        Column("p50", "p50 ms"),
        Column("p99", "p99 ms"),
        Column("max", "longest ms"),
    )
    return Measure(key, f"200 requests/s on fresh connections: {title}", columns, tuple(rows), lead="max")


def _under_load(contender: Contender, folder: Path, edits: Edits, seconds: float) -> Row:
    family, ours = contender.family, contender.ours
    try:
        with Serving(contender, folder / contender.name.replace(" ", "-")) as serving:
            said, note = _load(serving, edits, seconds)
    except NotMeasuredError as error:
        return Row(contender.name, family, ours, note=str(error))
    # One that ran out of patience has waited as well, and for nothing.
    waits = [seconds * 1000 for seconds in said["latencies"]]
    values = {"requests": float(said["good"] + said["failed"]), "failed": float(said["failed"])}
    if waits:
        values |= {"p50": quantile(waits, 0.5), "p99": quantile(waits, 0.99), "max": max(waits)}
    if "timeout" in said["kinds"]:
        values["max"] = max(values.get("max", 0.0), TIMEOUT * 1000)
    kinds = ", ".join(f"{count} {kind}" for kind, count in said["kinds"].items())
    return Row(
        contender.name,
        family,
        ours,
        values,
        note="; ".join(filter(None, (kinds, note))),
        flawed=bool(said["failed"] or note),
    )


def _load(serving: Serving, edits: Edits, seconds: float) -> tuple[dict[str, Any], str]:
    command = [sys.executable, "-m", "bench.openload", str(serving.port), str(seconds)]
    repository = Path(__file__).parents[1]
    with subprocess.Popen(command, cwd=repository, stdout=subprocess.PIPE, text=True) as client:
        try:
            assert client.stdout is not None
            client.stdout.readline()
            time.sleep(_LEAD_IN)
            note = edits(serving)
            out, _ = client.communicate(timeout=seconds + TIMEOUT + 30)
        except subprocess.TimeoutExpired as error:
            raise NotMeasuredError(f"the load did not end within {error.timeout:g} s") from error
        finally:
            client.kill()
    said = json.loads(out)
    assert isinstance(said, dict)
    return said, note


def _served_in_the_end(serving: Serving) -> str:
    version = f"v{serving.number}"
    seen = wait_version(serving.port, version, began=time.perf_counter(), patience=5.0)
    return "" if seen is not None else "the last edit never went live"
