"""After many reloads with connections open nobody holds more than after the first few."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from livereload_core.testing import ProcessCensus, census, scaled, until
from tests.e2e.launching import Launcher
from tests.e2e.test_connection_deaths import SOURCE, held, open_clients, pid_of, said

RELOADS = scaled(50, least=12)  # 200 at the scale of 4
CLIENTS = scaled(50, least=20)
WARM = 3
KEPT = 2


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_reloads_with_connections_leak_no_descriptor(livecore: Launcher) -> None:
    run = livecore.app("--keep-generations", str(KEPT), source=SOURCE)
    with ExitStack() as stack:
        clients = open_clients(run, stack, CLIENTS)

        def look() -> tuple[ProcessCensus, ProcessCensus]:
            return run.census(), census(pid_of(run))

        def reload(number: int) -> None:
            run.edit("app.py", f'VERSION = "{number}"', f'VERSION = "{number + 1}"')
            record = run.wait_reload("committed")
            assert record["connections"] == {"kept": CLIENTS, "left": {}}
            answers = [said(client, "x") for client in clients]
            assert [answer["version"] for answer in answers] == [str(number + 1)] * CLIENTS
            assert [answer["count"] for answer in answers] == [number + 1] * CLIENTS
            run.wait_settled()

        assert {said(client, "x")["count"] for client in clients} == {1}
        until(lambda: held(run) == CLIENTS, what="the parent to hold every connection")
        for number in range(1, WARM + 1):
            reload(number)
        run.wait_snapshots(KEPT)
        before = look()
        for number in range(WARM + 1, RELOADS + 1):
            reload(number)

        def leaked() -> list[dict[str, int]]:
            return [now.beyond(then) for now, then in zip(look(), before, strict=True)]

        until(lambda: not any(leaked()), what="no more than after the first reloads", context=leaked)
        until(lambda: held(run) == CLIENTS, what="the parent to hold every connection")
    until(lambda: held(run) == 0, what="the parent to let go of every connection")
