"""The tables as text: pure, from the report alone."""

from __future__ import annotations

from collections.abc import Sequence

from bench.model import Goal, Measure, Report, Row

__all__ = ["render", "render_goals", "render_measure"]


def render(report: Report) -> str:
    """Return everything that is printed: the machine, one table per measure, the goals."""
    width = max((len(name) for name in report.machine), default=0)
    parts = ["\n".join(f"{name:<{width}}  {value}" for name, value in report.machine.items())]
    parts += [render_measure(measure) for measure in report.measures if measure.rows]
    if report.goals:
        parts.append(render_goals(report.goals))
    return "\n\n".join(parts) + "\n"


def render_measure(measure: Measure) -> str:
    """Return one measure as a Markdown table under its title.

    The column ``ratio`` holds for a peer how many times livecore's number its own is, and for livecore how
    many times that of the best peer, which is named.
    """
    compared = any(measure.ratio(row) for row in measure.rows)
    noted = any(row.note for row in measure.rows)
    head = ["", *(column.title for column in measure.columns)]
    head += ["ratio"] * compared + [""] * noted
    lines = []
    for row in measure.rows:
        cells = [row.name]
        for column in measure.columns:
            value = row.values.get(column.key)
            cells.append("-" if value is None else f"{value:,.{column.digits}f}")
        cells += [_ratio(measure, row)] * compared + [row.note] * noted
        lines.append(cells)
    return f"### {measure.title}\n\n{_markdown(head, lines, left={0, len(head) - 1 if noted else 0})}"


def render_goals(goals: Sequence[Goal]) -> str:
    """Return livecore's goals and how near this run came."""
    lines = [
        [
            goal.text,
            f"{goal.limit:,g}{goal.unit}",
            f"{goal.got:,.4g}{goal.unit}"
            + (f" ({goal.span[0]:,.3g} to {goal.span[1]:,.3g})" if goal.span else ""),
            goal.verdict,
        ]
        for goal in goals
    ]
    return f"### Goals of livecore in this run\n\n{_markdown(['', 'at most', 'got', ''], lines, left={0, 3})}"


def _span(goal: Goal) -> str:
    return f" ({goal.span[0]:,.3g} to {goal.span[1]:,.3g})" if goal.span else ""


def _ratio(measure: Measure, row: Row) -> str:
    ratio = measure.ratio(row)
    if ratio is None:
        return "-"
    number, rival = ratio
    return f"{number:.2f}x {rival}" if row.ours else f"{number:.2f}x"


def _markdown(head: Sequence[str], lines: Sequence[Sequence[str]], *, left: set[int]) -> str:
    widths = [max(3, *(len(line[index]) for line in [head, *lines])) for index in range(len(head))]

    def row(cells: Sequence[str]) -> str:
        padded = (
            f"{cell:<{width}}" if index in left else f"{cell:>{width}}"
            for index, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )
        return f"| {' | '.join(padded)} |"

    rule = [("-" * width if index in left else "-" * (width - 1) + ":") for index, width in enumerate(widths)]
    return "\n".join([row(head), row(rule), *(row(line) for line in lines)])
