"""The status of a run, for people."""

from __future__ import annotations

from livereload_core.core.records import Outcome, ReloadRecord, as_json
from livereload_core.facts import RootFate, RootReport
from livereload_core.ui.status import render_status
from livereload_core.ui.style import Palette

ROOT = RootReport("app:cache", RootFate.KEPT)
STATUS = {
    "v": 1,
    "pid": 4101,
    "generation": 7,
    "state": "IDLE",
    "target": "shop:app",
    "uptime": 192.0,
    "listeners": ["http://127.0.0.1:8000", "unix:/x"],
    "children": [
        {"role": "active", "pid": 4177, "generation": 7, "rss": 41_000_000},
        {"role": "spare", "pid": 419, "generation": 0, "rss": 33_000_000, "warm": True},
    ],
    "last": as_json(ReloadRecord(Outcome.COMMITTED, 7, ("app.py",), 0.023, roots=(ROOT,))),
    "roots": [{"key": "app:cache", "fate": "kept"}, "app:world"],
    "watching": {"reload": True, "roots": ["/p", "/lib"], "imported": 12, "named": ["/p/app.py"]},
}


def test_a_status_is_a_calm_table() -> None:
    assert render_status(STATUS, Palette(False)).splitlines() == [
        "livecore   idle  gen 7  pid 4101  up 3 min 12 s",
        "target     shop:app",
        "address    http://127.0.0.1:8000",
        "           unix:/x",
        "last       reload  app.py  gen 7  23 ms  kept 1: cache",
        "processes  active  gen 7  pid 4177  41 MB",
        "           spare          pid 419   33 MB  warm",
        "state      app:cache, app:world",
        "watching   /p",
        "           /lib",
        "           12 imported files",
        "           /p/app.py, which failed last",
    ]


def test_what_a_run_does_not_tell_has_no_line() -> None:
    assert (
        render_status({"state": "hold", "last": None, "children": None}, Palette(False))
        == "livecore   hold\n"
    )


def test_a_run_that_watches_nothing_says_so() -> None:
    watching = {"reload": False, "roots": ["/p"], "imported": 12, "named": []}
    assert render_status({"watching": watching}, Palette(False)).splitlines()[-1] == (
        "watching   nothing (--no-reload)"
    )


def test_a_single_file_is_one_file() -> None:
    assert "1 imported file\n" in render_status({"watching": {"imported": 1}}, Palette(False))
