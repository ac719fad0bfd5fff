"""Established connections on their way to another generation: what is known of each, as bytes.

The sockets themselves travel as fds; this is the table beside them::

    +--------+--------------+----------------------+-----------------------------+-------+
    | 'lclk' | version, u32 | length of index, u32 | index: UTF-8 JSON           | blobs |   big endian
    +--------+--------------+----------------------+-----------------------------+-------+
    index = [[number, kind, policy, generation, mark, local, lengths of the blobs], ...]
    blobs = request, response, inbound, outbound, event id, prologue, answers, state

The blobs stand in the order of the index. The parent passes a table on, or makes one of what it was told when
the connections were opened; it never reads what clients and servers say to each other.
"""

from __future__ import annotations

import dataclasses
import json
import struct
from collections.abc import Iterable
from typing import Any

from livereload_core.errors import ProtocolViolationError

__all__ = [
    "BROKEN",
    "CLEAN",
    "COUNT_BYTES",
    "ENDS",
    "ID_BYTES",
    "LOSES",
    "PAGE",
    "SPAN",
    "Kind",
    "Link",
    "count_at",
    "from_json",
    "id_at",
    "mark_at",
    "pack",
    "pack_count",
    "pack_id",
    "to_json",
    "unpack",
    "unpack_count",
    "unpack_id",
]

_HEADER = struct.Struct("!4sII")
_COUNT = struct.Struct("=q")
_ID_LENGTH = struct.Struct("=H")  # both ends are on one machine
_MAGIC = b"lclk"
_VERSION = 2
_FACTS = ("number", "kind", "policy", "generation", "mark")
_BLOBS = ("request", "response", "inbound", "outbound", "event_id", "prologue", "answers", "state")


PAGE = 4096
"""Marks of one generation: a byte each, in a page of their own, so that it can be mapped alone."""

ID_BYTES = 128
"""Room beside each mark for the id of an event: its length plus one (two bytes, 0 for none), then it."""

COUNT_BYTES = 8
"""Beside each mark: how many bytes of its client's are dealt with in the mark, a number of the machine's."""

SPAN = PAGE * (1 + ID_BYTES + COUNT_BYTES)
"""Bytes of one generation in the file: marks, ids, counts. What nobody writes takes no memory."""

CLEAN = 0
"""Mark: nothing is under way, the next generation can go on."""
LOSES = 1
"""Mark: it can go on, but something that the client sent is gone with the process."""
BROKEN = 2
"""Mark: it cannot, but can say so in the words of the protocol; the client is in the midst of a frame."""
ENDS = 3
"""Mark: it can only be ended, because an answer is owed or half out."""


class Kind:
    """What is spoken on a connection, as far as a hand-over is concerned."""

    HTTP = "http"  # between two requests, or with a request of which the server has seen nothing
    WEBSOCKET = "websocket"
    EVENTS = "events"  # a stream of server-sent events
    RAW = "raw"  # a protocol of the program's own


@dataclasses.dataclass(frozen=True, slots=True)
class Link:
    """One established connection.

    Attributes:
        number: its name over all generations of a run.
        kind: one of :class:`Kind`.
        local: the address of our end, as ``getsockname()`` gives it; a string for a Unix socket.
        request: the head of the request that opened the WebSocket or the stream.
        response: the head of the answer that the client has.
        inbound: bytes that the client sent and no handler has taken; they come before those in the socket.
        outbound: bytes that the server wrote and the kernel has not taken.
        event_id: the last ``id:`` of a stream of events.
        prologue: a WebSocket's messages by which the client began a session inside of it (whole frames).
        answers: what the server answered to them.
        state: what its handler has changed in ``connection().state`` since the snapshot, for one that is
            handed over late; how is the children's business.
        policy: ``resume``, ``drain`` or ``close``, as the handler chose.
        generation: the one that accepted it.
        mark: where in the shared marks its byte is (:func:`mark_at`), -1 for none.
    """

    number: int
    kind: str
    local: str | tuple[Any, ...]
    request: bytes = b""
    response: bytes = b""
    inbound: bytes = b""
    outbound: bytes = b""
    event_id: bytes = b""
    prologue: bytes = b""
    answers: bytes = b""
    state: bytes = b""
    policy: str = "resume"
    generation: int = 0
    mark: int = -1


