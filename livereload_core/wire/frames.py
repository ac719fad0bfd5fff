"""Frames on the control channel: message boundaries and fd counts on a byte stream.

A frame is::

    +------+------+---------+----------+--------------------+
    | 'l'  | 'c'  | version | fd count | payload length, u32|   8 bytes, big endian
    +------+------+---------+----------+--------------------+
    | payload: UTF-8 JSON                                   |
    +-------------------------------------------------------+

The fds themselves travel as SCM_RIGHTS beside the first byte of their frame. The kernel never merges
bytes across two such control messages, and keeps their order, so a queue of received fds and the
count in each header pair them up again.

A stream with explicit lengths was chosen over SOCK_SEQPACKET because tracebacks and file lists have no
upper bound, and because macOS has no SOCK_SEQPACKET for local sockets.
"""

from __future__ import annotations

import struct

from livereload_core.errors import ProtocolViolationError

__all__ = ["HEADER_SIZE", "MAX_FDS", "MAX_PAYLOAD", "PROTOCOL_VERSION", "FrameDecoder", "encode_frame"]

PROTOCOL_VERSION = 1
MAX_FDS = 250
"""Linux's SCM_MAX_FD is 253; the rest is head room."""
MAX_PAYLOAD = 64 * 1024 * 1024
"""More than any list of files or traceback; a larger length means that the stream is out of step."""

_HEADER = struct.Struct("!2sBBI")
HEADER_SIZE = _HEADER.size
_MAGIC = b"lc"


def encode_frame(payload: bytes, fd_count: int = 0) -> bytes:
    """Return the bytes of one frame.

    Raises:
        ProtocolViolationError: too many fds or too long a payload for one frame.
    """
    if not 0 <= fd_count <= MAX_FDS:
        raise ProtocolViolationError(f"a frame carries at most {MAX_FDS} fds, not {fd_count}")
    if len(payload) > MAX_PAYLOAD:
        raise ProtocolViolationError(f"a frame carries at most {MAX_PAYLOAD} bytes, not {len(payload)}")
    return _HEADER.pack(_MAGIC, PROTOCOL_VERSION, fd_count, len(payload)) + payload


class FrameDecoder:
    """Cuts a byte stream into ``(payload, fd_count)`` pairs, whatever the sizes in which it arrives."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[tuple[bytes, int]]:
        """Take bytes in and return the frames that are complete now.

        Raises:
            ProtocolViolationError: the bytes are no frame of this version.
        """
        self._buffer += data
        frames: list[tuple[bytes, int]] = []
        while len(self._buffer) >= HEADER_SIZE:
            magic, version, fd_count, length = _HEADER.unpack_from(self._buffer)
            if magic != _MAGIC or length > MAX_PAYLOAD or fd_count > MAX_FDS:
                raise ProtocolViolationError(f"not a frame: {bytes(self._buffer[:HEADER_SIZE])!r}")
            if version != PROTOCOL_VERSION:
                raise ProtocolViolationError(f"frame version {version}, this side speaks {PROTOCOL_VERSION}")
            end = HEADER_SIZE + length
            if len(self._buffer) < end:
                break
            frames.append((bytes(self._buffer[HEADER_SIZE:end]), fd_count))
            del self._buffer[:end]
        return frames

    @property
    def mid_frame(self) -> bool:
        """Whether a frame has begun and not ended; at EOF that means a truncated message."""
        return bool(self._buffer)
