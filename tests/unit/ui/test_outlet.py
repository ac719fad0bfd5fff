"""Streams that are slow, blocked or gone."""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Iterator

import pytest

from livereload_core.ui.outlet import Outlet


@pytest.fixture
def pipe() -> Iterator[tuple[int, io.TextIOWrapper]]:
    read, write = os.pipe()
    stream = open(write, "w", encoding="ascii", closefd=False)  # noqa: SIM115
    yield read, stream
    stream.close()
    for fd in (read, write):
        try:
            os.close(fd)
        except OSError:  # the test closed it
            pass


def read_all(fd: int, count: int) -> bytes:
    data = b""
    while len(data) < count:
        data += os.read(fd, 65536)
    return data


def test_texts_leave_in_order(pipe: tuple[int, io.TextIOWrapper]) -> None:
    read, stream = pipe
    outlet = Outlet(stream)
    for number in range(100):
        outlet.write(f"{number}\n")
    outlet.close()
    assert read_all(read, 290).split() == [b"%d" % number for number in range(100)]


def test_a_blocked_stream_never_holds_up_the_writer_and_loses_nothing_that_fits(
    pipe: tuple[int, io.TextIOWrapper],
) -> None:
    read, stream = pipe
    outlet = Outlet(stream)
    line = "x" * 9999 + "\n"
    for _ in range(200):  # two megabytes: the pipe holds 64 kB, the backlog one megabyte
        outlet.write(line)
    assert outlet.dropped > 0
    kept = (200 - outlet.dropped) * len(line)
    assert read_all(read, kept) == line.encode() * (200 - outlet.dropped)
    outlet.write("after\n")
    outlet.close()
    assert read_all(read, 6) == b"after\n"


def test_closing_gives_a_blocked_stream_up(pipe: tuple[int, io.TextIOWrapper]) -> None:
    read, stream = pipe
    outlet = Outlet(stream)
    outlet.write("x" * 100_000)
    outlet.close(timeout=0.01)
    outlet.write("too late")
    assert outlet.dropped == 1
    read_all(read, 100_000)  # lets the writing thread end


def test_a_non_blocking_stream_is_waited_for(pipe: tuple[int, io.TextIOWrapper]) -> None:
    read, stream = pipe
    os.set_blocking(stream.fileno(), False)
    outlet = Outlet(stream)
    outlet.write("x" * 200_000)
    assert len(read_all(read, 200_000)) == 200_000
    outlet.close()


def test_a_reader_who_left_is_no_error(pipe: tuple[int, io.TextIOWrapper]) -> None:
    read, stream = pipe
    os.close(read)
    outlet = Outlet(stream)
    for _ in range(3):
        outlet.write("into the void\n")
    outlet.close()
    outlet.write("still no error\n")
    assert outlet.dropped == 4


def test_characters_that_the_stream_does_not_know_leave_as_escapes(
    pipe: tuple[int, io.TextIOWrapper],
) -> None:
    read, stream = pipe
    outlet = Outlet(stream)
    outlet.write("→ \udcff\n")
    outlet.close()
    assert os.read(read, 100) == b"\\u2192 \\udcff\n"


def test_streams_without_a_descriptor_are_written_directly() -> None:
    stream = io.StringIO()
    outlet = Outlet(stream)
    outlet.write("now")
    assert stream.getvalue() == "now"
    stream.close()
    outlet.write("gone")
    assert outlet.dropped == 1


def test_no_stream_at_all_is_no_error_and_no_thread() -> None:
    before = threading.active_count()
    outlet = Outlet(None)
    outlet.write("x")
    outlet.close()
    assert threading.active_count() == before
