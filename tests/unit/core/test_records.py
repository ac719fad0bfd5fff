"""Records as the objects that ``--log-format json`` prints."""

from __future__ import annotations

import json

import pytest

from livereload_core.core.records import (
    RECORD_VERSION,
    Failure,
    Notice,
    NoticeKind,
    Outcome,
    Record,
    ReloadRecord,
    RootFate,
    RootReport,
    as_json,
)

FULL = ReloadRecord(
    outcome=Outcome.ROLLED_BACK,
    generation=3,
    files=("app.py", "shop/cart.py"),
    total=0.0123456,
    pause=0.004,
    phases=(("notice", 0.001), ("import", 0.0113456)),
    roots=(RootReport("app:tally", RootFate.RESET, 'tally["x"].lock: a lock', 'transient=("lock",)'),),
    failure=Failure("verify", "the start-up raised", "Traceback ...", ("/p/app.py",)),
    foreign=("numpy",),
    notes=("2 connections drain in the old generation",),
    connections=200,
    kept_back=(("a request in flight", 2),),
)


def test_a_reload_becomes_one_object_with_times_in_milliseconds() -> None:
    assert as_json(FULL) == {
        "v": RECORD_VERSION,
        "event": "reload",
        "outcome": "rolled-back",
        "generation": 3,
        "files": ["app.py", "shop/cart.py"],
        "total_ms": 12.346,
        "pause_ms": 4.0,
        "phases_ms": {"notice": 1.0, "import": 11.346},
        "roots": [
            {
                "key": "app:tally",
                "fate": "reset",
                "detail": 'tally["x"].lock: a lock',
                "remedy": 'transient=("lock",)',
            }
        ],
        "failure": {
            "phase": "verify",
            "reason": "the start-up raised",
            "traceback": "Traceback ...",
            "files": ["/p/app.py"],
        },
        "foreign": ["numpy"],
        "notes": ["2 connections drain in the old generation"],
        "connections": {"kept": 200, "left": {"a request in flight": 2}},
    }


def test_phases_keep_their_order() -> None:
    assert list(as_json(FULL)["phases_ms"]) == ["notice", "import"]


def test_a_good_reload_has_no_failure_and_empty_lists() -> None:
    data = as_json(ReloadRecord(Outcome.COMMITTED, 2, (), 0.5))
    assert data["failure"] is None
    assert data["roots"] == data["foreign"] == data["notes"] == data["files"] == []
    assert data["pause_ms"] == 0.0


@pytest.mark.parametrize("kind", NoticeKind)
def test_a_notice_is_named_by_its_kind(kind: NoticeKind) -> None:
    assert as_json(Notice(kind, "all is well", generation=4, seconds=0.25)) == {
        "v": RECORD_VERSION,
        "event": kind.value,
        "text": "all is well",
        "generation": 4,
        "failure": None,
        "roots": [],
        "took_ms": 250.0,
    }


def test_no_notice_is_named_like_a_reload() -> None:
    assert "reload" not in {kind.value for kind in NoticeKind}


@pytest.mark.parametrize("outcome", Outcome)
@pytest.mark.parametrize("fate", RootFate)
def test_what_is_returned_is_json_without_a_helper(outcome: Outcome, fate: RootFate) -> None:
    failure = Failure("prepare", "no \udcff here", files=("/p/\udcff.py",))
    roots = (RootReport("app:x", fate),)
    records: tuple[Record, ...] = (
        ReloadRecord(outcome, 1, ("\udcff.py",), 1.0, roots=roots, failure=failure),
        Notice(NoticeKind.DIED, "it died", failure=failure, roots=roots),
    )
    for record in records:
        data = as_json(record)
        assert json.loads(json.dumps(data)) == data
