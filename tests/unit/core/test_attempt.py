"""An attempt books every moment on a phase and ends in one record."""

from __future__ import annotations

import pytest

from livereload_core.core.attempt import Attempt, Kind
from livereload_core.core.records import Outcome
from livereload_core.core.states import PAUSE_PHASES
from livereload_core.facts import Failure, RootFate, RootReport


def _attempt(*, since: float = 10.0, files: frozenset[str] = frozenset()) -> Attempt:
    return Attempt(Kind.RELOAD, 1, since, files, entered=since)


def test_phases_follow_each_other_without_a_gap_and_sum_up_to_the_total() -> None:
    attempt = _attempt()
    attempt.mark("hash", 10.25)
    attempt.mark("compile", 10.5)
    attempt.mark("commit", 12.0)
    record = attempt.record(Outcome.COMMITTED, 2, "/p", 12.0, None)
    assert record.phases == (("hash", 0.25), ("compile", 0.25), ("commit", 1.5))
    assert sum(seconds for _, seconds in record.phases) == record.total == 2.0


def test_the_import_is_booked_apart_from_the_way_there() -> None:
    attempt = _attempt()
    attempt.mark_parts(("activate", "import"), 11.0, second=0.75)
    attempt.mark("decode", 11.5)
    assert attempt.phases == [("activate", 0.25), ("import", 0.75), ("decode", 0.5)]


def test_an_import_that_claims_more_than_has_passed_gets_what_has_passed() -> None:
    attempt = _attempt()
    attempt.mark_parts(("activate", "import"), 11.0, second=5.0)
    assert attempt.phases == [("activate", 0.0), ("import", 1.0)]


def test_a_wait_is_booked_apart_from_what_was_done_around_it() -> None:
    attempt = _attempt()
    attempt.mark_wait(0.75, 11.0)
    attempt.mark("hash", 11.0)
    attempt.mark_wait(0.0, 11.5)
    attempt.mark("compile", 11.5)
    record = attempt.record(Outcome.COMMITTED, 2, "/p", 11.5, None)
    assert record.phases == (("debounce", 0.75), ("hash", 0.25), ("compile", 0.5))
    assert sum(seconds for _, seconds in record.phases) == record.total


def test_a_wait_that_began_before_the_attempt_gets_no_more_than_has_passed() -> None:
    attempt = _attempt()
    attempt.mark_wait(5.0, 11.0)
    attempt.mark("hash", 11.0)
    assert attempt.phases == [("debounce", 1.0), ("hash", 0.0)]


def test_phases_that_came_twice_are_added_up_where_they_first_stood() -> None:
    attempt = _attempt()
    for now, phase in enumerate(["hash", "compile", "hash", "compile", "compile"], start=11):
        attempt.mark(phase, float(now))
    record = attempt.record(Outcome.COMMITTED, 2, "/p", 15.0, None)
    assert record.phases == (("hash", 2.0), ("compile", 3.0))


def test_the_pause_is_the_sum_of_the_phases_in_which_nobody_accepts() -> None:
    attempt = _attempt()
    attempt.mark("hash", 11.0)
    now = 11.0
    for phase in PAUSE_PHASES:
        now += 0.5
        attempt.mark(phase, now)
    assert attempt.record(Outcome.COMMITTED, 2, "/p", now, None).pause == 0.5 * len(PAUSE_PHASES)


def test_an_attempt_turned_down_before_the_pause_paused_nobody() -> None:
    attempt = _attempt()
    attempt.mark("compile", 11.0)
    failure = Failure("check", "a syntax error")
    record = attempt.record(Outcome.REJECTED, 1, "/p", 11.0, failure)
    assert record.pause == 0.0
    assert record.failure is failure
    assert (record.outcome, record.generation) == (Outcome.REJECTED, 1)


@pytest.mark.parametrize("root", ["/home/ann/shop", "/home/ann/shop/"])
def test_files_are_sorted_and_relative_to_the_root_where_they_lie_below_it(root: str) -> None:
    files = {"/home/ann/shop/web/z.py", "/home/ann/shop/a.py", "/home/ann/shopping/b.py", "/lib/c.py"}
    record = _attempt(files=frozenset(files)).record(Outcome.COMMITTED, 2, root, 11.0, None)
    assert record.files == ("/home/ann/shopping/b.py", "/lib/c.py", "a.py", "web/z.py")


def test_what_was_found_on_the_way_stands_in_the_record() -> None:
    attempt = _attempt()
    attempt.roots = (RootReport("app:tally", RootFate.KEPT),)
    attempt.foreign = ("numpy",)
    attempt.notes.append("2 connections drain")
    record = attempt.record(Outcome.COMMITTED, 2, "/p", 11.0, None)
    assert (record.roots, record.foreign, record.notes) == (
        attempt.roots,
        ("numpy",),
        ("2 connections drain",),
    )
    attempt.notes.append("too late")
    assert record.notes == ("2 connections drain",)


def test_attempts_do_not_share_what_they_book() -> None:
    first, second = _attempt(), _attempt()
    first.mark("hash", 11.0)
    first.notes.append("mine")
    assert second.phases == []
    assert second.notes == []
