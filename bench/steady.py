"""What livecore costs while nothing is edited: the same server with it and without it, both up at once.

The two are loaded in short turns, A B B A, on one core, with the client on another one. Each such quad
gives one ratio, for a ratio of two medians says nothing on a machine whose speed changes by a tenth from
second to second. Each start of the two gives the median of its quads: where a process happens to have its
memory makes it several per cent faster or slower for its whole life. What is reported is the median of the
starts with the interval that holds it with 95 %. A server against itself is measured the same way, and shows
what the method can tell apart.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from bench.contenders import PAIRS, Contender, Pair
from bench.model import Column, Measure, Row, median_interval, quantile
from bench.pairedload import CONNECTIONS
from bench.plan import Plan
from bench.serving import NotMeasuredError, Serving

__all__ = ["COMPARED", "compared", "measure_steady"]

COMPARED = ("rps", "p99", "cpu")
"""Numbers of which ratios are told."""

_COLUMNS = (
    Column("rps", "requests/s", 0),
    Column("p50", "p50 ms", 2),
    Column("p99", "p99 ms", 2),
    Column("cpu", "cpu µs/request", 1),
    Column("more", "µs more than bare", 1),
    *(
        Column(f"{key}_{end}", title, 3)
        for key, words in (("rps", "requests/s"), ("p99", "p99"), ("cpu", "cpu"))
        for end, title in (("ratio", f"{words} by bare"), ("low", "from"), ("high", "to"))
    ),
)

Quads = list[dict[str, dict[str, float]]]
"""What ``bench.pairedload`` printed."""


def measure_steady(
    contenders: Sequence[Contender], folder: Path, plan: Plan, progress: Callable[[str], None]
) -> Measure:
    """Measure each pair, and each bare server against itself."""
    rows: list[Row] = []
    wanted = {contender.family for contender in contenders if contender.ours}
    for pair in PAIRS:
        if pair.family not in wanted:
            continue
        for ours in (pair.ours, pair.again) if pair.weight == "light" and not pair.fresh else (pair.ours,):
            progress(f"steady load: {ours.name} and {pair.bare.name} in turns")
            rows += _pair(pair, ours, folder / ours.name.replace(" ", "-"), plan)
    seconds = plan.turn_seconds
    return Measure(
        "steady",
        f"Steady load on {CONNECTIONS} connections, kept or one for each request, {plan.steady_starts} "
        f"starts with {plan.quads} quads of turns of {seconds:g} s; medians, ratios with their 95 % interval",
        _COLUMNS,
        tuple(rows),
    )


def compared(starts: Sequence[Quads]) -> dict[str, float]:
    """Return the ratios of a to b: for each number its median and the ends of its interval. Pure.

    ``more`` is how many microseconds a request takes longer in a, in which one core is always busy.
    """
    values: dict[str, float] = {}
    for key in COMPARED:
        ratios = [quantile([quad["a"][key] / quad["b"][key] for quad in quads], 0.5) for quads in starts]
        low, high = median_interval(ratios)
        values |= {f"{key}_ratio": quantile(ratios, 0.5), f"{key}_low": low, f"{key}_high": high}
    more = [
        quantile([1e6 / quad["a"]["rps"] - 1e6 / quad["b"]["rps"] for quad in quads], 0.5) for quads in starts
    ]
    return values | {"more": quantile(more, 0.5)}


def _pair(pair: Pair, ours: Contender, folder: Path, plan: Plan) -> list[Row]:
    try:
        starts = [_start(pair, ours, folder / str(number), plan) for number in range(plan.steady_starts)]
    except NotMeasuredError as error:
        return [Row(ours.name, pair.family, ours.ours, note=str(error))]
    rows = []
    quads = [quad for start in starts for quad in start]
    for contender, key in ((ours, "a"), (pair.bare, "b")):
        medians = {name: quantile([quad[key][name] for quad in quads], 0.5) for name in quads[0][key]}
        ratios = compared(starts) if key == "a" else {}
        samples = tuple(quad[key]["rps"] for quad in quads)
        rows.append(Row(contender.name, pair.family, contender.ours, {**medians, **ratios}, samples))
    # The bare one stands once, beside livecore.
    return rows if ours.ours else rows[:1]


def _start(pair: Pair, ours: Contender, folder: Path, plan: Plan) -> Quads:
    with (
        Serving(ours, folder / "a", weight=pair.weight) as first,
        Serving(pair.bare, folder / "b", weight=pair.weight) as second,
    ):
        time.sleep(plan.steady_settle)  # a spare interpreter that gets warm belongs to the start
        return _load(first, second, plan, fresh=pair.fresh)


def _load(first: Serving, second: Serving, plan: Plan, *, fresh: bool) -> Quads:
    cores = sorted(os.sched_getaffinity(0))
    servers = []
    for serving in (first, second):
        pids = sorted(serving.pids())
        if len(cores) > 1:
            for pid in pids:
                _pin(pid, cores[0])
        servers.append(f"{serving.port}:{','.join(map(str, pids))}")
    command = [sys.executable, "-m", "bench.pairedload", str(plan.quads), str(plan.turn_seconds), *servers]
    command += ["--core", str(cores[-1])] if len(cores) > 1 else []
    command += ["--fresh"] * fresh
    limit = (plan.quads + 1) * 4 * (plan.turn_seconds + 1) + 60
    try:
        done = subprocess.run(
            command,
            cwd=Path(__file__).parents[1],
            capture_output=True,
            text=True,
            timeout=limit,
            check=True,
        )
    except subprocess.TimeoutExpired as error:
        raise NotMeasuredError(f"the load did not end within {error.timeout:g} s") from error
    except subprocess.CalledProcessError as error:
        last = error.stderr.strip().splitlines()[-1:] or ["it said nothing"]
        raise NotMeasuredError(f"the load failed: {last[0][:100]}") from error
    return [json.loads(line) for line in done.stdout.splitlines()]


def _pin(pid: int, core: int) -> None:
    """Bind all threads of a process; those that it starts later inherit it."""
    with contextlib.suppress(OSError):  # it has ended
        for task in os.listdir(f"/proc/{pid}/task"):
            os.sched_setaffinity(int(task), {core})
