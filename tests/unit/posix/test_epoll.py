from __future__ import annotations

import select
import socket

from livereload_core.posix import epoll


def test_what_is_taken_out_is_silent_and_comes_back_as_it_was() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        select.epoll() as first,
        select.epoll() as second,
    ):
        fd = listener.fileno()
        first.register(fd, select.EPOLLIN)
        second.register(fd, select.EPOLLIN | select.EPOLLET)
        with socket.create_connection(listener.getsockname()):
            assert first.poll(5) == [(fd, select.EPOLLIN)]
            entries = epoll.take_out(fd)
            assert {(entry.epoll_fd, entry.events & 0xFFFF) for entry in entries} == {
                (first.fileno(), 0x19),  # EPOLLERR and EPOLLHUP are always in
                (second.fileno(), 0x19),
            }
            assert first.poll(0) == second.poll(0) == []
            epoll.put_back(entries)
            assert first.poll(5) == second.poll(5) == [(fd, select.EPOLLIN)]
            assert second.poll(0) == []  # edge-triggered, as it was


def test_taking_out_leaves_other_files_of_the_set_alone() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_server(("127.0.0.1", 0)) as other,
        select.epoll() as poller,
    ):
        poller.register(listener.fileno(), select.EPOLLIN)
        poller.register(other.fileno(), select.EPOLLIN)
        epoll.take_out(listener.fileno())
        with socket.create_connection(other.getsockname()):
            assert poller.poll(5) == [(other.fileno(), select.EPOLLIN)]


def test_a_set_that_is_said_to_be_none_is_not_looked_at() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        select.epoll() as poller,
        select.epoll() as other,
    ):
        poller.register(listener.fileno(), select.EPOLLIN)
        other.register(listener.fileno(), select.EPOLLIN)
        entries = epoll.take_out(listener.fileno(), {other.fileno()})
        assert [entry.epoll_fd for entry in entries] == [poller.fileno()]


def test_a_file_closed_meanwhile_does_not_come_back_under_its_number() -> None:
    with select.epoll() as poller:
        listener = socket.create_server(("127.0.0.1", 0))
        poller.register(listener.fileno(), select.EPOLLIN)
        entries = epoll.take_out(listener.fileno())
        number = listener.fileno()
        listener.close()
        with socket.create_server(("127.0.0.1", 0)) as successor:
            assert successor.fileno() == number
            epoll.put_back(entries)
            with socket.create_connection(successor.getsockname()):
                assert poller.poll(0.05) == []


def test_a_set_closed_meanwhile_is_skipped() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        poller = select.epoll()
        poller.register(listener.fileno(), select.EPOLLIN)
        entries = epoll.take_out(listener.fileno())
        poller.close()
        epoll.put_back(entries)


def test_a_file_in_no_set_and_a_closed_fd_give_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, select.epoll():
        assert epoll.take_out(listener.fileno()) == []
    assert epoll.take_out(1_000_000) == []
