"""The program whose values cross: one entry per kind, with what "came back right" means for it.

It runs in two processes. The second one runs it edited: every ``"before"`` reads ``"after"`` there.
"""

from __future__ import annotations

import abc
import array
import asyncio
import collections
import collections.abc
import contextlib
import contextvars
import copy
import dataclasses
import datetime
import decimal
import enum
import fractions
import functools
import http.cookiejar
import inspect
import io
import ipaddress
import itertools
import logging
import operator
import pathlib
import queue
import random
import re
import ssl
import struct
import sys
import threading
import types
import typing
import uuid
import weakref
import xml.etree.ElementTree
import zoneinfo
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from livereload_core import preserve

WORD = "before"
KINDS: dict[str, tuple[Callable[[], Any], Callable[[Any], Any]]] = {}
box = preserve("box", dict[str, Any])


ABSENT: set[str] = set()


def absent(name: str) -> None:
    """Add a kind of a library that is not installed."""
    kind(name, object, lambda value: False)
    ABSENT.add(name)


def kind(name: str, make: Callable[[], Any], check: Callable[[Any], Any]) -> None:
    assert name not in KINDS
    KINDS[name] = make, check


def equal(name: str, make: Callable[[], Any]) -> None:
    """Add a kind whose value is right when it has the same type and is equal to a fresh one."""
    kind(name, make, lambda value: type(value) is type(make()) and value == make())


def refused(name: str, make: Callable[[], Any]) -> None:
    """Add a kind for which nothing that comes back could be right."""
    kind(name, make, lambda value: False)


# Each in a function of its own, as in a program: none of several edited lambdas side by side can be told.


def a_defaultdict() -> Any:
    return collections.defaultdict(lambda: "before", a=1)


def a_lambda() -> Any:
    return lambda: "before"


def a_lambda_with_defaults() -> Any:
    return lambda a=(1, 2): ("before", a)


def a_partial() -> Any:
    return functools.partial(lambda a: "before" + a, "x")


def a_cached_lambda() -> Any:
    return functools.cache(lambda: "before")


def a_made_class() -> Any:
    return type("Made", (Plain,), {"extra": lambda self: "before"})()


# -- plain values -----------------------------------------------------------------------------------------

equal("None, bool, int, float, complex", lambda: (None, True, 10**30, 1.5, 1j))
equal("str, bytes, bytearray", lambda: ("ä", b"a", bytearray(b"b")))
equal("Ellipsis, NotImplemented", lambda: (..., NotImplemented))
equal("list, tuple, dict, set, frozenset", lambda: ([1, (2,)], {"a": {3}}, frozenset({4})))
equal("range, slice", lambda: (range(1, 9, 2), slice(1, None, 3)))


def _cycle() -> list[Any]:
    items: list[Any] = [{}]
    items[0]["me"] = items
    return items


