"""The hold page: 503 and the reason, on the very listeners of the program."""

from __future__ import annotations

import asyncio
import dataclasses
import socket
from collections.abc import Awaitable, Callable

import pytest

from livereload_core.facts import Failure
from livereload_core.parent.hold import HoldPage, render
from livereload_core.testing import until

BROKEN = Failure("prepare", "NameError: name 'x<y>' is not defined", 'File "app.py", line 1\n  x < y & "z"')


@dataclasses.dataclass(frozen=True)
class Page:
    """One answer."""

    status: str
    headers: dict[str, str]
    body: str


def holding(test: Callable[[HoldPage, socket.socket], Awaitable[None]]) -> None:
    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            page = HoldPage()
            try:
                async with asyncio.timeout(20):
                    await test(page, listener)
            finally:
                page.hide()

    asyncio.run(main())


async def ask(listener: socket.socket, request: str) -> Page:
    reader, writer = await asyncio.open_connection(*listener.getsockname())
    writer.write(request.encode())
    head = (await reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
    body = await reader.read()
    writer.close()
    await writer.wait_closed()
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
    return Page(head[0], headers, body.decode())


def get(accept: str = "*/*") -> str:
    return f"GET /deep/path?q=1 HTTP/1.1\r\nHost: x\r\nAccept: {accept}\r\n\r\n"


def test_a_program_gets_503_and_the_reason_as_text() -> None:
    async def test(page: HoldPage, listener: socket.socket) -> None:
        await page.show(BROKEN, [listener])
        answer = await ask(listener, get())
        assert answer.status == "HTTP/1.1 503 Service Unavailable"
        assert answer.headers["content-type"] == "text/plain; charset=utf-8"
        assert answer.body == f"{BROKEN.reason}\n\n{BROKEN.traceback}\n\nwaiting for a fix\n"
        assert int(answer.headers["content-length"]) == len(answer.body.encode())
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["connection"] == "close"
        assert int(answer.headers["retry-after"]) > 0

    holding(test)


def test_a_browser_gets_a_page_that_escapes_what_it_shows_and_comes_back() -> None:
    async def test(page: HoldPage, listener: socket.socket) -> None:
        await page.show(BROKEN, [listener])
        answer = await ask(listener, get("Text/HTML,application/xhtml+xml,*/*;q=0.8"))
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert "x&lt;y&gt;" in answer.body
        assert "x &lt; y &amp; &quot;z&quot;" in answer.body
        assert "<y>" not in answer.body
        assert '<meta http-equiv="refresh"' in answer.body

    holding(test)


def test_head_gets_the_headers_alone() -> None:
    async def test(page: HoldPage, listener: socket.socket) -> None:
        await page.show(BROKEN, [listener])
        answer = await ask(listener, "HEAD / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert answer.status.startswith("HTTP/1.1 503")
        assert int(answer.headers["content-length"]) > 0
        assert answer.body == ""

    holding(test)


def test_a_request_with_a_large_body_is_answered_and_not_reset() -> None:
    async def test(page: HoldPage, listener: socket.socket) -> None:
        await page.show(BROKEN, [listener])
        size = 5_000_000
        request = f"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n" + "x" * size
        answer = await ask(listener, request)
        assert answer.status.startswith("HTTP/1.1 503")
        assert answer.body.endswith("waiting for a fix\n")

    holding(test)


def test_half_a_request_is_answered_when_its_other_half_has_come() -> None:
    async def test(page: HoldPage, listener: socket.socket) -> None:
        await page.show(BROKEN, [listener])
        reader, writer = await asyncio.open_connection(*listener.getsockname())
        half, rest = get()[:20], get()[20:]
        writer.write(half.encode())
        await writer.drain()
        assert (await ask(listener, get())).status.startswith("HTTP/1.1 503")  # it keeps nobody waiting
        assert reader.at_eof() is False
        writer.write(rest.encode())
        assert (await reader.readline()).startswith(b"HTTP/1.1 503")
        writer.close()
        await writer.wait_closed()

    holding(test)


@pytest.mark.parametrize(
    "said", [b"", b"GET / HT", b"\x16\x03\x01\x02\x00" + b"\xff" * 80_000], ids=["nothing", "half", "tls"]
)
def test_a_client_that_is_none_or_leaves_is_let_go_and_the_next_one_is_served(said: bytes) -> None:
    async def test(page: HoldPage, listener: socket.socket) -> None:
        await page.show(BROKEN, [listener])
        reader, writer = await asyncio.open_connection(*listener.getsockname())
        writer.write(said)
        writer.write_eof()
        try:
            assert await reader.read() == b""
        except ConnectionResetError:
            pass  # it was closed before all that was said was read
        writer.close()
        assert (await ask(listener, get())).status.startswith("HTTP/1.1 503")

    holding(test)


def test_a_newer_reason_takes_the_place_of_the_one_before() -> None:
    async def test(page: HoldPage, listener: socket.socket) -> None:
        await page.show(BROKEN, [listener])
        await page.show(Failure("prepare", "a later reason"), [listener])
        assert (await ask(listener, get())).body == "a later reason\n\nwaiting for a fix\n"

    holding(test)


def test_it_answers_on_every_listener() -> None:
    async def test(page: HoldPage, listener: socket.socket) -> None:
        with socket.create_server(("127.0.0.1", 0)) as other:
            await page.show(BROKEN, [listener, other])
            for sock in (listener, other):
                assert (await ask(sock, get())).status.startswith("HTTP/1.1 503")

    holding(test)


def test_hidden_it_accepts_no_more_at_once_and_the_listener_stays_for_the_program() -> None:
    async def test(page: HoldPage, listener: socket.socket) -> None:
        await page.show(BROKEN, [listener])
        assert (await ask(listener, get())).status.startswith("HTTP/1.1 503")
        client = socket.create_connection(listener.getsockname())
        page.hide()  # the connection waits in the backlog: not ours any more
        with client:
            for _ in range(5):
                await asyncio.sleep(0)
            listener.setblocking(False)
            accepted, _ = listener.accept()
            with accepted:
                accepted.sendall(b"the program")
                assert client.recv(100) == b"the program"

    holding(test)


def test_an_answer_that_has_begun_is_finished_after_it_was_hidden() -> None:
    async def test(page: HoldPage, listener: socket.socket) -> None:
        await page.show(BROKEN, [listener])
        reader, writer = await asyncio.open_connection(*listener.getsockname())
        writer.write(get()[:20].encode())
        await writer.drain()
        await ask(listener, get())  # accepted after the one before it: both are ours now
        page.hide()
        writer.write(get()[20:].encode())
        assert (await reader.readline()).startswith(b"HTTP/1.1 503")
        writer.close()
        await writer.wait_closed()

    holding(test)


def test_it_can_be_shown_hidden_and_shown_again() -> None:
    async def test(page: HoldPage, listener: socket.socket) -> None:
        for round_number in range(3):
            await page.show(Failure("prepare", f"round {round_number}"), [listener])
            assert f"round {round_number}" in (await ask(listener, get())).body
            page.hide()
            page.hide()

    holding(test)


def test_hidden_before_it_was_shown_to_the_end_it_shows_nothing() -> None:
    async def test(page: HoldPage, listener: socket.socket) -> None:
        showing = asyncio.create_task(page.show(BROKEN, [listener]))
        await asyncio.sleep(0)  # it has begun, and waits for its server
        page.hide()
        await showing
        with socket.create_connection(listener.getsockname()):
            listener.setblocking(False)
            accepted, _ = await asyncio.to_thread(until, listener.accept, what="a connection for the program")
            accepted.close()

    holding(test)


def test_what_cannot_be_encoded_is_shown_as_well_as_it_can_be() -> None:
    for accept in ("text/html", "text/plain"):
        _, body = render(Failure("prepare", "no file \udcff.py"), accept)
        assert b"no file ?.py" in body


def test_without_a_traceback_the_page_shows_the_reason_in_its_place() -> None:
    _, body = render(Failure("prepare", "it & it"), "text/html")
    assert body.count(b"it &amp; it") == 2
