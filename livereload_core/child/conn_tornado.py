"""Tornado's connections, which know no transport and no protocol: its streams read and write sockets.

A TCPServer accepts by itself and wraps each socket in an IOStream. Here the accepted socket goes to the event
loop instead, with a link as its protocol, as those of all other servers do; what the TCPServer gets is an
IOStream that reads and writes the link::

    loop's transport ◀──▶ Link ◀──▶ Inlet ──▶ LinkedStream ◀──▶ TCPServer.handle_stream (HTTPServer, ...)

The stream is made of the methods that Tornado documents for streams of one's own: ``read_from_fd``,
``write_to_fd``, ``close_fd``; its ``io_loop`` is one that tells when the *link* can be read and written. What
Tornado does not promise are two names, :data:`ACCEPT` in ``tornado.tcpserver`` and the method that it gets;
where they are gone nothing is patched, and connections end at an edit as those of unknown servers do.

What a handler has dealt with: a stream is read again only when what it gave before has been dealt with. So a
message of a WebSocket counts as taken when the next frame is asked for, which Tornado does once
``on_message()`` has returned or its coroutine has ended; bytes of a protocol of the program's own count as
taken when a read returns them.

Invariants:
    * The bytes of a link go to exactly one stream, in their order.
    * While the link holds, whoever wants to read is parked, whatever the stream has in its buffer: that goes
      over to the next generation.
"""

from __future__ import annotations

import asyncio
import functools
import os
import socket
import sys
import threading
from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

from livereload_core.child.conn_link import Link
from livereload_core.framing.websocket import frame_lengths
from livereload_core.wire.links import Kind

if TYPE_CHECKING:
    from livereload_core.child.net import Net
    from livereload_core.child.net_patches import Patches

__all__ = ["ACCEPT", "callbacks"]

ACCEPT = "add_accept_handler"
"""The function of tornado.netutil by whose name tornado.tcpserver begins to accept."""
_READS = ("read_until_regex", "read_until", "read_bytes", "read_into", "read_until_close")
_MOST_UNREAD = 256 * 1024
"""Bytes that the stream has not asked for above which the client is not listened to."""


def callbacks(patches: Patches, net: Net) -> dict[str, Callable[[ModuleType], None]]:
    """Return module name -> what to do when it was imported."""
    return {"tornado.tcpserver": lambda module: _patch(patches, net, module)}


class _Library(NamedTuple):
    """What is used of Tornado, all of it documented."""

    stream_class: Any
    io_loop_class: Any
    convert_yielded: Callable[[Any], Any]
    log: Any


def _patch(patches: Patches, net: Net, module: ModuleType) -> None:
    server_class, stream_base = getattr(module, "TCPServer", None), getattr(module, "IOStream", None)
    accept = getattr(module, ACCEPT, None)
    # the method that all servers share; one that has its own is left alone
    handle = getattr(server_class, "_handle_connection", None)
    if accept is None or handle is None or not _is_extensible(stream_base):
        return
    ioloop, gen, log = (sys.modules[f"tornado.{name}"] for name in ("ioloop", "gen", "log"))
    library = _Library(_stream_class(stream_base), ioloop.IOLoop, gen.convert_yielded, log.app_log)

    @functools.wraps(accept)
    def add_accept_handler(sock: Any, callback: Callable[[Any, Any], None]) -> Any:
        loop = getattr(library.io_loop_class.current(), "asyncio_loop", None)
        server = getattr(callback, "__self__", None)
        can_follow = (
            loop is not None
            and getattr(callback, "__func__", None) is handle
            and getattr(server, "ssl_options", None) is None
            and threading.current_thread() is threading.main_thread()
        )
        return accept(sock, _linked(net, loop, sock, server, library) if can_follow else callback)

    patches.put(module, ACCEPT, add_accept_handler)


def _is_extensible(stream_class: Any) -> bool:
    names = (*_READS, "read_from_fd", "write_to_fd", "close_fd", "get_fd_error", "set_nodelay", "start_tls")
    return all(hasattr(stream_class, name) for name in names)


def _linked(net: Net, loop: Any, sock: Any, server: Any, library: _Library) -> Callable[[Any, Any], None]:
    """Return what to do with each accepted connection."""
    hub = net.connections
    entry = hub.server(loop, lambda: Inlet(server, library))
    listener = net.listeners.of(sock.fileno())
    if listener is not None:
        listener.linked = True
    hub.serves(entry, [sock])
    connecting: set[asyncio.Task[Any]] = set()

    def accepted(connection: Any, address: object) -> None:
        task = loop.create_task(_connect(loop, entry, connection))
        connecting.add(task)
        task.add_done_callback(connecting.discard)

    return accepted


