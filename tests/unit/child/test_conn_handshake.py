"""A client's wish for a WebSocket, in whatever pieces it comes and whatever becomes of it."""

from __future__ import annotations

import asyncio

import pytest

from livereload_core.child.conn_judged import MOVES
from livereload_core.wire.links import Kind
from tests.unit.child.conn_stage import in_loop, stage, until
from tests.unit.child.test_conn_http import ASK, OPEN, Strict, Web, Web2, answer

FRAME = b"\x81\x81\0\0\0\0x"


@pytest.mark.parametrize("cut", range(1, len(OPEN), 7))
@in_loop
async def test_the_wish_for_extensions_is_left_out_wherever_the_head_is_cut(cut: int) -> None:
    async with stage(Web) as on:
        reader, writer = await on.connect()
        writer.write(OPEN[:cut])
        await until(lambda: on.old.link._requests.partial == OPEN[:cut])
        writer.write(OPEN[cut:])
        # the server itself asserts that it sees no such wish
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101")
        assert on.old.link.kind is Kind.WEBSOCKET


@in_loop
async def test_frames_that_come_along_with_the_handshake_are_the_websockets() -> None:
    async with stage(Web) as on:
        reader, writer = await on.connect()
        writer.write(OPEN + FRAME)
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101")
        assert on.old.link.kind is Kind.WEBSOCKET
        assert on.old.link.export().inbound == FRAME


@in_loop
async def test_a_wish_that_is_refused_leaves_a_connection_that_goes_over() -> None:
    class Refusing(Strict):
        websocket_status = b"404 Not Found\r\nContent-Length: 0"

    async with stage(Refusing) as on:
        reader, writer = await on.connect()
        writer.write(OPEN)
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 404")
        assert not on.old.link.in_flight()
        assert on.old.link.verdict() is MOVES
        writer.write(ASK)
        assert await answer(reader) == b"1"
        on.old.hub.register(on.old.link)
        assert await on.switch(Web2) == {}
        writer.write(ASK)
        assert await answer(reader) == b"2"


@in_loop
async def test_requests_behind_a_wish_that_is_refused_are_counted() -> None:
    made: list[Web] = []

    class Hesitant(Web):
        def asked(self, head: bytes) -> None:
            made.append(self)

    async with stage(Hesitant) as on:
        reader, writer = await on.connect()
        writer.write(OPEN)
        await until(lambda: made)
        writer.write(ASK)
        await until(lambda: len(made) == 2)
        made[0].transport.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
        assert on.old.link.in_flight(), "the second request has no answer yet"
        made[0].answer()
        assert not on.old.link.in_flight()
        await asyncio.wait_for(reader.readuntil(b"\r\n\r\n1"), 20)
