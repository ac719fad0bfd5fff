"""What a developer sees after each save."""

from __future__ import annotations

import io
import json
import re
import time

import pytest

from livereload_core.core.records import Notice, NoticeKind, Outcome, Record, ReloadRecord, as_json
from livereload_core.core.settings import LogFormat
from livereload_core.facts import Failure, RootFate, RootReport
from livereload_core.ui.render import make_printer, render
from livereload_core.ui.style import Palette

PLAIN = Palette(False)
KEPT = tuple(RootReport(f"app:{name}", RootFate.KEPT) for name in ("sessions", "cache", "world"))
SYNTAX = Failure(
    phase="check",
    reason="syntax error in app.py, line 3: invalid syntax",
    traceback='  File "/p/app.py", line 3\n    def x(:\n          ^\nSyntaxError: invalid syntax\n',
)
COMMIT = ReloadRecord(Outcome.COMMITTED, 7, ("app.py",), 0.023, 0.008, roots=KEPT)
REJECT = ReloadRecord(Outcome.REJECTED, 7, ("app.py",), 0.002, failure=SYNTAX)


def lines(record: Record, *, watching: bool = True) -> list[str]:
    return render(record, PLAIN, watching=watching)


def printed(record: Record, log_format: LogFormat, *, colour: bool = False) -> str:
    stream = io.StringIO()
    printer = make_printer(log_format, stream, colour=colour, clock=lambda: 0.0)
    printer(record)
    printer.close()
    return stream.getvalue()


def test_a_good_reload_is_one_line_that_says_it_all() -> None:
    expected = "reload  app.py  gen 7  23 ms (pause 8 ms)  kept 3: sessions, cache, world"
    assert lines(COMMIT) == [expected]


def test_the_line_begins_with_the_time_of_day() -> None:
    stamp = time.strftime("%H:%M:%S", time.localtime(0.0))
    assert printed(COMMIT, LogFormat.PLAIN).startswith(f"{stamp} reload  app.py  ")


def test_several_files_are_counted_and_none_is_a_request() -> None:
    many = ReloadRecord(Outcome.COMMITTED, 2, ("app.py", "b.py", "c.py"), 0.01)
    assert lines(many) == ["reload  app.py +2  gen 2  10 ms"]
    assert lines(ReloadRecord(Outcome.COMMITTED, 2, (), 0.01)) == ["reload  on request  gen 2  10 ms"]


def test_a_rejection_shows_the_traceback_and_promises_the_fix() -> None:
    assert lines(REJECT) == [
        "reject  app.py  gen 7 serves on  syntax error in app.py, line 3: invalid syntax",
        '           File "/p/app.py", line 3',
        "             def x(:",
        "                   ^",
        "         SyntaxError: invalid syntax",
        "         save a fix and it goes live by itself; until then the old code keeps serving",
    ]


def test_no_promise_is_made_that_cannot_be_kept() -> None:
    nothing_serves = ReloadRecord(Outcome.REJECTED, 0, ("app.py",), 0.0, failure=SYNTAX)
    assert "nothing serves yet" in lines(nothing_serves)[0]
    assert lines(nothing_serves)[-1].endswith("until then requests are answered with 503")
    assert "livecore reload" in lines(REJECT, watching=False)[-1]


def test_a_roll_back_tells_its_pause() -> None:
    record = ReloadRecord(
        Outcome.ROLLED_BACK, 6, ("a.py",), 1.0, 0.012, failure=Failure("verify", "ValueError: no")
    )
    assert lines(record)[0] == "rollback  a.py  gen 6 serves on  (pause 12 ms)  ValueError: no"


