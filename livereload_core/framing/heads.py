"""Heads of HTTP/1.x messages: what they say about the body, the connection and the protocol (RFC 9112).

A head is the start line, the fields and the blank line, as raw bytes. Parsing is strict where servers differ
(folded fields, blanks before a colon, two lengths, a length beside a transfer coding): such a head is none,
because two parsers that disagree about the end of a message are worse than one that gives up.
"""

from __future__ import annotations

import dataclasses
import re

__all__ = [
    "HEAD_LIMIT",
    "METHOD_LIMIT",
    "REQUEST_LINE",
    "RequestHead",
    "ResponseHead",
    "find_head_end",
    "with_header",
    "without_header",
]

HEAD_LIMIT = 64 * 1024
"""Bytes of the longest head that is followed; servers refuse far shorter ones."""

METHOD_LIMIT = 32
"""Letters of the longest method: a text protocol that is no HTTP is found out early."""

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]"
REQUEST_LINE = re.compile(rb"(%b{1,%d}) ([\x21-\x7e\x80-\xff]+) HTTP/(1\.[01])\r?\n" % (_TOKEN, METHOD_LIMIT))
_STATUS_LINE = re.compile(rb"HTTP/(1\.[01]) ([1-9][0-9][0-9])(?: [^\r\n\0]*)?\r?\n")
_FIELDS = re.compile(rb"(?:%b++:[^\r\n\0]*+\r?\n)*+\r?\n" % _TOKEN)

_LENGTH_DIGITS = 18
"""A longer Content-Length is no size of anything; `int` refuses the longest ones by raising."""


def find_head_end(data: bytes, start: int = 0) -> int:
    """Return where the head that ends at or after ``start`` ends (behind its blank line), or -1."""
    crlf = data.find(b"\n\r\n", start)
    if crlf < 0:
        bare = data.find(b"\n\n", start)
        return bare + 2 if bare >= 0 else -1
    # A bare blank line may come first, and what looks like the usual one is then part of the body.
    bare = data.find(b"\n\n", start, crlf + 1)
    return bare + 2 if bare >= 0 else crlf + 3


@dataclasses.dataclass(frozen=True, slots=True)
class _Head:
    """What requests and responses have in common.

    Attributes:
        raw: the whole head, blank line included.
        version: ``b"1.0"`` or ``b"1.1"``.
        keep_alive: whether the head lets the connection live on after the message.
        content_length: bytes of the body, 0 when there is none or its length is not told.
        chunked: whether the body comes in chunks.
    """

    raw: bytes
    version: bytes
    keep_alive: bool
    content_length: int
    chunked: bool

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """The fields in their order: lower-cased name, value without blanks around it. Parsed anew."""
        fields = []
        for line in self.raw.splitlines()[1:-1]:
            name, _, value = line.partition(b":")
            fields.append((name.lower(), value.strip(b" \t")))
        return fields

    def header(self, name: bytes) -> bytes | None:
        """The value of a field (several: joined with a comma), or None; ``name`` in any case."""
        values = _values(self.raw, self.raw.lower(), name.lower())
        return b", ".join(values) if values else None


@dataclasses.dataclass(frozen=True, slots=True)
class RequestHead(_Head):
    """The head of a request.

    Attributes:
        method: as sent, case kept.
        target: as sent.
        wants_websocket: a GET that asks for the upgrade to WebSocket.
        expects_continue: the client waits for ``100 Continue`` before it sends the body.
    """

    method: bytes
    target: bytes
    wants_websocket: bool
    expects_continue: bool

    @classmethod
    def parse(cls, raw: bytes) -> RequestHead | None:
        """Return the head, or None for bytes that are no whole HTTP/1.x head with one clear meaning."""
        line = REQUEST_LINE.match(raw)
        if line is None or _FIELDS.fullmatch(raw, line.end()) is None:
            return None
        method, target, version = line.groups()
        lower = raw.lower()
        body = _request_body(lower, version)
        if body is None:
            return None
        connection = _tokens(lower, b"connection")
        modern = version == b"1.1"
        websocket = (
            modern
            and method == b"GET"
            and b"upgrade" in connection
            and b"websocket" in _tokens(lower, b"upgrade")
        )
        expects = modern and b"100-continue" in _tokens(lower, b"expect")
        keeps = _keeps_alive(modern, connection)
        return cls(raw, version, keeps, *body, method, target, websocket, expects)


