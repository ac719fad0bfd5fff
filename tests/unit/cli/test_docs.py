"""Writing the generated parts of the documentation."""

from __future__ import annotations

from pathlib import Path

import pytest

from livereload_core.cli.docs import PARTS, fill, main
from livereload_core.errors import UsageError

MARKED = "before\n<!-- generated: part -->\nold\n<!-- end -->\nafter\n"


def test_a_part_is_replaced_and_nothing_around_it() -> None:
    filled = fill(MARKED, {"part": lambda: "new \\1\n"}, "a.md")
    assert filled == "before\n<!-- generated: part -->\n\nnew \\1\n\n<!-- end -->\nafter\n"


def test_filling_twice_changes_nothing() -> None:
    parts = {"part": lambda: "new\n"}
    once = fill(MARKED, parts, "a.md")
    assert fill(once, parts, "a.md") == once


@pytest.mark.parametrize("text", ["no marks\n", MARKED + MARKED, MARKED.replace("part", "other")])
def test_marks_that_do_not_agree_with_the_parts_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"a\.md has marks for .* expected part"):
        fill(text, {"part": lambda: "new\n"}, "a.md")


def test_the_documents_of_a_folder_are_brought_up_to_date(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, parts in PARTS.items():
        marks = "".join(f"<!-- generated: {part} -->\n<!-- end -->\n" for part in parts)
        (tmp_path / name).write_text(marks)
    assert main([str(tmp_path)]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(PARTS)
    assert main([str(tmp_path)]) == 0
    assert capsys.readouterr().out == ""


def test_a_folder_without_the_documents_is_refused_in_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith("livecore: there is no ")
