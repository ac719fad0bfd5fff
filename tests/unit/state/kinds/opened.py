"""The part of the program that has something open: what lies behind it has to be the same, not only look so."""

from __future__ import annotations

import os
import socket
import sqlite3
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import app  # type: ignore[import-not-found]


def _path() -> Path:
    return Path(tempfile.mkdtemp(dir=Path(__file__).parent)) / "file"


def _reading() -> Any:
    path = _path()
    path.write_text("1\n2\n3\n")
    file = path.open()
    next(file)
    return file


def _opened(mode: str, *written: Any) -> Any:
    path = _path()
    path.write_bytes(b"0")
    file = path.open(mode)
    for data in written:
        file.write(data)
    return file


def _goes_on(file: Any, more: Any, whole: bytes) -> bool:
    file.write(more)
    file.flush()
    return Path(file.name).read_bytes() == whole


def _pipe() -> Any:
    reading, writing = os.pipe()
    return os.fdopen(reading), os.fdopen(writing, "w")


def _pipe_works(ends: Any) -> bool:
    reading, writing = ends
    writing.write("x\n")
    writing.flush()
    return bool(reading.readline() == "x\n")


def _pair_works(ends: Any) -> bool:
    ends[0].sendall(b"x")
    return bool(ends[1].recv(1) == b"x")


def _accepts(listener: Any) -> bool:
    with (
        socket.create_connection(listener.getsockname(), timeout=5) as client,
        listener.accept()[0] as server,
    ):
        server.sendall(b"x")
        return client.recv(1) == b"x"


def _datagrams() -> Any:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.bind(("127.0.0.1", 0))
    return made


def _receives(bound: Any) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.sendto(b"x", bound.getsockname())
    bound.settimeout(5)
    return bool(bound.recv(1) == b"x")


def _echo() -> Any:
    return subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def _echoes(process: Any) -> bool:
    process.stdin.write("x\n")
    process.stdin.flush()
    return bool(process.stdout.readline() == "x\n")


def _database(where: str) -> Any:
    connection = sqlite3.connect(where)
    connection.execute("CREATE TABLE t (name TEXT)")
    connection.execute("INSERT INTO t VALUES ('one')")
    connection.commit()
    return connection


def _has_rows(connection: Any) -> bool:
    return bool(connection.execute("SELECT name FROM t").fetchall() == [("one",)])


def _temporary() -> Any:
    file = tempfile.NamedTemporaryFile("w+", dir=Path(__file__).parent)
    file.write("one")
    return file


app.kind("file that is read, half way", _reading, lambda v: next(v) == "2\n")
app.kind("file that is written", lambda: _opened("w", "one"), lambda v: _goes_on(v, "two", b"onetwo"))
app.kind("file that is appended to", lambda: _opened("a", "one"), lambda v: _goes_on(v, "two", b"0onetwo"))
app.kind(
    "file in binary mode, read and written",
    lambda: _opened("r+b", b"one"),
    lambda v: _goes_on(v, b"2", b"one2"),
)
app.kind("file without a buffer", lambda: open(_opened("w").name, "wb", 0), lambda v: _goes_on(v, b"2", b"2"))
app.kind("temporary file", _temporary, lambda v: _goes_on(v, "two", b"onetwo"))
app.kind("both ends of a pipe", _pipe, _pipe_works)
app.kind("two connected sockets", socket.socketpair, _pair_works)
app.kind("socket that listens", lambda: socket.create_server(("127.0.0.1", 0)), _accepts)
app.kind("UDP socket", _datagrams, _receives)
app.kind("subprocess.Popen with pipes", _echo, _echoes)
app.kind("sqlite3 connection to a file", lambda: _database(str(_path())), _has_rows)
app.kind("sqlite3 connection in memory", lambda: _database(":memory:"), _has_rows)
app.refused("file that socket.makefile() made", lambda: socket.socketpair()[0].makefile())
