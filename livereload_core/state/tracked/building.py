"""A plain dict or list as it is copied, and written into its first parts, in slices.

To copy a million entries at once takes 60 ms, in which the program stands. A slice may meet a dict whose size
has changed since the one before: then the copy begins anew, and after some tries all is copied in one step.

Invariant: what is copied has each key once, in the order of the copy. What was written to the original
meanwhile need not be in it: whoever compares the two finds that.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain, islice
from operator import itemgetter
from typing import Any

from livereload_core.state.fields import Shape
from livereload_core.state.tracked.differences import UnsettledKeyError
from livereload_core.state.tracked.pace import Pace
from livereload_core.state.tracked.parts import Writer
from livereload_core.state.tracked.rows import Rows
from livereload_core.state.tracked.settled import is_key

__all__ = ["LAYER", "SAMPLE", "Building", "Keys"]

LAYER = 1 << 20
"""Bytes of an export from which on what differs is made a part of, however few entries it is."""
SAMPLE = 1000
"""Entries after which it can be told whether most of them can change."""
_COPIED = 4000
"""Entries that are copied in one slice."""
_TRIES = 5
"""How often a dict is copied in slices that is written to meanwhile."""
_LONG = 64
"""Characters from which on a text is watched for being in many places: each part has a copy of its own."""
_SETS = 251
"""Sets for the texts that were met: a single one of a million grows at once, which takes 0.1 s of one slice.
A prime, because texts of one length lie at equal distances."""
_PLAIN_KEYS = frozenset((str, int, bytes))
_GROUPS = frozenset((tuple, frozenset))


class Keys:
    """The keys of a dict, from the first to the last.

    An iterator of its items would refer to the last value that it has given.
    """

    def __init__(self, entries: Iterable[Any] = ()) -> None:
        self._all = [*entries]
        self._at = 0

    def __len__(self) -> int:
        return len(self._all)

    def add(self, keys: Iterable[Any]) -> None:
        """Add keys at the end."""
        self._all.extend(keys)

    def next(self, amount: int) -> list[Any]:
        """Return so many, and fewer at the end."""
        found = self._all[self._at : self._at + amount]
        self._at += len(found)
        return found

    def give_back(self, amount: int) -> None:
        """Let the last ones come again."""
        self._at -= amount

    def let_go(self, amount: int) -> bool:
        """Forget so many, when all have come; returns whether there are more."""
        del self._all[-amount:]
        return bool(self._all)


class Building:
    """Parts of all that there is, under way.

    Args:
        value: the dict or list.

    Attributes:
        seen: the copy.
        keys: of it; those are left that have not been written yet.
        is_copied: whether all of it is.
        writer: of the parts.
        rows: as of ``Compared``, like restless and classes.
        count: how many entries are written.
    """

    def __init__(self, value: Any) -> None:
        self.seen: dict[Any, Any] = {}
        self.keys = Keys()
        self.is_copied = False
        self.writer = Writer(0)
        self.rows = Rows()
        self.restless: set[Any] = set()
        self.classes: dict[str, Shape] = {}
        self.count = 0
        self._value = value
        self._items: Iterator[tuple[Any, Any]] | None = None
        self._tries = 0
        self._texts: list[set[int]] = [set() for _ in range(_SETS)]
        self._bytes = self._repeated = 0

    def copy(self) -> None:
        """Copy some entries more.

        Raises:
            UnsettledKeyError: a key may not be the same one elsewhere, or runs code of the program's.
        """
        if self._items is None:
            self.seen, self.keys = {}, Keys()
            self._tries += 1
            is_list = type(self._value) is list
            self._items = iter(enumerate(self._value) if is_list else self._value.items())
        try:
            amount = _COPIED if self._tries <= _TRIES else None
            some = [*islice(self._items, amount)]
        except RuntimeError:  # its size has changed
            self._items = None
            return
        keys = [*map(itemgetter(0), some)]
        if not (_PLAIN_KEYS.issuperset(map(type, keys)) or all(map(is_key, keys))):
            raise UnsettledKeyError
        self.seen.update(some)
        self.keys.add(keys)
        if len(self.keys) != len(self.seen):  # a key has been met again: it was moved to the end
            self._items = None
        elif amount is None or len(some) < amount:
            self.is_copied, self._items, self._value = True, None, None

    def is_worth_it(self, values: Iterable[Any]) -> bool:
        """Whether parts still gain anything, with these values in the last one."""
        waiting = [*values]
        while waiting:
            classes = {*map(type, waiting)}
            for value in waiting if str in classes or bytes in classes else ():
                if (type(value) is str or type(value) is bytes) and len(value) >= _LONG:
                    self._bytes += len(value)
                    texts = self._texts[id(value) % _SETS]
                    if id(value) in texts:
                        self._repeated += len(value)
                    texts.add(id(value))
            if _GROUPS.isdisjoint(classes):
                break
            waiting = [*chain.from_iterable(value for value in waiting if type(value) in _GROUPS)]
        if self._repeated > LAYER and self._repeated > self._bytes // 4:
            return False
        return len(self.restless) <= max(SAMPLE, self.count // 4)

    def let_go(self, pace: Pace) -> None:
        """Forget in slices what is not needed any more: a million keys at once take a tenth of a second."""
        for texts in self._texts:
            with pace:
                texts.clear()
        more = True
        while more:
            with pace:
                more = self.keys.let_go(_COPIED)
