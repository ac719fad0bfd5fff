"""Values that can change, and that nobody but their container can reach: have they changed since?

Nobody tells. But most of them are known through and through: lists, tuples, dicts, sets and plain objects,
in any nesting, of what can never change (see ``settled``). Such a row is what it was if each place in it
holds the same object as then. So what is in each place is noted, for many rows in one flat list, and to
compare a million rows takes a few passes in C.

::

    rows      [1, "a"]   [2, "b"]   [3, "c"]
    noted      1, "a",    2, "b",    3, "c"       a block; and which row has how many places

Somebody else may have got hold of a row: another root, a handler. Its references are counted in each
comparison, and it crosses by itself where there are more than its own. Where there are weak references to
rows nothing is noted: a row that is taken out of its container has to be gone.

Invariants:
    * In doubt a row has changed: it crosses once more than it would have to, and is right.
    * Nothing of the program's runs: places are compared by identity, attributes read by ``object``.
    * What a block has noted is what was written, if the two are done without a switch of threads.
"""

from __future__ import annotations

import weakref
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import accumulate, chain, compress, count, cycle, islice, repeat
from operator import eq, gt, is_, is_not
from sys import getrefcount
from typing import Any

from livereload_core.state.tracked.settled import CONTAINERS, PLAIN, is_plain_class, is_settled, slots_of

__all__ = ["OWN", "Rows", "changeable"]

_BUILTINS = frozenset((list, tuple, dict, set))
_UNWATCHED = frozenset((list, tuple, dict))
"""Classes of whose instances there are no weak references."""
_MOST = 200_000
"""Objects in the rows of one block; those beyond are not looked at, and their rows cross each time."""
_LARGE = 4000
"""Rows that a block may grow to."""
_COUNTED = 1 << 16
_NOTHING: Mapping[Any, Any] = {}
_attribute = object.__getattribute__


Items = Callable[[], Iterator[Any]]
"""Gives what is in the places of some objects, one after the other."""

_counted: list[int] = []


def _numbers() -> Iterator[int]:
    """Count from 0 on; numbers that are there already take half the time of new ones."""
    if not _counted:
        _counted.extend(range(_COUNTED))
    return chain(_counted, count(_COUNTED))


def changeable(values: Mapping[Any, Any]) -> dict[Any, Any]:
    """Return the entries whose values can change."""
    classes = {*map(type, values.values())}
    if classes <= PLAIN:
        return {}
    if classes <= CONTAINERS:
        return {**values}
    return {key: value for key, value in values.items() if type(value) not in PLAIN and not is_settled(value)}


