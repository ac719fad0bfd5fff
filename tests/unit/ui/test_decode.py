"""Records that went through JSON look as before."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livereload_core.core.records import Notice, NoticeKind, Outcome, Record, ReloadRecord, as_json
from livereload_core.facts import Failure, RootFate, RootReport
from livereload_core.ui.decode import record_from_json
from livereload_core.ui.render import render
from livereload_core.ui.style import Palette

texts = st.text(max_size=8)
milliseconds = st.integers(0, 10**6).map(lambda ms: ms / 1000)
roots = st.lists(st.builds(RootReport, texts, st.sampled_from(RootFate), texts, texts), max_size=3).map(tuple)
failures = st.none() | st.builds(Failure, texts, texts, texts, st.lists(texts, max_size=2).map(tuple))
files = st.lists(texts, max_size=3).map(tuple)
phases = st.dictionaries(texts, milliseconds, max_size=3).map(lambda found: tuple(found.items()))
records: st.SearchStrategy[Record] = st.one_of(
    st.builds(
        ReloadRecord,
        st.sampled_from(Outcome),
        st.integers(0, 9),
        files,
        milliseconds,
        milliseconds,
        phases,
        roots,
        failures,
        files,
        connections=st.integers(0, 3),
        kept_back=st.dictionaries(texts, st.integers(1, 3), max_size=2).map(lambda left: tuple(left.items())),
    ),
    st.builds(Notice, st.sampled_from(NoticeKind), texts, st.integers(0, 9), failures, roots, milliseconds),
)


@given(records)
def test_a_record_survives_json(record: Record) -> None:
    back = record_from_json(json.loads(json.dumps(as_json(record))))
    assert back is not None
    assert render(back, Palette(False)) == render(record, Palette(False))


@pytest.mark.parametrize(
    "data",
    [None, [], "x", {}, {"event": "reload"}, {"event": "future", "text": ""}, {"event": "info", "text": 1}],
)
def test_what_is_not_understood_is_none(data: object) -> None:
    assert record_from_json(data) is None
