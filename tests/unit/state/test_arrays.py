"""Large arrays in preserved state: what comes back is what was there, in every way that a program can see."""

from __future__ import annotations

import gc
import os
import sys
from typing import Any

import numpy as np
import pytest

from livereload_core.errors import CannotCarryError
from livereload_core.state import memory
from livereload_core.state.segments import Piece
from tests.unit.state.conftest import Program

APP = """
import array
import numpy as np
from livereload_core import preserve

kept = preserve("kept", dict)
"""

LARGE = 100_000


def carry(program: Program, **values: Any) -> Any:
    app = program.start(app=APP)
    app.kept.update(values)
    return program.reload().kept


def in_segments(program: Program) -> int:
    """How many bytes the state has outside of its streams."""
    export = program.engine.export()
    export.close()
    return sum(area.length for area in program.engine._store._areas.values())


def test_large_arrays_are_no_part_of_the_snapshot(program: Program) -> None:
    app = program.start(app=APP)
    app.kept["weights"] = np.ones(LARGE)
    export = program.engine.export()
    export.close()
    assert len(export.data) < 4096
    assert in_segments(program) == 8 * LARGE


@pytest.mark.parametrize(
    "value",
    [
        np.arange(LARGE, dtype=np.float32),
        np.asfortranarray(np.arange(LARGE).reshape(100, 1000)),
        np.arange(LARGE).astype(">i4"),
        np.zeros(LARGE, [("x", "f8"), ("name", "U3")]),
        np.arange(LARGE).astype("M8[s]"),
        np.full(LARGE, "ümlaut"),
        np.arange(LARGE, dtype=np.uint8).reshape(10, 100, 100)[3:7],
        np.arange(2 * LARGE)[::2],
        np.empty((0, 1000)),
        np.array([{"any": "object"}] * LARGE, dtype=object),
        np.ma.masked_less(np.arange(LARGE), 5),
        np.frombuffer(b"x" * LARGE, np.uint8),
    ],
    ids=lambda value: f"{type(value).__name__}-{value.dtype}-{'x'.join(map(str, value.shape))}",
)
def test_arrays_come_back_equal_in_every_way(program: Program, value: Any) -> None:
    back = carry(program, value=value)["value"]
    for _ in range(2):
        assert type(back) is type(value)
        assert back.dtype == value.dtype
        assert back.shape == value.shape
        assert (back == value).all()
        assert back.flags.writeable == value.flags.writeable
        assert back.flags.f_contiguous == value.flags.f_contiguous or not value.flags.contiguous
        back = program.reload().kept["value"]


def test_read_only_arrays_stay_so(program: Program) -> None:
    value = np.ones(LARGE)
    value.flags.writeable = False
    assert not carry(program, value=value)["value"].flags.writeable


def test_one_array_in_two_places_stays_one(program: Program) -> None:
    value = np.ones(LARGE)
    back = carry(program, one=value, other=[value])
    assert back["one"] is back["other"][0]


def test_views_share_memory_with_their_base_over_many_generations(program: Program) -> None:
    value = np.arange(4 * LARGE)
    back = carry(program, base=value, row=value[100:200], turned=value[::-1])
    for number in range(3):
        back["base"][150] = -number
        assert back["row"][50] == -number
        assert back["turned"][-151] == -number
        back = program.reload().kept
        assert back["base"][150] == -number


def test_arrays_of_every_size_and_age_survive_many_generations(program: Program) -> None:
    app = program.start(app=APP)
    chance = np.random.default_rng(1)
    for step in range(12):
        kept = app.kept
        for _ in range(3):
            kept[f"a{chance.integers(8)}"] = chance.random(chance.integers(1000, 400_000))
        for array in kept.values():
            array[chance.integers(len(array), size=20)] = step
        if len(kept) > 4 and step % 3 == 0:
            kept.popitem()
        expected = {key: array.copy() for key, array in kept.items()}
        app = program.reload()
        assert app.kept.keys() == expected.keys()
        assert all(np.array_equal(app.kept[key], array) for key, array in expected.items())


