"""Objects that two roots share below the top: found, and written once for both.

Each root has a stream of its own, so a list that two roots hold would become two lists. Roots that share
something are therefore a group, and a group has one more stream, of all of its members together. That is
the one that is loaded. The streams of the members alone are there for the case that a member cannot be
loaded, and for those whose declaration is gone.

    said      group="name" of the declarations
    found     an object that can change was written for two roots

To look for shared objects costs several times a dump: the pickler's memo is copied. So it is not
done in each export, but such that it takes 2 % of the time at most. The export before the pause
of a reload comes first, and finds what the decisive one then uses.

Invariant: a group never makes a root fail: where its stream cannot be written or read, its members cross
alone, and the report says so.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from livereload_core.state.inplace import is_immutable
from livereload_core.state.roots import Root

__all__ = ["Memo", "Sharing"]

Memo = Mapping[int, tuple[int, object]]
"""What a pickler has written: id -> (number, object)."""

_DUTY = 50
"""A search that took s seconds is followed by none for this many times s."""

_BY_NAME = frozenset(("logging:Logger", "_contextvars:ContextVar", "builtins:ContextVar"))
"""Kinds that have an identity of their own in every process, besides those that never change."""


class Sharing:
    """Which roots of this generation belong together."""

    def __init__(self) -> None:
        self._found: list[frozenset[str]] = []
        self._not_before = 0.0

    def is_due(self) -> bool:
        """Whether it is time to look again."""
        return time.monotonic() >= self._not_before

    def find(self, memos: Mapping[str, Memo]) -> None:
        """Look for objects that were written for several roots.

        Args:
            memos: by the key of the root.
        """
        began = time.monotonic()
        owners: dict[int, str] = {}
        pairs: set[tuple[str, str]] = set()
        for key, memo in memos.items():
            for number in owners.keys() & memo.keys():
                other = owners[number]
                if (other, key) not in pairs and _matters(memo[number][1]):
                    pairs.add((other, key))
            for number in memo:
                owners.setdefault(number, key)
        self._found = _united(pairs)
        ended = time.monotonic()
        self._not_before = ended + _DUTY * (ended - began)

    def groups(self, roots: Sequence[Root]) -> list[list[Root]]:
        """Return the groups of two and more of these roots, in their order."""
        named: dict[str, list[str]] = {}
        for root in roots:
            if root.options.group:
                named.setdefault(root.options.group, []).append(root.key)
        links = [(keys[0], key) for keys in named.values() for key in keys[1:]]
        links += [(first, key) for first, *rest in map(sorted, self._found) for key in rest]
        groups = ([root for root in roots if root.key in keys] for keys in _united(links))
        return [group for group in groups if len(group) > 1]


def _matters(obj: Any) -> bool:
    """Whether it can be told if two roots have one of these or one each."""
    if is_immutable(obj) or any(obj is std for std in (sys.stdin, sys.stdout, sys.stderr)):
        return False
    return not any(f"{base.__module__}:{base.__qualname__}" in _BY_NAME for base in type(obj).__mro__)


def _united(pairs: Iterable[tuple[str, str]]) -> list[frozenset[str]]:
    groups: dict[str, set[str]] = {}
    for one, other in pairs:
        united = groups.get(one, {one}) | groups.get(other, {other})
        groups.update(dict.fromkeys(united, united))
    return sorted({frozenset(group) for group in groups.values()}, key=sorted)
