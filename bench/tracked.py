"""A large dict over a reload: what it adds to the pause, and what a hit costs; plain and tracked.

A plain dict is compared with what it was, and only what differs crosses: numbers and texts where they are
other objects, lists where something else is in them.

Two engines in one process stand for the two generations. The pause is what both do between the standstill and
the new code's start: the decisive export and its adoption, after a trial, with 1,000 entries touched since.
What a reload of an empty program takes comes on top.
"""

from __future__ import annotations

import gc
import random
import sys
import time
from collections.abc import Callable
from types import FunctionType
from typing import Any

from bench.model import Column, Measure, Row
from bench.plan import Plan

__all__ = ["ahead", "declared", "forget_earlier_generations", "measure_tracked", "new_engine"]

_TOUCHED = 1_000
_HIT = 1_000
"""Keys that are read again and again: in the processor's cache, where a function call counts most."""


def measure_tracked(plan: Plan, progress: Callable[[str], None]) -> Measure:
    """Measure each kind of dict."""
    from livereload_core.state.tracked.containers import TrackedDict

    count = plan.tracked_entries
    kinds: tuple[tuple[str, Any, Callable[[int], Any]], ...] = (
        ("dict of texts of 450 bytes", dict, lambda number: f"{number:010d}" * 45),
        ("dict of numbers", dict, int),
        ("preserve.dict of numbers", TrackedDict, int),
        ("dict of lists", dict, lambda number: [number]),
        ("preserve.dict of lists", TrackedDict, lambda number: [number]),
    )
    rows = []
    for name, factory, value in kinds:
        progress(f"state: {name}, {count:,} entries")
        pauses, hit, base = _measured(factory, value, count, plan.tracked_rounds)
        pauses.sort()
        values = {"pause": pauses[len(pauses) // 2], "longest": pauses[-1], "hit": hit, "by_dict": hit / base}
        rows.append(
            Row(name, name.split()[-1], ours=factory is not dict, values=values, samples=tuple(pauses))
        )
    columns = (
        Column("pause", "pause ms (median)", 2),
        Column("longest", "longest", 2),
        Column("hit", "hit ns", 0),
        Column("by_dict", "hit, by that of a dict", 2),
    )
    title = f"State: {_TOUCHED:,} touched of {count:,} entries"
    return Measure("state_tracked", title, columns, tuple(rows), lead="pause")


def _measured(
    factory: Any, value: Callable[[int], Any], count: int, rounds: int
) -> tuple[list[float], float, float]:
    """Return the pauses of some reloads in milliseconds, and nanoseconds of a hit, there and in a dict."""
    engine = new_engine()
    kept = declared(engine, factory)
    kept.update({f"key {number}": value(number) for number in range(count)})
    draw = random.Random(1)
    pauses = []
    for _ in range(rounds):
        _touch(kept, value, count, draw)
        first = ahead(engine)
        candidate = new_engine()
        made = declared(candidate, factory)
        candidate.trial(first.data, first.handed.fds)
        first.close()
        _touch(kept, value, count, draw)
        began = time.perf_counter()
        decisive = engine.export()
        candidate.adopt(decisive.data, decisive.handed.fds)
        pauses.append((time.perf_counter() - began) * 1000)
        decisive.close()
        candidate.settle()
        candidate.commit()
        assert len(made) == count
        engine, kept = candidate, made
        del candidate, made, first, decisive
        forget_earlier_generations()
    engine.deactivate()
    keys = [f"key {draw.randrange(count)}" for _ in range(_HIT)]
    if factory is dict:
        (hit,) = _hits([kept], keys)
        return pauses, hit, hit
    hit, base = _hits([kept, dict(dict.items(kept))], keys)
    return pauses, hit, base


def ahead(engine: Any) -> Any:
    """Export as before the pause: what is much is written in slices first."""
    from livereload_core.state.store import BehindError

    while True:
        try:
            return engine.export(patient=True)
        except BehindError:
            engine.catch_up(hurry=True)


def forget_earlier_generations() -> None:
    """Let go of what a generation has frozen: in a real run it would be gone with its process."""
    gc.unfreeze()
    gc.collect()


def new_engine() -> Any:
    """Return the engine of one generation."""
    from livereload_core.state.engine import Engine

    engine = Engine(is_user_module=lambda name: False)
    engine.activate()
    return engine


def declared(engine: Any, factory: Any) -> Any:
    """Return what an engine keeps, made by ``factory`` where nothing is kept yet."""
    return engine.declare_value("kept", factory, {}, sys._getframe())


def _touch(kept: Any, value: Callable[[int], Any], count: int, draw: random.Random) -> None:
    for number in draw.sample(range(count), _TOUCHED):
        kept[f"key {number}"] = value(-number)


def _hits(dicts: list[Any], keys: list[str]) -> list[float]:
    """Return the nanoseconds of a hit in each, the best of many rounds in turns.

    Each is read by code of its own: the interpreter adapts code to the class that it meets there.
    """
    best = dict.fromkeys(range(len(dicts)), float("inf"))
    reads = [FunctionType(_read.__code__.replace(co_name=f"read_{number}"), globals()) for number in best]
    for _ in range(300):
        for number, kept in enumerate(dicts):
            best[number] = min(best[number], reads[number](kept, keys))
    return [took / len(keys) * 1e9 for took in best.values()]


def _read(kept: Any, keys: list[str]) -> float:
    began = time.perf_counter()
    for key in keys:
        kept[key]
    return time.perf_counter() - began
