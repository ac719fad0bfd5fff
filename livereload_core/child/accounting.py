"""Which accepted connections wait for an answer, told by the direction of their traffic.

         accept          recv            send
    ───────────▶ FRESH ───────▶ INBOUND ───────▶ OUTBOUND        (any) ──close──▶ no longer counted
                                   ▲      recv      │
                                   └────────────────┘

A connection is *in flight* when it has unread bytes, when the last bytes came in, when an HTTP answer has
begun and is not whole, or shortly after it was accepted. Everything else is idle.

Invariants:
    * One Python method per call, no lock, no copy of a body: the judgement is made when somebody asks.
    * The books hold weak references only: a program that drops a connection closes it, as ever.
    * Once :attr:`Books.watched` is true each answer is looked at: somebody waits for quiet, for the first
      answer, or for connections to become idle so that they can be closed.
"""

from __future__ import annotations

import enum
import socket
import time
import weakref
from collections.abc import Callable, Iterable
from typing import Any

from livereload_core.child import native
from livereload_core.child import net_answers as answers
from livereload_core.posix.tcp import unread_bytes

__all__ = ["FRESH_GRACE", "Books", "TrackedSocket", "Traffic"]

FRESH_GRACE = 0.25
"""Seconds for which a silent new connection counts as in flight; browsers open some that stay silent."""

_plain = socket.socket


class Traffic(enum.Enum):
    """Which way the last bytes of a connection went."""

    FRESH = "fresh"
    INBOUND = "inbound"
    OUTBOUND = "outbound"


# module globals, because a lookup on the enum class would double the cost of the hot methods
_FRESH = Traffic.FRESH
_IN = Traffic.INBOUND
_OUT = Traffic.OUTBOUND


_recv = _plain.recv
_send = _plain.send
_JOINED = 64 * 1024
"""Bytes of an answer in several buffers up to which it is kept in one piece."""


