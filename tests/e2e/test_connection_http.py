"""HTTP connections over an edit: kept alive, half used, pipelined, in flight up and down, and streams."""

from __future__ import annotations

import hashlib
from contextlib import ExitStack
from pathlib import Path

import pytest

from livereload_core.testing.links import read_answer
from tests.e2e.kinds import Kinds, kinds
from tests.e2e.wires import Wire, request

__all__ = ["kinds"]  # the fixture

pytestmark = [pytest.mark.timeout(180), pytest.mark.slow]

PIECES = [bytes([number]) * 16384 for number in range(32)]
"""What /download sends."""


def test_half_a_head_before_the_edit_and_the_rest_after_it_is_one_request(kinds: Kinds) -> None:
    whole = request(2)
    cuts = range(1, len(whole), 5)
    with ExitStack() as stack:
        wires = [stack.enter_context(kinds.wire()) for _ in cuts]
        for wire, at in zip(wires, cuts, strict=True):
            assert not wire.get(1).resumed
            wire.send(whole[:at])
        kinds.edit()
        for wire, at in zip(wires, cuts, strict=True):
            wire.send(whole[at:])
            assert read_answer(wire.answer().decode()) == (2, str(kinds.version), True, 2), at


def test_a_head_in_two_pieces_is_one_request_without_any_edit(kinds: Kinds) -> None:
    with kinds.wire() as wire:
        for number in range(1, 6):
            wire.send(request(number)[: 5 * number])
            kinds.held(1)  # by then the first piece has been read
            wire.send(request(number)[5 * number :])
            assert read_answer(wire.answer().decode()).number == number


def test_half_a_head_of_a_first_request_is_carried_too(kinds: Kinds) -> None:
    with kinds.wire() as wire:
        wire.send(request(1)[:20])
        kinds.held(1)
        kinds.edit()
        wire.send(request(1)[20:])
        assert read_answer(wire.answer().decode()) == (1, str(kinds.version), True, 1)


def test_pipelined_requests_across_the_edit_are_answered_once_and_in_order(kinds: Kinds) -> None:
    with kinds.wire() as wire:
        wire.get(1)
        kinds.save_edit()
        wire.send(b"".join(request(number) for number in range(2, 102)) + request(102)[:9])
        kinds.run.wait_reload("committed", timeout=60)
        wire.send(request(102)[9:])
        said = [read_answer(wire.answer().decode()) for _ in range(2, 103)]
        assert [one.number for one in said] == list(range(2, 103))
        assert [one.served for one in said] == list(range(2, 103))
        assert said[-1].version == str(kinds.version)


def test_a_wish_for_a_websocket_that_is_not_granted_leaves_an_ordinary_connection(kinds: Kinds) -> None:
    with kinds.wire() as wire:
        wire.send(
            b"GET /echo?n=1 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        )
        status, headers = wire.head()
        wire.exactly(int(headers.get("content-length", "0")))
        if status != 200 or headers.get("connection") == "close":
            pytest.skip(f"this server closes such a connection, with status {status}")
        assert wire.get(2).number == 2
        assert kinds.edit()["connections"] == {"kept": 1, "left": {}}
        assert wire.get(3).resumed


def test_an_upload_in_flight_is_finished_by_the_old_code_and_its_connection_goes_over_late(
    kinds: Kinds,
) -> None:
    body = b"0123456789abcdef" * 20_000
    with kinds.wire() as wire:
        wire.send(b"POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body[:5000])
        kinds.held(1)
        before = kinds.version
        record = kinds.edit()
        assert record["connections"] == {"kept": 0, "left": {"a request in flight": 1}}
        wire.send(body[5000:])
        assert wire.answer().decode() == f"{before} {hashlib.sha256(body).hexdigest()}"
        assert wire.get(1) == (1, str(kinds.version), True, 1)


def test_an_upload_that_waits_for_100_continue_is_not_disturbed(kinds: Kinds) -> None:
    body = b"0123456789abcdef" * 1000
    with kinds.wire() as wire:
        wire.send(
            b"POST /upload HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n"
            % len(body)
        )
        assert wire.until(b"\r\n\r\n").startswith(b"HTTP/1.1 100")
        before = kinds.version
        kinds.edit()
        wire.send(body)
        assert wire.answer().decode() == f"{before} {hashlib.sha256(body).hexdigest()}"
        assert wire.get(1) == (1, str(kinds.version), True, 1)


@pytest.mark.parametrize("sized", [True, False], ids=["sized", "chunked"])
def test_a_download_in_flight_is_finished_by_the_old_code_and_its_connection_goes_over_late(
    kinds: Kinds, sized: bool
) -> None:
    let_go = kinds.run.cwd / "let-go"
    let_go.unlink(missing_ok=True)
    with kinds.wire() as wire:
        wire.send(f"GET /download{'?sized=true' if sized else ''} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        status, headers = wire.head()
        assert (status, headers["x-version"]) == (200, str(kinds.version))
        begun = _pieces(wire, 16, chunked=not sized)
        record = kinds.edit()
        assert record["connections"] == {"kept": 0, "left": {"a request in flight": 1}}
        let_go.touch()
        assert begun + _pieces(wire, 16, chunked=not sized) == b"".join(PIECES)
        if not sized:
            assert wire.chunk() == b""
        assert wire.get(1) == (1, str(kinds.version), True, 1)


def test_a_download_that_the_client_reads_slowly_arrives_whole(kinds: Kinds, tmp_path: Path) -> None:
    (kinds.run.cwd / "let-go").touch()
    with kinds.wire(receive_buffer=4096) as wire:
        wire.send(b"GET /download HTTP/1.1\r\nHost: x\r\n\r\n")
        assert wire.head()[0] == 200
        kinds.edit()
        assert _pieces(wire, 32, chunked=True) == b"".join(PIECES)
        assert wire.chunk() == b""
        assert wire.get(1).resumed


def test_server_sent_events_go_on_behind_the_last_id(kinds: Kinds) -> None:
    with kinds.wire() as wire:
        wire.send(b"GET /events HTTP/1.1\r\nHost: x\r\nLast-Event-ID: 40\r\n\r\n")
        assert wire.head()[0] == 200
        heard = [_event(wire) for _ in range(10)]
        record = kinds.edit()
        assert record["connections"] == {"kept": 1, "left": {}}
        while heard[-1][1].split()[1] != str(kinds.version):
            heard.append(_event(wire))
        assert [number for number, _ in heard] == list(range(41, 41 + len(heard)))
        assert [int(data.split()[3]) for _, data in heard] == list(range(1, len(heard) + 1))


def test_clients_that_leave_in_the_midst_of_a_request_leave_no_ghost(kinds: Kinds) -> None:
    wires = [kinds.wire() for _ in range(3)]
    for wire in wires:
        wire.get(1)
    wires[0].send(b"GET /ec")
    wires[1].send(b"POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nabc")
    kinds.save_edit()
    for wire in wires:
        wire.sock.close()
    kinds.run.wait_reload("committed", timeout=60)
    kinds.held_exactly(0)


def _pieces(wire: Wire, number: int, *, chunked: bool) -> bytes:
    wanted = number * 16384
    if not chunked:
        return wire.exactly(wanted)
    found = b""
    while len(found) < wanted:
        found += wire.chunk()
    return found


def _event(wire: Wire) -> tuple[int, str]:
    """Read one event, which may come in several chunks."""
    text = b""
    while not text.endswith(b"\n\n"):
        text += wire.chunk()
    fields = dict(line.split(": ", 1) for line in text.decode().strip().split("\n"))
    return int(fields["id"]), fields["data"]
