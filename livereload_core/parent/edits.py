"""From touched files to edits: what changed in content, whether it compiles, what is worth watching.

``known`` is the digest of each file as it was last tried to the end, ``trying`` that of the attempt under
way. A save counts when the disk differs from both; so neither time stamps nor sizes matter, an identical save
is nothing, and the last of many saves always wins: what a candidate really compiled replaces what was hashed
before, and any difference to the disk is an edit. An attempt that ends without a verdict leaves ``known`` as
it was, so its files count again.
"""

from __future__ import annotations

import asyncio
import json
import os
import sysconfig
import time
import urllib.parse
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from livereload_core.core import events as ev
from livereload_core.core.records import Notice, NoticeKind
from livereload_core.core.settings import Settings, TargetKind
from livereload_core.core.watching import Verdict, WatchRules
from livereload_core.facts import Failure
from livereload_core.parent.sources import check, digest
from livereload_core.parent.watch import Watcher, git_busy
from livereload_core.posix.inotify import Inotify

if TYPE_CHECKING:
    from livereload_core.parent.supervisor import Supervisor

__all__ = ["Edits", "editable_roots"]

GIT_POLL = 0.02
"""Seconds between two looks for ``.git/index.lock``: its folder is not watched, so its end is no event."""
GIT_PATIENCE = 10.0
"""Seconds after which a lock counts as left behind by a git that crashed."""
MOST_NOTICE = 0.2
"""Seconds; a file that is older was not written just now (moved into place, or its time was set)."""
REAPPEAR = 0.05
"""Seconds that a file may be missing or empty: editors that write in place or recreate a file pass through
that moment, and it is no version of the program."""


