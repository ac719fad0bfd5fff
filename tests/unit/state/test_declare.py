"""preserve() as a user meets it: a no-op without livecore, and errors that say what to write."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

import livereload_core
from livereload_core import generation, preserve, reload
from livereload_core.errors import UsageError
from livereload_core.state import runtime
from tests.unit.state.conftest import Program


def test_value_form_without_livecore_calls_the_factory_each_time() -> None:
    first, second = preserve("users", dict[str, int]), preserve("users", dict[str, int])
    assert first == second == {}
    assert first is not second


def test_factory_form_without_livecore_makes_one_object() -> None:
    @preserve(version=3, transient=("lock",))
    def world() -> object:
        """The world."""
        return object()

    assert world() is world()
    assert (world.__name__, world.__doc__) == ("world", "The world.")


def test_factory_form_without_livecore_makes_one_object_for_many_threads() -> None:
    barrier = threading.Barrier(8)
    made: list[object] = []

    @preserve
    def world() -> object:
        return object()

    def take() -> None:
        barrier.wait()
        made.append(world())

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(made)) == 1


def test_class_form_without_livecore_returns_the_class_unchanged() -> None:
    class Game: ...

    before = dict(vars(Game))
    assert preserve(Game) is Game
    assert preserve(version=2)(Game) is Game
    assert dict(vars(Game)) == before


def test_generation_is_zero_and_reload_is_refused_without_livecore() -> None:
    assert generation() == 0
    assert reload() is False


def test_reload_asks_the_parent_when_live(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "request_reload", lambda: True)
    assert reload() is True


def test_generation_is_that_of_the_engine_when_live(program: Program) -> None:
    program.engine.activate()
    program.engine.generation = 7
    assert generation() == 7


def test_unknown_name_of_the_package_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nothing"):
        _ = livereload_core.nothing


def test_all_public_names_are_listed_and_there() -> None:
    for name in livereload_core.__all__:
        assert name in dir(livereload_core)
        assert getattr(livereload_core, name) is not None


async def _async_factory() -> int:
    return 1


def _with_argument(seed: int) -> int:
    return seed


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda: preserve("users"), r"preserve\('users'\) has no factory; pass one"),  # type: ignore[call-overload]
        (lambda: preserve("users", {}), "has no factory"),  # type: ignore[call-overload]
        (lambda: preserve("users", dict, name="x"), "leave name= out"),  # type: ignore[call-overload]
        (lambda: preserve("users", dict, versoin=2), "no option 'versoin'; the options are"),  # type: ignore[call-overload]
        (lambda: preserve("users", dict, on_error="ignore"), "on_error is 'ignore'"),  # type: ignore[call-overload]
        (lambda: preserve("users", dict, version="2"), "version is '2'"),  # type: ignore[call-overload]
        (lambda: preserve("users", dict, transient="lock"), r"transient=\('lock',\)"),
        (lambda: preserve("users", dict, migrate=3), "migrate is 3; pass a function"),  # type: ignore[call-overload]
        (lambda: preserve(3), "preserve.. got 3; write"),  # type: ignore[call-overload]
        (lambda: preserve(_async_factory), "'_async_factory' is async"),
        (lambda: preserve(_with_argument), "'_with_argument' takes arguments"),
    ],
)
def test_wrong_declaration_is_a_usage_error_that_says_what_to_write(
    wrong: Callable[[], Any], says: str
) -> None:
    with pytest.raises(UsageError, match=says):
        wrong()


def test_key_taken_from_two_places_names_both(program: Program) -> None:
    with pytest.raises(UsageError) as caught:
        program.start(
            app="""
            from livereload_core import preserve

            users = preserve("users", dict)
            others = preserve("users", list)
            """
        )
    text = str(caught.value)
    assert "state name 'users' is taken (registered at " in text
    assert "app.py:4, wanted at " in text
    assert "app.py:5)" in text
    assert text.endswith('pass another one: preserve("...")')


def test_factory_and_value_of_one_name_are_two_places(program: Program) -> None:
    with pytest.raises(UsageError, match="state name 'world' is taken"):
        program.start(
            app="""
            from livereload_core import preserve

            @preserve
            def world():
                return {}

            other = preserve("world", dict)
            """
        )


def test_same_place_executed_twice_returns_the_same_object(program: Program) -> None:
    app = program.start(
        app="""
        from livereload_core import preserve

        def table(name):
            return preserve(name, dict)

        first, again, other = table("a"), table("a"), table("b")
        """
    )
    assert app.first is app.again
    assert app.first is not app.other


def test_module_that_is_executed_again_keeps_its_objects_although_lines_moved(program: Program) -> None:
    source = """
    from livereload_core import preserve

    users = preserve("users", dict)
    hits = preserve("hits", int)

    @preserve
    def world():
        return []
    """
    app = program.start(app=source)
    users, world = app.users, app.world()
    app.hits = 3
    program.write(app="# moved down\n" + source.replace("\n    ", "\n").lstrip())
    import importlib

    importlib.reload(app)
    assert app.users is users
    assert app.world() is world
    assert app.hits == 3


def test_factory_that_raises_leaves_the_name_free(program: Program) -> None:
    app = program.start(
        app="""
        from livereload_core import preserve

        def broken():
            raise RuntimeError("no")

        try:
            users = preserve("users", broken)
        except RuntimeError:
            users = preserve("users", dict)
        """
    )
    assert app.users == {}
