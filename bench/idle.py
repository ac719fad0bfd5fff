"""What a contender costs while nothing happens: processor time with thousands of files watched, and memory.

Memory as PSS where the kernel tells it: pages that processes share are counted once, in parts. RSS counts
them in each process, which is what tools show.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from bench.contenders import Contender
from bench.model import Column, Measure, Row
from bench.plan import Plan
from bench.serving import NotMeasuredError, Serving
from livereload_core.testing.processes import rss

__all__ = ["cpu_seconds", "measure_idle", "pss"]

_PER_FOLDER = 50
_MIB = 1024 * 1024


def measure_idle(
    contenders: Sequence[Contender], folder: Path, plan: Plan, progress: Callable[[str], None]
) -> Measure:
    """Measure all contenders one after the other; each watches a tree of its own."""
    rows = []
    for contender in contenders:
        progress(f"idle with {plan.idle_files} files: {contender.name}")
        try:
            rows.append(_idle(contender, folder / contender.name.replace(" ", "-"), plan))
        except NotMeasuredError as error:
            rows.append(Row(contender.name, contender.family, contender.ours, note=str(error)))
    return Measure(
        "idle",
        f"Idle with {plan.idle_files:,} files watched, and memory",
        (
            Column("cpu", "cpu % watcher", 2),
            Column("cpu_all", "cpu % all", 2),
            Column("processes", "processes", 0),
            Column("rss_watcher", "RSS MiB watcher"),
            Column("pss_watcher", "PSS MiB watcher"),
            Column("rss", "RSS MiB all"),
            Column("pss", "PSS MiB all"),
        ),
        tuple(rows),
        lead="pss",
    )


def _idle(contender: Contender, folder: Path, plan: Plan) -> Row:
    for number in range(plan.idle_files):
        package = folder / f"part{number // _PER_FOLDER:03}"
        package.mkdir(parents=True, exist_ok=True)
        (package / f"module{number}.py").write_text(f"VALUE = {number}\n")
    with Serving(contender, folder) as serving:
        time.sleep(plan.idle_settle)
        before = {pid: cpu_seconds(pid) for pid in serving.pids()}
        began = time.perf_counter()
        time.sleep(plan.idle_seconds if contender.ours else plan.idle_seconds / 2)
        took = time.perf_counter() - began
        living = serving.pids()
        # A process that was born in between has all its time from this span.
        used = {pid: cpu_seconds(pid) - before.get(pid, 0.0) for pid in living}
        resident = {pid: rss(pid) for pid in living}
        proportional = {pid: pss(pid) for pid in living}
        watcher = serving.pid
    values = {
        "cpu": used.get(watcher, 0.0) / took * 100,
        "cpu_all": sum(used.values()) / took * 100,
        "processes": float(len(living)),
        "rss_watcher": resident.get(watcher, 0) / _MIB,
        "pss_watcher": proportional.get(watcher, 0) / _MIB,
        "rss": sum(resident.values()) / _MIB,
        "pss": sum(proportional.values()) / _MIB,
    }
    return Row(contender.name, contender.family, contender.ours, values)


def cpu_seconds(pid: int) -> float:
    """Return the processor time of all threads of a process; 0.0 when it has ended.

    From the scheduler's nanoseconds where there are any: the clock ticks of ``stat`` are 10 ms, as long as
    all that an idle process uses in seconds.
    """
    total = 0
    with contextlib.suppress(OSError, ValueError, IndexError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            total += int((task / "schedstat").read_text().split()[0])
        if total:
            return total / 1e9
    with contextlib.suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return 0.0


def pss(pid: int) -> int:
    """Return the proportional memory of a process in bytes; 0 when it has ended or nobody tells."""
    with contextlib.suppress(OSError):
        found = re.search(r"^Pss:\s+(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
        return int(found[1]) * 1024 if found else 0
    return 0
