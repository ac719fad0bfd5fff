"""The patches of Python's socket layer.

Servers that bind by themselves (http.server, wsgiref, werkzeug, waitress, cheroot, gunicorn, aiohttp,
uvicorn, asyncio) all call ``socket.socket.bind``, and uvloop does, too. There the parent's listener is put
over the fd that the program holds, so that no server needs to know.

Invariants:
    * What is not a stream listener of ours behaves as before, errors included: an address that another
      program holds is EADDRINUSE from the real ``bind()``.
    * A listener is non-blocking in the kernel; a program that expects to block is made to wait here.
    * A program that looks for its listener's port between ``bind()`` and ``listen()`` sees the final one.
"""

from __future__ import annotations

import _socket
import errno
import os
import socket
import stat
import sys
import time
import weakref
from typing import TYPE_CHECKING, Any

from livereload_core.child.accounting import TrackedSocket
from livereload_core.child.net_gate import GateState
from livereload_core.child.net_patches import Patches
from livereload_core.posix.addresses import Address

if TYPE_CHECKING:
    from livereload_core.child.net import Net
    from livereload_core.child.net_listeners import Listener

__all__ = ["SocketLayer"]

_plain = _socket.socket
_THROTTLE = 0.005
"""Seconds that a shut accept() takes where the program polls (waitress): 200 turns per second, not a spin."""

_PRIVATE = frozenset({"multiprocessing.connection", "multiprocessing.managers"})
"""Modules whose listeners are the program's own business: they wait for its own processes."""