class TrackedSocket(_plain):
    """An accepted connection that notes which way its bytes go."""

    __slots__ = (
        "_books",
        "_fd",
        "_head",
        "_head_open",
        "_sent",
        "_since",
        "_tail",
        "_to_head",
        "_traffic",
        "_upgraded",
        "_whole",
    )
    __carried_as__ = _plain  # in preserved state, where nobody accounts for it

    def __init__(self, family: int = -1, type: int = -1, proto: int = -1, fileno: int | None = None) -> None:  # noqa: A002
        super().__init__(family, type, proto, fileno)
        self._books: Books | None = None
        self._fd = -1
        self._traffic = _FRESH
        self._since = 0.0
        self._head = b""
        self._head_open = False
        self._sent = 0
        self._tail = b""
        self._to_head = False
        self._upgraded = False
        self._whole: bytes | None = None

    # -- inbound ---------------------------------------------------------------------------------------

    def recv(self, bufsize: int, flags: int = 0, /) -> bytes:
        """Receive, and note that the client has spoken."""
        data = _recv(self, bufsize, flags)
        if self._traffic is not _IN:
            self._came_in(data)
        return data

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        """Receive into a buffer, and note that the client has spoken."""
        count = _plain.recv_into(self, buffer, nbytes, flags)
        if self._traffic is not _IN:
            self._came_in(bytes(memoryview(buffer).cast("B")[: min(count, 8)]))
        return count

    def recvfrom(self, bufsize: int, flags: int = 0, /) -> tuple[bytes, Any]:
        """Receive, and note that the client has spoken."""
        data, peer = _plain.recvfrom(self, bufsize, flags)
        if self._traffic is not _IN:
            self._came_in(data)
        return data, peer

    def recvmsg(
        self, bufsize: int, ancbufsize: int = 0, flags: int = 0, /
    ) -> tuple[bytes, list[Any], int, Any]:
        """Receive, and note that the client has spoken."""
        message = _plain.recvmsg(self, bufsize, ancbufsize, flags)
        if self._traffic is not _IN:
            self._came_in(message[0])
        return message

    def _came_in(self, data: bytes) -> None:
        if data:
            self._to_head = data[:5] == b"HEAD "
            self._traffic = _IN
        elif self._traffic is _FRESH:
            # the client left without a word: nothing is owed. After a request, EOF is a half-close only.
            self._traffic = _OUT

    # -- outbound --------------------------------------------------------------------------------------

    def send(self, data: Any, flags: int = 0, /) -> int:
        """Send, and note how much of the answer is out."""
        sent = _send(self, data, flags)
        if self._traffic is _IN and type(data) is bytes and sent == len(data) and data[9:12] != b"101":
            # The usual case, an answer in one piece: kept as it is, judged when somebody asks.
            self._traffic = _OUT
            self._whole = data
            if self._books is not None and self._books.watched:
                self._books.answered(self)
        elif self._whole is not None and type(data) is bytes and sent == len(data) and sent < _JOINED:
            # uvicorn: head and body apart
            self._whole += data
            if self._books is not None and self._books.watched:
                self._books.answered(self)
            if len(self._whole) >= _JOINED:
                self._unfold()
        else:
            self._went_out(data, sent)
        return sent

    def sendall(self, data: Any, flags: int = 0, /) -> None:
        """Send everything, and note how much of the answer is out."""
        _plain.sendall(self, data, flags)
        self._went_out(data, memoryview(data).nbytes)

    def sendmsg(
        self, buffers: Iterable[Any], ancdata: Iterable[Any] = (), flags: int = 0, address: Any = None, /
    ) -> int:
        """Send several buffers, and note how much of the answer is out."""
        parts = list(buffers)
        sent = _plain.sendmsg(self, parts, ancdata, flags, address)
        if self._traffic is _IN and sent < _JOINED:
            joined = b"".join(parts)
            if len(joined) == sent and joined[9:12] != b"101":
                self._traffic = _OUT
                self._whole = joined
                if self._books is not None and self._books.watched:
                    self._books.answered(self)
                return sent
        left = sent
        for part in parts:
            taken = min(left, memoryview(part).nbytes)
            if taken:
                self._went_out(part, taken)
            left -= taken
        return sent

    def _went_out(self, data: Any, sent: int) -> None:
        # What is kept is copied: a buffered writer lends memory that it uses again after the call.
        self._unfold()
        view = memoryview(data).cast("B")
        if self._traffic is not _OUT:
            self._traffic = _OUT
            if not self._upgraded:
                self._begin_answer(bytes(view[: min(sent, answers.HEAD_LIMIT)]))
        elif self._head_open:
            self._continue_head(bytes(view[: min(sent, answers.HEAD_LIMIT)]))
        self._sent += sent
        start = max(0, sent - answers.TAIL_LENGTH)
        if sent >= answers.TAIL_LENGTH:
            self._tail = bytes(view[start:sent])
        else:
            self._tail = (self._tail + bytes(view[start:sent]))[-answers.TAIL_LENGTH :]
        books = self._books
        if books is not None and books.watched:
            books.answered(self)

    def _unfold(self) -> None:
        """Turn an answer that was kept in one piece into head, length and tail."""
        whole, self._whole = self._whole, None
        if whole is not None and not self._upgraded:
            self._begin_answer(whole[: answers.HEAD_LIMIT])
            self._sent = len(whole)
            self._tail = whole[-answers.TAIL_LENGTH :]

    def _begin_answer(self, first: bytes) -> None:
        self._head = first
        self._sent = 0
        self._tail = b""
        self._head_open = b"\r\n\r\n" not in first and answers.may_be_http(first)
        self._upgraded = answers.is_upgrade(first)

    def _continue_head(self, more: bytes) -> None:
        # wsgiref writes each field on its own; the status line alone does not tell the length
        self._head = (self._head + more)[: answers.HEAD_LIMIT]
        self._upgraded = answers.is_upgrade(self._head)
        self._head_open = (
            b"\r\n\r\n" not in self._head
            and len(self._head) < answers.HEAD_LIMIT
            and answers.may_be_http(self._head)
        )

    def note_sendfile(self, sent: int) -> None:
        """Count bytes of a body that left by ``os.sendfile()``."""
        self._unfold()
        self._sent += sent
        if self._books is not None and self._books.watched:
            self._books.answered(self)

    # -- the end ---------------------------------------------------------------------------------------

    def close(self) -> None:
        """Close, and strike the connection off the books."""
        super().close()
        if self._books is not None and self.fileno() < 0:  # open still while makefile() objects are
            self._books.forget(self)

    def detach(self) -> int:
        """Give the fd away, and strike the connection off the books."""
        if self._books is not None:
            self._books.forget(self)  # to TLS or to C code: nothing can be seen any more
        return super().detach()

    # -- judgement -------------------------------------------------------------------------------------

    def is_busy(self, now: float) -> bool:
        """Whether a request is on its way or its answer is not whole (``now``: monotonic seconds)."""
        self._unfold()
        if self._upgraded:
            return False  # whose turn it is on a WebSocket cannot be told from outside
        if self._traffic is _IN:
            return True
        if self._traffic is _FRESH and now - self._since < FRESH_GRACE:
            return True
        try:
            if unread_bytes(self.fileno()):
                return True
        except (OSError, ValueError):
            return False  # closed meanwhile by another thread
        return self._traffic is _OUT and not answers.is_complete(
            self._head, self._sent, self._tail, to_head=self._to_head
        )

    def grace_left(self, now: float) -> float | None:
        """Seconds until a fresh connection stops to count as in flight by its age alone."""
        if self._traffic is not _FRESH or now - self._since >= FRESH_GRACE:
            return None
        return self._since + FRESH_GRACE - now

    def close_politely(self) -> None:
        """Let the program read end-of-file: it closes the connection in its own way, after what it does."""
        try:
            _plain.shutdown(self, socket.SHUT_RD)
        except OSError:
            pass  # the client was faster; the program sees that by itself


