"""Codecs of third-party types: ours pass the published check, and carry what their library forgets."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import pandas as pd
import pytest
import requests
import sqlalchemy

from livereload_core.state.codecs.aiohttp_sessions import AiohttpCodec
from livereload_core.state.codecs.numpy_arrays import NumpyCodec
from livereload_core.state.codecs.pandas_frames import PandasCodec
from livereload_core.state.codecs.requests_sessions import RequestsCodec
from livereload_core.state.codecs.sqlalchemy_engines import SqlAlchemyCodec
from livereload_core.state.refusals import RefusedError
from livereload_core.state.thirdparty import ENTRY_POINTS, StateCodec, codec_for
from livereload_core.testing import check_codec
from tests.unit.state.test_codec import carry


def test_all_of_our_codecs_are_registered_under_the_name_of_their_library() -> None:
    import importlib_metadata

    names = {point.name for point in importlib_metadata.entry_points(group=ENTRY_POINTS)}
    assert names >= {"aiohttp", "numpy", "pandas", "requests", "sqlalchemy"}
    assert isinstance(codec_for(np.ndarray), NumpyCodec)
    assert codec_for(dict) is None


@pytest.mark.parametrize("library", ["numpy", "pandas", "aiohttp", "requests", "sqlalchemy"])
def test_library_that_is_not_used_is_not_imported(library: str) -> None:
    source = (
        "import sys, threading\nfrom livereload_core.state.codec import Dumper\n"
        "class A: pass\nDumper((), lambda name: True).dump([A(), threading.RLock(), {1: 'a'}])\n"
        f"print({library!r} in sys.modules, 'importlib_metadata' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, timeout=60)
    assert done.stdout.startswith("False"), done.stderr


def test_arrays_pass_the_check() -> None:
    check_codec(NumpyCodec(), lambda: np.arange(6).reshape(2, 3), np.array_equal, library="numpy")
    check_codec(NumpyCodec(), lambda: np.arange(6)[1::2], np.array_equal)
    check_codec(
        NumpyCodec(), lambda: np.asfortranarray(np.arange(6.0).reshape(2, 3))[1:, ::2], np.array_equal
    )


def test_arrays_that_share_memory_still_do() -> None:
    whole = np.arange(12).reshape(3, 4)
    back_whole, back_row, back_read = carry([whole, whole[1], np.broadcast_to(whole[0], (2, 4))])
    back_row[0] = 99
    assert back_whole.base[4] == 99 if back_whole.base is not None else back_whole[1, 0] == 99
    assert not back_read.flags.writeable


def test_mapped_file_is_mapped_again(tmp_path: Path) -> None:
    path = tmp_path / "a.dat"
    mapped = np.memmap(path, "int32", "w+", shape=(4,))
    mapped[:] = [1, 2, 3, 4]
    back = carry(mapped)
    back[0] = 7
    back.flush()
    assert mapped[0] == 7
    assert path.stat().st_size == 16


def test_frames_are_carried_with_their_attributes() -> None:
    frame = pd.DataFrame({"a": [1, 2], "b": ["x", None]}, index=["i", "j"])
    frame.attrs["unit"] = "m"
    frame.groupby("b")
    back = carry({"frame": frame, "series": frame["a"], "grouped": frame.groupby("b")})
    pd.testing.assert_frame_equal(back["frame"], frame)
    assert back["frame"].attrs == {"unit": "m"}
    assert back["grouped"]["a"].sum().to_dict() == {"x": 1}


def test_reader_of_a_file_is_refused_with_advice(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a\n1\n2\n")
    with pd.read_csv(tmp_path / "a.csv", chunksize=1) as reader:
        assert isinstance(codec_for(type(reader)), PandasCodec)
        with pytest.raises(RefusedError, match="in the midst of a file") as caught:
            carry(reader)
    assert "on_ready" in caught.value.remedy


class ApiSession(requests.Session):
    def __init__(self) -> None:
        super().__init__()
        self.root_url = "http://a.b"


def a_session() -> ApiSession:
    session = ApiSession()
    session.headers["X-Token"] = "t"
    session.cookies.set("c", "1")
    session.verify = False
    return session


def test_session_of_requests_keeps_all_of_its_attributes() -> None:
    def same(one: ApiSession, other: ApiSession) -> bool:
        return (one.headers, one.cookies.get_dict(), one.verify, one.root_url) == (
            other.headers,
            other.cookies.get_dict(),
            other.verify,
            other.root_url,
        )

    check_codec(RequestsCodec(), a_session, same, library="requests")


engine = sqlalchemy.create_engine("sqlite:////dev/null")


def test_engine_that_is_a_global_is_the_one_of_the_new_code() -> None:
    assert carry({"engine": engine})["engine"] is engine


def test_engine_that_is_no_global_is_made_anew(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/a.db"

    def make() -> Any:
        made = sqlalchemy.create_engine(url, pool_size=3, pool_pre_ping=True, connect_args={"timeout": 7})
        with made.begin() as connection:
            connection.execute(sqlalchemy.text("create table if not exists t (a)"))
        made.dispose()
        return made

    def same(one: Any, other: Any) -> bool:
        with other.begin() as connection:
            assert connection.execute(sqlalchemy.text("select count(*) from t")).scalar() == 0
        other.dispose()
        return bool(one.url == other.url and other.pool.size() == 3 and other.pool._pre_ping)

    check_codec(SqlAlchemyCodec(), make, same, library="sqlalchemy")
    arguments = carry(make()).pool._creator.__closure__[1].cell_contents
    assert arguments["timeout"] == 7


def test_database_in_memory_and_open_connections_are_refused() -> None:
    with pytest.raises(RefusedError, match="a database in memory"):
        carry([sqlalchemy.create_engine("sqlite://")])
    made = sqlalchemy.create_engine("sqlite://")
    with made.connect() as connection, pytest.raises(RefusedError, match="Connection of SQLAlchemy"):
        carry([connection])
    made.dispose()


def test_client_session_of_aiohttp_goes_on_in_the_next_loop() -> None:
    async def first() -> Any:
        session = aiohttp.ClientSession(headers={"X-Token": "t"}, connector=aiohttp.TCPConnector(limit=7))
        session.cookie_jar.update_cookies({"c": "1"})
        try:
            return carry([session, session])
        finally:
            await session.close()

    async def second(back: Any) -> None:
        again = carry(back)[0]  # a reload in which nobody used it
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with again, again.get(f"http://127.0.0.1:{port}/") as response:
            assert await response.text() == "ok"
            assert again.connector.limit == 7
            assert [cookie.value for cookie in again.cookie_jar] == ["1"]
        server.close()
        await server.wait_closed()
        assert "X-Token: t" in heads[0]

    heads: list[str] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
        await writer.drain()
        writer.close()

    back = asyncio.run(first())
    assert back[0] is back[1]
    assert isinstance(AiohttpCodec(), StateCodec)
    asyncio.run(second(back))


class Bad:
    types = ("numpy:ndarray",)

    def reduce(self, obj: Any) -> Any:
        return (lambda: None), ()


class Eager(Bad):
    types = ("ndarray",)


@pytest.mark.parametrize(
    ("codec", "says"),
    [
        (Bad(), "move it to module level"),
        (Eager(), "types are written module:qualname"),
        (object(), "a codec has types"),
    ],
)
def test_codec_that_breaks_a_rule_is_told_which(codec: Any, says: str) -> None:
    with pytest.raises(AssertionError, match=says):
        check_codec(codec, lambda: np.arange(2), np.array_equal)


def test_value_that_comes_back_different_fails_the_check() -> None:
    with pytest.raises(AssertionError, match="is not the same"):
        check_codec(NumpyCodec(), lambda: np.arange(2), lambda one, other: False)
