"""The file descriptors that cross beside the bytes of a snapshot.

A stream never holds the number of an fd. It holds a place in the list of its root (``Entry.fds``), and the
snapshot says which of the fds that came with it that is::

    object ──reducer──▶ outgoing().number(fd) = 0, 1 ...      in the stream: a small number
    root   ──────────▶ Entry.fds = (7, 12)                    fds of the process that writes
    snapshot ────────▶ index: root.fds = [0, 1]; beside it:   duplicates, in the order of the table
    root   ◀────────── Entry.fds = (31, 32)                   fds of the process that reads
    object ◀─maker──── incoming().take(0)                     a duplicate that the object owns

Invariants:
    * Duplicates for a snapshot are made while no other thread can close an fd and let its number be used
      again: in one stretch, with calls that do not let go of the GIL.
    * Whoever exports owns the duplicates and closes them once they are sent. The objects keep their own.
    * In a trial each object gets duplicates of its own that are closed when the trial is over, and nothing
      that duplicates share (the position of an open file, its flags) is changed.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import functools
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from livereload_core.state.areas import Claim
    from livereload_core.state.segments import Piece
    from livereload_core.state.store import Store

__all__ = [
    "GoneError",
    "Handed",
    "Incoming",
    "NotQuietError",
    "Outgoing",
    "become_quiet",
    "incoming",
    "libc",
    "outgoing",
    "receiving",
    "table_of",
    "writing",
]

GONE = -1
"""Stands for an fd that whoever held it has let go: the object that had it comes back closed."""
_F_DUPFD_CLOEXEC = 1030  # linux/fcntl.h
_F_GETFD = 1
_QUIET = 0.25
"""Seconds for which no thread asks for the GIL, once it is quiet."""


class NotQuietError(BaseException):
    """An export has to begin again; no concern of the user's ``except Exception``."""


class GoneError(Exception):
    """The program closed this fd after the snapshot was taken, and the snapshot's duplicate went with it."""


@functools.cache
def libc() -> Any:
    """System calls that do not let go of the GIL, so that no other thread runs between two of them."""
    library = ctypes.PyDLL(None, use_errno=True)
    library.lseek.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int)
    library.lseek.restype = ctypes.c_int64
    library.write.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t)
    library.write.restype = ctypes.c_ssize_t
    library.poll.argtypes = (ctypes.c_void_p, ctypes.c_ulong, ctypes.c_int)
    return library


def become_quiet(interval: float) -> None:
    """Let the threads past that wait for the GIL, so that in a quarter of a second none interrupts this one.

    One that began to wait before the switch interval was raised still asks by the old interval. So they are
    given the time to ask, and then the GIL; what waits again after that waits by the new one.

    Args:
        interval: seconds of the switch interval before it was raised to its present value, at which it stays:
            a thread reads it at some moment after it has handed the GIL over.
    """
    if interval >= _QUIET or len(sys._current_frames()) < 2:
        return  # whoever stands still has done so already
    raised = sys.getswitchinterval()
    sys.setswitchinterval(_QUIET)
    try:
        libc().usleep(int(interval * 1.2e6))
        time.sleep(0)
    finally:
        sys.setswitchinterval(raised)


def _dup(fd: int) -> int:
    command = _F_DUPFD_CLOEXEC
    copy: int = libc().fcntl(fd, command, 3)
    if copy < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return copy


def table_of(lists: Iterable[Sequence[int]]) -> list[int]:
    """Return each fd that the roots mention once, in the order of its first mention."""
    return list(dict.fromkeys(fd for fds in lists for fd in fds if fd != GONE))


@dataclasses.dataclass(eq=False)
class Handed:
    """What travels beside the bytes of one snapshot.

    Attributes:
        fds: duplicates in the order of the snapshot's table, owned by this object.
        sources: the fds of this process that they are duplicates of, by the same order.
        processes: ids of child processes that go on with the state.
        cuts: (object, attribute, value): what makes objects of this process leave alone what is handed over.
    """

    fds: list[int] = dataclasses.field(default_factory=list)
    sources: list[int] = dataclasses.field(default_factory=list)
    processes: list[int] = dataclasses.field(default_factory=list)
    cuts: list[tuple[Any, str, Any]] = dataclasses.field(default_factory=list)

    def close(self) -> None:
        """Close the duplicates. Idempotent."""
        while self.fds:
            os.close(self.fds.pop())


