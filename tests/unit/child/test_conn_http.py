"""Connections that speak HTTP, WebSocket or events: handed over between two messages, or not at all."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import pytest

from livereload_core.child.conn_judged import MOVES
from livereload_core.framing.websocket import accept_key
from tests.unit.child.conn_stage import in_loop, stage, until

ASK = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
KEY = base64.b64encode(bytes(16))
OPEN = (
    b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: %b\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
) % KEY


class Web(asyncio.Protocol):
    """A server of few words; what it has heard is in ``heard``."""

    mark = b"1"
    websocket_status = b"101 Switching Protocols"

    def __init__(self) -> None:
        self.heard = b""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.heard += data
        while b"\r\n\r\n" in self.heard:
            head, _, self.heard = self.heard.partition(b"\r\n\r\n")
            self.asked(head)

    def asked(self, head: bytes) -> None:
        target = head.split(b" ")[1]
        if target == b"/ws":
            assert b"extensions" not in head.lower()
            self.transport.write(
                b"HTTP/1.1 %b\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Accept: %b\r\n\r\n" % (self.websocket_status, accept_key(KEY))
            )
        elif target == b"/events":
            self.transport.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
            )
            self.event(b"last " + _field(head, b"last-event-id"))
        elif target != b"/slow":
            self.answer()

    def event(self, text: bytes) -> None:
        body = b"id: %b\ndata: %b\n\n" % (self.mark, text)
        self.transport.write(b"%x\r\n%b\r\n" % (len(body), body))

    def answer(self) -> None:
        self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n" + self.mark)


class Web2(Web):
    mark = b"2"


class Strict(Web):
    websocket_status = b"403 Forbidden"


def _field(head: bytes, name: bytes) -> bytes:
    for line in head.split(b"\r\n"):
        if line.lower().startswith(name + b":"):
            return line.split(b":", 1)[1].strip()
    return b"none"


async def answer(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    return await reader.readexactly(1)


@in_loop
async def test_an_idle_connection_asks_the_new_code() -> None:
    async with stage(Web) as on:
        reader, writer = await on.connect()
        for _ in range(3):
            writer.write(ASK)
            assert await answer(reader) == b"1"
        assert await on.switch(Web2) == {}
        writer.write(ASK)
        assert await answer(reader) == b"2"


@pytest.mark.parametrize("cut", range(len(ASK)))
@in_loop
async def test_a_request_that_is_cut_anywhere_is_answered_by_the_new_code(cut: int) -> None:
    async with stage(Web) as on:
        reader, writer = await on.connect()
        writer.write(ASK)
        assert await answer(reader) == b"1"
        writer.write(ASK[:cut])
        await until(lambda: not cut or on.old.link._requests.partial)
        assert await on.switch(Web2) == {}
        writer.write(ASK[cut:])
        assert await answer(reader) == b"2"


@in_loop
async def test_a_request_in_flight_is_answered_by_the_old_code_and_the_next_by_the_new() -> None:
    made: list[Web] = []

    def old() -> Web:
        made.append(Web())
        return made[-1]

    async with stage(old) as on:
        reader, writer = await on.connect()
        writer.write(ASK.replace(b"/", b"/slow", 1))
        await until(lambda: on.old.link.in_flight())
        on.old.hub.register(on.old.link)
        assert await on.switch(Web2, grace=0.0) == {"a request in flight": 1}
        leaving = asyncio.create_task(on.old.hub.leave_behind(20))
        await asyncio.sleep(0)
        made[0].answer()
        await leaving
        ((message, table),) = on.old.late
        on.give(message.numbers, table)
        assert await answer(reader) == b"1"
        writer.write(ASK)
        assert await answer(reader) == b"2"


@in_loop
async def test_pipelined_requests_behind_one_in_flight_are_each_answered_once() -> None:
    made: list[Web] = []

    def old() -> Web:
        made.append(Web())
        return made[-1]

    async with stage(old) as on:
        reader, writer = await on.connect()
        writer.write(ASK.replace(b"/", b"/slow", 1) + ASK[:9])
        await until(lambda: on.old.link.in_flight())
        quiesced = asyncio.create_task(on.old.hub.quiesce(20))
        await until(lambda: on.old.hub.holding)
        made[0].answer()
        await quiesced
        assert await on.switch(Web2) == {}
        writer.write(ASK[9:] + ASK)
        assert [await answer(reader) for _ in range(3)] == [b"1", b"2", b"2"]


@in_loop
async def test_a_connection_that_closes_after_its_answer_is_left_to_do_so() -> None:
    class Closing(Web):
        def answer(self) -> None:
            self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n1")

    async with stage(Closing) as on:
        reader, writer = await on.connect()
        writer.write(ASK)
        assert await answer(reader) == b"1"
        assert on.old.link.verdict().reason
        assert await on.switch(Web2, grace=0.0) != {}


@in_loop
async def test_a_websocket_is_opened_anew_in_the_new_code_without_a_byte_to_the_client() -> None:
    async with stage(Web) as on:
        reader, writer = await on.connect()
        writer.write(OPEN)
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101")
        on.old.link.gate = "test"
        on.old.link.receiving = 1
        assert on.old.link.verdict() is MOVES
        assert await on.switch(Web2) == {}
        await until(on.new.settled)
        assert on.new.settled()[0].adopted == 1
        on.new.link.write(b"\x81\x02hi")
        assert await reader.readexactly(4) == b"\x81\x02hi"


@in_loop
async def test_new_code_that_declines_a_websocket_closes_it_with_service_restart() -> None:
    async with stage(Web) as on:
        reader, writer = await on.connect()
        writer.write(OPEN)
        await reader.readuntil(b"\r\n\r\n")
        on.old.link.gate = "test"
        on.old.link.receiving = 1
        assert await on.switch(Strict) == {}
        frame = await reader.readexactly(4)
        assert frame[0] == 0x88
        assert int.from_bytes(frame[2:], "big") == 1012
        await until(on.new.settled)
        assert on.new.settled()[0].declined == {"the new code answers with status 403": 1}


@in_loop
async def test_whoever_was_told_to_come_again_is_not_handed_over_once_more() -> None:
    """As when the next edit comes within the second in which a client may answer the close frame."""

    class Choosy(Web):
        """Grants a subprotocol that nobody asked for: another one than the old code's."""

        websocket_status = b"101 Switching Protocols\r\nSec-WebSocket-Protocol: two"

    async with stage(Web) as on:
        reader, writer = await on.connect()
        writer.write(OPEN)
        await reader.readuntil(b"\r\n\r\n")
        on.old.link.gate = "test"
        on.old.link.receiving = 1
        assert await on.switch(Choosy) == {}
        await reader.readexactly(4)
        await until(on.new.settled)
        link = on.new.link
        link.gate = "test"
        link.receiving = 1
        await on.new.hub.quiesce(1)
        numbers, _, _ = on.new.hub.export()
        assert numbers == ()
        on.new.hub.resume()
        writer.write(b"\x81\x80\0\0\0\0")
        await writer.drain()
        for _ in range(5):
            await asyncio.sleep(0)
        assert link.get_protocol().heard == b"", "it is not the new code's any more"  # type: ignore[attr-defined]


