"""One object to one stream and back: coverage, identity, depth, and hostile objects."""

from __future__ import annotations

import asyncio
import collections
import enum
import functools
import gc
import logging
import queue
import subprocess
import sys
import threading
import types
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from livereload_core.errors import CannotCarryError
from livereload_core.state import codec
from livereload_core.state.codec import Dumper, grown_old, load, undisturbed
from livereload_core.state.refusals import RefusedError
from livereload_core.state.walker import find_culprit
from tests.unit.state.conftest import Program


def carry(value: Any, roots: tuple[Any, ...] = (), targets: tuple[Any, ...] = ()) -> Any:
    """Send a value through a stream, with some roots standing for some targets."""
    stream, _ = Dumper(roots, lambda name: True).dump(value)
    return load(stream, len(roots), targets, {})


class Node:
    def __init__(self, **fields: Any) -> None:
        self.__dict__.update(fields)

    def touch(self) -> None: ...


class Level(enum.Enum):
    LOW = enum.auto()
    HIGH = enum.auto()


class Flags(enum.Flag):
    A = 1
    B = 2


class NotedCounter(collections.Counter[str]):
    pass


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.binary(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=3), inner, max_size=4)
        | st.tuples(inner, inner)
    ),
    max_leaves=20,
)


@settings(deadline=None, max_examples=100)
@given(PLAIN)
def test_plain_values_come_back_equal(value: Any) -> None:
    assert carry(value) == value


@settings(deadline=None, max_examples=100)
@given(st.lists(PLAIN, min_size=1, max_size=4), st.data())
def test_roots_are_references_wherever_they_are_mentioned(values: list[Any], data: st.DataObject) -> None:
    roots = tuple([value] for value in values)
    targets: tuple[list[Any], ...] = tuple([] for _ in roots)
    picks = data.draw(st.lists(st.integers(0, len(roots) - 1), max_size=6))
    back = carry({"seen": [roots[pick] for pick in picks], "deep": [[{"r": roots[0]}]]}, roots, targets)
    assert all(found is targets[pick] for found, pick in zip(back["seen"], picks, strict=True))
    assert back["deep"][0][0]["r"] is targets[0]


def test_many_roots_are_told_apart() -> None:
    roots = tuple([n] for n in range(700))
    targets: tuple[list[Any], ...] = tuple([] for _ in roots)
    back = carry(list(reversed(roots)), roots, targets)
    assert all(a is b for a, b in zip(back, reversed(targets), strict=True))


def test_identity_and_cycles_below_a_root_are_kept() -> None:
    shared: list[Any] = []
    node = Node(a=shared, b=shared)
    node.me = node  # type: ignore[attr-defined]
    back = carry(node)
    assert back.a is back.b
    assert back.me is back


def test_locks_come_back_free() -> None:
    node = Node(lock=threading.Lock(), rlock=threading.RLock(), condition=threading.Condition())
    node.shared = threading.Condition(node.rlock)  # type: ignore[attr-defined]
    with node.lock, node.rlock, node.condition:  # type: ignore[attr-defined]
        back = carry(node)
    assert back.lock.acquire(blocking=False)
    free: list[bool] = []
    thread = threading.Thread(
        target=lambda: free.extend(
            (back.rlock.acquire(blocking=False), back.condition.acquire(blocking=False))
        )
    )
    thread.start()
    thread.join()
    assert free == [True, True]
    assert back.shared._lock is back.rlock


def test_events_and_semaphores_come_back_with_their_meaning() -> None:
    event, bounded, plain = threading.Event(), threading.BoundedSemaphore(3), threading.Semaphore(2)
    event.set()
    bounded.acquire()
    plain.acquire()
    back_event, back_bounded, back_plain = carry([event, bounded, plain])
    assert back_event.is_set()
    assert back_bounded._value == 3, "whoever held it is gone"
    assert back_plain._value == 1, "it counts, and nobody knows from where"


def test_queues_come_back_with_their_items() -> None:
    tasks: queue.Queue[int] = queue.Queue(5)
    tasks.put(1)
    waiting: asyncio.Queue[int] = asyncio.Queue(5)
    waiting.put_nowait(2)
    back, back_waiting = carry([tasks, waiting])
    assert (back.get_nowait(), back.maxsize) == (1, 5)
    assert (back_waiting.get_nowait(), back_waiting.maxsize) == (2, 5)


def test_asyncio_primitives_come_back_free_of_their_loop() -> None:
    async def used() -> tuple[asyncio.Lock, asyncio.Event]:
        lock, event = asyncio.Lock(), asyncio.Event()
        await lock.acquire()
        waiter = asyncio.ensure_future(event.wait())
        await asyncio.sleep(0)
        back: tuple[asyncio.Lock, asyncio.Event] = carry((lock, event))
        waiter.cancel()
        return back

    lock, event = asyncio.run(used())
    assert not lock.locked()
    assert not event.is_set()


