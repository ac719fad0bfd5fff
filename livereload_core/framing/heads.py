"""Heads of HTTP/1.x messages: what they say about the body, the connection and the protocol (RFC 9112).

A head is the start line, the fields and the blank line, as raw bytes. Parsing is strict where servers differ
(folded fields, blanks before a colon, two lengths, a length beside a transfer coding): such a head is none,
because two parsers that disagree about the end of a message are worse than one that gives up.
"""

from __future__ import annotations

import functools
import re
from typing import NamedTuple

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
# The classes are such that `re` compiles them to one table look-up per byte.
_FIELDS = re.compile(rb"(?:%b++:[\t\x20-\x7e\x80-\xff]*+\r?\n)*+\r?\n" % _TOKEN)
_TELLING = re.compile(
    rb"\n(content-length|content-type|transfer-encoding|connection|upgrade|expect):([^\r\n]*)"
)

_MEMO_LIMIT = 4096
"""Bytes of the longest head that is remembered."""

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


class RequestHead(NamedTuple):
    """The head of a request.

    Attributes:
        raw: the whole head, blank line included.
        method: as sent, case kept.
        target: as sent.
        version: ``b"1.0"`` or ``b"1.1"``.
        content_length: bytes of the body, 0 when there is none or its length is not told.
        chunked: whether the body comes in chunks.
        keep_alive: whether the client lets the connection live on after the answer.
        wants_websocket: a GET that asks for the upgrade to WebSocket.
        expects_continue: the client waits for ``100 Continue`` before it sends the body.
    """

    raw: bytes
    method: bytes
    target: bytes
    version: bytes
    content_length: int = 0
    chunked: bool = False
    keep_alive: bool = True
    wants_websocket: bool = False
    expects_continue: bool = False

    @classmethod
    def parse(cls, raw: bytes) -> RequestHead | None:
        """Return the head, or None for bytes that are no whole HTTP/1.x head with one clear meaning."""
        return _request(raw) if len(raw) > _MEMO_LIMIT else _known_request(raw)

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """The fields in their order: lower-cased name, value without blanks around it. Parsed anew."""
        return _fields(self.raw)

    def header(self, name: bytes) -> bytes | None:
        """The value of a field (several: joined with a comma), or None; ``name`` in any case."""
        return _field(self.raw, name)


class ResponseHead(NamedTuple):
    """The head of a response, interim (1xx) or final.

    Attributes:
        raw: the whole head, blank line included.
        status: 100 to 999.
        version: ``b"1.0"`` or ``b"1.1"``.
        content_length: bytes of the body, 0 when there is none or its length is not told.
        chunked: whether the body comes in chunks.
        until_close: the body ends where the connection ends.
        keep_alive: whether the connection lives on after the response.
        is_event_stream: ``text/event-stream`` (server-sent events).
    """

    raw: bytes
    status: int
    version: bytes
    content_length: int = 0
    chunked: bool = False
    until_close: bool = False
    keep_alive: bool = True
    is_event_stream: bool = False

    @classmethod
    def parse(cls, raw: bytes, method: bytes = b"GET") -> ResponseHead | None:
        """Return the head, or None for bytes that are no whole HTTP/1.x head with one clear meaning.

        Args:
            raw: the head, blank line included.
            method: of the request that it answers: the answer to HEAD has no body whatever it says.
        """
        return _response(raw, method) if len(raw) > _MEMO_LIMIT else _known_response(raw, method)

    @property
    def is_upgrade(self) -> bool:
        """Whether the connection speaks another protocol after this head."""
        return self.status == 101

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """The fields in their order: lower-cased name, value without blanks around it. Parsed anew."""
        return _fields(self.raw)

    def header(self, name: bytes) -> bytes | None:
        """The value of a field (several: joined with a comma), or None; ``name`` in any case."""
        return _field(self.raw, name)


