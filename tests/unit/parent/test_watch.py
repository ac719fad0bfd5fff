"""Seeing changes, with real files, a real loop and the real kernel."""

from __future__ import annotations

import asyncio
import itertools
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from livereload_core.core.watching import WatchRules
from livereload_core.parent import folders, tracked, watch
from livereload_core.parent.folders import silent_mount
from livereload_core.parent.sight import Sight
from livereload_core.parent.watch import Watcher, git_busy
from livereload_core.testing import until

PATIENCE = 20.0
"""Far more than anything takes; only a failure waits that long."""


_NUMBERS = itertools.count()


class Watched:
    """A watcher on a loop in a thread, and what it said."""

    def __init__(self, *roots: Path, include: tuple[str, ...] = (), exclude: tuple[str, ...] = ()) -> None:
        self.roots = roots
        self.reported: list[str] = []
        self.notices: list[str] = []
        self.threads: set[str] = set()
        self._said = threading.Condition()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        names = [str(root) for root in roots]
        rules = WatchRules(names, include=include, exclude=exclude)
        self.included: set[str] = set()
        self.watcher = Watcher(names, rules, self._changed, self._noticed, self._found)

    def __enter__(self) -> Watched:
        self._thread.start()
        self._loop.call_soon_threadsafe(self.watcher.start, self._loop)
        self.wait_live()
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.watcher.close()
            assert not [thread for thread in threading.enumerate() if thread.name.startswith("livecore-")]
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    def _changed(self, paths: frozenset[str]) -> None:
        with self._said:
            self.threads.add(threading.current_thread().name)
            self.reported += sorted(paths)
            self._said.notify_all()

    def _noticed(self, text: str) -> None:
        with self._said:
            self.notices.append(text)
            self._said.notify_all()

    def _found(self, folders: frozenset[str]) -> None:
        with self._said:
            self.included |= folders
            self._said.notify_all()

    def wait_for(self, fact: Callable[[], bool], what: str, timeout: float = PATIENCE) -> None:
        with self._said:
            assert self._said.wait_for(fact, timeout), f"no {what}; {self.reported=} {self.notices=}"

    def hears(self, *paths: Path, since: int = 0) -> None:
        """Wait until all paths are reported."""
        names = {str(path) for path in paths}
        self.wait_for(lambda: names <= set(self.reported[since:]), f"report of {names}")

    def wait_live(self, folder: Path | None = None) -> None:
        """Save a file until one save is heard."""
        end = time.monotonic() + PATIENCE
        while True:
            probe = (folder or self.roots[0]) / f"probe{next(_NUMBERS)}.txt"
            probe.write_text("")
            with self._said:
                if self._said.wait_for(lambda name=str(probe): name in self.reported, 0.1):  # type: ignore[misc]
                    return
            assert time.monotonic() < end, f"never live; {self.notices=}"

    def hears_nothing_of(self, *paths: Path) -> None:
        """What was to be heard has been heard when a later save has."""
        self.wait_live()
        assert not {str(path) for path in paths} & set(self.reported)

    def watch_more(self, *paths: Path) -> None:
        """Returns when the paths are known; only what happens to them later is news."""
        known = threading.Event()
        self._loop.call_soon_threadsafe(self.watcher.watch_more, [str(path) for path in paths])
        self._loop.call_soon_threadsafe(known.set)
        assert known.wait(PATIENCE)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    root.mkdir()
    (root / "app.py").write_text("x = 1\n")
    return root


@pytest.fixture
def watched(root: Path) -> Iterator[Watched]:
    with Watched(root) as watched:
        yield watched


def test_every_way_of_saving_is_heard_in_the_loops_thread(root: Path, watched: Watched) -> None:
    app = root / "app.py"
    for save in (
        lambda: app.write_text("x = 2\n"),
        lambda: (root / "app.py.tmp").write_text("x = 3\n") and (root / "app.py.tmp").replace(app),
        app.unlink,
        lambda: app.write_text("x = 4\n"),
    ):
        seen = len(watched.reported)
        save()
        watched.hears(app, since=seen)
    assert str(root / "app.py.tmp") not in watched.reported
    assert watched.threads == {watched._thread.name}


