"""WebSocket streams that pass by (RFC 6455, without extensions): frames, messages, and what is still owed.

::

     0               1               2                 0, 2 or 8 bytes   4 bytes if masked
    +-+-+-+-+-------+-+-------------+-----------------+-----------------+---------+
    |F|R|R|R| op    |M| length, 126 | length, 16 bits | masking key     | payload |
    |I|S|S|S| code  |A| or 127      | or 64 bits      |                 |         |
    |N|V|V|V|       |S|             |                 |                 |         |
    +-+-+-+-+-------+-+-------------+-----------------+-----------------+---------+

A message is one data frame with FIN, or one without, continuations, and a continuation with FIN. Control
frames (opcode 8 and above, at most 125 bytes, never fragmented) may stand between the frames of a message.
"""

from __future__ import annotations

import base64
import hashlib
from collections import deque
from typing import Literal, NamedTuple

__all__ = [
    "MESSAGE_LIMIT",
    "ClientFrames",
    "Pending",
    "ServerFrames",
    "accept_key",
    "close_frame",
    "frame_lengths",
    "unmasked",
]

MESSAGE_LIMIT = 64 * 1024 * 1024
"""Bytes of the longest unfinished message that is kept; servers refuse far shorter ones (1 to 16 MiB)."""

_CONTINUATION, _TEXT, _BINARY, _CLOSE, _PING, _PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
_OPCODES = frozenset((_CONTINUATION, _TEXT, _BINARY, _CLOSE, _PING, _PONG))
_FIN, _RSV, _OPCODE, _MASKED, _SHORT = 0x80, 0x70, 0x0F, 0x80, 0x7F
_MAX_CONTROL = 125
_WHOLE_TEXT, _WHOLE_BINARY = _FIN | _TEXT, _FIN | _BINARY
_LEAST_LIMIT = 8 + 0xFFFF
"""The longest frame of the fast path, where no limit is looked at."""
_KEY_SUFFIX = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Pending(NamedTuple):
    """Something from the client that the server owes an act.

    Attributes:
        kind: a whole data message that was not taken, or a ping that was not answered.
        raw: its bytes as they came, masked; several frames for a fragmented message.
        payload: of a ping, unmasked; ``b""`` for a message.
    """

    kind: Literal["message", "ping"]
    raw: bytes
    payload: bytes