def _request(raw: bytes) -> RequestHead | None:
    line = REQUEST_LINE.match(raw)
    if line is None or _FIELDS.fullmatch(raw, line.end()) is None:
        return None
    method, target, version = line.groups()
    telling = _TELLING.findall(raw.lower())
    modern = version == b"1.1"
    length, chunked = 0, b"transfer-encoding" in dict(telling)
    if chunked:
        # Beside a length, or with a coding more, servers disagree.
        if not modern or _tokens(telling, b"transfer-encoding") != [b"chunked"] or _has_length(telling):
            return None
    elif _has_length(telling):
        length = _length(telling)
        if length < 0:
            return None
    connection = _tokens(telling, b"connection")
    return RequestHead(
        raw,
        method,
        target,
        version,
        length,
        chunked,
        _keeps_alive(modern, connection),
        modern
        and method == b"GET"
        and b"upgrade" in connection
        and b"websocket" in _tokens(telling, b"upgrade"),
        modern and b"100-continue" in _tokens(telling, b"expect"),
    )


def _response(raw: bytes, method: bytes) -> ResponseHead | None:
    line = _STATUS_LINE.match(raw)
    if line is None or _FIELDS.fullmatch(raw, line.end()) is None:
        return None
    version, digits = line.groups()
    status = int(digits)
    telling = _TELLING.findall(raw.lower())
    modern = version == b"1.1"
    length, chunked, until_close = 0, False, False
    # The order of RFC 9112, section 6.3.
    if status < 200 or status in (204, 304) or method == b"HEAD" or (method == b"CONNECT" and status < 300):
        pass
    elif codings := _tokens(telling, b"transfer-encoding"):
        if not modern:
            return None
        chunked = codings[-1] == b"chunked"
        until_close = not chunked
    elif _has_length(telling):
        length = _length(telling)
        if length < 0:
            return None
    else:
        until_close = True
    keeps = not until_close and _keeps_alive(modern, _tokens(telling, b"connection"))
    kinds = [value for name, value in telling if name == b"content-type"]
    events = bool(kinds) and kinds[0].partition(b";")[0].strip() == b"text/event-stream"
    return ResponseHead(raw, status, version, length, chunked, until_close, keeps, events)


# Clients and servers repeat themselves, over many connections: the same bytes are the same head.
_known_request = functools.lru_cache(maxsize=256)(_request)
_known_response = functools.lru_cache(maxsize=256)(_response)


def _keeps_alive(modern: bool, connection: list[bytes]) -> bool:
    return b"close" not in connection and (modern or b"keep-alive" in connection)


def _has_length(telling: list[tuple[bytes, bytes]]) -> bool:
    return any(name == b"content-length" for name, _ in telling)


def _length(telling: list[tuple[bytes, bytes]]) -> int:
    """The one value that all Content-Length fields agree on, or -1."""
    values = set(_tokens(telling, b"content-length"))
    value = values.pop()
    return int(value) if not values and value.isdigit() and len(value) <= _LENGTH_DIGITS else -1


def _tokens(telling: list[tuple[bytes, bytes]], wanted: bytes) -> list[bytes]:
    """The members of a field that is a list, over all its lines."""
    return [token.strip(b" \t") for name, value in telling if name == wanted for token in value.split(b",")]


@functools.lru_cache(maxsize=8)  # who opens or adopts a connection asks the same head for many fields
def _fields(raw: bytes) -> list[tuple[bytes, bytes]]:
    fields = []
    for line in raw.splitlines()[1:-1]:
        name, _, value = line.partition(b":")
        fields.append((name.lower(), value.strip(b" \t")))
    return fields


def _field(raw: bytes, wanted: bytes) -> bytes | None:
    wanted = wanted.lower()
    values = [value for name, value in _fields(raw) if name == wanted]
    return b", ".join(values) if values else None


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
        ValueError: the value would end the field early (a line break), or no server would take it (NUL).
    """
    if any(byte in value for byte in b"\r\n\0"):
        raise ValueError(f"a header's value has no line break and no NUL: {value!r}")
    head = without_header(raw_head, name)
    end = len(head) - (2 if head.endswith(b"\r\n") else 1)
    return b"%b%b: %b\r\n%b" % (head[:end], name, value, head[end:])
