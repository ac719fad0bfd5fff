"""A WSGI application in plain Python, for the servers beside this file."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING

from livereload_core import preserve

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

VERSION = "1"  # <-- change it, save, and ask again

tally = preserve("tally", dict[str, int])
one_at_a_time = threading.Lock()


def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    with one_at_a_time:
        if environ["PATH_INFO"] == "/hit":
            tally["hits"] = tally.get("hits", 0) + 1
        body = json.dumps({"version": VERSION, "count": tally.get("hits", 0), "pid": os.getpid()}).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]
