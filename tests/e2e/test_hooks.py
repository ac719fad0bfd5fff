"""Hooks run in their order, in the right generation, with deadlines."""

from __future__ import annotations

from livereload_core.testing import LivecoreProcess, until
from tests.e2e.launching import PLAYGROUND_APP, Launcher

IMPORTS = "after_reload, before_reload, dispose, generation, on_ready, prepare, preserve"
HOOKED = (
    PLAYGROUND_APP.replace("import preserve", f"import {IMPORTS}")
    + """

def note(what: str) -> None:
    with open("journal.txt", "a") as journal:
        journal.write(f"{what} {generation()}\\n")

@prepare
async def warm_up() -> None:
    note("prepare")

@before_reload
def pack() -> None:
    note("before_reload")

@after_reload
async def unpack() -> None:
    note("after_reload")

@on_ready
def announce() -> None:
    note("on_ready")

@dispose
async def tidy() -> None:
    note("dispose")
"""
)


def _journal(run: LivecoreProcess) -> list[str]:
    path = run.cwd / "journal.txt"
    return path.read_text().splitlines() if path.exists() else []


def test_hooks_of_a_reload_run_in_order_in_the_generation_they_belong_to(livecore: Launcher) -> None:
    run = livecore.app("--probation", "0.1", source=HOOKED)
    first = run.records[-1]["generation"] or 1
    until(lambda: f"on_ready {first}" in _journal(run), what="the first on_ready hook")
    before = len(_journal(run))
    run.edit("app.py", 'VERSION = "1"', 'VERSION = "2"')
    second = run.wait_reload("committed")["generation"]
    run.get()
    until(lambda: len(_journal(run)) == before + 5, what="five hooks", context=lambda: str(_journal(run)))
    *pause, last, very_last = _journal(run)[before:]
    assert pause == [f"prepare {second}", f"before_reload {first}", f"after_reload {second}"]
    # After the switch each generation goes its own way, the new one to work and the old one to its end.
    assert {last, very_last} == {f"on_ready {second}", f"dispose {first}"}


def test_hook_that_raises_before_the_switch_rejects_and_the_old_code_serves(livecore: Launcher) -> None:
    run = livecore.app(source=HOOKED)
    run.edit("app.py", 'note("after_reload")', 'raise RuntimeError("the hook objects")')
    record = run.wait_reload("rejected", "rolled-back")
    assert "the hook objects" in record["failure"]["reason"] + record["failure"]["traceback"]
    assert run.get("/hit").json()["count"] == 1
    assert not [line for line in _journal(run) if line.startswith("dispose")]


def test_hook_that_hangs_is_cut_off_and_the_old_code_serves(livecore: Launcher) -> None:
    run = livecore.app("--timeout-hook", "0.5", source=HOOKED)
    run.edit("app.py", 'note("after_reload")', "import asyncio; await asyncio.Event().wait()")
    record = run.wait_reload("rejected", "rolled-back")
    assert "unpack" in record["failure"]["reason"]
    assert run.get("/hit").json()["count"] == 1