class Edits:
    """Watches, hashes and compiles for one supervisor."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._run = supervisor
        self._look_at(supervisor.settings)
        self._known: dict[str, str | None] = {}
        self._trying: dict[str, str | None] = {}
        self._loaded: dict[ev.Child, dict[str, str]] = {}
        self._imported: set[str] = set()
        self._named: set[str] = set()
        self._collecting: set[str] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._busy_since: float | None = None
        self._asleep_since = 0.0
        self._slept = 0.0
        self._waited: set[str] = set()
        self._base: frozenset[str] = frozenset()
        self._inotify: Inotify | None = None

    def start(self) -> None:
        """Begin to watch, if the run wants that."""
        self._know_base()
        if not self._run.settings.reload:
            return
        try:
            self._inotify = Inotify()
            self._run.loop.add_reader(self._inotify.fileno(), self._written)
        except OSError:
            self._inotify = None  # the watcher proper sees everything, a little later
        self._watcher.start(self._run.loop)
        self._watch_also(self._imported | self._run.configuration.files)

    def configure(self, settings: Settings) -> None:
        """Watch as other settings want it.

        Raises:
            UsageError: a pattern is none; nothing has changed.
        """
        before, watcher = self._run.settings, self._watcher
        watching = ("reload_dirs", "reload_include", "reload_exclude")
        if any(getattr(before, name) != getattr(settings, name) for name in watching):
            self._look_at(settings)
            if settings.reload:
                self._watcher.start(self._run.loop)
                self._watch_also(self._imported | self._named | self._run.configuration.files)
                watcher.close()

    def settle_base(self) -> None:
        """The environment file is another one: it counts, the one before does not."""
        self._imported -= self._base
        self._know_base()
        self._watch_also(self._base)

    def _look_at(self, settings: Settings) -> None:
        roots = user_roots(settings)
        watched = settings.reload_dirs or roots
        rules = WatchRules(watched, include=settings.reload_include, exclude=settings.reload_exclude)
        self.roots, self._rules = roots, rules
        self._watcher = Watcher(watched, rules, self._touched, self._run.warn, self._hear_at_once)

    def _know_base(self) -> None:
        before = self._base
        self._base = frozenset(os.path.realpath(file) for file in self._run.warmth_files())
        # Those known already keep their digest: a change of theirs that nobody has looked at is an edit.
        self._known.update((file, digest(file)) for file in self._base - before)
        self._imported |= self._base

    def close(self) -> None:
        """Stop watching; no thread is left."""
        if self._timer is not None:
            self._timer.cancel()
        if self._inotify is not None:
            self._run.loop.remove_reader(self._inotify.fileno())
            self._inotify.close()
            self._inotify = None
        if self._run.settings.reload:
            self._watcher.close()

    def describe(self) -> dict[str, Any]:
        """What ``livecore status`` says about watching."""
        return {
            "reload": self._run.settings.reload,
            "roots": list(self._rules.roots),
            "imported": len(self._imported),
            "named": sorted(self._named),
        }

    # -- what children and failures say -------------------------------------------------------------

    def loaded(self, child: ev.Child, files: dict[str, str]) -> None:
        """A child has compiled these files: path to digest."""
        self._loaded.setdefault(child, {}).update(files)
        self._imported.update(files)
        self._watch_also(files)
        if child == self._run.machine.active:
            self._known.update(files)  # a late import
        else:
            self._trying.update(files)

    def give_back(self) -> None:
        """The attempt ended without a verdict."""
        self._trying.clear()

    def settled(self) -> None:
        """The attempt ended with one: what it tried is known."""
        self._known.update(self._trying)
        self._trying.clear()

    def committed(self, child: ev.Child) -> None:
        """A child serves: what failed before is over, and files that changed meanwhile are edits."""
        self._named.clear()
        mine = self._loaded.get(child, {})
        self._loaded = {child: mine}
        self._imported = set(mine) | self._base
        self.settled()
        stale = frozenset(file for file, value in mine.items() if self._known.get(file) != value)
        self._known.update(mine)
        if stale:
            self._run.dispatch(ev.FilesTouched(stale))

    def name(self, failure: Failure) -> None:
        """Watch the files that a failure names, whether anything imported them or not."""
        new = set(failure.files) - self._named
        self._named |= new
        self._watch_also(new)
        # What was missing when the code failed and has come since is reported by nobody.
        come = frozenset(file for file in new if file not in self._known and os.path.exists(file))
        if come:
            self._run.loop.call_soon(self._touched, come)

    def _watch_also(self, files: Iterable[str]) -> None:
        if self._run.settings.reload:
            self._watcher.watch_more(files)
        self._hear_at_once({os.path.dirname(file) for file in files})

    def _hear_at_once(self, folders: Iterable[str]) -> None:
        if self._inotify is not None:
            for folder in folders:
                self._inotify.add(folder)

    def _written(self) -> None:
        if self._inotify is not None:
            self._touched(self._inotify.read())

    # -- touched files ------------------------------------------------------------------------------

    def _touched(self, files: frozenset[str]) -> None:
        relevant = self._relevant(files)
        if relevant:
            self._run.dispatch(ev.FilesTouched(relevant, _seconds_since_save(relevant)))

    def _relevant(self, files: frozenset[str]) -> frozenset[str]:
        self._run.configuration.touched(files)
        return frozenset(
            file
            for file in files
            if self._rules.verdict(file, imported=self._imported, named=self._named) is Verdict.RELOAD
        )

    def saved_meanwhile(self) -> frozenset[str]:
        """Return what else was saved while an edit was hashed and compiled: it is a part of it.

        Later it would supersede the attempt, and the spare interpreter would be lost with that.
        """
        relevant = self._relevant(self._inotify.read()) if self._inotify is not None else frozenset()
        if not relevant or git_busy(self._run.settings.root) or any(map(_is_passing, relevant)):
            if relevant:
                self._run.dispatch(ev.FilesTouched(relevant, _seconds_since_save(relevant)))
            return frozenset()
        tried = {**self._known, **self._trying}
        changed = {file: value for file in relevant if (value := digest(file)) != tried.get(file)}
        self._trying.update(changed)
        return frozenset(changed)

    def collect(self, files: frozenset[str]) -> None:
        """Hash ``files`` (and those that still wait) once the tree is at rest, and say what changed."""
        self._collecting |= files
        if self._timer is None:
            self._try_collect()

    def _wait(self, seconds: float) -> None:
        self._asleep_since = self._run.loop.time()
        self._timer = self._run.loop.call_later(seconds, self._go_on_collecting)

    def _go_on_collecting(self) -> None:
        self._slept += self._run.loop.time() - self._asleep_since
        self._try_collect()

    def _try_collect(self) -> None:
        self._timer = None
        loop = self._run.loop
        if git_busy(self._run.settings.root):
            self._busy_since = self._busy_since or loop.time()
            if loop.time() - self._busy_since < GIT_PATIENCE:
                self._wait(GIT_POLL)
                return
        self._busy_since = None
        digests = {file: digest(file) for file in self._collecting}
        tried = {**self._known, **self._trying}
        changed = {file for file, value in digests.items() if value != tried.get(file)}
        unsettled = {file for file in changed if _is_passing(file)} - self._waited
        if unsettled:
            self._waited |= unsettled
            self._wait(REAPPEAR)
            return
        self._waited.clear()
        self._collecting = set()
        if changed and self._is_back_to_what_runs(changed, digests):
            self._known.update(digests)
            self._run.emit(Notice(NoticeKind.INFO, "the files are back to the code that runs; nothing to do"))
            changed = set()
        self._trying.update((file, digests[file]) for file in changed)
        slept, self._slept = self._slept, 0.0
        self._run.dispatch(ev.Collected(frozenset(changed), slept))

    def _is_back_to_what_runs(self, changed: set[str], digests: dict[str, str | None]) -> bool:
        """Whether an edit that was turned down has been undone."""
        machine = self._run.machine
        running = self._loaded.get(machine.active, {}) if machine.active is not None else {}
        if machine.attempt is not None and machine.candidate is not None:
            return False  # a candidate compiled something else: it has to be superseded
        now = {**self._known, **digests}
        return changed <= running.keys() and all(now.get(file) == value for file, value in running.items())

    def check(self, files: frozenset[str]) -> tuple[Failure, ...]:
        """Compile what is Python and is there; a file that is gone is for the import to judge."""
        settings = self._run.settings
        script = os.path.join(settings.cwd, settings.target.name)
        required = [script] if settings.target.kind is TargetKind.SCRIPT else []
        return check(
            sorted(file for file in files if file.endswith(".py")), root=settings.root, required=required
        )


def _seconds_since_save(files: Iterable[str]) -> float:
    """How long ago the newest of these files was written, as far as two clocks can tell; at most a second."""
    newest = 0
    for file in files:
        try:
            newest = max(newest, os.stat(file).st_mtime_ns)
        except OSError:
            continue
    age = (time.time_ns() - newest) / 1e9
    # A rename keeps the time at which the file was written, and clocks may jump: then it is not known.
    return age if 0.0 <= age < MOST_NOTICE else 0.0


def _is_passing(file: str) -> bool:
    try:
        return os.stat(file).st_size == 0
    except OSError:
        return True


def _below(path: str, root: str) -> bool:
    return path.startswith(root.rstrip("/") + "/")


def user_roots(settings: Settings) -> tuple[str, ...]:
    """Folders whose Python files are the user's own code, the project's first."""
    roots = [settings.root, settings.app_dir]
    if settings.target.kind is TargetKind.SCRIPT:
        roots.append(os.path.dirname(os.path.join(settings.cwd, settings.target.name)))
    roots += [*settings.reload_dirs, *editable_roots(sysconfig.get_path("purelib"))]
    found: list[str] = []
    for root in roots:
        real = os.path.realpath(root)
        if not any(real == other or _below(real, other) for other in found):
            found.append(real)
    return tuple(found)


def editable_roots(site_packages: str) -> list[str]:
    """Project folders of editable installs (PEP 660, PEP 610 ``direct_url.json``), our own left out."""
    roots: list[str] = []
    for path in sorted(Path(site_packages).glob("*.dist-info/direct_url.json")):
        try:
            url = json.loads(path.read_text(encoding="utf-8"))
            folder = urllib.parse.unquote(urllib.parse.urlsplit(url["url"]).path)
            if url.get("dir_info", {}).get("editable") and not _below(__file__, folder):
                roots.append(folder)
        except (OSError, ValueError, KeyError):
            continue  # a broken install is nobody's edit
    return roots
