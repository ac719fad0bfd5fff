"""A tracked dict is a dict: whatever a program does to it, it sees what a plain one would show."""

from __future__ import annotations

import copy
import functools
import itertools
import json
import operator
import pickle
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import pytest

from livereload_core.state.tracked import containers
from livereload_core.state.tracked.containers import RememberingDict, TrackedDict, WatchedDict
from livereload_core.state.tracked.lru import Lru
from tests.unit.state.tracked.generations import Generations

PLAIN: dict[Any, Any] = {"a": 1, "b": (2, "x"), 3: None}
MIXED: dict[Any, Any] = {**PLAIN, "list": [1, 2], "dict": {"x": 1}}


@pytest.fixture(params=[PLAIN, MIXED], ids=["plain", "mixed"])
def pair(request: pytest.FixtureRequest) -> Iterator[tuple[Any, dict[Any, Any]]]:
    generations = Generations()
    content = copy.deepcopy(request.param)
    generations.kept.update(content)
    yield generations.kept, dict(content)
    generations.close()


LOOKS: dict[str, Callable[[Any], object]] = {
    "repr": repr,
    "str": str,
    "len": len,
    "list": list,
    "reversed": lambda d: list(reversed(d)),
    "keys": lambda d: (list(d.keys()), repr(d.keys()), d.keys() & {"a"}),
    "values": lambda d: (list(d.values()), repr(d.values()), list(reversed(d.values())), len(d.values())),
    "items": lambda d: (list(d.items()), repr(d.items()), list(reversed(d.items())), len(d.items())),
    "in items": lambda d: (("a", 1) in d.items(), ("a", 2) in d.items(), 1 in d.values()),
    "what is no item": lambda d: [x in d.items() for x in (5, None, "a", (), ("a",), ("a", 1, 1), ["a", 1])],
    "mapping": lambda d: (d.values().mapping["a"], d.items().mapping["a"]),
    "get": lambda d: (d.get("a"), d.get("none"), d.get("none", 5), d.get("list")),
    "in": lambda d: ("a" in d, "none" in d),
    "eq": lambda d: (d == dict(d), d != dict(d), d == {}, dict(d) == d),
    "or": lambda d: (d | {"a": 7, "z": 8}, list(d | {"z": 1}), type(d | {})),
    "ror": lambda d: ({"a": 7, "z": 8} | d, type({} | d)),
    "copy": lambda d: (d.copy(), type(d.copy())),
    "dict()": lambda d: (dict(d), {**d}, type(dict(d))),
    "json": lambda d: json.dumps(d, default=str),
    "sorted": lambda d: sorted(map(str, d)),
    "isinstance": lambda d: isinstance(d, dict),
    "bool": bool,
    "copy.copy": lambda d: list(copy.copy(d).items()),
    "deepcopy": lambda d: list(copy.deepcopy(d).items()),
    "pickle": lambda d: [list(pickle.loads(pickle.dumps(d, protocol)).items()) for protocol in range(2, 6)],
    "match": lambda d: _matched(d),
    "call": lambda d: _called(**{key: value for key, value in d.items() if isinstance(key, str)}),
}


def _matched(found: Any) -> object:
    match found:
        case {"a": one, **rest}:
            return one, rest
    return None


def _called(**kwargs: Any) -> object:
    return kwargs


@pytest.mark.parametrize("look", LOOKS.values(), ids=LOOKS)
def test_it_looks_like_a_dict(pair: tuple[Any, dict[Any, Any]], look: Callable[[Any], object]) -> None:
    tracked, plain = pair
    assert look(tracked) == look(plain)


def _items(d: Any) -> object:
    return list(d.items())


def _ior(d: Any) -> object:
    d |= {"a": 9}
    d |= [("q", 1)]
    return d


def _next_after(d: Any, iterator: Iterator[Any]) -> object:
    d["inserted"] = 1
    return next(iterator)


