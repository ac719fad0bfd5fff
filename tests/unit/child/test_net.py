"""The network layer inside one process: binding, accepting, letting go."""

from __future__ import annotations

import _socket
import asyncio
import errno
import multiprocessing.connection
import os
import select
import socket
import stat
import struct
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from livereload_core.child.net import Net
from livereload_core.posix.addresses import Address, listening_socket
from tests.unit.child.net_host import Held

LOOPBACK = Address("inet", "127.0.0.1")


class Parent:
    """Holds listeners as the parent does; a broker."""

    def __init__(self) -> None:
        self.held: dict[Address, Held] = {}
        self.asked: list[Address] = []
        self.registered: list[tuple[Address, int]] = []

    def hold(self, address: Address, *, unclaimed: bool = False) -> Address:
        plain = _socket.socket(address.kernel_family, socket.SOCK_STREAM)
        plain.bind(address.sockaddr)
        plain.listen(100)
        bound = Address.from_sockaddr(plain.family, plain.getsockname())
        self.held[address if unclaimed else bound] = Held(plain.detach())
        return bound

    def find(self, address: Address) -> int | None:
        self.asked.append(address)
        held = self.held.get(address)
        if held is None:
            return None
        if address.family == "unix" or address.port:
            return held.dup()
        fd = self.held.pop(address).take()
        held.close()
        return fd

    def register(self, address: Address, fd: int, *, requested_port: int) -> None:
        self.registered.append((address, requested_port))
        self.held[address] = Held(os.dup(fd))


@pytest.fixture
def parent() -> Iterator[Parent]:
    parent = Parent()
    yield parent
    for held in parent.held.values():
        held.close()


@pytest.fixture
def net(parent: Parent) -> Iterator[Net]:
    net = Net(parent)
    net.install()
    yield net
    net.uninstall()
    net.gate.close()


def inode(sock: socket.socket) -> int:
    return os.fstat(sock.fileno()).st_ino


# -- bind and listen -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_bind_gets_the_listener_that_the_parent_holds(parent: Parent, net: Net, host: str) -> None:
    family = "inet6" if ":" in host else "inet"
    address = parent.hold(Address(family, host))  # type: ignore[arg-type]
    heard: list[Address] = []
    net.on_listening = heard.append
    with socket.socket(address.kernel_family) as sock:
        sock.bind((host, address.port))
        assert inode(sock) == parent.held[address].inode
        assert sock.getsockname()[1] == address.port
        assert not sock.get_inheritable()
        assert not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)  # as after a bind of its own
        assert heard == []
        sock.listen(1)
        assert heard == [address]
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        assert net.listening() == {address}
    assert net.listening() == frozenset()
    assert parent.registered == []


def test_a_name_is_resolved_before_the_parent_is_asked(parent: Parent, net: Net) -> None:
    address = parent.hold(LOOPBACK)
    with socket.socket() as sock:
        sock.bind(("localhost", address.port))
        assert inode(sock) == parent.held[address].inode


@pytest.mark.parametrize("asked", [True, False])
def test_a_new_listener_goes_to_the_parent_with_the_port_that_was_asked_for(
    parent: Parent, net: Net, asked: bool
) -> None:
    port = 0
    if asked:
        with socket.socket() as other:
            super(socket.socket, other).bind(("127.0.0.1", 0))
            port = other.getsockname()[1]
    with socket.create_server(("127.0.0.1", port)) as sock:
        assert parent.registered == [(Address.of(sock), port)]
        sock.listen(5)  # a second time changes nothing
    assert len(parent.registered) == 1


def test_an_address_that_another_program_holds_is_busy_as_ever(net: Net) -> None:
    with socket.socket() as other, socket.socket() as sock:
        super(socket.socket, other).bind(("127.0.0.1", 0))
        super(socket.socket, other).listen()
        with pytest.raises(OSError, match="in use") as caught:
            sock.bind(other.getsockname())
    assert caught.value.errno == errno.EADDRINUSE


def test_one_program_that_binds_an_address_twice_is_told_so(parent: Parent, net: Net) -> None:
    address = parent.hold(LOOPBACK)
    with socket.create_server(address.sockaddr), pytest.raises(OSError, match="in use"):
        socket.create_server(address.sockaddr)
    socket.create_server(address.sockaddr).close()  # but after a close it may


@pytest.mark.parametrize("sockaddr", [None, ("127.0.0.1",), ("127.0.0.1", "x"), ("no such host", 1)])
def test_nonsense_fails_as_it_does_without_us(parent: Parent, net: Net, sockaddr: object) -> None:
    with socket.socket() as sock:
        with pytest.raises((TypeError, OSError)) as ours:
            sock.bind(sockaddr)  # type: ignore[arg-type]
        with pytest.raises((TypeError, OSError)) as plain:
            super(socket.socket, sock).bind(sockaddr)  # type: ignore[arg-type]
    assert (type(ours.value), str(ours.value)) == (type(plain.value), str(plain.value))


