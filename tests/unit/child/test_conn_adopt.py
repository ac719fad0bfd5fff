"""Taking many connections over: in turns, those first whose clients wait."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import types
from typing import Any

import pytest

from livereload_core.child import conn_adopt, conn_vault
from livereload_core.child.conn_adopt import BATCH
from livereload_core.child.net_descriptors import inode_of, open_sockets
from livereload_core.child.net_unseen import find
from livereload_core.posix import memfd
from livereload_core.posix.addresses import Address
from livereload_core.wire import messages as wire
from livereload_core.wire.links import Kind, Link, from_json, pack, unpack
from tests.unit.child.conn_stage import Stage, in_loop, stage, until


class Echo(asyncio.Protocol):
    """Sends back what comes, and says when it got its transport."""

    made: list[int]

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.made.append(transport.get_extra_info("peername")[1])

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


@pytest.fixture
def made() -> list[int]:
    """The clients' ports, in the order in which the new code took them."""
    Echo.made = []
    return Echo.made


async def _crowd(on: Stage, count: int) -> list[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Open connections that speak no HTTP and are held by the parent."""
    clients = [await on.connect() for _ in range(count)]
    for reader, writer in clients:
        writer.write(b"\0")
        assert await reader.readexactly(1) == b"\0"
    for link in on.old.hub.all():
        on.old.hub.register(link)
    return clients


@in_loop
async def test_clients_who_wait_for_an_answer_are_taken_before_those_who_are_idle(made: list[int]) -> None:
    async with stage(Echo) as on:
        clients = await _crowd(on, BATCH + 5)
        numbers, table, _ = await on.freeze()
        reader, writer = clients[-1]
        writer.write(b"now")
        await until(lambda: writer.transport.get_write_buffer_size() == 0)
        await on.succeed(Echo)
        made.clear()
        on.give(numbers, table)
        assert await reader.readexactly(3) == b"now"
        await until(on.new.settled)
        assert made[0] == writer.get_extra_info("sockname")[1]
        assert len(made) == len(clients)


@in_loop
async def test_what_is_there_already_is_served_between_two_turns_of_taking_over(made: list[int]) -> None:
    async with stage(Echo) as on:
        await _crowd(on, 3 * BATCH)
        numbers, table, _ = await on.freeze()
        await on.succeed(Echo)
        made.clear()
        on.give(numbers, table)
        seen = set()
        while not on.new.settled():
            seen.add(len(made))
            await asyncio.sleep(0)
        assert any(0 < count < len(numbers) for count in seen)


@in_loop
async def test_a_client_who_begins_to_wait_goes_before_all_who_are_idle(made: list[int]) -> None:
    async with stage(Echo) as on:
        clients = await _crowd(on, 5 * BATCH)
        numbers, table, _ = await on.freeze()
        await on.succeed(Echo)
        made.clear()
        on.give(numbers, table)
        # The first batch is under way now; nobody waits. The very last one begins to.
        reader, writer = clients[-1]
        writer.write(b"now")
        assert await reader.readexactly(3) == b"now"
        assert writer.get_extra_info("sockname")[1] in made[: 3 * BATCH]
        await until(on.new.settled)
        assert len(made) == len(clients)


class Slow(asyncio.Protocol):
    """A WebSocket server that never answers its handshakes."""

    asked: int

    def data_received(self, data: bytes) -> None:
        Slow.asked += 1


@in_loop
async def test_new_code_that_takes_its_time_for_a_handshake_holds_up_no_other(made: list[int]) -> None:
    Slow.asked = 0
    async with stage(Echo) as on:
        await _crowd(on, 2 * BATCH)
        numbers, _, _ = await on.freeze()
        await on.succeed(Slow)
        records = [_as_websocket(number, on.listener.getsockname()) for number in numbers]
        fds = [memfd.create(pack(records)), *(os.dup(on.held[number].fileno()) for number in numbers)]
        on.new.adopter.expect(numbers, fds)
        on.new.adopter.begin()
        await until(lambda: Slow.asked == 2 * BATCH)
        assert not on.new.settled()
        for link in on.new.hub.all():
            link.loop_transport.abort()
        await until(on.new.settled)  # and the collector works again


def _as_websocket(number: int, local: Any) -> Link:
    request = b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
    response = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
    return Link(number, Kind.WEBSOCKET, local, request, response)


@in_loop
async def test_an_edit_in_the_midst_of_taking_over_finds_all_connections(made: list[int]) -> None:
    async with stage(Echo) as on:
        await _crowd(on, 3 * BATCH)
        numbers, table, _ = await on.freeze()
        await on.succeed(Echo)
        on.give(numbers, table)
        await on.new.hub.quiesce(5)
        moved, _, staying = on.new.hub.export()
        assert (sorted(moved), staying) == (sorted(numbers), {})


@in_loop
async def test_what_was_cut_off_is_known_by_its_fd_as_long_as_that_is_open(made: list[int]) -> None:
    # else it would be taken for a connection that nobody knows, and shut for the next generation, too
    async with stage(Echo) as on:
        await _crowd(on, 1)
        link = on.old.link
        fd = link.fileno()
        await on.old.hub.quiesce(5)
        on.old.hub.export()
        on.old.hub.cut()
        assert link.moved
        assert on.old.hub.filenos() == {fd}
        await until(lambda: not on.old.hub.links)
        assert link.fileno() == -1


@in_loop
async def test_what_was_cut_off_is_nobodys_business_while_the_loop_has_not_closed_it(made: list[int]) -> None:
    # uvloop closes a socket some time after it has told of its end, and another thread may look in between
    async with stage(Echo) as on:
        await _crowd(on, 1)
        link = on.old.link
        on.old.hub.register(link)
        late = os.dup(link.fileno())
        try:
            await on.old.hub.quiesce(5)
            on.old.hub.export()
            on.old.hub.cut()
            await until(lambda: not on.old.hub.links)
            for sock in on.held.values():
                sock.close()
            address = Address.of(on.listener)
            assert late in find([address], on.old.hub.filenos())
            assert late not in find([address], on.old.hub.filenos(), on.old.hub.parted)
        finally:
            os.close(late)


@in_loop
async def test_the_collector_rests_while_connections_are_taken_over(made: list[int]) -> None:
    async with stage(Echo) as on:
        await _crowd(on, 2)
        numbers, table, _ = await on.freeze()
        await on.succeed(Echo)
        assert gc.isenabled()
        on.give(numbers, table)
        assert not gc.isenabled()
        await until(on.new.settled)
        assert gc.isenabled()


@in_loop
async def test_a_program_that_has_stopped_the_collector_finds_it_so(made: list[int]) -> None:
    async with stage(Echo) as on:
        await _crowd(on, 2)
        numbers, table, _ = await on.freeze()
        await on.succeed(Echo)
        gc.disable()
        try:
            on.give(numbers, table)
            await until(on.new.settled)
            assert not gc.isenabled()
        finally:
            gc.enable()


def test_tables_are_closed_whether_messages_share_one_or_not(
    made: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conn_vault, "YOUNG", 3600.0)  # or what is news here is told meanwhile

    @in_loop
    async def test() -> None:
        async with stage(Echo) as on:
            clients = await _crowd(on, 6)
            for link in on.old.hub.all():
                link.told = None
            numbers, table, _ = await on.freeze()
            await on.succeed(Echo)
            before = set(os.listdir("/proc/self/fd"))
            shared, other = memfd.create(table), memfd.create(table)
            for part, memory in ((numbers[:2], shared), (numbers[2:4], shared), (numbers[4:], other)):
                on.new.adopter.expect(
                    part, [os.dup(memory), *(os.dup(on.held[number].fileno()) for number in part)]
                )
            os.close(shared)
            os.close(other)
            on.new.adopter.begin()
            await until(on.new.settled)
            for reader, writer in clients:
                writer.write(b"on")
                assert await reader.readexactly(2) == b"on"
            assert len(set(os.listdir("/proc/self/fd")) - before) == len(numbers), "a table is still open"

    test()


def test_a_connection_that_is_announced_while_others_are_begun_with_is_not_forgotten(
    made: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    @in_loop
    async def test() -> None:
        async with stage(Echo) as on:
            clients = await _crowd(on, 3)
            numbers, table, _ = await on.freeze()
            await on.succeed(Echo)

            def interrupted(fileno: int) -> socket.socket:
                on.new.adopter.begin()  # as in the loop's own thread, in this very moment
                return socket.socket(fileno=fileno)

            with monkeypatch.context() as patch:
                patch.setattr(conn_adopt, "socket", types.SimpleNamespace(socket=interrupted))
                on.give(numbers, table)
            async with asyncio.timeout(20):
                for reader, writer in clients:
                    writer.write(b"on")
                    assert await reader.readexactly(2) == b"on"

    test()


@in_loop
async def test_connections_that_were_prepared_are_adopted_by_number(made: list[int]) -> None:
    async with stage(Echo) as on:
        clients = await _crowd(on, 5)
        told = {m.number: m.link for m in on.old.told if isinstance(m, wire.Opened)}
        links = [from_json(number, facts) for number, facts in told.items()]
        on.new.adopter.prepare(
            list(told), [memfd.create(pack(links)), *(os.dup(on.held[number].fileno()) for number in told)]
        )
        assert len(on.new.hub.filenos()) == 5
        # One stays with the old code: of the others nothing has to be told.
        stays = next(iter(told))
        on.old.hub.links[stays].connection.policy = "close"
        numbers, table, staying = await on.freeze()
        assert (len(numbers), unpack(table), sum(staying.values())) == (4, {}, 1)
        await on.succeed(Echo)
        on.new.adopter.expect([], [memfd.create(table)], known=numbers)
        on.new.adopter.begin()
        await until(on.new.settled)
        for reader, writer in clients[1:]:
            writer.write(b"on")
            assert await reader.readexactly(2) == b"on"
        assert not on.new.hub.waiting
        inode = inode_of(on.held[stays].fileno())
        assert len(open_sockets()[inode]) == 2, (
            "what was prepared in vain is still open"
        )  # ours and the old's
        # The next edit finds them as the parent knows them, without a further word.
        assert all(link.is_as_told() for link in on.new.hub.links.values())


def test_a_connection_with_news_is_told_again_after_its_adoption(
    made: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conn_vault, "YOUNG", 3600.0)

    @in_loop
    async def test() -> None:
        async with stage(Echo) as on:
            await _crowd(on, 1)
            on.old.link.told = None
            await on.switch(Echo)
            await until(on.new.settled)
            link, hub = on.new.link, on.new.hub
            assert not link.is_as_told()
            ((_, young, looks),) = hub._young
            hub._young[0] = (0.0, young, looks)
            hub._scan()
            assert link.is_as_told()
            assert [m.number for m in on.new.told if isinstance(m, wire.Opened)] == [link.number]

    test()


def test_sockets_that_are_known_are_left_out_of_the_census() -> None:
    with socket.socket() as one, socket.socket() as other:
        found = open_sockets({one.fileno()})
        assert inode_of(one.fileno()) not in found
        assert found[inode_of(other.fileno())] == [other.fileno()]


def test_a_duplicate_of_a_connection_that_is_seen_is_not_unseen() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = Address.of(listener)
        with socket.create_connection(listener.getsockname()), listener.accept()[0] as seen:
            assert find([address], set()) == [seen.fileno()]
            with seen.dup():
                assert find([address], {seen.fileno()}) == []
