"""Tracked containers in a real run: edits, roll-backs, deaths, and the way over the disk."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from typing import Any

import pytest

from livereload_core.testing import LivecoreProcess, Load, until
from tests.e2e.launching import EXACT, PLAYGROUND, Launcher

ROWS = (PLAYGROUND / "rows" / "app.py").read_text()
PLAIN = ROWS.replace(
    "rows: dict[str, int] = preserve.dict()", 'rows: dict[str, int] = preserve("rows", dict)'
)
"""The same with a plain dict, which is compared."""
INSIDE = re.sub(r"(?<!\")\brows\b(?!\")", "table.rows", ROWS)
for old, new in (
    (
        "table.rows: dict[str, int] = preserve.dict()",
        "class Table:\n    def __init__(self):\n        self.rows = {}\n\ntable = preserve('rows', Table)",
    ),
    ('table.rows.update({f"row {number}": number ', 'table.rows.update({f"row {number}": [number] '),
    ("table.rows[key] = table.rows.get(key, 0) + 1", "table.rows[key][0] += 1"),
    ("recent[key] = table.rows[key]", "recent[key] = table.rows[key][0]"),
):
    assert INSIDE.count(old) == 1, old
    INSIDE = INSIDE.replace(old, new)
"""The same with a plain dict of lists, which are changed in place, in an object."""
ENV = {"ROWS": "20000"}

kinds = pytest.mark.parametrize(
    "source",
    [pytest.param(ROWS, id="tracked"), pytest.param(PLAIN, id="plain"), pytest.param(INSIDE, id="inside")],
)


def started(livecore: Launcher, *options: str, source: str = ROWS) -> LivecoreProcess:
    return livecore.program("app:app", *options, files={"app.py": source}, env=ENV)


def filled(livecore: Launcher, source: str = ROWS) -> LivecoreProcess:
    run = started(livecore, source=source)
    assert run.get("/fill").json()["rows"] == 20_000
    return run


def state(run: LivecoreProcess) -> Any:
    return content(run.get().json())


def content(answer: Any) -> Any:
    return {name: value for name, value in answer.items() if name not in ("version", "pid")}


def command(run: LivecoreProcess, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "livereload_core", *words],
        cwd=run.cwd,
        env={**os.environ, **ENV},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, (words, done.stdout, done.stderr)
    return done.stdout


@kinds
def test_edits_keep_every_row_and_their_order(livecore: Launcher, source: str) -> None:
    run = filled(livecore, source)
    for number in range(1, 5):
        run.get("/touch?n=1000")
        before = state(run)
        run.edit("app.py", f'VERSION = "{number}"', f'VERSION = "{number + 1}"')
        record = run.wait_reload("committed")
        assert {root["key"]: root["fate"] for root in record["roots"]} == {
            "app:rows": "kept",
            "app:recent": "kept",
        }
        assert run.get().json()["version"] == str(number + 1)
        assert state(run) == before
    assert before["last"] == "row 3"


def test_broken_edit_and_new_code_that_fails_lose_no_touch(livecore: Launcher) -> None:
    run = filled(livecore)
    run.get("/touch?n=500")
    run.edit("app.py", 'VERSION = "1"', 'VERSION = "2"\nasync def refuse(app):\n    raise RuntimeError("no")')
    run.wait_reload("committed")
    before = content(run.get("/touch?n=300").json())
    run.edit("app.py", "app = web.Application()", "app = web.Application()\napp.on_startup.append(refuse)")
    run.wait_reload("rolled-back")
    assert state(run) == before
    run.edit("app.py", 'VERSION = "2"', 'VERSION = "3')
    run.wait_reload("rejected")
    after = content(run.get("/touch?n=700").json())
    source = (run.cwd / "app.py").read_text()
    source = source.replace('VERSION = "3', 'VERSION = "4"').replace("app.on_startup.append(refuse)", "")
    run.write("app.py", source)
    run.wait_reload("committed")
    assert state(run) == after
    assert run.get().json()["version"] == "4"


@kinds
def test_killed_program_comes_back_with_its_rows(livecore: Launcher, source: str) -> None:
    run = filled(livecore, source)
    before = content(run.get("/touch?n=400").json())
    until(lambda: "20000 entries" in command(run, "state", "show", "rows"), what="a snapshot of now")
    os.kill(run.get().json()["pid"], signal.SIGKILL)
    run.wait_event("recovered")
    assert state(run) == before
    again = content(run.get("/touch?n=10").json())
    run.edit("app.py", 'VERSION = "1"', 'VERSION = "2"')
    run.wait_reload("committed")
    assert state(run) == again


@kinds
def test_rows_outlive_livecore_and_can_be_looked_at(livecore: Launcher, source: str) -> None:
    first = filled(livecore, source)
    first.get("/touch?n=1000")
    first.edit("app.py", 'VERSION = "1"', 'VERSION = "2"')
    first.wait_reload("committed")
    before = content(first.get("/touch?n=20").json())
    assert "'row 37'" in command(first, "state", "show", "rows", "--all")
    first.stop()
    second = started(livecore, "--resume", source=source.replace('VERSION = "1"', 'VERSION = "2"'))
    assert state(second) == before
    shown = json.loads(command(second, "state", "show", "rows", "--json", "--all"))
    (root,) = shown["roots"]
    tree = root["tree"]["children"][0] if source is INSIDE else root["tree"]
    assert len(tree["children"]) == 20_000
    assert command(second, "state", "diff", "now", "now").strip()
    file = str(second.cwd / "exported.state")
    command(second, "state", "export", file)
    second.get("/touch?n=2000")
    command(second, "state", "restore", file)
    assert state(second) == before


def test_roll_back_brings_the_rows_of_then_back(livecore: Launcher) -> None:
    run = filled(livecore)
    before = state(run)
    run.edit("app.py", 'VERSION = "1"', 'VERSION = "2"')
    run.wait_reload("committed")
    run.get("/touch?n=1000")
    assert state(run) != before
    command(run, "rollback")
    assert state(run) == before


def test_one_is_reset_and_the_other_kept(livecore: Launcher) -> None:
    run = filled(livecore)
    run.get("/touch?n=10")
    command(run, "reset", "app:rows")
    found = state(run)
    assert found["rows"] == 0
    assert len(found["touched"]) == 10
    assert run.get("/fill").json()["rows"] == 20_000


COUNTER = """
from aiohttp import web
from livereload_core import preserve

