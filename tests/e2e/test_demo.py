"""What the demo promises: the text changes, counter and list stay, and a broken file breaks nothing."""

from __future__ import annotations

import shutil
import urllib.request
from typing import Any

from livereload_core.testing import LivecoreProcess
from tests.e2e.launching import PLAYGROUND, Launcher


def _post(run: LivecoreProcess, path: str, body: str = "") -> None:
    request = urllib.request.Request(f"http://127.0.0.1:{run.port}{path}", data=body.encode(), method="POST")
    with urllib.request.urlopen(request, timeout=10) as answer:
        answer.read()


def _state(run: LivecoreProcess) -> Any:
    return run.get("/state").json()


def test_demo_keeps_counter_and_list_over_the_edits_that_it_suggests(livecore: Launcher) -> None:
    shutil.copytree(PLAYGROUND / "demo", livecore.folder / "program")
    run = livecore.program("app:app", files={})
    assert "<title>livecore demo</title>" in run.get().text
    _post(run, "/click")
    _post(run, "/click")
    _post(run, "/lines", "<b>milk</b>")
    first = _state(run)

    run.edit("app.py", "Hello. Edit me, save, and look here.", "It is live.")
    run.wait_reload("committed")
    second = _state(run)
    assert second["greeting"] == "It is live."
    assert second["generation"] == first["generation"] + 1
    assert (second["clicks"], second["lines"]) == (2, first["lines"])
    assert second["lines"][-1] == "&lt;b&gt;milk&lt;/b&gt;"

    run.write("app.py", "this is no Python\n")
    run.wait_reload("rejected")
    assert _state(run) == second

    run.edit("app.py", "this is no Python\n", (PLAYGROUND / "demo" / "app.py").read_text())
    run.wait_reload("committed")
    assert _state(run)["greeting"] == first["greeting"]
    assert _state(run)["clicks"] == 2
