"""State that outlives livecore, and the way back to earlier states, asked for from a second terminal."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from livereload_core.testing import LivecoreProcess, ask_http, free_port, until
from tests.e2e.launching import Launcher

COUNTER = """
import os

from aiohttp import web

from livereload_core import preserve

VERSION = "1"
counts = preserve("counts", dict)
users = preserve("users", dict)


class User:
    def __init__(self, name, password):
        self.name = name
        self.password = password


@preserve
def log():
    return open("log.txt", "a")


async def show(request):
    return web.json_response({"version": VERSION, "pid": os.getpid(), "count": counts.get("n", 0)})


async def hit(request):
    counts["n"] = counts.get("n", 0) + 1
    log().write("hit\\n")
    return await show(request)


async def join(request):
    users["ann"] = User("Ann", "hunter2")
    users["url"] = "postgres://ann:hunter2@db/shop"
    return await show(request)


async def poison(request):
    counts["poison"] = (number for number in range(3))
    return await show(request)


app = web.Application()
app.router.add_get("/poison", poison)
app.router.add_get("/", show)
app.router.add_get("/hit", hit)
app.router.add_get("/join", join)
"""


def command(
    run: LivecoreProcess, *words: str, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Type a command in the folder of a run."""
    return subprocess.run(
        [sys.executable, "-m", "livereload_core", *words],
        cwd=run.cwd,
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def answer(run: LivecoreProcess, *words: str) -> str:
    done = command(run, *words)
    assert done.returncode == 0, (words, done.stdout, done.stderr)
    return done.stdout


def refusal(run: LivecoreProcess, *words: str) -> str:
    done = command(run, *words)
    assert done.returncode != 0, (words, done.stdout)
    assert done.stderr.startswith("livecore: "), done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr.removeprefix("livecore: ").rstrip()


def parsed(run: LivecoreProcess, *words: str) -> Any:
    return json.loads(answer(run, *words))


def count(run: LivecoreProcess) -> int:
    return int(run.get().json()["count"])


def said(run: LivecoreProcess, part: str) -> bool:
    return any(part in str(record.get("text", "")) for record in run.records)


def saved_count(run: LivecoreProcess) -> int | None:
    """What the disk holds, looked at without the run."""
    done = command(run, "state", "show", "counts", "--generation", "saved", "--json")
    if done.returncode != 0:
        return None
    (root,) = json.loads(done.stdout)["roots"]
    children = root["tree"].get("children", [])
    return children[0]["value"] if children else 0


def test_the_state_outlives_livecore(livecore: Launcher) -> None:
    first = livecore.app(source=COUNTER)
    for number in (1, 2, 3):
        assert first.get("/hit").json()["count"] == number
    first.stop()
    second = livecore.app("--resume", source=COUNTER)
    assert second.get("/hit").json()["count"] == 4
    started = second.wait_started()
    fates = {root["key"]: root["fate"] for root in started["roots"]}
    assert fates == {"app:counts": "kept", "app:users": "kept", "app:log": "lost"}
    (lost,) = (root for root in started["roots"] if root["fate"] == "lost")
    assert lost["detail"]
    assert lost["remedy"]
    assert said(second, "resumes the state of")


def test_the_very_last_request_is_in_it(livecore: Launcher) -> None:
    """However short before the end it came, and although no background snapshot is taken at all."""
    first = livecore.app("--checkpoint", "0", source=COUNTER)
    assert first.get("/hit").json()["count"] == 1
    assert command(first, "stop").returncode == 0
    assert count(livecore.app("--resume", source=COUNTER)) == 1


LARGE = (
    COUNTER
    + """
rows = preserve("rows", lambda: [[number] for number in range(300_000)])


async def writing(request):
    import sys

    names = set()
    for frame in sys._current_frames().values():
        while frame is not None:
            names.add(frame.f_code.co_name)
            frame = frame.f_back
    return web.json_response("catch_up" in names)


app.router.add_get("/writing", writing)
"""
)


def test_it_is_in_it_although_a_background_snapshot_is_under_way(livecore: Launcher) -> None:
    first = livecore.app(source=LARGE)
    first.get("/hit")
    until(lambda: first.get("/writing").json(), what="rows written in slices beside the program")
    assert first.get("/hit").json()["count"] == 2
    assert command(first, "stop").returncode == 0
    assert saved_count(first) == 2


def test_a_last_state_that_cannot_be_carried_is_said_and_the_one_before_is_saved(livecore: Launcher) -> None:
    first = livecore.app(source=COUNTER)
    first.get("/hit")
    until(lambda: saved_count(first) == 1, what="the state on the disk")
    first.get("/poison")
    first.stop()
    assert said(first, 'snapshots hold app:counts as it was before: counts["poison"]: a generator')
    assert count(livecore.app("--resume", source=COUNTER)) == 1


def test_a_last_state_that_hangs_does_not_hold_the_end_up(livecore: Launcher) -> None:
    source = COUNTER.replace(
        "class User:\n",
        "class User:\n    def __getstate__(self):\n        import time\n        time.sleep(600)\n\n",
    )
    run = livecore.app("--checkpoint", "0", source=source)
    run.get("/hit")
    run.get("/join")
    run.interrupt()
    assert run.wait_exit(timeout=15) == 130


def test_a_kill_of_livecore_itself_loses_little(livecore: Launcher) -> None:
    first = livecore.app(source=COUNTER)
    for _ in range(5):
        first.get("/hit")
    until(lambda: saved_count(first) == 5, what="the state on the disk")
    os.kill(first.pid, signal.SIGKILL)
    first.wait_exit()
    until(lambda: not first.pids(), what="end of every process")
    second = livecore.app("--resume", source=COUNTER)
    assert second.get("/hit").json()["count"] == 6


def test_a_run_begins_afresh_unless_told_otherwise(livecore: Launcher) -> None:
    first = livecore.app(source=COUNTER)
    first.get("/hit")
    first.stop()
    second = livecore.app(source=COUNTER)
    assert count(second) == 0
    assert said(second, "--resume goes on with it, this run starts afresh")
    second.get("/hit")
    second.get("/hit")
    second.stop()
    assert saved_count(second) == 2
    third = livecore.app(source=COUNTER)
    third.get("/hit")
    until(lambda: saved_count(third) == 1, timeout=20, what="the third run's own state on the disk")
    answer(third, "state", "restore", "before")
    assert count(third) == 2, "what the third run found was moved aside"


def test_the_project_may_say_that_every_run_goes_on(livecore: Launcher) -> None:
    settings = {"pyproject.toml": "[tool.livecore]\nresume = true\n"}
    first = livecore.app(source=COUNTER, **settings)
    first.get("/hit")
    first.stop()
    second = livecore.app(source=COUNTER, **settings)
    assert count(second) == 1
    second.stop()
    assert count(livecore.app("--fresh", source=COUNTER, **settings)) == 0


def test_a_run_may_leave_nothing_on_the_disk(livecore: Launcher, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    run = livecore.program(
        "app:app", "--no-save", files={"app.py": COUNTER}, env={"XDG_CACHE_HOME": str(cache)}
    )
    run.get("/hit")
    run.stop()
    assert not list(cache.rglob("*.state*"))


def _saved_file(cache: Path) -> Path:
    (path,) = cache.rglob("*.state")
    return path


def test_a_damaged_state_is_said_and_the_program_starts_afresh(livecore: Launcher, tmp_path: Path) -> None:
    env = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    first = livecore.program("app:app", files={"app.py": COUNTER}, env=env)
    first.get("/hit")
    first.stop()
    path = _saved_file(tmp_path / "cache")
    good = path.read_bytes()
    path.write_bytes(good[:100] + bytes([good[100] ^ 1]) + good[101:])
    assert "is damaged" in command(first, "state", "show", "--generation", "saved", env=env).stderr
    second = livecore.program("app:app", "--resume", files={"app.py": COUNTER}, env=env)
    assert count(second) == 0
    assert said(second, "the saved state is damaged: checksum")
    second.stop()
    assert path.with_name(f"{path.name}.before").read_bytes()[100] == good[100] ^ 1, "nothing is deleted"


def test_a_state_that_todays_code_cannot_take_waits_for_the_fix(livecore: Launcher) -> None:
    first = livecore.app(source=COUNTER)
    first.get("/hit")
    first.stop()
    broken = COUNTER.replace('preserve("counts", dict)', 'preserve("counts", list)')
    second = livecore.program("app:app", "--resume", files={"app.py": broken}, started=False)
    hold = second.wait_event("hold")
    assert "was dict, is list now" in hold["failure"]["reason"]
    assert saved_count(second) == 1
    assert "'n'  1" in answer(second, "state", "show", "counts"), "it is held as well"
    listed = answer(second, "state", "ls")
    assert "(not taken up yet)" in listed
    assert "(serves)" not in listed
    second.edit("app.py", 'preserve("counts", list)', 'preserve("counts", dict)')
    second.wait_reload("committed")
    assert count(second) == 1


def test_a_state_that_todays_code_cannot_take_is_given_up_on_request(livecore: Launcher) -> None:
    first = livecore.app(source=COUNTER)
    first.get("/hit")
    first.stop()
    changed = COUNTER.replace('preserve("counts", dict)', 'preserve("counts", list)').replace(
        'counts["n"] = counts.get("n", 0) + 1', "counts.append(1)"
    )
    changed = changed.replace('counts.get("n", 0)', "len(counts)")
    second = livecore.program("app:app", "--resume", files={"app.py": changed}, started=False)
    second.wait_event("hold")
    assert "reset 1" in answer(second, "reset", "counts")
    assert second.get("/hit").json()["count"] == 1


def test_two_runs_of_one_target_do_not_mix(livecore: Launcher) -> None:
    first = livecore.app(source=COUNTER)
    second = livecore.program("app:app", files={"app.py": COUNTER}, port=free_port())
    first.get("/hit")
    for _ in range(3):
        second.get("/hit")
    second.wait_for(
        lambda record: "another run of this target saves its state" in str(record.get("text")), what="warning"
    )
    second.stop()
    until(lambda: saved_count(first) == 1, what="the state of the first run on the disk")
    first.stop()
    assert count(livecore.app("--resume", source=COUNTER)) == 1


def test_rollback_and_reset_in_a_live_application(livecore: Launcher) -> None:
    run = livecore.app(source=COUNTER)
    failed: list[Any] = []
    done = threading.Event()

    def ask() -> None:
        while not done.is_set():
            try:
                found = ask_http(run.port, "/")
            except OSError as error:
                failed.append(error)
            else:
                if found.status != 200:
                    failed.append(found)

    client = threading.Thread(target=ask)
    client.start()
    try:
        run.get("/hit")
        run.edit("app.py", 'VERSION = "1"', 'VERSION = "2"')
        run.wait_reload("committed")
        for _ in range(4):
            run.get("/hit")
        assert "with the state of generation 1" in answer(run, "rollback")
        assert run.get().json() | {"pid": 0} == {"version": "2", "pid": 0, "count": 1}, (
            "state of then, code of now"
        )
        assert "with the state of generation 2" in answer(run, "rollback"), "the way back from it"
        assert count(run) == 5
        answer(run, "rollback", "1")
        assert count(run) == 1
        assert "reset" in answer(run, "reset", "counts")
        assert count(run) == 0
        run.get("/hit")
        answer(run, "reset")
        assert count(run) == 0
    finally:
        done.set()
        client.join(20)
    assert failed == []
    listed = parsed(run, "state", "ls", "--json")
    assert [state["why"] for state in listed["states"]] == [
        "now",
        "reset",
        "reset",
        "rollback",
        "rollback",
        "rollback",
    ]


@pytest.mark.parametrize("keys", [(), ("counts",)], ids=["of all", "of one object"])
def test_a_rollback_takes_a_reset_back(livecore: Launcher, keys: tuple[str, ...]) -> None:
    run = livecore.app(source=COUNTER)
    for _ in range(3):
        run.get("/hit")
    answer(run, "reset", *keys)
    assert count(run) == 0
    answer(run, "rollback")
    assert count(run) == 3


def test_a_state_that_todays_code_cannot_take_leaves_the_old_one(livecore: Launcher) -> None:
    run = livecore.app(source=COUNTER)
    run.get("/join")
    run.edit("app.py", 'users = preserve("users", dict)', "users = {}")
    run.wait_reload("committed")
    run.edit("app.py", "users = {}", 'users = preserve("users", list)')
    run.wait_reload("rejected")
    run.edit("app.py", 'preserve("users", list)', 'preserve("users", list, aliases=("nobody",))')
    done = command(run, "rollback")
    assert done.returncode == 1
    assert count(run) == 0
    run.wait_reload("rejected")


def test_what_cannot_be_carried_any_more_does_not_block_the_way_back(livecore: Launcher) -> None:
    run = livecore.app("--checkpoint", "0", source=COUNTER)
    run.get("/hit")
    run.edit("app.py", 'VERSION = "1"', 'VERSION = "2"')
    run.wait_reload("committed")
    run.get("/hit")
    answer(run, "state", "ls")  # the state of now is held
    run.get("/poison")
    done = command(run, "state", "show", "counts")
    assert "'n'  2" in done.stdout
    assert "this is not the state of now" in done.stderr
    assert 'counts["poison"]: a generator stands in the middle of old code' in done.stderr
    run.edit("app.py", 'VERSION = "2"', 'VERSION = "3"')
    run.wait_reload("rejected")
    answer(run, "rollback")
    assert count(run) == 1
    answer(run, "rollback")
    assert count(run) == 2, "the newest that could be carried"
    run.get("/poison")
    assert "reset 1" in answer(run, "reset", "counts")
    assert count(run) == 0


def test_what_could_never_be_carried_can_be_given_up(livecore: Launcher) -> None:
    run = livecore.app("--checkpoint", "0", source=COUNTER)
    run.get("/poison")
    run.get("/join")
    assert "did you mean 'app:counts'?" in refusal(run, "reset", "cuonts")
    assert "kept 1: users  new 1: log  reset 1" in answer(run, "reset", "counts")


def test_a_disk_that_cannot_be_written_is_said_and_the_run_goes_on(livecore: Launcher) -> None:
    """In /proc nobody can make a folder, not even root."""
    run = livecore.program("app:app", files={"app.py": COUNTER}, env={"XDG_CACHE_HOME": "/proc/nowhere"})
    run.get("/hit")
    run.wait_for(
        lambda record: "the state of this run cannot be saved" in str(record.get("text")), what="warning"
    )
    run.edit("app.py", 'VERSION = "1"', 'VERSION = "2"')
    run.wait_reload("committed")
    assert count(run) == 1
    answer(run, "rollback")
    assert run.stop() == 130
    assert sum("cannot be saved" in str(record.get("text")) for record in run.records) == 1


def test_show_hides_secrets_and_runs_no_code(livecore: Launcher) -> None:
    run = livecore.app(source=COUNTER)
    run.get("/join")
    run.get("/hit")
    shown = answer(run, "state", "show")
    assert "not shown: holds an open file, socket or pipe, which ends with its process" in shown
    assert "name      'Ann'" in shown
    assert "password  <hidden>" in shown
    assert "postgres://<hidden>@db/shop" in shown
    for words in (("state", "show"), ("state", "show", "--json"), ("state", "diff", "now", "now")):
        assert "hunter2" not in answer(run, *words)
    assert answer(run, "state", "show", "users", "--reveal").count("hunter2") == 2
    assert "app:counts" not in answer(run, "state", "show", "users")
    # The code that the state speaks of is gone, and what is there now must not be run.
    run.stop()
    run.write("app.py", "open('imported', 'w')\n")
    assert "app.User" in answer(run, "state", "show")
    assert not (run.cwd / "imported").exists()


def test_states_are_listed_compared_and_exported(livecore: Launcher) -> None:
    run = livecore.app(source=COUNTER)
    run.get("/hit")
    run.edit("app.py", 'VERSION = "1"', 'VERSION = "2"')
    run.wait_reload("committed")
    run.get("/hit")
    listed = answer(run, "state", "ls")
    assert "edit of app.py" in listed
    assert "(serves)" in listed
    assert "app:counts['n']  1 → 2" in answer(run, "state", "diff", "1")
    assert parsed(run, "state", "diff", "1", "1", "--json")["differences"] == []
    assert "to " in answer(run, "state", "export", "one.state", "--generation", "1")
    assert "app:counts['n']  1 → 2" in answer(run, "state", "diff", "one.state", "now")
    assert (run.cwd / "one.state").stat().st_mode & 0o777 == 0o600
    run.get("/hit")
    answer(run, "state", "restore", "one.state")
    assert count(run) == 1
    run.stop()
    assert "'n'  1" in answer(run, "state", "show", "counts")
    assert "saved" in answer(run, "state", "ls")
    assert "app:counts['n']  1 → 2" not in answer(run, "state", "diff", "one.state", "saved")


def test_mistakes_get_one_sentence_with_what_to_do(livecore: Launcher, tmp_path: Path) -> None:
    run = livecore.app(source=COUNTER)
    run.get("/hit")
    assert refusal(run, "rollback") == "no earlier state is kept; one is kept with each reload"
    assert "did you mean 'app:counts'?" in refusal(run, "state", "show", "cuonts")
    assert "did you mean 'app:counts'?" in refusal(run, "reset", "app:count")
    assert "no state of generation 9 is kept" in refusal(run, "state", "show", "--generation", "9")
    assert "No such file" in refusal(run, "state", "restore", "nofile")
    (run.cwd / "foreign").write_text("hello")
    (run.cwd / "foreign").chmod(0o600)
    assert "is not a saved state of livecore" in refusal(run, "state", "restore", "foreign")
    assert "cannot be written: there is no folder" in refusal(run, "state", "export", "nowhere/file")
    assert not (run.cwd / "nowhere").exists()
    assert "cannot be written" in refusal(run, "state", "export", "/proc/file")
    answer(run, "state", "export", "mine")
    (run.cwd / "mine").chmod(0o666)
    assert "can be written by other users" in refusal(run, "state", "restore", "mine")
    run.stop()
    assert "nothing runs in" in refusal(run, "rollback")
    assert "nothing runs in" in refusal(run, "reset", "counts")
    assert "`saved` is what the last run has left" in refusal(run, "state", "diff", "1")


def test_a_look_is_at_the_state_of_this_moment(livecore: Launcher) -> None:
    run = livecore.app("--checkpoint", "0", source=COUNTER)
    for number in range(1, 6):
        run.get("/hit")
        (root,) = parsed(run, "state", "show", "counts", "--json")["roots"]
        assert root["tree"]["children"][0]["value"] == number


@pytest.mark.parametrize("most", ["0", "1"])
def test_as_many_states_are_kept_as_the_user_says(livecore: Launcher, most: str) -> None:
    run = livecore.app("--keep-generations", most, source=COUNTER)
    for number in range(1, 5):
        run.get("/hit")
        run.edit("app.py", f'VERSION = "{number}"', f'VERSION = "{number + 1}"')
        run.wait_reload("committed")
    run.wait_settled()
    states = parsed(run, "state", "ls", "--json")["states"]
    assert len(states) == int(most) + 1
    if most == "0":
        assert "keep-generations is 0" in refusal(run, "rollback")

    def held() -> int:
        return sum("livecore-state" in target for target in run.fds().values())

    until(
        lambda: held() == int(most) + 1,
        what="the newest state and the kept ones, and no other",
        context=lambda: str(held()),
    )
