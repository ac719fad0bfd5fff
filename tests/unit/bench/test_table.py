from __future__ import annotations

import dataclasses
import json

import pytest

from bench.goals import SAME_PACE, goals
from bench.model import Column, Goal, Measure, Report, Row, median_interval, quantile, spread
from bench.plan import Plan
from bench.sources import source
from bench.steady import compared
from bench.table import render, render_measure

LATENCY = Measure(
    "latency_light_rename",
    "Edit to new answer",
    (Column("p50", "p50 ms"), Column("p95", "p95 ms")),
    (
        Row("livecore asgi", "asgi", ours=True, values={"p50": 10.0, "p95": 20.0}),
        Row("livecore flask", "wsgi", ours=True, values={"p50": 20.0, "p95": 30.0}),
        Row("granian", "asgi", values={"p50": 125.0, "p95": 1300.5}),
        Row("flask", "wsgi", values={"p50": 500.0, "p95": 500.0}),
        Row("jurigged", "asgi", note="2 of 2 edits never seen", flawed=True),
    ),
    lead="p50",
)


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_a_table_shows_every_row_with_its_numbers_and_its_note() -> None:
    title, _, head, rule, *rows = render_measure(LATENCY).splitlines()
    assert title == "### Edit to new answer"
    assert cells(head) == ["", "p50 ms", "p95 ms", "ratio", ""]
    assert set(rule) <= set("|-: ")
    assert [cells(row) for row in rows] == [
        ["livecore asgi", "10.0", "20.0", "0.08x granian", ""],
        ["livecore flask", "20.0", "30.0", "0.04x flask", ""],
        ["granian", "125.0", "1,300.5", "12.50x", ""],
        ["flask", "500.0", "500.0", "25.00x", ""],
        ["jurigged", "-", "-", "-", "2 of 2 edits never seen"],
    ]


def test_all_lines_of_a_table_have_one_width() -> None:
    assert len({len(line) for line in render_measure(LATENCY).splitlines()[2:]}) == 1


def test_a_peer_is_compared_with_livecore_and_livecore_with_the_best_peer_of_its_family() -> None:
    ours, _, granian, flask, jurigged = LATENCY.rows
    assert LATENCY.ratio(granian) == (12.5, "livecore asgi")
    assert LATENCY.ratio(flask) == (25.0, "livecore flask")
    assert LATENCY.ratio(ours) == (0.08, "granian")
    assert LATENCY.ratio(jurigged) is None


def test_a_row_without_a_peer_of_its_family_is_compared_with_the_best_of_all() -> None:
    aiohttp = Row("livecore aiohttp", "aiohttp", ours=True, values={"p50": 25.0, "p95": 30.0})
    measure = dataclasses.replace(LATENCY, rows=(aiohttp, *LATENCY.rows))
    assert measure.ratio(aiohttp) == (0.2, "granian")


def test_a_peer_that_failed_at_the_work_is_never_the_best() -> None:
    quick = Row("granian", "asgi", values={"max": 1.0}, note="582 refused", flawed=True)
    slow = Row("uvicorn", "asgi", values={"max": 50.0})
    ours = Row("livecore asgi", "asgi", ours=True, values={"max": 5.0})
    measure = Measure("good_edits", "", (Column("max", "longest ms"),), (ours, quick, slow), lead="max")
    assert measure.ratio(ours) == (0.1, "uvicorn")
    assert measure.ratio(quick) is None


def test_more_is_better_where_the_measure_says_so() -> None:
    ours = Row("livecore asgi", "asgi", ours=True, values={"rps": 980.0})
    bare = Row("bare uvicorn", "asgi", values={"rps": 1000.0})
    slow = Row("other", "asgi", values={"rps": 10.0})
    measure = Measure(
        "steady", "", (Column("rps", "rps", 0),), (ours, bare, slow), lead="rps", better="higher"
    )
    assert measure.ratio(ours) == (0.98, "bare uvicorn")


