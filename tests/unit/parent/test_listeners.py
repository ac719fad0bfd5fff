"""The parent holds each listener; children come and go."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from livereload_core.core.settings import Settings, Target, TargetKind
from livereload_core.errors import PortBusyError, UsageError
from livereload_core.parent.listeners import Listeners
from livereload_core.posix.addresses import Address
from livereload_core.testing import free_port, port_is_free

ANY = Address("inet", "127.0.0.1", 0)
FIRST, SECOND = 1, 2
"""Two children."""

Make = Callable[..., Listeners]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    made: list[Listeners] = []

    def make(*, host: str = "127.0.0.1", port: int = 0, uds: str = "") -> Listeners:
        folder = str(tmp_path)
        target = Target(TargetKind.MODULE, "app")
        settings = Settings(target, cwd=folder, root=folder, app_dir=folder, host=host, port=port, uds=uds)
        made.append(Listeners(settings))
        return made[-1]

    yield make
    for listeners in made:
        listeners.close()


def _bound(port: int = 0) -> tuple[Address, int]:
    """What a child sends when it listens: the address and a dup of the listener, now ours."""
    with socket.create_server(("127.0.0.1", port)) as server:
        return Address.of(server), os.dup(server.fileno())


def _is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def test_the_configured_listener_is_opened_at_the_first_call_and_stays(make: Make) -> None:
    listeners = make(port=0)
    assert len(listeners) == 0
    ((address, sock),) = listeners.configured()
    assert address.port != 0
    assert listeners.configured() == [(address, sock)]
    assert listeners.addresses == (address,)
    with socket.create_connection((address.host, address.port)):
        sock.accept()[0].close()


def test_a_busy_port_is_said_with_its_number(make: Make) -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        listeners = make(port=port)
        with pytest.raises(PortBusyError, match=str(port)):
            listeners.configured()
        assert len(listeners) == 0
    assert listeners.configured()[0][0].port == port  # free again: the next try works


def test_a_host_without_an_address_is_said_with_the_option_that_changes_it(make: Make) -> None:
    with pytest.raises(UsageError, match=r"no-such-host\.invalid.*--host"):
        make(host="no-such-host.invalid").configured()


def test_localhost_means_one_listener(make: Make) -> None:
    ((address, _),) = make(host="localhost").configured()
    assert address.family == "inet"


def test_the_listener_that_a_child_opened_is_found_by_the_next_one(make: Make) -> None:
    listeners = make()
    address, fd = _bound(free_port())
    assert listeners.find(FIRST, address) is None
    assert listeners.add(FIRST, address, fd, requested_port=address.port)
    found = listeners.find(SECOND, address)
    assert found is not None
    assert found.fileno() == fd
    assert list(listeners) == [(address, found)]


def test_a_listener_that_is_held_already_is_kept_and_the_new_one_closed(make: Make) -> None:
    listeners = make()
    address, fd = _bound(free_port())
    listeners.add(FIRST, address, fd, requested_port=address.port)
    again = os.dup(fd)
    assert not listeners.add(SECOND, address, again, requested_port=address.port)
    assert not _is_open(again)
    assert _is_open(fd)


def test_ports_that_the_kernel_chose_are_given_again_in_the_order_of_asking(make: Make) -> None:
    listeners = make()
    bound = [_bound(), _bound()]
    for address, fd in bound:
        assert listeners.find(FIRST, ANY) is None  # it has got all that there are
        listeners.add(FIRST, address, fd, requested_port=0)
    given = [listeners.find(SECOND, ANY) for _ in range(3)]
    assert [sock.fileno() if sock else None for sock in given] == [bound[0][1], bound[1][1], None]


def test_a_child_that_asks_for_one_more_gets_a_new_one(make: Make) -> None:
    listeners = make()
    listeners.add(FIRST, *_bound(), requested_port=0)
    listeners.find(SECOND, ANY)
    assert listeners.find(SECOND, ANY) is None
    third, fd = _bound()
    listeners.add(SECOND, third, fd, requested_port=0)
    assert listeners.find(SECOND, ANY) is None


def test_claims_of_a_child_that_is_gone_are_forgotten_and_its_listeners_stay(make: Make) -> None:
    listeners = make()
    address, fd = _bound()
    listeners.add(FIRST, address, fd, requested_port=0)
    listeners.forget(FIRST)
    found = listeners.find(FIRST, ANY)  # the number again, as if for the first time
    assert found is not None
    assert found.fileno() == fd


def test_claims_are_counted_by_host_and_family(make: Make) -> None:
    listeners = make()
    listeners.add(FIRST, *_bound(), requested_port=0)
    assert listeners.find(SECOND, Address("inet", "127.0.0.2", 0)) is None
    assert listeners.find(SECOND, Address("inet6", "127.0.0.1", 0)) is None
    assert listeners.find(SECOND, ANY) is not None


def test_a_port_asked_for_by_number_is_not_given_to_one_who_takes_any(make: Make) -> None:
    listeners = make()
    address, fd = _bound(free_port())
    listeners.add(FIRST, address, fd, requested_port=address.port)
    assert listeners.find(SECOND, ANY) is None


def test_a_listener_that_nobody_uses_is_closed_and_its_port_free(make: Make) -> None:
    listeners = make()
    used, used_fd = _bound()
    unused, unused_fd = _bound()
    for address, fd in ((used, used_fd), (unused, unused_fd)):
        listeners.add(FIRST, address, fd, requested_port=0)
    assert listeners.keep_only([used]) == (unused,)
    assert listeners.addresses == (used,)
    assert port_is_free(unused.port)
    assert not port_is_free(used.port)
    found = listeners.find(SECOND, ANY)
    assert found is not None
    assert found.fileno() == used_fd
    assert listeners.keep_only([used]) == ()


def test_a_configured_listener_that_was_given_up_is_opened_anew_when_it_is_asked_for(make: Make) -> None:
    listeners = make(port=free_port())
    ((address, old),) = listeners.configured()
    assert listeners.keep_only([]) == (address,)
    assert old.fileno() == -1
    ((again, new),) = listeners.configured()
    assert again == address
    assert new.fileno() != -1


def test_a_unix_socket_leaves_the_file_system_with_its_listener(make: Make, tmp_path: Path) -> None:
    path = Path(os.path.relpath(tmp_path)) / "s"
    if len(str(path.resolve())) > 100:
        pytest.skip("the temporary folder has too long a name for a Unix socket")
    listeners = make(uds=str(path))
    ((address, _),) = listeners.configured()
    assert address.path == str(path.resolve())
    assert path.is_socket()
    found = listeners.find(FIRST, address)
    assert found is not None
    listeners.close()
    assert not path.exists()
    assert len(listeners) == 0


def test_a_unix_socket_whose_file_is_gone_closes_all_the_same(make: Make, tmp_path: Path) -> None:
    path = tmp_path / "s"
    if len(str(path)) > 100:
        pytest.skip("the temporary folder has too long a name for a Unix socket")
    listeners = make(uds=str(path))
    listeners.configured()
    path.unlink()
    listeners.close()
    assert listeners.addresses == ()


def test_an_abstract_unix_socket_is_no_file(make: Make) -> None:
    name = f"\0livecore-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(name)
        server.listen()
        address, fd = Address.of(server), os.dup(server.fileno())
    listeners = make()
    listeners.add(FIRST, address, fd, requested_port=0)
    found = listeners.find(SECOND, address)
    assert found is not None
    assert found.fileno() == fd
    listeners.close()
    assert not _is_open(fd)