class ClientFrames:
    """Follows what a client sends, and keeps what its server has not dealt with.

    Attributes:
        pending: whole messages not taken and pings not answered, in the order in which they ended.
        messages: whole data messages seen.
        closing: whether a close frame was seen; what follows it is ignored.
        close_code: its code, or None when it has none.
        broken: the bytes are no such frames, or more was taken than came: nothing can be carried over.
    """

    __slots__ = (
        "_buffer",
        "_fragments",
        "_limit",
        "_need",
        "_pings",
        "broken",
        "close_code",
        "closing",
        "messages",
        "pending",
    )

    def __init__(self, limit: int = MESSAGE_LIMIT) -> None:
        self.pending: deque[Pending] = deque()
        self.messages = 0
        self.closing = False
        self.close_code: int | None = None
        self.broken = False
        self._limit = max(limit, _LEAST_LIMIT)
        self._buffer = bytearray()  # the unfinished frame, or the close frame once it was seen
        self._need = 2  # bytes of the unfinished frame after which there is something to decide
        self._fragments = bytearray()  # the whole data frames of the unfinished message
        self._pings = 0

    @property
    def partial(self) -> bytes:
        """The unfinished message and frame: its whole data frames, then the unfinished frame.

        Once a close frame was seen it is that frame: no message can go on behind it.
        """
        return bytes(self._fragments + self._buffer)

    @property
    def unfinished(self) -> bool:
        """Whether the client is in the midst of a frame or a message, as far as this side knows."""
        return bool(self._buffer or self._fragments)

    @property
    def held(self) -> int:
        """Bytes that are kept."""
        return sum(len(item.raw) for item in self.pending) + len(self._fragments) + len(self._buffer)

    def carried(self) -> bytes:
        """What a fresh server must be fed before the rest of the stream, to get what was not dealt with."""
        return b"".join([*[item.raw for item in self.pending], self._fragments, self._buffer])

    def take(self, count: int) -> None:
        """The server's handler took the next ``count`` messages: forget them."""
        pending = self.pending
        if count == 1 and pending and pending[0].kind == "message":
            pending.popleft()
            return
        passed = []
        while count and pending:
            item = pending.popleft()
            if item.kind == "message":
                count -= 1
            else:
                passed.append(item)
        pending.extendleft(reversed(passed))
        if count:
            self.broken = True  # the counts of the two sides differ: no more can be said

    def answered(self, payload: bytes) -> None:
        """The server sent a pong: forget the oldest ping with this payload, and those before it."""
        if not self._pings:
            return
        items = list(self.pending)
        places = [at for at, item in enumerate(items) if item.kind == "ping" and item.payload == payload]
        if not places:
            return  # a pong that nobody asked for (RFC 6455, section 5.5.3)
        kept = [item for item in items[: places[0]] if item.kind == "message"]
        self._pings -= places[0] + 1 - len(kept)
        self.pending.clear()
        self.pending.extend(kept + items[places[0] + 1 :])

    def feed(self, data: bytes | bytearray | memoryview) -> None:
        """Take what the client sent next. Never raises for what is in it."""
        if self.closing or self.broken:
            return
        if not isinstance(data, bytes):
            data = bytes(data)
        buffer = self._buffer
        if not buffer:
            size = len(data)
            if size > 5 and not self._fragments and data[0] in (_WHOLE_TEXT, _WHOLE_BINARY):
                second = data[1]
                # One short or middling message in one chunk: what clients send nearly always.
                if size - 6 + _MASKED == second < 0xFE or (
                    second == 0xFE and size - 8 == data[2] << 8 | data[3]
                ):
                    # Half the price of calling the class.
                    self.pending.append(tuple.__new__(Pending, ("message", data, b"")))
                    self.messages += 1
                    return
            self._follow(data)
            return
        if len(buffer) + len(data) < self._need:
            buffer += data
            return
        buffer += data
        whole = bytes(buffer)
        buffer.clear()
        self._follow(whole)

    def _follow(self, data: bytes) -> None:
        pos, size = 0, len(data)
        while pos < size:
            header, length = frame_lengths(data, pos)
            if header < 0 or not self._allowed(data, pos, header, length):
                self._break()
                return
            self._need = header + length
            end = pos + header + length
            if not header or end > size:
                self._buffer += data[pos:]
                return
            self._frame(data, pos, pos + header, end)
            if self.closing or self.broken:
                return
            pos = end

    def _allowed(self, data: bytes, pos: int, header: int, length: int) -> bool:
        """Whether a frame that begins at ``pos`` may come here, as far as its header is there."""
        first = data[pos]
        if len(data) > pos + 1 and not data[pos + 1] & _MASKED:
            return False
        return _fits(first, bool(self._fragments)) and len(self._fragments) + header + length <= self._limit

    def _frame(self, data: bytes, begin: int, payload: int, end: int) -> None:
        first = data[begin]
        opcode = first & _OPCODE
        raw = data[begin:end]
        if opcode < _CLOSE:
            if not first & _FIN:
                self._fragments += raw
                return
            if self._fragments:
                raw = bytes(self._fragments + raw)
                self._fragments.clear()
            self.messages += 1
            self.pending.append(Pending("message", raw, b""))
        elif opcode == _PING:
            self._pings += 1
            said = unmasked(data[payload - 4 : payload], data[payload:end])
            self.pending.append(Pending("ping", raw, said))
        elif opcode == _CLOSE:
            self._close(raw, unmasked(data[payload - 4 : payload], data[payload:end]))

    def _close(self, raw: bytes, payload: bytes) -> None:
        if len(payload) == 1:
            self._break()
            return
        self.closing = True
        self.close_code = int.from_bytes(payload[:2], "big") if payload else None
        self._buffer += raw
        self._fragments.clear()  # of a message that never ends now; a server would call the close an error

    def _break(self) -> None:
        self.broken = True
        self._buffer.clear()
        self._fragments.clear()