VERSION = "1"
counts = preserve.dict()
pages = preserve.dict()
counts.update({f"key {number}": 0 for number in range(5000)})
pages.update({number: [number] for number in range(5000)})


async def show(request):
    total = sum(counts.values())
    return web.json_response({"version": VERSION, "count": total, "pages": sum(map(len, pages.values()))})


async def hit(request):
    number = sum(counts.values())
    counts[f"key {number * 7 % 5000}"] += 1
    pages[number * 11 % 5000].append(number)
    return web.json_response({"version": VERSION, "count": number + 1})


app = web.Application()
app.router.add_get("/", show)
app.router.add_get("/hit", hit)
"""


def test_no_request_of_a_load_is_lost_or_counted_twice(livecore: Launcher) -> None:
    run = livecore.app(*EXACT, source=COUNTER)
    with Load(run.port) as load:
        for version in range(1, 6):
            load.more(60)
            run.edit("app.py", f'VERSION = "{version}"', f'VERSION = "{version + 1}"')
            run.wait_reload("committed")
        load.more(60)
    load.assert_flawless()
    load.assert_exact()
    found = run.get().json()
    assert found["count"] == load.answers
    assert found["pages"] == 5000 + load.answers


WORLD = """
import time
from livereload_core import preserve

VERSION = "1"
cells = preserve.dict()
state = preserve("state", dict)


def main():
    if not cells:
        cells.update({number: number for number in range(20_000)})
    while True:
        tick = state["tick"] = state.get("tick", 0) + 1
        for number in range(tick * 100, tick * 100 + 100):
            cells[number % 20_000] += 1
        print("tick", VERSION, tick, sum(cells.values()), flush=True)
        time.sleep(0.01)
"""


def test_program_without_a_server_goes_on_with_its_cells(livecore: Launcher) -> None:
    run = livecore.program("world:main", files={"world.py": WORLD}, serves=False)
    start = sum(range(20_000))
    for version in range(1, 4):
        run.wait_output(lambda line, version=version: line.startswith(f"tick {version} "))  # type: ignore[misc]
        run.edit("world.py", f'VERSION = "{version}"', f'VERSION = "{version + 1}"')
        run.wait_reload("committed")
        line = run.wait_output(lambda line, version=version: line.startswith(f"tick {version + 1} "))  # type: ignore[misc]
        _, _, tick, total = line.split()
        # The pause may fall between two writes of one tick; what was written is there all the same.
        assert start + int(tick) * 100 - 100 * version <= int(total) <= start + int(tick) * 100


ARRAYS = """
from aiohttp import web
from livereload_core import preserve

VERSION = "1"
grid = preserve.array((1000, 1000))
small = preserve.array(3, int, "named")


async def show(request):
    grid[::100, 0] += 1
    small[0] += 1
    return web.json_response([VERSION, float(grid.sum()), small.tolist(), grid.shape, str(grid.dtype)])


app = web.Application()
app.router.add_get("/", show)
"""


def test_arrays_keep_what_was_written(livecore: Launcher) -> None:
    pytest.importorskip("numpy")
    run = livecore.app(source=ARRAYS)
    for number in range(1, 4):
        assert run.get().json() == [str(number), 10.0 * number, [number, 0, 0], [1000, 1000], "float64"]
        run.edit("app.py", f'VERSION = "{number}"', f'VERSION = "{number + 1}"')
        run.wait_reload("committed")
