"""WebSocket frames: nothing that the server has not dealt with is lost, in agreement with `websockets`."""

from __future__ import annotations

import pytest
from hypothesis import given, settings, strategies
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.protocol import OPEN, Protocol, Side
from websockets.server import ServerProtocol
from websockets.uri import parse_uri

from livereload_core.framing.websocket import ClientFrames, ServerFrames, accept_key, close_frame
from tests.unit.framing.cutting import assert_cuts_do_not_matter, cut_lengths, few, pieces

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
KEY = b"\x01\x02\x03\x04"


def frame(opcode: int, payload: bytes, *, fin: bool = True, key: bytes | None = KEY, rsv: int = 0) -> bytes:
    mask = 0 if key is None else 0x80
    size = len(payload)
    head = bytes([(0x80 if fin else 0) | rsv | opcode])
    if size < 126:
        head += bytes([mask | size])
    elif size < 1 << 16:
        head += bytes([mask | 126]) + size.to_bytes(2, "big")
    else:
        head += bytes([mask | 127]) + size.to_bytes(8, "big")
    if key is None:
        return head + payload
    return head + key + bytes(byte ^ key[at % 4] for at, byte in enumerate(payload))


class Script:
    """A stream with what it means: payloads of messages and pings in the order in which they end."""

    def __init__(self, stream: bytes, messages: list[bytes], pings: list[bytes]) -> None:
        self.stream, self.messages, self.pings = stream, messages, pings


@strategies.composite
def scripts(draw: strategies.DrawFn, masked: bool) -> Script:
    """Messages, whole and in fragments, with control frames anywhere between frames."""
    stream, messages, pings = b"", [], []
    keys = strategies.binary(min_size=4, max_size=4) if masked else strategies.none()
    payloads = strategies.one_of(
        strategies.binary(max_size=6), strategies.sampled_from([b"x" * 125, b"y" * 126, b"\x89\x80" * 70])
    )

    def controls() -> bytes:
        out = b""
        for opcode in draw(strategies.lists(strategies.sampled_from([PING, PONG]), max_size=2)):
            payload = draw(strategies.binary(max_size=5))
            out += frame(opcode, payload, key=draw(keys))
            if opcode == PING:
                pings.append(payload)
        return out

    for _ in range(draw(strategies.integers(0, 5))):
        parts = draw(strategies.lists(payloads, min_size=1, max_size=3))
        for place, part in enumerate(parts):
            stream += controls()
            final = place == len(parts) - 1
            stream += frame(CONTINUATION if place else BINARY, part, fin=final, key=draw(keys))
        messages.append(b"".join(parts))
    return Script(stream + controls(), messages, pings)


def peer(side: Side) -> Protocol:
    """A connection of `websockets` after its hand-shake."""
    if side is Side.SERVER:
        return ServerProtocol(state=OPEN, max_size=None)
    return ClientProtocol(parse_uri("ws://x/"), state=OPEN, max_size=None)


def understood(side: Side, *chunks: bytes) -> tuple[list[bytes], list[bytes], int | None]:
    """What `websockets` makes of a stream: messages, pings, and the code of a close."""
    protocol = peer(side)
    messages: list[bytes] = []
    pings, code = [], None
    open_message = False
    for chunk in chunks:
        protocol.receive_data(chunk)
    assert protocol.parser_exc is None
    for event in protocol.events_received():
        assert isinstance(event, Frame)
        if event.opcode is Opcode.PING:
            pings.append(bytes(event.data))
        elif event.opcode is Opcode.CLOSE:
            code = int.from_bytes(event.data[:2], "big")
        elif event.opcode is not Opcode.PONG:
            if open_message:
                messages[-1] += bytes(event.data)
            else:
                messages.append(bytes(event.data))
            open_message = not event.fin
    if open_message:
        messages.pop()
    return messages, pings, code


def client_state(framer: ClientFrames) -> object:
    return (
        list(framer.pending),
        framer.messages,
        framer.partial,
        framer.carried(),
        framer.held,
        framer.closing,
        framer.close_code,
        framer.broken,
    )


class CountingServerFrames(ServerFrames):
    def __init__(self) -> None:
        super().__init__()
        self.pongs: list[bytes] = []

    def feed(self, data: bytes | bytearray | memoryview) -> tuple[bytes, ...]:
        pongs = super().feed(data)
        self.pongs += pongs
        return pongs