async def _connect(loop: Any, entry: Any, connection: Any) -> None:
    try:
        await loop.connect_accepted_socket(entry, connection)
    except OSError:
        connection.close()  # it was gone before it could be looked at


class Inlet(asyncio.Protocol):
    """The protocol of one connection: keeps what a stream has not read, and tells when it can.

    Args:
        server: the TCPServer.
        library: what is used of Tornado.
    """

    def __init__(self, server: Any, library: _Library) -> None:
        self._server = server
        self._library = library
        self._stream: Any = None
        self._buffer = bytearray()
        self._eof = False
        self._paused = False
        self._full = False
        self.error: Exception | None = None
        self.lost = False
        self.link: Any = None

    # -- towards the link ----------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """As TCPServer does it with a socket that it has accepted."""
        assert isinstance(transport, Link)
        self.link = transport
        transport.gate, transport.streams = "tornado", True
        server, library = self._server, self._library
        try:
            self._stream = library.stream_class(self, server.max_buffer_size, server.read_chunk_size)
            handled = server.handle_stream(self._stream, transport.get_extra_info("peername"))
            if handled is not None:
                handled = library.convert_yielded(handled)
                library.io_loop_class.current().add_future(handled, lambda future: future.result())
        except Exception:
            library.log.error("Error in connection callback", exc_info=True)

    def data_received(self, data: bytes) -> None:
        """Keep it until the stream reads it."""
        self._buffer += data
        if len(self._buffer) > _MOST_UNREAD and not self._full:
            self._full = True
            self.link.pause_reading()
        self._look()

    def eof_received(self) -> bool:
        """The stream shall see it behind the bytes, and close."""
        self._eof = True
        self._look()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell whoever reads or writes."""
        self.lost = self._eof = True
        self.error = exc
        self._look()

    def pause_writing(self) -> None:
        """The client reads slowly."""
        self._paused = True

    def resume_writing(self) -> None:
        """It has caught up."""
        self._paused = False
        self._look()

    def _look(self) -> None:
        if self._stream is not None:
            self._stream.io_loop.look()

    # -- towards the stream --------------------------------------------------------------------------------

    @property
    def readable(self) -> bool:
        """Whether a read would return something, be it the end."""
        return bool(self._buffer) or self._eof

    @property
    def writable(self) -> bool:
        """Whether a write would be taken."""
        return not self._paused or self.lost

    def read(self, buffer: Any) -> int | None:
        """Fill ``buffer``; None when there is nothing, 0 at the end."""
        count = min(len(self._buffer), len(buffer))
        if count:
            buffer[:count] = self._buffer[:count]
            del self._buffer[:count]
            if self._full and len(self._buffer) <= _MOST_UNREAD // 2:
                self._full = False
                self.link.resume_reading()
            return count
        if isinstance(self.error, OSError):
            raise self.error
        return 0 if self._eof else None

    def give_up(self) -> socket.socket:
        """Leave the socket to a stream of Tornado's own; returns a duplicate for it.

        Raises:
            ValueError: the client has said more already, as Tornado has it.
        """
        if self._buffer:
            raise ValueError("IOStream is not idle; cannot convert to SSL")
        self.link.becomes_opaque()
        self.link.pause_reading()
        return socket.socket(fileno=os.dup(self.link.fileno()))

    def given_up(self, future: Any) -> None:
        """The new stream is there, or has failed: when it ends, the connection does."""
        if future.cancelled() or future.exception() is not None:
            self.link.abort()
            return
        stream = future.result()
        close_fd = stream.close_fd

        def close() -> None:
            close_fd()
            self.link.abort()

        stream.close_fd = close
        if stream.closed():
            self.link.abort()

    def write(self, data: memoryview) -> int:
        """Send; returns how much was taken."""
        if self.lost and not self.link.moved:
            raise self.error if isinstance(self.error, OSError) else BrokenPipeError("the client has left")
        if not self.writable:
            raise BlockingIOError
        self.link.write(bytes(data))
        return len(data)


class _Readiness:
    """The ``io_loop`` of one stream: an IOLoop whose handlers hear of a link instead of an fd."""

    def __init__(self, io_loop: Any, inlet: Inlet) -> None:
        self._io_loop = io_loop
        self._inlet = inlet
        self._fd: Any = None
        self._handler: Callable[[Any, int], None] | None = None
        self._wanted = 0
        self._scheduled = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._io_loop, name)

    def add_handler(self, fd: Any, handler: Callable[[Any, int], None], events: int) -> None:
        """See IOLoop."""
        self._fd, self._handler, self._wanted = fd, handler, events
        self.look()

    def update_handler(self, fd: Any, events: int) -> None:
        """See IOLoop."""
        self._wanted = events
        self.look()

    def remove_handler(self, fd: Any) -> None:
        """See IOLoop."""
        self._handler = None

    def look(self) -> None:
        """Something has changed: tell the handler, in a turn of its own, as long as it is so."""
        if self._handler is not None and not self._scheduled and self._ready():
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._tell)

    def _tell(self) -> None:
        self._scheduled = False
        ready = self._ready()
        if self._handler is not None and ready:
            self._handler(self._fd, ready)
            self.look()

    def _ready(self) -> int:
        loop, inlet = self._io_loop, self._inlet
        ready = (loop.READ if inlet.readable else 0) | (loop.WRITE if inlet.writable else 0)
        if inlet.lost and not self._wanted & (loop.READ | loop.WRITE):
            ready |= loop.ERROR
        return int(ready & self._wanted)


def _stream_class(base: Any) -> Any:
    """Return the class of streams that read and write a link."""

    class LinkedStream(base):  # type: ignore[misc]
        def __init__(self, inlet: Inlet, max_buffer_size: Any, read_chunk_size: Any) -> None:
            super().__init__(
                inlet.link.get_extra_info("socket"),
                max_buffer_size=max_buffer_size,
                read_chunk_size=read_chunk_size,
            )
            self._inlet = inlet
            self._dealt_with = bytearray()  # of a WebSocket: what was read since the last whole frame
            io_loop: Any = self.__dict__["io_loop"]
            self.io_loop: Any = _Readiness(io_loop, inlet)

        def read_from_fd(self, buf: Any) -> int | None:
            return self._inlet.read(buf)

        def write_to_fd(self, data: memoryview) -> int:
            with data:
                return self._inlet.write(data)

        def close_fd(self) -> None:
            self.socket: Any = None
            self._inlet.link.close()

        def get_fd_error(self) -> Exception | None:
            return self._inlet.error

        def start_tls(self, *args: Any, **kwargs: Any) -> Any:
            """From here on the stream is a real one: what is inside of TLS cannot be followed."""
            sock = self._inlet.give_up()
            self.socket = sock
            future = super().start_tls(*args, **kwargs)
            future.add_done_callback(self._inlet.given_up)
            return future

        def set_nodelay(self, value: bool) -> None:
            """The loop's transports send at once, always."""

        def _read(self, read: Any, *args: Any, **kwargs: Any) -> Any:
            link: Link = self._inlet.link
            self._deal(link)
            if link.holds_messages or link.holds_bytes:
                return asyncio.ensure_future(self._parked(link, read, args, kwargs))
            return self._begin(link, read, args, kwargs)

        async def _parked(self, link: Link, read: Any, args: Any, kwargs: Any) -> Any:
            await link.park()
            return await self._begin(link, read, args, kwargs)

        def _begin(self, link: Link, read: Any, args: Any, kwargs: Any) -> Any:
            future = read(self, *args, **kwargs)
            link.reading += 1
            link.receiving += 1
            into = args[0] if read is base.read_into and args else kwargs.get("buf")
            if future.done():
                self._done(link, into, future)
            else:
                future.add_done_callback(functools.partial(self._done, link, into))
            return future

        def _done(self, link: Link, into: Any, future: Any) -> None:
            link.reading -= 1
            link.receiving -= 1
            if future.cancelled() or future.exception() is not None:
                return
            data = future.result()
            if isinstance(data, int):
                data = bytes(into[:data])
            if link.kind == Kind.WEBSOCKET:
                self._dealt_with += data
            else:
                link.taken_bytes(len(data))

        def _deal(self, link: Link) -> None:
            """The next read begins: whole messages that were read before have been dealt with."""
            if not self._dealt_with:
                return
            read, position, messages = bytes(self._dealt_with), 0, 0
            while position < len(read):
                header, length = frame_lengths(read, position)
                end = position + header + length
                if header <= 0 or end > len(read):
                    break
                messages += read[position] & 0x88 == 0x80  # the last frame of a message, and not of control
                position = end
            del self._dealt_with[:position]
            if messages:
                link.taken(messages)

    for name in _READS:
        setattr(LinkedStream, name, _through_the_gate(getattr(base, name)))
    return LinkedStream


def _through_the_gate(read: Any) -> Any:
    @functools.wraps(read)
    def gated(stream: Any, *args: Any, **kwargs: Any) -> Any:
        return stream._read(read, *args, **kwargs)

    return gated
