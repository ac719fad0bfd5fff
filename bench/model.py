"""What was measured, as plain data: the one thing that measures, table, goals and JSON share.

Invariants:
    * A row without values carries a note that says why.
    * Every ratio is between rows of one measure, hence of one run on one machine.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, Literal

__all__ = ["FORMAT", "Column", "Goal", "Measure", "Report", "Row", "median_interval", "quantile", "spread"]

FORMAT = 1
"""The ``v`` field of the JSON file; raised when a field changes its meaning."""


@dataclasses.dataclass(frozen=True, slots=True)
class Column:
    """One number of every row.

    Attributes:
        key: its name in ``Row.values``.
        title: its heading, with the unit.
        digits: decimals shown.
    """

    key: str
    title: str
    digits: int = 1


@dataclasses.dataclass(frozen=True, slots=True)
class Row:
    """One contender in one measure.

    Attributes:
        name: the contender as shown.
        family: rows of one family do the same work and are compared first (``asgi``, ``wsgi``, ``aiohttp``).
        ours: whether it is livecore.
        values: by the key of the column; empty when nothing could be measured.
        samples: the single measurements behind the values.
        note: what a reader must know, as ``"3 of 10 edits never seen"``.
        flawed: whether it did not do all of the work. It is shown, but a ratio with it would reward what it
            left out: a request that was refused has not waited.
    """

    name: str
    family: str = ""
    ours: bool = False
    values: dict[str, float] = dataclasses.field(default_factory=dict)
    samples: tuple[float, ...] = ()
    note: str = ""
    flawed: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Measure:
    """One table.

    Attributes:
        key: its name in the JSON file.
        title: its heading.
        columns: what is shown, in order.
        lead: the key of the column that ratios are made of, or ``""`` for none.
        better: whether less or more of the lead is better.
        rows: the contenders.
    """

    key: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    lead: str = ""
    better: Literal["lower", "higher"] = "lower"

    def ratio(self, row: Row) -> tuple[float, str] | None:
        """Return the row's lead by that of the row it is compared with, and that row's name.

        A peer is compared with livecore, livecore with the best peer that did all of the work; both with the
        same family if there is such a row. None where there is nothing to compare, or it is zero.
        """
        sound = [other for other in self.rows if self.lead in other.values and not other.flawed]
        rivals = [other for other in sound if other.ours is not row.ours]
        rivals = [other for other in rivals if other.family == row.family] or rivals
        if row not in sound or not rivals:
            return None
        pick = min if self.better == "lower" else max
        rival = pick(rivals, key=lambda other: other.values[self.lead])
        base = rival.values[self.lead]
        return (row.values[self.lead] / base, rival.name) if base else None

    def row(self, name: str) -> Row | None:
        """Return the row of this name if it has values."""
        return next((row for row in self.rows if row.name == name and row.values), None)


@dataclasses.dataclass(frozen=True, slots=True)
class Goal:
    """One number that livecore set itself.

    Attributes:
        text: what is measured.
        limit: the goal; values up to it meet it.
        got: what was measured.
        unit: of both.
        span: the interval that holds it, where one number could be chance.
    """

    text: str
    limit: float
    got: float
    unit: str = ""
    span: tuple[float, float] | None = None

    @property
    def met(self) -> bool:
        """Whether it is reached."""
        return self.got <= self.limit

    @property
    def verdict(self) -> str:
        """``met`` or ``missed``; ``not decided`` when the interval holds values on both sides."""
        low, high = self.span or (self.got, self.got)
        if low <= self.limit < high:
            return "not decided"
        return "met" if high <= self.limit else "missed"


@dataclasses.dataclass(frozen=True, slots=True)
class Report:
    """One run of the benchmark.

    Attributes:
        machine: facts in words, as ``{"cores": "2"}``.
        plan: how much was measured.
        measures: the tables in order.
        goals: livecore's own goals, as far as they were measured.
    """

    machine: dict[str, str]
    plan: dict[str, Any]
    measures: tuple[Measure, ...]
    goals: tuple[Goal, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return JSON types; ratios and verdicts are written out, so that readers need no rules."""
        measures = []
        for measure in self.measures:
            rows = []
            for row in measure.rows:
                ratio = measure.ratio(row)
                more = {"ratio": ratio[0], "ratio_to": ratio[1]} if ratio else {}
                rows.append({**dataclasses.asdict(row), **more})
            measures.append({**dataclasses.asdict(measure), "rows": rows})
        goals = [
            {**dataclasses.asdict(goal), "met": goal.met, "verdict": goal.verdict} for goal in self.goals
        ]
        return {
            "v": FORMAT,
            "machine": self.machine,
            "plan": self.plan,
            "measures": measures,
            "goals": goals,
        }


def quantile(samples: Sequence[float], share: float) -> float:
    """Return the smallest sample that is at least as large as ``share`` of all (nearest rank)."""
    if not samples:
        raise ValueError("no samples: nothing was measured")
    ordered = sorted(samples)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def median_interval(samples: Sequence[float], confidence: float = 0.95) -> tuple[float, float]:
    """Return the ends of the interval that holds the median of what was sampled.

    By order statistics, so that nothing is assumed about the distribution: the k-th smallest and the k-th
    largest sample enclose it unless fewer than k of n samples lie on one side of it, which is a matter of
    tossing a coin n times. With fewer than 6 samples no pair has 95 %, and these are the extremes.
    """
    if not samples:
        raise ValueError("no samples: nothing was measured")
    ordered = sorted(samples)
    count = len(ordered)
    outside = 0.0
    rank = 0
    for fewer in range(count // 2):
        outside += 2 * math.comb(count, fewer) / 2**count
        if outside > 1 - confidence:
            break
        rank = fewer
    return ordered[rank], ordered[count - 1 - rank]


def spread(samples: Sequence[float]) -> dict[str, float]:
    """Return ``p50``, ``p95``, ``min`` and ``max``; with a few samples p95 is simply the largest."""
    return {
        "p50": quantile(samples, 0.5),
        "p95": quantile(samples, 0.95),
        "min": min(samples),
        "max": max(samples),
    }
