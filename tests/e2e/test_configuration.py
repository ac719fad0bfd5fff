"""A change of ``[tool.livecore]`` takes effect while the program runs, or says what keeps it from that."""

from __future__ import annotations

from typing import Any

import pytest

from livereload_core.testing import LivecoreProcess, until
from tests.e2e.launching import Launcher

APP = """
from pathlib import Path
from livereload_core import preserve

VERSION = "1"
hits = preserve("hits", list[int])
PAGE = Path(__file__).with_name("page.html")

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while (await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})
        return
    hits.append(1)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": f"{VERSION} {TEXT} {len(hits)}".encode()})

TEXT = PAGE.read_text().strip()
"""


def started(livecore: Launcher, table: str, *options: str) -> LivecoreProcess:
    files = {"pyproject.toml": f"[tool.livecore]\n{table}\n", "page.html": "old"}
    return livecore.app(*options, source=APP, **files)


def configure(run: LivecoreProcess, table: str) -> None:
    run.write("pyproject.toml", f"[tool.livecore]\n{table}\n")


def told(run: LivecoreProcess, words: str) -> dict[str, Any]:
    return run.wait_for(lambda record: words in record.get("text", ""), what=words)


def child_pid(run: LivecoreProcess, role: str) -> int:
    return next((child["pid"] for child in run.status()["children"] if child["role"] == role), 0)


def test_a_pattern_that_is_added_reloads_from_then_on_and_the_state_stays(livecore: Launcher) -> None:
    run = started(livecore, "")
    assert run.get().text == "1 old 1"
    configure(run, 'reload-include = ["*.html"]')
    assert told(run, "the configuration has changed")["text"].endswith(": reload-include")
    run.write("page.html", "new")
    assert run.wait_reload("committed")["files"] == ["page.html"]
    assert run.get().text == "1 new 2"
    configure(run, "")
    run.edit("app.py", 'VERSION = "1"', 'VERSION = "2"')
    run.wait_reload("committed")
    assert run.get().text == "2 new 3"


def test_the_spare_is_made_anew_with_it_and_the_edit_after_it_goes_live(livecore: Launcher) -> None:
    run = started(livecore, "checkpoint = 0.5")
    run.get()
    run.wait_settled()
    before = child_pid(run, "spare")
    assert before
    configure(run, "checkpoint = 1.0")
    told(run, "the configuration has changed: checkpoint")
    another = until(lambda: child_pid(run, "spare"), what="a spare")
    assert another != before
    run.edit("app.py", 'VERSION = "1"', 'VERSION = "2"')
    run.wait_reload("committed")
    assert run.get().text == "2 old 2"
    assert child_pid(run, "active") == another
    until(lambda: before not in run.pids(), what="the end of the outdated spare")


def test_a_spare_can_be_switched_off_and_on(livecore: Launcher) -> None:
    run = started(livecore, "")
    run.get()
    run.wait_settled()
    configure(run, "no-spare = true")
    told(run, "no-spare")
    until(lambda: run.pids().keys() == {run.pid, child_pid(run, "active")}, what="the end of the spare")
    configure(run, "no-spare = false")
    until(lambda: child_pid(run, "spare"), what="a spare")


def test_what_needs_a_restart_is_named_once_and_the_run_stays_as_it_is(livecore: Launcher) -> None:
    run = started(livecore, "")
    configure(run, 'host = "0.0.0.0"\nlog-format = "plain"\ntimeout-start = 3')
    told(run, "the configuration has changed: timeout-start")
    # The format was given on the command line, which goes before the file.
    assert told(run, "takes effect after a restart")["text"] == "takes effect after a restart: host"
    assert run.get().text == "1 old 1"


def test_the_command_line_still_goes_before_the_file(livecore: Launcher) -> None:
    run = started(livecore, "checkpoint = 0.5", "--timeout-start", "7")
    configure(run, "timeout-start = 3\ncheckpoint = 1.0")
    assert told(run, "the configuration has changed")["text"].endswith(": checkpoint")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[tool.livecore\n", "is not valid TOML"),
        ("[tool.livecore]\ncheckpint = 1\n", "did you mean 'checkpoint'?"),
        ("[tool.livecore]\ncheckpoint = 'often'\n", "it takes a number of seconds"),
    ],
)
def test_a_broken_file_is_one_sentence_and_changes_nothing(livecore: Launcher, text: str, words: str) -> None:
    run = started(livecore, 'reload-include = ["*.html"]')
    run.get()
    run.write("pyproject.toml", text)
    sentence = told(run, "the configuration was not taken over")["text"]
    assert words in sentence
    assert "\n" not in sentence
    run.write("page.html", "new")
    run.wait_reload("committed")
    assert run.get().text == "1 new 2"
    configure(run, 'reload-include = ["*.html"]\ntimeout-start = 3')
    told(run, "the configuration has changed: timeout-start")


def test_another_environment_file_starts_the_program_anew_with_it(livecore: Launcher) -> None:
    source = APP.replace(
        "TEXT = PAGE.read_text().strip()", 'import os\nTEXT = os.environ.get("COLOUR", "none")'
    )
    run = livecore.app(
        source=source,
        **{"pyproject.toml": "[project]\nname = 'x'\n", "page.html": "", "blue.env": "COLOUR=blue\n"},
    )
    assert run.get().text == "1 none 1"
    configure(run, 'env-file = "blue.env"')
    run.wait_reload("committed")
    assert run.get().text == "1 blue 2"
    run.write("blue.env", "COLOUR=navy\n")
    assert run.wait_reload("committed")["files"] == ["blue.env"]
    assert run.get().text == "1 navy 3"
