"""The command: ``python -m bench [--output FILE] [--only PART ...]``; see ``make bench``."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from bench import machine
from bench.arrays import measure_arrays
from bench.connections import measure_connections
from bench.contenders import CONTENDERS, Contender
from bench.exporting import measure_exporting
from bench.floors import measure_floors
from bench.goals import goals
from bench.idle import measure_idle
from bench.latency import Said, measure_latency, measure_pause
from bench.model import Measure, Report
from bench.outage import measure_outage
from bench.plan import Plan
from bench.sources import Weight
from bench.state import measure_state
from bench.steady import measure_steady
from bench.table import render
from bench.tracked import measure_tracked

__all__ = ["main"]

_PARTS = ("light", "heavy", "outage", "steady", "connections", "idle", "floors", "state", "exporting")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the tables, write the JSON file; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="bench", description="livecore beside its peers, on this machine, now"
    )
    parser.add_argument(
        "--output", default="bench/results.json", type=Path, metavar="FILE", help="the JSON file"
    )
    parser.add_argument("--only", nargs="+", choices=_PARTS, default=_PARTS, help="measure only these parts")
    options = parser.parse_args(arguments)
    # Where nothing may be cached, every interpreter compiles anew: no user's case, and not what is compared.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    try:
        plan = Plan.from_environment(os.environ)
    except ValueError as error:
        parser.error(str(error))
    # Clean-up stands in `finally` blocks: the default of SIGTERM would skip them and leave servers behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        report = _measure(plan, options.only)
    except KeyboardInterrupt:
        print("interrupted: nothing was written", file=sys.stderr)
        return 130
    print(render(report), end="")
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(report.as_json(), indent=1) + "\n")
    print(f"\nwritten to {options.output}", file=sys.stderr)
    return 0


def _measure(plan: Plan, parts: Sequence[str]) -> Report:
    began = time.monotonic()

    def progress(what: str) -> None:
        print(f"{time.monotonic() - began:5.0f} s  {what}", file=sys.stderr, flush=True)

    contenders = [one for one in CONTENDERS if not plan.contenders or one.name in plan.contenders]
    facts = machine.facts(contenders)
    with tempfile.TemporaryDirectory(prefix="livecore-bench-") as name:
        measures = list(_measures(plan, parts, contenders, Path(name).resolve(), progress))
    facts["load after"] = machine.load()
    facts["took"] = f"{time.monotonic() - began:.0f} s"
    return Report(facts, dataclasses.asdict(plan), tuple(measures), goals(measures))


def _measures(
    plan: Plan,
    parts: Sequence[str],
    contenders: Sequence[Contender],
    folder: Path,
    progress: Callable[[str], None],
) -> list[Measure]:
    said: Said = {}
    found: list[Measure] = []
    weights: tuple[Weight, ...] = ("light", "heavy")
    # Where a family differs only in its server's start-up, one contender per family tells all of it.
    main_ones = [one for one in contenders if one.name not in ("livecore aiohttp", "livecore flask")]
    for weight in weights:
        if weight not in parts:
            continue
        for style in plan.styles:
            who = contenders if weight == "light" else main_ones
            found.append(
                measure_latency(
                    who, folder / "latency", plan, weight=weight, style=style, said=said, progress=progress
                )
            )
    if said:
        found.append(measure_pause(said))
    if "outage" in parts:
        found += measure_outage(main_ones, folder / "outage", plan, progress)
    if "steady" in parts:
        found.append(measure_steady(contenders, folder / "steady", plan, progress))
    if "connections" in parts:
        found += measure_connections(contenders, folder / "connections", plan, progress)
    if "idle" in parts:
        found.append(measure_idle(main_ones, folder / "idle", plan, progress))
    if "floors" in parts:
        light = next(
            (measure.row("livecore asgi") for measure in found if measure.key == "latency_light_rename"), None
        )
        ours = dataclasses.replace(light, name="livecore: save to new answer") if light else None
        found.append(measure_floors(folder / "floors", plan, progress, ours=ours))
    if "state" in parts:
        found += measure_state(plan, progress)
        found.append(measure_tracked(plan, progress))
        found.append(measure_arrays(plan, progress))
    if "exporting" in parts:
        found.append(measure_exporting(folder / "exporting", plan, progress))
    return found


if __name__ == "__main__":
    sys.exit(main())
