"""A large array over a reload, beside the copying of as much memory.

Two engines in one process stand for the two generations, as in ``tracked``. What is measured is the pause:
the decisive export and its adoption. At the first crossing the array has just been filled, and is written
ahead, in slices beside the program; at later ones a page in a hundred has changed since, all in one place or
each by itself.
"""

from __future__ import annotations

import gc
import random
import time
from collections.abc import Callable
from typing import Any

from bench.model import Column, Measure, Row, quantile
from bench.plan import Plan
from bench.tracked import ahead, declared, new_engine

__all__ = ["FIRST", "FLOOR", "LATER", "measure_arrays"]

FLOOR = "floor: memcpy"
FIRST = "livecore, first crossing"
LATER = ("livecore, 1 % changed, together", "livecore, 1 % changed, page by page")

_PAGE = 4096
_ROUNDS = 5


def measure_arrays(plan: Plan, progress: Callable[[str], None]) -> Measure:
    """Measure the floor, the first crossing, and later ones."""
    size = plan.array_mib << 20
    gc.collect()  # a million lists of the measurement before would be let go of in the midst of a pause
    progress(f"state: an array of {plan.array_mib:,} MiB")
    samples = {FLOOR: _copied(size), FIRST: _first(size)}
    for name, change in zip(LATER, (_together, _page_by_page), strict=True):
        progress(f"state: an array of {plan.array_mib:,} MiB, {name.partition(', ')[2]}")
        samples[name] = _later(size, change)
    rows = [
        Row(name, "array", name != FLOOR, {"p50": quantile(took, 0.5), "longest": max(took)}, tuple(took))
        for name, took in samples.items()
    ]
    columns = (Column("p50", "ms (median)", 1), Column("longest", "longest", 1))
    return Measure("state_arrays", f"State: an array of {plan.array_mib:,} MiB", columns, tuple(rows))


def _copied(size: int) -> list[float]:
    import numpy

    source, target = numpy.ones(size // 8), numpy.ones(size // 8)
    took = []
    for _ in range(_ROUNDS):
        began = time.perf_counter()
        numpy.copyto(target, source)
        took.append((time.perf_counter() - began) * 1000)
    return took


def _made(size: int) -> Callable[[], Any]:
    import numpy

    return lambda: numpy.zeros(size // 8)


def _first(size: int) -> list[float]:
    took = []
    for _ in range(_ROUNDS):
        engine, candidate = new_engine(), new_engine()
        kept, made = declared(engine, _made(size)), declared(candidate, _made(size))
        kept[:] = 1.5
        first = ahead(engine)
        candidate.trial(first.data, first.handed.fds)
        first.close()
        took.append(_pause(engine, candidate))
        assert made[-1] == 1.5
        engine.deactivate()
        candidate.deactivate()
    return took


def _pause(engine: Any, candidate: Any) -> float:
    # The generation before this one is in a process of its own as a rule, and takes its GiB with it.
    gc.collect()
    began = time.perf_counter()
    decisive = engine.export()
    candidate.adopt(decisive.data, decisive.handed.fds)
    took = (time.perf_counter() - began) * 1000
    decisive.close()
    return took


def _later(size: int, change: Callable[[Any, random.Random, float], None]) -> list[float]:
    draw = random.Random(1)
    engine = new_engine()
    kept = declared(engine, _made(size))
    kept[:] = 1.5
    took = []
    for number in range(_ROUNDS + 1):
        ahead(engine).close()
        if engine.is_untidy:
            engine.catch_up(hurry=True)  # as background snapshots do, which come before a reload
        first = ahead(engine)
        candidate = new_engine()
        made = declared(candidate, _made(size))
        candidate.trial(first.data, first.handed.fds)
        first.close()
        change(kept, draw, float(number))
        took.append(_pause(engine, candidate))
        candidate.settle()
        candidate.commit()
        assert (made[:: _PAGE // 8] == kept[:: _PAGE // 8]).all()
        engine, kept = candidate, made
    engine.deactivate()
    return took[1:]  # before the second one nothing was ahead of it


def _together(kept: Any, draw: random.Random, value: float) -> None:
    part = len(kept) // 100
    start = draw.randrange(len(kept) - part)
    kept[start : start + part] = value


def _page_by_page(kept: Any, draw: random.Random, value: float) -> None:
    pages = len(kept) * 8 // _PAGE
    for page in draw.sample(range(pages), max(1, pages // 100)):
        kept[page * (_PAGE // 8)] = value
