"""What type checkers make of the public names; checked by mypy and pyright, never run."""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Callable
from typing import Any, assert_type

from livereload_core import (
    Lru,
    after_reload,
    before_reload,
    dispose,
    generation,
    on_ready,
    prepare,
    preserve,
    reload,
)


@dataclasses.dataclass
class Session:
    user: str


assert_type(preserve("sessions", dict[str, int]), dict[str, int])
assert_type(preserve("typed", dict[str, Session]), dict[str, Session])
assert_type(preserve("names", list[str]), list[str])
assert_type(preserve("last", deque[str]), deque[str])
assert_type(preserve("hits", int), int)
assert_type(preserve("one", lambda: Session("ada")), Session)
assert_type(
    preserve("options", dict[str, int], version=2, on_error="reset", transient=("a",)), dict[str, int]
)


assert_type(preserve.dict[str, int](), dict[str, int])
assert_type(preserve.dict[str, list[Session]]("named"), dict[str, list[Session]])
assert_type(preserve("tracked", preserve.dict[str, int]), dict[str, int])
assert_type(preserve("versioned", preserve.dict[str, int], version=2), dict[str, int])
annotated: dict[str, int] = preserve.dict()
assert_type(preserve.lru[str, int](maxsize=10), Lru[str, int])
assert_type(preserve.lru[str, int]().get("a", 0), Any)
cache: Lru[str, Session] = preserve.lru(maxsize=None)
assert_type(cache["ada"], Session)
assert_type(preserve("lru", lambda: preserve.lru[str, int](maxsize=5)), Lru[str, int])
assert_type(preserve.array((10, 10), "f4").shape, tuple[Any, ...])


def longer(row: list[int]) -> list[int]:
    return [*row, 0]


assert_type(
    preserve("each", preserve.dict[str, list[int]], version=2, migrate=preserve.each(longer)),
    dict[str, list[int]],
)
assert_type(
    preserve(
        "steps", preserve.dict[str, int], version=3, migrate={1: preserve.each(longer), 2: preserve.each(str)}
    ),
    dict[str, int],
)


def upgrade(old: Any, old_version: int) -> dict[str, int]:
    return {"version": old_version, **old}


def sound(value: dict[str, int]) -> bool:
    return "version" in value


assert_type(
    preserve("migrated", dict[str, int], version=2, migrate=upgrade, validate=sound, aliases=("older",)),
    dict[str, int],
)


assert_type(
    preserve(
        "chained",
        dict[str, int],
        version=3,
        migrate={1: lambda old: dict(old), 2: lambda old: dict(old)},
        group="tables",
        ttl=60.0,
        renamed={"old": "new", "gone": None},
    ),
    dict[str, int],
)


class World:
    seed: int = 0


@preserve
def world() -> World:
    return World()


@preserve(name="other", version=3, renamed={"old": "new"})
def other_world() -> World:
    return World()


assert_type(world, Callable[[], World])
assert_type(world(), World)
assert_type(other_world(), World)


@preserve
class Game:
    score: int = 0


@preserve(version=2, transient=("_lock",))
class Board:
    size: int = 8


assert_type(Game, type[Game])
assert_type(Game().score, int)
assert_type(Board().size, int)


@before_reload
def save() -> None: ...


@after_reload(timeout=2.5)
async def refresh() -> int:
    return 1


@on_ready
async def announce() -> None: ...


@dispose()
def close() -> None: ...


@prepare
def warm() -> str:
    return "warm"


assert_type(warm(), str)
assert_type(generation(), int)
assert_type(reload(), bool)

preserve("wrong", dict, on_error="ignore")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType, reportUnknownVariableType]