@dataclasses.dataclass(frozen=True, slots=True)
class ResponseHead(_Head):
    """The head of a response, interim (1xx) or final.

    Attributes:
        status: 100 to 999.
        until_close: the body ends where the connection ends.
        is_event_stream: ``text/event-stream`` (server-sent events).
    """

    status: int
    until_close: bool
    is_event_stream: bool

    @property
    def is_upgrade(self) -> bool:
        """Whether the connection speaks another protocol after this head."""
        return self.status == 101

    @classmethod
    def parse(cls, raw: bytes, method: bytes = b"GET") -> ResponseHead | None:
        """Return the head, or None for bytes that are no whole HTTP/1.x head with one clear meaning.

        Args:
            raw: the head, blank line included.
            method: of the request that it answers: the answer to HEAD has no body whatever it says.
        """
        line = _STATUS_LINE.match(raw)
        if line is None or _FIELDS.fullmatch(raw, line.end()) is None:
            return None
        version, digits = line.groups()
        status = int(digits)
        lower = raw.lower()
        body = _response_body(lower, version, status, method)
        if body is None:
            return None
        length, chunked, until_close = body
        modern = version == b"1.1"
        keeps = not until_close and _keeps_alive(modern, _tokens(lower, b"connection"))
        kinds = _values(lower, lower, b"content-type")
        events = bool(kinds) and kinds[0].partition(b";")[0].strip() == b"text/event-stream"
        return cls(raw, version, keeps, length, chunked, status, until_close, events)


def _request_body(lower: bytes, version: bytes) -> tuple[int, bool] | None:
    """Length and whether chunked (RFC 9112, section 6.3), or None when that is not clear."""
    coded = b"\ntransfer-encoding:" in lower
    sized = b"\ncontent-length:" in lower
    if not coded:
        return (0, False) if not sized else _with_length(lower)
    if sized or version != b"1.1" or _values(lower, lower, b"transfer-encoding") != [b"chunked"]:
        return None
    return 0, True


def _with_length(lower: bytes) -> tuple[int, bool] | None:
    length = _length(lower)
    return None if length is None else (length, False)


def _response_body(lower: bytes, version: bytes, status: int, method: bytes) -> tuple[int, bool, bool] | None:
    """Length, whether chunked, whether until close (RFC 9112, section 6.3); None when that is not clear."""
    if status < 200 or status in (204, 304) or method == b"HEAD" or (method == b"CONNECT" and status < 300):
        return 0, False, False
    if b"\ntransfer-encoding:" in lower:
        if version != b"1.1":
            return None
        codings = _tokens(lower, b"transfer-encoding")
        chunked = bool(codings) and codings[-1] == b"chunked"
        return 0, chunked, not chunked
    if b"\ncontent-length:" not in lower:
        return 0, False, True
    length = _length(lower)
    return None if length is None else (length, False, False)


def _length(lower: bytes) -> int | None:
    """The one value that all Content-Length fields agree on, or None."""
    values = set(_tokens(lower, b"content-length"))
    if len(values) != 1:
        return None
    value = values.pop()
    return int(value) if value.isdigit() and len(value) <= _LENGTH_DIGITS else None


def _keeps_alive(modern: bool, connection: list[bytes]) -> bool:
    return b"close" not in connection and (modern or b"keep-alive" in connection)


def _values(raw: bytes, lower: bytes, name: bytes) -> list[bytes]:
    """The values of a field; ``lower`` is ``raw`` in lower case, and so is ``name``."""
    mark = b"\n" + name + b":"
    values = []
    start = lower.find(mark)
    while start >= 0:
        start += len(mark)
        end = lower.find(b"\n", start)
        values.append(raw[start:end].strip(b" \t\r"))
        start = lower.find(mark, end)
    return values


def _tokens(lower: bytes, name: bytes) -> list[bytes]:
    """The members of a field that is a list, over all its lines."""
    values = _values(lower, lower, name)
    return [token.strip(b" \t") for value in values for token in value.split(b",")] if values else values


def without_header(raw_head: bytes, name: bytes) -> bytes:
    """Return the head without a field: all its lines, in any case, continued ones included."""
    first = raw_head.find(b"\n") + 1
    field = re.compile(
        rb"^%b[ \t]*:[^\n]*\n(?:[ \t][^\n]*\n)*" % re.escape(name), re.IGNORECASE | re.MULTILINE
    )
    return raw_head[:first] + field.sub(b"", raw_head[first:])


def with_header(raw_head: bytes, name: bytes, value: bytes) -> bytes:
    """Return the head with one field of that name, the last of all, in place of any that were there.

    Raises:
        ValueError: the value would end the field early or make the head invalid.
    """
    if any(byte in value for byte in b"\r\n\0"):
        raise ValueError(f"a header's value has no line break and no NUL: {value!r}")
    head = without_header(raw_head, name)
    end = len(head) - (2 if head.endswith(b"\r\n") else 1)
    return b"%b%b: %b\r\n%b" % (head[:end], name, value, head[end:])