kind("cycle of list and dict", _cycle, lambda v: v[0]["me"] is v)
kind("one object twice", lambda: [x := [1], x], lambda v: v[0] is v[1])
equal("OrderedDict", lambda: collections.OrderedDict(b=1, a=2))
equal("Counter", lambda: collections.Counter("aab"))
equal("ChainMap", lambda: collections.ChainMap({"a": 1}, {"b": 2}))
kind(
    "deque(maxlen)",
    lambda: collections.deque([1, 2], 2),
    lambda v: (list(v), v.maxlen) == ([1, 2], 2),
)
kind(
    "defaultdict(lambda)",
    a_defaultdict,
    lambda v: (v["a"], v["b"]) == (1, WORD),
)
equal("defaultdict(list)", lambda: collections.defaultdict(list, a=[1]))
equal("UserDict, UserList", lambda: (collections.UserDict(a=1), collections.UserList([1])))
equal("array.array", lambda: array.array("d", [1.5, 2]))
kind(
    "memoryview of a whole buffer", lambda: [b := bytearray(b"ab"), memoryview(b)], lambda v: v[1].obj is v[0]
)
kind(
    "mappingproxy, live",
    lambda: [d := {"a": 1}, types.MappingProxyType(d)],
    lambda v: v[0].update(b=2) or v[1]["b"] == 2,
)
kind(
    "dict views, live",
    lambda: [d := {"a": 1}, d.keys()],
    lambda v: v[0].update(b=2) or list(v[1]) == ["a", "b"],
)
equal(
    "datetime, date, time, timedelta",
    lambda: (
        datetime.datetime(2000, 1, 2, tzinfo=datetime.UTC),
        datetime.date(2000, 1, 2),
        datetime.time(3),
        datetime.timedelta(4),
    ),
)
equal("zoneinfo", lambda: zoneinfo.ZoneInfo("UTC"))
equal("Decimal, Fraction", lambda: (decimal.Decimal("1.10"), fractions.Fraction(1, 3)))
equal("UUID", lambda: uuid.UUID(int=5))
equal("Path", lambda: pathlib.Path("/a/b"))
equal("ip addresses", lambda: (ipaddress.ip_address("::1"), ipaddress.ip_network("10.0.0.0/8")))
equal("re.Pattern", lambda: re.compile("a+", re.IGNORECASE))
equal("SimpleNamespace", lambda: types.SimpleNamespace(a=[1]))
kind(
    "StringIO, at its position",
    lambda: (s := io.StringIO("ab\ncd\n"), s.readline())[0],
    lambda v: v.read() == "cd\n",
)
kind("BytesIO", lambda: io.BytesIO(b"ab"), lambda v: v.getvalue() == b"ab")
kind("exception", lambda: ValueError("a", 1), lambda v: type(v) is ValueError and v.args == ("a", 1))
kind("random.Random", lambda: random.Random(7), lambda v: v.random() == random.Random(7).random())
equal("type hints", lambda: (list[int], int | None, typing.Literal["a"], Callable[[int], str]))
kind("iterators of containers", lambda: (i := iter([1, 2, 3]), next(i))[0], lambda v: list(v) == [2, 3])
kind(
    "enumerate, zip, map, filter",
    lambda: (e := enumerate("abc"), next(e))[0],
    lambda v: list(v) == [(1, "b"), (2, "c")],
)
kind("itertools.count", lambda: (c := itertools.count(5), next(c))[0], lambda v: next(v) == 6)
kind(
    "itertools.cycle",
    lambda: (c := itertools.cycle("ab"), next(c))[0],
    lambda v: [next(v), next(v)] == ["b", "a"],
)
kind(
    "itertools.chain, islice",
    lambda: itertools.islice(itertools.chain([1], [2, 3]), 2),
    lambda v: list(v) == [1, 2],
)


# -- instances of the program's classes --------------------------------------------------------------------


class Plain:
    def __init__(self) -> None:
        self.a = [1]

    def word(self) -> str:
        return "before"

    @classmethod
    def made(cls) -> str:
        return "before"

    @staticmethod
    def fixed() -> str:
        return "before"

    class Nested:
        def word(self) -> str:
            return "before"


class Slots:
    __slots__ = ("__weakref__", "a")

    def __init__(self) -> None:
        self.a = 1

    def word(self) -> str:
        return "before"


@dataclasses.dataclass
class Data:
    a: list[int]

    def word(self) -> str:
        return "before"


@dataclasses.dataclass(frozen=True, slots=True)
class Frozen:
    a: int

    def word(self) -> str:
        return "before"


class Named(NamedTuple):
    a: int

    def word(self) -> str:
        return "before"


class Colour(enum.Enum):
    RED = enum.auto()
    BLUE = enum.auto()

    def word(self) -> str:
        return "before"


class Rights(enum.Flag):
    READ = 1
    WRITE = 2


class Number(enum.IntEnum):
    ONE = 1


class Table(dict[str, int]):
    def word(self) -> str:
        return "before"


class Tally(collections.Counter[str]):
    pass


class Abstract(abc.ABC):
    @abc.abstractmethod
    def word(self) -> str: ...


class Concrete(Abstract):
    def word(self) -> str:
        return "before"


def noted_tally() -> Any:
    tally: Any = Tally("a")
    tally.note = 1
    return tally


T = typing.TypeVar("T")


class Generic(typing.Generic[T]):
    def word(self) -> str:
        return "before"