def test_two_hundred_files_at_once_are_all_heard(root: Path, watched: Watched) -> None:
    files = [root / f"m{number}.py" for number in range(200)]
    for file in files:
        file.write_text("")
    watched.hears(*files)


def test_ignored_files_and_folders_are_not_heard(root: Path) -> None:
    (root / ".gitignore").write_text("*.log\nout/\n")
    for folder in (".git", "node_modules/lib", "out", "__pycache__"):
        (root / folder).mkdir(parents=True)
    with Watched(root, exclude=("private.py",)) as watched:
        silent = [
            root / name
            for name in (
                "a.log",
                ".app.py.swp",
                ".git/index",
                "node_modules/lib/a.py",
                "out/a.py",
                "private.py",
            )
        ]
        for path in silent:
            path.write_text("x")
        watched.hears_nothing_of(*silent)


def test_ignored_folders_cost_no_watches(root: Path) -> None:
    for number in range(50):
        (root / "node_modules" / str(number)).mkdir(parents=True)
    (root / "pkg").mkdir()
    with Watched(root):
        assert _inotify_watches() == 2


def _inotify_watches() -> int:
    count = 0
    for info in Path("/proc/self/fdinfo").iterdir():
        try:
            count += info.read_text().count("inotify wd:")
        except FileNotFoundError:
            continue
    return count


def test_new_folders_are_watched_with_what_was_saved_into_them_at_once(root: Path, watched: Watched) -> None:
    deep = root / "pkg" / "sub" / "deeper"
    deep.mkdir(parents=True)
    first = deep / "first.py"
    first.write_text("")
    watched.hears(first)
    watched.wait_live(deep)


def test_hundreds_of_new_folders_need_few_watches_at_a_time(root: Path, watched: Watched) -> None:
    most, files = 0, []
    for number in range(300):
        folder = root / f"p{number}"
        folder.mkdir()
        (folder / "a.py").write_text("")
        files.append(folder / "a.py")
        most = max(most, _inotify_instances())
    watched.hears(*files)
    watched.wait_live(root / "p299")
    assert most <= 4


def test_feed_that_retires_lives_for_the_steps_in_which_what_it_heard_is_handed_over(root: Path) -> None:
    class Nobody:
        def went_live(self, feed: object) -> None:
            pass

    feed = watch._Feed(Nobody(), Sight(WatchRules([str(root)])))  # type: ignore[arg-type]
    assert [feed.is_set() for _ in range(9)] == [False] * 9
    feed.retire()
    # However long each of them takes: watchfiles lets go of what is pending when this says so.
    assert [feed.is_set() for _ in range(3)] == [False, False, True]


def _inotify_instances() -> int:
    count = 0
    for fd in Path("/proc/self/fd").iterdir():
        try:
            count += "inotify" in os.readlink(fd)
        except FileNotFoundError:
            continue  # closed by another thread meanwhile
    return count


def test_folder_that_is_deleted_and_made_again_is_watched_again(root: Path, watched: Watched) -> None:
    package = root / "pkg"
    for _ in range(3):
        package.mkdir()
        watched.wait_live(package)
        shutil.rmtree(package)


def test_folder_that_is_renamed_is_watched_under_its_new_name(root: Path, watched: Watched) -> None:
    (root / "old").mkdir()
    file = root / "old" / "a.py"
    file.write_text("")
    watched.wait_live(root / "old")
    watched.watch_more(file)
    seen = len(watched.reported)
    (root / "old").rename(root / "new")
    watched.hears(file, root / "new" / "a.py", since=seen)
    watched.wait_live(root / "new")


def test_root_that_is_deleted_and_made_again_is_watched_again(root: Path, watched: Watched) -> None:
    shutil.rmtree(root)
    root.mkdir()
    watched.wait_live()


