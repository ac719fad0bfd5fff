"""WebSockets over an edit: what was on its way arrives once and in order at the code that should have it."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.e2e.kinds import CHOSEN, Kinds, kinds, start_kinds
from tests.e2e.talking import Talker
from tests.e2e.wires import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, Wire, frame, handshake

__all__ = ["kinds"]  # the fixture

pytestmark = [pytest.mark.timeout(180), pytest.mark.slow]


def test_a_message_in_fragments_goes_on_in_the_new_code(kinds: Kinds) -> None:
    with kinds.wire("/talk") as wire, kinds.wire("/talk") as binary:
        assert not wire.ask(1).resumed
        wire.send(frame(b"12", final=False))
        binary.send(
            frame(b"ab", BINARY, final=False) + frame(b"x", PING) + frame(b"cd", CONTINUATION, final=False)
        )
        assert binary.frame() == (PONG, True, b"x")
        kinds.edit()
        wire.send(frame(b"34", CONTINUATION, final=False) + frame(b"", PING) + frame(b"5", CONTINUATION))
        assert wire.frame() == (PONG, True, b"")
        assert wire.said() == (12345, str(kinds.version), True, 2)
        binary.send(frame(b"ef", CONTINUATION))
        assert binary.frame() == (BINARY, True, b"abcdef" + str(kinds.version).encode())


def test_a_frame_may_be_cut_at_any_byte(kinds: Kinds) -> None:
    short = frame(b"1234567")
    long = frame(
        b"123" + b" " * 200
    )  # with a length in two more bytes; what is asked for is read as a number
    cuts = [(short, at) for at in range(len(short) + 1)] + [(long, at) for at in [*range(10), len(long) - 1]]
    with ExitStack() as stack:
        wires = [stack.enter_context(kinds.wire("/talk")) for _ in cuts]
        for wire, (whole, at) in zip(wires, cuts, strict=True):
            wire.send(whole[:at])
        kinds.edit()
        for wire, (whole, at) in zip(wires, cuts, strict=True):
            wire.send(whole[at:] + frame(b"77"))
        for wire, (whole, at) in zip(wires, cuts, strict=True):
            number = 1234567 if whole is short else 123
            said = [wire.said(), wire.said()]
            assert [(one.number, one.served) for one in said] == [(number, 1), (77, 2)], (at, said)
            assert said[1].version == str(kinds.version)


def test_a_handshake_may_be_cut_at_any_byte(kinds: Kinds) -> None:
    with ExitStack() as stack:
        halves: list[tuple[Wire, bytes]] = []
        for at in range(1, len(handshake("/talk")), 9):
            whole = handshake("/talk")
            wire = stack.enter_context(kinds.wire())
            wire.send(whole[:at])
            halves.append((wire, whole[at:]))
        kinds.held(len(halves))
        kinds.edit()
        for wire, rest in halves:
            wire.send(rest)
        for wire, rest in halves:
            status, headers = wire.head()
            assert (status, headers.get("sec-websocket-extensions")) == (101, None), rest
            assert wire.ask(7) == (7, str(kinds.version), True, 1), rest


def test_a_ping_before_the_edit_has_its_pong(kinds: Kinds) -> None:
    with kinds.wire("/talk") as wire:
        wire.send(frame(b"are you there", PING))
        kinds.edit()
        assert wire.frame() == (PONG, True, b"are you there")
        wire.send(frame(b"and now", PING))
        assert wire.frame() == (PONG, True, b"and now")
        assert wire.ask(1).resumed


def test_a_subprotocol_stays_agreed(kinds: Kinds) -> None:
    with kinds.wire() as wire:
        assert wire.upgrade("/talk", "Sec-WebSocket-Protocol: two")["sec-websocket-protocol"] == "two"
        kinds.edit()
        assert wire.ask(1) == (1, str(kinds.version), True, 1)


def test_a_subprotocol_that_the_new_code_does_not_speak_closes_for_a_new_connection(kinds: Kinds) -> None:
    with kinds.wire() as spoken, kinds.wire() as plain:
        assert spoken.upgrade("/talk", "Sec-WebSocket-Protocol: one")["sec-websocket-protocol"] == "one"
        plain.upgrade("/talk")
        kinds.change('DIALECTS = ("one", "two")', 'DIALECTS = ("two",)')
        assert spoken.closed_with() == 1012
        assert plain.ask(1).resumed
        kinds.change('DIALECTS = ("two",)', 'DIALECTS = ("one", "two")')
        assert plain.ask(2).served == 2


def test_a_route_that_is_gone_closes_for_a_new_connection(kinds: Kinds) -> None:
    with kinds.wire("/extra") as gone, kinds.wire("/talk") as stays:
        assert gone.ask(1).served == 1
        since = len(kinds.run.records)
        kinds.change("EXTRA = True", "EXTRA = False")
        assert gone.closed_with() == 1012
        gone.send(frame(b"\x03\xf4", CLOSE))
        assert gone.ended()
        said = kinds.run.wait_event("info", since=since)["text"]
        assert said.startswith("1 connection closed: the new code answers with status 40"), said
        assert stays.ask(1).resumed
        kinds.change("EXTRA = False", "EXTRA = True")
        assert stays.ask(2).served == 2


def test_a_server_that_only_pushes_goes_on_with_its_next_number(kinds: Kinds) -> None:
    with kinds.wire("/push") as wire:
        heard = [wire.said() for _ in range(20)]
        kinds.edit()
        while not heard[-1].resumed:
            heard.append(wire.said())
        heard += [wire.said() for _ in range(5)]
        assert [said.number for said in heard] == list(range(1, len(heard) + 1))
        assert heard[-1].version == str(kinds.version)


def test_a_handler_that_waits_between_receive_and_send_finishes_what_it_has_taken(kinds: Kinds) -> None:
    with kinds.wire("/slow") as wire:
        wire.send(b"".join(frame(b"%d" % number) for number in range(1, 11)))
        first = wire.said()
        kinds.edit()
        heard = [first, *(wire.said() for _ in range(9))]
        assert [said.number for said in heard] == list(range(1, 11))
        assert [said.served for said in heard] == list(range(1, 11))
        assert wire.ask(11) == (11, str(kinds.version), True, 11)


def test_a_slow_reader_gets_every_byte_once_and_in_order(kinds: Kinds) -> None:
    with kinds.wire(receive_buffer=4096) as wire:
        wire.upgrade("/talk")
        wire.send(frame(b"big"))
        head = wire.exactly(10 + 5)  # it has begun
        kinds.edit()
        assert head == bytes([0x82, 127]) + (65536).to_bytes(8, "big") + b"\0" * 5
        assert wire.exactly(65531) == b"\0" * 65531
        for number in range(1, 80):
            assert wire.frame() == (BINARY, True, bytes([number]) * 65536), number
        wire.send(frame(b"7"))
        assert wire.said() == (7, str(kinds.version), True, 1)


def test_clients_that_leave_during_the_reload_leave_no_ghost(kinds: Kinds) -> None:
    with kinds.wire("/talk") as stays:
        stays.ask(1)
        gone = [kinds.wire("/talk") for _ in range(4)]
        polite, half, abrupt, silent = gone
        for wire in gone:
            wire.ask(1)
        kinds.held(5)
        kinds.save_edit()
        polite.send(frame(b"\x03\xe8", CLOSE))
        half.send(frame(b"12")[:3])
        abrupt.send(frame(b"12"))
        for wire in gone:
            wire.sock.close()
        kinds.run.wait_reload("committed", timeout=60)
        assert silent.sock.fileno() < 0
        assert stays.ask(2) == (2, str(kinds.version), True, 2)
        kinds.held_exactly(1)
        assert stays.ask(3).served == 3


def test_policy_drain_leaves_a_websocket_to_the_old_code(kinds: Kinds) -> None:
    with kinds.wire("/drain") as wire, kinds.wire("/talk") as other:
        before = wire.ask(1)
        other.ask(1)
        record = kinds.edit()
        assert record["connections"]["left"] == {"the handler's policy is 'drain'": 1}
        assert other.ask(2).version == str(kinds.version)
        assert wire.ask(2) == (2, before.version, False, 2)
        wire.send(frame(b"\x03\xe8", CLOSE))
        assert wire.closed_with() == 1000


@pytest.mark.parametrize("talker", CHOSEN, ids=lambda talker: talker.name)
def test_policy_drain_ends_with_the_grace(talker: Talker, tmp_path: Path) -> None:
    for run in start_kinds(tmp_path, talker, "--timeout-graceful-shutdown", "1"):
        with run.wire("/drain") as wire:
            before = wire.ask(1)
            record = run.edit()
            assert record["connections"]["left"] == {"the handler's policy is 'drain'": 1}
            assert wire.ask(2).version == before.version
            assert wire.closed_with() == 1012  # the client goes on talking for ever, so the old code has to
            run.old_one_is_gone()


def test_policy_close_closes_for_a_new_connection(kinds: Kinds) -> None:
    with kinds.wire("/close") as wire:
        wire.ask(1)
        record = kinds.edit()
        assert record["connections"]["left"] == {"the handler's policy is 'close'": 1}
        assert wire.closed_with() == 1012


def test_a_text_and_a_binary_message_go_to_the_code_that_is_there(kinds: Kinds) -> None:
    with kinds.wire("/talk") as wire:
        wire.send(frame(b"\x00\xff", BINARY))
        assert wire.frame() == (BINARY, True, b"\x00\xff" + str(kinds.version).encode())
        kinds.edit()
        wire.send(frame(b"\x00\xff", BINARY) + frame(b"5", TEXT))
        assert wire.frame() == (BINARY, True, b"\x00\xff" + str(kinds.version).encode())
        assert wire.said().number == 5


def test_handlers_of_the_old_code_end_in_silence(kinds: Kinds) -> None:
    paths = ("/talk", "/slow", "/push", "/drain")
    with ExitStack() as stack:
        wires = [stack.enter_context(kinds.wire(path)) for path in paths]
        events = stack.enter_context(kinds.wire())
        events.send(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n")
        assert events.head()[0] == 200
        events.chunk()
        kinds.held(5)
        kinds.old_one_is_gone()
        before = len(kinds.run.stderr), len(kinds.run.output)
        record = kinds.edit()
        assert record["connections"]["kept"] == 4
        wires[3].send(frame(b"\x03\xe8", CLOSE))
        assert wires[3].closed_with() == 1000
        kinds.old_one_is_gone()
        # the new code may say something: uvicorn warns of its older implementations
        said = [*kinds.run.stderr[before[0] :], *kinds.run.output[before[1] :]]
        loud = ("Traceback", "Error", "Exception", "destroyed", "never awaited")
        assert not [line for line in said if any(word in line for word in loud)]
        assert wires[0].ask(1).resumed
