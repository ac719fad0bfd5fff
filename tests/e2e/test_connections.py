"""Established connections, the real thing: no edit, good or bad, costs any client of any server anything."""

from __future__ import annotations

import pytest

from livereload_core.testing import scaled
from livereload_core.testing.links import Crowd
from tests.e2e.launching import Launcher
from tests.e2e.talking import TALKERS, Talker, break_in_start_up, break_syntax, mend

pytestmark = pytest.mark.timeout(300)
CHOSEN = TALKERS[:: max(1, round(len(TALKERS) / scaled(len(TALKERS), least=8)))]
"""All of them at the full size of a test run; every second one otherwise."""


@pytest.mark.slow
@pytest.mark.parametrize("talker", CHOSEN, ids=lambda talker: talker.name)
def test_edits_cost_no_connection_anything(livecore: Launcher, talker: Talker) -> None:
    talk = talker.start(livecore)
    talk.answers()
    with Crowd() as crowd:
        crowd.join(talk.clients())
        with talk.load() as load:
            for step in (
                talk.edit,
                lambda: break_syntax(talk),
                lambda: mend(talk),
                lambda: break_in_start_up(talk),
                lambda: mend(talk),
            ):
                crowd.exchanged(5)
                step()
                crowd.exchanged(5)
            load.more(20)
        load.assert_flawless()
        crowd.rest()
        talk.run.skip_reloads()
        talk.edit()
        crowd.go_on()
        crowd.all_heard(str(talk.version))
        crowd.exchanged(5)
        said = [*talk.run.stderr, *talk.run.output]
    crowd.assert_flawless()
    assert all(ledger.resumed for ledger in crowd.ledgers), crowd.report()
    kept = talk.run.reloads("committed")[-1]["connections"]
    assert kept == {"kept": len(crowd.ledgers), "left": {}}
    # uvicorn shows why a start-up fails; of connections that have gone over nothing is to be seen
    faults = sum(line.endswith("RuntimeError: a fault in the start-up") for line in said)
    assert sum("Traceback (most" in line for line in said) == faults, "handlers of the old code fail aloud"