def test_gitignore_that_changes_is_followed(root: Path, watched: Watched) -> None:
    (root / "out").mkdir()
    watched.wait_live(root / "out")
    (root / ".gitignore").write_text("*.log\n")
    watched.wait_live()
    (root / "a.log").write_text("")
    watched.hears_nothing_of(root / "a.log")
    (root / ".gitignore").write_text("")
    watched.wait_live()
    (root / "b.log").write_text("")
    watched.hears(root / "b.log")


def test_gitignore_written_while_a_feed_is_made_counts_from_its_first_report(root: Path) -> None:
    rules = WatchRules([str(root)])
    sight = Sight(rules)
    sight.add_root(str(root))
    sight.folders([str(root)], [])
    (root / ".gitignore").write_text("*.log\n")
    # The new feed was not there yet, and the one before it has not said so yet.
    assert sight.missed([], []).all_again
    assert sight.sort([(1, str(root / "a.log"))]).files == set()
    (root / ".gitignore").unlink()
    assert sight.missed([], []).all_again
    assert sight.sort([(1, str(root / "b.log"))]).files == {str(root / "b.log")}
    assert not sight.missed([], []).all_again


def test_imported_file_is_heard_although_it_is_ignored(root: Path) -> None:
    (root / ".gitignore").write_text("gen/\n")
    (root / "gen").mkdir()
    file = root / "gen" / "made.py"
    with Watched(root) as watched:
        file.write_text("x = 1\n")
        watched.hears_nothing_of(file)
        watched.watch_more(file)
        watched.wait_live()
        file.write_text("x = 22\n")
        watched.hears(file)


def test_file_outside_is_heard_and_its_neighbours_are_not(
    tmp_path: Path, root: Path, watched: Watched
) -> None:
    (tmp_path / "lib").mkdir()
    file = tmp_path / "lib" / "shared.py"
    watched.watch_more(file)
    (tmp_path / "lib" / "other.py").write_text("")
    file.write_text("x = 1\n")
    watched.hears(file)
    watched.hears_nothing_of(tmp_path / "lib" / "other.py")


def test_place_where_a_module_would_be_is_watched_before_its_folders_exist(
    tmp_path: Path, root: Path, watched: Watched
) -> None:
    inside, outside = root / "x" / "y" / "__init__.py", tmp_path / "a" / "b" / "c.py"
    watched.watch_more(inside, outside)
    for path in (inside, outside):
        path.parent.mkdir(parents=True)
        path.write_text("")
    watched.hears(inside, outside)


def test_folder_given_later_is_one_more_root(tmp_path: Path, root: Path, watched: Watched) -> None:
    library = tmp_path / "library"
    (library / "src").mkdir(parents=True)
    watched.watch_more(library)
    watched.wait_live(library / "src")


def test_target_of_a_symlinked_file_is_watched(tmp_path: Path, root: Path) -> None:
    target = tmp_path / "shared" / "real.py"
    target.parent.mkdir()
    target.write_text("x = 1\n")
    (root / "link.py").symlink_to(target)
    with Watched(root) as watched:
        target.write_text("x = 22\n")
        watched.hears(root / "link.py")


def test_symlink_that_is_switched_is_heard(tmp_path: Path, root: Path, watched: Watched) -> None:
    for release in ("one", "two"):
        (tmp_path / release).mkdir()
        (tmp_path / release / "mod.py").write_text(f"WHO = {release!r}\n")
    current, fresh = root / "current", root / "fresh"
    current.symlink_to(tmp_path / "one")
    module = current / "mod.py"
    watched.watch_more(module)
    watched.wait_live()
    fresh.symlink_to(tmp_path / "two")
    fresh.replace(current)
    watched.hears(module)