def test_array_that_came_back_can_be_resized(program: Program) -> None:
    # From 32 MiB on malloc has a mapping of its own for each, whatever it has recycled before.
    size = 50 * LARGE
    back = carry(program, value=np.arange(size))
    back["value"].resize(size + LARGE, refcheck=False)
    assert back["value"][size - 1] == size - 1
    back["value"][-1] = 7
    back = program.reload().kept
    assert len(back["value"]) == size + LARGE
    assert back["value"][-1] == 7


def test_new_code_that_is_turned_down_leaves_the_old_arrays_alone(program: Program) -> None:
    app = program.start(app=APP)
    app.kept["value"] = np.zeros(10 * LARGE)
    export = program.engine.export()
    engine = program.engine
    new = program.start(app=APP)
    program.engine.adopt(export.data, export.handed.fds)
    export.close()
    new.kept["value"][:] = 5  # in its start-up
    assert not app.kept["value"].any()
    sys.modules["app"] = app  # the old one goes on
    app.kept["value"][3] = 1
    export = engine.export()
    again = program.start(app=APP)
    program.engine.adopt(export.data, export.handed.fds)
    export.close()
    assert again.kept["value"][3] == 1
    assert again.kept["value"].sum() == 1


@pytest.mark.parametrize("size", [10, LARGE, 10 * LARGE])
def test_root_that_is_an_array_keeps_its_contents_and_its_views(program: Program, size: int) -> None:
    source = f"""
        import numpy as np
        from livereload_core import preserve
        table = preserve("table", lambda: np.zeros({size}))
        row = table[2:5]
        """
    app = program.start(app=source)
    for number in range(1, 4):
        app.table[3] += 1
        app.table[-1] = number
        app = program.reload()
        assert app.table[3] == number == app.table[-1]
        assert app.row[1] == number, "what the new code made of it at import sees the contents"
        app.row[0] = 5
        assert app.table[2] == 5


def test_root_that_is_a_large_array_is_in_segments_from_then_on(program: Program) -> None:
    app = program.start(
        app="import numpy as np\nfrom livereload_core import preserve\n"
        f"table = preserve('table', lambda: np.zeros({10 * LARGE}))\n"
    )
    app.table[:] = 1
    app = program.reload()
    app.table[0] = 2
    export = program.engine.export()
    export.close()
    [area] = program.engine._store._areas.values()
    assert sum(run.end - run.start for run in area.runs) <= 2 * memory.PAGE


def test_root_of_a_new_shape_is_refused_with_both(program: Program) -> None:
    source = APP + "table = preserve('table', lambda: np.zeros({}))\n"
    program.start(app=source.format(LARGE))
    with pytest.raises(CannotCarryError, match=r"was an array of \(100000,\) float64, is one of \(5,\)"):
        program.reload(app=source.format(5))


def test_arrays_of_the_standard_library_come_back_equal(program: Program) -> None:
    import array

    back = carry(program, value=array.array("d", range(LARGE)), small=array.array("i", [1, 2]))
    assert back["value"] == array.array("d", range(LARGE))
    assert back["small"] == array.array("i", [1, 2])
    back["value"].append(5.0)
    back["value"][0] = 9.0
    back = program.reload().kept
    assert (back["value"][0], back["value"][-1], len(back["value"])) == (9.0, 5.0, LARGE + 1)


def test_frames_of_pandas_cross_beside_the_stream(program: Program) -> None:
    import pandas as pd

    frame = pd.DataFrame({"a": np.arange(LARGE), "b": np.arange(LARGE) / 2, "c": ["x"] * LARGE})
    back = carry(program, frame=frame)["frame"]
    assert back.equals(frame)
    assert in_segments(program) >= 16 * LARGE
    back.loc[5, "a"] = -1
    assert program.reload().kept["frame"].loc[5, "a"] == -1


