"""FastAPI with a lifespan, served by livecore.

    livecore run app:app --app-dir playground/fastapi_app

The lifespan runs anew in every generation, with the preserved state already in place.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from livereload_core import preserve

VERSION = "1"  # <-- change it, save, and ask again


@preserve
class Tally:
    """An instance of this class that stands at module level keeps its attributes over every edit."""

    def __init__(self) -> None:
        self.hits = 0
        self.starts = 0


tally = Tally()


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    tally.starts += 1
    yield


app = FastAPI(lifespan=lifespan)


def describe() -> dict[str, str | int]:
    return {"version": VERSION, "count": tally.hits, "starts": tally.starts, "pid": os.getpid()}


@app.get("/")
async def show() -> dict[str, str | int]:
    return describe()


@app.get("/hit")
async def hit() -> dict[str, str | int]:
    tally.hits += 1
    return describe()
