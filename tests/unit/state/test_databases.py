"""sqlite3 connections: in memory by their bytes, on disk by their path."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from livereload_core.state.refusals import RefusedError
from tests.unit.state.carrying import carry, refuse


@pytest.fixture
def memory() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("CREATE TABLE t (name TEXT)")
        connection.execute("INSERT INTO t VALUES ('one')")
        connection.commit()
        yield connection


def names(connection: Any) -> list[str]:
    return [row[0] for row in connection.execute("SELECT name FROM t")]


def test_database_in_memory_crosses_whole(memory: sqlite3.Connection) -> None:
    memory.row_factory = sqlite3.Row
    memory.isolation_level = None
    memory.execute("PRAGMA foreign_keys = ON")
    with closing(carry(memory)) as back:
        assert names(back) == ["one"]
        assert (back.row_factory, back.isolation_level) == (sqlite3.Row, None)
        assert back.execute("PRAGMA foreign_keys").fetchone()[0] == 1
        back.execute("INSERT INTO t VALUES ('two')")
        assert names(memory) == ["one"]
        with closing(carry(back)) as again:
            assert names(again) == ["one", "two"]


def test_database_on_disk_is_opened_again(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "a.db")) as connection:
        connection.execute("CREATE TABLE t (name TEXT)")
        connection.execute("INSERT INTO t VALUES ('one')")
        connection.commit()
        with closing(carry(connection)) as back:
            assert names(back) == ["one"]
        (tmp_path / "a.db").unlink()
        refuse(connection, RefusedError, lambda error: "gone" in error.message)


def test_open_transaction_is_refused_with_advice(memory: sqlite3.Connection) -> None:
    memory.execute("INSERT INTO t VALUES ('two')")

    def check(error: RefusedError) -> None:
        assert "transaction" in error.message
        assert "commit()" in error.remedy

    refuse(memory, RefusedError, check)
    memory.commit()
    with closing(carry(memory)) as back:
        assert names(back) == ["one", "two"]


def test_what_cannot_be_asked_again_is_refused(memory: sqlite3.Connection, tmp_path: Path) -> None:
    def expect(word: str) -> None:
        def check(error: RefusedError) -> None:
            assert word in error.message

        refuse(memory, RefusedError, check)

    memory.execute(f"ATTACH '{tmp_path / 'b.db'}' AS other")
    expect("'other'")
    memory.execute("DETACH other")
    memory.execute("CREATE TEMP TABLE x (a)")
    expect("temporary")
    memory.execute("DROP TABLE x")
    memory.create_function("double", 1, lambda value: value * 2)
    expect("'double'")


def test_closed_connection_is_refused(memory: sqlite3.Connection) -> None:
    memory.close()
    refuse(memory, RefusedError, lambda error: "closed" in error.message)
