"""Flask, served by livecore in threads.

livecore run app:app --app-dir playground/flask_app
"""

from __future__ import annotations

import os
import threading

from flask import Flask

from livereload_core import preserve

VERSION = "1"  # <-- change it, save, and ask again

tally = preserve("tally", dict[str, int])
one_at_a_time = threading.Lock()  # requests run in threads, and `+= 1` is not one step

app = Flask(__name__)


def describe() -> dict[str, str | int]:
    return {"version": VERSION, "count": tally.get("hits", 0), "pid": os.getpid()}


@app.get("/")
def show() -> dict[str, str | int]:
    return describe()


@app.get("/hit")
def hit() -> dict[str, str | int]:
    with one_at_a_time:
        tally["hits"] = tally.get("hits", 0) + 1
        return describe()
