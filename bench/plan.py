"""How much is measured, from the environment.

``BENCH_QUICK=1`` is a smoke run of less than a minute: it shows that everything works, its numbers mean
little. ``BENCH_EDITS=N`` sets the edits per contender and way of saving; the default keeps the whole under
10 minutes on 2 cores.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from bench.sources import SaveStyle, Weight

__all__ = ["Plan"]


@dataclasses.dataclass(frozen=True, slots=True)
class Plan:
    """The sizes of one run. Times are seconds.

    Attributes:
        edits: counted edits per contender and way of saving, light apps.
        heavy_edits: the same for apps with heavy imports.
        heavy_inplace_edits: and for those, where they are saved in place.
        gap: mean rest between an answer and the next edit; the same for all, and long enough for each to come
            to rest. Varied by half, so that no watcher that polls is met in step.
        heavy_gap: the same for apps with heavy imports.
        patience: after this time an edit counts as never seen.
        styles: the ways of saving.
        contenders: names of those that take part, empty for all.
        good_edits: edits under load.
        good_gap: time between these.
        broken: how long the syntax error stays under load.
        steady_starts: of each pair of servers under a steady load.
        quads: of turns A B B A for each of these starts.
        turn_seconds: the length of one turn.
        steady_settle: rest before them.
        idle_files: files that are watched while nothing happens.
        idle_settle: rest before it: scans of the tree and a spare interpreter belong to the start.
        idle_seconds: how long livecore is looked at; peers half as long.
        floor_runs: repetitions of each floor.
        websockets: how many are open when an edit comes; the first number also where one is enough.
        websocket_edits: edits for each of these numbers.
        kills: deaths of the serving process.
        state_rounds: dumps and loads of each kind of state, per codec.
        tracked_entries: of the large dict.
        tracked_rounds: its reloads.
        array_mib: of the large array.
        export_starts: starts of a program that exports, for each kind of state.
        export_rest: seconds without anything to export.
    """

    edits: int = 10
    heavy_edits: int = 5
    heavy_inplace_edits: int = 4  # one more takes all contenders together a quarter of a minute
    gap: float = 0.5
    heavy_gap: float = 2.0
    patience: float = 3.0
    styles: tuple[SaveStyle, ...] = ("rename", "inplace")
    contenders: tuple[str, ...] = ()
    good_edits: int = 4
    good_gap: float = 1.0
    broken: float = 4.0
    steady_starts: int = 6
    quads: int = 8
    turn_seconds: float = 0.08
    steady_settle: float = 1.5
    idle_files: int = 5_000
    idle_settle: float = 3.0
    idle_seconds: float = 10.0
    floor_runs: int = 15
    websockets: tuple[int, ...] = (100, 1_000)
    websocket_edits: int = 5
    kills: int = 20
    state_rounds: int = 15
    tracked_entries: int = 1_000_000
    tracked_rounds: int = 9
    array_mib: int = 1_024
    export_starts: int = 6
    export_rest: float = 4.0

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Plan:
        """Read ``BENCH_QUICK`` and ``BENCH_EDITS``.

        Raises:
            ValueError: ``BENCH_EDITS`` is not a number of at least 1.
        """
        plan = cls()
        if environ.get("BENCH_QUICK", "") not in ("", "0"):
            plan = cls(
                edits=2,
                heavy_edits=1,
                heavy_inplace_edits=1,
                gap=0.3,
                heavy_gap=1.0,
                patience=3.0,
                styles=("rename",),
                contenders=("livecore asgi", "uvicorn"),
                good_edits=1,
                good_gap=1.0,
                broken=1.0,
                steady_starts=1,
                quads=2,
                turn_seconds=0.1,
                steady_settle=0.5,
                idle_files=500,
                idle_settle=1.0,
                idle_seconds=2.0,
                floor_runs=3,
                websockets=(100,),
                websocket_edits=1,
                kills=2,
                state_rounds=2,
                tracked_entries=20_000,
                tracked_rounds=3,
                array_mib=16,
                export_starts=1,
                export_rest=0.5,
            )
        text = environ.get("BENCH_EDITS", "")
        if not text:
            return plan
        if not text.isdigit() or int(text) < 1:
            raise ValueError(f"BENCH_EDITS is {text!r}: give a number of edits of at least 1")
        edits = int(text)
        heavy, inplace = max(1, edits // 2), max(1, edits * 2 // 5)
        return dataclasses.replace(plan, edits=edits, heavy_edits=heavy, heavy_inplace_edits=inplace)

    def pace(self, weight: Weight, style: SaveStyle) -> tuple[int, float]:
        """Return the counted edits per contender, and the mean rest before each."""
        if weight == "light":
            return self.edits, self.gap
        return (self.heavy_edits if style == "rename" else self.heavy_inplace_edits), self.heavy_gap