class SocketLayer:
    """Patches ``socket.socket``, ``os.unlink`` and ``os.sendfile`` for one :class:`Net`."""

    def __init__(self, net: Net) -> None:
        self._net = net
        self._patches = Patches()

    def install(self) -> None:
        """Patch."""
        self._install_listening()
        self._install_connecting()
        self._install_os()

    def uninstall(self) -> None:
        """Take the patches back."""
        self._patches.undo()

    def _put(self, *functions: Any) -> None:
        for function in functions:
            function.__doc__ = getattr(socket.socket, function.__name__).__doc__
            self._patches.put(socket.socket, function.__name__, function)

    def _install_listening(self) -> None:
        layer = self
        listeners = self._net.listeners

        def bind(sock: socket.socket, address: Any, /) -> None:
            layer._bind(sock, address, sys._getframe(1).f_globals.get("__name__"))

        def listen(sock: socket.socket, /, *backlog: int) -> None:
            _plain.listen(sock, *backlog)
            caller = sys._getframe(1).f_globals.get("__name__")
            if caller not in _PRIVATE and _is_stream(sock):
                layer._net.announce(sock.fileno())

        def getsockopt(sock: socket.socket, level: int, option: int, /, *buffer: int) -> int | bytes:
            if option == socket.SO_ACCEPTCONN and level == socket.SOL_SOCKET:
                listener = layer._net.listeners.of(sock.fileno())
                if listener is not None and not listener.listening:
                    return 0  # gunicorn would leave out listen(), and nobody would know that it serves
            return _plain.getsockopt(sock, level, option, *buffer)

        def getsockname(sock: socket.socket) -> Any:
            if listeners.replaced:
                listener = listeners.of(sock.fileno())
                if listener is not None and listener.dummy:
                    return listener.name  # closing a Unix server looks for its file by this
            return _plain.getsockname(sock)

        self._put(bind, listen, getsockopt, getsockname)

    def _install_connecting(self) -> None:
        layer = self
        plain_accept = socket.socket.accept
        plain_shutdown = socket.socket.shutdown
        followed, gate = self._net.listeners.followed, self._net.gate
        take: Any = _plain._accept  # type: ignore[attr-defined]

        def accept(sock: socket.socket) -> tuple[socket.socket, Any]:
            known = followed.get(sock.fileno())
            if known is not None and known[0]() is sock and sock.gettimeout() == 0.0:
                with gate.lock:
                    if gate.is_open:
                        fd, peer = take(sock)
                        return socket.socket(*known[1], fileno=fd), peer
            listener = layer._net.listeners.of(sock.fileno())
            return plain_accept(sock) if listener is None else layer._accept(sock, listener)

        def connect(sock: socket.socket, address: Any, /) -> None:
            layer._before_connect(sock)
            _plain.connect(sock, address)

        def connect_ex(sock: socket.socket, address: Any, /) -> int:
            layer._before_connect(sock)
            return _plain.connect_ex(sock, address)

        def shutdown(sock: socket.socket, how: int, /) -> None:
            layer._before_shutdown(sock)
            plain_shutdown(sock, how)

        self._put(accept, connect, connect_ex, shutdown)

    def _install_os(self) -> None:
        layer = self
        plain_sendfile = os.sendfile

        def guarded(plain: Any) -> Any:
            def unlink(path: Any, *, dir_fd: int | None = None) -> None:
                if dir_fd is not None or not layer._is_held_path(path):
                    plain(path, dir_fd=dir_fd)

            unlink.__name__ = plain.__name__
            unlink.__doc__ = plain.__doc__
            return unlink

        def sendfile(out_fd: int, in_fd: int, *args: Any, **kwargs: Any) -> int:
            sent = plain_sendfile(out_fd, in_fd, *args, **kwargs)
            connection = layer._net.books.by_fd(out_fd)
            if connection is not None:
                connection.note_sendfile(sent)
            return sent

        self._patches.put(os, "unlink", guarded(os.unlink))
        self._patches.put(os, "remove", guarded(os.remove))
        self._patches.put(os, "sendfile", sendfile)

    # -- bind ------------------------------------------------------------------------------------------

    def _bind(self, sock: socket.socket, sockaddr: Any, caller: object) -> None:
        net = self._net
        wanted = None
        if net.brokered and caller not in _PRIVATE and _is_stream(sock):
            wanted = _address(sock.family, sockaddr)
        if wanted is None:
            _plain.bind(sock, sockaddr)
            return
        shared = bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT)) and not wanted.path
        fd = net.lend(wanted, shared=shared)
        if fd is None:
            _plain.bind(sock, sockaddr)
            if wanted.family != "unix" and wanted.port == 0:
                net.note_ephemeral(sock.fileno())
            return
        try:
            os.dup2(fd, sock.fileno(), inheritable=sock.get_inheritable())
        finally:
            os.close(fd)
        net.listeners.add(Address.of(sock), sock.fileno(), wanted)

    def _before_connect(self, sock: socket.socket) -> None:
        """Undo a bind that turns out to be a client's: it wanted a source address, not a listener."""
        net = self._net
        listener = net.listeners.of(sock.fileno())
        if listener is None or listener.listening:
            return
        fresh = _plain(sock.family, sock.type, sock.proto)
        try:
            os.set_blocking(fresh.fileno(), sock.gettimeout() is None)
            fresh.bind(listener.requested.sockaddr)
            net.give_back(listener.requested, os.dup(sock.fileno()))
            os.dup2(fresh.fileno(), sock.fileno(), inheritable=sock.get_inheritable())
        finally:
            net.listeners.followed.clear()
            fresh.close()

    def _before_shutdown(self, sock: socket.socket) -> None:
        """Keep a shutdown() of a listener from ending it for all who hold it."""
        net = self._net
        listener = net.listeners.of(sock.fileno())
        if listener is not None:
            with net.gate.lock:
                net.listeners.cut(listener, sock.fileno())

    # -- accept ----------------------------------------------------------------------------------------

    def _accept(self, sock: socket.socket, listener: Listener) -> tuple[socket.socket, Any]:
        self._net.follow()
        if not listener.listening:
            self._net.announce(sock.fileno())  # it listened already when it came back with the state
        if sock.gettimeout() == 0.0:
            return self._accept_at_once(sock, listener)
        return self._accept_blocking(sock)

    def _accept_at_once(self, sock: socket.socket, listener: Listener) -> tuple[socket.socket, Any]:
        net = self._net
        with net.gate.lock:
            if net.gate.is_open:
                fd, peer = sock._accept()  # type: ignore[attr-defined]
                if listener.linked:
                    kind = sock.family, sock.type, sock.proto
                    net.listeners.followed[sock.fileno()] = weakref.ref(sock), kind
                    return socket.socket(sock.family, sock.type, sock.proto, fileno=fd), peer
                return self._tracked(sock, fd, peer)
            if sock.fileno() in listener.told:  # it was, a moment after the loop had been told of a client
                listener.told.discard(sock.fileno())
                parked = True
            else:
                parked = net.listeners.park(listener, sock.fileno())
        if not parked:
            net.gate.wait_open(_THROTTLE)
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    def _accept_blocking(self, sock: socket.socket) -> tuple[socket.socket, Any]:
        net = self._net
        fd = sock.fileno()
        timeout = sock.gettimeout()
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            left = None if deadline is None else deadline - time.monotonic()
            if net.gate.is_open:
                found = self._accept_if_any(sock)
                if found is not None:
                    return found
            if left is not None and left <= 0:
                raise TimeoutError("timed out")
            if net.gate.is_open:
                net.gate.wait_readable(fd, left)
            else:
                _leave_socketserver(net)
                net.gate.wait_open(left)
            if sock.fileno() != fd:
                raise OSError(errno.EBADF, os.strerror(errno.EBADF))

    def _accept_if_any(self, sock: socket.socket) -> tuple[socket.socket, Any] | None:
        """Accept without blocking on a socket object that would block."""
        view = _plain(sock.family, sock.type, sock.proto, sock.fileno())
        try:
            # also restores the flag where another holder of the open socket has cleared it
            view.setblocking(False)
            with self._net.gate.lock:
                if not self._net.gate.is_open:
                    return None
                fd, peer = view._accept()  # type: ignore[attr-defined]
        except BlockingIOError:
            return None
        finally:
            view.detach()
        return self._tracked(sock, fd, peer)

    def _tracked(self, sock: socket.socket, fd: int, peer: Any) -> tuple[socket.socket, Any]:
        connection = TrackedSocket(sock.family, sock.type, sock.proto, fileno=fd)
        if socket.getdefaulttimeout() is None and sock.gettimeout():
            connection.setblocking(True)  # as the accept() of the standard library does it
        self._net.books.enter(connection)
        return connection, peer

    # -- Unix sockets ----------------------------------------------------------------------------------

    def _is_held_path(self, path: Any) -> bool:
        """Whether ``path`` is the file of a listener that the parent holds, here or from an older generation.

        asyncio and gunicorn remove a "stale" socket file before they bind: its clients would find nobody.
        """
        net = self._net
        try:
            if isinstance(path, int) or not stat.S_ISSOCK(os.lstat(path).st_mode):
                return False
            address = Address("unix", path=os.path.abspath(os.fsdecode(path)))
        except (OSError, TypeError, ValueError):
            return False  # the real call says what is wrong
        if net.listeners.holds_path(address.path):
            return True
        if not net.brokered:
            return False
        fd = net.lend(address, shared=False)
        if fd is None:
            return False
        net.give_back(address, fd)
        return True


