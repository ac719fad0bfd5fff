"""Functions that the user wants called around a reload: declared here, run by the child's runtime.

    prepare         new generation, after import and before the pause: slow preparations
    before_reload   old generation, in the pause, before its state is taken
    after_reload    new generation, in the pause, with its state present
    on_ready        new generation, once it serves
    dispose         old generation, once it serves no more

Invariants:
    * Hooks run in the order in which they were declared.
    * A module that is executed again replaces its hooks, it does not add to them.
    * Without ``livecore`` a decorator returns its function and nothing else happens.
"""

from __future__ import annotations

import sys

from livereload_core.errors import UsageError
from livereload_core.state import runtime

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import CodeType
    from typing import Any, Protocol, TypeVar, overload

    F = TypeVar("F", bound=Callable[..., Any])

    class Decorator(Protocol):
        """A hook's decorator: bare or called with options."""

        @overload
        def __call__(self, function: F, /) -> F: ...
        @overload
        def __call__(self, /, *, timeout: float | None = None) -> Callable[[F], F]: ...


__all__ = [
    "KINDS",
    "Hook",
    "after_reload",
    "before_reload",
    "clear",
    "dispose",
    "of",
    "on_ready",
    "prepare",
]

KINDS = ("prepare", "before_reload", "after_reload", "on_ready", "dispose")


class Hook:
    """One declared hook.

    Attributes:
        name: ``module:qualname``.
        function: the user's function, sync or async, without arguments.
        timeout: seconds it may take, or ``None`` for the configured default.
    """

    __slots__ = ("_code", "_line", "function", "name", "timeout")

    def __init__(
        self, name: str, function: Callable[[], Any], timeout: float | None, code: CodeType, line: int
    ) -> None:
        self.name = name
        self.function = function
        self.timeout = timeout
        self._code = code
        self._line = line

    def replaces(self, other: Hook) -> bool:
        """Whether this is ``other`` again, from a second execution of the same declaration.

        A second function of the same name in one execution (``def _(): ...`` twice) is another hook;
        the same name out of another code object means that the module was executed again.
        """
        return self.name == other.name and (self._code is not other._code or self._line == other._line)

    def __repr__(self) -> str:
        return f"Hook({self.name!r}, timeout={self.timeout!r})"


_hooks: dict[str, list[Hook]] = {kind: [] for kind in KINDS}


def of(kind: str) -> list[Hook]:
    """Return the hooks of one of :data:`KINDS`, in the order of their declaration."""
    return list(_hooks[kind])


def clear() -> None:
    """Forget all hooks (tests)."""
    for hooks in _hooks.values():
        hooks.clear()


def _register(kind: str, function: Any, timeout: float | None, code: CodeType, line: int) -> None:
    name = f"{function.__module__}:{getattr(function, '__qualname__', repr(function))}"
    hook = Hook(name, function, timeout, code, line)
    hooks = _hooks[kind]
    for index, other in enumerate(hooks):
        if hook.replaces(other):
            hooks[index] = hook
            return
    hooks.append(hook)


def _decorator(kind: str, doc: str) -> Decorator:
    def decorator(function: Any = None, /, *, timeout: float | None = None) -> Any:
        if timeout is not None and not timeout > 0:
            raise UsageError(
                f"timeout of the {kind} hook is {timeout!r}",
                advice="pass seconds above zero, or leave it out",
            )
        frame = sys._getframe(1)
        code, line = frame.f_code, frame.f_lineno

        def accept(function: Any) -> Any:
            if not callable(function):
                raise UsageError(
                    f"@{kind} got {function!r}", advice=f"decorate a function without arguments: @{kind}"
                )
            if runtime.current is not None:
                _register(kind, function, timeout, code, line)
            return function

        return accept if function is None else accept(function)

    decorator.__name__ = decorator.__qualname__ = kind
    decorator.__doc__ = doc
    return decorator


_TAIL = """

    Works on sync and async functions without arguments, bare or with ``timeout=`` in seconds.
    Returns the function itself; without ``livecore`` it is never called by us.
    """

before_reload = _decorator(
    "before_reload", "Call a function in the old generation, in the pause, before its state is taken." + _TAIL
)
after_reload = _decorator(
    "after_reload", "Call a function in the new generation, in the pause, with its state present." + _TAIL
)
on_ready = _decorator("on_ready", "Call a function in the new generation once it serves." + _TAIL)
dispose = _decorator("dispose", "Call a function in the old generation once it serves no more." + _TAIL)
prepare = _decorator(
    "prepare", "Call a function in the new generation after its import, before the pause." + _TAIL
)
