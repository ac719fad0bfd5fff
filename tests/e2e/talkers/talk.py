"""What the servers beside this file say; see testing/links.py for the form of an answer."""

from __future__ import annotations

import json

from livereload_core import connection, preserve

tally = preserve("tally", dict[str, int])


def answer(number: str, version: str) -> str:
    link = connection()
    link.state["served"] = link.state.get("served", 0) + 1
    return f"{number} {version} {link.resumed:d} {link.state['served']}"


def event(number: int, version: str) -> bytes:
    return f"id: {number}\ndata: {answer(str(number), version)}\n\n".encode()


def hit(version: str) -> str:
    tally["hits"] = tally.get("hits", 0) + 1
    return json.dumps({"version": version, "count": tally["hits"]})
