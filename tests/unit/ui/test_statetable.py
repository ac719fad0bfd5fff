"""The table and the diagram of the documentation, from the machine's own table."""

from __future__ import annotations

import re

from livereload_core.cli.options import OPTIONS
from livereload_core.core.states import REST, STATES
from livereload_core.ui.statetable import render_diagram, render_table


def test_every_state_has_one_row_in_the_order_of_the_machine() -> None:
    rows = re.findall(r"^\| `(\w+)` \|", render_table(), re.MULTILINE)
    assert rows == [state.name for state in STATES]


def test_every_row_has_as_many_cells_as_the_head() -> None:
    lines = [line for line in render_table().splitlines() if line.startswith("|")]
    assert len({line.count("|") for line in lines}) == 1


def test_limits_are_shown_as_flags_that_exist() -> None:
    flags = {option.flag for option in OPTIONS}
    shown = set(re.findall(r"`(--[\w-]+)`", render_table()))
    assert shown
    assert shown <= flags


def test_every_success_of_the_table_is_an_arrow_of_the_diagram() -> None:
    diagram = render_diagram()
    for state, info in STATES.items():
        for target in info.success:
            assert f"    {state.value} --> {target.value}\n" in diagram


def test_every_state_that_may_fail_shows_its_way_back() -> None:
    diagram = render_diagram()
    for state, info in STATES.items():
        if info.failure and state not in REST:
            assert f"    {state.value} --> back: " in diagram


def test_labels_hold_nothing_that_ends_them_early() -> None:
    for line in render_diagram().splitlines():
        _, _, label = line.partition(": ")
        assert not set(label) & set(";:")
