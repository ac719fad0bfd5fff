"""The listening sockets of this process that the parent holds as well.

A listener is told by the inode of its open socket, which all duplicates share (see child.net_descriptors).
There are two ways to make a program leave one alone:

    park     its epoll entries are taken out and kept: the loop sleeps, ``getsockname()`` stays right. What
             polls (socketserver, waitress) is stopped by the gate in ``accept()``.
    replace  a dummy listener, to which nobody connects, is put over each of its fds. For loops that accept in
             C (uvloop), and for good once the generation has left: then whatever the program does with "its"
             listener (close, shutdown) it does to the dummy.

Invariants:
    * A parked or replaced listener loses no connection: they wait in the backlog of the open socket, which
      the parent holds too.
    * All methods are called with the gate's lock held, save those that only look.
"""

from __future__ import annotations

import _socket
import contextlib
import dataclasses
import errno
import os
import socket
import weakref
from collections.abc import Collection, Iterator
from typing import Any

from livereload_core.child.net_descriptors import inode_of, open_sockets
from livereload_core.posix import epoll
from livereload_core.posix.addresses import Address

__all__ = ["Listener", "Listeners"]


@dataclasses.dataclass(slots=True, eq=False)
class Listener:
    """One open listening socket.

    Attributes:
        address: where it is bound.
        requested: what the program asked for: the same, or with port 0.
        inode: which open socket it is.
        listening: whether the program has started to listen on it.
        kept: it has come with preserved state.
        linked: what is accepted on it is followed by the links of ``child.conn_hub``.
        parked: epoll entries taken out, by fd.
        told: fds of which a loop may have been told before they were parked, and has not come since.
        original: our own duplicate while the program's fds show a dummy, else -1.
        dummy: the inode of that dummy, else 0.
        name: what ``getsockname()`` said before the dummy came.
    """

    address: Address
    inode: int
    requested: Address
    listening: bool = False
    kept: bool = False
    linked: bool = False
    parked: dict[int, list[epoll.Entry]] = dataclasses.field(default_factory=dict)
    told: set[int] = dataclasses.field(default_factory=set)
    original: int = -1
    dummy: int = 0
    name: Any = None


