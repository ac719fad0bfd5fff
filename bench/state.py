"""Preserved state, dumped and loaded: livecore's codec beside plain pickle and dill, on the same values.

Times are of one dump and one load in this process, the best of several rounds, taken in turns so that a busy
moment of the machine meets all of them. pickle is protocol 5, as its users call it; dill too.
"""

from __future__ import annotations

import dataclasses
import pickle
import time
from collections.abc import Callable
from typing import Any

from bench.model import Column, Measure, Row
from bench.plan import Plan

__all__ = ["measure_state"]


class Node:
    """What an application keeps: an object with a few attributes."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.name = f"node {number}"
        self.tags = ["a", number]


@dataclasses.dataclass
class Point:
    """A small dataclass."""

    x: float
    y: float
    label: str


def _containers() -> list[Any]:
    return [{f"key {n}": [n, (n, float(n)), {"a": str(n)}] for n in range(8_000)}]


def _instances() -> list[Any]:
    return [[Node(n) for n in range(8_000)], [Point(n, n / 2, str(n)) for n in range(8_000)]]


def _app() -> list[Any]:
    """100 roots with 80 objects each, which hold a list each: 16,000 that can change."""
    return [{n: Node(n) for n in range(start, start + 80)} for start in range(0, 8_000, 80)]


_VALUES: tuple[tuple[str, str, Callable[[], list[Any]]], ...] = (
    ("containers", "containers", _containers),
    ("instances", "instances", _instances),
    ("app", "an app of 100 roots, 16,000 objects", _app),
)

Codec = tuple[Callable[[list[Any]], Any], Callable[[Any], list[Any]]]


def _codecs() -> dict[str, Codec]:
    import dill

    from livereload_core.state.codec import Dumper, load, uncollected, undisturbed

    def our_dump(roots: list[Any]) -> Any:
        with undisturbed():
            dumper = Dumper(roots, lambda name: True)
            return [dumper.dump(root.copy())[0] for root in roots]

    def our_load(streams: list[bytes]) -> list[Any]:
        shells = [None] * len(streams)
        with uncollected():
            return [load(stream, len(shells), shells, {}) for stream in streams]

    return {
        "pickle": (
            lambda roots: [pickle.dumps(root, 5) for root in roots],
            lambda streams: list(map(pickle.loads, streams)),
        ),
        "dill": (
            lambda roots: [dill.dumps(root) for root in roots],
            lambda streams: list(map(dill.loads, streams)),
        ),
        "livecore": (our_dump, our_load),
    }


def measure_state(plan: Plan, progress: Callable[[str], None]) -> list[Measure]:
    """Measure each kind of value; one table each."""
    found = []
    columns = (Column("dump", "dump ms", 2), Column("load", "load ms", 2), Column("both", "both ms", 2))
    for key, words, make in _VALUES:
        progress(f"state: {words}")
        took = _rounds(make(), _codecs(), plan.state_rounds)
        rows = tuple(
            Row(codec, ours=codec == "livecore", values={"dump": dump, "load": load, "both": dump + load})
            for codec, (dump, load) in took.items()
        )
        found.append(Measure(f"state_{key}", f"State: {words}", columns, rows, lead="both"))
    return found


def _rounds(value: list[Any], codecs: dict[str, Codec], rounds: int) -> dict[str, tuple[float, float]]:
    """Return the best dump and load of each codec, in milliseconds."""
    best = dict.fromkeys(codecs, (float("inf"), float("inf")))
    names = [*codecs]
    for _ in range(rounds):
        names.append(names.pop(0))  # whoever comes behind dill finds nothing in the processor's caches
        for name in names:
            dump, load = codecs[name]
            began = time.perf_counter()
            data = dump(value)
            between = time.perf_counter()
            back = load(data)
            ended = time.perf_counter()
            assert len(back) == len(value)
            del back
            was = best[name]
            best[name] = min(was[0], (between - began) * 1000), min(was[1], (ended - between) * 1000)
    return best
