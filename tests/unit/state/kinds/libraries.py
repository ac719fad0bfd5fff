"""The part of the program that uses third-party libraries; a row of one that is not installed says so."""

from __future__ import annotations

import asyncio
import importlib.util
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import app  # type: ignore[import-not-found]

WORD = "before"


def library(name: str, kind: str, make: Callable[[Any], Any], check: Callable[[Any, Any], Any]) -> None:
    """Add a kind of a library, which ``make`` and ``check`` are given."""
    if importlib.util.find_spec(name) is None:
        app.absent(kind)
        return
    module = importlib.import_module(name)
    app.kind(kind, lambda: make(module), lambda value: check(module, value))


# -- numpy and pandas -------------------------------------------------------------------------------------


def _views(numpy: Any) -> Any:
    whole = numpy.arange(12).reshape(3, 4)
    return whole, whole[1]


def _views_share(numpy: Any, value: Any) -> bool:
    whole, row = value
    row[0] = 99
    return bool(whole[1, 0] == 99)


library("numpy", "numpy array", lambda np: np.arange(6.0), lambda np, v: np.array_equal(v, np.arange(6.0)))
library(
    "numpy",
    "numpy array of 8 MiB",
    lambda np: np.arange(1 << 20),
    lambda np, v: np.array_equal(v, np.arange(1 << 20)) and v.flags.writeable,
)
library("numpy", "numpy array and a view of it", _views, _views_share)
library(
    "numpy", "numpy array of objects", lambda np: np.array([{"a": 1}, None]), lambda np, v: v[0] == {"a": 1}
)
library(
    "numpy",
    "numpy random generator, at its place",
    lambda np: [np.random.default_rng(1), np.random.default_rng(1).integers(1 << 40)],
    lambda np, v: v[0].integers(1 << 40) == v[1],
)
library(
    "pandas",
    "pandas DataFrame",
    lambda pd: pd.DataFrame({"a": [1, 2], "b": ["x", None]}, index=["i", "j"]),
    lambda pd, v: v.equals(pd.DataFrame({"a": [1, 2], "b": ["x", None]}, index=["i", "j"])),
)
library(
    "pandas",
    "pandas Series of times and categories",
    lambda pd: (pd.Series(pd.date_range("2020", periods=3)), pd.Series(["a", "b"], dtype="category")),
    lambda pd, v: v[0].iloc[2].day == 3 and v[1].cat.categories.tolist() == ["a", "b"],
)

# -- connections of libraries --------------------------------------------------------------------------------


def _engine(sqlalchemy: Any) -> Any:
    path = Path(tempfile.mkdtemp(dir=Path(__file__).parent)) / "database"
    engine = sqlalchemy.create_engine(f"sqlite:///{path}", pool_size=3)
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text("create table t (a)"))
    engine.dispose()
    return engine


def _engine_works(sqlalchemy: Any, engine: Any) -> bool:
    with engine.begin() as connection:
        count = connection.execute(sqlalchemy.text("select count(*) from t")).scalar()
    return bool(count == 0 and engine.pool.size() == 3)


def _client(aiohttp: Any) -> Any:
    async def make() -> Any:
        session = aiohttp.ClientSession(headers={"X-Token": "t"}, connector=aiohttp.TCPConnector(limit=7))
        session.cookie_jar.update_cookies({"c": "1"})
        return session

    return asyncio.run(make())


def _client_works(aiohttp: Any, session: Any) -> bool:
    heads: list[str] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
        await writer.drain()
        writer.close()

    async def use() -> bool:
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with session, session.get(f"http://127.0.0.1:{port}/") as response:
            text = await response.text()
            cookies = [cookie.value for cookie in session.cookie_jar]
            server.close()
            return (text, session.connector.limit, cookies, "X-Token: t" in heads[0]) == (
                "ok",
                7,
                ["1"],
                True,
            )

    return asyncio.run(use())


def _requests_session(requests: Any) -> Any:
    session = requests.Session()
    session.headers["X-Token"] = "t"
    session.cookies.set("c", "1")
    session.verify = False
    session.app = "mine"
    return session


def _is_that_session(requests: Any, session: Any) -> bool:
    found = session.headers["X-Token"], session.cookies.get_dict(), session.verify, session.app
    return found == ("t", {"c": "1"}, False, "mine")


library("sqlalchemy", "SQLAlchemy engine of a file", _engine, _engine_works)
library("aiohttp", "aiohttp.ClientSession", _client, _client_works)
library("requests", "requests.Session, with an attribute of one's own", _requests_session, _is_that_session)

# -- classes of libraries ------------------------------------------------------------------------------------

try:
    import attrs
except ImportError:
    app.absent("attrs instance")
    app.absent("attrs instance, frozen, with slots")
else:

    @attrs.define
    class Attrs:
        a: int
        b: list[int] = attrs.field(factory=list)

        def word(self) -> str:
            return "before"

    @attrs.frozen
    class FrozenAttrs:
        a: int

        def word(self) -> str:
            return "before"

    app.kind("attrs instance", lambda: Attrs(1, [2]), lambda v: (v, v.word()) == (Attrs(1, [2]), WORD))
    app.kind(
        "attrs instance, frozen, with slots",
        lambda: FrozenAttrs(1),
        lambda v: (v, v.word(), hash(v)) == (FrozenAttrs(1), WORD, hash(FrozenAttrs(1))),
    )

try:
    import pydantic
except ImportError:
    app.absent("pydantic model")
else:

    class Model(pydantic.BaseModel):
        a: int
        b: list[int] = []
        _private: int = pydantic.PrivateAttr(default=0)

        def word(self) -> str:
            return "before"

    def _model() -> Model:
        model = Model(a=1)
        model._private = 7
        return model

    app.kind(
        "pydantic model",
        _model,
        lambda v: (v.model_dump(exclude_unset=True), v._private, v.word()) == ({"a": 1}, 7, WORD),
    )

try:
    import msgspec
except ImportError:
    app.absent("msgspec Struct")
else:

    class Struct(msgspec.Struct):
        a: int
        b: list[int] = []

        def word(self) -> str:
            return "before"

    app.kind("msgspec Struct", lambda: Struct(1, [2]), lambda v: (v, v.word()) == (Struct(1, [2]), WORD))