def server_state(framer: CountingServerFrames) -> object:
    return (
        framer.pongs,
        framer.messages,
        framer.at_boundary,
        framer.mid_message,
        framer.remaining,
        framer.closing,
        framer.close_code,
        framer.broken,
    )


client_endings = strategies.sampled_from(
    [
        b"",
        close_frame(1001, "away", mask=KEY) + b"late",
        frame(TEXT, b"ab", fin=False),
        frame(PING, b"x" * 9)[:-1],
    ]
)
server_endings = strategies.sampled_from(
    [
        b"",
        close_frame(1011) + b"late",
        frame(TEXT, b"ab", fin=False, key=None),
        frame(PONG, b"ab", key=None)[:-1],
    ]
)


@few
@given(scripts(masked=True), client_endings, cut_lengths)
def test_cuts_of_what_a_client_sends_do_not_matter(script: Script, ending: bytes, lengths: list[int]) -> None:
    assert_cuts_do_not_matter(script.stream + ending, lengths, ClientFrames, client_state)


@few
@given(scripts(masked=False), server_endings, cut_lengths)
def test_cuts_of_what_a_server_sends_do_not_matter(script: Script, ending: bytes, lengths: list[int]) -> None:
    assert_cuts_do_not_matter(script.stream + ending, lengths, CountingServerFrames, server_state)


@few
@given(scripts(masked=True), strategies.binary(max_size=20), strategies.integers(0, 200), cut_lengths)
def test_garbage_never_raises_and_is_judged_alike_in_all_pieces(
    script: Script, noise: bytes, at: int, lengths: list[int]
) -> None:
    stream = script.stream[:at] + noise + script.stream[at + 1 :]
    assert_cuts_do_not_matter(stream, lengths, ClientFrames, client_state)
    assert_cuts_do_not_matter(stream, lengths, CountingServerFrames, server_state)


