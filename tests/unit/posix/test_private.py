"""Files for their owner alone: whole or not there, and read only if nobody else can have written them."""

from __future__ import annotations

import errno
import os
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from livereload_core.posix.private import (
    Lock,
    NotOursError,
    project_folder,
    read_private,
    sweep,
    write_private,
)


def test_what_is_written_is_read_and_is_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "file"
    assert write_private(str(path), [b"abc", memoryview(b"de")], durable=True) == 5
    assert read_private(str(path)) == b"abcde"
    assert read_private(str(path), last=2) == b"de"
    assert read_private(str(path), last=99) == b"abcde"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert os.listdir(path.parent) == ["file"]


def test_the_umask_of_the_program_does_not_open_it(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        write_private(str(tmp_path / "folder" / "file"), [b"x"])
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "folder").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "folder" / "file").stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left on device"), MemoryError(), ValueError()]
)
def test_a_write_that_fails_leaves_what_was_there_and_nothing_else(tmp_path: Path, error: Exception) -> None:
    path = tmp_path / "file"
    write_private(str(path), [b"before"])

    def pieces() -> Iterator[bytes]:
        yield b"half of"
        raise error

    with pytest.raises(type(error)):
        write_private(str(path), pieces())
    assert path.read_bytes() == b"before"
    assert os.listdir(tmp_path) == ["file"]


def test_a_full_disk_leaves_what_was_there(tmp_path: Path) -> None:
    """A real refusal by the kernel: a file may not grow beyond 4096 bytes."""
    code = (
        "import resource, signal, sys;"
        "from livereload_core.posix.private import write_private;"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "write_private(sys.argv[1], [b'before']);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096));\n"
        "try: write_private(sys.argv[1], [b'x' * 9000])\n"
        "except OSError as error: print(error.strerror)"
    )
    path = tmp_path / "file"
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "File too large\n"
    assert path.read_bytes() == b"before"
    assert os.listdir(tmp_path) == ["file"]


def test_whoever_reads_meanwhile_sees_one_or_the_other(tmp_path: Path) -> None:
    path = str(tmp_path / "file")
    contents = {bytes([value]) * 100_000 for value in b"ab"}
    write_private(path, [b"a" * 100_000])
    done = threading.Event()
    seen: list[bytes] = []

    def look() -> None:
        while not done.is_set():
            seen.append(read_private(path))

    reader = threading.Thread(target=look)
    reader.start()
    for number in range(200):
        write_private(path, [b"ab"[number % 2 : number % 2 + 1] * 100_000])
    done.set()
    reader.join(10)
    assert seen
    assert set(seen) <= contents


def test_a_killed_writer_leaves_what_sweep_removes(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_private(str(path), [b"before"])
    code = (
        "import os, sys; from livereload_core.posix.private import write_private\n"
        "def pieces():\n yield b'x'\n print('half', flush=True)\n sys.stdin.read()\n"
        "write_private(sys.argv[1], pieces())"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"half\n"
        writer.send_signal(signal.SIGKILL)
        writer.wait(10)
    assert len(os.listdir(tmp_path)) == 2
    other = tmp_path / ".another-x.new"
    other.write_bytes(b"")
    sweep(str(path))
    assert sorted(os.listdir(tmp_path)) == [".another-x.new", "file"]
    assert path.read_bytes() == b"before"
    sweep(str(tmp_path / "nowhere" / "file"))  # nothing to remove is no error


def test_what_others_could_have_written_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x")
    for mode in (0o620, 0o602, 0o666):
        path.chmod(mode)
        with pytest.raises(NotOursError, match="can be written by other users"):
            read_private(str(path))
    path.chmod(0o644)  # what others can read was shown to them by its owner
    assert read_private(str(path)) == b"x"


def test_what_is_no_file_is_not_read_and_holds_nobody_up(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(NotOursError, match="is no regular file"):
        read_private(str(tmp_path / "pipe"))
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    with pytest.raises(OSError) as caught:
        read_private(str(tmp_path / "link"))
    assert caught.value.errno == errno.ELOOP
    with pytest.raises(NotOursError):
        read_private(str(tmp_path))


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a file to somebody else")
def test_what_belongs_to_somebody_else_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x")
    os.chown(path, 12345, -1)
    with pytest.raises(NotOursError, match="belongs to another user"):
        read_private(str(path))


def test_a_lock_is_held_by_one_and_free_when_its_process_is_killed(tmp_path: Path) -> None:
    path = str(tmp_path / "folder" / "lock")
    code = (
        "import sys; from livereload_core.posix.private import Lock;"
        "lock = Lock(sys.argv[1]); print(lock.held, flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"True\n"
        mine = Lock(path)
        assert not mine.held
        mine.close()
        other.send_signal(signal.SIGKILL)
        other.wait(10)
    next_one = Lock(path)
    assert next_one.held
    assert not os.get_inheritable(next_one._fd)
    next_one.close()
    next_one.close()
    third = Lock(path)
    assert third.held, "let go of"
    third.close()
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600


def test_each_project_has_a_folder_of_its_own_in_the_cache() -> None:
    environ = {"XDG_CACHE_HOME": "/c"}
    assert project_folder("/a", environ).startswith("/c/livecore/")
    assert project_folder("/a", environ) != project_folder("/b", environ)
    assert project_folder("/a", {}).startswith(os.path.expanduser("~/.cache/livecore/"))
