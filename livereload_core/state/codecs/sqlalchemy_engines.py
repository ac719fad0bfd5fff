"""SQLAlchemy: an engine is the new code's own where it is a global, else it is made anew from its URL.

Connections never cross; the pool of the new engine opens its own.
"""

from __future__ import annotations

from typing import Any

from livereload_core.state.names import lookup, name_of_global
from livereload_core.state.refusals import RefusedError

__all__ = ["SqlAlchemyCodec"]


class SqlAlchemyCodec:
    """Carries engines; sessions and connections are turned down."""

    types = (
        "sqlalchemy.engine.base:Engine",
        "sqlalchemy.engine.base:Connection",
        "sqlalchemy.orm.session:Session",
        "sqlalchemy.ext.asyncio.engine:AsyncEngine",
    )

    def reduce(self, obj: Any) -> Any:
        """Reduce an engine to its name or to its URL and options."""
        from sqlalchemy.engine import Engine

        found = name_of_global(obj, "engine")
        if found is not None:
            return lookup, found
        if not isinstance(obj, Engine):
            raise RefusedError(
                f"a {type(obj).__name__} of SQLAlchemy holds a connection of this process",
                "keep the data, or the engine in a module global, and connect in an on_ready hook",
            )
        if obj.url.get_backend_name() == "sqlite" and obj.url.database in (None, "", ":memory:"):
            raise RefusedError(
                "a database in memory ends with its engine", "keep the data in a file, or the rows themselves"
            )
        return _engine, (obj.url.render_as_string(hide_password=False), _options(obj))


def _options(engine: Any) -> dict[str, Any]:
    pool = engine.pool
    options = {"poolclass": type(pool), "echo": engine.echo, "hide_parameters": engine.hide_parameters}
    for option, attribute in (
        ("pool_pre_ping", "_pre_ping"),
        ("pool_recycle", "_recycle"),
        ("max_overflow", "_max_overflow"),
        ("pool_timeout", "_timeout"),
    ):
        if hasattr(pool, attribute):
            options[option] = getattr(pool, attribute)
    if hasattr(pool, "size"):
        options["pool_size"] = pool.size()
    code = getattr(pool._creator, "__code__", None)
    names = code.co_freevars if code is not None else ()
    if "cparams" not in names:
        raise RefusedError(
            "an engine with a creator of its own cannot be made anew",
            "make it a module global: then the new code's own takes its place",
        )
    made = pool._creator.__closure__[names.index("cparams")].cell_contents
    _, usual = engine.dialect.create_connect_args(engine.url)
    options["connect_args"] = {name: value for name, value in made.items() if usual.get(name) != value}
    return options


def _engine(url: str, options: dict[str, Any]) -> Any:
    from sqlalchemy import create_engine

    return create_engine(url, **options)
