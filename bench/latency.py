"""From the save to the first answer by the new code, and what livecore says about the way there.

A client asks in a tight loop on fresh connections from the save on. The first edit of each run is not
counted: it pays for caches that any later one finds filled, with every contender.
"""

from __future__ import annotations

import dataclasses
import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bench.contenders import Contender
from bench.goals import SAME_PACE
from bench.model import Column, Measure, Row, quantile, spread
from bench.plan import Plan
from bench.serving import NotMeasuredError, Serving
from bench.sources import SaveStyle, Weight

__all__ = ["Said", "measure_latency", "measure_pause"]

Said = dict[str, list[dict[str, Any]]]
"""livecore's own records of committed reloads, by the name of the run."""

_BLIND = 2
"""After so many edits in a row that were never seen the rest is not waited for."""

_HOW: dict[SaveStyle, str] = {"rename": "saved by rename", "inplace": "saved in place"}


def measure_latency(
    contenders: Sequence[Contender],
    folder: Path,
    plan: Plan,
    *,
    weight: Weight,
    style: SaveStyle,
    said: Said,
    progress: Callable[[str], None],
) -> Measure:
    """Measure all contenders one after the other; livecore's records are added to ``said``."""
    rows = []
    for contender in contenders:
        name = f"{contender.name}, {weight}, {style}"
        progress(f"edit to new answer: {name}")
        run = Serving(contender, folder / name.replace(" ", "-").replace(",", ""), weight=weight)
        try:
            with run as serving:
                rows.append(_edits(serving, plan, style, weight))
                if contender.ours:
                    said[name] = [r for r in serving.records() if r["outcome"] == "committed"][1:]
        except NotMeasuredError as error:
            rows.append(Row(contender.name, contender.family, contender.ours, note=str(error)))
        if weight == "heavy" and contender.name == "livecore asgi" and style == "rename":
            progress("edit to new answer: the same without the heavy imports")
            rows.append(_light_at_heavy_pace(contender, folder / "pace", plan, style))
    gap = plan.pace(weight, style)[1]
    return Measure(
        f"latency_{weight}_{style}",
        f"Edit to first answer by new code, {weight} app, {_HOW[style]}, every {gap:g} s",
        (Column("p50", "p50 ms"), Column("p95", "p95 ms"), Column("max", "max ms")),
        tuple(rows),
        lead="p50",
    )


def _light_at_heavy_pace(contender: Contender, folder: Path, plan: Plan, style: SaveStyle) -> Row:
    """Measure what the heavy imports alone cost: the rest between edits changes the numbers too."""
    try:
        with Serving(contender, folder) as serving:
            row = _edits(serving, plan, style, "heavy")
    except NotMeasuredError as error:
        row = Row("", note=str(error))
    note = row.note or "without the heavy imports, at their pace"
    return dataclasses.replace(row, name=SAME_PACE, ours=True, note=note, flawed=True)


def _edits(serving: Serving, plan: Plan, style: SaveStyle, pace: Weight) -> Row:
    count, gap = plan.pace(pace, style)
    rests = random.Random(serving.contender.name)  # the same rests in every run of the benchmark
    took: list[float | None] = []
    blind = 0
    for number in range(count + 1):
        time.sleep(gap * rests.uniform(0.5, 1.5))
        seconds = serving.latency(style, patience=plan.patience)
        blind = blind + 1 if seconds is None else 0
        if number or seconds is None:
            took.append(seconds)
        if blind == _BLIND:
            break
    samples = tuple(seconds * 1000 for seconds in took if seconds is not None)
    unseen = len(took) - len(samples)
    note = f"{unseen} of {len(took)} edits never seen" if unseen else ""
    values = spread(samples) if samples else {}
    who = serving.contender
    return Row(who.name, who.family, who.ours, values, samples, note, flawed=unseen > 0)


def measure_pause(said: Said) -> Measure:
    """Return medians of what livecore reported: total, the pause that clients feel, and every phase."""
    names: list[str] = []
    rows = []
    for run, records in said.items():
        if not records:
            rows.append(Row(run, ours=True, note="no committed reload was reported"))
            continue
        values = {
            "total": quantile([record["total_ms"] for record in records], 0.5),
            "pause": quantile([record["pause_ms"] for record in records], 0.5),
            "pause_max": max(record["pause_ms"] for record in records),
        }
        phases = dict.fromkeys(name for record in records for name in record["phases_ms"])
        names += [name for name in phases if name not in names]
        for name in phases:
            values[f"phase {name}"] = quantile(
                [record["phases_ms"].get(name, 0.0) for record in records], 0.5
            )
        rows.append(Row(run, ours=True, values=values, samples=tuple(r["pause_ms"] for r in records)))
    columns = (Column("total", "total ms"), Column("pause", "pause ms"), Column("pause_max", "longest pause"))
    return Measure(
        "pause",
        "What livecore reports of itself: medians, in ms (total from the noticed change to the commit)",
        (*columns, *(Column(f"phase {name}", name) for name in names)),
        tuple(rows),
    )