@in_loop
async def test_a_stream_of_events_goes_on_behind_its_last_id() -> None:
    async with stage(Web) as on:
        reader, writer = await on.connect()
        writer.write(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        assert b"data: last none\n\n" in await reader.readuntil(b"\n\n\r\n")
        assert on.old.link.verdict() is MOVES
        assert await on.switch(Web2) == {}
        assert b"id: 2\ndata: last 1\n\n" in await reader.readuntil(b"\n\n\r\n")


@in_loop
async def test_a_half_sent_event_keeps_the_stream_in_the_old_code() -> None:
    async with stage(Web) as on:
        reader, writer = await on.connect()
        writer.write(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n")
        await reader.readuntil(b"\n\n\r\n")
        on.old.link.write(b"8\r\ndata: he\r\n")
        assert on.old.link.verdict().passes
        on.old.link.write(b"5\r\nllo\n\n\r\n")
        assert on.old.link.verdict() is MOVES


@pytest.mark.parametrize("policy", ["drain", "close"])
@in_loop
async def test_a_handlers_policy_keeps_its_connection_back(policy: Any) -> None:
    async with stage(Web) as on:
        reader, writer = await on.connect()
        writer.write(OPEN)
        await reader.readuntil(b"\r\n\r\n")
        on.old.link.gate = "test"
        on.old.link.receiving = 1
        on.old.link.connection.policy = policy
        assert await on.switch(Web2) == {f"the handler's policy is {policy!r}": 1}
        leaving = asyncio.create_task(on.old.hub.leave_behind(0.1 if policy == "drain" else 20))
        frame = await reader.readexactly(4)
        assert (frame[0], int.from_bytes(frame[2:], "big")) == (0x88, 1012)
        writer.close()
        await leaving


@pytest.mark.parametrize("ends", ["lost", "farewell"])
@in_loop
async def test_a_handler_that_is_parked_is_let_go_when_its_connection_ends(ends: str) -> None:
    async with stage(Web) as on:
        reader, writer = await on.connect()
        writer.write(OPEN)
        await reader.readuntil(b"\r\n\r\n")
        link = on.old.link
        link.gate = "test"
        link.hold()
        parked = asyncio.create_task(link.park())
        await until(lambda: link._waiters)
        if ends == "lost":
            link.loop_transport.abort()
        else:
            link.close_with_reason()
            await link.park()  # nor does a handler come to rest there again
        await asyncio.wait_for(parked, 20)


@in_loop
async def test_a_connection_that_was_accepted_just_before_is_held_from_its_first_byte() -> None:
    async with stage(Web) as on:
        on.old.hub.holding = True
        reader, writer = await on.connect()
        writer.write(ASK)
        await until(lambda: on.old.link._held)
        assert await on.switch(Web2) == {}
        assert await answer(reader) == b"2"
