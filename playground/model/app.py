"""A warm model: an array of 1 GB that took long to make, and never has to be made again.

    livecore run app:app --app-dir playground/model

Change what ``show`` answers and save: the next answer comes from the new code, with the trained weights, a
few hundredths of a second later. ``MODEL_MB`` says how large the model is.
"""

from __future__ import annotations

import os

import numpy as np
from aiohttp import web

from livereload_core import preserve

VERSION = "1"
ROW = 1024


class Model:
    def __init__(self, megabytes: int) -> None:
        self.weights = np.ones((megabytes * 1024 * 1024 // 8 // ROW, ROW))
        self.steps = 0

    def train(self) -> None:
        """One step changes one row, as a sparse gradient does."""
        self.weights[self.steps * 37 % len(self.weights)] += 1
        self.steps += 1


@preserve
def model() -> Model:
    return Model(int(os.environ.get("MODEL_MB", "1024")))


def learned() -> int:
    return round(float(model().weights.sum()) - model().weights.size) // ROW


async def show(request: web.Request) -> web.Response:
    return web.json_response({"version": VERSION, "count": model().steps, "learned": learned()})


async def train(request: web.Request) -> web.Response:
    model().train()
    return web.json_response({"version": VERSION, "count": model().steps})


app = web.Application()
app.router.add_get("/", show)
app.router.add_get("/hit", train)
