"""The state table and its diagram, as Markdown, printed from the table that the machine itself obeys.

Invariants:
    * Nothing about a state is known here: every word comes from ``core.states``.
    * Every step of the table is an arrow of the diagram, except those that failures share (see
      :func:`render_diagram`), which would hide all others.
"""

from __future__ import annotations

from collections.abc import Iterable

from livereload_core.core.states import PAUSED, REST, STATES, SUPERSEDABLE, State, StateInfo

__all__ = ["render_diagram", "render_table"]


def render_table() -> str:
    """Return one row per state: what happens, where it may lead, and what limits it."""
    lines = [
        "| state | what happens | on success | on failure or deadline | done then | limit |",
        "|---|---|---|---|---|---|",
    ]
    for state, info in STATES.items():
        cells = (
            f"`{_shown(state)}`",
            info.does,
            _names(info.success),
            _failure_names(info),
            info.on_failure,
            f"`--{info.deadline.replace('_', '-')}`" if info.deadline else "",
        )
        lines.append(f"| {' | '.join(cells)} |")
    lines += [
        "",
        f"*Rest* is any of {_names(REST)}: no attempt is under way.",
        f"An edit supersedes the attempt in {_names(SUPERSEDABLE)}, and waits for its end later.",
        f"Nobody accepts connections in {_names(PAUSED)}; there a failure counts as rolled back.",
    ]
    return "\n".join(lines) + "\n"


def render_diagram() -> str:
    """Return the steps as a Mermaid state diagram.

    Solid arrows are success. An arrow to ``back`` stands for all ways out on failure: back to rest, with the
    old code serving. That failures may also begin a new attempt is left to the table.
    """
    lines = ["```mermaid", "stateDiagram-v2", "    [*] --> new"]
    for state, info in STATES.items():
        lines += [f"    {state.value} --> {target.value}" for target in info.success]
    lines += [
        f"    {state.value} --> back: {_label(info.on_failure)}"
        for state, info in STATES.items()
        if info.failure and state not in REST
    ]
    for state in REST:
        known = STATES[state].success
        new = [target for target in STATES[state].failure if target not in known]
        lines += [f"    {state.value} --> {target.value}: failure" for target in new]
    lines += ["    back --> idle", "    stopped --> [*]", "```"]
    return "\n".join(lines) + "\n"


def _label(text: str) -> str:
    """Mermaid ends a label at a colon or semicolon."""
    return text.replace(";", ",").replace(":", ",")


def _shown(state: State) -> str:
    return state.name


def _names(states: Iterable[State]) -> str:
    return ", ".join(f"`{_shown(state)}`" for state in states)


def _failure_names(info: StateInfo) -> str:
    """The ways out on failure, with the states of rest as one word where all are meant."""
    if not set(REST) <= set(info.failure):
        return _names(info.failure)
    others = [state for state in info.failure if state not in REST]
    return ", ".join(part for part in ("rest", _names(others)) if part)