class Proxied:
    def __getattr__(self, name: str) -> str:
        if name.startswith("__"):
            raise AttributeError(name)
        return "before" + name


class Cached:
    calls = 0

    @functools.cached_property
    def costly(self) -> int:
        Cached.calls += 1
        return 7


class Hashed:
    def __init__(self, name: str) -> None:
        self.name = name
        self.members: set[Any] = set()

    def __hash__(self) -> int:
        return hash(self.name)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Hashed) and other.name == self.name


def _runs_new(value: Any) -> bool:
    return value.word() == WORD and type(value) is getattr(
        sys.modules[__name__], type(value).__qualname__, None
    )


kind("plain instance", Plain, lambda v: _runs_new(v) and v.a == [1])
kind("nested class's instance", Plain.Nested, lambda v: v.word() == WORD and type(v) is Plain.Nested)
kind("instance with slots", Slots, lambda v: _runs_new(v) and v.a == 1)
kind("dataclass", lambda: Data([1]), lambda v: _runs_new(v) and v.a == [1])
kind("frozen dataclass with slots", lambda: Frozen(1), lambda v: _runs_new(v) and v == Frozen(1))
kind("NamedTuple", lambda: Named(1), lambda v: _runs_new(v) and v == (1,))
kind("Enum member", lambda: Colour.BLUE, lambda v: v is Colour.BLUE and v.word() == WORD)
kind("Flag combination", lambda: Rights.READ | Rights.WRITE, lambda v: v == Rights.READ | Rights.WRITE)
kind("IntEnum member", lambda: Number.ONE, lambda v: v is Number.ONE)
kind("dict subclass", lambda: Table(a=1), lambda v: _runs_new(v) and v == {"a": 1})
kind(
    "Counter subclass with attributes",
    noted_tally,
    lambda v: v.note == 1 and v["a"] == 1,
)
kind("instance of an abstract class", Concrete, _runs_new)
kind("instance of a generic class", Generic[int], _runs_new)
kind("instance with __getattr__", Proxied, lambda v: v.x == WORD + "x")
kind(
    "cached_property, filled",
    lambda: (c := Cached(), c.costly)[0],
    lambda v: (v.costly, Cached.calls) == (7, 0),
)


def _hash_cycle() -> Hashed:
    one = Hashed("a")
    one.members.add(one)
    return one


kind("set that holds its owner", _hash_cycle, lambda v: v in v.members)
kind("dunder __copy__ result", lambda: copy.copy(Data([1])), lambda v: _runs_new(v))

# -- functions, classes, modules ----------------------------------------------------------------------------


def function() -> str:
    return "before"


def getter(self: Any) -> str:
    return "before"


def decorator(inner: Callable[[], str]) -> Callable[[], str]:
    @functools.wraps(inner)
    def outer() -> str:
        return inner() + "before"

    return outer


@decorator
def decorated() -> str:
    return "before"


def closure(bound: list[int]) -> Callable[[], tuple[str, list[int]]]:
    def inner() -> tuple[str, list[int]]:
        return "before", bound

    return inner


def recursive() -> Callable[[int], Any]:
    def inner(n: int) -> Any:
        return inner(n - 1) if n else "before"

    return inner


def counter_pair() -> tuple[Callable[[], int], Callable[[], int]]:
    count = 0

    def up() -> int:
        nonlocal count
        count += 1
        return count

    def read() -> int:
        return count

    up()
    return up, read


def local_class(bound: int) -> Any:
    class Local:
        def __init__(self) -> None:
            self.a = 1

        def word(self) -> tuple[str, int]:
            return "before", bound

    return Local


def local_dataclass() -> Any:
    @dataclasses.dataclass
    class LocalData:
        a: int

        def word(self) -> str:
            return "before"

    return LocalData(1)


def local_namedtuple() -> Any:
    made: Any = collections.namedtuple("made", "a b")
    return made(1, 2)


def local_enum() -> Any:
    class Inner(enum.Enum):
        A = 1

        def word(self) -> str:
            return "before"

    return Inner.A


@functools.singledispatch
def dispatched(value: object) -> str:
    return "before"


