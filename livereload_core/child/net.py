"""The network of one generation: who may accept when, and what is still in flight.

This is what the runtime talks to. The program talks to Python's socket layer and event loops, which are
patched before its code is imported:

    child.net_sockets     bind, listen, accept, connect, shutdown; unlink of Unix sockets; sendfile
    child.loops       servers of asyncio and uvloop that would start too early; which loop runs
    child.net_gate        held until COMMIT, shut at QUIESCE, gone after RETIRE
    child.net_listeners   the listening sockets, and how a program is made to leave them alone
    child.accounting  the accepted connections, and which of them wait for an answer
    child.conn_hub    those of event loops, which can be handed over

Invariants:
    * Before :meth:`Net.release` nobody accepts on a listener that the parent holds; connections wait in the
      backlog. After :meth:`Net.stop_accepting` nobody does until :meth:`Net.resume_accepting`.
    * The broker is called without a lock held, from the thread that binds or listens.
    * A forked process (a gunicorn worker) has no broker and follows the gate of the process it came from.
"""

from __future__ import annotations

import _socket
import asyncio
import contextlib
import os
import threading
import time
import weakref
from collections.abc import Callable, Collection, Coroutine, Iterator
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING, Any, Protocol

from livereload_core.child import net_unseen as unseen
from livereload_core.child.accounting import Books
from livereload_core.child.conn_hub import Connections
from livereload_core.child.loops import LoopLayer, current_loop
from livereload_core.child.net_descriptors import inode_of, open_sockets
from livereload_core.child.net_gate import Gate, GateState
from livereload_core.child.net_late import soon
from livereload_core.child.net_listeners import Listener, Listeners
from livereload_core.child.net_sockets import SocketLayer
from livereload_core.posix.addresses import Address

if TYPE_CHECKING:
    import socket

__all__ = ["ListenerBroker", "Net"]

_BACKLOG = 2048
"""Least backlog of a listener: new clients wait there while the gate is shut (http.server asks for 5)."""

UNSEEN_POLL = 0.001
"""Seconds between two looks at connections that C code accepted, while they are waited for."""
LOOP_PATIENCE = 0.5
"""Seconds beyond the grace in which the program's loop should come to our callback."""
_EPHEMERAL_MOST = 256  # sockets bound to port 0 that are remembered before closed ones are struck off


class ListenerBroker(Protocol):
    """The parent's side of listeners, as the runtime reaches it."""

    def find(self, address: Address) -> int | None:
        """Return an fd (ours to own) of the listener that the parent holds for ``address``.

        For port 0 it is the parent's next unclaimed listener of that host that was opened with port 0.
        """

    def register(self, address: Address, fd: int, *, requested_port: int) -> None:
        """Let the parent take a duplicate of a listener that is new."""


