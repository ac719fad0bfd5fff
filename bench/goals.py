"""livecore's own goals, held against what was measured. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from bench import arrays
from bench.model import Goal, Measure, Row

__all__ = ["SAME_PACE", "goals"]

SAME_PACE = "livecore asgi, light"
"""The row in the heavy measure that says what the same edits take without the heavy imports."""


def goals(measures: Sequence[Measure]) -> tuple[Goal, ...]:
    """Return the goals for which there are numbers."""
    by_key = {measure.key: measure for measure in measures}
    return (
        *_latency(by_key),
        *_outage(by_key),
        *_steady(by_key),
        *_connections(by_key),
        *_idle(by_key),
        *_state(by_key),
        *_exporting(by_key),
    )


def _value(measures: Mapping[str, Measure], measure: str, name: str, key: str) -> float | None:
    found = measures.get(measure)
    row = found.row(name) if found else None
    return row.values.get(key) if row else None


def _latency(measures: Mapping[str, Measure]) -> Iterator[Goal]:
    for style in ("rename", "inplace"):
        light = _value(measures, f"latency_light_{style}", "livecore asgi", "p50")
        p95 = _value(measures, f"latency_light_{style}", "livecore asgi", "p95")
        if light is not None and p95 is not None:
            yield Goal(f"edit to new answer, light, {style}, p50", 20, light, " ms")
            yield Goal(f"edit to new answer, light, {style}, p95", 40, p95, " ms")
    heavy = _value(measures, "latency_heavy_rename", "livecore asgi", "p50")
    same_pace = _value(measures, "latency_heavy_rename", SAME_PACE, "p50")
    if heavy is not None and same_pace:
        yield Goal(
            "heavy imports, rename, p50 by that of a light app at the same pace", 1.2, heavy / same_pace, "x"
        )


def _outage(measures: Mapping[str, Measure]) -> Iterator[Goal]:
    for key, words in (("good_edits", "good edits"), ("broken_edit", "a broken edit")):
        failed = _value(measures, key, "livecore asgi", "failed")
        if failed is not None:
            yield Goal(f"failed requests over {words}", 0, failed)
    p99 = _value(measures, "good_edits", "livecore asgi", "p99")
    longest = _value(measures, "good_edits", "livecore asgi", "max")
    if p99 is not None and longest is not None:
        yield Goal("requests while edits go live, p99", 10, p99, " ms")
        yield Goal("the longest of these requests", 25, longest, " ms")


def _steady(measures: Mapping[str, Measure]) -> Iterator[Goal]:
    found = measures.get("steady")
    for row in found.rows if found else ():
        if not row.ours:
            continue
        for key, words, sign in (
            ("rps", "fewer requests/s", -1),
            ("p99", "longer p99", 1),
            ("cpu", "more processor time per request", 1),
        ):
            if f"{key}_ratio" in row.values:
                got, *ends = (
                    sign * (row.values[f"{key}_{end}"] - 1) * 100 for end in ("ratio", "low", "high")
                )
                yield Goal(f"{row.name}: {words} than bare", 5, got, " %", (min(ends), max(ends)))


def _connections(measures: Mapping[str, Measure]) -> Iterator[Goal]:
    pauses = measures.get("websockets_pause")
    for row in pauses.rows if pauses else ():
        # A row that lost connections has left out the work that is measured here.
        if pauses and row.ours and not row.flawed and "pause" in row.values:
            yield from _by_a_loop(pauses, row)
    for key in ("websockets_pause", "websockets_kept"):
        found = measures.get(key)
        for row in found.rows if found else ():
            if row.ours and "open" in row.values:
                lost = row.values["open"] - row.values["kept"]
                yield Goal(f"{row.name}: WebSockets lost over an edit", 0, lost)
    deaths = measures.get("websockets_killed")
    for row in deaths.rows if deaths else ():
        if "max" in row.values:
            yield Goal(
                f"{row.name}: kill -9 to the first echo on an old WebSocket, max",
                150,
                row.values["max"],
                " ms",
            )


def _by_a_loop(pauses: Measure, row: Row) -> Iterator[Goal]:
    """Compare with the hand-over to a program that does nothing.

    That has an event loop that reads from each. Descriptors that only lie in an epoll set, the barest floor,
    are nobody's yet: the table shows how many times that is.
    """
    for other in pauses.rows:
        if other.family == row.family and other.name.endswith("loop"):
            by = row.values["pause"] / other.values["pause"]
            yield Goal(f"{row.name}: pause by {other.name}", 5, by, "x")


def _idle(measures: Mapping[str, Measure]) -> Iterator[Goal]:
    cpu = _value(measures, "idle", "livecore asgi", "cpu")
    memory = _value(measures, "idle", "livecore asgi", "rss_watcher")
    if cpu is not None and memory is not None:
        yield Goal("idle processor time of the parent", 0.5, cpu, " %")
        yield Goal("memory of the parent (RSS)", 60, memory, " MiB")


def _state(measures: Mapping[str, Measure]) -> Iterator[Goal]:
    for key, limit in (("containers", 1.1), ("instances", 1.4)):
        ours = _value(measures, f"state_{key}", "livecore", "both")
        plain = _value(measures, f"state_{key}", "pickle", "both")
        if ours is not None and plain:
            yield Goal(f"state: {key}, dump and load by those of plain pickle", limit, ours / plain, "x")
    ours = _value(measures, "state_instances", "livecore", "dump")
    dill = _value(measures, "state_instances", "dill", "dump")
    if ours is not None and dill:
        yield Goal("state: instances, dump by that of dill", 1 / 7, ours / dill, "x")
    app = _value(measures, "state_app", "livecore", "both")
    if app is not None:
        yield Goal("state: an app of 100 roots and 16,000 objects, both ways", 12, app, " ms")
    for kind in ("numbers", "lists"):
        pause = _value(measures, "state_tracked", f"preserve.dict of {kind}", "pause")
        if pause is not None:
            yield Goal(f"state: 1,000 touched of a million {kind}, in the pause", 5, pause, " ms")
    for kind, told in (("texts of 450 bytes", "texts (450 MB)"), ("lists", "lists")):
        pause = _value(measures, "state_tracked", f"dict of {kind}", "pause")
        if pause is not None:
            yield Goal(f"state: the same in a plain dict of {told}", 700, pause, " ms")
    for kind in ("numbers", "lists"):
        hit = _value(measures, "state_tracked", f"preserve.dict of {kind}", "by_dict")
        if hit is not None:
            yield Goal(f"state: a hit of preserve.dict of {kind} by that of a dict", 2, hit, "x")
    floor = _value(measures, "state_arrays", arrays.FLOOR, "p50")
    for name in (arrays.FIRST, *arrays.LATER):
        took = _value(measures, "state_arrays", name, "p50")
        if took is not None and floor:
            limit = 1.2 if name == arrays.FIRST else 0.35
            yield Goal(f"state: array, {name.partition(', ')[2]}, by memcpy of all", limit, took / floor, "x")


def _exporting(measures: Mapping[str, Measure]) -> Iterator[Goal]:
    found = measures.get("exporting")
    for row in found.rows if found else ():
        if "p99_ratio" in row.values:
            got, low, high = (row.values[f"p99_{end}"] for end in ("ratio", "low", "high"))
            yield Goal(f"{row.name}: p99 while exported by that at rest", 1.5, got, "x", (low, high))
