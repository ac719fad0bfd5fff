"""Control channels: frames with fds over a local stream socket, blocking for the child, not for the parent.

Ownership of fds: whoever sends keeps its own copies and closes them when it likes; whoever receives owns
what came. EOF and ECONNRESET mean the same: the other side is gone.
"""

from __future__ import annotations

import array
import collections
import contextlib
import os
import socket
import threading
from collections.abc import Callable, Iterator, Sequence

from livereload_core.errors import ProtocolViolationError
from livereload_core.wire import frames
from livereload_core.wire.messages import Message, MoreFds, decode, encode

__all__ = ["BlockingChannel", "ChannelClosedError", "StreamChannel", "framed"]

_CHUNK = 256 * 1024
_ANCILLARY = socket.CMSG_SPACE(frames.MAX_FDS * array.array("i").itemsize)

Received = tuple[Message, list[int]]


class ChannelClosedError(ConnectionError):
    """The other side is gone."""


def framed(message: Message, fds: Sequence[int]) -> list[tuple[bytes, Sequence[int]]]:
    """Return the frames of one message, each with its fds: several where one cannot take them all."""
    frames_of_it = []
    while len(fds) > frames.MAX_FDS:
        frames_of_it.append((frames.encode_frame(encode(MoreFds()), frames.MAX_FDS), fds[: frames.MAX_FDS]))
        fds = fds[frames.MAX_FDS :]
    frames_of_it.append((frames.encode_frame(encode(message), len(fds)), fds))
    return frames_of_it


def _ancillary(fds: Sequence[int]) -> list[tuple[int, int, array.array[int]]]:
    return [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []


def _duplicates(fds: Sequence[int]) -> list[int]:
    own: list[int] = []
    try:
        own.extend(map(os.dup, fds))  # what was made so far is in the list when one fails
    except BaseException:
        for fd in own:
            os.close(fd)
        raise
    return own


class _Inbox:
    """Pairs frames with the fds that came beside them."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._decoder = frames.FrameDecoder()
        self._fds: collections.deque[int] = collections.deque()
        self._ahead: list[int] = []

    def read(self, flags: int = 0) -> list[Received]:
        """One recvmsg.

        Raises:
            ChannelClosedError: EOF or reset.
            BlockingIOError: nothing there and the socket does not block.
            ProtocolViolationError: the bytes, or the number of fds, are wrong.
        """
        try:
            data, ancillary, message_flags, _ = self._sock.recvmsg(_CHUNK, _ANCILLARY, flags | _CLOEXEC)
        except (ConnectionResetError, BrokenPipeError) as error:
            raise ChannelClosedError("the other side is gone") from error
        for level, kind, payload in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                received = array.array("i")
                received.frombytes(payload[: len(payload) - len(payload) % received.itemsize])
                self._fds.extend(received)
        if message_flags & socket.MSG_CTRUNC:
            # The kernel dropped fds (limit of open files, or too small a buffer): pairing is lost for good.
            raise ProtocolViolationError(
                "file descriptors were lost on the way (limit of open files reached?)"
            )
        if not data:
            raise ChannelClosedError("the other side is gone")
        received_messages: list[Received] = []
        for payload, count in self._decoder.feed(data):
            if len(self._fds) < count:
                raise ProtocolViolationError(f"a frame announced {count} fds, {len(self._fds)} came")
            fds = [self._fds.popleft() for _ in range(count)]
            message = decode(payload)
            if isinstance(message, MoreFds):
                self._ahead += fds
            else:
                received_messages.append((message, self._ahead + fds))
                self._ahead = []
        return received_messages

    def close(self) -> None:
        while self._fds:
            os.close(self._fds.popleft())
        while self._ahead:
            os.close(self._ahead.pop())


_CLOEXEC = getattr(socket, "MSG_CMSG_CLOEXEC", 0)


class BlockingChannel:
    """The child's side: one reader at a time, any thread may send."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(True)
        self._sock = sock
        self._inbox = _Inbox(sock)
        self._ready: collections.deque[Received] = collections.deque()
        # Re-entrant: while the state is exported under it, the user's code may import, and tell of it.
        self._lock = threading.RLock()

    def fileno(self) -> int:
        """The socket's fd, for polling."""
        return self._sock.fileno()

    @property
    def pending(self) -> bool:
        """Whether a message was received already and is not yet taken."""
        return bool(self._ready)

    @property
    def waiting(self) -> tuple[Message, ...]:
        """The messages that were received already and are not yet taken."""
        return tuple(message for message, _ in self._ready)

    def send(self, message: Message, fds: Sequence[int] = ()) -> None:
        """Send one message; the fds stay the caller's.

        Raises:
            ChannelClosedError: the parent is gone.
        """
        with self._lock:
            try:
                for frame, some in framed(message, fds):
                    sent = self._sock.sendmsg([frame], _ancillary(some))
                    if sent < len(frame):
                        self._sock.sendall(frame[sent:])
            except (BrokenPipeError, ConnectionResetError) as error:
                raise ChannelClosedError("the parent is gone") from error

    def receive(self) -> Received:
        """Wait for one message.

        Raises:
            ChannelClosedError: the parent is gone.
        """
        while not self._ready:
            self._ready.extend(self._inbox.read())
        return self._ready.popleft()

    @contextlib.contextmanager
    def exclusive(self) -> Iterator[None]:
        """Keep other threads from sending, so that frames can be written to the fd directly."""
        with self._lock:
            yield

    def forked(self) -> None:
        """In a process that the user's code forked: never read, and send nothing large."""
        self._lock = threading.RLock()  # the old one may have been held by a thread that the fork left behind


class StreamChannel:
    """The parent's side: never blocks; a frame that does not fit waits for the socket to drain.

    Args:
        sock: our end.
        on_stall: called with True when output waits for the socket and False when it is empty again.
    """

    def __init__(self, sock: socket.socket, on_stall: Callable[[bool], None]) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._inbox = _Inbox(sock)
        self._outbox: collections.deque[tuple[bytes, list[int]]] = collections.deque()
        self._on_stall = on_stall

    def fileno(self) -> int:
        """The socket's fd, for the event loop."""
        return self._sock.fileno()

    def send(self, message: Message, fds: Sequence[int] = ()) -> None:
        """Send now, or queue; the caller may close its fds at once. A dead peer is noticed when reading."""
        idle = not self._outbox
        for frame, some in framed(message, fds):
            self._outbox.append((frame, _duplicates(some)))
        if idle:
            self.flush()
            if self._outbox:
                self._on_stall(True)

    def flush(self) -> None:
        """Send what the socket takes."""
        while self._outbox:
            frame, fds = self._outbox[0]
            try:
                sent = self._sock.sendmsg([frame], _ancillary(fds))
            except BlockingIOError:
                return
            except OSError:
                # The peer died; its exit is an event of its own, so nothing is swallowed here.
                self._drop_output()
                break
            for fd in fds:
                os.close(fd)
            if sent < len(frame):
                self._outbox[0] = (frame[sent:], [])
            else:
                self._outbox.popleft()
        self._on_stall(False)

    def read(self) -> list[Received]:
        """Read once, without blocking.

        Raises:
            ChannelClosedError: the child closed its end.
            ProtocolViolationError: it sent what is no message.
        """
        try:
            return self._inbox.read()
        except BlockingIOError:
            return []

    def close(self) -> None:
        """Close our end and every fd that was on its way."""
        self._drop_output()
        self._inbox.close()
        self._sock.close()

    def _drop_output(self) -> None:
        while self._outbox:
            for fd in self._outbox.popleft()[1]:
                os.close(fd)
