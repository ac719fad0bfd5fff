"""sqlite3: a database in memory crosses as its bytes, one on disk is opened again by its path.

What cannot be asked of a connection cannot cross: an open transaction, functions and collations of the
user's, attached and temporary tables are refused by name. ``detect_types`` cannot be asked either and is not
refused, because nearly nobody sets it: the documentation says so.
"""

from __future__ import annotations

import os
import sqlite3
from typing import Any

from livereload_core.state.descriptors import incoming
from livereload_core.state.refusals import RefusedError

__all__ = ["reduce_sqlite"]

_PRAGMAS = ("foreign_keys", "recursive_triggers", "busy_timeout", "synchronous", "cache_size", "temp_store")
_ADVICE = "keep the path, and connect anew"


def reduce_sqlite(connection: Any) -> Any:
    """Return the reduction of a connection."""
    try:
        if connection.in_transaction:
            raise RefusedError("a transaction is open", "commit() or roll back before the reload")
        path = _path_of(connection)
        _refuse_extras(connection)
        data = None if path else connection.serialize()
        rows = [connection.execute(f"PRAGMA {name}").fetchone() for name in _PRAGMAS]
    except sqlite3.ProgrammingError as error:
        if "thread" in str(error):
            raise RefusedError(
                "a database connection belongs to the thread that made it",
                "sqlite3.connect(..., check_same_thread=False), or keep the path",
            ) from None
        raise RefusedError(f"the database connection cannot be used ({error})", _ADVICE) from None
    except AttributeError:
        raise RefusedError("this sqlite3 cannot write a database in memory out", _ADVICE) from None
    pragmas = {name: row[0] for name, row in zip(_PRAGMAS, rows, strict=True) if row is not None}
    settings = {name: getattr(connection, name) for name in _settings(connection)}
    return _make_sqlite, (type(connection), path, data, pragmas, settings, dict(_own(connection)))


def _own(connection: Any) -> dict[str, Any]:
    return getattr(connection, "__dict__", {})


def _settings(connection: Any) -> list[str]:
    names = ("isolation_level", "row_factory", "text_factory", "autocommit")
    return [name for name in names if hasattr(connection, name)]


def _path_of(connection: Any) -> str:
    """Return the path of the main database, ``""`` for one in memory."""
    path = ""
    for _, name, file in _plain(connection, "PRAGMA database_list"):
        if name == "main":
            # one that came out of deserialize() has a name of no meaning; files have absolute ones
            path = file if os.path.isabs(file) else ""
        elif name != "temp":
            raise RefusedError(
                f"database {name!r} is attached", "detach it, or keep the paths and connect anew"
            )
    if path and not os.path.exists(path):
        raise RefusedError(f"the database file {path!r} is gone", _ADVICE)
    return path


def _refuse_extras(connection: Any) -> None:
    if _plain(connection, "SELECT name FROM sqlite_temp_master"):
        raise RefusedError("a database connection with temporary tables cannot be carried", _ADVICE)
    fresh = sqlite3.connect(":memory:")
    try:
        for what, query in (
            ("function", "SELECT DISTINCT name FROM pragma_function_list"),
            ("collation", "SELECT DISTINCT name FROM pragma_collation_list"),
        ):
            own = set(_plain(connection, query)) - set(_plain(fresh, query))
            if own:
                (name,) = min(own)
                raise RefusedError(f"{what} {name!r} of the connection is code of this process", _ADVICE)
    except sqlite3.OperationalError:
        pass  # a library too old to list them
    finally:
        fresh.close()


def _plain(connection: Any, query: str) -> list[tuple[Any, ...]]:
    cursor = connection.cursor()
    cursor.row_factory = None
    try:
        return [tuple(row) for row in cursor.execute(query)]
    finally:
        cursor.close()


def _make_sqlite(
    cls: Any,
    path: str,
    data: bytes | None,
    pragmas: dict[str, Any],
    settings: dict[str, Any],
    attributes: dict[str, Any],
) -> Any:
    connection = sqlite3.connect(path or ":memory:", check_same_thread=False, factory=cls)
    incoming().made(connection.close)
    if data:
        connection.deserialize(data)
    for name, value in pragmas.items():
        connection.execute(f"PRAGMA {name} = {value}").close()
    for name, value in settings.items():
        setattr(connection, name, value)
    if attributes:
        vars(connection).update(attributes)
    return connection
