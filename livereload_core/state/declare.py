"""``preserve``: the three forms in which a user declares state.

    sessions = preserve("sessions", dict[str, Session])     value form: the real object, never a proxy

    @preserve
    def world() -> World: ...                               factory form: call it, always the one object

    @preserve(version=2, migrate=upgrade, transient=("_lock",))
    class Game: ...                                         class form: module-level instances

    rows = preserve.dict()                                  tracked: a reload carries what was touched

Invariants:
    * Without ``livecore``: ``preserve(k, f)`` is ``f()``, a factory is memoised, a class is returned as
      it is. Importing this module loads nothing but ``sys`` and our errors.
    * Under ``livecore`` everything is handed to the engine, with the place of the declaration.
"""

from __future__ import annotations

import sys

from livereload_core.errors import UsageError
from livereload_core.state import runtime
from livereload_core.state.each import Each
from livereload_core.state.makers import Arrays, Dicts, Lrus

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from types import FrameType
    from typing import Any, Literal, TypeVar, overload

    T = TypeVar("T")
    F = TypeVar("F", bound=Callable[..., Any])
else:

    def overload(function):
        """Stand in for ``typing.overload``: typing is too dear to import for a no-op."""
        return function


__all__ = ["preserve"]


class Preserve:
    """The type of :data:`preserve`."""

    __slots__ = ()

    # ruff knows overloads only when they come from typing, hence the noqa.
    @overload
    def __call__(
        self,
        key: str,
        factory: Callable[[], T],
        /,
        *,
        version: int = 1,
        migrate: Callable[[Any, int], Any] | Mapping[int, Callable[[Any], Any]] | None = None,
        transient: Iterable[str] = (),
        on_error: Literal["reject", "reset"] = "reject",
        renamed: Mapping[str, str | None] | None = None,
        aliases: Iterable[str] = (),
        validate: Callable[[Any], object] | None = None,
        group: str | None = None,
        ttl: float | None = None,
    ) -> T: ...
    @overload
    def __call__(self, target: F, /) -> F: ...  # noqa: F811
    @overload
    def __call__(  # noqa: F811
        self,
        /,
        *,
        name: str | None = None,
        version: int = 1,
        migrate: Callable[[Any, int], Any] | Mapping[int, Callable[[Any], Any]] | None = None,
        transient: Iterable[str] = (),
        on_error: Literal["reject", "reset"] = "reject",
        renamed: Mapping[str, str | None] | None = None,
        aliases: Iterable[str] = (),
        validate: Callable[[Any], object] | None = None,
        group: str | None = None,
        ttl: float | None = None,
    ) -> Callable[[F], F]: ...
    def __call__(self, target: Any = None, factory: Any = None, /, **options: Any) -> Any:  # noqa: F811
        """Keep an object over reloads.

        Args:
            target: the key (value form), or the function or class to decorate.
            factory: value form only: makes the first object, and the fresh one that is refilled later.
            **options: as follows.
                name: decorator forms: the key, where it is not the name of the function.
                version: raise it when old values need ``migrate``.
                migrate: called as ``migrate(old, old_version)``; what it returns replaces the old value. Or a
                    mapping, old version -> function of the value that makes the next version of it.
                transient: attributes that are not kept; they come fresh from the new code.
                on_error: ``"reject"`` keeps the old code running when the value cannot be carried,
                    ``"reset"`` starts it anew and says so.
                renamed: old field -> new field, or ``None`` when it is gone.
                aliases: earlier keys of this state (class form: earlier ``module:Class`` names).
                validate: called with the new value; ``False`` or an exception turns it down.
                group: roots of one group keep the objects that they share.
                ttl: seconds; a value that was made longer ago starts anew at the next reload.

        Returns:
            value form: the object. Factory form: a function that always returns the one object. Class
            form: the class itself.

        Raises:
            UsageError: the declaration cannot work as written, or its key is taken by another place.
        """
        if options:
            _check(options)
        frame = sys._getframe(1)
        if isinstance(target, str):
            if not callable(factory):
                raise UsageError(
                    f"preserve({target!r}) has no factory", advice=f"pass one: preserve({target!r}, dict)"
                )
            if "name" in options:
                raise UsageError(
                    f"preserve({target!r}, ...) has a name already",
                    advice="leave name= out of the value form",
                )
            engine = runtime.current
            return factory() if engine is None else engine.declare_value(target, factory, options, frame)
        if target is None:
            return lambda decorated: _decorate(decorated, options, frame)
        return _decorate(target, options, frame)

    def each(self, function: Callable[[Any], Any]) -> Callable[..., Any]:
        """Make a migration of the values in a dict or list, for ``migrate=`` or one of its steps.

        Each value is migrated by itself, so that in the pause of a reload only those of a tracked container
        are that were touched since it began.

        Args:
            function: called with a value of then; returns the one of now. It looks at nothing else that is
                preserved.
        """
        if not callable(function):
            raise UsageError(f"preserve.each() got {function!r}", advice="pass a function of one value")
        return Each(function)

    array = Arrays()
    lru = Lrus()
    dict = Dicts()  # last, for it hides the name in what follows


