"""The small tools of the end-to-end tests."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from livereload_core.testing import (
    EditStyle,
    ProcessCensus,
    census,
    edit,
    free_port,
    port_is_free,
    scaled,
    until,
    write,
)
from livereload_core.testing.processes import RUN_VARIABLE, descendants_of_run, kill_run


def test_until_returns_the_first_true_result() -> None:
    results = iter([0, "", 3])
    assert until(lambda: next(results)) == 3


def test_until_takes_a_failed_probe_as_not_yet() -> None:
    results = iter([ConnectionRefusedError("no"), AssertionError("not yet")])

    def probe() -> bool:
        error = next(results, None)
        if error is not None:
            raise error
        return True

    assert until(probe)


def test_until_names_the_fact_and_what_was_seen_last() -> None:
    with pytest.raises(
        AssertionError, match=r"the sun did not come true within 0.05 s; last seen: 0\nclouds"
    ):
        until(lambda: 0, timeout=0.05, what="the sun", context=lambda: "clouds")


@pytest.mark.parametrize(("scale", "size"), [("1", 20), ("0.25", 5), ("0.01", 3)])
def test_sizes_follow_the_scale(monkeypatch: pytest.MonkeyPatch, scale: str, size: int) -> None:
    monkeypatch.setenv("LIVECORE_TEST_SCALE", scale)
    assert scaled(20, least=3) == size


def test_port_that_is_listened_on_is_not_free() -> None:
    port = free_port()
    assert port_is_free(port)
    with socket.create_server(("127.0.0.1", port)):
        assert not port_is_free(port)


@pytest.mark.skipif(sys.platform != "linux", reason="there are no abstract sockets here")
def test_port_that_was_chosen_is_chosen_by_nobody_else_before_its_server_starts() -> None:
    chosen = free_port()
    source = (
        "from livereload_core.testing import ports\n"
        f"ports._RANGE = range({chosen}, {chosen + 1})\n"
        "try:\n    print(ports.free_port())\nexcept RuntimeError:\n    print('none')\n"
    )

    def choose_elsewhere() -> str:
        return subprocess.run(
            [sys.executable, "-c", source], capture_output=True, text=True, check=True
        ).stdout.strip()

    assert choose_elsewhere() == "none"
    for _ in range(32):
        assert free_port() != chosen
    assert choose_elsewhere() == str(chosen), "it is free again"


@pytest.mark.parametrize(("how", "same_file"), [("rename", False), ("inplace", True), ("recreate", None)])
def test_ways_of_saving_differ_in_the_file_that_is_there_after(
    tmp_path: Path, how: EditStyle, same_file: bool | None
) -> None:
    path = tmp_path / "app.py"
    path.write_text("VERSION = 1\n")
    before = path.stat().st_ino
    edit(path, "1", "2", how=how)
    assert path.read_text() == "VERSION = 2\n"
    assert list(tmp_path.iterdir()) == [path], "a temporary file is left"
    if same_file is not None:
        assert (path.stat().st_ino == before) is same_file


@pytest.mark.parametrize("how", ["rename", "inplace", "recreate"])
def test_time_of_change_can_be_set(tmp_path: Path, how: EditStyle) -> None:
    path = tmp_path / "app.py"
    path.touch()
    write(path, "x", how=how, mtime=1_000_000.0)
    assert path.stat().st_mtime == 1_000_000.0


def test_edit_of_what_is_not_there_once_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "app.py"
    path.write_text("a a")
    with pytest.raises(ValueError, match="stands 2 times"):
        edit(path, "a", "b")


def test_processes_of_a_run_are_found_without_their_parent_and_killed() -> None:
    mark = os.urandom(8).hex()
    # The inner process leaves its session and loses its parent; only the mark tells where it came from.
    outer = (
        "import subprocess, sys;"
        "subprocess.Popen([sys.executable, '-c', 'import signal; signal.pause()'], start_new_session=True)"
    )
    subprocess.run(
        [sys.executable, "-c", outer], env={**os.environ, RUN_VARIABLE: mark}, check=True, timeout=30
    )
    assert len(descendants_of_run(mark)) == 1
    kill_run(mark)
    until(lambda: not descendants_of_run(mark), what="end of the orphan")


def test_census_sees_one_more_descriptor() -> None:
    before = census(os.getpid())
    with socket.socket():
        now = census(os.getpid())
    assert now.fds["socket:[#]"] == before.fds.get("socket:[#]", 0) + 1
    assert census(os.getpid()) == before


def test_census_tells_what_there_is_more_of_and_nothing_of_what_is_gone() -> None:
    earlier = ProcessCensus(fds={"socket:[#]": 2, "pipe:[#]": 1}, threads=3)
    assert earlier.beyond(earlier) == {}
    now = ProcessCensus(fds={"socket:[#]": 3, "eventfd": 1}, threads=2)
    assert now.beyond(earlier) == {"socket:[#]": 1, "eventfd": 1}
    assert ProcessCensus(fds={}, threads=4).beyond(earlier) == {"threads": 1}