class ServerFrames:
    """Follows what a server sends. Nothing is kept but an unfinished header or control frame.

    Attributes:
        messages: whole data messages seen.
        mid_message: whether a fragmented message has begun and not ended.
        remaining: bytes of payload that the frame in progress still lacks, 0 while its header is not whole.
        closing: whether a close frame was seen; what follows it is ignored.
        close_code: its code, or None when it has none.
        broken: the bytes are no such frames; nothing more is known.
    """

    __slots__ = (
        "_buffer",
        "_final",
        "broken",
        "close_code",
        "closing",
        "messages",
        "mid_message",
        "remaining",
    )

    def __init__(self) -> None:
        self.messages = 0
        self.mid_message = False
        self.remaining = 0
        self.closing = False
        self.close_code: int | None = None
        self.broken = False
        self._buffer = b""  # the unfinished header or control frame
        self._final = False  # whether the data frame in progress ends its message

    @property
    def at_boundary(self) -> bool:
        """Whether the stream stands between two frames."""
        return not (self.remaining or self._buffer or self.broken)

    def feed(self, data: bytes | bytearray | memoryview) -> tuple[bytes, ...]:
        """Take what the server sent next. Never raises for what is in it.

        Returns:
            payloads of the pongs that ended in it.
        """
        size = len(data)
        if size < self.remaining:
            self.remaining -= size
            return ()
        if self.closing or self.broken:
            return ()
        if not isinstance(data, bytes):
            data = bytes(data)
        if not self.remaining and not self._buffer:
            if size > 1 and not self.mid_message and data[0] in (_WHOLE_TEXT, _WHOLE_BINARY):
                second = data[1]
                if size - 2 == second < 126 or (
                    second == 126 and size > 3 and size - 4 == data[2] << 8 | data[3]
                ):
                    self.messages += 1
                    return ()
        elif self._buffer:
            data = self._buffer + data
            self._buffer = b""
        return tuple(self._follow(data))

    def _follow(self, data: bytes) -> list[bytes]:
        pongs: list[bytes] = []
        pos, size = 0, len(data)
        while pos < size:
            if self.remaining:
                step = min(self.remaining, size - pos)
                self.remaining -= step
                pos += step
                if not self.remaining:
                    self._end_data()
                continue
            header, length = frame_lengths(data, pos)
            masked = size > pos + 1 and data[pos + 1] & _MASKED
            if header < 0 or masked or not _fits(data[pos], self.mid_message):
                self.broken = True
                return pongs
            control = data[pos] & _CLOSE
            if not header or (control and pos + header + length > size):
                self._buffer = data[pos:]
                return pongs
            payload = pos + header
            if control:
                pos = payload + length
                self._control(data[payload - header] & _OPCODE, data[payload:pos], pongs)
                if self.closing or self.broken:
                    return pongs
            else:
                self._final = bool(data[pos] & _FIN)
                self.mid_message = self.mid_message or not self._final
                self.remaining = length
                pos = payload
                if not length:
                    self._end_data()
        return pongs

    def _end_data(self) -> None:
        if self._final:
            self.messages += 1
            self.mid_message = False

    def _control(self, opcode: int, payload: bytes, pongs: list[bytes]) -> None:
        if opcode == _PONG:
            pongs.append(payload)
        elif opcode == _CLOSE:
            self.broken = len(payload) == 1
            self.closing = not self.broken
            self.close_code = int.from_bytes(payload[:2], "big") if payload and self.closing else None


def frame_lengths(data: bytes, pos: int) -> tuple[int, int]:
    """Return the lengths of a frame's header, masking key included, and of its payload.

    ``(0, n)``: the header is not whole, and n bytes of the frame are needed to go on. ``(-1, 0)``: no header.
    """
    there = len(data) - pos
    if there < 2:
        return 0, 2
    second = data[pos + 1]
    length = second & _SHORT
    header = 2
    if length > _MAX_CONTROL:
        if data[pos] & _CLOSE:
            return -1, 0
        header = 4 if length == 126 else 10
        if there < header:
            return 0, header
        length = int.from_bytes(data[pos + 2 : pos + header], "big")
        if length >> 63:
            return -1, 0
    if second & _MASKED:
        header += 4
        if there < header:
            return 0, header
    return header, length


def _fits(first: int, mid_message: bool) -> bool:
    """Whether a frame with this first byte may come, inside or outside of a fragmented message."""
    opcode = first & _OPCODE
    if first & _RSV or opcode not in _OPCODES:
        return False
    if opcode & _CLOSE:
        return bool(first & _FIN)
    return (opcode == _CONTINUATION) == mid_message


def unmasked(key: bytes, payload: bytes) -> bytes:
    """Apply a masking key to a short payload; twice gives the payload back."""
    size = len(payload)
    mask = (key * (size // 4 + 1))[:size]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(mask, "big")).to_bytes(size, "big")


def close_frame(code: int, reason: str = "", *, mask: bytes | None = None) -> bytes:
    """Return a close frame: a server's, or with a masking key of 4 bytes a client's.

    Raises:
        ValueError: the code has no two bytes, the reason is longer than 123 bytes in UTF-8, or the key not 4.
    """
    payload = code.to_bytes(2, "big") + reason.encode() if 0 <= code < 1 << 16 else b""
    if not 2 <= len(payload) <= _MAX_CONTROL:
        raise ValueError(f"a close frame has 2 bytes of code and at most 123 of reason: {code}, {reason!r}")
    if mask is None:
        return bytes((_FIN | _CLOSE, len(payload))) + payload
    if len(mask) != 4:
        raise ValueError(f"a masking key has 4 bytes: {mask!r}")
    return bytes((_FIN | _CLOSE, _MASKED | len(payload))) + mask + unmasked(mask, payload)


def accept_key(key: bytes) -> bytes:
    """Return the Sec-WebSocket-Accept that answers a Sec-WebSocket-Key (RFC 6455, section 4.2.2)."""
    return base64.b64encode(hashlib.sha1(key.strip() + _KEY_SUFFIX, usedforsecurity=False).digest())