class Outgoing:
    """Collects the fds of one export, stream by stream.

    Args:
        quiet: whether other threads have been let past, so that none asks for the GIL meanwhile.
        takes_buffers: whether large buffers cross beside the streams (see ``store``) and not in them.
    """

    def __init__(self, *, quiet: bool = True, takes_buffers: bool = False) -> None:
        self._quiet = quiet
        self.takes_buffers = takes_buffers
        self._stream_claims: list[Claim | Piece] = []
        self._stream: list[int] = []
        self._stream_cuts: list[tuple[Any, str, Any]] = []
        self._stream_processes: list[int] = []
        self._opened: dict[object, int] = {}
        self._kept: dict[object, int] = {}
        self._cuts: list[tuple[Any, str, Any]] = []
        self._processes: list[int] = []

    def apart(self) -> Outgoing:
        """Return one more for a look at a single object; what it collects does not cross."""
        return Outgoing(quiet=self._quiet)

    def number(self, fd: int) -> int:
        """Let ``fd``, which stays the object's, cross with the current stream; return its place there.

        Raises:
            OSError: it was closed beneath its object.
        """
        if fd not in self._stream:
            # A duplicate of another one could take its number else, and be duplicated in its place.
            if libc().fcntl(fd, _F_GETFD) < 0:
                raise OSError(ctypes.get_errno(), "was closed by its number, beneath the object")
            self._stream.append(fd)
        return self._stream.index(fd)

    def own(self, key: object, make: Callable[[], int]) -> int:
        """The same for an fd that is opened for the snapshot alone; it is closed from here.

        Args:
            key: tells it from others, so that streams which mention one thing share one fd.
            make: opens it.
        """
        fd = self._kept.get(key, self._opened.get(key, GONE))
        if fd == GONE:
            fd = self._opened[key] = make()
        return self.number(fd)

    def need_quiet(self) -> None:
        """Say that what follows must not be interrupted by a thread that uses the same object.

        Raises:
            NotQuietError: it could be; the export has to begin again, in quiet.
        """
        if not self._quiet:
            raise NotQuietError

    def process(self, pid: int) -> None:
        """A child process goes on with the state."""
        self._stream_processes.append(pid)

    def at_cut(self, obj: Any, attribute: str, value: Any) -> None:
        """Set an attribute once the next generation serves, and before any line of this one runs again.

        It has to be a plain attribute: no code of Python runs when it is set.
        """
        self._stream_cuts.append((obj, attribute, value))

    def claim(self, claim: Claim) -> int:
        """Let a large buffer cross beside the current stream; return its place there."""
        self._stream_claims.append(claim)
        return len(self._stream_claims) - 1

    def attach(self, piece: Piece) -> int:
        """Let what lies in a segment already cross beside the current stream; return its place there."""
        self._stream_claims.append(piece)
        return len(self._stream_claims) - 1

    def claims(self) -> list[Claim | Piece]:
        """Return what the current stream has claimed or attached; ask before :meth:`end`."""
        return list(self._stream_claims)

    def begin(self) -> None:
        """A stream begins; what one that failed has left is forgotten."""
        self._stream_claims = []
        self._stream, self._stream_cuts, self._stream_processes = [], [], []
        _close_all(self._opened)

    def end(self) -> tuple[int, ...]:
        """The stream is written; return its fds."""
        fds = tuple(self._stream)
        self._cuts += self._stream_cuts
        self._processes += self._stream_processes
        self._kept |= self._opened
        self._opened = {}
        self.begin()
        return fds

    def hand_over(self, lists: Iterable[Sequence[int]], segments: Iterable[int] = ()) -> Handed:
        """Duplicate what the roots mention, and then the segments, which no object of the program owns.

        Raises:
            OSError: no fd left, or one of them was closed beneath its object; nothing stays open.
        """
        handed = Handed(processes=list(dict.fromkeys(self._processes)), cuts=self._cuts)
        try:
            for fd in table_of(lists):
                handed.fds.append(_dup(fd))
                handed.sources.append(GONE if fd in self._kept.values() else fd)
            for fd in segments:
                handed.fds.append(_dup(fd))
                handed.sources.append(GONE)
        except BaseException:
            handed.close()
            raise
        finally:
            self.close()
        return handed

    def close(self) -> None:
        """Close what was opened for the snapshot. Idempotent."""
        self.begin()
        _close_all(self._kept)


def _close_all(fds: dict[object, int]) -> None:
    while fds:
        os.close(fds.popitem()[1])