def test_datagram_sockets_and_private_listeners_are_left_alone(parent: Parent, net: Net) -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
    with multiprocessing.connection.Listener(("127.0.0.1", 0)) as listener:
        client = multiprocessing.connection.Client(listener.address)
        listener.accept().close()  # although the gate is not open
        client.close()
    assert parent.asked == []
    assert parent.registered == []


def test_a_client_with_a_source_address_gives_the_listener_back(parent: Parent, net: Net) -> None:
    address = parent.hold(LOOPBACK, unclaimed=True)
    with socket.socket() as server, socket.socket() as client, socket.socket() as later:
        super(socket.socket, server).bind(("127.0.0.1", 0))
        super(socket.socket, server).listen()
        client.bind(("127.0.0.1", 0))
        client.connect(server.getsockname())
        client.sendall(b"hello")
        accepted, peer = super(socket.socket, server)._accept()  # type: ignore[misc]
        os.close(accepted)
        assert peer == client.getsockname()
        later.bind(("127.0.0.1", 0))
        assert Address.of(later) == address


def test_install_twice_and_uninstall_leave_the_socket_layer_as_it_was(parent: Parent) -> None:
    before = {owner: dict(vars(owner)) for owner in (socket.socket, os)}
    net = Net(parent)
    net.install()
    net.install()
    assert vars(socket.socket)["accept"] is not before[socket.socket]["accept"]
    net.uninstall()
    assert {owner: dict(vars(owner)) for owner in (socket.socket, os)} == before
    net.gate.close()


# -- accept --------------------------------------------------------------------------------------------------


def test_a_nonblocking_accept_finds_nobody_until_release(parent: Parent, net: Net) -> None:
    with socket.create_server(parent.hold(LOOPBACK).sockaddr) as server:
        server.setblocking(False)
        with socket.create_connection(server.getsockname()):
            with pytest.raises(BlockingIOError):
                server.accept()
            net.stop_accepting()  # neither of these opens what was never released
            net.resume_accepting()
            with pytest.raises(BlockingIOError):
                server.accept()
            net.release()
            server.accept()[0].close()


def test_an_accept_with_a_timeout_times_out_held_and_open(parent: Parent, net: Net) -> None:
    with socket.create_server(parent.hold(LOOPBACK).sockaddr) as server:
        server.settimeout(0.05)
        with socket.create_connection(server.getsockname()):
            with pytest.raises(TimeoutError):
                server.accept()
            net.release()
            connection, _ = server.accept()
            assert connection.gettimeout() is None
            connection.close()
        with pytest.raises(TimeoutError):
            server.accept()


def test_a_blocking_accept_waits_through_every_swing_of_the_gate(parent: Parent, net: Net) -> None:
    # the parent, or another generation, makes the open socket non-blocking and blocking as it likes
    with socket.create_server(parent.hold(LOOPBACK).sockaddr) as server:
        accepted: list[socket.socket] = []
        done = threading.Event()

        def serve() -> None:
            accepted.append(server.accept()[0])
            done.set()

        thread = threading.Thread(target=serve)
        thread.start()
        for blocking in (True, False):
            os.set_blocking(server.fileno(), blocking)
            net.release()
            net.stop_accepting()
            net.resume_accepting()
            net.stop_accepting()
        with socket.create_connection(server.getsockname()):
            assert not done.wait(0.05)
            net.resume_accepting()
            assert done.wait(20)
        thread.join(20)
        accepted[0].close()


def test_a_duplicate_of_a_listener_is_held_as_well(parent: Parent, net: Net) -> None:
    with socket.create_server(parent.hold(LOOPBACK).sockaddr) as server, server.dup() as duplicate:
        duplicate.setblocking(False)
        with socket.create_connection(server.getsockname()), pytest.raises(BlockingIOError):
            duplicate.accept()


def test_a_listener_handed_over_by_the_runtime_is_held(net: Net) -> None:
    with listening_socket(LOOPBACK) as server:
        net.adopt_listener(server, Address.of(server))
        server.setblocking(False)
        with socket.create_connection(server.getsockname()), pytest.raises(BlockingIOError):
            server.accept()


def test_a_listener_that_was_lent_is_missing_until_the_program_listens_on_it(
    parent: Parent, net: Net
) -> None:
    lent_to, kept_on = both = parent.hold(LOOPBACK), parent.hold(LOOPBACK)
    lent, kept = (socket.socket(fileno=parent.held[address].dup()) for address in both)
    with lent, kept:
        net.adopt_listener(lent, lent_to)
        net.adopt_listener(kept, kept_on, kept=True)
        assert net.missing(both) == {lent_to}
        lent.listen()
        assert net.missing(both) == frozenset()
    assert net.missing(both) == set(both)