preserve = Preserve()


_OPTIONS = frozenset(
    ("aliases", "group", "migrate", "name", "on_error", "renamed", "transient", "ttl", "validate", "version")
)


def _check(options: dict[str, Any]) -> None:
    for name in options:
        if name not in _OPTIONS:
            raise UsageError(
                f"preserve() has no option {name!r}", advice=f"the options are {', '.join(sorted(_OPTIONS))}"
            )
    on_error = options.get("on_error", "reject")
    if on_error not in ("reject", "reset"):
        raise UsageError(f"on_error is {on_error!r}", advice='pass "reject" or "reset"')
    version = options.get("version", 1)
    if not isinstance(version, int) or isinstance(version, bool) or version < 0:
        raise UsageError(f"version is {version!r}", advice="pass a whole number, and raise it by one")
    for name in ("aliases", "transient"):
        if isinstance(options.get(name, ()), str):
            raise UsageError(
                f"{name} is the string {options[name]!r}", advice=f"pass a tuple: {name}=({options[name]!r},)"
            )
    migrate = options.get("migrate")
    steps = list(migrate.values()) if isinstance(migrate, dict) else [migrate] if migrate is not None else []
    if not all(map(callable, steps)):
        raise UsageError(f"migrate is {migrate!r}", advice="pass a function, or {1: from_1_to_2, ...}")
    if options.get("validate") is not None and not callable(options["validate"]):
        raise UsageError(f"validate is {options['validate']!r}", advice="pass a function")
    ttl = options.get("ttl")
    if ttl is not None and (isinstance(ttl, bool) or not isinstance(ttl, (int, float)) or ttl <= 0):
        raise UsageError(f"ttl is {ttl!r}", advice="pass the seconds for which the value is kept")


def _decorate(target: Any, options: dict[str, Any], frame: FrameType) -> Any:
    engine = runtime.current
    if isinstance(target, type):
        return target if engine is None else engine.declare_class(target, options, frame)
    if not callable(target) or not hasattr(target, "__qualname__"):
        raise UsageError(
            f"preserve() got {target!r}",
            advice='write preserve("key", factory), or decorate a function or a class',
        )
    _check_factory(target)
    return _memoised(target) if engine is None else engine.declare_factory(target, options, frame)


def _check_factory(function: Any) -> None:
    code = getattr(function, "__code__", None)
    if code is None:
        return
    name = function.__qualname__
    if code.co_flags & 0x2A0:  # CO_GENERATOR | CO_COROUTINE | CO_ASYNC_GENERATOR
        raise UsageError(
            f"factory {name!r} is async or a generator",
            advice="make it a plain function, and open connections in an on_ready hook",
        )
    missing = code.co_argcount - len(function.__defaults__ or ())
    missing += code.co_kwonlyargcount - len(function.__kwdefaults__ or {})
    if missing > 0:
        raise UsageError(
            f"factory {name!r} takes arguments, but makes one object only",
            advice="remove them, or preserve a dict that it fills",
        )


def _memoised(function: Any) -> Any:
    import functools
    from _thread import RLock

    # Two threads may call a factory for the first time at once; both must get the one object.
    lock = RLock()
    made: list[Any] = []

    @functools.wraps(function)
    def kept() -> Any:
        if not made:
            with lock:
                if not made:
                    made.append(function())
        return made[0]

    return kept