def test_root_that_is_a_symlink_is_reported_by_its_real_name(tmp_path: Path, root: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(root)
    with Watched(root) as plain:
        watcher = Watcher([str(link)], plain.watcher._rules, lambda _: None, lambda _: None)
        assert watcher._sight.roots == [str(root)]
        watcher.close()


def test_change_that_no_event_told_is_found_by_looking(root: Path, watched: Watched) -> None:
    app = root / "app.py"
    watched.watch_more(app)
    watched.wait_live()
    seen = len(watched.reported)
    # As if the event had been lost: the file differs from how it was last seen, and nothing says so.
    watched.watcher._sight._tracked._seen[str(app)] = (0, 0, 0, 0)
    watched.hears(app, since=seen)


def test_feed_that_dies_is_started_again(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import watchfiles

    real, calls = watchfiles.watch, []

    def dies_at_first(*args: Any, **options: Any) -> object:
        calls.append(args)
        if len(calls) <= 3:
            raise RuntimeError("the watcher thread is gone")
        return real(*args, **options)

    monkeypatch.setattr(watchfiles, "watch", dies_at_first)
    with Watched(root) as watched:
        assert len(calls) == 4
        assert watched.notices == [
            "watching files fails again and again (the watcher thread is gone); it is tried on and on"
        ]


def test_files_are_polled_where_the_kernel_hears_nothing(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "silent_mount", lambda path: "nfs4")
    app = root / "app.py"
    (root / "pkg").mkdir()
    with Watched(root) as watched:
        assert watched.notices == [f"{root} is on nfs4, where changes go unheard: its files are polled"]
        assert _inotify_watches() == 0
        stamp = app.stat().st_mtime
        for text in ("x = 2\n", "x = 3\n"):
            seen = len(watched.reported)
            (root / "new").write_text(text)
            os.utime(root / "new", (stamp, stamp))
            (root / "new").replace(app)  # same second, same size
            watched.hears(app, since=seen)
        watched.wait_live(root / "pkg")


LIMITED = """
import asyncio, sys, pathlib
from livereload_core.core.watching import WatchRules
from livereload_core.parent.watch import Watcher
root = sys.argv[1]
async def main():
    heard = asyncio.Event()
    notice = asyncio.Event()
    def say(text):
        print(text)
        notice.set()
    watcher = Watcher([root], WatchRules([root]), lambda paths: heard.set(), say)
    watcher.start(asyncio.get_running_loop())
    await asyncio.wait_for(notice.wait(), 20)
    for number in range(100):
        pathlib.Path(root, "d1", f"{number}.py").write_text("")
        try:
            await asyncio.wait_for(heard.wait(), 1)
            break
        except TimeoutError:
            pass
    print("heard" if heard.is_set() else "deaf")
    watcher.close()
asyncio.run(main())
"""


@pytest.mark.parametrize(
    ("limit", "said"),
    [
        (
            "user/max_inotify_watches",
            "the limit of inotify watches is reached; raise it: sysctl fs.inotify.max_user_watches=524288",
        ),
        (
            "user/max_inotify_instances",
            "no inotify instance can be made; raise the limit: sysctl fs.inotify.max_user_instances=512",
        ),
    ],
)
def test_limit_of_the_kernel_is_said_and_files_are_polled(root: Path, limit: str, said: str) -> None:
    for number in range(8):
        (root / f"d{number}").mkdir()
    inside = f'echo 0 > /proc/sys/{limit} && exec "$0" -c "$1" "$2"'
    command = ["unshare", "--user", "--map-root-user", "sh", "-c", inside, sys.executable, LIMITED, str(root)]
    if subprocess.run([*command[:3], "true"], check=False, capture_output=True, timeout=20).returncode:
        pytest.skip("no user namespaces here, in which a limit can be lowered")
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if "Permission denied" in done.stderr or "Read-only" in done.stderr:
        pytest.skip("limits cannot be lowered here")
    assert done.stdout.startswith(said), done.stderr
    assert done.stdout.endswith("files are polled\nheard\n"), done.stderr


def test_close_is_prompt_and_may_come_twice_or_before_the_start(root: Path) -> None:
    idle = Watcher([str(root)], WatchRules([str(root)]), lambda _: None, lambda _: None)
    idle.close()
    with Watched(root) as watched:
        before = _native_threads()
        began = time.monotonic()
        watched.watcher.close()
        assert time.monotonic() - began < 1
        watched.watcher.close()
        # The kernel's side of it ends in a thread of watchfiles' own.
        until(lambda: _native_threads() < before and not _inotify_watches(), what="end of watchfiles' thread")


def _native_threads() -> int:
    return len(os.listdir("/proc/self/task"))


def test_nothing_is_reported_after_the_close(root: Path) -> None:
    with Watched(root) as watched:
        watched.watcher.close()
        seen = list(watched.reported)
        (root / "app.py").write_text("x = 5\n")
        watched.watcher._call(watched._noticed, "too late")
    assert watched.reported == seen
    assert not watched.notices


# --- what is on disk -----------------------------------------------------------------------------------


def test_git_is_busy_while_its_lock_is_there_and_young(tmp_path: Path) -> None:
    repository, inner = tmp_path / "repository", tmp_path / "repository" / "inner"
    (repository / ".git").mkdir(parents=True)
    inner.mkdir()
    lock = repository / ".git" / "index.lock"
    assert not git_busy(str(inner))
    lock.write_text("")
    assert git_busy(str(inner))
    assert git_busy(str(repository))
    os.utime(lock, (time.time() - 60,) * 2)
    assert not git_busy(str(inner)), "left behind, or a commit message is being written"
    assert not git_busy(str(tmp_path))


def test_git_is_busy_in_a_worktree_of_its_own(tmp_path: Path) -> None:
    real = tmp_path / "main" / ".git" / "worktrees" / "w"
    real.mkdir(parents=True)
    (tmp_path / "w").mkdir()
    (tmp_path / "w" / ".git").write_text(f"gitdir: {real}\n")
    assert not git_busy(str(tmp_path / "w"))
    (real / "index.lock").write_text("")
    assert git_busy(str(tmp_path / "w"))


def test_mounts_that_tell_nothing_are_known_by_their_type(tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    shared = tmp_path / "with space"
    shared.mkdir()
    place = str(shared).replace(" ", "\\040")
    mounts.write_text(f"/dev/a / ext4 rw 0 0\nhost {place} 9p rw 0 0\nsrv {tmp_path}/nfs nfs4 rw 0 0\n")
    assert silent_mount(str(shared / "app"), str(mounts)) == "9p"
    assert silent_mount(f"{tmp_path}/nfs", str(mounts)) == "nfs4"
    assert silent_mount(f"{tmp_path}/nfs2", str(mounts)) == ""
    assert silent_mount(str(tmp_path), str(tmp_path / "missing")) == ""


def test_folder_that_may_not_be_read_is_passed_over(root: Path) -> None:
    rules = WatchRules([str(root)])
    assert folders.look_through([str(root / "missing"), str(root)], rules).folders == [str(root)]


def test_very_many_tracked_files_are_compared_less_often(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    files = tracked.Tracked()
    files.add(str(tmp_path / "a.py"))
    clock = iter([100.0, 105.0, 500.0, 601.0])
    monkeypatch.setattr("livereload_core.parent.tracked.time.monotonic", lambda: next(clock))
    assert files.sweep() == set()
    assert not files.due(), "5 s of comparing are followed by 500 s of peace"
    assert files.due()


def test_folders_of_included_files_are_told_so_that_somebody_quicker_can_watch_them(tmp_path: Path) -> None:
    root, made = tmp_path / "root", tmp_path / "made"
    templates, plain, new = root / "templates", root / "plain", root / "more"
    for folder in (templates, plain, made):
        folder.mkdir(parents=True)
        (folder / "app.py").touch()
    (templates / "page.html").touch()
    (made / "page.html").touch()
    with Watched(root, include=("*.html",)) as watched:
        watched.wait_for(lambda: watched.included == {str(templates)}, "the folder of the template")
        made.rename(new)
        watched.wait_for(lambda: watched.included == {str(templates), str(new)}, "the new folder")


def test_changes_are_reported_after_a_long_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "DOZE_AFTER", 0.0)
    (tmp_path / "app.py").touch()
    with Watched(tmp_path) as watched:
        (tmp_path / "app.py").write_text("1")
        watched.wait_for(lambda: str(tmp_path / "app.py") in watched.reported, "the change")
        (tmp_path / "new.py").touch()
        watched.wait_for(lambda: str(tmp_path / "new.py") in watched.reported, "the new file")
