"""After many reloads the parent holds what it held after the first few."""

from __future__ import annotations

import pytest

from livereload_core.testing import ProcessCensus, census, scaled, until
from livereload_core.testing.processes import rss, zombies_of
from tests.e2e.launching import PLAYGROUND_APP, Launcher

RELOADS = scaled(200, least=30)
WARM = 5
MEMORY = 4 * 1024 * 1024
"""How far the parent's memory may wander: allocator noise; 200 reloads that leak 20 KiB each would show."""


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_descriptors_processes_and_memory_are_those_after_five_reloads(livecore: Launcher) -> None:
    # A short probation lets the old generation go before the next edit, so that each reload ends as a whole.
    run = livecore.app("--probation", "0.1", source=PLAYGROUND_APP)

    def look() -> tuple[ProcessCensus, ProcessCensus]:
        serving = census(run.get().json()["pid"])
        # A second one from the first connection on that lives long enough to be held; a request may be one.
        serving.fds.pop("/memfd:livecore-marks (deleted)")
        return run.census(), serving

    def reload(number: int) -> None:
        run.get("/hit")
        run.edit("app.py", f'VERSION = "{number}"', f'VERSION = "{number + 1}"')
        run.wait_reload("committed")

    for number in range(1, WARM + 1):
        reload(number)
    run.wait_settled()
    # Until the new code has proven itself, the parent holds what belongs to the code before as well.
    until(
        lambda: run.census().fds["/memfd:livecore-sources (deleted)"] == 1, what="the proof of the new code"
    )
    run.wait_snapshots(WARM)  # which is how many are kept by default
    before, processes, memory = look(), len(run.pids()), rss(run.pid)
    for number in range(WARM + 1, RELOADS + 1):
        reload(number)
    run.wait_settled()

    def leaked() -> list[dict[str, int]]:
        return [now.beyond(then) for now, then in zip(look(), before, strict=True)]

    until(
        lambda: not any(leaked()),
        what="no more than after five reloads",
        context=lambda: f"{leaked()}\n{run.fds()}",
    )
    until(lambda: len(run.pids()) == processes, what="as many processes", context=run.pids)
    assert rss(run.pid) - memory < MEMORY
    assert not zombies_of(run.pid)
    assert run.get().json()["count"] == RELOADS


def test_rejected_edits_leak_nothing(livecore: Launcher) -> None:
    run = livecore.app("--probation", "0.1", "--keep-generations", "2")

    def break_and_fix(number: int) -> None:
        for broken in ("def broken(:\n", "raise RuntimeError('boom')\n", "import os; os._exit(0)\n"):
            run.write("app.py", broken)
            run.wait_reload("rejected")
        run.write("app.py", PLAYGROUND_APP.replace('VERSION = "1"', f'VERSION = "{number}"'))
        run.wait_reload("committed")
        run.wait_settled()

    for number in range(2, 4):
        break_and_fix(number)
    run.wait_snapshots(2)
    before = run.census()
    for number in range(4, 4 + scaled(20, least=4)):
        break_and_fix(number)
    until(
        lambda: not run.census().beyond(before),
        what="no more descriptors than before",
        context=lambda: f"{run.census().beyond(before)} {run.fds()}",
    )
    assert not zombies_of(run.pid)
