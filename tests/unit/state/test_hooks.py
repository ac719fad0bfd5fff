"""Hooks: declared in order, replaced by a second execution, ignored without livecore."""

from __future__ import annotations

import importlib

import pytest

from livereload_core import before_reload, on_ready
from livereload_core.errors import UsageError
from livereload_core.state import hooks
from tests.unit.state.conftest import Program

SOURCE = """
from livereload_core import before_reload, dispose, on_ready

@before_reload
def first():
    return 1

@before_reload(timeout=2.5)
async def second():
    return 2

@dispose()
def last():
    return 3
"""


def test_hooks_are_kept_in_order_with_names_and_timeouts(program: Program) -> None:
    app = program.start(app=SOURCE)
    found = [(hook.name, hook.function, hook.timeout) for hook in hooks.of("before_reload")]
    assert found == [("app:first", app.first, None), ("app:second", app.second, 2.5)]
    assert [hook.name for hook in hooks.of("dispose")] == ["app:last"]
    assert hooks.of("on_ready") == []


def test_module_that_is_executed_again_replaces_its_hooks_in_place(program: Program) -> None:
    app = program.start(app=SOURCE)
    program.write(app="import os\n" + SOURCE.replace("return 1", "return 10"))
    importlib.reload(app)
    assert [hook.name for hook in hooks.of("before_reload")] == ["app:first", "app:second"]
    assert hooks.of("before_reload")[0].function() == 10


def test_two_hooks_of_one_name_are_both_called(program: Program) -> None:
    program.start(
        app="""
        from livereload_core import on_ready

        @on_ready
        def _():
            return 1

        @on_ready
        def _():
            return 2
        """
    )
    assert [hook.function() for hook in hooks.of("on_ready")] == [1, 2]


def test_without_livecore_the_function_comes_back_and_nothing_is_registered() -> None:
    def save() -> None: ...

    assert before_reload(save) is save
    assert before_reload(timeout=1)(save) is save
    assert hooks.of("before_reload") == []


def test_timeout_that_is_no_time_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="timeout of the on_ready hook is 0; pass seconds above zero"):
        on_ready(timeout=0)


def test_hook_that_cannot_be_called_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="@on_ready got 3"):
        on_ready(3)  # type: ignore[call-overload]