def mark_at(generation: int, slot: int) -> int:
    """Return where the mark number ``slot`` of a generation is in the file."""
    return generation * SPAN + slot


def id_at(mark: int) -> int:
    """Return where the id beside a mark is in the file."""
    generation, slot = divmod(mark, SPAN)
    return generation * SPAN + PAGE + slot * ID_BYTES


def count_at(mark: int) -> int:
    """Return where the count beside a mark is in the file."""
    generation, slot = divmod(mark, SPAN)
    return generation * SPAN + PAGE * (1 + ID_BYTES) + slot * COUNT_BYTES


def pack_id(name: bytes) -> bytes | None:
    """Return an id as it lies beside a mark; None when it is too long."""
    length = len(name)
    return _ID_LENGTH.pack(length + 1) + name if length <= ID_BYTES - _ID_LENGTH.size else None


def unpack_id(data: bytes) -> bytes | None:
    """Return the id that lies in ``data``; None when there is none."""
    (length,) = _ID_LENGTH.unpack_from(data)
    return data[_ID_LENGTH.size :][: length - 1] if length else None


def pack_count(count: int) -> bytes:
    """Return a count as it lies beside a mark."""
    return _COUNT.pack(count)


def unpack_count(data: bytes) -> int:
    """Return the count that lies in ``data``."""
    (count,) = _COUNT.unpack(data)
    return int(count)


def to_json(link: Link) -> dict[str, Any]:
    """Return ``link`` as JSON types, for one message; what is on its way (inbound, outbound) is left out."""
    return {
        "kind": link.kind,
        "local": link.local,
        "request": link.request.decode("latin-1"),
        "response": link.response.decode("latin-1"),
        "prologue": link.prologue.decode("latin-1"),
        "answers": link.answers.decode("latin-1"),
        "policy": link.policy,
        "generation": link.generation,
        "mark": link.mark,
    }


def from_json(number: int, data: dict[str, Any]) -> Link:
    """Restore what :func:`to_json` wrote.

    Raises:
        ProtocolViolationError: it is something else.
    """
    try:
        fields = dict(data)
        local = fields.pop("local")
        for name in ("request", "response", "prologue", "answers"):
            fields[name] = fields[name].encode("latin-1")
        return Link(number, local=tuple(local) if isinstance(local, list) else local, **fields)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ProtocolViolationError(f"not a connection: {str(data)[:80]!r} ({error})") from error


def pack(links: Iterable[Link]) -> bytes:
    """Return the table of ``links``."""
    index: list[Any] = []
    blobs: list[bytes] = []
    for link in links:
        parts = [getattr(link, name) for name in _BLOBS]
        facts = [getattr(link, name) for name in _FACTS]
        index.append([*facts, link.local, [len(part) for part in parts]])
        blobs += parts
    # surrogateescape'd paths of Unix sockets are legal: ensure_ascii keeps them through UTF-8
    head = json.dumps(index, separators=(",", ":")).encode()
    return b"".join([_HEADER.pack(_MAGIC, _VERSION, len(head)), head, *blobs])


def unpack(table: bytes | memoryview) -> dict[int, Link]:
    """Return number to link.

    Raises:
        ProtocolViolationError: these bytes are no table of this version, or not all of it.
    """
    whole = bytes(table)
    try:
        magic, version, length = _HEADER.unpack_from(whole)
        if magic != _MAGIC or version != _VERSION:
            raise ProtocolViolationError(f"not a table of connections: {whole[:12]!r}")
        position = _HEADER.size + length
        links = {}
        for *facts, local, lengths in json.loads(whole[_HEADER.size : position]):
            # In the pause, for each of perhaps thousands: most blobs are empty.
            parts: dict[str, Any] = {}
            for name, size in zip(_BLOBS, lengths, strict=True):
                if size:
                    parts[name] = whole[position : position + size]
                    position += size
            end = tuple(local) if isinstance(local, list) else local
            link = Link(local=end, **dict(zip(_FACTS, facts, strict=True)), **parts)
            links[link.number] = link
        if position != len(whole):
            raise ProtocolViolationError(
                f"a table of connections has {len(whole)} bytes instead of {position}"
            )
    except (struct.error, ValueError, TypeError) as error:
        raise ProtocolViolationError(f"not a table of connections: {whole[:12]!r} ({error})") from error
    return links
