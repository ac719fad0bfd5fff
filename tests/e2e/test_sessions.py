"""Sessions that begin inside of a WebSocket: they go on over edits, or their clients hear that they end."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections.abc import Coroutine
from typing import Any

import pytest
import socketio
import websockets
from websockets.typing import Subprotocol

from livereload_core.testing import LivecoreProcess, scaled
from tests.e2e.launching import Launcher

EDITS = scaled(6, least=3)

EVENTS = """
import os

import socketio

from livereload_core import connection, preserve

VERSION = "1"
names = preserve("names", dict)


class Events(socketio.AsyncNamespace):
    async def on_connect(self, sid, environ, auth):
        if auth != {"token": "secret"}:
            raise ConnectionRefusedError("who are you?")
        if not connection().resumed:
            await self.emit("welcome", VERSION, to=sid)

    async def on_name(self, sid, name):
        names[sid] = name
        return VERSION

    async def on_who(self, sid):
        return [VERSION, sid, names.get(sid)]

    async def on_pid(self, sid):
        return os.getpid()

    async def on_join(self, sid, room):
        await self.enter_room(sid, room)

    async def on_leave(self, sid, room):
        await self.leave_room(sid, room)

    async def on_shout(self, sid, room, text):
        await self.emit("said", [VERSION, text], room=room)


def register(sio):
    sio.register_namespace(Events("/"))
    sio.register_namespace(Events("/other"))
"""
ASGI = """
import socketio

from events import register

sio = socketio.AsyncServer(async_mode="asgi")
register(sio)
app = socketio.ASGIApp(sio)
"""
AIOHTTP = """
import socketio
from aiohttp import web

from events import register

sio = socketio.AsyncServer(async_mode="aiohttp")
register(sio)
app = web.Application()
sio.attach(app)
"""
SERVERS = {"asgi": ASGI, "aiohttp": AIOHTTP}

ROUTES = """
from aiohttp import web

from livereload_core import connection, reload_policy

VERSION = "1"


async def serve(request):
    ws = web.WebSocketResponse(protocols=request.headers.get("Sec-WebSocket-Protocol", "").split(", "))
    await ws.prepare(request)
    async for message in ws:
        await ws.send_str(f"{VERSION} {message.data}")
    return ws


@reload_policy("resume")
async def chosen(request):
    return await serve(request)


@reload_policy("close")
async def closed(request):
    return await serve(request)


async def own(request):
    ws = web.WebSocketResponse()
    await ws.prepare(request)
    state = connection().state
    if "user" not in state:
        state["user"] = await ws.receive_str()
    async for message in ws:
        await ws.send_str(f"{VERSION} {state['user']} {message.data}")
    return ws


async def unfit(request):
    connection().state["later"] = (number for number in range(3))
    return await serve(request)


