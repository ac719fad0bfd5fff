"""A warm model in an array: over many edits, wrong ones too, and deaths, each trained step is there once."""

from __future__ import annotations

import os
import signal

from livereload_core.testing import LivecoreProcess, scaled, until
from tests.e2e.launching import PLAYGROUND, Launcher

SOURCE = (PLAYGROUND / "model" / "app.py").read_text()
MEGABYTES = 64
EDITS = scaled(24, least=12)
MOST_SEGMENTS = 60
"""Segments that the parent holds: a few of the newest snapshot, the one before, and each that is kept."""


def test_model_is_kept_over_edits_roll_backs_and_deaths(livecore: Launcher) -> None:
    run = livecore.program("app:app", files={"app.py": SOURCE}, env={"MODEL_MB": str(MEGABYTES)})
    count = 0
    for number in range(1, EDITS + 1):
        assert run.get("/hit").json()["count"] == count + 1, run.transcript()
        count += 1
        if number % 3 == 0:
            _edit_wrongly(run, number)
            assert run.get("/hit").json()["count"] == count + 1, "the old code goes on with its own array"
            count += 1
        run.write("app.py", SOURCE.replace('VERSION = "1"', f'VERSION = "{number + 1}"'))
        record = run.wait_reload("committed")
        found = run.get().json()
        assert found == {"version": str(number + 1), "count": count, "learned": count}
        assert record["roots"] == [{"key": "app:model", "fate": "kept", "detail": "", "remedy": ""}]
        assert _segments(run) <= MOST_SEGMENTS, run.census()
        if number % 4 == 0:
            count = _die(run)


def _edit_wrongly(run: LivecoreProcess, number: int) -> None:
    if number % 2:
        run.write("app.py", "def broken(:\n")
        run.wait_reload("rejected")
        return
    # It trains the model that it was given before it fails: its pages are its own.
    fails = (
        "async def fail(app):\n    model().train()\n    model().weights[:] = 9\n    raise RuntimeError\n\n\n"
    )
    source = SOURCE.replace("app = web.Application()", fails + "app = web.Application()")
    run.write("app.py", source + "app.on_startup.append(fail)\n")
    run.wait_reload("rolled-back")


def _die(run: LivecoreProcess) -> int:
    """Kill the program; returns the count that the state had that is there then."""
    before = run.get().json()["count"]
    said = len(run.records)
    [serving] = [child["pid"] for child in run.status()["children"] if child["role"] == "active"]
    os.kill(serving, signal.SIGKILL)
    run.wait_event("recovered", since=said)
    found = until(lambda: run.get().json(), what="an answer")
    assert found["count"] == found["learned"], "array and counter are of one moment"
    assert found["count"] in (before - 1, before)
    return int(found["count"])


def _segments(run: LivecoreProcess) -> int:
    return sum(number for link, number in run.census().fds.items() if "livecore-segment" in link)


def test_state_beyond_the_memory_that_is_left_rejects_and_the_old_code_serves(livecore: Launcher) -> None:
    # A limit on the size of files is one on memfds, too.
    limited = "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (1 << 22, 1 << 22))\n"
    future = "from __future__ import annotations\n"
    source = SOURCE.replace(future, future + limited)
    run = livecore.program("app:app", files={"app.py": source}, env={"MODEL_MB": "16"})
    run.get("/hit")
    run.write("app.py", source.replace('VERSION = "1"', 'VERSION = "2"'))
    record = run.wait_reload("rejected")
    assert (
        "need 16 MiB of shared memory, and there is not so much (File too large)"
        in record["failure"]["reason"]
    )
    assert run.get().json() == {"version": "1", "count": 1, "learned": 1}
