"""aiohttp: a client session crosses with its headers, cookies and limits, without its connections.

Its connector and its cookies belong to an event loop, and there is none while state is restored. So the
session that comes back makes them when it is first used, in the loop that runs then.
"""

from __future__ import annotations

import functools
import warnings
from typing import Any

from livereload_core.state.refusals import RefusedError

__all__ = ["AiohttpCodec"]

_OF_THE_LOOP = frozenset(("_loop", "_connector", "_cookie_jar", "_source_traceback"))
_LIMITS = {"limit": "_limit", "limit_per_host": "_limit_per_host", "force_close": "_force_close"}


class AiohttpCodec:
    """Carries client sessions."""

    types = ("aiohttp.client:ClientSession",)

    def reduce(self, obj: Any) -> Any:
        """Reduce a session to its attributes, the options of its connector, and its cookies."""
        from aiohttp import TCPConnector

        kept = {name: value for name, value in vars(obj).items() if name not in _OF_THE_LOOP}
        if not kept.get("_kept"):
            connector = obj._connector
            if type(connector) is not TCPConnector or not isinstance(connector._ssl, bool):
                raise RefusedError(
                    "a client session with a connector or a TLS context of its own",
                    "make it in an on_ready hook, and keep its headers and cookies",
                )
            options = {name: getattr(connector, attribute) for name, attribute in _LIMITS.items()}
            cookies = {name: getattr(obj._cookie_jar, name, None) for name in ("_cookies", "_expirations")}
            kept["_kept"] = ({**options, "ssl": connector._ssl}, type(obj._cookie_jar), cookies)
        return _new_session, (), kept, None, None, _set_session


def _new_session() -> Any:
    made: Any = object.__new__(_kept_class())
    return made


def _set_session(session: Any, kept: dict[str, Any]) -> None:
    vars(session).update(kept)


@functools.cache
def _kept_class() -> Any:
    import asyncio

    from aiohttp import ClientSession, TCPConnector

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # aiohttp discourages subclasses; this one only delays

        class KeptSession(ClientSession):
            @functools.cached_property
            def _loop(self) -> Any:  # type: ignore[override]
                return asyncio.get_running_loop()

            @functools.cached_property
            def _connector(self) -> Any:  # type: ignore[override]
                options, _, _ = vars(self)["_kept"]
                made = TCPConnector(**options)
                vars(self)["_connector"] = made
                _ = self._cookie_jar, self._loop
                vars(self)["_kept"] = None
                return made

            @functools.cached_property
            def _cookie_jar(self) -> Any:  # type: ignore[override]
                _, cls, cookies = vars(self)["_kept"]
                jar = cls()
                vars(jar).update({name: value for name, value in cookies.items() if value is not None})
                return jar

            def __del__(self, *more: Any) -> None:
                if not vars(self).get("_kept"):  # else it never had anything that could be left open
                    super().__del__(*more)

    return KeptSession