def _is_stream(sock: socket.socket) -> bool:
    families = (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX)
    return sock.type == socket.SOCK_STREAM and sock.family in families


def _address(family: int, sockaddr: Any) -> Address | None:
    """Return what ``bind(sockaddr)`` would bind, or None where the real call has to say what is wrong."""
    try:
        if family == socket.AF_UNIX:
            return Address.from_sockaddr(family, sockaddr)
        host = os.fsdecode(sockaddr[0])
        if host:
            try:
                socket.inet_pton(family, host.partition("%")[0])
            except OSError:
                host = str(socket.getaddrinfo(host, None, family, socket.SOCK_STREAM)[0][4][0])
        return Address.from_sockaddr(family, (host, *sockaddr[1:]))
    except (OSError, TypeError, ValueError, LookupError):
        return None


def _leave_socketserver(net: Net) -> None:
    """Give the loop of :mod:`socketserver` back to itself once the generation has left.

    Its ``accept()`` blocks although it was told of a connection, which is another generation's by now: its
    ``shutdown()`` would wait for ever. It handles an OSError by going on. Other loops around a blocking
    ``accept()`` rarely do, so they are left asleep.
    """
    if net.gate.state is GateState.GONE:
        frame = sys._getframe(4)  # accept (patch) <- _accept <- _accept_blocking <- here
        if frame.f_globals.get("__name__") == "socketserver":
            raise ConnectionAbortedError(errno.ECONNABORTED, os.strerror(errno.ECONNABORTED))
