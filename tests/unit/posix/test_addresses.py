from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest

from livereload_core.errors import PortBusyError, UsageError
from livereload_core.posix.addresses import Address, listening_socket

LOOPBACK = Address("inet", "127.0.0.1")


@pytest.mark.parametrize(
    ("address", "text", "url"),
    [
        (Address("inet", "127.0.0.1", 8000), "127.0.0.1:8000", "http://127.0.0.1:8000"),
        (Address("inet", "0.0.0.0", 80), "0.0.0.0:80", "http://127.0.0.1:80"),
        (Address("inet6", "::1", 8000), "[::1]:8000", "http://[::1]:8000"),
        (Address("inet6", "::", 8000), "[::]:8000", "http://[::1]:8000"),
        (Address("unix", path="/tmp/x.sock"), "/tmp/x.sock", "unix:/tmp/x.sock"),
        (Address("unix", path="\0name"), "@name", "unix:@name"),
    ],
)
def test_an_address_reads_as_people_write_it_and_survives_json(address: Address, text: str, url: str) -> None:
    assert str(address) == text
    assert address.url == url
    assert Address.from_json(json.loads(json.dumps(address.to_json()))) == address


def test_spellings_that_the_kernel_binds_alike_are_equal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    absolute = Address.from_sockaddr(socket.AF_UNIX, str(tmp_path / "x.sock"))
    assert Address.from_sockaddr(socket.AF_UNIX, "x.sock") == absolute
    assert Address.from_sockaddr(socket.AF_UNIX, b"x.sock") == absolute
    assert Address.from_sockaddr(socket.AF_INET, ("", 1)) == Address("inet", "0.0.0.0", 1)
    assert Address.from_sockaddr(socket.AF_INET6, ("::1", 1, 0, 0)) == Address("inet6", "::1", 1)


def test_what_is_no_stream_address_is_refused() -> None:
    with pytest.raises(ValueError, match="not one of inet"):
        Address.from_sockaddr(socket.AF_NETLINK, (0, 0))
    with pytest.raises(ValueError, match="without a name"):
        Address.from_sockaddr(socket.AF_UNIX, "")
    with pytest.raises(ValueError, match="unknown address family 'ipx'"):
        Address.from_json({"family": "ipx", "host": "", "port": 0, "path": ""})


def test_localhost_resolves_to_ipv4_first_and_nonsense_says_what_to_do() -> None:
    assert Address.resolve("localhost", 80) == Address("inet", "127.0.0.1", 80)
    assert Address.resolve("::1", 80) == Address("inet6", "::1", 80)
    with pytest.raises(UsageError, match="--host"):
        Address.resolve("no such host", 80)


def test_a_listening_socket_answers_and_is_not_inherited() -> None:
    with listening_socket(LOOPBACK) as listener:
        address = Address.of(listener)
        assert address.port
        assert not listener.get_inheritable()
        socket.create_connection(address.sockaddr).close()


def test_a_busy_port_is_named_with_a_way_out() -> None:
    with listening_socket(LOOPBACK) as listener:
        address = Address.of(listener)
        with pytest.raises(PortBusyError, match=rf"{address} is taken .* --port"):
            listening_socket(address)


def test_an_address_of_no_interface_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="--host"):
        listening_socket(Address("inet", "192.0.2.1"))


def test_a_stale_unix_socket_is_replaced_and_a_live_one_is_busy(tmp_path: Path) -> None:
    address = Address("unix", path=str(tmp_path / "x.sock"))
    listening_socket(address).close()
    assert os.path.exists(address.path)
    with listening_socket(address), pytest.raises(PortBusyError, match="--uds"):
        listening_socket(address)


def test_a_file_that_is_no_socket_is_never_replaced(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("precious")
    with pytest.raises(PortBusyError):
        listening_socket(Address("unix", path=str(path)))
    assert path.read_text() == "precious"


def test_an_abstract_unix_socket_leaves_no_file() -> None:
    address = Address("unix", path=f"\0livecore-test-{os.getpid()}")
    with listening_socket(address) as listener:
        assert Address.of(listener) == address
        assert not address.is_file
