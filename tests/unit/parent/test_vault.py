"""The vault: each connection has one owner, outlives it, and ends exactly once."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import time
from collections.abc import Iterator

import pytest

from livereload_core.parent.vault import Vault
from livereload_core.posix import memfd
from livereload_core.posix.tcp import traffic_of
from livereload_core.wire.frames import MAX_FDS
from livereload_core.wire.links import (
    ENDS,
    LOSES,
    Kind,
    Link,
    count_at,
    from_json,
    id_at,
    mark_at,
    pack,
    pack_count,
    pack_id,
    unpack,
    unpack_id,
)

OLD, NEW, NEWER = 1, 2, 3


class Held:
    """A vault and the clients of what it holds."""

    def __init__(self) -> None:
        self.vault = Vault()
        self.clients: dict[int, socket.socket] = {}

    def open(self, number: int, kind: str = Kind.WEBSOCKET, child: int = OLD, mark: int = -1) -> None:
        ours, client = socket.socketpair()
        self.clients[number] = client
        with ours:
            self.vault.opened(child, number, Link(number, kind, "x", mark=mark), os.dup(ours.fileno()))

    def ended(self) -> set[int]:
        """The clients that see the end."""
        gone = set()
        for number, client in self.clients.items():
            client.setblocking(False)
            try:
                if client.recv(1) == b"":
                    gone.add(number)
            except BlockingIOError:
                pass
        return gone

    def given(self, child: int) -> list[tuple[int, ...]]:
        """The numbers in each message that would go to a serving child."""
        return [message.numbers for message, _ in self.vault.waiting(child)]


@pytest.fixture
def held() -> Iterator[Held]:
    before = set(os.listdir("/proc/self/fd"))
    built = Held()
    yield built
    built.vault.close()
    for client in built.clients.values():
        client.close()
    assert set(os.listdir("/proc/self/fd")) <= before, "an fd is left"


def test_a_dup_keeps_the_connection_alive_until_its_owner_says_that_it_has_ended(held: Held) -> None:
    held.open(1)
    assert held.ended() == set()
    held.vault.closed(NEW, [1])  # not the owner
    assert held.ended() == set()
    held.vault.closed(OLD, [1])
    assert held.ended() == {1}
    assert len(held.vault) == 0


def test_ownership_moves_at_commit_and_only_what_was_promised(held: Held) -> None:
    for number in (1, 2, 3):
        held.open(number)
    table = memfd.create(pack([Link(1, Kind.WEBSOCKET, "x"), Link(2, Kind.RAW, "x", inbound=b"half")]))
    messages = list(held.vault.promise(NEW, (1, 2), table))
    os.close(table)
    assert [message.numbers for message, _ in messages] == [(1, 2)]
    assert held.vault.committed(NEW) == 2
    held.vault.abandoned(OLD)
    assert held.ended() == {3}
    held.vault.closed(NEW, [1])
    assert held.ended() == {1, 3}


def test_what_went_ahead_needs_no_fd_at_the_hand_over(held: Held) -> None:
    for number in (1, 2, 3):
        held.open(number)
    held.open(4, child=NEWER)
    ((ahead, fds),) = held.vault.send_ahead(NEW, OLD)
    assert ahead.numbers == (1, 2, 3)
    assert len(fds) == 4
    # One came later, of one more is known by now, and one has ended.
    held.open(5)
    held.vault.opened(OLD, 2, Link(2, Kind.WEBSOCKET, "x", request=b"GET /"), None)
    held.vault.closed(OLD, [3])
    table = memfd.create(pack([]))
    ((message, fds),) = held.vault.promise(NEW, (1, 2, 3, 5), table)
    os.close(table)
    assert message.known == (1,)
    assert message.numbers == (2, 5)
    assert [from_json(2, message.facts[0]).request, from_json(5, message.facts[1]).request] == [b"GET /", b""]
    assert len(fds) == 3
    assert held.vault.committed(NEW) == 3


def test_all_that_went_ahead_is_told_in_one_message_without_fds(held: Held) -> None:
    for number in range(MAX_FDS + 5):
        held.open(number)
    numbers = tuple(range(MAX_FDS + 5))
    assert [len(fds) for _, fds in held.vault.send_ahead(NEW, OLD)] == [MAX_FDS, 7]
    table = memfd.create(pack([]))
    ((message, fds),) = held.vault.promise(NEW, numbers, table)
    assert (message.known, message.numbers, len(fds)) == (numbers, (), 1)
    # Another candidate has got nothing ahead.
    assert [message.known for message, _ in held.vault.promise(NEWER, numbers, table)] == [(), ()]
    os.close(table)


def test_a_client_sees_the_end_although_a_candidate_holds_its_connection(held: Held) -> None:
    held.open(1)
    ((_, fds),) = held.vault.send_ahead(NEW, OLD)
    candidates = os.dup(fds[1])
    held.vault.closed(OLD, [1])
    assert held.ended() == {1}
    os.close(candidates)


def test_a_candidate_that_fails_leaves_everything_with_the_old_one(held: Held) -> None:
    held.open(1)
    table = memfd.create(pack([Link(1, Kind.WEBSOCKET, "x")]))
    list(held.vault.promise(NEW, (1,), table))
    os.close(table)
    held.vault.abandoned(NEW)
    assert held.ended() == set()
    assert held.vault.committed(NEWER) == 0
    held.vault.closed(OLD, [1])
    assert held.ended() == {1}


def test_the_connections_of_a_dead_child_go_to_the_next_with_what_is_known_of_them(held: Held) -> None:
    held.open(1)
    held.open(2)
    held.vault.opened(OLD, 1, Link(1, Kind.WEBSOCKET, "x", request=b"GET /", response=b"101"), None)
    assert held.vault.orphan(OLD) == 2
    for message, fds in held.vault.promise(NEW, (), None):
        assert message.numbers == (1, 2)
        links = unpack(memfd.read(fds[0]))
    assert links[1].request == b"GET /"
    assert links[2].request == b""
    assert held.vault.committed(NEW) == 2
    assert held.given(NEW) == []


def test_of_the_dead_what_is_lost_and_what_is_closed_is_told_apart_from_what_is_kept(held: Held) -> None:
    for number, mark in ((1, LOSES), (2, ENDS), (3, LOSES)):
        held.open(number, mark=mark_at(OLD, number))
        os.pwrite(held.vault.marks_for(OLD), bytes([mark]), mark_at(OLD, number))
    held.vault.orphan(OLD)
    assert held.vault.survey() == {
        "lost what the dead process had read and not answered": 2,
        "closed: an answer was under way when the program died": 1,
    }
    assert held.ended() == {2}


def test_what_the_dead_had_kept_back_from_its_last_table_is_looked_at_before_anybody_gets_it(
    held: Held,
) -> None:
    for number in (1, 2, 3):
        held.open(number, Kind.HTTP, mark=mark_at(OLD, number))
    marks = held.vault.marks_for(OLD)
    for number in (1, 2):
        os.pwrite(marks, bytes([ENDS]), mark_at(OLD, number))
    table = memfd.create(pack([Link(1, Kind.HTTP, "x", inbound=b"GET /", mark=mark_at(OLD, 1))]))
    held.vault.orphan(OLD)
    list(held.vault.promise(NEW, (1,), table))
    os.close(table)
    assert held.vault.committed(NEW) == 1
    assert held.vault.survey() == {"closed: an answer was under way when the program died": 1}
    assert held.ended() == {2}
    assert held.given(NEW) == [(3,)]


def test_what_was_handed_over_late_is_not_judged_by_the_mark_of_whoever_had_it(held: Held) -> None:
    held.open(1, Kind.HTTP, mark=mark_at(OLD, 1))
    os.pwrite(held.vault.marks_for(OLD), bytes([ENDS]), mark_at(OLD, 1))
    link = Link(1, Kind.HTTP, "x", outbound=b"rest", mark=mark_at(OLD, 1))
    held.vault.handed_over(OLD, [1], pack([link]))
    assert held.vault.survey() == {}
    for _, fds in held.vault.promise(NEW, (), None):
        assert unpack(memfd.read(fds[0]))[1].outbound == b"rest"
    assert held.vault.committed(NEW) == 1
    held.vault.orphan(NEW)
    for _, fds in held.vault.promise(NEWER, (), None):
        assert unpack(memfd.read(fds[0]))[1].outbound == b"", "it has had it"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="TCP_INFO with counts of bytes is Linux's")
def test_a_request_that_the_dead_had_read_and_not_marked_is_not_left_without_an_answer() -> None:
    vault = Vault()
    with socket.create_server(("127.0.0.1", 0)) as listener, contextlib.ExitStack() as stack:
        clients, servers = {}, {}
        for number in (1, 2, 3, 4):
            clients[number] = stack.enter_context(socket.create_connection(listener.getsockname()))
            clients[number].settimeout(20)
            servers[number] = stack.enter_context(listener.accept()[0])
            kind = Kind.WEBSOCKET if number == 4 else Kind.HTTP
            vault.opened(OLD, number, Link(number, kind, "x"), os.dup(servers[number].fileno()))
            clients[number].sendall(b"ask")
            assert servers[number].recv(3) == b"ask"
            servers[number].sendall(b"answer")
            assert clients[number].recv(6) == b"answer"
        for number in (2, 3, 4):
            while (traffic := traffic_of(servers[number].fileno())) and not traffic.sent_ago:
                time.sleep(0)  # the kernel counts in milliseconds
            clients[number].sendall(b"ask")
            servers[number].recv(3, socket.MSG_PEEK if number == 3 else 0)
        vault.orphan(OLD)
        for server in servers.values():
            server.close()
        assert vault.survey() == {"closed: an answer was under way when the program died": 1}
        assert clients[2].recv(1) == b""
        assert len(vault) == 3, "what is unread is for whoever comes, and a WebSocket goes on"
    vault.close()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="TCP_INFO with counts of bytes is Linux's")
def test_what_the_dead_had_read_and_not_counted_is_not_taken_for_dealt_with() -> None:
    vault = Vault()
    marks = vault.marks_for(OLD)
    kinds = dict(enumerate((Kind.HTTP, Kind.HTTP, Kind.HTTP, Kind.WEBSOCKET, Kind.WEBSOCKET, Kind.RAW), 1))
    with socket.create_server(("127.0.0.1", 0)) as listener, contextlib.ExitStack() as stack:
        clients = {}
        for number, kind in kinds.items():
            clients[number] = client = stack.enter_context(socket.create_connection(listener.getsockname()))
            client.settimeout(20)
            server = stack.enter_context(listener.accept()[0])
            at = mark_at(OLD, number)
            vault.opened(OLD, number, Link(number, kind, "x", mark=at), os.dup(server.fileno()))
            client.sendall(b"ask")
            assert server.recv(3) == b"ask"
            os.pwrite(marks, pack_count(3), count_at(at))
            server.sendall(b"answer")  # and in the same moment of the kernel's clock the client goes on
            assert client.recv(6) == b"answer"
            if number in (2, 4, 6):
                client.sendall(b"ask")
                assert server.recv(3) == b"ask"
            elif number == 3:
                client.sendall(b"ask")
                client.shutdown(socket.SHUT_WR)
        vault.orphan(OLD)
        assert vault.survey() == {
            "closed: an answer was under way when the program died": 1,
            "lost what the dead process had read and not answered": 1,
        }
        assert clients[2].recv(1) == b""
        policies: dict[int, str] = {}
        for _, fds in vault.waiting(NEW):
            policies |= {number: link.policy for number, link in unpack(memfd.read(fds[0])).items()}
        assert policies == {1: "resume", 3: "resume", 4: "close", 5: "resume", 6: "resume"}
    vault.close()


def test_an_event_stream_of_the_dead_goes_on_behind_the_id_beside_its_mark(held: Held) -> None:
    name = pack_id(b"seven")
    assert name is not None
    for number, kind in ((1, Kind.EVENTS), (2, Kind.EVENTS), (3, Kind.HTTP)):
        held.open(number, kind, mark=mark_at(OLD, number))
    marks = held.vault.marks_for(OLD)
    for number in (1, 3):
        os.pwrite(marks, name, id_at(mark_at(OLD, number)))
    held.vault.orphan(OLD)
    assert held.vault.survey() == {}
    for _, fds in held.vault.promise(NEW, (), None):
        links = unpack(memfd.read(fds[0]))
    assert [links[number].event_id for number in (1, 2, 3)] == [b"seven", b"", b""]


@pytest.mark.parametrize("name", [b"", b"7", b"x" * 126])
def test_an_id_beside_a_mark_is_what_was_put_there(name: bytes) -> None:
    packed = pack_id(name)
    assert packed is not None
    assert unpack_id(packed + bytes(128 - len(packed))) == name
    assert unpack_id(bytes(128)) is None
    assert pack_id(b"x" * 127) is None


def test_what_an_old_generation_hands_over_late_goes_to_the_one_that_serves(held: Held) -> None:
    held.open(1)
    held.vault.handed_over(NEW, [1], pack([Link(1, Kind.HTTP, "x")]))  # not the owner
    assert held.given(NEW) == []
    held.vault.handed_over(OLD, [1], pack([Link(1, Kind.HTTP, "x", inbound=b"GET")]))
    held.vault.abandoned(OLD)
    ((message, fds),) = held.vault.waiting(NEW)
    assert message.late
    assert message.numbers == (1,)
    assert len(fds) == 2
    held.vault.abandoned(NEW)
    assert held.ended() == {1}


def test_many_connections_go_in_messages_that_the_kernel_takes(held: Held) -> None:
    for number in range(MAX_FDS + 5):
        held.open(number)
    held.vault.orphan(OLD)
    sizes = [(len(message.numbers), len(fds)) for message, fds in held.vault.promise(NEW, (), None)]
    assert sizes == [(MAX_FDS - 1, MAX_FDS), (6, 7)]


def test_while_nobody_serves_requests_are_sent_away_and_websockets_wait(held: Held) -> None:
    held.open(1, Kind.HTTP)
    held.open(2, Kind.WEBSOCKET)
    held.open(3, Kind.HTTP, child=NEW)
    held.vault.orphan(OLD)
    held.vault.nobody_serves(finished=False)
    assert held.ended() == {1}
    held.vault.nobody_serves(finished=True)
    assert held.ended() == {1, 2}