def test_enum_members_cross_by_name() -> None:
    class_before = Level
    stream, _ = Dumper((), lambda name: True).dump([Level.LOW, Flags.A | Flags.B])

    class Level2(enum.Enum):
        HIGH = enum.auto()
        LOW = enum.auto()

    Level2.__qualname__, Level2.__module__ = "Level", __name__
    globals()["Level"] = Level2
    try:
        member, flags = load(stream, 0, (), {})
    finally:
        globals()["Level"] = class_before
    assert member is Level2.LOW
    assert flags == Flags.A | Flags.B


def test_attributes_of_counter_and_defaultdict_subclasses_are_kept() -> None:
    noted = NotedCounter("aab")
    noted.note = "n"  # type: ignore[attr-defined]
    back = carry(noted)
    assert (back, back.note) == (noted, "n")


def test_weak_references_point_into_the_new_objects() -> None:
    node = Node()
    names: weakref.WeakValueDictionary[str, Node] = weakref.WeakValueDictionary(a=node)
    back = carry([node, weakref.ref(node), names, weakref.WeakSet([node])])
    assert back[1]() is back[0]
    assert back[2]["a"] is back[0]
    assert list(back[3]) == [back[0]]


def test_modules_methods_and_partials_cross_by_name() -> None:
    node = Node(x=1)
    back = carry([collections, node.touch, functools.partial(int, base=2), len, [].append, types])
    assert back[0] is collections
    assert isinstance(back[1].__self__, Node)
    assert back[2]("11") == 3
    assert back[3] is len


def test_what_only_dill_can_reduce_is_carried(tmp_path: Path) -> None:
    back = carry([types.FunctionType, {}.keys(), types.MappingProxyType({"a": 1}), type(None), Ellipsis])
    assert back[0] is types.FunctionType
    assert dict(back[2]) == {"a": 1}
    assert back[3] is type(None)