class Incoming:
    """The fds of one root while its stream is read.

    Args:
        fds: of this process, by their place in the stream; they stay the caller's.
        scratch: a trial.
        pieces: where its large buffers lie, by their place in the stream.
        store: where they are known from now on, unless it is a trial.
        waits: what is made for a large buffer only leads into another object, and nobody looks at it before
            :meth:`move` or :meth:`complete`.

    Attributes:
        taken: (the caller's fd, the object's duplicate), in the order in which they were taken.
        fill_container: puts a tracked container together; there while the stream is read, and no longer: it
            leads back to whoever holds this object, and a cycle would keep the fds open.
        filled: the containers.
        parts: how many parts of them were read.
        migrated: keys of roots whose values were migrated while they were put together.
    """

    def __init__(
        self,
        fds: Sequence[int],
        *,
        scratch: bool,
        pieces: Sequence[Piece] = (),
        store: Store | None = None,
        waits: bool = False,
    ) -> None:
        self._waits = waits
        self._fds = fds
        self.scratch = scratch
        self._pieces = pieces
        self._store = None if scratch else store
        self._filled: dict[int, tuple[Any, Piece, Callable[[Any], Claim]]] = {}
        self.taken: list[tuple[int, int]] = []
        self._closers: list[tuple[Callable[[], object], int]] = []
        self.at_commit: list[Callable[[], None]] = []
        self.fill_container: Callable[[Any], Any] | None = None
        self.filled: list[Any] = []
        self.parts = 0
        self.migrated: set[str] = set()

    def piece(self, number: int) -> Piece:
        """Return where a large buffer lies."""
        return self._pieces[number]

    def source(self, number: int) -> int:
        """Return the caller's fd at this place.

        Raises:
            GoneError: it was let go.
        """
        fd = self._fds[number]
        if fd == GONE:
            raise GoneError
        return fd

    def take(self, number: int) -> int:
        """Return a duplicate for the object that had this fd; the object has to be given to :meth:`made`.

        Raises:
            GoneError: it was let go.
        """
        fd = os.dup(self.source(number))
        self.taken.append((self._fds[number], fd))
        return fd

    def fill(self, number: int, made: Any, claim_of: Callable[[Any], Claim]) -> None:
        """Put a large buffer into the memory of an object that was made for it.

        Args:
            number: its place in the stream.
            made: the object.
            claim_of: says where the memory of such an object is.
        """
        self._filled[id(made)] = made, self._pieces[number], claim_of
        if not self._waits:
            self._put(self._pieces[number], claim_of(made))

    def complete(self) -> None:
        """Fill what waited for :meth:`move` after all."""
        if self._waits:
            self._waits = False
            for made, piece, claim_of in self._filled.values():
                self._put(piece, claim_of(made))

    def move(self, live: Any, made: Any) -> bool:
        """Fill another object of the same layout; ``False`` if ``made`` was not filled from a piece."""
        if id(made) not in self._filled:
            return False
        _, piece, claim_of = self._filled[id(made)]
        self._put(piece, claim_of(live))
        return True

    def _put(self, piece: Piece, claim: Claim) -> None:
        piece.fill(claim.address)
        if self._store is not None:
            self._store.adopt(claim, piece)

    def made(self, close: Callable[[], object], fd: int = GONE) -> None:
        """Note how an object is closed: its root cannot be read, the trial is over, or nobody takes it.

        Args:
            close: its method, which is all that is kept of it.
            fd: the duplicate that it owns, if it is this object that does.
        """
        self._closers.append((close, fd))

    def close(self) -> None:
        """Close every object that was made."""
        while self._closers:
            _close_quietly(self._closers.pop()[0])

    def close_unheld(self) -> list[int]:
        """Close the objects that only their note here holds; return their fds. The others are left alone."""
        closed = []
        while self._closers:
            close, fd = self._closers.pop()
            if sys.getrefcount(getattr(close, "__self__", None)) <= _UNHELD:
                _close_quietly(close)
                if fd != GONE:
                    closed.append(fd)
        return closed


def _close_quietly(close: Callable[[], object]) -> None:
    with contextlib.suppress(OSError, ValueError):  # closed by the user's own code meanwhile
        close()


def _unheld() -> int:
    class Owner:
        def close(self) -> None: ...

    close = Owner().close
    return sys.getrefcount(getattr(close, "__self__", None))


_UNHELD = _unheld()
"""What ``sys.getrefcount`` says of an object that only one of its bound methods holds."""


_outgoing: Outgoing | None = None
_incoming: Incoming | None = None


def outgoing() -> Outgoing:
    """Return where the export that runs now collects its fds."""
    assert _outgoing is not None, "a reducer of fds was called outside of an export"
    return _outgoing


def incoming() -> Incoming:
    """Return the fds of the stream that is read now."""
    assert _incoming is not None, "a stream with fds was read without them"
    return _incoming


@contextlib.contextmanager
def writing(target: Outgoing) -> Iterator[Outgoing]:
    """Let reducers put their fds into ``target`` while the block runs. One thread at a time: the engine's."""
    global _outgoing
    before, _outgoing = _outgoing, target
    try:
        yield target
    finally:
        _outgoing = before


@contextlib.contextmanager
def receiving(source: Incoming) -> Iterator[Incoming]:
    """Let makers take their fds from ``source``; what they made is closed if the block fails."""
    global _incoming
    before, _incoming = _incoming, source
    try:
        yield source
    except BaseException:
        source.close()
        raise
    finally:
        _incoming = before
