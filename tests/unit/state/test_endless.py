"""Objects that name items without end: refused by name, and the memory is not filled."""

from __future__ import annotations

import pytest

from livereload_core.errors import CannotCarryError
from livereload_core.state import endless, memory
from tests.unit.state.conftest import Program

CLASSES = {
    "items": "class Hostile:\n    def __reduce__(self): return list, (), None, itertools.repeat(None)",
    "new items": (
        "class Hostile:\n    def __reduce__(self): return list, (), None, ([n] for n in itertools.count())"
    ),
    "entries": (
        "class Hostile:\n    def __reduce_ex__(self, protocol):\n"
        "        return dict, (), None, None, ((n, n) for n in itertools.count())"
    ),
    "a list": "class Hostile(list):\n    def __iter__(self): return itertools.count()",
    "a set": "class Hostile(set):\n    def __iter__(self): return itertools.count()",
    "a frozenset": "class Hostile(frozenset):\n    def __iter__(self): return itertools.count()",
    "a dict": "class Hostile(dict):\n    def items(self): return ((n, n) for n in itertools.count())",
    "a deque": "class Hostile(collections.deque):\n    def __iter__(self): return itertools.count()",
    "an ordered dict": (
        "class Hostile(collections.OrderedDict):\n"
        "    def items(self): return ((n, n) for n in itertools.count())"
    ),
    "a dict with defaults": (
        "class Hostile(collections.defaultdict):\n"
        "    def items(self): return ((n, n) for n in itertools.count())"
    ),
    "registered": (
        "class Hostile: pass\ncopyreg.pickle(Hostile, lambda obj: (list, (), None, itertools.repeat(1)))"
    ),
}
HEAD = "import collections, copyreg, itertools\nfrom livereload_core import preserve\n"
ROOTS = "\ngood = preserve('good', dict)\nbad = preserve('bad', dict{option})\n"


@pytest.fixture(autouse=True)
def _few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endless, "_MOST", 20_000)
    monkeypatch.setattr(endless, "_LOOK", 1000)


@pytest.mark.parametrize("deep", [0, 6000], ids=["flat", "deep"])
@pytest.mark.parametrize("cls", CLASSES.values(), ids=CLASSES)
def test_object_that_names_items_without_end_is_refused_with_its_path(
    program: Program, cls: str, deep: int
) -> None:
    app = program.start(app=HEAD + cls + ROOTS.format(option=""))
    found = app.Hostile()
    for _ in range(deep):
        found = [found]
    app.bad["here"] = found
    with pytest.raises(
        CannotCarryError, match=r"Hostile names 20,000 items and more, without an end"
    ) as caught:
        program.engine.export()
    assert str(caught.value.path).startswith('bad["here"]')
    assert "transient=" in str(caught.value)


@pytest.mark.parametrize("cls", CLASSES.values(), ids=CLASSES)
def test_object_that_names_items_without_end_costs_no_other_root(program: Program, cls: str) -> None:
    source = HEAD + cls + ROOTS.format(option=", on_error='reset'")
    app = program.start(app=source)
    app.good["n"] = 1
    app.bad["here"] = app.Hostile()
    after = program.reload(app=source)
    assert after.good == {"n": 1}
    assert after.bad == {}


def test_second_snapshot_does_not_wait_so_long_for_it(program: Program) -> None:
    app = program.start(app=HEAD + CLASSES["items"] + ROOTS.format(option=""))
    app.bad["here"] = app.Hostile()
    for words in ("20,000 items", "1,000 items"):
        with pytest.raises(CannotCarryError, match=words):
            program.engine.export()


@pytest.mark.parametrize("what", ["time", "memory"])
def test_it_is_stopped_when_time_or_memory_runs_out(
    program: Program, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    app = program.start(app=HEAD + CLASSES["items"] + ROOTS.format(option=""))
    app.bad["here"] = app.Hostile()
    if what == "time":
        monkeypatch.setattr(endless, "_LONGEST", -1.0)
    else:
        free = iter([1 << 30, 1 << 20])
        monkeypatch.setattr(memory, "available", lambda: next(free, 1 << 20))
    with pytest.raises(CannotCarryError, match="1,000 items"):
        program.engine.export()


def test_items_that_end_cross(program: Program) -> None:
    source = (
        HEAD
        + "class Mine(list):\n"
        + "    def __iter__(self): return (item for item in list.__iter__(self))\n"
        + "class Ordered(set):\n"
        + "    def __iter__(self): return iter(sorted(set.__iter__(self)))\n"
        + "class Frozen(frozenset):\n"
        + "    def __iter__(self): return iter(sorted(frozenset.__iter__(self)))\n"
        + "class Table(dict):\n"
        + "    def items(self): return ((key, value) for key, value in dict.items(self))\n"
        + ROOTS.format(option="")
    )
    app = program.start(app=source)
    app.good["mine"] = app.Mine(range(5000))
    app.good["mine"].extra = 1
    app.good["ordered"] = app.Ordered(range(100))
    app.good["ordered"].extra = 2
    app.good["frozen"] = app.Frozen("abc")
    app.good["table"] = app.Table(a=1)
    good = program.reload(app=source).good
    assert [list.__len__(good["mine"]), good["mine"].extra] == [5000, 1]
    assert [set(good["ordered"]), good["ordered"].extra] == [set(range(100)), 2]
    assert good["frozen"] == frozenset("abc")
    assert dict(good["table"].items()) == {"a": 1}
    assert [type(value).__name__ for value in good.values()] == ["Mine", "Ordered", "Frozen", "Table"]