def test_plain_state_never_imports_dill() -> None:
    source = (
        "import sys, threading, enum, dataclasses\n"
        "from livereload_core.state.codec import Dumper\n"
        "class A: pass\n"
        "a = A(); a.x = [1, {'b': threading.RLock()}, threading.Event(), lambda: 1]; a.x.pop()\n"
        "Dumper((), lambda name: True).dump(a)\n"
        "print('dill' in sys.modules, 'asyncio' in sys.modules, 'ssl' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, timeout=60)
    assert done.stdout == "False False False\n", done.stderr


def deep_list(depth: int) -> list[Any]:
    inner: list[Any] = []
    for _ in range(depth):
        inner = [inner]
    return inner


def linked(depth: int) -> Node | None:
    node = None
    for number in range(depth):
        node = Node(next=node, number=number)
    return node


def test_list_five_thousand_deep_is_carried() -> None:
    back = carry(deep_list(5000))
    for _ in range(5000):
        (back,) = back
    assert back == []


def test_objects_linked_five_thousand_deep_are_carried_and_keep_identity_of_roots() -> None:
    root, target = Node(), Node()
    chain = linked(5000)
    limit = sys.getrecursionlimit()
    back = carry({"chain": chain, "again": chain, "root": root}, (root,), (target,))
    assert sys.getrecursionlimit() == limit
    assert back["chain"] is back["again"]
    assert back["root"] is target
    node, count = back["chain"], 0
    while node is not None:
        node, count = node.next, count + 1
    assert count == 5000


class ReduceRaises:
    def __reduce__(self) -> Any:
        raise ValueError("not me")


class ReduceRecurses:
    def __getstate__(self) -> Any:
        return self.__getstate__()


class ReduceLies:
    def __reduce__(self) -> Any:
        return 42


class ReduceTricks:
    def __reduce__(self) -> Any:
        return (3, ())


class StateExits:
    def __getstate__(self) -> Any:
        raise SystemExit(3)


class SetstateRaises:
    x = 1

    def __getstate__(self) -> Any:
        return {"x": 1}

    def __setstate__(self, state: Any) -> None:
        raise ValueError("not here")


class NoInit:
    def __new__(cls, needed: int) -> NoInit:
        return super().__new__(cls)


def decorated_in_a_function() -> type:
    @functools.total_ordering
    class Ordered:
        def __lt__(self, other: object) -> bool:
            return False

    return Ordered


HOSTILE: list[tuple[Callable[[], Any], str]] = [
    (ReduceRaises, "ValueError: not me (in ReduceRaises.__reduce__"),
    (ReduceLies, "cannot be carried (__reduce__ must return a string or a tuple"),
    (lambda: threading.Thread(), "a thread cannot cross"),
    (lambda: (n for n in "ab"), "a generator stands in the middle"),
    (lambda: sys._getframe(), "a frame belongs to running code"),
    (lambda: memoryview(b"ab")[1:], "a memoryview of a part of a buffer"),
    (
        lambda: decorated_in_a_function()(),
        "is local to a function and decorated with 'functools.total_ordering'",
    ),
    (lambda: type("Node", (), {"__module__": __name__})(), "is not what that name stands for"),
    (ReduceTricks, "cannot be carried (first item of the tuple"),
    (ReduceRecurses, "its methods call each other too deeply (in ReduceRecurses.__getstate__"),
]


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize(("make", "says"), HOSTILE)
def test_hostile_object_is_named_by_its_path(make: Callable[[], Any], says: str) -> None:
    value = {"rooms": [1, Node(lobby={("k", 2): make()})]}
    dumper = Dumper((), lambda name: True)
    with pytest.raises(Exception) as caught:
        dumper.dump(value)
    path, message, _ = find_culprit(dumper, value, "state", caught.value)
    assert path == "state[\"rooms\"][1].lobby[('k', 2)]"
    assert says in message


@pytest.mark.parametrize("make", [ReduceRaises, ReduceRecurses, ReduceLies, StateExits])
def test_hostile_root_never_harms_another(program: Program, make: Any) -> None:
    app = program.start(
        app="""
        from livereload_core import preserve
        good = preserve("good", dict)
        bad = preserve("bad", dict, on_error="reset")
        """
    )
    app.good["a"], app.bad["b"] = 1, [make()]
    assert [(report.key, report.fate.value) for report in program.engine.export().roots] == [
        ("app:good", "kept"),
        ("app:bad", "lost"),
    ]


def test_setstate_that_raises_is_refused_in_the_trial_with_its_place(program: Program) -> None:
    source = """
    from livereload_core import preserve
    class Thing:
        def __setstate__(self, state):
            {body}
    things = preserve("things", list)
    """
    app = program.start(app=source.format(body="self.__dict__ = state"))
    thing = app.Thing()
    thing.x = 1
    app.things.append(thing)
    data = program.engine.export().data
    program.start(app=source.format(body="raise ValueError('not here')"))
    with pytest.raises(
        CannotCarryError, match=r"things: .*ValueError: not here \(in Thing.__setstate__, .*:5\)"
    ):
        program.engine.trial(data)


def test_object_whose_new_wants_arguments_is_refused_not_broken() -> None:
    stream, _ = Dumper((), lambda name: True).dump([NoInit(1)])
    with pytest.raises(TypeError, match="needed"):
        load(stream, 0, (), {})


def test_name_that_is_gone_is_refused_and_may_come_later_only_in_a_module_that_is_executing() -> None:
    with pytest.raises(RefusedError) as caught:
        load(b"\x80\x05cos\nno_such_name\n.", 0, (), {})
    assert not caught.value.later
    with pytest.raises(RefusedError) as caught:
        load(b"\x80\x05c__main__\nno_such_name\n.", 0, (), {})
    assert caught.value.later
    with pytest.raises(RefusedError, match=r"no_such_module:x is gone .there is no module"):
        load(b"\x80\x05cno_such_module\nx\n.", 0, (), {})


def test_undisturbed_restores_collection_and_switch_interval_also_after_an_error() -> None:
    interval = sys.getswitchinterval()

    def fail() -> None:
        with undisturbed():
            assert not gc.isenabled()
            assert sys.getswitchinterval() > interval
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert gc.isenabled()
    assert sys.getswitchinterval() == interval


def test_what_was_read_counts_as_old_so_that_it_is_not_looked_through_at_once(
    program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(codec, "_is_frozen", False)
    source = "from livereload_core import preserve\nkept = preserve('kept', list)\n"
    app = program.start(app=source)
    app.kept += [[number] for number in range(1000)]
    export = program.engine.export()
    app = program.start(app=source)
    program.engine.adopt(export.data)
    old = {id(obj) for obj in gc.get_objects(generation=2)}
    assert all(id(inner) in old for inner in app.kept)


def test_what_a_program_has_frozen_stays_frozen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec, "_is_frozen", False)
    gc.freeze()
    try:
        frozen = gc.get_freeze_count()
        grown_old()
        assert gc.get_freeze_count() == frozen
    finally:
        gc.unfreeze()
    grown_old()
    assert gc.get_freeze_count() == 0


def test_what_was_frozen_ahead_is_not_counted_in_the_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    def counted() -> int:
        raise AssertionError("walked along all frozen objects")

    monkeypatch.setattr(codec, "_is_frozen", False)
    codec.freeze()
    try:
        monkeypatch.setattr(gc, "get_freeze_count", counted)
        grown_old()
    finally:
        gc.unfreeze()


def test_dict_that_a_thread_changes_all_the_time_is_carried(program: Program) -> None:
    app = program.start(
        app="""
        from livereload_core import preserve
        state = preserve("state", lambda: {"inner": {}})
        """
    )
    stop = threading.Event()
    started = threading.Event()

    def churn() -> None:
        inner, count = app.state["inner"], 0
        while not stop.is_set():
            inner[count % 5000] = Node(x=count)
            inner.pop((count * 7) % 5000, None)
            count += 1
            if count == 5000:
                started.set()

    thread = threading.Thread(target=churn)
    thread.start()
    try:
        assert started.wait(20)
        for _ in range(20):
            program.engine.export()
    finally:
        stop.set()
        thread.join()


def test_logger_without_a_name_that_is_known_is_refused_with_advice() -> None:
    known = [logging.getLogger("known.by.name"), logging.getLogger()]
    assert all(a is b for a, b in zip(carry(known), known, strict=True))
    with pytest.raises(RefusedError) as caught:
        carry([logging.Logger("known.by.name")])
    assert "getLogger(name)" in caught.value.remedy
