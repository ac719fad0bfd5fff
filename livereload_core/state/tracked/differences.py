"""How a plain dict or list differs from what it was: found by comparing, because nobody tells.

A value that can never change is the same as before where it is the same object. To compare a million of
them takes two passes in C, 20 ms each: nothing of theirs is looked at but where they are.

Both kinds are compared with a dict. That of a list has numbers for keys, one after the other: what is taken
from its front leaves the others their numbers.

Invariants:
    * ``apply(difference(seen, now), seen)`` makes ``seen`` what ``now`` is: same objects, same order.
    * Nothing of the program's runs: keys are compared by identity, looked up by hash only where they are
      settled ones (see ``settled``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import compress, count, islice, repeat
from operator import is_, is_not
from typing import Any

from livereload_core.state.tracked.parts import Part
from livereload_core.state.tracked.settled import is_key
from livereload_core.state.tracked.tables import Differing, differing, tag_of

__all__ = ["Remembered", "UnsettledKeyError", "apply", "are_keys", "difference", "entries_of", "first_number"]

_END: Any = object()
_FEW = 8
"""Items at the front that have to agree before those in front of them count as taken away."""


class UnsettledKeyError(Exception):
    """A key has come that may not be the same one in another process, or runs code of the program's."""


def are_keys(entries: Iterable[Any]) -> bool:
    """Whether all keys are the same in another process; see ``settled.is_key``."""
    return all(type(key) is str or is_key(key) for key in entries)


def entries_of(value: Any) -> dict[Any, Any]:
    """Return a copy of a dict or list as what later ones are compared with."""
    return dict(enumerate(value)) if type(value) is list else value.copy()


def first_number(seen: Mapping[Any, Any]) -> int:
    """Return the number of the first item of a list."""
    return next(iter(seen), 0)


def difference(seen: dict[Any, Any], now: Any) -> Part:
    """Return what makes ``seen`` what a dict or list is now: keys gone, values changed, what comes last.

    Raises:
        RuntimeError: another thread has changed its size meanwhile: try again.
        UnsettledKeyError: there is a new key, and it is not settled.
    """
    return _of_list(seen, now) if type(now) is list else _of_dict(seen, now)


class Remembered:
    """The difference of two dicts, found once for as long as nothing is done to either of them."""

    __slots__ = ("_gone", "_here", "_last", "_tags")

    def __init__(self) -> None:
        self._tags: tuple[int | None, int | None] = (None, None)
        self._gone: list[Any] = []
        # Keys alone: how many references there are to a value says whether somebody else has it.
        self._here: list[Any] = []
        self._last: list[Any] = []

    def of(self, seen: dict[Any, Any], now: Any) -> Part:
        """Return what :func:`difference` does, and raise the same."""
        if type(now) is not dict:
            return difference(seen, now)
        tags = tag_of(seen), tag_of(now)
        if None not in tags and tags == self._tags:
            try:
                here, last = ({key: now[key] for key in keys} for keys in (self._here, self._last))
            except KeyError:
                raise RuntimeError("another thread has taken keys away") from None
            if tag_of(now) != tags[1]:
                raise RuntimeError("another thread has changed it")
            return [*self._gone], here, last
        self._tags = None, None
        gone, here, last = difference(seen, now)
        if tags == (tag_of(seen), tag_of(now)):
            self._gone, self._here, self._last, self._tags = [*gone], [*here], [*last], tags
        return gone, here, last


def apply(part: Part, entries: dict[Any, Any]) -> None:
    """Make entries what a part says."""
    gone, here, last = part
    pop = entries.pop
    for keys in (gone, last):
        if entries and not entries.keys().isdisjoint(keys):
            for key in keys:
                pop(key, None)
    entries.update(here)
    entries.update(last)


def _of_dict(seen: dict[Any, Any], now: dict[Any, Any]) -> Part:
    found = differing(seen, now)
    return _the_long_way(seen, now) if found is None else _with_values(found, now)


def _with_values(found: Differing, now: dict[Any, Any]) -> Part:
    try:
        here = {key: now[key] for key in found.changed}
    except KeyError:
        raise RuntimeError("another thread has taken keys away") from None
    more = [*islice(reversed(now.items()), len(found.more))]
    more.reverse()
    if [id(key) for key, _ in more] != found.more:
        raise RuntimeError("another thread has changed its size")
    return found.gone, here, _last(more)


def _the_long_way(seen: dict[Any, Any], now: dict[Any, Any]) -> Part:
    both = min(len(seen), len(now))
    same = next(compress(count(), map(is_not, seen, now)), both)
    if same == len(seen):  # all keys are where they were: perhaps there are more
        here = dict(compress(now.items(), map(is_not, seen.values(), now.values())))
        more = [*islice(reversed(now.items()), len(now) - same)]
        more.reverse()
        return [], here, _last(more)
    # A dict keeps the order of what stays in it. So what is not met in that order has gone, and what is left
    # at the end has come, or has come again.
    gone: list[Any] = []
    here = dict(compress(islice(now.items(), same), map(is_not, seen.values(), now.values())))
    rest = islice(now.items(), same, None)
    key, value = next(rest, (_END, _END))
    for old, was in islice(seen.items(), same, None):
        if old is key:
            if value is not was:
                here[old] = value
            key, value = next(rest, (_END, _END))
        else:
            gone.append(old)
    return gone, here, _last([] if key is _END else [(key, value), *rest])


def _last(items: list[tuple[Any, Any]]) -> dict[Any, Any]:
    if not are_keys(key for key, _ in items):
        raise UnsettledKeyError
    return dict(items)


def _of_list(seen: dict[Any, Any], now: list[Any]) -> Part:
    first = first_number(seen)
    taken = _taken(seen, now)
    stay = min(len(seen) - taken, len(now))
    end = first + len(seen)
    gone = [*range(first, first + taken), *range(first + taken + stay, end)]
    changed = compress(count(), map(is_not, islice(seen.values(), taken, taken + stay), now))
    here = {first + taken + at: now[at] for at in changed}
    return gone, here, dict(zip(count(first + taken + stay), now[stay:], strict=False))


def _taken(seen: dict[Any, Any], now: list[Any]) -> int:
    """Return how many items seem to have been taken from the front; none if it cannot be told."""
    if not (seen and now) or now[0] is seen[first_number(seen)]:
        return 0
    for at in islice(compress(count(), map(is_, seen.values(), repeat(now[0]))), _FEW):
        here = islice(seen.values(), at, at + _FEW)
        if all(map(is_, here, now)):
            return at
    return 0