def test_a_measure_without_anything_to_compare_has_no_ratio_column() -> None:
    pause = Measure("pause", "Pause", (Column("pause", "ms"),), (Row("livecore", values={"pause": 3.0}),))
    assert cells(render_measure(pause).splitlines()[2]) == ["", "ms"]


def test_the_report_shows_the_machine_the_tables_and_the_goals() -> None:
    report = Report({"cores": "2", "python": "CPython"}, {}, (LATENCY,), (Goal("speed", 20, 10.04, " ms"),))
    text = render(report)
    assert text.startswith("cores   2\npython  CPython\n\n### Edit")
    assert cells(text.splitlines()[-1]) == ["speed", "20 ms", "10.04 ms", "met"]


def test_the_json_carries_the_ratios_and_verdicts_that_the_table_shows() -> None:
    said = json.loads(json.dumps(Report({}, {"edits": 3}, (LATENCY,), (Goal("g", 1, 2),)).as_json()))
    rows = {row["name"]: row for row in said["measures"][0]["rows"]}
    assert (rows["granian"]["ratio"], rows["granian"]["ratio_to"]) == (12.5, "livecore asgi")
    assert "ratio" not in rows["jurigged"]
    assert said["goals"][0]["met"] is False
    assert said["plan"] == {"edits": 3}


def test_goals_come_only_from_what_was_measured() -> None:
    assert goals([]) == ()
    rows = (
        Row("livecore asgi", ours=True, values={"p50": 13.0}),
        Row(SAME_PACE, ours=True, values={"p50": 10.0}, flawed=True),
    )
    heavy = Measure("latency_heavy_rename", "", (), rows)
    found = goals([LATENCY, heavy])
    assert [(goal.limit, goal.got, goal.met) for goal in found] == [
        (20, 10.0, True),
        (40, 20.0, True),
        (1.2, 1.3, False),
    ]


def test_the_pause_is_held_against_a_hand_over_to_an_event_loop() -> None:
    def row(name: str, pause: float, *, ours: bool = False, flawed: bool = False) -> Row:
        values = {"pause": pause, "open": 100.0, "kept": 100.0} if ours else {"pause": pause}
        return Row(name, "100 sockets", ours, values, flawed=flawed)

    rows = (
        row("floor: 100 fds to another process", 0.1),
        row("100 fds to an event loop", 2.0),
        row("100 fds to an event loop that answers each client", 7.0),
        row("livecore asgi, 100 WebSockets", 8.0, ours=True),
        row("livecore aiohttp, 100 WebSockets", 1.0, ours=True, flawed=True),
    )
    found = goals([Measure("websockets_pause", "", (), rows, lead="pause")])
    assert [(goal.limit, goal.got) for goal in found] == [(5, 4.0), (0, 0.0), (0, 0.0)]


def test_quantiles_are_samples_that_were_seen() -> None:
    assert quantile([3.0, 1.0, 2.0], 0.5) == 2.0
    assert quantile([3.0, 1.0, 2.0], 0.95) == 3.0
    assert spread([4.0]) == {"p50": 4.0, "p95": 4.0, "min": 4.0, "max": 4.0}
    with pytest.raises(ValueError, match="no samples"):
        quantile([], 0.5)


def test_the_interval_of_a_median_comes_from_the_ranks_alone() -> None:
    # The tables of the binomial distribution: with 15 samples the 4th and the 12th enclose it with 96.5 %.
    samples = [float(number) for number in range(15)]
    assert median_interval(samples) == (3.0, 11.0)
    assert median_interval([sample**3 for sample in reversed(samples)]) == (27.0, 1331.0)
    assert median_interval([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]) == (1.0, 6.0)
    assert median_interval([2.0, 1.0]) == (1.0, 2.0)
    with pytest.raises(ValueError, match="no samples"):
        median_interval([])