ACTS: dict[str, Callable[[Any], object]] = {
    "set": lambda d: d.__setitem__("a", 5),
    "set new": lambda d: d.__setitem__("new", [5]),
    "delete": lambda d: d.__delitem__("a"),
    "delete none": lambda d: d.__delitem__("none"),
    "get none": lambda d: d["none"],
    "unhashable": lambda d: d.__setitem__([], 1),
    "unhashable get": lambda d: d[{}],
    "pop": lambda d: (d.pop("a"), d.pop("none", 4)),
    "pop none": lambda d: d.pop("none"),
    "popitem": lambda d: (d.popitem(), d.popitem()),
    "popitem of all": lambda d: [d.popitem() for _ in range(9)],
    "setdefault": lambda d: (d.setdefault("a", 5), d.setdefault("q", []), d.setdefault("n")),
    "clear": lambda d: d.clear(),
    "update": lambda d: d.update({"a": 4}, b=5),
    "update pairs": lambda d: d.update([("a", 4), ("z", [1])]),
    "update itself": lambda d: d.update(d),
    "update that fails half-way": lambda d: d.update(1 / (2 - n) and (f"n{n}", [n]) for n in range(4)),
    "ior that fails half-way": lambda d: d.__ior__([("n", [1]), ("m", 2), 3]),
    "update wrong": lambda d: d.update(5),
    "update twice": lambda d: d.update({}, {}),
    "ior": _ior,
    "change a value": lambda d: d.get("list", []).append(4),
    "delete while it is read": lambda d: [d.pop(key) for key in d],
    "insert while it is read": lambda d: [d.__setitem__(f"{key}x", 1) for key, _ in d.items()],
    "insert before items are read": lambda d: _next_after(d, iter(d.items())),
    "insert before values are read": lambda d: _next_after(d, iter(d.values())),
    "insert before items are read in reverse": lambda d: _next_after(d, reversed(d.items())),
}


@pytest.mark.parametrize("act", ACTS.values(), ids=ACTS)
def test_it_acts_like_a_dict(pair: tuple[Any, dict[Any, Any]], act: Callable[[Any], object]) -> None:
    results: list[Any] = []
    for target in pair:
        try:
            results.append((act(target), None))
        except Exception as error:
            results.append((None, (type(error), error.args if type(error) is KeyError else ())))
    tracked, plain = pair
    assert results[0] == results[1]
    assert _items(tracked) == _items(plain)


def test_class_methods_are_those_of_a_dict() -> None:
    assert dict.fromkeys("ab", 1) == TrackedDict.fromkeys("ab", 1)
    assert TrackedDict({"a": 1}, b=2) == {"a": 1, "b": 2}
    assert TrackedDict[str, int]().copy() == {}
    with pytest.raises(TypeError):
        hash(TrackedDict())


def test_its_class_cannot_be_subclassed_and_says_what_to_do() -> None:
    with pytest.raises(TypeError, match="keep one in an attribute"):
        type("Mine", (TrackedDict,), {})
    with pytest.raises(TypeError, match="keep one in an attribute"):
        type("Mine", (Lru,), {})


class Changing:
    """A key whose hash is another one after a while."""

    def __init__(self) -> None:
        self.hash = 1

    def __hash__(self) -> int:
        return self.hash


def test_last_entry_is_taken_out_even_if_its_key_is_not_found_any_more() -> None:
    key = Changing()
    kept: Any
    for kept in ({}, TrackedDict()):
        kept[key] = 1
        key.hash += 1
        assert kept.popitem() == (key, 1)
        assert not kept
    with pytest.raises(KeyError, match="dictionary is empty"):
        TrackedDict[Any, Any]().popitem()


def test_reading_is_watched_only_where_a_value_can_change() -> None:
    generations = Generations()
    generations.kept.update(PLAIN)
    kept = generations.reload()
    assert type(kept) is TrackedDict
    kept["x"] = []
    assert type(kept) is RememberingDict
    assert type(generations.reload()) is RememberingDict
    generations.close()


def test_reading_is_not_watched_where_all_values_are_settled_when_it_is_written_ahead() -> None:
    generations = Generations()
    generations.kept.update({number: (number,) for number in range(2000)})
    generations.catch_up()
    assert type(generations.kept) is TrackedDict
    generations.close()


def test_reading_an_empty_one_is_watched_for_it_may_be_filled_with_anything() -> None:
    generations = Generations()
    assert type(generations.reload()) is RememberingDict
    generations.close()


def test_methods_taken_while_it_was_watched_go_on_when_it_is_not() -> None:
    generations = Generations()
    kept = generations.kept
    get, item, items, values = kept.get, kept.__getitem__, kept.items(), kept.values()
    kept.update(PLAIN)
    generations.engine.settle()
    assert type(kept) is TrackedDict
    assert (get("b"), item("b"), get("none")) == ((2, "x"), (2, "x"), None)
    assert list(items) == list(PLAIN.items())
    assert list(values) == list(PLAIN.values())
    generations.close()


