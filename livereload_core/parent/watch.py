"""Seeing changes of files within milliseconds, and never losing sight of them.

``watchfiles`` tells of changes in a list of folders (a *feed*); this module sees to what it leaves open:

    * Ignored folders (node_modules, .venv) get no inotify watch. So each folder is watched by itself, and a
      new folder means a new list: the next feed is live before the old one ends, and what happened to the new
      folder in between is looked up.
    * inotify can drop events (its queue overflows), lose a folder (deleted and made again) or not hear of
      them (bind mounts). Once a second the files that matter are compared with how they were last seen.
    * Where the kernel hears nothing (NFS, 9p) or has no watches left, folders are polled, and that is said.

Invariants:
    * ``on_change`` and ``on_notice`` are called in the loop's thread, never after :meth:`Watcher.close`.
    * Reported are paths, not verdicts: files that the rules do not ignore, and those of :meth:`watch_more`.
      A file may be reported twice for one save; content decides later.
    * Feeds and poller come and go under the lock; nothing is waited for and nothing looked up under it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterable, Sequence

from livereload_core.core.watching import WatchRules
from livereload_core.parent.folders import git_busy, silent_mount
from livereload_core.parent.polling import Poller
from livereload_core.parent.sight import News, Sight

__all__ = ["Watcher", "git_busy"]

STEP_MS = 50
"""watchfiles sleeps for a step and hands over once a step brings nothing new: a save is seen after one to two
steps. Measured (p50): 2.0 ms at 1, 3.7 at 2, 7.5 at 5, for 2.1 %, 1.1 % and 0.9 % of a core while idle. Saves
of files that run are told by ``posix.inotify`` in a fraction of a millisecond and without idle cost; what is
left for this thread (new folders, links, deleted files, patterns) can wait for a step."""
DEBOUNCE_MS = 10
"""The longest that a stream of changes is held back; what follows supersedes what was reported."""
HAND_OVER = 3
"""Steps that an old feed lives on beside its successor: in the first it may find that something has come, in
the second it hands that over, and whoever stops it before loses it. On a busy machine a step takes longer.
"""
PAUSE = HAND_OVER * STEP_MS / 1000
"""Seconds between two feeds: a user has 128 inotify instances in all, and mkdir may come in hundreds."""
TIMEOUT_MS = 1000
"""How often an idle feed comes back to compare the tracked files."""
DOZE_AFTER = 5.0
"""Seconds without any change after which steps get longer: each wakes the processor, and 20 in a second were
2 % of a core on a virtual machine."""
DOZE = 0.2
"""Seconds added to a step then. What is told by ``posix.inotify`` is not late for that."""
RETRY_LIMIT = 30.0
"""Seconds after which watching is tried again where the kernel had no watches left."""


class Watcher:
    """Watches folders in a daemon thread.

    Args:
        roots: the folders.
        rules: what is left out; told of each .gitignore that is found, and of the real names of ``roots``.
        on_change: called with the real, absolute paths of files that changed, came or went.
        on_notice: called with one sentence when watching works less well than it could.
        on_included: called with folders in which files lie that the rules include, whatever imports them.
    """

    def __init__(
        self,
        roots: Sequence[str],
        rules: WatchRules,
        on_change: Callable[[frozenset[str]], None],
        on_notice: Callable[[str], None],
        on_included: Callable[[frozenset[str]], None] = lambda folders: None,
    ) -> None:
        self._sight = Sight(rules)
        for root in roots:
            self._sight.add_root(root)
        self._rules = rules
        self._on_change = on_change
        self._on_notice = on_notice
        self._on_included = on_included
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lock = threading.Lock()
        self._feed: _Feed | None = None  # the live one
        self._next: _Feed | None = None  # the one that is about to be
        self._todo: tuple[tuple[str, ...], tuple[str, ...]] | None = None  # what no feed has taken up yet
        self._not_before = 0.0
        self._poller: Poller | None = None
        self._wanting = False  # polls for want of watches
        self._retry_at = 0.0
        self._failures = 0
        self._threads: list[_Feed | Poller] = []
        self._closed = False

    # --- from the loop's thread ---------------------------------------------

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to watch; folders are looked through in the watcher's thread."""
        self._loop = loop
        silent = {root: kind for root in self._sight.roots if (kind := silent_mount(root))}
        for root, kind in silent.items():
            self._notice(f"{root} is on {kind}, where changes go unheard: its files are polled")
        with self._lock:
            self._poll(frozenset(silent))
            self._refeed(root for root in self._sight.roots if root not in silent)

    def watch_more(self, paths: Iterable[str]) -> None:
        """Never lose sight of these files, wherever they are; they need not exist. Known ones cost nothing.

        Files below the roots may be named as well: an ignored one is reported from then on, and each is
        compared once a second. A folder counts as one more root.
        """
        tops: list[str] = []
        stale = False
        for path in map(os.path.abspath, paths):
            if os.path.isdir(path):
                root = self._sight.add_root(path)
                tops += [root] if root is not None else []
            else:
                stale |= self._sight.track(path)
        if tops or stale:
            with self._lock:
                self._refeed(tops)

    def close(self) -> None:
        """Stop; no thread is left. Safe to call again, and before :meth:`start`."""
        with self._lock:
            self._closed = True
            threads, self._threads = self._threads, []
            for thread in threads:
                thread.stop()
        for thread in threads:
            thread.join(5)

    # --- feeds and poller come and go; the lock is held ---------------------

    def _refeed(self, tops: Iterable[str] = (), fresh: Iterable[str] = ()) -> None:
        """Get a feed for what is in sight, after a look through ``tops`` and ``fresh``."""
        known = self._todo or ((), ())
        self._todo = (*known[0], *tops), (*known[1], *fresh)
        if self._next is None:
            self._begin(pause=max(0.0, self._not_before - time.monotonic()))

    def _begin(self, *, after: _Feed | None = None, pause: float = 0.0) -> None:
        if self._closed or self._loop is None:
            return
        self._next = _Feed(self, self._sight, after=after, pause=pause)
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        self._threads.append(self._next)
        self._next.start()

    def _poll(self, roots: frozenset[str]) -> None:
        if self._poller is not None:
            self._poller.stop()
        self._poller = None
        if roots and not self._closed:
            self._poller = Poller(roots, self._rules, self._polled, self._poller_failed)
            self._threads.append(self._poller)
            self._poller.start()

    # --- from the threads of feeds and poller -------------------------------

    def take_up(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return what a feed that is about to make its list has to look through; the rest is for the next."""
        with self._lock:
            taken, self._todo = self._todo or ((), ()), None
            return taken

    def went_live(self, feed: _Feed) -> None:
        """``feed`` hears of changes from now on: the one before it may end."""
        with self._lock:
            old, self._feed, self._next = self._feed, feed, None
            if old is not None:
                old.retire()
            self._not_before = time.monotonic() + PAUSE
            if self._todo is not None:
                self._refeed()
            if self._wanting:
                self._wanting = False
                self._poll(frozenset(root for root in self._sight.roots if silent_mount(root)))
                self._notice("there are watches again: files are no longer polled")
        if self._sight.included:
            self._call(self._on_included, frozenset(self._sight.included))
        # What was made or saved between the look at the folders and their first watch.
        self._act_on(self._sight.missed(feed.tops, feed.fresh))
        self._act_on(self._sight.sweep())

    def take(self, changes: Iterable[tuple[int, str]]) -> None:
        """A feed heard something, or nothing for a while."""
        self._failures = 0
        self._act_on(self._sight.sort(changes))
        if self._sight.sweep_due():
            self._act_on(self._sight.sweep())

    def _act_on(self, news: News) -> None:
        if news.files:
            self._call(self._on_change, frozenset(news.files))
        if news.fresh or news.relist or news.all_again:
            with self._lock:
                self._refeed(self._sight.roots if news.all_again else (), news.fresh)

    def feed_ended(self, feed: _Feed, error: BaseException | None) -> None:
        """A feed ended without being told to: say why if the user can do something, and go on."""
        want = _want_of_watches(error)
        with self._lock:
            live = self._feed if self._feed is not feed else None
            self._feed = live
            if feed is self._next:
                self._next = None
            if self._closed or self._next is not None:
                return
            known = self._todo or ((), ())
            self._todo = (*known[0], *feed.tops, *self._sight.roots), (*known[1], *feed.fresh)
            if want and live is not None:
                # The old feed holds as many watches as the new one asks for: without it they may suffice.
                self._feed = None
                live.stop()
                self._begin(after=live)
            elif want:
                self._retry_at = time.monotonic() + RETRY_LIMIT
                if not self._wanting:
                    self._wanting = True
                    self._notice(f"{want}; until then files are polled")
                if self._poller is None or self._poller.roots != frozenset(self._sight.roots):
                    self._poll(frozenset(self._sight.roots))
            else:
                self._failures += 1
                if self._failures == 3:
                    self._notice(f"watching files fails again and again ({error}); it is tried on and on")
                self._begin(pause=min(5.0, 0.01 * 4**self._failures))

    def _polled(self, paths: set[str]) -> None:
        self._act_on(News(self._sight.sort_polled(paths)))
        # The anchors' part of a sweep is for watches; a poller looks at every folder anyway.
        self._act_on(News(self._sight.sweep().files))
        if self._wanting and time.monotonic() >= self._retry_at:
            with self._lock:
                self._retry_at = time.monotonic() + RETRY_LIMIT
                self._refeed(self._sight.roots)

    def _poller_failed(self, error: Exception) -> None:
        self._notice(f"polling files failed ({error}); it is started again")
        with self._lock:
            if self._poller is not None:
                self._poll(self._poller.roots)

    # --- to the loop's thread -----------------------------------------------

    def _notice(self, text: str) -> None:
        self._call(self._on_notice, text)

    def _call(self, function: Callable[..., None], argument: object) -> None:
        def deliver() -> None:
            if not self._closed:
                function(argument)

        if self._loop is not None and not self._closed:
            # A loop that is closed by now belongs to a run that has ended: nobody is left to tell.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(deliver)


class _Feed(threading.Thread):
    """One run of watchfiles over one list of folders.

    Args:
        watcher: whom to tell.
        sight: who makes the list.
        after: a feed whose end to wait for.
        pause: seconds to wait before.

    Attributes:
        tops: folders that were looked through for the list.
        fresh: such folders that are new, so that their files are news.
    """

    def __init__(
        self, watcher: Watcher, sight: Sight, *, after: _Feed | None = None, pause: float = 0.0
    ) -> None:
        super().__init__(name="livecore-watch", daemon=True)
        self.tops: tuple[str, ...] = ()
        self.fresh: tuple[str, ...] = ()
        self._watcher = watcher
        self._sight = sight
        self._after = after
        self._pause = pause
        self._stopped = threading.Event()
        self._live = False
        self._left: int | None = None
        self._last_change = time.monotonic()

    def stop(self) -> None:
        """End within a step; what was heard and not yet handed over is lost."""
        self._stopped.set()

    def retire(self) -> None:
        """End once everything is handed over that was heard so far."""
        self._left = HAND_OVER

    def is_set(self) -> bool:
        """Asked by watchfiles in every step, for the first time when all folders are watched."""
        if not self._live:
            self._live = True
            self._watcher.went_live(self)
        if self._left is not None:
            self._left -= 1
            if self._left <= 0:
                self._stopped.set()
        if time.monotonic() - self._last_change > DOZE_AFTER:
            self._stopped.wait(DOZE)
        return self._stopped.is_set()

    def run(self) -> None:
        """Watch until stopped."""
        error: BaseException | None = None
        try:
            if self._after is not None:
                self._after.join(5)
            if not self._stopped.wait(self._pause):
                self._watch()
        except BaseException as caught:  # a panic in Rust is no Exception; the watcher says and mends it
            error = caught
        if not self._stopped.is_set():
            self._watcher.feed_ended(self, error)

    def _watch(self) -> None:
        # Imported here, because its 40 ms need not be waited for by the first interpreter's start.
        import watchfiles

        self.tops, self.fresh = self._watcher.take_up()
        folders = self._sight.folders(self.tops, self.fresh)
        if not folders:
            while not self.is_set():
                self._watcher.take(())
                self._stopped.wait(TIMEOUT_MS / 1000)
            return
        for changes in watchfiles.watch(
            *folders,
            watch_filter=None,
            debounce=DEBOUNCE_MS,
            step=STEP_MS,
            stop_event=self,
            rust_timeout=TIMEOUT_MS,
            yield_on_timeout=True,
            raise_interrupt=False,
            force_polling=False,
            recursive=False,
            # With True, reaching the limit of watches would pass unsaid as well.
            ignore_permission_denied=False,
        ):
            if changes:
                self._last_change = time.monotonic()
            self._watcher.take(changes)


def _want_of_watches(error: BaseException | None) -> str:
    """Return what the kernel has too few of and what to do, or ``""`` for any other error."""
    text = str(error)
    if "limit reached" in text or "os error 28" in text:
        return "the limit of inotify watches is reached; raise it: sysctl fs.inotify.max_user_watches=524288"
    if "os error 24" in text:
        return (
            "no inotify instance can be made; raise the limit: sysctl fs.inotify.max_user_instances=512, "
            "or that of open files: ulimit -n 4096"
        )
    return ""