def test_ratios_are_made_within_a_quad_so_that_what_both_meet_does_not_count() -> None:
    speeds = [1000.0, 4000.0, 250.0, 2000.0, 500.0, 1500.0]  # the machine, not the servers
    quads = [
        {"a": {"rps": 0.9 * speed, "p99": 2.0, "cpu": 55.0}, "b": {"rps": speed, "p99": 2.0, "cpu": 50.0}}
        for speed in speeds
    ]
    values = compared([[quad] for quad in quads])
    assert [values[f"rps_{end}"] for end in ("ratio", "low", "high")] == pytest.approx([0.9, 0.9, 0.9])
    assert values["cpu_ratio"] == pytest.approx(1.1)
    # 1 / 900 s is 111 µs more than 1 / 1000 s; the median of the speeds is what counts here.
    assert values["more"] == pytest.approx(1e6 / 900 - 1e6 / 1000, rel=0.5)
    assert values["p99_ratio"] == 1.0


def test_a_start_counts_once_however_often_it_was_loaded() -> None:
    slow, fast = (
        {"a": {"rps": rps, "p99": 2.0, "cpu": 50.0}, "b": {"rps": 1000.0, "p99": 2.0, "cpu": 50.0}}
        for rps in (900.0, 1000.0)
    )
    values = compared([[slow] * 50, [fast], [fast, slow, fast]])
    assert (values["rps_ratio"], values["rps_low"]) == (1.0, 0.9)


@pytest.mark.parametrize(
    ("low", "got", "high", "verdict"),
    [
        (1, 2, 4, "met"),
        (1, 2, 5, "met"),
        (4, 4.5, 6, "not decided"),
        (4, 6, 7, "not decided"),
        (6, 7, 8, "missed"),
    ],
)
def test_a_goal_is_decided_when_the_whole_interval_lies_on_one_side(
    low: float, got: float, high: float, verdict: str
) -> None:
    assert Goal("cost", 5, got, " %", (low, high)).verdict == verdict


def test_the_goals_of_the_steady_load_are_about_livecore_with_its_interval() -> None:
    values = {f"{key}_{end}": number for key in ("rps", "p99", "cpu") for end, number in RATIOS.items()}
    rows = (
        Row("livecore aiohttp", "aiohttp", True, values),
        Row("bare aiohttp, again", "aiohttp", False, values),
    )
    found = goals([Measure("steady", "", (), rows)])
    assert [goal.text.partition(":")[0] for goal in found] == ["livecore aiohttp"] * 3
    fewer, longer, more = found
    assert [fewer.got, *(fewer.span or ())] == pytest.approx([-2, -7, 1])
    assert [longer.got, *(longer.span or ())] == pytest.approx([2, -1, 7])
    assert (more.verdict, fewer.verdict) == ("not decided", "met")


RATIOS = {"ratio": 1.02, "low": 0.99, "high": 1.07}


def test_the_number_of_edits_comes_from_the_environment() -> None:
    assert Plan.from_environment({}).edits == Plan().edits
    assert Plan.from_environment({"BENCH_EDITS": "7"}).edits == 7
    assert Plan.from_environment({"BENCH_QUICK": "1"}).edits < Plan().edits
    few = Plan.from_environment({"BENCH_EDITS": "1"})
    assert (few.heavy_edits, few.heavy_inplace_edits) == (1, 1)
    assert Plan.from_environment({"BENCH_EDITS": str(Plan().edits)}) == Plan()


def test_heavy_apps_rest_longer_and_fewer_of_their_edits_are_saved_in_place() -> None:
    plan = Plan()
    assert plan.pace("light", "rename") == plan.pace("light", "inplace") == (plan.edits, plan.gap)
    assert plan.pace("heavy", "rename") == (plan.heavy_edits, plan.heavy_gap)
    assert plan.pace("heavy", "inplace") == (plan.heavy_inplace_edits, plan.heavy_gap)
    assert plan.heavy_inplace_edits < plan.heavy_edits
    with pytest.raises(ValueError, match="'many'"):
        Plan.from_environment({"BENCH_EDITS": "many"})


def test_no_two_versions_of_an_app_have_the_same_size() -> None:
    sizes = {len(source("asgi", "light", number)) for number in range(1, 60)}
    assert len(sizes) == 59
    for number in (1, 59):
        compile(source("asgi", "heavy", number), "app.py", "exec")
