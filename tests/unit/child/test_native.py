"""Events and conditions of our own are those of the standard library, in what we use of them."""

from __future__ import annotations

import threading
import time

import pytest

from livereload_core.child import native
from livereload_core.testing import until


@pytest.mark.parametrize("kind", [native.Event, threading.Event])
def test_event_wakes_all_that_wait(kind: type[native.Event]) -> None:
    event = kind()
    found: list[bool] = []
    threads = [threading.Thread(target=lambda: found.append(event.wait(20))) for _ in range(3)]
    for thread in threads:
        thread.start()
    assert not event.is_set()
    event.set()
    for thread in threads:
        thread.join(20)
    assert found == [True] * 3
    assert event.wait()
    event.clear()
    assert not event.is_set()
    assert event.wait(0.01) is False
    assert event.wait(0) is False


@pytest.mark.parametrize("kind", [native.Condition, threading.Condition])
def test_condition_lets_go_of_its_lock_while_it_waits(kind: type[native.Condition]) -> None:
    condition = kind()
    found: list[bool] = []
    inside = threading.Event()

    def wait() -> None:
        with condition:
            inside.set()
            found.append(condition.wait(20))

    thread = threading.Thread(target=wait)
    thread.start()
    inside.wait(20)
    with condition, condition:  # may be taken twice by one thread: a signal's handler comes at any time
        condition.notify_all()
    thread.join(20)
    assert found == [True]
    with condition:
        before = time.monotonic()
        assert condition.wait(0.01) is False
        assert time.monotonic() - before >= 0.009
        condition.notify_all()  # nobody waits any more


def test_thread_runs_whether_or_not_the_program_has_replaced_how_they_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ran: list[int] = []
    native.start(lambda: ran.append(native.get_ident()))
    until(lambda: len(ran) == 1)
    monkeypatch.setattr("_thread.start_new_thread", None)
    native.start(lambda: ran.append(native.get_ident()))
    until(lambda: len(ran) == 2)
    assert native.main_ident() not in ran