@dispatched.register
def _(value: int) -> str:
    return "before int"


@functools.lru_cache(maxsize=3)
def unchanged(a: int, b: int = 0) -> list[int]:
    return [a, b, random.randrange(10**9)]


@functools.cache
def changed(a: int) -> str:
    return "before"


kind("function", lambda: function, lambda v: v is function)
kind(
    "builtin function, method of a builtin",
    lambda: (len, [1].append),
    lambda v: v[0] is len and v[1].__self__ == [1],
)
kind("decorated function", lambda: decorated, lambda v: v is decorated)
kind("lambda", a_lambda, lambda v: v() == WORD)
kind("lambda with defaults", a_lambda_with_defaults, lambda v: v() == (WORD, (1, 2)))
kind("closure", lambda: closure([1]), lambda v: v() == (WORD, [1]))
kind("closure that calls itself", recursive, lambda v: v(2) == WORD)
kind("two closures over one variable", counter_pair, lambda v: (v[0](), v[1]()) == (2, 2))
kind("bound method", lambda: Plain().word, lambda v: v() == WORD and v.__self__.a == [1])
kind(
    "class method, static method",
    lambda: (Plain.made, Plain.fixed),
    lambda v: (v[0](), v[1]()) == (WORD, WORD),
)
kind("partial of a function", lambda: functools.partial(function), lambda v: v() == WORD)
kind("partial of a lambda", a_partial, lambda v: v() == WORD + "x")
kind(
    "operator.itemgetter, attrgetter",
    lambda: (operator.itemgetter(1), operator.attrgetter("a")),
    lambda v: v[0]("ab") == "b",
)
kind("property, classmethod objects", lambda: property(getter), lambda v: v.fget is getter)
kind("singledispatch function", lambda: dispatched, lambda v: (v(1), v("")) == (WORD + " int", WORD))


def _called() -> Any:
    unchanged.cache_clear()
    unchanged(1), unchanged(2, b=3)
    box["results"] = [unchanged(1), unchanged(2, b=3)]
    return unchanged, box["results"]


def _is_kept(value: Any) -> bool:
    function, results = value
    return function is unchanged and [function(1), function(2, b=3)] == results


kind("lru_cache, contents while unchanged", _called, _is_kept)
kind(
    "lru_cache, emptied by an edit", lambda: (changed(1), changed)[1], lambda v: v is changed and v(1) == WORD
)
kind("lru_cache of a lambda", a_cached_lambda, lambda v: v() == WORD)
kind("class", lambda: Plain, lambda v: v is Plain)
kind("local class", lambda: local_class(3), lambda v: v().word() == (WORD, 3))
kind(
    "instances of one local class",
    lambda: [(c := local_class(4))(), c()],
    lambda v: v[0].word() == (WORD, 4) and type(v[0]) is type(v[1]),
)
kind("instance of a local dataclass", local_dataclass, lambda v: v.word() == WORD and v == type(v)(1))
kind("instance of a local namedtuple", local_namedtuple, lambda v: (v.a, v.b) == (1, 2))
kind("member of a local Enum", local_enum, lambda v: v.word() == WORD and type(v)(1) is v)
kind(
    "class made by type()",
    a_made_class,
    lambda v: (v.word(), v.extra()) == (WORD, WORD),
)
kind("inspect.Signature", lambda: inspect.signature(function), lambda v: v == inspect.signature(function))
kind("struct.Struct", lambda: struct.Struct("<H"), lambda v: v.unpack(b"\1\0") == (1,))
kind(
    "partialmethod, singledispatchmethod objects",
    lambda: functools.partialmethod(function),
    lambda v: v.func is function,
)
kind(
    "xml Element",
    lambda: xml.etree.ElementTree.fromstring("<a b='1'><c/></a>"),
    lambda v: v.attrib == {"b": "1"} and v[0].tag == "c",
)
kind("module", lambda: (collections.abc, sys.modules[__name__]), lambda v: v[1] is sys.modules[__name__])
kind(
    "types of builtins",
    lambda: (type(None), types.FunctionType, type(len)),
    lambda v: v[1] is types.FunctionType,
)
kind("namespace of a class", lambda: vars(Plain), lambda v: v["word"] is Plain.word)

