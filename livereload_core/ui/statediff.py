"""What differs between two states, as paths: ``app:counts['n']  3 → 5``.

Invariants:
    * Objects are compared by what they are made of; two that refer to themselves alike are equal.
    * A secret that has changed is said to have changed, and not shown.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from livereload_core.ui.secrets import HIDDEN, is_secret_name, without_secrets
from livereload_core.ui.statetree import Limits, Shapes, children_of, kind_of, scalar
from livereload_core.ui.style import safe
from livereload_core.wire.pickles import Call, Items, Pairs

__all__ = ["Difference", "differences"]


@dataclasses.dataclass(frozen=True, slots=True)
class Difference:
    """One difference.

    Attributes:
        path: where, from the root's key on.
        was: what was there, ``""`` for nothing.
        now: what is there, ``""`` for nothing.
    """

    path: str
    was: str
    now: str


def differences(
    key: str, was: Any, now: Any, limits: Limits, shapes: tuple[Shapes, Shapes] = ({}, {})
) -> list[Difference]:
    """Compare two contents of one root.

    Args:
        key: the root's.
        was: what it held.
        now: what it holds.
        limits: how much is shown of each; depth means nothing here.
        shapes: the fields of the classes in both.
    """
    return _Comparison(limits, shapes).compare(key, was, now)


class _Comparison:
    def __init__(self, limits: Limits, shapes: tuple[Shapes, Shapes]) -> None:
        self._limits = limits
        self._shapes = shapes
        self._seen: set[tuple[int, int]] = set()
        self._found: list[Difference] = []

    def compare(self, key: str, was: Any, now: Any) -> list[Difference]:
        # A stack of our own: state may be deeper than Python's.
        waiting = [(key, was, now, is_secret_name(key.partition(":")[2]))]
        while waiting:
            path, one, other, hidden = waiting.pop()
            pairs = self._pairs(path, one, other, hidden=hidden)
            waiting.extend(reversed(pairs))
        return self._found

    def _pairs(self, path: str, one: Any, other: Any, *, hidden: bool) -> list[tuple[str, Any, Any, bool]]:
        """Note what differs here; return what is to be compared below."""
        if not (_is_container(one) and _is_container(other)) or kind_of(one) != kind_of(other):
            if _is_container(one) or _is_container(other) or type(one) is not type(other) or one != other:
                self._note(path, one, other, hidden=hidden)
            return []
        met = id(one), id(other)
        if met in self._seen:
            return []
        self._seen.add(met)
        if isinstance(one, Items) and one.kind in ("set", "frozenset"):
            self._sets(path, one, other, hidden=hidden)
            return []
        before, after = self._children(one, 0), self._children(other, 1)
        below = []
        for step in dict.fromkeys([*before, *after]):
            secret = hidden or is_secret_name(step)
            at = path + (step if self._limits.reveal else without_secrets(step))
            if step in before and step in after:
                below.append((at, before[step], after[step], secret))
            elif step in before:
                self._found.append(Difference(safe(at), self._text(before[step], hidden=secret), ""))
            else:
                self._found.append(Difference(safe(at), "", self._text(after[step], hidden=secret)))
        return below

    def _children(self, node: Any, side: int) -> dict[str, Any]:
        return {step: child for _, step, child in children_of(node, self._shapes[side])}

    def _sets(self, path: str, one: Items, other: Items, *, hidden: bool) -> None:
        """Sets have no order: what is compared is how their items look."""
        whole = Limits(text=1 << 20, reveal=True)
        before = {self._look(value, whole): value for value in one.values}
        after = {self._look(value, whole): value for value in other.values}
        for look in before.keys() - after.keys():
            self._found.append(Difference(safe(f"{path}{{}}"), self._text(before[look], hidden=hidden), ""))
        for look in after.keys() - before.keys():
            self._found.append(Difference(safe(f"{path}{{}}"), "", self._text(after[look], hidden=hidden)))

    def _look(self, node: Any, limits: Limits) -> str:
        if not _is_container(node):
            return scalar(node, limits)[0]
        inner = children_of(node, {})
        if any(_is_container(child) for _, _, child in inner):
            return f"{kind_of(node)} of {len(inner)}"
        return f"{kind_of(node)}({', '.join(scalar(child, limits)[0] for _, _, child in inner)})"

    def _note(self, path: str, one: Any, other: Any, *, hidden: bool) -> None:
        was, now = self._text(one, hidden=hidden), self._text(other, hidden=hidden)
        self._found.append(Difference(safe(path), was, now))

    def _text(self, node: Any, *, hidden: bool) -> str:
        if hidden and not self._limits.reveal and node is not None and not isinstance(node, bool):
            return HIDDEN
        if not _is_container(node):
            return scalar(node, self._limits)[0]
        count = len(children_of(node, {}))
        return safe(f"{kind_of(node)}, {count} inside" if count else f"{kind_of(node)}, empty")


def _is_container(node: Any) -> bool:
    return isinstance(node, (Items, Pairs, Call))