app = web.Application()
app.router.add_get("/unfit", unfit)
app.router.add_get("/own", own)
app.router.add_get("/chosen", chosen)
app.router.add_get("/closed", closed)
app.router.add_get("/{rest:.*}", serve)
"""


@pytest.fixture(params=SERVERS)
def program(livecore: Launcher, request: pytest.FixtureRequest) -> LivecoreProcess:
    return livecore.program("app:app", files={"app.py": SERVERS[request.param], "events.py": EVENTS})


class Client:
    """A real client, in WebSocket-only mode unless told otherwise, that never comes again by itself."""

    def __init__(self, run: LivecoreProcess, *, transport: str = "websocket", again: bool = False) -> None:
        self.sio = socketio.AsyncClient(reconnection=again, reconnection_delay=0.05)
        self.heard: asyncio.Queue[tuple[str, Any]] = asyncio.Queue()
        self.lost: list[Any] = []
        self.connects = 0
        self._url = f"http://127.0.0.1:{run.port}"
        self._transports = ["websocket"] if transport == "websocket" else ["polling", "websocket"]

    async def __aenter__(self) -> Client:
        for namespace in ("/", "/other"):
            self.sio.on("connect", self._connected, namespace=namespace)
            self.sio.on("disconnect", self.lost.append, namespace=namespace)
            self.sio.on(
                "welcome", lambda version: self.heard.put_nowait(("welcome", version)), namespace=namespace
            )
            self.sio.on("said", lambda what: self.heard.put_nowait(("said", what)), namespace=namespace)
        await self.sio.connect(
            self._url,
            auth={"token": "secret"},
            namespaces=["/", "/other"],
            transports=self._transports,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.sio.disconnect()

    async def _connected(self) -> None:
        self.connects += 1

    async def ask(self, event: str, *args: Any, namespace: str = "/") -> Any:
        return await self.sio.call(event, args, namespace=namespace, timeout=10)

    async def hear(self) -> tuple[str, Any]:
        return await asyncio.wait_for(self.heard.get(), 10)


async def _edit(run: LivecoreProcess, version: int) -> dict[str, Any]:
    run.edit("events.py", f'VERSION = "{version - 1}"', f'VERSION = "{version}"')
    return await asyncio.to_thread(run.wait_reload, "committed")


def _run(main: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(main, 60))


def test_socketio_session_goes_on_over_edits_under_its_names(program: LivecoreProcess) -> None:
    async def main() -> None:
        async with Client(program) as client:
            names = {space: client.sio.get_sid(space) for space in ("/", "/other")}
            assert [await client.hear(), await client.hear()] == [("welcome", "1")] * 2
            for space, name in names.items():
                assert await client.ask("name", f"Ann of {space}", namespace=space) == "1"
                assert name
            await client.ask("join", "red")
            for version in range(2, EDITS + 2):
                await _edit(program, version)
                for space, name in names.items():
                    answer = await client.ask("who", namespace=space)
                    assert answer == [str(version), name, f"Ann of {space}"]
                await client.ask("shout", "red", "hello")
                assert await client.hear() == ("said", [str(version), "hello"])
            assert client.lost == []
            assert client.connects == 2

    _run(main())


def test_socketio_events_under_edits_are_each_answered_once(program: LivecoreProcess) -> None:
    async def main() -> None:
        async with Client(program) as client:
            versions: list[str] = []

            async def chat() -> None:
                while versions[-1:] != [str(EDITS + 1)]:
                    versions.append((await client.ask("who"))[0])

            chatting = asyncio.create_task(chat())
            for version in range(2, EDITS + 2):
                await _edit(program, version)
            await chatting
            assert versions == sorted(versions, key=int)
            assert client.lost == []

    _run(main())


def test_socketio_client_that_left_a_room_is_not_in_it_after_an_edit(program: LivecoreProcess) -> None:
    async def main() -> None:
        async with Client(program) as client, Client(program) as other:
            for each in (client, other):
                await each.hear(), await each.hear()
                await each.ask("join", "red")
            await client.ask("leave", "red")
            await _edit(program, 2)
            await client.ask("shout", "red", "anybody?")
            assert await other.hear() == ("said", ["2", "anybody?"])
            await client.ask("who")
            assert client.heard.empty()

    _run(main())


def test_socketio_client_that_the_new_code_refuses_hears_that_it_ends(program: LivecoreProcess) -> None:
    async def main() -> None:
        async with Client(program) as client:
            program.edit("events.py", '"secret"', '"other"')
            await asyncio.to_thread(program.wait_reload, "committed")
            await asyncio.wait_for(client.sio.wait(), 10)
            assert not client.sio.connected
            assert len(client.lost) == 2

    _run(main())


@pytest.mark.parametrize("edits", [0, 1, 2])
def test_socketio_session_goes_on_when_the_program_is_killed(program: LivecoreProcess, edits: int) -> None:
    async def main() -> None:
        async with Client(program) as client:
            name = client.sio.get_sid()
            for version in range(2, edits + 2):
                await _edit(program, version)
            await client.ask("who")
            os.kill(await client.ask("pid"), signal.SIGKILL)
            assert (await client.ask("who"))[:2] == [str(edits + 1), name]
            assert client.lost == []

    _run(main())


def test_socketio_client_that_began_with_requests_comes_again_by_itself(program: LivecoreProcess) -> None:
    async def main() -> None:
        async with Client(program, transport="any", again=True) as client:
            assert [await client.hear(), await client.hear()] == [("welcome", "1")] * 2
            assert client.sio.transport() == "websocket"
            await _edit(program, 2)
            assert [await client.hear(), await client.hear()] == [("welcome", "2")] * 2
            assert (await client.ask("who"))[0] == "2"

    _run(main())


@pytest.mark.parametrize(
    ("path", "subprotocol", "first"),
    [
        ("/graphql", "graphql-transport-ws", '{"type":"connection_init"}'),
        ("/graphql", "graphql-ws", '{"type":"connection_init"}'),
        ("/", "mqtt", "CONNECT"),
        ("/", "v12.stomp", "CONNECT\n\n\0"),
        ("/", "wamp.2.json", "[1]"),
        ("/socket.io/?EIO=3&transport=websocket", None, "40"),
        ("/hub", None, '{"protocol":"json","version":1}\x1e'),
        ("/closed", None, "whoever I am"),
    ],
)
def test_session_that_the_new_code_would_not_know_is_closed_so_that_its_client_comes_again(
    livecore: Launcher, path: str, subprotocol: str | None, first: str
) -> None:
    run = livecore.program("app:app", files={"app.py": ROUTES})

    async def main() -> None:
        subprotocols = None if subprotocol is None else [Subprotocol(subprotocol)]
        url = f"ws://127.0.0.1:{run.port}{path}"
        async with websockets.connect(url, subprotocols=subprotocols) as client:
            await client.send(first)
            assert await client.recv() == f"1 {first}"
            run.edit("app.py", 'VERSION = "1"', 'VERSION = "2"')
            with pytest.raises(websockets.ConnectionClosed) as closed:
                await client.recv()
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1012
        async with websockets.connect(url, subprotocols=subprotocols) as client:
            await client.send(first)
            assert await client.recv() == f"2 {first}"

    _run(main())


def test_session_whose_handler_asks_to_go_on_is_taken_at_its_word(livecore: Launcher) -> None:
    run = livecore.program("app:app", files={"app.py": ROUTES})

    async def main() -> None:
        url = f"ws://127.0.0.1:{run.port}/chosen"
        async with websockets.connect(url, subprotocols=[Subprotocol("graphql-ws")]) as client:
            await client.send("one")
            assert await client.recv() == "1 one"
            run.edit("app.py", 'VERSION = "1"', 'VERSION = "2"')
            await asyncio.to_thread(run.wait_reload, "committed")
            await client.send("two")
            assert await client.recv() == "2 two"

    _run(main())


def test_handshake_of_the_programs_own_is_kept_in_the_state_of_the_connection(livecore: Launcher) -> None:
    run = livecore.program("app:app", files={"app.py": ROUTES})

    async def main() -> None:
        async with websockets.connect(f"ws://127.0.0.1:{run.port}/own") as client:
            await client.send("Ann")
            await client.send("one")
            assert await client.recv() == "1 Ann one"
            run.edit("app.py", 'VERSION = "1"', 'VERSION = "2"')
            await asyncio.to_thread(run.wait_reload, "committed")
            await client.send("two")
            assert await client.recv() == "2 Ann two"

    _run(main())


def test_state_of_a_connection_that_cannot_be_carried_is_named_as_the_program_names_it(
    livecore: Launcher,
) -> None:
    run = livecore.program("app:app", files={"app.py": ROUTES})

    async def main() -> None:
        async with websockets.connect(f"ws://127.0.0.1:{run.port}/unfit") as client:
            await client.send("one")
            assert await client.recv() == "1 one"
            run.edit("app.py", 'VERSION = "1"', 'VERSION = "2"')
            record = await asyncio.to_thread(run.wait_reload, "rejected")
            assert re.match(
                r'connection\(\)\.state\[\d+\]\["later"\]: a generator', record["failure"]["reason"]
            )
            await client.send("two")
            assert await client.recv() == "1 two"

    _run(main())
