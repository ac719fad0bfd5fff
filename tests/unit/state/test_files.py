"""Open files cross by their fd: position, buffers, modes; and the old one is as it was."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from livereload_core.state.refusals import RefusedError
from tests.unit.state.carrying import carry, census, refuse, send

LINES = "eins\nzwei\ndrei äöü €\nvier\n" * 700


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "lines.txt"
    path.write_text(LINES, encoding="utf-8")
    return path


@pytest.mark.parametrize("read", [0, 1, 3, 4, 1700, 2800])
def test_text_file_goes_on_after_the_line_that_was_read(text: Path, read: int) -> None:
    with text.open(encoding="utf-8") as file:
        given = [file.readline() for _ in range(read)]
        with carry(file) as back:
            assert "".join(given) + back.read() == LINES
            assert (back.name, back.mode, back.encoding) == (file.name, "r", file.encoding)


@pytest.mark.parametrize("read", [1, 3, 1000, 1700, 2799])
@pytest.mark.parametrize("newline", [None, "", "\n"])
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_text_file_in_the_midst_of_a_for_loop_goes_on_after_its_line(
    text: Path, read: int, newline: str | None, ending: str
) -> None:
    text.write_bytes(LINES.replace("\n", ending).encode())
    with text.open(encoding="utf-8", newline=newline) as whole:
        expected = list(whole)
    with text.open(encoding="utf-8", newline=newline) as file:
        given = [next(file) for _ in range(read)]
        with carry(file) as back:
            assert given + list(back) == expected
    with text.open(encoding="utf-8", newline=newline) as file:
        given = [next(file) for _ in range(read)]
        send(file).handed.close()
        assert given + list(file) == expected, "for the old program nothing has changed"


def test_text_in_an_encoding_whose_bytes_cannot_be_counted_is_refused_in_the_midst_of_a_loop(
    tmp_path: Path,
) -> None:
    path = tmp_path / "utf16.txt"
    path.write_text(LINES, encoding="utf-16")
    with path.open(encoding="utf-16") as file:
        next(file)
        refuse(file, RefusedError, lambda error: "utf-16" in error.message)
        assert next(file) == "zwei\n"
    with path.open(encoding="utf-16") as file:
        file.readline()
        with carry(file) as back:
            assert back.readline() == "zwei\n"


@pytest.mark.parametrize("newline", [None, "", "\n", "\r", "\r\n"])
@pytest.mark.parametrize("mode", ["r", "w", "a", "r+", "w+"])
def test_newline_of_a_text_file_is_kept(text: Path, mode: str, newline: str | None) -> None:
    text.write_bytes(b"\n\r\n\r\r\n" * 3)
    with text.open(mode, encoding="utf-8", newline=newline) as file:
        if mode.startswith("r"):
            file.readline()
        else:
            file.write("x\n")
        with carry(file) as back:
            if file.readable():
                rest = back.read()
                assert rest == file.read() or not rest
            else:
                back.write("y\n")
                back.flush()
                ends = {None: b"\n", "": b"\n"}.get(newline, (newline or "").encode())
                assert text.read_bytes().endswith(b"x" + ends + b"y" + ends)


@pytest.mark.parametrize("size", [0, 1, 10, 8192, 9000])
def test_binary_reader_goes_on_at_its_logical_position(text: Path, size: int) -> None:
    with text.open("rb") as file:
        given = file.read(size)
        with carry(file) as back:
            assert back.tell() == size
            assert given + back.read() == LINES.encode()


@pytest.mark.parametrize("mode", ["w", "x", "a", "wb", "ab", "xb", "w+", "a+b", "wb+"])
def test_written_file_is_never_truncated_and_has_each_byte_once(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "out"
    one: Any = b"one\n" if "b" in mode else "one\n"
    with path.open(mode, encoding=None if "b" in mode else "utf-8") as file:
        file.write(one)
        carried = send(file)
        file.write(one)  # what the old one still writes comes first: one position for both
        file.flush()
        back, _ = carried.receive()
        carried.handed.close()
        with back:
            assert back.mode == file.mode
            back.write(one)
        assert path.read_bytes() == b"one\n" * (2 if file.readable() and "a" not in mode else 3)


def test_unbuffered_file_and_update_mode_keep_their_position(text: Path) -> None:
    with text.open("rb", buffering=0) as raw, text.open("r+", encoding="utf-8") as both:
        raw.read(7)
        both.readline()
        back, back_both = carry([raw, both])
        with back, back_both:
            assert back.read(4) == LINES.encode()[7:11]
            assert back_both.readline() == "zwei\n"


def test_layers_of_one_file_stay_layers_of_one_file(text: Path) -> None:
    with text.open(encoding="utf-8") as file:
        file.readline()
        back, buffer, raw = carry([file, file.buffer, file.buffer.raw])  # type: ignore[attr-defined]
        with back:
            assert back.buffer is buffer
            assert buffer.raw is raw
            assert back.readline() == "zwei\n"


def test_deleted_file_and_temporary_file_go_on(tmp_path: Path) -> None:
    with (tmp_path / "gone").open("w+", encoding="utf-8") as file, tempfile.TemporaryFile("w+") as nameless:
        file.write("abc")
        nameless.write("xyz")
        (tmp_path / "gone").unlink()
        back, back_nameless = carry([file, nameless])
        with back, back_nameless:
            for found in (back, back_nameless):
                found.seek(0)
            assert (back.read(), back_nameless.read()) == ("abc", "xyz")


def test_named_temporary_file_is_deleted_by_the_new_generation_alone() -> None:
    old = tempfile.NamedTemporaryFile("w+")  # noqa: SIM115 - its end is what is tested
    carried = send(old)
    trial, incoming = carried.receive(scratch=True)
    incoming.close()
    del trial
    new, incoming = carried.receive()
    carried.handed.close()
    for cut in carried.handed.cuts:
        setattr(*cut)
    old.close()
    assert Path(new.name).exists()
    for act in incoming.at_commit:
        act()
    new.write("x")
    new.close()
    assert not Path(new.name).exists()


def test_closed_files_come_back_closed(text: Path) -> None:
    files: list[Any] = [text.open(encoding="utf-8"), text.open("rb"), text.open("r+b"), text.open("ab", 0)]
    for file in files:
        file.close()
    for file in files:
        back = carry(file)
        assert type(back) is type(file)
        assert back.closed
        assert back.name == file.name
    with pytest.raises(ValueError, match="closed file"):
        carry(files[0]).read()


def test_binary_pipe_keeps_what_was_read_ahead_and_what_waits() -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as reader, os.fdopen(writing, "wb") as writer:
        writer.write(b"one\ntwo\nthree\n")
        writer.flush()
        assert reader.readline() == b"one\n"
        writer.write(b"four\n")
        back_reader, back_writer = carry([reader, writer])
        with back_reader, back_writer:
            back_writer.write(b"five\n")
            back_writer.flush()
            assert [back_reader.readline() for _ in range(4)] == [b"two\n", b"three\n", b"four\n", b"five\n"]


def test_text_pipe_keeps_what_was_read_ahead_for_both_generations() -> None:
    for go_on_with_old in (False, True):
        reading, writing = os.pipe()
        with os.fdopen(reading, encoding="utf-8") as reader, os.fdopen(writing, "wb") as writer:
            writer.write("eins\nzwei\näö".encode() + "€".encode()[:1])
            writer.flush()
            assert reader.readline() == "eins\n"
            carried = send(reader)
            back, _ = carried.receive()
            carried.handed.close()
            with back:
                writer.write("€".encode()[1:] + b"\nend\n")
                writer.close()
                found = reader if go_on_with_old else back
                assert found.read() == "zwei\näö€\nend\n"


def test_pipe_that_takes_no_more_is_refused_and_loses_nothing() -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    filled = 0
    try:
        while True:
            filled += os.write(writing, bytes(4096))
    except BlockingIOError:
        os.set_blocking(writing, True)
    with os.fdopen(writing, "wb") as writer, os.fdopen(reading, "rb") as reader:
        writer.write(b"last")
        refuse(writer, RefusedError, lambda error: "does not take" in error.message)
        assert reader.read(filled) == bytes(filled)
        writer.flush()
        assert reader.read(4) == b"last"


def test_files_on_sockets_are_refused_with_advice() -> None:
    import socket

    ours, theirs = socket.socketpair()
    with ours, theirs, ours.makefile("rb") as file:
        refuse(file, RefusedError, lambda error: "makefile" in error.message)


def test_trial_moves_no_position_and_leaves_nothing_open(text: Path) -> None:
    reading, writing = os.pipe()
    with text.open("rb") as file, os.fdopen(reading, "rb") as reader, os.fdopen(writing, "wb") as writer:
        file.read(10)
        writer.write(b"ab")
        writer.flush()
        assert reader.read(1) == b"a"
        before = census()
        carried = send([file, reader])
        (scratch, _), incoming = carried.receive(scratch=True)
        scratch.read(100)
        offset = os.lseek(file.fileno(), 0, os.SEEK_CUR)
        incoming.close()
        carried.handed.close()
        assert census() == before
        assert os.lseek(file.fileno(), 0, os.SEEK_CUR) == offset
        assert file.read(4) == LINES.encode()[10:14]
        assert reader.read(1) == b"b"


def test_standard_streams_are_those_of_the_new_process() -> None:
    assert carry([sys.stdout, sys.stderr]) == [sys.stdout, sys.stderr]


def test_looking_at_a_file_lets_no_other_thread_run(text: Path) -> None:
    # In a process of its own: the switch interval is global, and a thread that spins would disturb others.
    source = f"""
import sys, threading
from tests.unit.state.carrying import send
file, both = open({str(text)!r}), open({str(text)!r} + "2", "w+")
[next(file) for _ in range(5)]
count, go = 0, True
def spin():
    global count
    while go:
        count += 1
thread = threading.Thread(target=spin)
thread.start()
from livereload_core.state.codec import Dumper
dumper = Dumper((), lambda name: True)
dumper.dump([file, both])  # imports what it needs
both.write("x")
file.readline()
interval = sys.getswitchinterval()
sys.setswitchinterval(4)
from livereload_core.state.descriptors import libc
import time
libc().usleep(int(interval * 2e6))  # keeps the GIL: whoever waits has asked by the old interval after this,
time.sleep(0)  # is let past for that, and asks again four seconds later
before = count
dumper.dump([file, both])
handed = dumper.outgoing.hand_over([dumper.outgoing.end()])
after = count
sys.setswitchinterval(interval)
go = False
print(after - before)
"""
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, timeout=60)
    assert done.stdout == "0\n", done.stderr
