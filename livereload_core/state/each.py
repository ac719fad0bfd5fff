"""``preserve.each(function)``: a migration that looks at one value of a dict or list at a time.

Whoever says that a value is migrated by itself lets a reload do so with most of them before the pause, and in
it with those that were touched since. A function of the whole value can only be called once more for all.

Invariant: importing this module loads nothing, for ``preserve`` does.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any

__all__ = ["Each", "migrated_each", "steps_between"]


class Each:
    """A migration of the values in a dict, a cache or a list, each by itself.

    Args:
        function: called with a value; what it returns takes its place.
    """

    __slots__ = ("function",)

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self.function = function

    def __call__(self, old: Any, version: int = 0) -> Any:
        """Migrate all values."""
        if isinstance(old, list):
            pairs: Iterable[tuple[Any, Any]] = enumerate(old)
        elif hasattr(old, "items") and hasattr(old, "__setitem__"):
            pairs = old.items()
        else:
            raise TypeError(f"preserve.each() is for the values of a dict or list, not {type(old).__name__}")
        for key, value in migrated_each([self.function], list(pairs), {}):
            old[key] = value
        return old


def migrated_each(
    steps: Sequence[Callable[[Any], Any]], pairs: Iterable[tuple[Any, Any]], known: dict[int, Any]
) -> list[tuple[Any, Any]]:
    """Return keys with what becomes of their values.

    Args:
        steps: one after the other for each value.
        pairs: keys and values.
        known: what became of values already: one that can change is migrated once, in however many places.

    Raises:
        RefusedError: a step fails.
    """
    from livereload_core.state.tracked.settled import PLAIN, is_settled

    made = []
    for key, value in pairs:
        before = known.get(id(value))
        if before is None:
            before = (value, _migrated(steps, value))
            if type(value) not in PLAIN and not is_settled(value):
                known[id(value)] = before  # keeps the value, so that no id is used twice
        made.append((key, before[1]))
    return made


def _migrated(steps: Sequence[Callable[[Any], Any]], value: Any) -> Any:
    try:
        for step in steps:
            value = step(value)
    except BaseException as error:
        from livereload_core.state.blame import is_from_elsewhere, told
        from livereload_core.state.refusals import RefusedError

        if is_from_elsewhere(error):
            raise
        reason = told(error)
        raise RefusedError(f"migrate() raised {reason}", "correct it; the old value is untouched") from error
    return value


def steps_between(migrate: Any, old: int, now: int) -> tuple[Callable[[Any], Any], ...]:
    """Return what migrates one value from a version to another; nothing where that needs all of them."""
    if old == now:
        return ()
    if isinstance(migrate, Each):
        return (migrate.function,)
    if not hasattr(migrate, "get") or now < old:
        return ()
    steps = [migrate.get(version) for version in range(old, now)]
    if not all(isinstance(step, Each) for step in steps):
        return ()
    return tuple(step.function for step in steps)
