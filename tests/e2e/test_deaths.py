"""Deaths: of the serving child, of the parent, and of a child that dies again and again."""

from __future__ import annotations

import os
import signal

from livereload_core.testing import Load, port_is_free, until
from tests.e2e.launching import PLAYGROUND_APP, Launcher

DIES_WHILE_POISONED = PLAYGROUND_APP.replace(
    "app = web.Application()",
    'if os.path.exists("poison"):\n    os._exit(7)\napp = web.Application()',
)


def test_killed_child_without_any_state_held_says_so(livecore: Launcher) -> None:
    run = livecore.app("--checkpoint", "0")
    run.get("/hit")
    os.kill(run.get().json()["pid"], signal.SIGKILL)
    assert run.wait_event("recovered")["text"] == "the last good code serves again; no state was held"
    assert run.get().json()["count"] == 0


def test_killed_child_comes_back_with_the_state_that_was_held(livecore: Launcher) -> None:
    run = livecore.app()
    for _ in range(5):
        run.get("/hit")
    run.edit("app.py", 'VERSION = "1"', 'VERSION = "2"')
    run.wait_reload("committed")  # the hand-over is the newest state that the parent holds
    serving = run.get().json()["pid"]
    os.kill(serving, signal.SIGKILL)
    run.wait_event("died")
    recovered = run.wait_event("recovered")
    assert recovered["text"] == "the last good code serves again with the newest state held"
    after = run.get().json()
    assert after["count"] == 5
    assert after["version"] == "2"
    assert after["pid"] != serving


POISONED = """
from aiohttp import web
from livereload_core import preserve

good = preserve("good", list[str])
bad = preserve("bad", dict)

async def show(request):
    return web.json_response({"good": good, "bad": list(bad)})

async def change(request):
    good.append(f"change-{len(good)}")
    bad["it"] = (number for number in ())
    return await show(request)

app = web.Application()
app.router.add_get("/", show)
app.router.add_get("/change", change)
"""


def test_one_that_cannot_be_carried_costs_no_other_its_snapshots(livecore: Launcher) -> None:
    run = livecore.program("app:app", files={"app.py": POISONED})
    assert run.get("/change").json() == {"good": ["change-0"], "bad": ["it"]}
    said = run.wait_event("warning")["text"]
    assert said.startswith("snapshots hold app:bad ")  # as it was before, if there was one before
    assert 'bad["it"]: a generator stands in the middle of old code' in said
    run.get("/change")
    until(lambda: run.holds("change-1"), what="a snapshot without the bad one")
    os.kill(run.status()["children"][0]["pid"], signal.SIGKILL)
    run.wait_event("recovered")
    assert run.get().json() == {"good": ["change-0", "change-1"], "bad": []}


def test_listener_is_never_closed_while_a_killed_child_comes_back(livecore: Launcher) -> None:
    run = livecore.app()
    with Load(run.port) as load:
        load.more(50)
        os.kill(run.get().json()["pid"], signal.SIGKILL)
        run.wait_event("recovered")
        load.more(100)
    # What the dead process had accepted is lost with it; nobody who connects is turned away.
    lost = [failed for failed in load.failures if failed.kind != "reset"]
    assert not lost, load.report()
    assert len(load.failures) <= 10, load.report()


def test_edit_after_a_recovery_goes_live(livecore: Launcher) -> None:
    run = livecore.app()
    os.kill(run.get().json()["pid"], signal.SIGKILL)
    run.wait_event("recovered")
    run.edit("app.py", 'VERSION = "1"', 'VERSION = "2"')
    run.wait_reload("committed")
    assert run.get().json()["version"] == "2"


def test_last_good_code_comes_back_and_not_the_broken_file_on_disk(livecore: Launcher) -> None:
    run = livecore.app()
    run.write("app.py", "def broken(:\n")
    run.wait_reload("rejected")
    os.kill(run.get().json()["pid"], signal.SIGKILL)
    run.wait_event("recovered")
    assert run.get().json()["version"] == "1"


def test_child_that_dies_again_and_again_ends_in_the_hold_page_until_an_edit(livecore: Launcher) -> None:
    run = livecore.app(source=DIES_WHILE_POISONED)
    poison = run.cwd / "poison"
    poison.touch()
    os.kill(run.get().json()["pid"], signal.SIGKILL)
    run.wait_event("hold", timeout=30)
    assert run.get().status == 503
    poison.unlink()
    number = len(run.records)
    run.edit("app.py", 'VERSION = "1"', 'VERSION = "2"')
    run.wait_for(
        lambda record: record["event"] in {"started", "recovered"} or record.get("outcome") == "committed",
        since=number,
        what="return to service",
    )
    assert run.get().json()["version"] == "2"


def test_killed_parent_leaves_no_process_and_a_free_port(livecore: Launcher) -> None:
    run = livecore.app()
    run.get("/hit")
    run.kill()
    until(lambda: not run.pids(), timeout=1, what="end of every process", context=lambda: str(run.pids()))
    until(lambda: port_is_free(run.port), timeout=1, what="free port")


def test_parent_killed_while_new_code_hangs_leaves_no_process(livecore: Launcher) -> None:
    run = livecore.app()
    run.write("app.py", "import pathlib; pathlib.Path('looping').touch()\nwhile True: pass\n")
    until((run.cwd / "looping").exists, what="the endless loop")
    run.kill()
    until(lambda: not run.pids(), timeout=1, what="end of every process", context=lambda: str(run.pids()))
    until(lambda: port_is_free(run.port), timeout=1, what="free port")


REMEMBERS = """
from aiohttp import web
from livereload_core import preserve

said: list[str] = preserve("said", list)


async def say(request: web.Request) -> web.Response:
    said.append(request.match_info["word"])
    return web.json_response(said)


app = web.Application()
app.router.add_get("/{word}", say)
"""


def test_one_small_request_is_soon_in_the_snapshot_that_a_death_falls_back_on(livecore: Launcher) -> None:
    run = livecore.app(source=REMEMBERS)
    run.wait_settled()
    words = [f"word-{number:02}" for number in range(4)]
    for word in words:
        # The program does nothing else: it is this request alone that asks for a snapshot.
        run.get(f"/{word}")
        until(lambda word=word: run.holds(word), what=f"a snapshot with {word}")  # type: ignore[misc]
    (active,) = [child for child in run.status()["children"] if child["role"] == "active"]
    os.kill(active["pid"], signal.SIGKILL)
    run.wait_event("recovered")
    assert run.get("/after").json() == [*words, "after"]
