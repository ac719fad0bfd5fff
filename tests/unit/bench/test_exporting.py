"""What counts of a load in which something is exported, and the apps that export it."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bench import exporting
from bench.exporting import Turn, compared
from bench.goals import goals
from bench.model import Measure, Row
from bench.serving import NotMeasuredError
from bench.sources import keeping
from livereload_core.posix import memfd


def turn(rest: float, export: float, took: float = 1.0) -> Turn:
    return Turn([rest] * 99 + [9 * rest], [export] * 99 + [9 * export], took)


def test_each_start_gives_one_ratio_of_its_two_windows() -> None:
    # The machine is three times as slow in the second start, and both of its windows meet that.
    values, ratios = compared([turn(1.0, 1.2), turn(3.0, 3.9, took=3.0), turn(1.0, 1.4)])
    assert ratios == pytest.approx((1.2, 1.3, 1.4))
    assert [values[f"p99_{end}"] for end in ("ratio", "low", "high")] == pytest.approx([1.3, 1.2, 1.4])
    assert values["max_rest"] == 27.0
    assert values["took"] == 1.0
    assert values["requests"] == 300


def test_a_window_without_requests_is_no_measurement() -> None:
    with pytest.raises(NotMeasuredError, match="too short"):
        compared([turn(1.0, 1.0), Turn([1.0], [], 0.001)])


def test_requests_count_in_the_window_in_which_they_were_asked() -> None:
    load = {"began": [0.9, 1.0, 1.9, 2.1], "latencies": [5.0, 0.001, 0.5, 0.002]}
    assert exporting._latencies(load, 1.0, 2.0) == [1.0, 500.0]


def test_goals_say_met_only_when_the_whole_interval_is() -> None:
    rows = tuple(
        Row(name, ours=True, values={"p99_ratio": 1.3, "p99_low": 1.1, "p99_high": high})
        for name, high in (("array", 1.4), ("dict", 1.6))
    )
    found = goals([Measure("exporting", "", (), (*rows, Row("other", note="the export did not end")))])
    assert [goal.verdict for goal in found] == ["met", "not decided"]


def test_files_in_memory_are_told_by_their_name_with_size_and_memory() -> None:
    fd = memfd.growing("livecore-segment")
    other = memfd.growing("livecore-marks")
    try:
        os.truncate(fd, 1 << 20)
        os.pwrite(fd, b"x", 0)
        found = exporting._files(os.getpid())
        assert found[os.stat(fd).st_ino] == (1 << 20, 4096)
        assert os.stat(other).st_ino not in found
        assert os.stat(fd).st_ino in exporting._large(os.getpid(), 1 << 21)
        assert os.stat(fd).st_ino not in exporting._large(os.getpid(), 1 << 23)
    finally:
        os.close(fd)
        os.close(other)


@pytest.mark.parametrize(
    "kept", [exporting._TEXTS.replace("@KEPT@", 'preserve("kept", dict)'), exporting._ARRAY]
)
def test_an_app_that_keeps_much_has_changed_all_of_it_when_it_answers(kept: str, tmp_path: Path) -> None:
    if "numpy" in kept:
        pytest.importorskip("numpy")
    file = tmp_path / "app.py"
    file.write_text(keeping(kept, 1000, 300)(3))
    app = SimpleNamespace()
    exec(compile(file.read_text(), file, "exec"), vars(app))
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def ask(path: str) -> None:
        await app.app({"type": "http", "path": path}, None, send)

    asyncio.run(ask("/hit"))
    assert not app.changes
    asyncio.run(ask("/change"))
    assert sent[-1]["body"] == b'{"version": "v3"}'
    values = app.kept() if callable(app.kept) else app.kept
    assert len(values) == 1000
    assert values[999] == 1 if callable(app.kept) else values["key 999"] == "0000001000" * 45
