"""Bytes behind one fd, which nobody can change."""

from __future__ import annotations

import mmap
import os

import pytest

from livereload_core.posix import memfd


@pytest.mark.parametrize(
    "data", [b"", b"\0", b"state\0tail", os.urandom(1_000_003)], ids=["none", "null", "few", "many"]
)
def test_what_was_written_is_read_wherever_the_offset_stands(data: bytes) -> None:
    fd = memfd.create(data)
    try:
        assert os.lseek(fd, 0, os.SEEK_CUR) == 0
        assert memfd.read(fd) == data
        os.lseek(fd, 0, os.SEEK_END)
        assert memfd.read(fd) == data
        assert os.lseek(fd, 0, os.SEEK_CUR) == len(data)
    finally:
        os.close(fd)


def test_a_slice_of_a_buffer_is_written_without_being_copied_first() -> None:
    fd = memfd.create(memoryview(b"0123456789")[2:5])
    assert memfd.read(fd) == b"234"
    os.close(fd)


def test_neither_side_can_change_write_or_resize_it() -> None:
    fd = memfd.create(b"checked")
    again = os.open(f"/proc/self/fd/{fd}", os.O_RDWR)
    try:
        for own in (fd, again):
            with pytest.raises(PermissionError):
                os.pwrite(own, b"X", 0)
            with pytest.raises(PermissionError):
                os.ftruncate(own, 1)
            with pytest.raises(PermissionError):
                os.ftruncate(own, 100)
            with pytest.raises(PermissionError):
                mmap.mmap(own, 0, flags=mmap.MAP_SHARED, prot=mmap.PROT_READ | mmap.PROT_WRITE)
        assert memfd.read(fd) == b"checked"
    finally:
        os.close(fd)
        os.close(again)


def test_it_is_not_inherited_and_carries_its_name() -> None:
    fd = memfd.create(b"x", "livecore-sources")
    assert not os.get_inheritable(fd)
    assert "livecore-sources" in os.readlink(f"/proc/self/fd/{fd}")
    os.close(fd)


def test_without_memfd_a_nameless_file_takes_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "memfd_create")
    # Seals cannot be put on an ordinary file; systems without memfd do not know them.
    monkeypatch.delattr("fcntl.F_ADD_SEALS")
    made = memfd.create(b"plain")
    assert memfd.read(made) == b"plain"
    assert os.fstat(made).st_nlink == 0
    assert not os.get_inheritable(made)
    os.close(made)


def test_a_write_that_fails_leaves_no_fd_behind() -> None:
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(TypeError):
        memfd.create("text")  # type: ignore[arg-type]
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_mapping_shows_the_bytes_and_ends_with_its_block() -> None:
    fd = memfd.create(b"0123456789" * 1000)
    with memfd.mapped(fd) as view:
        assert view.readonly
        assert bytes(view[10_000 - 3 :]) == b"789"
        assert len(view) == 10_000
    with pytest.raises(ValueError, match="released"):
        len(view)
    os.close(fd)


def test_a_mapping_outlives_its_fd() -> None:
    fd = memfd.create(b"still there")
    with memfd.mapped(fd) as view:
        os.close(fd)
        assert bytes(view) == b"still there"


def test_a_slice_that_is_still_held_keeps_the_mapping() -> None:
    fd = memfd.create(b"0123456789")
    with memfd.mapped(fd) as view:
        part = view[2:4]
    os.close(fd)
    assert bytes(part) == b"23"


def test_an_empty_file_maps_to_nothing() -> None:
    fd = memfd.create(b"")
    with memfd.mapped(fd) as view:
        assert len(view) == 0
    os.close(fd)