# -- locks and what threads share ---------------------------------------------------------------------------


def _held(lock: Any) -> Any:
    lock.acquire()
    return lock


def _is_free(lock: Any) -> bool:
    got: list[bool] = []
    thread = threading.Thread(target=lambda: got.append(lock.acquire(blocking=False)))
    thread.start()
    thread.join()
    return got == [True]


def _event() -> threading.Event:
    event = threading.Event()
    event.set()
    return event


def _in_loop(make: Callable[[], Any]) -> Any:
    async def run() -> Any:
        made = make()
        await made.acquire()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(made.acquire(), 0.001)  # binds it to the loop
        return made

    return asyncio.run(run())


def _works_in_loop(lock: Any) -> bool:
    async def run() -> bool:
        await asyncio.wait_for(lock.acquire(), 1)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(lock.acquire(), 0.001)
        return True

    return asyncio.run(run())


kind("Lock, held", lambda: _held(threading.Lock()), _is_free)
kind("RLock, held", lambda: _held(threading.RLock()), _is_free)
kind("Condition, held", lambda: _held(threading.Condition()), _is_free)
kind(
    "Condition over a shared lock",
    lambda: [k := threading.RLock(), threading.Condition(k)],
    lambda v: v[1]._lock is v[0],
)
kind("Event, set", _event, lambda v: v.is_set())
kind("Semaphore", lambda: threading.Semaphore(2), lambda v: v._value == 2)
kind("BoundedSemaphore, held", lambda: _held(threading.BoundedSemaphore(1)), _is_free)
kind("Barrier", lambda: threading.Barrier(2), lambda v: v.parties == 2)
kind("asyncio.Lock, held", lambda: _in_loop(asyncio.Lock), _works_in_loop)
kind("asyncio.Semaphore", lambda: asyncio.Semaphore(2), _works_in_loop)
kind("asyncio.Event", lambda: asyncio.Event(), lambda v: not v.is_set())
kind("asyncio.Condition", lambda: asyncio.Condition(), lambda v: not v.locked())


def _filled(waiting: Any) -> Any:
    for item in (3, 1, 2):
        waiting.put_nowait(item)
    return waiting


def _items(waiting: Any) -> list[int]:
    return [waiting.get_nowait() for _ in range(3)]


kind("queue.Queue", lambda: _filled(queue.Queue(5)), lambda v: (_items(v), v.maxsize) == ([3, 1, 2], 5))
kind(
    "PriorityQueue, LifoQueue",
    lambda: (_filled(queue.PriorityQueue()), _filled(queue.LifoQueue())),
    lambda v: (_items(v[0]), _items(v[1])) == ([1, 2, 3], [2, 1, 3]),
)
kind("queue.SimpleQueue", lambda: _filled(queue.SimpleQueue()), lambda v: _items(v) == [3, 1, 2])
kind("asyncio.Queue", lambda: _filled(asyncio.Queue(5)), lambda v: _items(v) == [3, 1, 2])


def _local() -> Any:
    local = threading.local()
    local.name = "a"
    return local


variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="d")


def _idle_pool() -> ThreadPoolExecutor:
    pool = ThreadPoolExecutor(3, "workers")
    pool.submit(len, "a").result()
    return pool


def _busy_pool() -> ThreadPoolExecutor:
    pool = ThreadPoolExecutor(1)
    pool.submit(threading.Event().wait)
    return pool


def _pool_works(pool: Any) -> bool:
    with pool:
        return bool(pool.submit(len, "ab").result(5) == 2 and pool._max_workers == 3)


kind("threading.local", _local, lambda v: v.name == "a")
kind("ContextVar of a module", lambda: variable, lambda v: v is variable)
kind(
    "ContextVar of an object",
    lambda: contextvars.ContextVar("own", default=1),
    lambda v: (v.name, v.get()) == ("own", 1),
)
kind("idle ThreadPoolExecutor", _idle_pool, _pool_works)

# -- weak references ----------------------------------------------------------------------------------------