class Books:
    """The connections of this process that were accepted from one of our listeners.

    Attributes:
        watched: whether :meth:`answered` wants to hear of every answer.
    """

    def __init__(self) -> None:
        self.watched = False
        self._by_fd: dict[int, weakref.ref[TrackedSocket]] = {}
        self._requests = 0
        self._changed = native.Condition()
        self._waiting = 0
        self._on_answer: Callable[[], None] | None = None
        self._leaving = False

    @property
    def on_answer(self) -> Callable[[], None] | None:
        """Called once, by the thread that writes the next answer's first bytes."""
        return self._on_answer

    @on_answer.setter
    def on_answer(self, callback: Callable[[], None] | None) -> None:
        self._on_answer = callback
        self._look()

    @property
    def requests(self) -> int:
        """Requests that adapters have counted and that are not answered."""
        return self._requests

    def enter(self, sock: TrackedSocket) -> None:
        """Begin to count a connection that was just accepted."""
        sock._since = time.monotonic()
        sock._books = self
        sock._fd = sock.fileno()
        self._by_fd[sock._fd] = weakref.ref(sock)

    def forget(self, sock: TrackedSocket) -> None:
        """Stop to count a connection."""
        sock._books = None
        reference = self._by_fd.get(sock._fd)
        if reference is not None and reference() is sock:  # else the number is another connection's by now
            self._by_fd.pop(sock._fd, None)
        if self._waiting:
            self._notify()

    def by_fd(self, fd: int) -> TrackedSocket | None:
        """Return the connection behind ``fd``."""
        reference = self._by_fd.get(fd)
        return reference() if reference is not None else None

    def connections(self) -> list[TrackedSocket]:
        """Return the open connections; those that the program dropped are struck off."""
        found = []
        for fd, reference in list(self._by_fd.items()):
            sock = reference()
            if sock is not None and sock.fileno() == fd:
                found.append(sock)
            elif self._by_fd.get(fd) is reference:
                self._by_fd.pop(fd, None)
        return found

    def in_flight(self) -> int:
        """Count what is not answered yet."""
        now = time.monotonic()
        return self._requests + sum(sock.is_busy(now) for sock in self.connections())

    def count(self, change: int) -> None:
        """Add to the requests whose bytes cannot be seen from here."""
        with self._changed:
            self._requests += change
            if self._waiting:
                self._changed.notify_all()
        if change < 0:
            self._answer()

    def answered(self, sock: TrackedSocket) -> None:
        """Look at a connection that has just sent something."""
        self._answer()
        if self._leaving and (sock._upgraded or not sock.is_busy(time.monotonic())):
            sock.close_politely()
        if self._waiting:
            self._notify()

    def wait_quiet(self, timeout: float) -> int:
        """Sleep until nothing is in flight, at most ``timeout`` seconds; return what is left."""
        deadline = time.monotonic() + timeout
        with self._changed:
            self._waiting += 1
            self._look()
            try:
                while left := self.in_flight():
                    now = time.monotonic()
                    if now >= deadline:
                        break
                    graces = (sock.grace_left(now) for sock in self.connections())
                    self._changed.wait(min([deadline - now, *(g for g in graces if g is not None)]))
                return left
            finally:
                self._waiting -= 1
                self._look()

    def leave(self) -> None:
        """Close what is idle politely, and from now on each connection once it becomes idle."""
        self._leaving = True
        self._look()
        now = time.monotonic()
        for sock in self.connections():
            if not sock.is_busy(now):
                sock.close_politely()

    def after_fork(self) -> None:
        """In a forked process: a lock that another thread held is made anew; nobody waits here."""
        self._changed = native.Condition()
        self._waiting = 0
        self._on_answer = None
        self._look()

    def _answer(self) -> None:
        if self._on_answer is None:
            return
        with self._changed:
            callback, self._on_answer = self._on_answer, None
            self._look()
        if callback is not None:
            callback()

    def _look(self) -> None:
        self.watched = bool(self._waiting or self._on_answer is not None or self._leaving)

    def _notify(self) -> None:
        with self._changed:
            self._changed.notify_all()
