"""Raw TCP, IPv6 and Unix sockets over an edit, and all kinds of clients of one program at once."""

from __future__ import annotations

import itertools
import os
import socket
from contextlib import ExitStack
from pathlib import Path

import pytest

from livereload_core.testing import Load, free_port, scaled, until
from livereload_core.testing.link_clients import KeepAliveClient, LineClient, WebSocketClient
from livereload_core.testing.links import Crowd, read_answer
from tests.e2e.kinds import KINDS, start_kinds
from tests.e2e.launching import Launcher
from tests.e2e.talking import TALKERS, Talk, Talker, break_in_start_up, break_syntax, mend
from tests.e2e.wires import Wire

pytestmark = [pytest.mark.timeout(300), pytest.mark.slow]

EDITS = int(os.environ.get("LIVECORE_TEST_EDITS", "10"))
"""Edits of the great test, one in three of them broken."""
RAW = [talker for talker in TALKERS if talker.kinds == "l"]
STREAMS = "streams_talk"


@pytest.mark.parametrize("talker", RAW, ids=lambda talker: talker.name)
def test_a_line_may_be_cut_at_any_byte(livecore: Launcher, talker: Talker) -> None:
    talk = talker.start(livecore)
    talk.answers()
    whole = b"11\n1234567\n"
    cuts = [at for at in range(len(whole) + 1) for _ in range(2)]
    with ExitStack() as stack:
        wires = [stack.enter_context(Wire(talk.run.port)) for _ in cuts]
        for wire, at in zip(wires, cuts, strict=True):
            wire.send(whole[:at])
        until(
            lambda: talk.run.status()["connections"] == len(cuts), timeout=30, what="all held by the parent"
        )
        assert talk.edit()["connections"] == {"kept": len(cuts), "left": {}}
        for wire, at in zip(wires, cuts, strict=True):
            wire.send(whole[at:] + b"7\n")
        for wire, at in zip(wires, cuts, strict=True):
            said = [read_answer(wire.until(b"\n").decode()) for _ in range(3)]
            assert [(one.number, one.served) for one in said] == [(11, 1), (1234567, 2), (7, 3)], at
            assert said[-1].resumed
            assert said[-1].version == str(talk.version)


def test_clients_of_a_unix_socket_go_over(livecore: Launcher, tmp_path: Path) -> None:
    path = tmp_path / "lines.sock"
    talk = Talker("unix", STREAMS, "l").start(livecore, place=str(path))
    until(path.exists, what="the socket")
    _edits_cost_nothing(talk, [LineClient(path, name=f"unix {n}") for n in range(6)])


def test_clients_over_ipv6_go_over(livecore: Launcher) -> None:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError as error:
        pytest.skip(f"this machine has no ::1: {error}")
    port = free_port()
    talk = Talker("ipv6", STREAMS, "l", args=("::1",)).start(livecore, place=str(port))

    def listens() -> bool:
        with socket.create_connection(("::1", port)):
            return True

    until(listens, what="a listener on ::1")
    _edits_cost_nothing(talk, [LineClient(("::1", port), name=f"ipv6 {n}") for n in range(6)])


def _edits_cost_nothing(talk: Talk, clients: list[LineClient]) -> None:
    with Crowd() as crowd:
        crowd.join(clients)
        for step in (talk.edit, lambda: break_in_start_up(talk), lambda: mend(talk)):
            crowd.exchanged(5)
            step()
            crowd.exchanged(5)
        crowd.rest()
        assert talk.edit()["connections"] == {"kept": len(clients), "left": {}}
        crowd.go_on()
        crowd.all_heard(str(talk.version))
    crowd.assert_flawless()


@pytest.mark.timeout(600)
def test_a_hundred_websockets_twenty_kept_alive_and_twenty_raw_clients_lose_nothing(tmp_path: Path) -> None:
    for talk in start_kinds(tmp_path, KINDS[0]):
        port = talk.run.port
        with Crowd(pace=0.2) as crowd:
            crowd.join(WebSocketClient(port, name=f"websocket {n}") for n in range(100))
            crowd.join(KeepAliveClient(port, name=f"keep-alive {n}") for n in range(20))
            crowd.join(LineClient(talk.lines, name=f"line {n}") for n in range(20))
            with Load(port, rate=min(200, scaled(200, least=80)), timeout=60) as load:
                steps = itertools.cycle([Talk.edit, break_syntax, mend, Talk.edit, break_in_start_up, mend])
                for step in itertools.islice(steps, EDITS):
                    crowd.exchanged(2)
                    step(talk)
                    crowd.exchanged(2)
                mend(talk)
            load.assert_flawless()
            crowd.rest()
            assert talk.edit()["connections"] == {"kept": 140, "left": {}}
            crowd.go_on()
            crowd.all_heard(str(talk.version))
        crowd.assert_flawless()


UNHELD = """
import asyncio, gc
async def answer(reader, writer):
    while line := await reader.readline():
        writer.write(b"got " + line)
        await writer.drain()
async def serve():
    await asyncio.start_unix_server(answer, "lines.sock")
    gc.collect()
    await asyncio.Event().wait()
def main():
    import uvloop
    uvloop.run(serve())
"""


def test_unix_server_that_the_program_does_not_hold_goes_on(livecore: Launcher) -> None:
    run = livecore.program("m:main", files={"m.py": UNHELD}, serves=False)
    until((run.cwd / "lines.sock").exists, what="the socket")
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(20)
        client.connect(str(run.cwd / "lines.sock"))
        client.sendall(b"a\n")
        assert client.recv(100) == b"got a\n"
