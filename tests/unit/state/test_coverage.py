"""Each kind of value crosses into a second process with edited code; the documents show what came of it."""

from __future__ import annotations

import functools
from pathlib import Path

import pytest

from tests.unit.state.kinds.table import CODECS, DOCUMENT, Measured, measure, part, render

NEVER = "set that holds its owner"
"""Its members are hashed before their owner has its attributes; no codec here can."""


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Measured:
    return _measured(tmp_path_factory.mktemp("kinds"))


@functools.cache
def _measured(folder: Path) -> Measured:
    return measure(folder)


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
