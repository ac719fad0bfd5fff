"""Sessions that begin inside of a WebSocket: protocols with a handshake of their own.

A handler that is entered again from the top on an open WebSocket waits for a handshake that such a client has
behind it: it would stay connected to somebody who does not know it, which is worse than a disconnect.

    Socket.IO       followed: the client's requests to connect are kept with their answers, so that they can
                    be played to new code, whose answers the client does not see
    all others      named only: subscriptions and acknowledgements live in the server as well, so the client
                    has to come anew

What is kept is whole frames as they passed, the client's masked.

Socket.IO, revision 5, over Engine.IO, revision 4; text messages, the first digit is Engine.IO's::

    server  0{"sid": ...}                          open: the WebSocket is a session
    client  40[/namespace,][{...}]                 connect
    server  40[/namespace,]{"sid": ...}            connected      (44: refused)
    either  41[/namespace,]                        disconnect
    either  42[/namespace,][number]["event", ...]  what the program is about
"""

from __future__ import annotations

import json
from typing import NamedTuple
from urllib.parse import parse_qs, urlsplit

from livereload_core.framing.heads import RequestHead, ResponseHead
from livereload_core.framing.websocket import frame_lengths, unmasked

__all__ = ["Frame", "Rehearsal", "Session", "recognise", "whole_frames"]

_TEXT, _BINARY, _CLOSE = 0x1, 0x2, 0x8
_SUBPROTOCOLS = {
    b"graphql-ws": "graphql-ws",  # subscriptions-transport-ws
    b"graphql-transport-ws": "graphql-ws",
    b"mqtt": "MQTT",
    b"mqttv3.1": "MQTT",
    b"v10.stomp": "STOMP",
    b"v11.stomp": "STOMP",
    b"v12.stomp": "STOMP",
}
_WAMP = b"wamp."
_PING = b"\x81\x012"  # Engine.IO's heart-beat, which the server sends


class Frame(NamedTuple):
    """One whole frame; ``raw`` is it as it passed, ``payload`` without its mask."""

    raw: bytes
    opcode: int
    final: bool
    payload: bytes


def whole_frames(data: bytes) -> tuple[list[Frame], bytes]:
    """Split what one side sent at a frame's begin into frames and the rest, an unfinished frame."""
    frames = []
    pos = 0
    while pos < len(data):
        header, length = frame_lengths(data, pos)
        end = pos + header + length
        if header <= 0 or end > len(data):
            break
        payload = data[pos + header : end]
        if data[pos + 1] & 0x80:
            payload = unmasked(data[pos + header - 4 : pos + header], payload)
        frames.append(Frame(data[pos:end], data[pos] & 0x0F, bool(data[pos] & 0x80), payload))
        pos = end
    return frames, data[pos:]


class Session:
    """What is known of one.

    Attributes:
        name: of the protocol; ``""`` while only the first message can tell.
        followed: whether it can be played to new code.
    """

    def __init__(self, name: str, *, followed: bool = False, plain: bool = False) -> None:
        self.name = name
        self.followed = followed
        self._plain = plain  # Engine.IO alone: nothing is said before the program's own messages
        self._open: Frame | None = None
        self._connects: dict[bytes, bytes] = {}  # namespace -> the client's frame
        self._connected: dict[bytes, Frame] = {}  # namespace -> the server's answer
        self._rest = b""
        self._first = True

    @property
    def loses(self) -> bool:
        """Whether new code could not go on with it."""
        return bool(self.name) and not self.followed

    @property
    def is_settled(self) -> bool:
        """Whether the client has every answer of the handshake."""
        return not self.followed or (
            self._open is not None and self._connects.keys() <= self._connected.keys()
        )

    @property
    def prologue(self) -> bytes:
        """The client's frames of the handshake."""
        return b"".join(self._connects.values())

    @property
    def answers(self) -> bytes:
        """The server's frames of the handshake."""
        frames = [self._open] if self._open is not None else []
        frames += [self._connected[name] for name in self._connects if name in self._connected]
        return b"".join(frame.raw for frame in frames)

    @property
    def greeting(self) -> bytes:
        """What the server says first when it goes on: a heart-beat that every switch would put off."""
        return _PING if self.followed else b""

    def is_as_in(self, prologue: bytes, answers: bytes) -> bool:
        """Whether these frames tell all that is known of the handshake."""
        return self.prologue == prologue and self.answers == answers

    def restore(self, prologue: bytes, answers: bytes) -> None:
        """Know what an older generation told, and nothing else."""
        self._open, self._rest = None, b""
        self._connects.clear()
        self._connected.clear()
        for frame in whole_frames(prologue)[0]:
            self.sent(frame.raw)
        self.answered(answers)

    def sent(self, raw: bytes) -> bool:
        """The server's handler takes a message of the client's; returns whether there is news to tell."""
        frames, _ = whole_frames(raw)
        if len(frames) != 1 or not frames[0].final:
            return self._is_unknown(raw)
        payload = frames[0].payload
        if not self.name:
            self.name = "SignalR" if self._first and _opens_signalr(payload) else ""
            self._first = False
            if self.loses:
                self._connects[b""] = raw  # so that whoever comes next knows it, too
            return self.loses
        if not self.followed or self._plain:
            return False
        kind = payload[:2] if frames[0].opcode == _TEXT else b""
        if kind == b"40":
            self._connects[_namespace(payload)] = raw
            return True
        if kind == b"41":
            self._left(payload)
            return True
        if kind in (b"42", b"43", b"45", b"46") or frames[0].opcode == _BINARY:
            return not self._connects and self._is_unknown(raw)
        return False

    def answered(self, data: bytes) -> bool:
        """The server sends this; returns whether there is news to tell."""
        if not self.followed:
            return False
        frames, self._rest = whole_frames(self._rest + data)
        news = False
        for frame in frames:
            if frame.opcode != _TEXT:
                continue
            kind = frame.payload[:2]
            if self._open is None and kind == b"0{":
                self._open = frame
                news = True
            elif kind == b"40":
                self._connected[_namespace(frame.payload)] = frame
                news = True
            elif kind in (b"41", b"44"):
                self._left(frame.payload)
                news = True
        return news

    def ids(self) -> list[str]:
        """The names that the server gave: of the WebSocket, and in each namespace, in their order."""
        return [found for frame in whole_frames(self.answers)[0] if (found := _sid(frame.payload))]

    def _left(self, payload: bytes) -> None:
        self._connects.pop(_namespace(payload), None)
        self._connected.pop(_namespace(payload), None)

    def _is_unknown(self, raw: bytes) -> bool:
        """It is spoken otherwise than is known here: whoever comes next shall see by the same message."""
        news, self.followed = self.followed, False
        if news:
            self._connects = {b"": raw}
        return news


