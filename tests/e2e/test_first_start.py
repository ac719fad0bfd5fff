"""A program that is broken when it is started: the parent itself answers, and the fix goes live."""

from __future__ import annotations

import pytest

from livereload_core.testing import LivecoreProcess
from tests.e2e.launching import PLAYGROUND_APP, Launcher

BROKEN = {
    "syntax error": PLAYGROUND_APP + "\ndef broken(:\n",
    "exception": PLAYGROUND_APP + '\nraise RuntimeError("boom <at> import")\n',
    "exit": PLAYGROUND_APP + "\nraise SystemExit(3)\n",
    "no such attribute": PLAYGROUND_APP.replace("app = web", "application = web").replace(
        "\napp.", "\napplication."
    ),
}


def _held(livecore: Launcher, source: str) -> LivecoreProcess:
    run = livecore.program("app:app", files={"app.py": source}, started=False)
    run.wait_event("hold")
    return run


@pytest.mark.parametrize("how", BROKEN)
def test_broken_first_start_answers_503_and_the_fix_goes_live(livecore: Launcher, how: str) -> None:
    run = _held(livecore, BROKEN[how])
    assert run.get().status == 503
    run.write("app.py", PLAYGROUND_APP)
    run.wait_for(
        lambda record: record["event"] == "started" or record.get("outcome") == "committed",
        what="start of the fixed program",
    )
    assert run.get().json()["version"] == "1"


def test_hold_page_is_html_for_a_browser_and_text_for_others(livecore: Launcher) -> None:
    run = _held(livecore, BROKEN["exception"])
    page = run.get(accept="text/html,application/xhtml+xml,*/*;q=0.8")
    assert page.status == 503
    assert page.headers["content-type"].startswith("text/html")
    assert "boom &lt;at&gt; import" in page.text
    text = run.get(accept="*/*")
    assert text.status == 503
    assert text.headers["content-type"].startswith("text/plain")
    assert "boom <at> import" in text.text
    assert "Traceback (most recent call last)" in text.text


def test_fix_that_is_broken_too_keeps_the_hold_page_with_the_newer_reason(livecore: Launcher) -> None:
    run = _held(livecore, BROKEN["exception"])
    number = len(run.records)
    run.write("app.py", PLAYGROUND_APP + '\nraise RuntimeError("another reason")\n')
    run.wait_for(lambda record: bool(record.get("failure")), since=number, what="second failure")
    answer = run.get()
    assert answer.status == 503
    assert "another reason" in answer.text


def test_first_start_that_fails_with_nobody_to_fix_it_exits_3(livecore: Launcher) -> None:
    run = livecore.program("app:app", "--no-reload", files={"app.py": BROKEN["exception"]}, started=False)
    assert run.wait_exit() == 3
    assert "boom <at> import" in run.transcript()
