"""Hooks of the user run in order, sync or async, each within its time."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from livereload_core.child.hooks import run_hooks, run_hooks_async, run_hooks_in
from livereload_core.errors import ReloadFailedError
from livereload_core.state import hooks, runtime


@pytest.fixture(autouse=True)
def under_livecore(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Hooks are noted only where a runtime is there to call them."""
    monkeypatch.setattr(runtime, "current", object())
    hooks.clear()
    yield
    hooks.clear()


def _three(notes: list[str]) -> None:
    @hooks.prepare
    def first() -> None:
        notes.append("first")

    @hooks.prepare
    async def second() -> None:
        await asyncio.sleep(0)
        notes.append("second")

    @hooks.prepare
    def third() -> None:
        notes.append("third")

    @hooks.dispose
    def other_kind() -> None:
        notes.append("never")


def test_sync_and_async_hooks_of_one_kind_run_in_the_order_of_their_declaration() -> None:
    notes: list[str] = []
    _three(notes)
    run_hooks("prepare", 5.0)
    assert notes == ["first", "second", "third"]


def test_in_a_running_loop_they_run_in_that_loop() -> None:
    notes: list[str] = []
    _three(notes)
    loops = []

    @hooks.prepare
    async def fourth() -> None:
        loops.append(asyncio.get_running_loop())

    async def main() -> None:
        await run_hooks_async("prepare", 5.0)
        assert loops == [asyncio.get_running_loop()]

    asyncio.run(main())
    assert notes == ["first", "second", "third"]


def test_a_loop_of_another_thread_runs_them_and_the_caller_waits_for_the_end() -> None:
    threads = []

    @hooks.on_ready
    async def note() -> None:
        await asyncio.sleep(0)
        threads.append(threading.current_thread())

    async def main() -> None:
        loop = asyncio.get_running_loop()
        await asyncio.to_thread(run_hooks_in, loop, "on_ready", 5.0)
        assert threads == [threading.current_thread()]

    asyncio.run(main())


def test_without_a_loop_they_run_where_they_are_called() -> None:
    threads = []

    @hooks.on_ready
    def note() -> None:
        threads.append(threading.current_thread())

    run_hooks_in(None, "on_ready", 5.0)
    assert threads == [threading.current_thread()]


def test_a_loop_is_not_disturbed_when_there_is_nothing_to_run() -> None:
    loop = asyncio.new_event_loop()  # it does not run: to wait for it would be to wait for ever
    try:
        run_hooks_in(loop, "on_ready", 5.0)
    finally:
        loop.close()


def test_a_function_that_returns_an_awaitable_is_awaited() -> None:
    notes: list[str] = []

    async def work() -> None:
        notes.append("done")

    hooks.prepare(lambda: work())
    run_hooks("prepare", 5.0)
    assert notes == ["done"]


def test_a_hook_that_overruns_is_cancelled_and_named_with_its_limit() -> None:
    notes: list[str] = []

    @hooks.before_reload
    async def endless() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            notes.append("cancelled")

    @hooks.before_reload
    def next_one() -> None:
        notes.append("never")

    with pytest.raises(ReloadFailedError, match=r"endless' took longer than 0\.01 s.*timeout="):
        run_hooks("before_reload", 0.01)
    assert notes == ["cancelled"]


def test_the_limit_of_a_hook_itself_comes_before_the_common_one() -> None:
    @hooks.before_reload(timeout=0.02)
    async def endless() -> None:
        await asyncio.Event().wait()

    with pytest.raises(ReloadFailedError, match=r"0\.02 s"):
        run_hooks("before_reload", 60.0)


def test_a_hook_may_take_longer_than_the_common_limit_when_it_says_so() -> None:
    notes: list[str] = []

    @hooks.before_reload(timeout=60)
    async def patient() -> None:
        # Past the common limit for sure: a timer of twice its length was set after it.
        await asyncio.sleep(0.02)
        notes.append("done")

    run_hooks("before_reload", 0.01)
    assert notes == ["done"]


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_what_a_hook_raises_comes_out_as_it_is_and_ends_the_row(kind: str) -> None:
    notes: list[str] = []
    error = LookupError("the hook objects")

    if kind == "sync":

        @hooks.after_reload
        def objects() -> None:
            raise error
    else:

        @hooks.after_reload
        async def objects_later() -> None:
            raise error

    @hooks.after_reload
    def next_one() -> None:
        notes.append("never")

    with pytest.raises(LookupError) as raised:
        run_hooks("after_reload", 5.0)
    assert raised.value is error
    assert notes == []


def test_a_time_out_of_the_hooks_own_is_not_taken_for_an_overrun() -> None:
    @hooks.after_reload
    async def asks() -> None:
        raise TimeoutError("the database did not answer")

    with pytest.raises(TimeoutError, match="the database did not answer"):
        run_hooks("after_reload", 5.0)


def test_what_a_hook_raises_in_another_thread_comes_out_here() -> None:
    @hooks.after_reload
    async def objects() -> None:
        raise LookupError("the hook objects")

    async def main() -> None:
        loop = asyncio.get_running_loop()
        with pytest.raises(LookupError, match="objects"):
            await asyncio.to_thread(run_hooks_in, loop, "after_reload", 5.0)

    asyncio.run(main())