@few
@given(scripts(masked=True), strategies.data(), cut_lengths)
def test_a_successor_gets_exactly_what_was_not_dealt_with(
    script: Script, data: strategies.DataObject, lengths: list[int]
) -> None:
    cut = data.draw(strategies.integers(0, len(script.stream)))
    framer = ClientFrames()
    for piece in pieces(script.stream[:cut], lengths):
        framer.feed(piece)
    pings = [item.payload for item in framer.pending if item.kind == "ping"]
    taken = data.draw(strategies.integers(0, framer.messages))
    for count in (taken // 2, taken - taken // 2):
        framer.take(count)
    answered = data.draw(strategies.integers(0, len(pings)))
    for payload in pings[:answered]:
        framer.answered(payload)
    carried = framer.carried()
    messages, unanswered, _ = understood(Side.SERVER, carried, script.stream[cut:])
    assert messages == script.messages[taken:]
    assert unanswered == script.pings[answered:]
    successor = ClientFrames()
    successor.feed(carried)
    assert (successor.carried(), successor.partial) == (carried, framer.partial)


@settings(deadline=None, max_examples=8)
@given(scripts(masked=True))
def test_at_every_byte_a_successor_gets_the_rest(script: Script) -> None:
    framer = ClientFrames()
    for cut in range(len(script.stream) + 1):
        framer.feed(script.stream[cut - 1 : cut] if cut else b"")
        framer.take(sum(item.kind == "message" for item in framer.pending))
        messages, pings, _ = understood(Side.SERVER, framer.carried(), script.stream[cut:])
        assert messages == script.messages[framer.messages :]
        assert pings == script.pings


@few
@given(scripts(masked=False))
def test_what_a_server_sends_is_counted_as_websockets_counts_it(script: Script) -> None:
    framer = CountingServerFrames()
    framer.feed(script.stream)
    assert framer.messages == len(understood(Side.CLIENT, script.stream)[0]) == len(script.messages)
    assert (framer.at_boundary, framer.mid_message, framer.broken) == (True, False, False)


def test_a_close_is_carried_behind_the_messages_before_it() -> None:
    framer = ClientFrames()
    framer.feed(
        frame(TEXT, b"one") + frame(TEXT, b"tw", fin=False) + close_frame(4000, "bye", mask=KEY) + b"??"
    )
    assert (framer.closing, framer.close_code, framer.messages) == (True, 4000, 1)
    assert understood(Side.SERVER, framer.carried()) == ([b"one"], [], 4000)


def test_a_close_may_have_no_code() -> None:
    client, server = ClientFrames(), ServerFrames()
    client.feed(frame(CLOSE, b""))
    server.feed(frame(CLOSE, b"", key=None))
    assert (client.closing, client.close_code, server.closing, server.close_code) == (True, None, True, None)


def test_messages_are_dropped_in_order_and_pings_stay() -> None:
    framer = ClientFrames()
    framer.feed(frame(PING, b"o") + frame(PING, b"p") + frame(TEXT, b"a"))
    framer.feed(frame(PING, b"q") + frame(TEXT, b"b"))
    framer.take(1)
    assert [(item.kind, item.payload) for item in framer.pending] == [
        ("ping", b"o"),
        ("ping", b"p"),
        ("ping", b"q"),
        ("message", b""),
    ]
    assert framer.pending[3].raw == frame(TEXT, b"b")


def test_a_pong_answers_its_ping_and_older_ones() -> None:
    framer = ClientFrames()
    for payload in (b"1", b"2", b"3"):
        framer.feed(frame(PING, payload) + frame(TEXT, payload))
    framer.answered(b"unsolicited")
    assert len(framer.pending) == 6
    framer.answered(b"2")
    assert [item.kind for item in framer.pending] == ["message", "message", "ping", "message"]
    framer.answered(b"3")
    framer.answered(b"3")
    assert framer.carried() == frame(TEXT, b"1") + frame(TEXT, b"2") + frame(TEXT, b"3")


def test_to_take_more_than_came_means_that_the_counts_are_wrong() -> None:
    framer = ClientFrames()
    framer.feed(frame(TEXT, b"a"))
    framer.take(1)
    assert not framer.broken
    framer.take(1)
    assert framer.broken


def test_one_message_in_one_chunk_is_kept_without_a_copy() -> None:
    framer = ClientFrames()
    chunk = frame(BINARY, b"x" * 300)
    framer.feed(chunk)
    assert framer.pending[0].raw is chunk


@pytest.mark.parametrize("size", [0, 1, 120, 124, 125, 126, 127, 130, 65_535, 65_536])
def test_a_message_is_whole_with_its_last_byte_alone(size: int) -> None:
    masked, plain = frame(TEXT, b"x" * size), frame(TEXT, b"x" * size, key=None)
    for missing in range(1, 10):
        client, server = ClientFrames(), ServerFrames()
        client.feed(masked[:-missing])
        server.feed(plain[:-missing])
        assert (client.messages, server.messages) == (0, 0)
        client.feed(masked[-missing:] if missing < len(masked) else masked)
        server.feed(plain[-missing:] if missing < len(plain) else plain)
        assert (client.messages, client.carried(), server.messages) == (1, masked, 1)


def test_a_new_message_inside_of_another_breaks_in_a_chunk_of_its_own() -> None:
    client, server = ClientFrames(), ServerFrames()
    for fin in (False, True):
        client.feed(frame(TEXT, b"x", fin=fin))
        server.feed(frame(TEXT, b"x", fin=fin, key=None))
    assert (client.broken, client.messages) == (True, 0)
    assert (server.broken, server.messages) == (True, 0)


def test_a_message_in_three_frames_is_inside_of_it_to_the_last() -> None:
    framer = ServerFrames()
    seen = []
    for opcode, fin in ((TEXT, False), (CONTINUATION, False), (PING, True), (CONTINUATION, True)):
        framer.feed(frame(opcode, b"x", fin=fin, key=None))
        seen.append((framer.mid_message, framer.messages))
    assert seen == [(True, 0), (True, 0), (True, 0), (False, 1)]


def test_a_message_without_measure_is_given_up() -> None:
    framer = ClientFrames(limit=100_000)
    framer.feed(frame(BINARY, b"x" * 60_000, fin=False))
    assert not framer.broken
    framer.feed(frame(CONTINUATION, b"x" * 60_000)[:14])
    assert (framer.broken, framer.held) == (True, 0)


def test_long_messages_are_followed() -> None:
    client, server = ClientFrames(), ServerFrames()
    long = frame(BINARY, b"x" * 70_000)
    client.feed(long[:40_000])
    client.feed(long[40_000:] + long)
    assert (client.messages, client.carried()) == (2, long + long)
    unmasked = frame(BINARY, b"x" * 70_000, key=None)
    server.feed(unmasked[:40_000])
    assert (server.remaining, server.at_boundary) == (len(unmasked) - 40_000, False)
    server.feed(unmasked[40_000:])
    assert (server.messages, server.at_boundary) == (1, True)


def test_pongs_of_the_server_are_told() -> None:
    framer = ServerFrames()
    first, second = frame(PONG, b"one", key=None), frame(PONG, b"", key=None)
    assert framer.feed(first[:-1]) == ()
    assert not framer.at_boundary
    assert framer.feed(first[-1:] + frame(TEXT, b"x", key=None) + second) == (b"one", b"")


def test_a_server_is_between_frames_in_the_middle_of_a_message() -> None:
    framer = ServerFrames()
    framer.feed(frame(TEXT, b"a", fin=False, key=None))
    assert (framer.at_boundary, framer.mid_message, framer.messages) == (True, True, 0)
    framer.feed(frame(CONTINUATION, b"", key=None))
    assert (framer.at_boundary, framer.mid_message, framer.messages) == (True, False, 1)


@pytest.mark.parametrize(
    "stream",
    [
        frame(TEXT, b"deflated", rsv=0x40),
        frame(TEXT, b"", rsv=0x10),
        frame(PING, b"x", rsv=0x20),
        frame(3, b"x"),
        frame(11, b"x"),
        frame(PING, b"x", fin=False),
        frame(PING, b"x" * 126),
        frame(CONTINUATION, b"x"),
        frame(TEXT, b"x", fin=False) + frame(TEXT, b"x"),
        frame(CLOSE, b"\x03"),
        b"\x82\xff" + b"\xff" * 12,
    ],
)
def test_what_is_no_frame_breaks_either_side(stream: bytes) -> None:
    client = ClientFrames()
    client.feed(stream)
    assert client.broken
    client.feed(frame(TEXT, b"x"))
    assert client.messages == 0
    server = ServerFrames()
    server.feed(unmask(stream))
    assert (server.broken, server.at_boundary) == (True, False)
    server.feed(frame(TEXT, b"x", key=None))
    assert server.messages == 0


def unmask(stream: bytes) -> bytes:
    """The same frames as a server would send them."""
    out, pos = b"", 0
    while pos < len(stream):
        short = stream[pos + 1] & 0x7F
        extended = {126: 2, 127: 8}.get(short, 0)
        size = int.from_bytes(stream[pos + 2 : pos + 2 + extended], "big") if extended else short
        begin = pos + 2 + extended
        key = stream[begin : begin + 4]
        payload = stream[begin + 4 : begin + 4 + size]
        out += bytes([stream[pos], short]) + stream[pos + 2 : begin]
        out += bytes(byte ^ key[at % 4] for at, byte in enumerate(payload))
        pos = begin + 4 + size
    return out


def test_a_mask_on_the_wrong_side_breaks() -> None:
    client, server = ClientFrames(), ServerFrames()
    client.feed(frame(TEXT, b"x", key=None))
    server.feed(frame(TEXT, b"x"))
    assert client.broken
    assert server.broken


def test_buffers_of_other_types_are_taken() -> None:
    client, server = ClientFrames(), ServerFrames()
    masked, plain = frame(TEXT, b"abc"), frame(TEXT, b"abc", key=None)
    client.feed(bytearray(masked))
    client.feed(memoryview(masked)[:4])
    client.feed(memoryview(masked)[4:])
    server.feed(memoryview(plain))
    server.feed(bytearray(plain))
    assert (client.messages, server.messages) == (2, 2)
    assert client.carried() == masked * 2


@given(
    strategies.integers(1000, 1003), strategies.text(max_size=30), strategies.binary(min_size=4, max_size=4)
)
def test_close_frames_are_understood(code: int, reason: str, mask: bytes) -> None:
    client, server = ClientFrames(), ServerFrames()
    client.feed(close_frame(code, reason, mask=mask))
    server.feed(close_frame(code, reason))
    assert client.close_code == server.close_code == code
    assert understood(Side.SERVER, close_frame(code, reason, mask=mask))[2] == code
    assert understood(Side.CLIENT, close_frame(code, reason))[2] == code


def test_a_close_frame_that_cannot_be_is_refused() -> None:
    for code, reason in ((70_000, ""), (-1, ""), (1000, "é" * 62)):
        with pytest.raises(ValueError, match="close frame"):
            close_frame(code, reason)
    with pytest.raises(ValueError, match="masking key"):
        close_frame(1000, mask=b"abc")


def test_the_accept_key_is_that_of_the_standard() -> None:
    assert accept_key(b"dGhlIHNhbXBsZSBub25jZQ==") == b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