class Rehearsal:
    """The handshake of an older generation, played to new code: tells its answers from the rest it says.

    Args:
        session: of the older generation.
    """

    def __init__(self, session: Session) -> None:
        self._awaited = [_answer_of(frame.payload) for frame in whole_frames(session.answers)[0]]
        self._rest = b""

    @property
    def is_over(self) -> bool:
        """Whether every answer has come."""
        return not self._awaited

    def answers(self, data: bytes) -> tuple[bytes, str]:
        """Take what the new code sends.

        Returns:
            what the client has to see of it, and why the new code does not go on, ``""`` when it does.
        """
        frames, self._rest = whole_frames(self._rest + data)
        seen = []
        for frame in frames:
            if frame.opcode == _CLOSE:
                return b"", "the new code closed it"
            answer = _answer_of(frame.payload) if frame.opcode == _TEXT else b""
            if answer in self._awaited:
                self._awaited.remove(answer)
            elif answer.startswith((b"44", b"41")):
                return b"", "the new code refused its session"
            else:
                seen.append(frame.raw)
        if self.is_over:
            seen.append(self._rest)
        return b"".join(seen), ""


def recognise(request: RequestHead, response: ResponseHead) -> Session:
    """Return what a WebSocket that was opened by this handshake carries, as far as that can tell."""
    subprotocol = (response.header(b"sec-websocket-protocol") or b"").strip().lower()
    if subprotocol in _SUBPROTOCOLS:
        return Session(_SUBPROTOCOLS[subprotocol])
    if subprotocol.startswith(_WAMP):
        return Session("WAMP")
    url = urlsplit(request.target.decode("latin-1"))
    query = parse_qs(url.query)
    if "EIO" in query and "websocket" in query.get("transport", ()):
        # With a sid it began as a series of requests, which the new code cannot know: it says so by itself.
        follow = query["EIO"] == ["4"] and "sid" not in query
        return Session("Socket.IO", followed=follow, plain="/engine.io" in url.path)
    if "/socket.io/" in url.path:
        return Session("Socket.IO")
    return Session("")


def _namespace(payload: bytes) -> bytes:
    return payload[2:].partition(b",")[0] if payload[2:3] == b"/" else b"/"


def _answer_of(payload: bytes) -> bytes:
    """What of a server's message makes it the answer that is waited for: its kind and namespace."""
    if payload[:2] == b"0{":
        return b"0"
    return payload[:2] + _namespace(payload) if payload[:2] in (b"40", b"41", b"44") else b""


def _sid(payload: bytes) -> str:
    try:
        found = json.loads(payload[payload.index(b"{") :])["sid"]
    except (ValueError, KeyError, TypeError):
        return ""
    return found if isinstance(found, str) else ""


def _opens_signalr(payload: bytes) -> bool:
    """``{"protocol":"json","version":1}`` and the record separator."""
    if not payload.endswith(b"\x1e") or not payload.startswith(b"{"):
        return False
    try:
        first = json.loads(payload[: payload.index(b"\x1e")])
    except ValueError:
        return False
    return isinstance(first, dict) and {"protocol", "version"} <= first.keys()