def test_parked_arrays_wait_for_their_declaration(program: Program) -> None:
    declared = "import numpy as np\nfrom livereload_core import preserve\nkept = preserve('kept', dict)\n"
    app = program.start(app=declared)
    app.kept["value"] = np.arange(10 * LARGE)
    program.reload(app="")
    program.reload(app="# still without it")
    app = program.reload(app=declared)
    assert np.array_equal(app.kept["value"], np.arange(10 * LARGE))


def test_objects_shared_by_two_roots_hold_one_array(program: Program) -> None:
    source = (
        "from livereload_core import preserve\none = preserve('one', dict)\nother = preserve('other', dict)\n"
    )
    app = program.start(app=source)
    app.one["value"] = app.other["value"] = np.ones(10 * LARGE)
    app = program.reload()
    app = program.reload()
    assert app.one["value"] is app.other["value"]


def test_trial_leaves_neither_memory_nor_fds_behind(program: Program) -> None:
    app = program.start(app=APP)
    app.kept["value"] = np.ones(10 * LARGE)
    export = program.engine.export()
    gc.collect()  # what other tests have left behind
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        program.engine.trial(export.data, export.handed.fds)
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) <= before
    export.close()


def test_want_of_memory_refuses_and_the_program_goes_on(
    program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = program.start(app=APP)
    app.kept["value"] = np.ones(10 * LARGE)
    with monkeypatch.context() as short:
        short.setattr(memory, "available", lambda: 1024)
        with pytest.raises(CannotCarryError, match="need 8 MiB of shared memory"):
            program.engine.export()
    assert program.reload().kept["value"].sum() == 10 * LARGE


@pytest.mark.parametrize("new", ["old", "old + 0"], ids=["in place", "another one"])
def test_array_that_a_migration_has_changed_comes_as_it_was_made(program: Program, new: str) -> None:
    source = "import numpy as np\nfrom livereload_core import preserve\n"
    source += f"kept = preserve('kept', lambda: np.zeros({LARGE})"
    app = program.start(app=source + ")\n")
    app.kept[:] = 5
    edited = (
        f"{source}, version=2, migrate=lambda old, version: (old.__iadd__(1), {new})[1],\n"
        "    validate=lambda kept: (kept == 6).all())\n"
    )
    kept = program.reload(app=edited).kept
    assert (kept == 6).all()
    assert (program.reload().kept == 6).all()


def test_root_that_is_an_array_is_filled_once(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each changed page costs a fault; what is read from the stream only leads into the program's own."""
    source = "import numpy as np\nfrom livereload_core import preserve\n"
    source += f"kept = preserve('kept', lambda: np.zeros({LARGE}))\n"
    app = program.start(app=source)
    app.kept[:] = 5
    filled: list[int] = []
    fill = Piece.fill

    def noted(piece: Piece, address: int) -> None:
        filled.append(address)
        fill(piece, address)

    monkeypatch.setattr(Piece, "fill", noted)
    for _ in range(2):
        filled.clear()
        kept = program.reload(app=source).kept
        assert (kept == 5).all()
        assert len(filled) == 2, "once on trial, and once for good"
        assert filled[-1] == kept.__array_interface__["data"][0]


@pytest.mark.parametrize(
    "fresh", [f"np.zeros({2 * LARGE})[::2]", f"np.zeros({LARGE}, order='C').view()"], ids=["strided", "view"]
)
def test_root_that_has_no_room_for_pages_is_filled_by_a_copy(program: Program, fresh: str) -> None:
    source = "import numpy as np\nfrom livereload_core import preserve\n"
    app = program.start(app=f"{source}kept = preserve('kept', lambda: np.zeros({LARGE}))\n")
    app.kept[:] = np.arange(LARGE)
    kept = program.reload(app=f"{source}kept = preserve('kept', lambda: {fresh})\n").kept
    assert (kept == np.arange(LARGE)).all()
    kept[5] = -1
    assert program.reload().kept[5] == -1
