"""Colour, numbers and texts from elsewhere."""

from __future__ import annotations

import pytest

from livereload_core.ui.style import Palette, duration, one_line, safe, size, wants_colour


@pytest.mark.parametrize(
    ("terminal", "environ", "expected"),
    [
        (True, {}, True),
        (False, {}, False),
        (True, {"NO_COLOR": "1"}, False),
        (True, {"NO_COLOR": ""}, True),
        (True, {"TERM": "dumb"}, False),
        (False, {"FORCE_COLOR": "1"}, True),
        (False, {"FORCE_COLOR": ""}, False),
        (False, {"FORCE_COLOR": "1", "TERM": "dumb"}, True),
        (True, {"FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
    ],
)
def test_colour_follows_terminal_and_environment(
    terminal: bool, environ: dict[str, str], expected: bool
) -> None:
    assert wants_colour(terminal, environ) is expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0.0, "0.0 ms"),
        (0.0004, "0.4 ms"),
        (0.00096, "1 ms"),
        (0.0231, "23 ms"),
        (0.9994, "999 ms"),
        (0.9996, "1.0 s"),
        (1.24, "1.2 s"),
        (59.96, "1 min 00 s"),
        (192, "3 min 12 s"),
        (3600 * 2 + 299, "2 h 04 min"),
    ],
)
def test_durations_read_as_people_say_them(seconds: float, expected: str) -> None:
    assert duration(seconds) == expected


def test_sizes_have_the_unit_that_fits() -> None:
    assert [size(n) for n in (0, 12_300, 41_000_000, 1_230_000_000)] == ["0 kB", "12 kB", "41 MB", "1.2 GB"]


def test_control_characters_are_spelt_out() -> None:
    assert safe("a\x1b[31mb\x07\x9b\udcff") == "a\\x1b[31mb\\x07\\x9b\\udcff"
    assert one_line(" a\nb\tc\r ") == "a b c\\r"


def test_paint_is_a_no_op_without_colour() -> None:
    assert Palette(False)("bad", "x") == "x"
    assert Palette(True)("bad", "x") == "\x1b[31mx\x1b[0m"
    assert Palette(True)("bad", "") == ""
