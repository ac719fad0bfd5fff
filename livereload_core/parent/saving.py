"""State that outlives the run: saved beside what serves, taken up by ``--resume``.

What is written when:

    newer snapshot held   soon, in a thread of its own, and not more often than the disk bears
    the run ends          at once, and the end waits for it

Invariants:
    * The thread that serves never waits for the disk.
    * One run writes the state of one target in one project: who holds the lock. Another one says so and
      does not save.
    * A state that this run did not take up is moved aside before the first one of this run is written, and
      nothing else is ever removed.
    * Whatever is wrong with a saved state, the run begins: without it, and says why.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import platform
import threading
import time
from typing import TYPE_CHECKING

from livereload_core.core.records import Notice, NoticeKind
from livereload_core.core.settings import Settings
from livereload_core.errors import SnapshotError
from livereload_core.parent.snapshots import HeldSnapshot, Stored
from livereload_core.posix.private import Lock, project_folder, read_private, sweep, write_private
from livereload_core.wire import saved, snapshots
from livereload_core.wire.saved import About

if TYPE_CHECKING:
    from livereload_core.parent.supervisor import Supervisor

__all__ = ["BEFORE", "SUFFIX", "Saving", "clock", "load", "saved_path"]

SUFFIX = ".state"
BEFORE = ".before"
"""What is appended to the name of a state that was moved aside."""
DELAY = 0.2
"""Seconds from a newer snapshot to its being written: the first requests come first."""
DUTY = 20
"""A write that took s seconds is followed by none for 20 s: at most 5 % of the time."""
RATE = 10e6
"""Bytes per second in the long run: a disk lives on what is written to it."""
LEAST = 0.5
"""Seconds between two writes, at least."""
ABOUT = 64 * 1024
"""Bytes of the end of a file that are read to tell of it: more than its footer and ``about`` take."""
LAST = 10.0
"""Seconds for which the end of the run waits for the disk."""


def saved_path(settings: Settings) -> str:
    """Return where the state of this target in this project is saved."""
    key = hashlib.blake2b(_target(settings).encode(), digest_size=8).hexdigest()
    return os.path.join(project_folder(settings.root), key + SUFFIX)


def _target(settings: Settings) -> str:
    return " ".join([str(settings.target), *settings.target.args])


def load(path: str) -> tuple[About, HeldSnapshot]:
    """Read a saved state that is to be taken up.

    Returns:
        what it tells of itself, and the snapshot.

    Raises:
        SnapshotError: it is damaged, from another Python, or from a newer format.
        OSError: there is none, it cannot be read, or somebody else may have written it.
    """
    found = saved.read(read_private(path))
    snapshots.read(found.snapshot)
    return found.about, HeldSnapshot.saved(found.snapshot, found.segments, 0, found.about.saved)


def clock(seconds: float) -> str:
    """Say when something was, as short as it is clear today."""
    then, now = time.localtime(seconds), time.localtime()
    return time.strftime("%H:%M:%S" if then[:3] == now[:3] else "%Y-%m-%d %H:%M", then)


def move_aside(path: str) -> None:
    """Keep the file under another name, too, until ``path`` itself is replaced. Without one: nothing."""
    fresh = path + BEFORE + ".new"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(fresh)
    with contextlib.suppress(FileNotFoundError):
        try:
            os.link(path, fresh)
        except (PermissionError, NotImplementedError):  # a file system without hard links
            os.replace(path, fresh)
        os.replace(fresh, path + BEFORE)


class Saving:
    """Saves the state of one run."""

    def __init__(self, run: Supervisor) -> None:
        self._run = run
        self.path = saved_path(run.settings)
        self._lock: Lock | None = None
        self._trouble = ""
        self._told = ""
        self._ours = False
        self._newest: Stored | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._writer: asyncio.Future[None] | None = None
        self._not_before = 0.0
        self._size = 0

    # -- the state of the run before ----------------------------------------------------------------

    def open(self) -> HeldSnapshot | None:
        """Look for what the run before has saved; returns it if it is wanted and good."""
        settings = self._run.settings
        if settings.save:
            self._take_lock()
        if not settings.resume:
            self._mention()
            return None
        try:
            about, held = load(self.path)
        except FileNotFoundError:
            self._tell(NoticeKind.INFO, "no state of this target is saved: the program starts afresh")
            return None
        except (SnapshotError, OSError) as error:
            said = error.strerror if isinstance(error, OSError) else None  # none of what we say ourselves
            reason = f"cannot be read: {said}" if said else str(error)
            self._tell(
                NoticeKind.WARNING,
                f"the saved state {reason.removeprefix('snapshot ')}: the program starts afresh,"
                f" nothing is deleted ({self.path})",
            )
            return None
        self._ours = True
        self._tell(NoticeKind.INFO, f"resumes the state of {clock(about.saved)}")
        return held

    def _take_lock(self) -> None:
        try:
            lock = Lock(self.path + ".lock")
        except OSError as error:
            self._trouble = f"the state of this run cannot be saved: {error.strerror or error}"
            return
        if lock.held:
            self._lock = lock
            sweep(self.path)
        else:
            lock.close()
            self._trouble = "another run of this target saves its state; the one of this run is not saved"

    def _mention(self) -> None:
        with contextlib.suppress(OSError, SnapshotError):
            about = saved.tell(read_private(self.path, last=ABOUT))
            self._tell(
                NoticeKind.INFO,
                f"a state of {clock(about.saved)} is saved; --resume goes on with it, this run starts afresh",
            )

    # -- writing ------------------------------------------------------------------------------------

    def note(self, held: HeldSnapshot) -> None:
        """A newer snapshot is held: save it soon."""
        if not self._run.settings.save:
            return
        if self._lock is None:
            self._complain(self._trouble)
            return
        self._newest = held.stored()
        if self._timer is None and self._writer is None:
            wait = max(DELAY, self._not_before - self._run.loop.time())
            self._timer = self._run.loop.call_later(wait, self._begin)

    async def close(self) -> None:
        """Save what is not saved yet, and let go of the lock."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        deadline = self._run.loop.time() + LAST
        for _ in range(2):  # what is being written, and what came since
            if self._writer is None:
                self._begin(durable=True)
            if self._writer is not None:
                await asyncio.wait([self._writer], timeout=max(0.0, deadline - self._run.loop.time()))
        if self._writer is not None:
            self._complain(f"the last state was not saved: the disk took more than {LAST:g} s")
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _begin(self, *, durable: bool = False) -> None:
        self._timer = None
        newest, self._newest = self._newest, None
        if newest is None:
            return
        loop = self._run.loop
        self._writer = loop.create_future()
        began = loop.time()

        def work() -> None:
            try:
                self._write(newest, durable=durable)
                trouble = ""
            except (OSError, SnapshotError, MemoryError) as error:
                reason = error.strerror if isinstance(error, OSError) else None
                trouble = f"the state of this run cannot be saved: {reason or error!s} ({self.path})"
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is left to be told
                loop.call_soon_threadsafe(self._done, began, trouble)

        threading.Thread(target=work, name="livecore-saving", daemon=True).start()

    def _done(self, began: float, trouble: str) -> None:
        now = self._run.loop.time()
        self._not_before = now + max(LEAST, DUTY * (now - began), self._size / RATE)
        writer, self._writer = self._writer, None
        self._complain(trouble)
        if writer is not None and not writer.done():
            writer.set_result(None)
        if self._newest is not None and self._timer is None and self._lock is not None:
            self._timer = self._run.loop.call_later(self._not_before - now, self._begin)

    def _write(self, stored: Stored, *, durable: bool) -> None:
        """Write the file; in the writer's thread, of which there is one at a time."""
        with stored.opened() as contents:
            if not self._ours:
                if not contents.roots:
                    return  # nothing to go on with: what another run has saved is worth more
                move_aside(self.path)
            file = saved.parts(contents.pieces, self.about(stored.taken, "run"), contents.segments)
            self._size = write_private(self.path, file, durable=durable)
        self._ours = True

    def about(self, taken: float, why: str) -> About:
        """What a file of this run tells of itself."""
        settings = self._run.settings
        return About(
            saved=taken,
            target=_target(settings),
            root=settings.root,
            cwd=settings.cwd,
            python=platform.python_version(),
            why=why,
        )

    # -- telling ------------------------------------------------------------------------------------

    def _complain(self, trouble: str) -> None:
        """Warn once of each trouble, until it has passed."""
        if trouble and trouble != self._told:
            self._tell(NoticeKind.WARNING, trouble)
        self._told = trouble

    def _tell(self, kind: NoticeKind, text: str) -> None:
        self._run.emit(Notice(kind, text))