def test_everything_but_kept_is_explained_below_with_its_remedy() -> None:
    roots = (
        RootReport("app:cache", RootFate.KEPT),
        RootReport("app:world", RootFate.MIGRATED, "field 'seen' added"),
        RootReport("app:lock", RootFate.LOST, "lock.holder is a thread", 'write transient=("holder",)'),
        RootReport("app:fresh", RootFate.NEW),
    )
    record = ReloadRecord(Outcome.COMMITTED, 2, ("app.py",), 0.01, roots=roots)
    assert lines(record) == [
        "reload  app.py  gen 2  10 ms  kept 1: cache  new 1: fresh  migrated 1  lost 1",
        "         migrated  world: field 'seen' added",
        "         lost      lock: lock.holder is a thread",
        '                   → write transient=("holder",)',
    ]


def test_names_are_whole_keys_where_two_modules_use_the_same() -> None:
    roots = tuple(RootReport(key, RootFate.KEPT) for key in ("a:x", "b:x", "b:y"))
    assert lines(ReloadRecord(Outcome.COMMITTED, 2, ("a.py",), 0.01, roots=roots))[0].endswith(
        "kept 3: a:x, b:x, y"
    )


def test_long_lists_of_names_are_counted_and_reasons_are_never_cut() -> None:
    roots = tuple(RootReport(f"a:a_long_name_{n}", RootFate.KEPT) for n in range(40))
    line = lines(ReloadRecord(Outcome.COMMITTED, 2, ("a.py",), 0.01, roots=roots))[0]
    assert re.search(r"kept 40: a_long_name_0, .* \+\d+$", line)
    assert len(line) < 120
    reason = "because " * 200 + "x"
    assert reason in lines(ReloadRecord(Outcome.REJECTED, 1, (), 0.0, failure=Failure("x", reason)))[0]


def test_a_slow_reload_says_where_the_time_went() -> None:
    phases = (("collect", 0.001), ("prepare", 1.5), ("rehydrate", 0.4))
    record = ReloadRecord(Outcome.COMMITTED, 2, ("a.py",), 1.901, phases=phases, notes=("2 drain",))
    assert lines(record)[1:] == ["         2 drain", "         most of it: prepare 1.5 s, rehydrate 400 ms"]


def test_nothing_from_elsewhere_steers_the_terminal_or_breaks_the_line() -> None:
    failure = Failure("import", "Evil:\n\x1b[2J\x07", traceback="Evil: \x1b[2J\n")
    record = ReloadRecord(Outcome.REJECTED, 1, ("a\nb\x1b.py",), 0.0, failure=failure)
    assert all("\x1b" not in line and "\n" not in line for line in lines(record))


@pytest.mark.parametrize("kind", list(NoticeKind))
def test_every_kind_of_notice_has_a_verb_and_its_text(kind: NoticeKind) -> None:
    line = lines(Notice(kind, "the text"))[0]
    assert line.endswith("the text")
    assert line.index("the text") == 8


def test_notices_tell_generation_time_state_and_failure() -> None:
    assert lines(Notice(NoticeKind.STARTED, "serving", 1, seconds=0.18, roots=KEPT[:1])) == [
        "ready   serving  gen 1  180 ms  kept 1: sessions"
    ]
    hold = lines(Notice(NoticeKind.HOLD, SYNTAX.reason, failure=SYNTAX))
    assert hold[0].count("syntax error") == 1
    assert hold[-2].strip() == "SyntaxError: invalid syntax"
    assert "503" in hold[-1]
    died = lines(Notice(NoticeKind.DIED, "generation 3 died", 3, Failure("idle", "killed by signal 9")))
    assert died == ["died    generation 3 died  killed by signal 9"]


def test_colour_changes_nothing_but_colour() -> None:
    for record in (COMMIT, REJECT, Notice(NoticeKind.LISTENING, "http://127.0.0.1:8000")):
        coloured = printed(record, LogFormat.PRETTY, colour=True)
        assert "\x1b[" in coloured
        assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == printed(record, LogFormat.PLAIN)
        assert "\x1b[" not in printed(record, LogFormat.PLAIN, colour=True)


def test_json_is_one_object_per_line() -> None:
    for record in (COMMIT, REJECT):
        text = printed(record, LogFormat.JSON, colour=True)
        assert text.count("\n") == 1
        assert json.loads(text) == as_json(record)
