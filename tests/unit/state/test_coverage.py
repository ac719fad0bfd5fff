"""Kinds of values and edits of classes, over two processes; the documents show what came of them."""

from __future__ import annotations

import pytest

from tests.unit.state.kinds.table import (
    CODECS,
    DOCUMENT,
    EDIT_CODECS,
    Measured,
    measure,
    measure_edits,
    part,
    render,
)

NEVER = "set that holds its owner"
"""Its members are hashed before their owner has its attributes; no codec here can."""


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Measured:
    return measure(tmp_path_factory.mktemp("kinds"))


@pytest.fixture(scope="module")
def edited(tmp_path_factory: pytest.TempPathFactory) -> Measured:
    return measure_edits(tmp_path_factory.mktemp("edits"))


@pytest.mark.slow
def test_nothing_is_silently_wrong_with_livecore(measured: Measured) -> None:
    assert [kind for kind, row in measured.outcomes.items() if row["ours"] == "wrong"] == []


@pytest.mark.slow
def test_whatever_another_codec_gets_right_livecore_gets_right(measured: Measured) -> None:
    behind = [
        kind
        for kind, row in measured.outcomes.items()
        if row["ours"] != "right" and "right" in (row[codec] for codec in CODECS)
    ]
    assert behind == []


@pytest.mark.slow
def test_only_what_cannot_cross_is_refused_and_with_path_and_advice(measured: Measured) -> None:
    refused = {kind for kind, row in measured.outcomes.items() if row["ours"] == "refused"}
    assert refused == set(measured.refusals)
    assert NEVER in refused
    for kind in refused - {NEVER}:
        path, _, rest = measured.refusals[kind].partition(": ")
        assert path == 'box["value"]', kind
        assert "; " in rest, kind


@pytest.mark.slow
def test_table_in_the_documents_is_what_was_measured(measured: Measured) -> None:
    assert part(DOCUMENT.read_text(), "kinds") == render(measured.outcomes, CODECS, "kind")


@pytest.mark.slow
def test_no_edit_of_a_class_is_silently_wrong_with_livecore(edited: Measured) -> None:
    assert [edit for edit, row in edited.outcomes.items() if row["ours"] == "wrong"] == []


@pytest.mark.slow
def test_most_edits_of_classes_are_right_without_help(edited: Measured) -> None:
    right = [edit for edit, row in edited.outcomes.items() if row["ours"] == "right"]
    assert len(edited.outcomes) >= 41
    assert len(right) >= 31


@pytest.mark.slow
def test_edit_that_is_refused_says_why_and_what_to_write(edited: Measured) -> None:
    assert {edit for edit, row in edited.outcomes.items() if row["ours"] == "refused"} == set(edited.refusals)
    for edit, text in edited.refusals.items():
        assert text.startswith("box: "), edit
        assert any(word in text for word in ("renamed=", "aliases=", "migrate=")), edit


@pytest.mark.slow
def test_table_of_edits_in_the_documents_is_what_was_measured(edited: Measured) -> None:
    assert part(DOCUMENT.read_text(), "edits") == render(edited.outcomes, EDIT_CODECS, "edit")