def test_a_loop_that_polls_with_epoll_sleeps_while_the_gate_is_shut(parent: Parent, net: Net) -> None:
    with socket.create_server(parent.hold(LOOPBACK).sockaddr) as server, select.epoll() as poller:
        server.setblocking(False)
        poller.register(server.fileno(), select.EPOLLIN)
        net.release()
        net.stop_accepting()
        with socket.create_connection(server.getsockname()):
            assert poller.poll(0.05) == []
            net.resume_accepting()
            assert poller.poll(5) == [(server.fileno(), select.EPOLLIN)]
            server.accept()[0].close()


def test_a_loop_that_was_told_of_a_client_before_the_gate_shut_is_not_held_up(
    parent: Parent, net: Net, monkeypatch: pytest.MonkeyPatch
) -> None:
    naps: list[float | None] = []
    monkeypatch.setattr(net.gate, "wait_open", naps.append)
    with socket.create_server(parent.hold(LOOPBACK).sockaddr) as server, select.epoll() as poller:
        server.setblocking(False)
        poller.register(server.fileno(), select.EPOLLIN)
        net.release()
        with socket.create_connection(server.getsockname()):
            assert poller.poll(5) == [(server.fileno(), select.EPOLLIN)]
            net.stop_accepting()
            with pytest.raises(BlockingIOError):
                server.accept()
            assert not naps
            # One that comes again has another way to learn of clients, and would spin.
            with pytest.raises(BlockingIOError):
                server.accept()
            assert len(naps) == 1


def test_where_c_code_accepts_a_dummy_takes_the_place_of_a_stopped_listener(parent: Parent, net: Net) -> None:
    address = parent.hold(LOOPBACK)
    net.accepts_in_c = True
    with socket.create_server(address.sockaddr) as server, select.epoll() as poller:
        server.setblocking(False)
        poller.register(server.fileno(), select.EPOLLIN)
        net.release()
        net.stop_accepting()
        with socket.create_connection(address.sockaddr):
            with pytest.raises(BlockingIOError):
                super(socket.socket, server)._accept()  # type: ignore[misc]
            assert net.listening() == {address}
            assert Address.of(server) == address
            net.resume_accepting()
            assert Address.of(server) == address
            assert poller.poll(5) == [(server.fileno(), select.EPOLLIN)]
            server.accept()[0].close()


# -- letting go ----------------------------------------------------------------------------------------------


def test_whatever_the_old_program_does_to_its_listener_the_parent_keeps_it(parent: Parent, net: Net) -> None:
    address = parent.hold(LOOPBACK)
    server = socket.create_server(address.sockaddr)
    net.release()
    net.let_go()
    server.shutdown(socket.SHUT_RDWR)
    server.close()
    held = _socket.socket(fileno=parent.held[address].take())
    with socket.create_connection(address.sockaddr):
        held.settimeout(20)
        os.close(held._accept()[0])  # type: ignore[attr-defined]
    held.close()
    net.resume_accepting()
    assert net.listening() == frozenset()


def test_a_shutdown_of_the_listener_before_that_ends_it_for_this_program_only(
    parent: Parent, net: Net
) -> None:
    address = parent.hold(LOOPBACK)
    net.release()
    with socket.create_server(address.sockaddr) as server:
        server.shutdown(socket.SHUT_RDWR)
    with socket.create_connection(address.sockaddr), socket.create_server(address.sockaddr) as again:
        again.accept()[0].close()


# -- Unix sockets --------------------------------------------------------------------------------------------


