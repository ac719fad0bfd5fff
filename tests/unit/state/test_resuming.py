"""State that nobody holds any more, and state that its user gives up: the rest comes back, and it is said."""

from __future__ import annotations

from typing import Any

import pytest

from livereload_core.errors import CannotCarryError
from livereload_core.facts import RootFate
from livereload_core.state.engine import Waive
from livereload_core.state.snapshot import unpack
from livereload_core.wire import snapshots
from tests.unit.state.conftest import Program

HEAD = "from livereload_core import preserve\n"


def resumed(program: Program, gone: tuple[int, ...] = (), **sources: str) -> Any:
    """Go on in another process, with the bytes alone."""
    export = program.engine.export()
    data = b"".join(snapshots.alone(snapshots.read(export.data), gone))
    export.handed.close()
    app = program.start(**sources)
    program.engine.trial(data, (), Waive(resumed=True))
    program.engine.adopt(data, (), Waive(resumed=True))
    program.settle()
    program.engine.commit()
    return app


def reset(program: Program, *keys: str, exported: bool = True, **sources: str) -> Any:
    """Reload without the contents of some roots, which the old code leaves out or the new one does."""
    export = program.engine.export(reset=keys if exported else ())
    app = program.start(**sources)
    waive = Waive(reset=keys)
    program.engine.trial(export.data, export.handed.fds, waive)
    program.engine.adopt(export.data, export.handed.fds, waive)
    export.handed.close()
    program.settle()
    program.engine.commit()
    return app


def fate_of(program: Program, key: str) -> RootFate:
    return program.reports[key].fate


FILES = (
    HEAD
    + """
import os
@preserve
def log():
    return open(os.devnull, "w")
data = preserve("data", dict)
both = preserve("both", dict)
"""
)


def test_what_needs_no_process_comes_back_and_the_rest_is_lost_with_the_reason(program: Program) -> None:
    app = program.start(app=FILES)
    app.data["a"] = 1
    old = app.log()
    after = resumed(program, app=FILES)
    assert after.data == {"a": 1}
    assert after.log() is not old
    assert not after.log().closed
    report = program.reports["app:log"]
    assert (report.fate, report.detail) == (RootFate.LOST, snapshots.LOST_WITH_ITS_PROCESS)
    assert report.remedy
    assert program.reports["app:data"].fate is RootFate.KEPT
    old.close()
    after.log().close()


def test_identity_between_roots_holds(program: Program) -> None:
    app = program.start(app=FILES)
    app.data["both"] = app.both
    app.both["data"] = app.data
    after = resumed(program, app=FILES)
    assert after.data["both"] is after.both
    assert after.both["data"] is after.data


def test_a_reference_to_what_is_lost_leads_to_the_fresh_object(program: Program) -> None:
    source = FILES + "held = preserve('held', dict)\nheld['file'] = open(os.devnull)\n"
    app = program.start(app=source)
    app.data["held"] = app.held
    after = resumed(program, app=source)
    assert program.reports["app:held"].fate is RootFate.LOST
    assert after.data["held"] is after.held
    assert set(after.held) == {"file"}, "that of the new code's own start"
    app.held["file"].close()
    after.held["file"].close()


def test_what_the_program_had_closed_comes_back_closed(program: Program) -> None:
    source = FILES + "held = preserve('held', dict)\n"
    app = program.start(app=source)
    file = app.held["file"] = app.log()
    export = program.engine.export()
    places = range(len(export.handed.fds))
    export.handed.close()
    after = resumed(program, tuple(places), app=source)
    file.close()
    assert after.held["file"].closed
    assert program.reports["app:held"].fate is RootFate.KEPT


def test_a_lost_root_without_a_declaration_is_told_and_dropped(program: Program) -> None:
    app = program.start(app=FILES)
    file = app.log()
    resumed(program, app=FILES.replace("@preserve", ""))
    assert program.reports["app:log"].fate is RootFate.LOST
    assert "app:log" not in unpack(program.engine.export().data).entries
    file.close()


CARTS = (
    HEAD
    + "class Cart:\n    def __init__(self): self.n = 0\n"
    + "carts = preserve('carts', dict)\ncounts = preserve('counts', dict)\nhits = preserve('hits', int)\n"
)


@pytest.mark.parametrize("exported", [True, False])
def test_a_root_that_is_reset_starts_anew_and_the_others_stay(program: Program, exported: bool) -> None:
    app = program.start(app=CARTS)
    app.carts["a"] = app.Cart()
    app.counts["n"] = 5
    app.counts["carts"] = app.carts
    app.hits = 7
    after = reset(program, "app:carts", "app:hits", exported=exported, app=CARTS)
    assert after.carts == {}
    assert after.hits == 0
    assert after.counts["n"] == 5
    assert after.counts["carts"] is after.carts
    assert program.reports["app:carts"].fate is RootFate.RESET
    assert program.reports["app:hits"].fate is RootFate.RESET
    assert program.reports["app:counts"].fate is RootFate.KEPT


def test_reset_helps_where_the_state_cannot_be_carried(program: Program) -> None:
    app = program.start(app=CARTS)
    app.carts["a"] = (number for number in range(3))
    app.counts["n"] = 5
    with pytest.raises(CannotCarryError):
        program.engine.export()
    after = reset(program, "app:carts", app=CARTS)
    assert after.carts == {}
    assert after.counts == {"n": 5}


def test_reset_helps_where_the_new_code_cannot_take_it(program: Program) -> None:
    app = program.start(app=CARTS)
    app.carts["a"] = app.Cart()
    changed = CARTS.replace("preserve('carts', dict)", "preserve('carts', list)")
    with pytest.raises(CannotCarryError):
        program.reload(app=changed)
    program.start(app=CARTS).carts["a"] = 1
    assert reset(program, "app:carts", app=changed).carts == []


def test_what_a_reset_root_shared_stays_with_the_others(program: Program) -> None:
    app = program.start(app=CARTS)
    shared: list[int] = [1]
    app.carts["s"] = app.counts["s"] = app.counts["t"] = shared
    for _ in range(3):  # shared objects are looked for in the background
        program.engine.export().close()
    after = reset(program, "app:carts", app=CARTS)
    assert after.counts["s"] == [1]
    assert after.counts["s"] is after.counts["t"]


def test_a_parked_root_can_be_reset(program: Program) -> None:
    app = program.start(app=CARTS)
    app.carts["a"] = 1
    without = CARTS.replace("carts = preserve('carts', dict)\n", "")
    program.reload(app=without)
    assert fate_of(program, "app:carts") is RootFate.PARKED
    reset(program, "app:carts", app=without)
    assert fate_of(program, "app:carts") is RootFate.RESET
    assert program.reload(app=CARTS).carts == {}


def test_a_factory_root_is_made_anew(program: Program) -> None:
    source = HEAD + "class World: pass\n@preserve\ndef world():\n    return World()\n"
    program.start(app=source).world().size = 3
    after = reset(program, "app:world", app=source)
    assert not hasattr(after.world(), "size")


def test_migrations_and_validation_are_those_of_a_reload(program: Program) -> None:
    app = program.start(app=FILES)
    app.data["a"] = 1
    newer = FILES.replace(
        "preserve('data', dict)".replace("'", '"'),
        'preserve("data", dict, version=2, migrate=lambda old, version: {"b": old["a"] + 1})',
    )
    assert resumed(program, app=newer).data == {"b": 2}
    assert program.reports["app:data"].fate is RootFate.MIGRATED
