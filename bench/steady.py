"""What livecore costs while nothing is edited: the same server with it and without it, in turns.

Both servers run at once and are loaded one after the other, again and again: so whatever else the machine
does in the meantime meets both. The one that begins changes with every round.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from bench.closedload import CONNECTIONS
from bench.contenders import BARE, Contender
from bench.model import Column, Measure, Row, quantile
from bench.plan import Plan
from bench.serving import NotMeasuredError, Serving

__all__ = ["measure_steady", "parse_wrk"]

_UNITS = {"us": 0.001, "ms": 1.0, "s": 1000.0}


def measure_steady(
    contenders: Sequence[Contender], folder: Path, plan: Plan, progress: Callable[[str], None]
) -> Measure:
    """Measure each livecore contender whose server can run bare."""
    rows: list[Row] = []
    for contender in contenders:
        bare = BARE.get(contender.family)
        if not contender.ours or bare is None:
            continue
        progress(f"steady load: {contender.name} and {bare.name} in turns")
        rows += _pair(contender, bare, folder / contender.family, plan)
    client = "wrk" if shutil.which("wrk") else "a client in Python"
    return Measure(
        "steady",
        f"Steady load on {CONNECTIONS} kept-alive connections ({client}), medians of {plan.rounds} turns",
        (Column("rps", "requests/s", 0), Column("p50", "p50 ms", 2), Column("p99", "p99 ms", 2)),
        tuple(rows),
        lead="rps",
        better="higher",
    )


def _pair(ours: Contender, bare: Contender, folder: Path, plan: Plan) -> list[Row]:
    runs: dict[str, list[dict[str, float]]] = {ours.name: [], bare.name: []}
    try:
        with Serving(ours, folder / "ours") as first, Serving(bare, folder / "bare") as second:
            for serving in (first, second):
                _load(serving.port, plan.round_seconds / 2)  # warms up, not counted
            for number in range(plan.rounds):
                for serving in (first, second) if number % 2 == 0 else (second, first):
                    runs[serving.contender.name].append(_load(serving.port, plan.round_seconds))
    except NotMeasuredError as error:
        return [
            Row(contender.name, contender.family, contender.ours, note=str(error))
            for contender in (ours, bare)
        ]
    return [
        Row(
            contender.name,
            contender.family,
            contender.ours,
            {key: quantile([run[key] for run in runs[contender.name]], 0.5) for key in ("rps", "p50", "p99")},
            tuple(run["rps"] for run in runs[contender.name]),
        )
        for contender in (ours, bare)
    ]


def _load(port: int, seconds: float) -> dict[str, float]:
    wrk = shutil.which("wrk")
    if wrk is not None:
        duration = f"-d{max(1, round(seconds))}s"
        command = [wrk, "-t1", f"-c{CONNECTIONS}", duration, "--latency", f"http://127.0.0.1:{port}/"]
    else:
        command = [sys.executable, "-m", "bench.closedload", str(port), str(seconds)]
    try:
        done = subprocess.run(
            command,
            cwd=Path(__file__).parents[1],
            capture_output=True,
            text=True,
            timeout=seconds + 30,
            check=True,
        )
    except subprocess.TimeoutExpired as error:
        raise NotMeasuredError(f"the load did not end within {error.timeout:g} s") from error
    except subprocess.CalledProcessError as error:
        last = error.stderr.strip().splitlines()[-1:] or ["it said nothing"]
        raise NotMeasuredError(f"the load failed: {last[0][:100]}") from error
    return parse_wrk(done.stdout) if wrk is not None else dict(json.loads(done.stdout))


def parse_wrk(text: str) -> dict[str, float]:
    """Read what ``wrk --latency`` printed.

    Raises:
        NotMeasuredError: it does not look as expected.
    """
    rate = re.search(r"Requests/sec:\s+([\d.]+)", text)
    shares = {share: float(number) * _UNITS[unit] for share, number, unit in _SHARE.findall(text)}
    if rate is None or not {"50", "99"} <= shares.keys():
        raise NotMeasuredError(f"what wrk printed cannot be read: {text[-100:]!r}")
    return {"rps": float(rate[1]), "p50": shares["50"], "p99": shares["99"]}


_SHARE = re.compile(r"^\s+(\d+)%\s+([\d.]+)(us|ms|s)\s*$", re.MULTILINE)
