"""Whether an HTTP/1.x answer has been sent whole, judged from its head and its last bytes.

A pure function of what the accounting kept: the bytes of a body are counted, never stored. It is asked only
when somebody waits for quiet, not per call. RFC 9112, section 6.3 gives the order of the rules.
"""

from __future__ import annotations

__all__ = ["HEAD_LIMIT", "TAIL_LENGTH", "is_complete", "is_upgrade", "may_be_http"]

HEAD_LIMIT = 16 * 1024
"""Bytes of a head that are kept; a longer one is taken for an answer of unknown length."""

TAIL_LENGTH = 7
"""Bytes kept of the end: those of the last chunk with the line break before it."""

_LAST_CHUNK = b"\r\n0\r\n\r\n"
_VERSION = b"HTTP/1."


def may_be_http(head: bytes) -> bool:
    """Whether an answer that begins like this is HTTP/1.x, as far as it has been sent."""
    return bool(head) and head[: len(_VERSION)] == _VERSION[: len(head)]


def is_upgrade(head: bytes) -> bool:
    """Whether the connection changes its protocol with this answer (WebSocket)."""
    return head[:12] in (b"HTTP/1.1 101", b"HTTP/1.0 101")


def is_complete(head: bytes, sent: int, tail: bytes, *, to_head: bool = False) -> bool:
    r"""Judge one answer.

    Args:
        head: its first bytes, up to and with the blank line (what follows does no harm).
        sent: how many bytes of it were sent, head included.
        tail: the last :data:`TAIL_LENGTH` of them.
        to_head: whether it answers a HEAD request, which has no body.

    Returns:
        True when the client has nothing more to expect. Bytes that are no HTTP/1.x (TLS, HTTP/2, a protocol
        of the user's) count as whole: nothing is known but that the last word was the server's.
    """
    if not may_be_http(head):
        return True
    end = head.find(b"\r\n\r\n")
    if end < 0:
        return len(head) >= HEAD_LIMIT
    status = head[9:12]
    if status == b"101":
        return True
    if status.startswith(b"1"):
        return False  # 100 Continue: the answer itself is still to come
    if to_head or status in (b"204", b"304"):
        return True
    fields = _fields(head[:end])
    if b"chunked" in fields.get(b"transfer-encoding", b"").lower():
        return tail.endswith(_LAST_CHUNK)
    length = fields.get(b"content-length", b"")
    if length.isdigit():
        return sent >= end + 4 + int(length)
    return False  # lasts until the server closes


def _fields(head: bytes) -> dict[bytes, bytes]:
    fields: dict[bytes, bytes] = {}
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        fields[name.strip().lower()] = value.strip()
    return fields
