"""Sessions inside of a WebSocket: which protocol it is, what of it is kept, and how it is played again."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies

from livereload_core.framing.heads import RequestHead, ResponseHead
from livereload_core.framing.sessions import Rehearsal, Session, recognise, whole_frames

MASK = b"\x01\x02\x03\x04"
OPEN = b'0{"sid":"outer","upgrades":[],"pingInterval":25000}'
CONNECTED = b'40{"sid":"inner"}'
OTHER = b'40/other,{"sid":"third"}'


def client(payload: bytes, first: int = 0x81) -> bytes:
    masked = bytes(byte ^ MASK[at % 4] for at, byte in enumerate(payload))
    return bytes((first, 0x80 | len(payload))) + MASK + masked


def server(payload: bytes, first: int = 0x81) -> bytes:
    return bytes((first, len(payload))) + payload


def opened(target: str = "/", subprotocol: str | None = None) -> Session:
    request = RequestHead.parse(
        f"GET {target} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n".encode()
    )
    chosen = f"Sec-WebSocket-Protocol: {subprotocol}\r\n" if subprotocol else ""
    response = ResponseHead.parse(
        f"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: upgrade\r\n{chosen}\r\n".encode()
    )
    assert request is not None
    assert response is not None
    return recognise(request, response)


def socketio() -> Session:
    return opened("/socket.io/?EIO=4&transport=websocket")


def connected() -> Session:
    session = socketio()
    session.answered(server(OPEN))
    session.sent(client(b"40"))
    session.answered(server(CONNECTED))
    return session


@pytest.mark.parametrize(
    ("subprotocol", "name"),
    [
        ("graphql-ws", "graphql-ws"),
        ("graphql-transport-ws", "graphql-ws"),
        ("mqtt", "MQTT"),
        ("MQTT", "MQTT"),
        ("v10.stomp", "STOMP"),
        ("v11.stomp", "STOMP"),
        ("v12.stomp", "STOMP"),
        ("wamp.2.json", "WAMP"),
        ("wamp.2.msgpack.batched", "WAMP"),
    ],
)
def test_protocol_is_known_by_its_subprotocol_and_lost(subprotocol: str, name: str) -> None:
    session = opened(subprotocol=subprotocol)
    assert (session.name, session.loses, session.followed) == (name, True, False)


@pytest.mark.parametrize("subprotocol", [None, "chat", "graphql", "stomp", "wampum"])
def test_other_websockets_have_no_session(subprotocol: str | None) -> None:
    session = opened("/chat?EIO=4", subprotocol)
    assert not session.loses
    assert not session.sent(client(b'{"type":"hello"}'))
    assert session.name == ""


@pytest.mark.parametrize(
    ("target", "followed"),
    [
        ("/socket.io/?EIO=4&transport=websocket", True),
        ("/anywhere?transport=websocket&EIO=4&t=1", True),
        ("/engine.io/?EIO=4&transport=websocket", True),
        ("/socket.io/?EIO=4&transport=websocket&sid=outer", False),
        ("/socket.io/?EIO=3&transport=websocket", False),
        ("/socket.io/", False),
    ],
)
def test_socketio_is_known_by_its_address_and_followed_when_it_began_as_a_websocket(
    target: str, followed: bool
) -> None:
    session = opened(target)
    assert session.name == "Socket.IO"
    assert session.followed is followed
    assert session.loses is not followed


@pytest.mark.parametrize(
    ("message", "is_one"),
    [
        (b'{"protocol":"json","version":1}\x1e', True),
        (b'{"protocol":"messagepack","version":1}\x1e{"type":6}\x1e', True),
        (b'{"protocol":"json","version":1}', False),
        (b'{"protocol":"json"}\x1e', False),
        (b"{not json}\x1e", False),
        (b"[1]\x1e", False),
        (b"", False),
    ],
)
def test_signalr_is_known_by_its_first_message(message: bytes, is_one: bool) -> None:
    session = opened("/hub?id=1")
    assert session.sent(client(message)) is is_one
    assert session.loses is is_one
    later = opened("/hub?id=1")
    later.restore(session.prologue, session.answers)
    assert later.loses is is_one


def test_signalr_is_not_looked_for_in_later_messages() -> None:
    session = opened("/hub")
    session.sent(client(b"hello"))
    assert not session.sent(client(b'{"protocol":"json","version":1}\x1e'))
    assert not session.loses


def test_socketio_handshake_is_settled_while_the_client_has_every_answer() -> None:
    session = socketio()
    settled = [session.is_settled]
    for step, data in (
        (session.answered, server(OPEN)),
        (session.sent, client(b"40")),
        (session.answered, server(CONNECTED)),
        (session.sent, client(b"40/other,")),
        (session.answered, server(OTHER)),
    ):
        step(data)
        settled.append(session.is_settled)
    assert settled == [False, True, False, True, False, True]


def test_socketio_handshake_is_kept_and_told() -> None:
    session = socketio()
    assert session.answered(server(OPEN))
    assert session.sent(client(b'40{"token":"secret"}'))
    assert session.answered(server(CONNECTED))
    assert session.sent(client(b"40/other,"))
    assert session.answered(server(b'42["welcome"]') + server(OTHER))
    assert not session.sent(client(b'42["event"]'))
    assert not session.sent(client(b"3"))
    assert not session.answered(server(b'42["event"]') + server(b"2") + server(b"", 0x89))
    assert session.prologue == client(b'40{"token":"secret"}') + client(b"40/other,")
    assert session.answers == server(OPEN) + server(CONNECTED) + server(OTHER)
    assert session.ids() == ["outer", "inner", "third"]


def test_socketio_handshake_survives_being_told() -> None:
    session = connected()
    later = socketio()
    later.answered(server(b'0{"sid":"new"}'))  # what the new code says meanwhile is not what the client knows
    later.restore(session.prologue, session.answers)
    assert (later.prologue, later.answers, later.ids()) == (
        session.prologue,
        session.answers,
        ["outer", "inner"],
    )


@pytest.mark.parametrize("who", ["client", "server"])
def test_socketio_namespace_that_was_left_is_not_played_again(who: str) -> None:
    session = connected()
    session.sent(client(b"40/other,"))
    session.answered(server(OTHER))
    if who == "client":
        assert session.sent(client(b"41/other,"))
    else:
        assert session.answered(server(b"41/other,"))
    assert session.prologue == client(b"40")
    assert session.ids() == ["outer", "inner"]


def test_socketio_namespace_that_was_refused_is_not_played_again() -> None:
    session = connected()
    session.sent(client(b"40/other,"))
    session.answered(server(b'44/other,{"message":"no"}'))
    assert session.is_settled
    assert session.prologue == client(b"40")


@pytest.mark.parametrize("message", [client(b"\x83\xa4type", 0x82), client(b'42["event"]')])
def test_socketio_in_another_coding_is_lost_also_to_whoever_comes_next(message: bytes) -> None:
    session = socketio()
    session.answered(server(OPEN))
    assert session.sent(message)
    assert session.loses
    later = socketio()
    later.restore(session.prologue, session.answers)
    assert later.loses


def test_engineio_alone_is_followed_without_a_prologue() -> None:
    session = opened("/engine.io/?EIO=4&transport=websocket")
    session.answered(server(OPEN))
    assert not session.sent(client(b"40 is what the program itself says"))
    assert session.is_settled
    assert session.prologue == b""
    assert session.ids() == ["outer"]


def test_rehearsal_swallows_the_answers_and_lets_all_else_through() -> None:
    rehearsal = Rehearsal(connected())
    assert rehearsal.answers(server(b'0{"sid":"new"}')) == (b"", "")
    assert not rehearsal.is_over
    welcome, ping = server(b'42["welcome"]'), server(b"2")
    assert rehearsal.answers(welcome + server(b'40{"sid":"new"}') + ping) == (welcome + ping, "")
    assert rehearsal.is_over


def test_rehearsal_passes_on_an_unfinished_frame_once_it_is_over() -> None:
    rehearsal = Rehearsal(connected())
    said = server(OPEN) + server(CONNECTED) + server(b'42["welcome"]')
    seen, reason = rehearsal.answers(said[:-3])
    assert (seen, reason) == (server(b'42["welcome"]')[:-3], "")


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (server(b'44{"message":"no"}'), "the new code refused its session"),
        (server(b"41"), "the new code refused its session"),
        (server(b"\x03\xe8", 0x88), "the new code closed it"),
    ],
)
def test_rehearsal_tells_that_the_new_code_does_not_go_on(said: bytes, reason: str) -> None:
    assert Rehearsal(connected()).answers(server(OPEN) + said) == (b"", reason)


@given(strategies.lists(strategies.binary(max_size=100), max_size=6), strategies.binary(max_size=3))
def test_frames_are_split_and_the_rest_is_kept(payloads: list[bytes], rest: bytes) -> None:
    unfinished = b"\x81\x7d" + rest
    frames, left = whole_frames(b"".join(map(client, payloads)) + unfinished)
    assert [frame.payload for frame in frames] == payloads
    assert b"".join(frame.raw for frame in frames) == b"".join(map(client, payloads))
    assert left == unfinished


@given(strategies.integers(min_value=0), strategies.binary(max_size=40))
def test_cuts_and_garbage_of_the_server_do_no_harm(cut: int, garbage: bytes) -> None:
    said = server(OPEN) + server(b"2") + server(CONNECTED)
    session = socketio()
    session.sent(client(b"40"))
    cut %= len(said)
    session.answered(said[:cut])
    session.answered(said[cut:])
    assert session.ids() == ["outer", "inner"]
    session.answered(garbage)
    assert session.prologue == client(b"40")
