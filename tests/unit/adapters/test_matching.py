"""Which adapter takes which object that a user may name."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
from aiohttp import web
from fastapi import FastAPI
from flask import Flask
from starlette.applications import Starlette

from livereload_core.adapters.aiohttp_app import AiohttpAdapter
from livereload_core.adapters.asgi import AsgiAdapter
from livereload_core.adapters.coroutine import CoroutineAdapter
from livereload_core.adapters.function import FunctionAdapter
from livereload_core.adapters.signatures import required_positionals
from livereload_core.adapters.wsgi import WsgiAdapter
from livereload_core.child.adapter import TargetAdapter, choose
from livereload_core.errors import UsageError

ADAPTERS: list[TargetAdapter] = sorted(
    [AiohttpAdapter(), AsgiAdapter(), WsgiAdapter(), CoroutineAdapter(), FunctionAdapter()],
    key=lambda adapter: -adapter.priority,
)


async def asgi_function(scope: Any, receive: Any, send: Any) -> None: ...


class AsgiInstance:
    async def __call__(self, scope: Any, receive: Any, send: Any) -> None: ...

    async def method(self, scope: Any, receive: Any, send: Any) -> None: ...


class AsgiInstanceWithDefault:
    async def __call__(self, scope: Any, receive: Any, send: Any, extra: int = 0) -> None: ...


def wsgi_function(environ: Any, start_response: Any) -> Iterable[bytes]:
    return []


class WsgiInstance:
    def __call__(self, environ: Any, start_response: Any) -> Iterable[bytes]:
        return []


class WsgiClass:
    """The other form of PEP 3333: made once per request, with both arguments."""

    def __init__(self, environ: Any, start_response: Any) -> None: ...

    def __iter__(self) -> Iterator[bytes]:
        return iter(())


async def main_coroutine() -> None: ...


async def main_with_options(port: int = 8000, *, debug: bool = False) -> None: ...


async def handler(request: object) -> None: ...


def main_function() -> None: ...


def function_with_options(*args: str, port: int = 8000) -> None: ...


def function_of_one(x: object) -> None: ...


def function_of_three(a: object, b: object, c: object) -> None: ...


class Program:
    def __call__(self) -> None: ...

    def serve(self) -> None: ...

    async def serve_async(self) -> None: ...


@functools.wraps(wsgi_function)
def decorated_wsgi(*args: Any, **kwargs: Any) -> Iterable[bytes]:
    return wsgi_function(*args, **kwargs)


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        pytest.param(lambda: web.Application(), "aiohttp", id="aiohttp application"),
        pytest.param(lambda: FastAPI(), "asgi", id="FastAPI"),
        pytest.param(lambda: Starlette(), "asgi", id="Starlette"),
        pytest.param(lambda: asgi_function, "asgi", id="ASGI function"),
        pytest.param(lambda: AsgiInstance(), "asgi", id="ASGI instance"),
        pytest.param(lambda: AsgiInstance().method, "asgi", id="ASGI bound method"),
        pytest.param(lambda: AsgiInstanceWithDefault(), "asgi", id="ASGI instance with a default"),
        pytest.param(lambda: Flask("app"), "wsgi", id="Flask"),
        pytest.param(lambda: wsgi_function, "wsgi", id="WSGI function"),
        pytest.param(lambda: WsgiInstance(), "wsgi", id="WSGI instance"),
        pytest.param(lambda: Flask("app").wsgi_app, "wsgi", id="WSGI bound method"),
        pytest.param(lambda: decorated_wsgi, "wsgi", id="decorated WSGI function"),
        pytest.param(lambda: main_coroutine, "coroutine", id="coroutine function"),
        pytest.param(lambda: main_with_options, "coroutine", id="coroutine function with defaults"),
        pytest.param(lambda: Program().serve_async, "coroutine", id="coroutine method"),
        pytest.param(lambda: main_function, "function", id="function"),
        pytest.param(lambda: function_with_options, "function", id="function with defaults"),
        pytest.param(lambda: Program(), "function", id="callable object"),
        pytest.param(lambda: Program().serve, "function", id="method"),
        pytest.param(lambda: functools.partial(function_of_one, 1), "function", id="partial"),
        pytest.param(lambda: lambda: None, "function", id="lambda"),
        pytest.param(lambda: Program, "function", id="class without arguments"),
    ],
)
def test_each_kind_of_target_goes_to_its_adapter(target: Callable[[], object], expected: str) -> None:
    assert choose(ADAPTERS, target(), "app:app").name == expected


@pytest.mark.parametrize(
    "target",
    [
        pytest.param(3, id="number"),
        pytest.param("app", id="text"),
        pytest.param(None, id="none"),
        pytest.param(asyncio, id="module"),
        pytest.param(WsgiClass, id="class of two arguments"),
        pytest.param(handler, id="coroutine function of one argument"),
        pytest.param(function_of_one, id="function of one argument"),
        pytest.param(function_of_three, id="function of three arguments"),
        pytest.param(object(), id="plain object"),
    ],
)
def test_what_is_nothing_of_the_kind_goes_to_nobody(target: object) -> None:
    with pytest.raises(UsageError):
        choose(ADAPTERS, target, "app:app")


def test_the_coroutine_of_an_async_factory_goes_to_aiohttp_where_that_is_in_use() -> None:
    coroutine = main_coroutine()
    try:
        assert choose(ADAPTERS, coroutine, "app:create").name == "aiohttp"
        without = [adapter for adapter in ADAPTERS if adapter.name != "aiohttp"]
        assert choose(without, coroutine, "app:create").name == "coroutine"
    finally:
        coroutine.close()


def test_no_object_is_taken_by_two_adapters_of_one_rank() -> None:
    assert len({adapter.priority for adapter in ADAPTERS}) == len(ADAPTERS)


@pytest.mark.parametrize(
    ("target", "count"),
    [
        (main_function, 0),
        (wsgi_function, 2),
        (function_with_options, 0),
        (WsgiInstance(), 2),
        (functools.partial(wsgi_function, {}), 1),
        (functools.partial(wsgi_function, environ={}), 0),
        (3, None),
        (type, None),
    ],
)
def test_only_arguments_that_have_to_be_passed_are_counted(target: object, count: int | None) -> None:
    assert required_positionals(target) == count
