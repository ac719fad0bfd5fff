"""The part of the program that runs as ``__main__``."""

from __future__ import annotations

import enum
from typing import Any

import app  # type: ignore[import-not-found]

WORD = "before"


class Room:
    def __init__(self) -> None:
        self.a = 1

    def word(self) -> str:
        return "before"


class Mood(enum.Enum):
    GOOD = 1
    BAD = 2

    def word(self) -> str:
        return "before"


def greet() -> str:
    return "before"


def table() -> dict[str, Any]:
    return {"greet": greet, "room": Room()}


app.kind("instance of a class of __main__", Room, lambda v: type(v) is Room and (v.a, v.word()) == (1, WORD))
app.kind("Enum member of __main__", lambda: Mood.BAD, lambda v: v is Mood.BAD and v.word() == WORD)
app.kind("function of __main__", lambda: greet, lambda v: v is greet)
app.kind("class of __main__", lambda: Room, lambda v: v is Room)
app.kind("lambda of __main__", lambda: lambda: "before", lambda v: v() == WORD)
app.kind("method of an instance of __main__", lambda: Room().word, lambda v: v() == WORD)
app.kind("handlers in a dict of __main__", table, lambda v: v["greet"] is greet and type(v["room"]) is Room)