@pytest.mark.parametrize("line", range(1, 5))
def test_value_that_is_let_in_while_watching_ends_is_watched(line: int) -> None:
    generations = Generations(lambda: TrackedDict({"a": 1}))
    kept = generations.kept
    lines = itertools.count()

    def trace(frame: FrameType, event: str, _: object) -> Any:
        if frame.f_code is TrackedDict._relax.__code__:
            if event == "line" and next(lines) == line - 1:
                kept["x"] = []
            return trace
        return None

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        kept._relax()
    finally:
        sys.settrace(before)
    assert "x" in kept
    assert type(kept) is RememberingDict
    generations.close()


class Row:
    """A value that can change, and tells when it is gone."""


def test_value_is_handed_out_again_without_a_line_of_python() -> None:
    generations = Generations()
    kept = generations.kept
    kept.update({"row": Row(), "number": 5})
    row = kept["row"], kept["number"]
    lines: list[object] = []
    before = sys.getprofile()
    sys.setprofile(lambda frame, event, _: lines.append(frame) if event == "call" else None)
    try:
        again = kept["row"], kept["number"]
    finally:
        sys.setprofile(before)
    assert again == row
    assert not lines
    generations.close()


WRITES: dict[str, Callable[[Any], object]] = {
    "set": lambda d: d.__setitem__("a", "new"),
    "delete": lambda d: d.__delitem__("a"),
    "pop": lambda d: d.pop("a"),
    "popitem": lambda d: d.popitem(),
    "update": lambda d: d.update({"b": 1, "a": "new", "c": 1, "d": 1}),
    "update one": lambda d: d.update(a="new"),
    "ior": lambda d: d.__ior__({"a": "new"}),
    "clear": lambda d: d.clear(),
    "delete and setdefault": lambda d: (d.pop("a"), d.setdefault("a", "new")),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_what_was_handed_out_is_forgotten_when_it_is_replaced(write: Callable[[Any], object]) -> None:
    generations = Generations()
    for kept in (generations.kept, generations.reload()):
        kept.clear()
        row: object = Row()
        kept["b"] = kept["a"] = row
        gone = weakref.ref(row)
        assert kept["a"] is kept["b"] is row
        del row, kept["b"]
        write(kept)
        assert kept.get("a", "none") == ("new" if "a" in kept else "none")
        if "a" in kept:
            assert kept["a"] == "new"
        else:
            with pytest.raises(KeyError):
                kept["a"]
        assert gone() is None
    generations.close()


@pytest.mark.parametrize("moment", ["before", "after"])
def test_value_that_is_replaced_while_it_is_handed_out_is_not_remembered(moment: str) -> None:
    """A thread, or a signal handler, that comes between any two steps of either."""
    for line in itertools.count(1):
        generations = Generations()
        kept = generations.kept
        kept["a"] = ["old"]
        read = functools.partial(operator.getitem, kept, "a")
        write = functools.partial(operator.setitem, kept, "a", ["new"])
        if moment == "before":
            came = _interrupted(read, type(kept._handed).__missing__.__code__, line, write)
        else:
            came = _interrupted(write, TrackedDict.__setitem__.__code__, line, read)
        assert kept["a"] == (["new"] if came or moment == "after" else ["old"]), line
        generations.close()
        if not came:
            break
    assert line > 8


def _interrupted(begun: Callable[[], object], code: object, line: int, act: Callable[[], object]) -> bool:
    """Do something, and something else before a line of it; returns whether there is such a line."""
    lines, came = itertools.count(1), []

    def trace(frame: FrameType, event: str, _: object) -> Any:
        if frame.f_code is code:
            if event == "line" and next(lines) == line:
                sys.settrace(None)
                came.append(act())
            return trace
        return None

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        begun()
    finally:
        sys.settrace(before)
    return bool(came)


def test_entry_that_is_taken_out_by_its_place_is_not_remembered_under_its_key() -> None:
    generations = Generations()
    key, kept = Changing(), generations.kept
    kept[key] = [1]
    assert kept[key] == [1]
    key.hash += 1
    assert kept.popitem() == (key, [1])
    key.hash -= 1
    with pytest.raises(KeyError):
        kept[key]
    generations.close()


def test_no_more_is_remembered_than_is_forgotten_in_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(containers, "_MOST", 10)
    generations = Generations()
    kept = generations.kept
    kept.update({number: [number] for number in range(100)})
    for number in range(100):
        assert kept[number] == [number]
        assert len(kept._handed) <= 10
    generations.close()


def test_one_that_no_root_holds_is_gone_with_its_last_name() -> None:
    made: Any
    for made in (TrackedDict(a=Row()), copy.copy(TrackedDict(a=Row()))):
        assert type(made) is WatchedDict
        gone = weakref.ref(made["a"])
        del made
    assert gone() is None


def test_copies_have_notes_of_their_own() -> None:
    generations = Generations()
    generations.kept.update({f"key {number}": number for number in range(2000)})
    generations.catch_up()
    twin = copy.copy(generations.kept)
    twin["key 1"] = "twin"
    assert not generations.kept._notes
    assert generations.kept["key 1"] == 1
    generations.close()


def test_one_that_no_root_holds_keeps_no_notes() -> None:
    tracked: Any = TrackedDict()
    for number in range(10_000):
        tracked[number] = number
    assert not list(tracked._notes)


def test_threads_that_write_and_delete_lose_nothing() -> None:
    generations = Generations()
    kept = generations.kept
    failures: list[BaseException] = []
    stop = threading.Event()

    def work(name: int) -> None:
        try:
            number = 0
            while not stop.is_set():
                kept[name, number % 700] = number
                kept[name, "last"] = number
                kept.pop((name, (number * 7) % 700), None)
                number += 1
                if number % 50 == 0:
                    time.sleep(0)  # an export lets none past that has not waited before it
        except BaseException as error:
            failures.append(error)

    generations.engine.export().close()  # the first one looks for codecs, in files
    threads = [threading.Thread(target=work, args=(name,)) for name in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(20):
        generations.catch_up()
        generations.engine.export().close()
    stop.set()
    for thread in threads:
        thread.join()
    generations.catch_up()
    before = list(kept.items())
    assert not failures
    assert list(generations.reload().items()) == before
    generations.close()


# -- the cache ----------------------------------------------------------------------------------------


def test_cache_forgets_what_was_not_used_for_longest() -> None:
    cache: Lru[str, int] = Lru(3)
    for key in "abc":
        cache[key] = ord(key)
    assert cache["a"] == 97
    cache["d"] = 100
    assert list(cache) == ["c", "a", "d"]
    assert "b" not in cache
    assert cache.get("b", 5) == 5
    assert (cache.hits, cache.misses) == (1, 1)
    assert cache.maxsize == 3


def test_cache_is_a_mapping() -> None:
    cache: Lru[Any, Any] = Lru(None)
    cache.update({"a": 1, "b": 2, "c": 3})
    assert dict(cache.items()) == {"a": 1, "b": 2, "c": 3}
    assert list(cache.values()) == [1, 2, 3]
    assert cache == {"a": 1, "b": 2, "c": 3}
    assert cache.pop("a") == 1
    assert cache.pop("a", 7) == 7
    assert cache.popitem() == ("c", 3)
    assert cache.setdefault("b", 9) == 2
    assert cache.setdefault("e", 9) == 9
    assert cache.peek("b") == 2
    assert list(reversed(cache)) == ["e", "b"]
    assert cache.popitem(last=False) == ("b", 2)
    assert len(cache) == 1
    for twin in (copy.copy(cache), copy.deepcopy(cache), cache.copy(), pickle.loads(pickle.dumps(cache))):
        assert twin == cache
        assert twin is not cache
        assert twin.maxsize is None
    assert repr(cache) == "lru({'e': 9}, maxsize=None)"
    cache.clear()
    assert not cache
    with pytest.raises(KeyError):
        cache["a"]
    with pytest.raises(KeyError):
        cache.popitem()


@pytest.mark.parametrize("maxsize", [0, -1, 1.5, "1", True])
def test_cache_refuses_what_is_no_number_of_entries(maxsize: Any) -> None:
    from livereload_core.errors import UsageError

    with pytest.raises(UsageError, match="maxsize is"):
        Lru(maxsize)


def test_cache_that_threads_share_never_loses_its_way() -> None:
    cache: Lru[int, int] = Lru(50)
    failures: list[BaseException] = []

    def work(seed: int) -> None:
        try:
            for number in range(4000):
                key = (number * seed) % 120
                if cache.get(key) is None:
                    cache[key] = key
                cache.pop((key + 1) % 120, None)
                if number % 100 == 0:
                    list(cache.items())
                    cache.popitem(last=False) if len(cache) > 40 else None
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in (1, 7, 11, 13)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert len(cache) <= 50
    assert all(key == value for key, value in cache.items())
