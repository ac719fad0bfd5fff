"""The answer of ``livecore status``, for people.

::

    livecore   serving  gen 7  pid 4101  up 3 min 12 s
    target     shop:app
    address    http://127.0.0.1:8000
    last       reload  app.py  gen 7  23 ms (pause 8 ms)  kept 2: sessions, cache
    processes  active    gen 7  pid 4177  41 MB
               spare            pid 4190  33 MB  warm
    state      sessions, cache
    watching   /home/ann/shop
               12 imported files

Invariants:
    * Fields that a run does not tell have no line; fields that we do not know are left to ``--json``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from livereload_core.ui.decode import record_from_json
from livereload_core.ui.render import render
from livereload_core.ui.style import Palette, duration, one_line, size

__all__ = ["render_status"]

_LABEL = len("processes  ")


def render_status(status: Mapping[str, Any], paint: Palette) -> str:
    """Return the status of a run as text.

    Args:
        status: the answer to ``{"op": "status"}``, see :mod:`livereload_core.parent.control`.
        paint: the colours.
    """
    sections: list[tuple[str, Sequence[str]]] = [
        ("livecore", [_headline(status, paint)]),
        ("target", _texts(status.get("target"))),
        ("address", _texts(status.get("listeners"))),
        ("last", _last(status.get("last"), paint)),
        ("processes", _children(status.get("children"), paint)),
        ("state", [", ".join(_texts(status.get("roots")))]),
        ("watching", _watching(status.get("watching"))),
    ]
    lines = []
    for label, texts in sections:
        for at, text in enumerate(text for text in texts if text):
            shown = paint("dim", label) + " " * (_LABEL - len(label)) if at == 0 else " " * _LABEL
            lines.append(shown + text)
    return "".join(f"{line}\n" for line in lines)


def _headline(status: Mapping[str, Any], paint: Palette) -> str:
    parts = [paint("bold", one_line(str(status.get("state", "")).lower()))]
    if status.get("generation"):
        parts.append(f"gen {status['generation']}")
    if status.get("pid"):
        parts.append(f"pid {status['pid']}")
    uptime = status.get("uptime")
    if isinstance(uptime, (int, float)):
        parts.append(f"up {duration(uptime)}")
    return "  ".join(part for part in parts if part)


def _texts(value: object) -> list[str]:
    """Return a text, a list of texts, or the keys of a list of objects, as lines."""
    if isinstance(value, (list, tuple)):
        return [one_line(str(item.get("key", item) if isinstance(item, Mapping) else item)) for item in value]
    return [one_line(str(value))] if value else []


def _watching(value: object) -> list[str]:
    """Say where saves are looked for, and of which files they count."""
    if not isinstance(value, Mapping):
        return []
    if not value.get("reload", True):
        return ["nothing (--no-reload)"]
    lines = _texts(value.get("roots"))
    imported = value.get("imported")
    if isinstance(imported, int):
        lines.append(f"{imported} imported file{'s' * (imported != 1)}")
    return lines + [f"{named}, which failed last" for named in _texts(value.get("named"))]


def _last(value: object, paint: Palette) -> list[str]:
    record = record_from_json(value)
    if record is None:
        return []
    lines = render(record, paint)
    return [lines[0], *(line.removeprefix(" " * 9) for line in lines[1:])]


def _children(value: object, paint: Palette) -> list[str]:
    if not isinstance(value, list):
        return []
    rows = [_child(child) for child in value if isinstance(child, Mapping)]
    widths = [max((len(row[at]) for row in rows), default=0) for at in range(5)]
    lines = []
    for row in rows:
        cells = [f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)]
        lines.append(f"{paint('bold', cells[0])}  {'  '.join(cells[1:])}".rstrip())
    return lines


def _child(child: Mapping[str, Any]) -> tuple[str, str, str, str, str]:
    rss, warm = child.get("rss"), child.get("warm")
    return (
        one_line(str(child.get("role", ""))),
        f"gen {child['generation']}" if child.get("generation") else "",
        f"pid {child['pid']}" if child.get("pid") else "",
        size(rss) if isinstance(rss, (int, float)) and rss else "",
        {True: "warm", False: "getting warm"}.get(warm, "") if isinstance(warm, bool) else "",
    )