class Listeners:
    """The table of listeners, by inode; dummies lead to the listener that they stand for.

    Attributes:
        replaced: whether a dummy may be about: spares the look-up of every ``getsockname()``.
        followed: socket objects on which connections were accepted that links follow, by fd, with how to make
            such a connection. Emptied whenever an fd may come to show another socket: it spares a look at the
            inode with each accept.
    """

    def __init__(self) -> None:
        self.replaced = False
        self.followed: dict[int, tuple[weakref.ref[socket.socket], tuple[int, int, int]]] = {}
        self._by_inode: dict[int, Listener] = {}

    def of(self, fd: int) -> Listener | None:
        """Return the listener behind ``fd``, or None when it is none of ours."""
        return self._by_inode.get(inode_of(fd))

    def add(self, address: Address, fd: int, requested: Address | None = None) -> Listener:
        """Enter the socket behind ``fd``, or return it when it is known.

        It becomes non-blocking for all who hold it: the flag belongs to the open socket, and a holder that
        cleared it would make the others block inside ``accept()``. Programs that expect to block are served
        by the patched ``accept()``, which waits before it asks.
        """
        self.followed.clear()
        os.set_blocking(fd, False)
        inode = inode_of(fd)
        return self._by_inode.setdefault(inode, Listener(address, inode, requested or address))

    def all(self) -> list[Listener]:
        """Return every listener once, closed ones included."""
        return [listener for inode, listener in list(self._by_inode.items()) if inode == listener.inode]

    def fds(self, listener: Listener, sockets: dict[int, list[int]] | None = None) -> list[int]:
        """Return the fds by which the program holds ``listener`` (or the dummy in its place)."""
        sockets = open_sockets() if sockets is None else sockets
        fds = sockets.get(listener.dummy or listener.inode, [])
        return [fd for fd in fds if fd != listener.original]

    def live(self, besides: Collection[int] = ()) -> list[Listener]:
        """Return the listeners that the program has open; ``besides`` are fds known to be none."""
        sockets = open_sockets(besides)
        return [listener for listener in self.all() if self.fds(listener, sockets)]

    def holds_path(self, path: str) -> bool:
        """Whether ``path`` is the file of a Unix socket in the table, open here or not."""
        return any(listener.address.path == path for listener in self.all())

    def park(self, listener: Listener, fd: int, besides: Collection[int] = ()) -> bool:
        """Take ``fd`` out of the program's epoll sets; returns whether it was in one.

        Args:
            listener: whose fd it is.
            fd: what is to leave.
            besides: fds known to be connections, to save looking at them.
        """
        entries = epoll.take_out(fd, besides)
        if entries:
            listener.parked.setdefault(fd, []).extend(entries)
        return bool(entries)

    def unpark(self, listener: Listener) -> None:
        """Put back what :meth:`park` took out, where the program has the listener still open."""
        for entries in listener.parked.values():
            epoll.put_back(entries)
        listener.parked.clear()
        listener.told.clear()

    def replace(self, listener: Listener, fds: list[int]) -> None:
        """Put a dummy listener over ``fds``; their epoll entries have to be parked before.

        What the program has closed meanwhile, in another thread, is left alone.
        """
        if listener.dummy or not fds:
            return
        self.followed.clear()
        original = _duplicate(fds[0], listener.inode)
        if original is None:
            return
        with _dummy(listener.address) as dummy:
            listener.original = original
            listener.name = _name(original)
            listener.dummy = inode_of(dummy.fileno())
            self._by_inode[listener.dummy] = listener
            self.replaced = True
            for fd in fds:
                if inode_of(fd) == listener.inode:
                    os.dup2(dummy.fileno(), fd, inheritable=False)

    def restore(self, listener: Listener) -> None:
        """Undo :meth:`replace` for the fds that the program has not closed since."""
        if not listener.dummy:
            return
        self.followed.clear()
        for fd in self.fds(listener):
            os.dup2(listener.original, fd, inheritable=False)
        self.release_original(listener)
        self._by_inode.pop(listener.dummy, None)
        listener.dummy = 0

    def cut(self, listener: Listener, fd: int) -> None:
        """Part ``fd`` from ``listener`` for good: a dummy that nobody knows of takes its place."""
        self.followed.clear()
        epoll.take_out(fd)
        with _dummy(listener.address) as dummy:
            os.dup2(dummy.fileno(), fd, inheritable=False)

    def release_original(self, listener: Listener) -> None:
        """Close our own duplicate of a replaced listener: others hold it now."""
        if listener.original >= 0:
            os.close(listener.original)
            listener.original = -1


def _duplicate(fd: int, inode: int) -> int | None:
    """Return a duplicate of ``fd``, None if it is not that socket any more."""
    try:
        original = os.dup(fd)
    except OSError as error:
        if error.errno != errno.EBADF:
            raise
        return None
    if inode_of(original) != inode:
        os.close(original)
        return None
    return original


def _name(fd: int) -> Any:
    view = _socket.socket(fileno=fd)
    try:
        return view.getsockname()
    finally:
        view.detach()


@contextlib.contextmanager
def _dummy(address: Address) -> Iterator[socket.socket]:
    """Make a listener of the same family that nobody can know: an ephemeral port, an abstract name."""
    dummy = socket.socket(address.kernel_family, socket.SOCK_STREAM)
    try:
        # the methods of the C class: what the program's calls are patched with must not see these
        if address.family == "unix":
            _socket.socket.bind(dummy, "")  # the kernel picks an abstract name
        else:
            _socket.socket.bind(dummy, ("127.0.0.1" if address.family == "inet" else "::1", 0))
        _socket.socket.listen(dummy, 1)
        dummy.setblocking(False)
        yield dummy
    finally:
        dummy.close()