def test_the_file_of_a_held_unix_socket_outlives_every_clean_up(
    parent: Parent, net: Net, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "x.sock"
    address = parent.hold(Address("unix", path=str(path)))
    net.release()
    os.remove("x.sock")  # a new generation that makes room before it binds
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("x.sock")
        server.listen()
        assert inode(server) == parent.held[address].inode
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            server.accept()[0].close()
    path.unlink()  # an old one that cleans up
    assert stat.S_ISSOCK(path.stat().st_mode)


def test_other_files_are_removed_as_ever(net: Net, tmp_path: Path) -> None:
    ordinary, foreign = tmp_path / "file", tmp_path / "foreign.sock"
    ordinary.write_text("x")
    with socket.socket(socket.AF_UNIX) as server:
        super(socket.socket, server).bind(str(foreign))
    ordinary.unlink()
    os.unlink(os.fsencode(foreign))
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(FileNotFoundError):
        os.remove(ordinary)
    folder = os.open(tmp_path, os.O_RDONLY)
    ordinary.write_text("x")
    os.unlink("file", dir_fd=folder)
    os.close(folder)
    assert list(tmp_path.iterdir()) == []


# -- forks ---------------------------------------------------------------------------------------------------


def forked(work: object) -> int:
    """Run ``work`` in a forked process; returns its pid."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # 3.12 warns about threads, rightly
        pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        work()  # type: ignore[operator]
        code = 0
    finally:
        os._exit(code)


def exit_code(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_a_forked_worker_follows_the_gate_of_its_master(parent: Parent, net: Net) -> None:
    with socket.create_server(parent.hold(LOOPBACK).sockaddr) as server:
        said, say = os.pipe()

        def work() -> None:
            server.settimeout(20)
            os.write(say, b"a")
            connection, _ = server.accept()
            connection.sendall(b"ok")
            os.write(say, b"b")

        pid = forked(work)
        assert os.read(said, 1) == b"a"
        with socket.create_connection(server.getsockname(), timeout=20) as client:
            assert not select.select([client], [], [], 0.1)[0]
            net.release()
            assert client.recv(2) == b"ok"
        assert os.read(said, 1) == b"b"
        assert exit_code(pid) == 0
        os.close(said)
        os.close(say)


def test_a_fork_while_another_thread_holds_the_lock_does_not_deadlock(parent: Parent, net: Net) -> None:
    net.release()
    with socket.create_server(parent.hold(LOOPBACK).sockaddr) as server:
        held, leave = threading.Event(), threading.Event()

        def hold() -> None:
            with net.gate.lock:
                held.set()
                leave.wait(20)

        thread = threading.Thread(target=hold)
        thread.start()
        held.wait(20)

        def work() -> None:
            server.settimeout(20)
            server.accept()[0].sendall(b"ok")
            with socket.create_server(("127.0.0.1", 0)):
                pass  # its own business: the parent is not asked

        pid = forked(work)
        with socket.create_connection(server.getsockname(), timeout=20) as client:
            assert client.recv(2) == b"ok"
        assert exit_code(pid) == 0
        leave.set()
        thread.join(20)
    assert parent.registered == []


def test_a_dropped_connection_is_closed_and_no_longer_counted(parent: Parent, net: Net) -> None:
    net.release()
    with (
        socket.create_server(parent.hold(LOOPBACK).sockaddr) as server,
        socket.create_connection(server.getsockname(), timeout=20) as client,
    ):
        connection, _ = server.accept()
        assert net.open_connections() == 1
        dropped = [connection]
        del connection
        with pytest.warns(ResourceWarning):
            dropped.clear()
        assert client.recv(1) == b""
        assert net.open_connections() == net.in_flight() == 0


def test_stop_returns_only_when_nobody_accepts_any_more(parent: Parent, net: Net) -> None:
    net.release()
    with socket.create_server(parent.hold(LOOPBACK).sockaddr) as server:
        server.settimeout(0.01)
        kept: list[socket.socket] = []
        finish = threading.Event()

        def serve() -> None:
            while not finish.is_set():
                try:
                    connection, _ = server.accept()
                    kept.append(connection)
                except TimeoutError:
                    continue

        thread = threading.Thread(target=serve)
        thread.start()
        for _ in range(20):
            clients = [socket.create_connection(server.getsockname()) for _ in range(5)]
            net.stop_accepting()
            before = waiting_in_backlog(server)
            clients.append(socket.create_connection(server.getsockname()))
            assert waiting_in_backlog(server) == before + 1
            net.resume_accepting()
            for client in clients:
                client.close()
        finish.set()
        thread.join(20)
        for connection in kept:
            connection.close()


def waiting_in_backlog(server: socket.socket) -> int:
    """What the kernel holds for accept(): tcpi_unacked of a listener is the length of its queue."""
    return int(struct.unpack_from("I", server.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104), 24)[0])


# -- a program that leaves by itself ---------------------------------------------------------------------


def test_loop_that_cancels_all_it_runs_is_no_failure(net: Net, monkeypatch: pytest.MonkeyPatch) -> None:
    """At Ctrl-C ``asyncio.run`` of the program cancels every task, and so what the parent asks for."""
    began: list[float] = []

    async def leave(grace: float) -> None:
        began.append(grace)
        for task in asyncio.all_tasks():
            task.cancel()
        await asyncio.Event().wait()

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        monkeypatch.setattr("livereload_core.child.net.current_loop", lambda: loop)
        monkeypatch.setattr(net.connections, "servers", {object()})
        monkeypatch.setattr(net.connections, "leave_behind", leave)
        net.leave_connections(30, final=False)
        assert began == [30]
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