kind("weakref.ref", lambda: [p := Slots(), weakref.ref(p)], lambda v: v[1]() is v[0])
kind("weakref.ref, dead", lambda: weakref.ref(Slots()), lambda v: v() is None)
kind(
    "weakref.proxy",
    lambda: [p := Plain(), weakref.proxy(p)],
    lambda v: v[1].word() == WORD and v[1].a is v[0].a,
)
kind("WeakMethod", lambda: [p := Plain(), weakref.WeakMethod(p.word)], lambda v: v[1]()() == WORD)
kind(
    "WeakValueDictionary",
    lambda: [p := Plain(), weakref.WeakValueDictionary(a=p)],
    lambda v: v[1]["a"] is v[0],
)
kind(
    "WeakKeyDictionary", lambda: [p := Plain(), weakref.WeakKeyDictionary({p: 1})], lambda v: v[1][v[0]] == 1
)
kind("WeakSet", lambda: [p := Plain(), weakref.WeakSet([p])], lambda v: list(v[1]) == [v[0]])


def _weak_cycle() -> Any:
    plain: Any = Plain()
    plain.names = weakref.WeakValueDictionary(me=plain)
    plain.itself = weakref.ref(plain)
    return plain


kind("cycle through weak references", _weak_cycle, lambda v: v.names["me"] is v and v.itself() is v)

# -- the library's own --------------------------------------------------------------------------------------


class Listing(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append("before" + record.getMessage())


def _handler_works(handler: Any) -> bool:
    logger = logging.Logger("a")
    logger.addHandler(handler)
    thread = threading.Thread(target=logger.error, args=("x",), daemon=True)
    thread.start()
    thread.join(2)
    return not thread.is_alive() and handler.lines == [WORD + "x"] and handler.level == logging.ERROR


def _locked_handler() -> Listing:
    handler = Listing()
    handler.acquire()
    return handler


def _cookies() -> http.cookiejar.CookieJar:
    jar = http.cookiejar.CookieJar()
    jar.set_cookie(
        http.cookiejar.Cookie(
            0, "n", "v", None, False, "a.b", True, False, "/", True, False, None, False, None, None, {}
        )
    )
    return jar


def _jar_works(jar: Any) -> bool:
    return [c.value for c in jar] == ["v"] and _is_free(jar._cookies_lock)


kind("logging.Logger", lambda: logging.getLogger("a.b"), lambda v: v is logging.getLogger("a.b"))
kind("logging.Handler, locked", _locked_handler, _handler_works)
kind("StreamHandler of stderr", lambda: logging.StreamHandler(sys.stderr), lambda v: v.stream is sys.stderr)
kind(
    "LoggerAdapter",
    lambda: logging.LoggerAdapter(logging.getLogger("a"), {"b": 1}),
    lambda v: v.extra == {"b": 1} and v.logger is logging.getLogger("a"),
)
kind("CookieJar", _cookies, _jar_works)
kind("sys.stdout", lambda: sys.stdout, lambda v: v is sys.stdout)

# -- what cannot cross --------------------------------------------------------------------------------------


def _generator() -> Any:
    yield 1


async def _coroutine() -> None: ...


async def _async_generator() -> Any:
    yield 1


def _task() -> Any:
    async def run() -> Any:
        return asyncio.ensure_future(asyncio.Event().wait())

    return asyncio.run(run())


def _part_of_a_buffer() -> memoryview:
    return memoryview(bytearray(b"abc"))[1:]


def _traceback() -> Any:
    try:
        raise ValueError
    except ValueError as error:
        return error.__traceback__


refused("generator", _generator)
refused("generator expression", lambda: (n for n in "ab"))
refused("coroutine", _coroutine)
refused("async generator", _async_generator)
refused("task", _task)
refused("thread", lambda: threading.Thread(target=function))
refused("event loop", asyncio.new_event_loop)
refused("frame", sys._getframe)
refused("traceback", _traceback)
refused("TLS context", ssl.create_default_context)
refused("executor with work under way", _busy_pool)
refused("context token", lambda: variable.set("a"))
refused("memoryview of a part", _part_of_a_buffer)