class _Column:
    """One place after the other of some objects.

    Args:
        sizes: how many places each has.
        items: gives what is in them.
    """

    __slots__ = ("_counts", "_heads", "_items", "_sizes")

    def __init__(self, sizes: Sequence[int], items: Items) -> None:
        size = sizes[0] if sizes else 0
        self._sizes: list[int] | int = size if sizes.count(size) == len(sizes) else [*sizes]
        self._items = [*items()]
        # The keys of a table's rows are the same ones in each, at least in those that were read together.
        self._heads: list[list[Any]] = []
        self._counts: list[int] = []
        head = self._items[:size]
        if size and self._sizes == size and not any(map(is_not, self._items, cycle(head))):
            self._heads, self._counts, self._items = [head], [len(sizes)], []

    def fits(self, other: _Column) -> bool:
        """Whether another column is of the same form."""
        return (
            isinstance(self._sizes, int) and self._sizes == other._sizes and self._repeats == other._repeats
        )

    def add(self, other: _Column) -> None:
        """Add the places of other objects, which fit."""
        if not self._repeats:
            self._items += other._items
        elif not any(map(is_not, self._heads[-1], other._heads[0])):
            self._counts[-1] += other._counts[0]
        else:
            self._heads += other._heads
            self._counts += other._counts

    @property
    def _repeats(self) -> bool:
        return bool(self._heads)

    def made_of(self) -> Iterable[Any]:
        """Return what is in the places, where it repeats itself only once."""
        return chain.from_iterable(self._heads) if self._repeats else self._items

    def places(self) -> Iterator[Any]:
        """Give what was in each place."""
        if not self._repeats:
            return iter(self._items)
        return chain.from_iterable(chain.from_iterable(map(repeat, self._heads, self._counts)))

    def sizes(self) -> Iterable[int]:
        """Give how many places each object has; without an end where all have as many."""
        return repeat(self._sizes) if isinstance(self._sizes, int) else self._sizes

    def differing(self, sizes: Sequence[int], items: Items) -> Iterable[int]:
        """Return the numbers of the objects in which not each place holds what it held."""
        if isinstance(self._sizes, int):
            known: Sequence[int] = [self._sizes] * len(sizes)
            if sizes.count(self._sizes) == len(sizes):
                # What repeats itself has not changed as a rule, and this is twice as quick as below.
                if self._repeats and all(map(is_, items(), self.places())):
                    return ()
                size = self._sizes
                return {at // size for at in compress(_numbers(), map(is_not, items(), self.places()))}
        else:
            known = self._sizes
            if sizes == known:
                return _objects_at(compress(_numbers(), map(is_not, items(), self.places())), known)
        # Some have grown or shrunk: the others are compared as if those were not there.
        same = [*map(eq, sizes, known)]
        then = compress(self.places(), chain.from_iterable(map(repeat, same, known)))
        now = compress(items(), chain.from_iterable(map(repeat, same, sizes)))
        others = [*compress(count(), same)]
        found = [*compress(count(), map(is_not, now, then))]
        differ = {number for number, it_is in enumerate(same) if not it_is}
        differ.update(others[at] for at in _objects_at(found, [*compress(known, same)]))
        return differ


def _objects_at(places: Iterable[int], sizes: Sequence[int]) -> set[int]:
    """Return to which objects places belong."""
    ends = [*accumulate(sizes)]
    return {bisect_right(ends, place) for place in places}


def _columns(cls: type, objects: Sequence[Any]) -> Iterator[tuple[Sequence[int], Items]]:
    """Yield what is in objects of one class: sizes and items, column by column.

    Raises:
        AttributeError: a slot is empty.
    """
    if cls is dict:
        sizes = [*map(len, objects)]
        yield sizes, partial(chain.from_iterable, objects)
        yield sizes, lambda: chain.from_iterable(map(dict.values, objects))
    elif cls in _BUILTINS:
        yield [*map(len, objects)], partial(chain.from_iterable, objects)
    else:
        ones = [1] * len(objects)
        for name in slots_of(cls):
            yield ones, partial(map, _attribute, objects, repeat(name))
        if cls.__dictoffset__:
            yield from _columns(dict, [*map(_attribute, objects, repeat("__dict__"))])


class _Group:
    """Objects of one class in the rows of a block.

    Args:
        cls: of all of them.
        objects: each once.
        owners: the number of the row that each is in.

    Raises:
        AttributeError: a slot is empty.
    """

    __slots__ = ("cls", "columns", "objects", "owners")

    def __init__(self, cls: type, objects: list[Any], owners: Sequence[int]) -> None:
        self.cls, self.objects, self.owners = cls, objects, owners
        self.columns = [_Column(sizes, items) for sizes, items in _columns(cls, objects)]

    def fits(self, other: _Group) -> bool:
        """Whether other objects are of the same form."""
        return (
            self.cls is other.cls
            and len(self.columns) == len(other.columns)
            and all(mine.fits(theirs) for mine, theirs in zip(self.columns, other.columns, strict=True))
        )

    def add(self, other: _Group, rows: int) -> None:
        """Add other objects, which fit; there are so many rows before theirs."""
        for mine, theirs in zip(self.columns, other.columns, strict=True):
            mine.add(theirs)
        self.objects += other.objects
        if isinstance(self.owners, range) and isinstance(other.owners, range):
            self.owners = range(rows + len(other.owners))
        else:
            self.owners = [*self.owners, *(rows + owner for owner in other.owners)]

    def changed(self) -> set[int]:
        """Return the numbers of the rows in which something is not as it was."""
        if self.cls not in _BUILTINS and {*map(type, self.objects)} != {self.cls}:
            return set(self.owners)
        differ: set[int] = set()
        try:
            for then, (sizes, items) in zip(self.columns, _columns(self.cls, self.objects), strict=True):
                differ.update(then.differing(sizes, items))
        except AttributeError:  # an empty slot
            return set(self.owners)
        return {self.owners[number] for number in differ}

    def shared(self, own: int) -> set[int]:
        """Return the numbers of the rows that somebody else refers to.

        Args:
            own: how many references to each object are known of.
        """
        if max(map(getrefcount, self.objects)) <= own:
            return set()
        found = compress(count(), map(gt, map(getrefcount, self.objects), repeat(own)))
        return {self.owners[number] for number in found}

    def is_watched(self) -> bool:
        """Whether there are weak references to some of these objects."""
        return self.cls not in _UNWATCHED and any(map(weakref.getweakrefcount, self.objects))

    def inside(self) -> list[tuple[Any, int]]:
        """Return what can change in these objects, with the numbers of their rows."""
        found: list[tuple[Any, int]] = []
        for column in self.columns:
            if PLAIN.issuperset(map(type, column.made_of())):
                continue
            places = column.places()
            for owner, size in zip(self.owners, column.sizes(), strict=False):
                found += [
                    (item, owner)
                    for item in islice(places, size)
                    if type(item) not in PLAIN and not is_settled(item)
                ]
        return found


class _Block:
    """The rows of one part.

    Args:
        entries: keys and rows.
        own: how many references to each row are known of, this dict's and what counts them among them.

    Attributes:
        keys: of the rows.
        rejected: numbers of the rows that cannot be compared.
        is_watched: whether there are weak references to something in them, when it was looked at last.
    """

    __slots__ = ("_inner", "_rows", "is_watched", "keys", "rejected")

    def __init__(self, entries: Mapping[Any, Any], own: int) -> None:
        self.keys = [*entries]
        self.rejected: set[int] = set()
        self.is_watched = False
        self._rows = self._groups([*entries.values()], range(len(self.keys)), own)
        self._inner: list[_Group] = []
        groups, total = self._rows, 0
        while groups:
            inside = [pair for group in groups for pair in group.inside() if pair[1] not in self.rejected]
            total += len(inside)
            if total > _MOST:
                self.rejected.update(owner for _, owner in inside)
                break
            objects, owners = [one for one, _ in inside], [owner for _, owner in inside]
            inside.clear()
            groups = self._groups(objects, owners, OWN)
            self._inner += groups

    def _groups(self, objects: list[Any], owners: Sequence[int], own: int) -> list[_Group]:
        """Return objects by their classes; reject rows with one that is not known through and through."""
        kinds: dict[type, tuple[list[Any], Sequence[int]]] = {}
        classes = [*map(type, objects)]
        found = set(classes)
        if len(found) == 1:
            kinds[classes[0]] = objects, owners
        else:
            for cls in found:
                chosen = [of is cls for of in classes]
                kinds[cls] = [*compress(objects, chosen)], [*compress(owners, chosen)]
            own += 1
        groups = []
        for cls, (ones, theirs) in kinds.items():
            if cls not in _BUILTINS and not is_plain_class(cls):
                self.rejected.update(theirs)
                continue
            try:
                group = _Group(cls, ones, theirs)
            except AttributeError:
                self.rejected.update(theirs)
                continue
            self.rejected |= group.shared(own)
            self.is_watched |= group.is_watched()
            groups.append(group)
        return groups

    def take(self, other: _Block) -> bool:
        """Add the rows of another block; ``False`` if they are not of the same form.

        To look at one large block takes less than to look at many small ones.
        """
        rows = len(self.keys)
        mine, theirs = [*self._rows, *self._inner], [*other._rows, *other._inner]
        if (
            rows + len(other.keys) > _LARGE
            or len(self._rows) != len(other._rows)
            or len(mine) != len(theirs)
            or not all(one.fits(another) for one, another in zip(mine, theirs, strict=True))
        ):
            return False
        for one, another in zip(mine, theirs, strict=True):
            one.add(another, rows)
        self.keys += other.keys
        self.rejected.update(rows + number for number in other.rejected)
        return True

    def items(self) -> Iterator[Any]:
        """Yield what the rows are made of."""
        for group in chain(self._rows, self._inner):
            for column in group.columns:
                yield from column.made_of()

    def look(self, own: int) -> tuple[set[int], set[int]]:
        """Return the numbers of the rows that have changed, and of those that others refer to."""
        changed: set[int] = set()
        shared: set[int] = set()
        for groups, references in ((self._rows, own), (self._inner, OWN)):
            for group in groups:
                shared |= group.shared(references)
                changed |= group.changed()
                self.is_watched |= group.is_watched()
        return changed - self.rejected, shared - self.rejected


class Rows:
    """Of one dict or list: what the parts of it have of such values.

    Attributes:
        are_watched: whether there were weak references to something in them when they were looked at.
    """

    def __init__(self) -> None:
        self.are_watched = False
        self._blocks: list[_Block] = []
        self._newer: dict[Any, _Block | None] = {}  # in another block than the first one that has had it

    def __bool__(self) -> bool:
        return bool(self._blocks)

    @property
    def outdated(self) -> int:
        """How many keys have been noted more than once."""
        return len(self._newer)

    def note(
        self, entries: Mapping[Any, Any], own: int, seen: Mapping[Any, Any] = _NOTHING
    ) -> tuple[set[Any], Iterable[Any]]:
        """Note what is in rows now.

        Args:
            entries: keys and rows.
            own: as of :meth:`look`.
            seen: the keys that may have been noted before.

        Returns:
            the keys of those that cannot be compared, and what the others are made of.
        """
        block = _Block(entries, own)
        self.are_watched |= block.is_watched
        rejected = {block.keys[number] for number in block.rejected}
        again = [noted.keys() & entries.keys() for noted in (seen, self._newer) if noted]
        if any(again):
            self._newer.update(dict.fromkeys(chain(*again), block))
        elif self._blocks and self._blocks[-1].take(block):
            return rejected, block.items()
        if len(rejected) < len(block.keys):
            self._blocks.append(block)
        return rejected, block.items()

    def forget(self, keys: Iterable[Any]) -> None:
        """Note that there are no rows for some keys any more."""
        self._newer.update(dict.fromkeys(keys))

    def look(self, own: int) -> tuple[set[Any], set[Any]]:
        """Return the keys of the rows that have changed, and of those that somebody else refers to.

        Args:
            own: how many references to each row are known of: ``OWN`` where a container and a copy of it
                hold it.
        """
        changed: set[Any] = set()
        shared: set[Any] = set()
        newer = self._newer
        for block in self._blocks:
            found = block.look(own)
            self.are_watched |= block.is_watched
            for numbers, keys in zip(found, (changed, shared), strict=True):
                for number in numbers:
                    key = block.keys[number]
                    if newer.get(key, block) is block:
                        keys.add(key)
        return changed, shared


def _own() -> int:
    """Return what is counted of an object that two others and the list of a group refer to."""
    one: Any = []
    others, objects = ([one], [one]), [one]
    del one
    found = max(map(getrefcount, objects))
    del others
    return found


OWN = _own()
"""References to an object that is reached from one place, and is noted."""