class Net:
    """The network layer of this process. Starts held: nobody accepts.

    Attributes:
        on_listening: called with the address when the program starts to listen, from whatever thread.
        gate, listeners, books, connections: the parts, for the patches.
        accepts_in_c: a loop is in use that accepts without Python (uvloop).
        answered: somebody takes the parent's answers. Nobody does in a spare: what a module binds there while
            it is imported ahead (urllib3 looks for IPv6 that way) is no business of the parent.
    """

    def __init__(self, broker: ListenerBroker) -> None:
        self.on_listening: Callable[[Address], None] | None = None
        self.gate = Gate()
        self.listeners = Listeners()
        self.books = Books()
        self.connections = Connections()
        self.accepts_in_c = False
        self.answered = True
        self._broker: ListenerBroker | None = broker
        self._sockets = SocketLayer(self)
        self._loops = LoopLayer(self)
        self._installed = False
        self._deferred: list[Callable[[], None]] = []
        self._spare: dict[Address, list[int]] = {}
        self._ephemeral: set[int] = set()
        self._forked = False
        self._follower: threading.Thread | None = None
        own = weakref.ref(self)

        def after_fork() -> None:
            net = own()
            if net is not None:
                net._after_fork()

        os.register_at_fork(after_in_child=after_fork)  # cannot be undone, hence the weak reference

    # -- what the runtime calls ------------------------------------------------------------------------

    def install(self) -> None:
        """Patch sockets and event loops, those too that are imported later. Idempotent."""
        if not self._installed:
            self._installed = True
            self._sockets.install()
            self._loops.install()

    def uninstall(self) -> None:
        """Take the patches back (for tests: a child keeps them for life)."""
        if self._installed:
            self._installed = False
            self._loops.uninstall()
            self._sockets.uninstall()
            for fd in [fd for fds in self._spare.values() for fd in fds]:
                os.close(fd)
            self._spare.clear()

    def adopt_listener(self, sock: socket.socket, address: Address, *, kept: bool = False) -> None:
        """Treat ``sock``, which the runtime hands to the program, like one that the program bound.

        Args:
            sock: a listening socket.
            address: where it is bound.
            kept: it has come with preserved state: the program has it already, and need not listen again.
        """
        listener = self.listeners.add(address, sock.fileno())
        listener.kept = listener.kept or kept

    def listening(self) -> frozenset[Address]:
        """Return the addresses on which the program listens now."""
        live = self.listeners.live(self.connections.filenos())
        return frozenset(listener.address for listener in live if listener.listening)

    def in_use(self) -> frozenset[Address]:
        """Return the addresses that the parent must not give up: listened on, or in preserved state.

        Of those in preserved state the program may have made no use yet, since they came back with it.
        """
        live = self.listeners.live(self.connections.filenos())
        return frozenset(listener.address for listener in live if listener.listening or listener.kept)

    def missing(self, required: Collection[Address]) -> frozenset[Address]:
        """Return those of ``required`` on which nothing here listens, be it a socket in preserved state.

        One that the parent has lent, and on which the program has not begun to listen, is missing: it is
        bound and listens, but the program may still be on its way to it (in its own start-up).
        """
        return frozenset(required).difference(self.in_use())

    def release(self) -> None:
        """COMMIT: accept from now on. Callable from any thread."""
        self._open()

    def stop_accepting(self) -> None:
        """QUIESCE: once this returns nobody accepts; clients wait in the backlog."""
        with self.gate.lock:
            if self.gate.move("shut"):
                self._shut()

    def resume_accepting(self) -> None:
        """Undo :meth:`stop_accepting`; before the first :meth:`release` it does nothing."""
        if self.gate.state is GateState.SHUT:
            self._open()

    def let_go(self) -> None:
        """RETIRE: never accept again; what the program does with "its" listener harms nobody.

        Idle connections read end-of-file, and so do the others once they are answered.
        """
        with self.gate.lock:
            if not self.gate.move("leave"):
                return
            self._deferred.clear()
            for listener in self.listeners.live():
                self._part_with(listener)
        self.books.leave()
        if self.accepts_in_c and not self.books.requests:
            # connections that C code accepted tell us nothing; the adapters say that no request is open
            unseen.close_idle(self._unseen_connections())

    def in_flight(self) -> int:
        """Count requests that have begun, or may be about to, and are not answered."""
        return self.books.in_flight() + self._unseen_in_flight() + self.connections.in_flight()

    def open_connections(self) -> int:
        """Count accepted connections that are open, those of uvloop included."""
        extra = len(self._unseen_connections()) if self.accepts_in_c else 0
        return len(self.books.connections()) + extra + self.connections.count()

    def request_begun(self) -> None:
        """Count a request on a connection whose bytes cannot be seen (for adapters)."""
        self.books.count(+1)

    def request_done(self) -> None:
        """The counterpart of :meth:`request_begun`: answered, or given up."""
        self.books.count(-1)

    def wait_quiet(self, timeout: float) -> int:
        """Block until nothing is in flight, at most ``timeout`` seconds; return what is left."""
        deadline = time.monotonic() + timeout
        self._in_loop(lambda: self.connections.wait_answered(timeout), timeout)
        left = self._wait_unlinked(max(0.0, deadline - time.monotonic()))
        return left + self.connections.in_flight()

    def _wait_unlinked(self, timeout: float) -> int:
        if not self.accepts_in_c:
            return self.books.wait_quiet(timeout)
        # What C code does announces nothing: the kernel has to be asked again and again.
        deadline = time.monotonic() + timeout
        while True:
            left = self.books.wait_quiet(max(0.0, deadline - time.monotonic())) + self._unseen_in_flight()
            if not left or time.monotonic() >= deadline:
                return left
            time.sleep(UNSEEN_POLL)

    @property
    def on_answer(self) -> Callable[[], None] | None:
        """Called once, when the first bytes of an answer are written; None from then on."""
        return self.books.on_answer and self.connections.on_answer

    @on_answer.setter
    def on_answer(self, callback: Callable[[], None] | None) -> None:
        self.books.on_answer = callback
        self.connections.on_answer = callback

    # -- established connections, from the control thread ------------------------------------------------

    def quiesce(self, grace: float) -> int:
        """QUIESCE: nobody accepts, and handlers are given nothing new; those at work may finish.

        Args:
            grace: seconds for them.

        Returns:
            how many requests are left on connections that cannot be handed over in any case.
        """
        deadline = time.monotonic() + grace
        self.stop_accepting()
        self._in_loop(lambda: self.connections.quiesce(grace), grace)
        return self._wait_unlinked(max(0.0, deadline - time.monotonic()))

    def release_connections(self) -> None:
        """The reload was given up: they go on as if nothing had happened."""
        loop = current_loop()
        if loop is not None:
            soon(loop, self.connections.resume)

    def leave_connections(self, grace: float, *, final: bool) -> None:
        """RETIRE: finish what has begun, hand over what can be, close the rest; at most ``grace`` seconds."""
        leave = self.connections.shut_down if final else self.connections.leave_behind
        self._in_loop(lambda: leave(grace), grace)

    def _in_loop(self, make: Callable[[], Coroutine[Any, Any, None]], grace: float) -> None:
        loop = current_loop()
        if loop is None or not (self.connections.count() or self.connections.servers):
            return  # a server without a link may have accepted one that is on its way to become one
        coroutine = make()
        try:
            future = asyncio.run_coroutine_threadsafe(coroutine, loop)
        except RuntimeError:
            coroutine.close()
            return  # the loop was closed in this moment, and its connections with it
        try:
            future.result(grace + LOOP_PATIENCE)
        except TimeoutError:
            future.cancel()  # the loop is busy; who comes next waits for its safe point
        except CancelledError:
            pass  # whoever ends a loop cancels what runs in it: the program leaves by itself, as at Ctrl-C
        except Exception:  # of a loop closed meanwhile; of anything else the control thread tells
            if not loop.is_closed():
                raise

    def current_loop(self) -> asyncio.AbstractEventLoop | None:
        """Return the event loop that runs in the main thread now."""
        return current_loop()

    # -- what the patches call -------------------------------------------------------------------------

    @property
    def brokered(self) -> bool:
        """Whether new listeners concern the parent: not in a spare or a fork, not after :meth:`let_go`."""
        return self._broker is not None and self.answered and self.gate.state is not GateState.GONE

    def lend(self, address: Address, *, shared: bool) -> int | None:
        """Return an fd of the parent's listener, or None when a real bind is due.

        Args:
            address: what the program wants to bind.
            shared: the program set SO_REUSEPORT, so that a second listener on one address is no mistake.
        """
        spare = self._spare.get(address)
        if spare:
            return spare.pop()
        if self._broker is None:
            return None
        if not shared and (address.port or address.path) and address in self.listening():
            return None  # bound twice in one program: the kernel's EADDRINUSE is what it has to see
        return self._broker.find(address)

    def give_back(self, address: Address, fd: int) -> None:
        """Keep an fd from :meth:`lend` for the next bind of ``address``."""
        self._spare.setdefault(address, []).append(fd)

    def note_ephemeral(self, fd: int) -> None:
        """Remember that the program asked for any port; the number is known at listen()."""
        if len(self._ephemeral) >= _EPHEMERAL_MOST:  # clients bind too, and never listen
            self._ephemeral &= open_sockets().keys()
        self._ephemeral.add(inode_of(fd))

    def announce(self, fd: int) -> None:
        """Note that the program listens on ``fd``; a new listener goes to the parent."""
        if self._broker is None or not self.answered:
            return
        with borrowed(fd) as view:
            view.listen(_BACKLOG)
            address = Address.from_sockaddr(view.family, view.getsockname())
        listener = self.listeners.of(fd)
        if listener is None:
            ephemeral = inode_of(fd) in self._ephemeral
            self._ephemeral.discard(inode_of(fd))
            listener = self.listeners.add(address, fd)
            self._broker.register(address, fd, requested_port=0 if ephemeral else address.port)
        if not listener.listening:
            listener.listening = True
            if self.on_listening is not None:
                self.on_listening(listener.address)

    def when_open(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` once the gate is open: now, or from the thread that opens it."""
        self.follow()
        with self.gate.lock:
            if not self.gate.is_open:
                if self.gate.state is not GateState.GONE:
                    self._deferred.append(callback)
                return
        callback()

    def follow(self) -> None:
        """In a forked process: follow the gate from now on, by a thread of its own."""
        if self._forked and self._follower is None:
            self._follower = threading.Thread(target=self._follow, name="livecore-gate", daemon=True)
            self._follower.start()

    # -- the two movements -----------------------------------------------------------------------------

    def _open(self) -> None:
        with self.gate.lock:
            if not self.gate.move("open"):
                return
            deferred = self._reopen()
        for callback in deferred:
            callback()

    def _reopen(self) -> list[Callable[[], None]]:
        for listener in self.listeners.all():
            self.listeners.restore(listener)
            self.listeners.unpark(listener)
        deferred, self._deferred = self._deferred, []
        return deferred

    def _shut(self) -> None:
        connections = self.connections.filenos()
        sockets = open_sockets(connections)
        for listener in self.listeners.all():
            fds = self.listeners.fds(listener, sockets)
            parked = [fd for fd in fds if self.listeners.park(listener, fd, connections)]
            listener.told.update(parked)
            if self.accepts_in_c and parked:
                # a loop in C may have been told of a connection and be about to accept it
                self.listeners.replace(listener, fds)

    def _part_with(self, listener: Listener) -> None:
        fds = self.listeners.fds(listener)
        for fd in fds:
            self.listeners.park(listener, fd)
        self.listeners.replace(listener, fds)
        listener.parked.clear()
        self.listeners.release_original(listener)

    def _unseen_in_flight(self) -> int:
        return unseen.in_flight(self._unseen_connections()) if self.accepts_in_c else 0

    def _unseen_connections(self) -> list[int]:
        seen = {sock.fileno() for sock in self.books.connections()}
        seen |= self.connections.filenos()
        addresses = [listener.address for listener in self.listeners.all()]
        return unseen.find(addresses, seen, self.connections.parted)

    # -- forked processes ------------------------------------------------------------------------------

    def _after_fork(self) -> None:
        self.gate.after_fork()
        self.books.after_fork()
        self.connections.after_fork()
        self.listeners.followed.clear()
        self._broker = None
        self._forked = True
        self._follower = None
        self._deferred = []
        for listener in self.listeners.all():
            # epoll sets are shared with the process that we came from: its entries are not ours to put back
            listener.parked.clear()

    def _follow(self) -> None:
        while True:
            if self.gate.is_open:
                self.gate.wait_shut(None)
            else:
                self.gate.wait_open(None)
            deferred: list[Callable[[], None]] = []
            with self.gate.lock:
                if self.gate.follow():
                    if self.gate.is_open:
                        deferred = self._reopen()
                    else:
                        self._shut()
            for callback in deferred:
                callback()


@contextlib.contextmanager
def borrowed(fd: int) -> Iterator[_socket.socket]:
    """Show ``fd`` as a socket without owning it; its methods are the kernel's, not the patched ones."""
    view = _socket.socket(fileno=fd)
    try:
        yield view
    finally:
        view.detach()
