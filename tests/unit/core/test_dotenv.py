"""The reader of environment files."""

from __future__ import annotations

import pytest

from livereload_core.core.dotenv import parse_env
from livereload_core.errors import UsageError


def read(text: str) -> dict[str, str]:
    return dict(parse_env(text, "x.env"))


def test_usual_lines_are_read_as_written() -> None:
    text = "\n# comment\n\nA=1\nexport B = two words  # comment\nC=\nURL=http://h/#top\r\nTAB\t=\tx\n"
    assert read(text) == {"A": "1", "B": "two words", "C": "", "URL": "http://h/#top", "TAB": "x"}


def test_single_quotes_are_literal_and_double_quotes_know_escapes() -> None:
    assert read(r"""A='a\n#"$B' # c""") == {"A": r"""a\n#"$B"""}
    assert read(r"""A="a\n\t\"q\" \\ \$x \d" # c""") == {"A": 'a\n\t"q" \\ $x \\d'}


def test_nothing_is_expanded() -> None:
    assert read("A=$HOME/${B}`id`") == {"A": "$HOME/${B}`id`"}


def test_a_later_line_wins_and_a_byte_order_mark_is_skipped() -> None:
    assert read("\ufeffA=1\nA=2") == {"A": "2"}


def test_a_value_may_be_only_a_comment() -> None:
    assert read("A= # nothing") == {"A": ""}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A=1\nnonsense", "x.env, line 2: 'nonsense' is no assignment"),
        ("1A=2", "x.env, line 1: '1A' is no name for a variable"),
        ("A-B=2", "'A-B' is no name"),
        ("\n\nA='x", "x.env, line 3: the quote ' is not closed"),
        ('A="x\\"', 'the quote " is not closed'),
        ("A='x' y", "'y' follows the closing quote"),
        ("A=x\0y", "null byte"),
        ("=x", "no assignment"),
    ],
)
def test_a_bad_line_is_refused_with_its_number(text: str, expected: str) -> None:
    with pytest.raises(UsageError) as caught:
        read(text)
    assert expected in str(caught.value)
