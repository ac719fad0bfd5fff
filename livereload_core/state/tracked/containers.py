"""``preserve.dict()`` under livecore: a dict that notes which of its keys have been touched.

A plain dict in all that it does. Where a value that can change is handed out, its key counts as touched,
because nobody sees what becomes of it. That is done only where there is such a value; else reading is the
dict's own, in C. The object changes its class::

    WatchedDict ── a root holds it ──▶ RememberingDict ── start-up is over, ──▶ TrackedDict
                                             ▲            nothing can change         │
                                             └────────── the first value that can ───┘

It begins with watching, and an empty one goes on with it: what start-up takes from it (``find = rows.get``,
``everybody = rows.values()``) is often kept for good, and one in C would read past the notes ever after.

To note a key costs a function of Python, and a key needs to be noted once, not at each hit. So what ``[]``
has handed out is in a second dict (``_Handed``), and what is there already is read by C alone: a hit takes
half as long as in a large plain dict, where 2.6 times as long was needed with a function for each. The
class finds that dict's bound ``__getitem__`` in a slot of the object, which takes no line of Python either.

Invariants:
    * A key is noted, then written, then noted again. Whoever exports takes a note off first and looks at the
      value afterwards: whenever he comes, one of the two notes is left, or he has seen what was written.
    * A value is fetched, then noted, then handed out: while it is fetched, it is seen to be held.
    * What is in ``_handed`` is what the dict holds. Whoever writes takes it out before and afterwards;
      whoever puts it in looks again whether it is the same: whichever is last leaves nothing stale.
    * What is in ``_handed`` was noted, and a value there is seen to be held: so its entry is in no part alone
      (see ``journal``), even where the note has come off.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from livereload_core.state.tracked.settled import PLAIN, is_settled
from livereload_core.state.tracked.views import WatchedItems, WatchedValues

if TYPE_CHECKING:
    from livereload_core.state.tracked.journal import Journal

__all__ = ["DEAF", "Deaf", "RememberingDict", "TrackedDict", "WatchedDict"]

K = TypeVar("K")
V = TypeVar("V")

_MISSING: Any = object()
_set = dict.__setitem__
_get = dict.__getitem__
_delete = dict.__delitem__
_pop = dict.pop
_MOST = 50_000
"""Values that are remembered at a time: to forget so many takes a millisecond."""


class Deaf(set[Any]):
    """Notes of a container of which all crosses in any case: nobody would ever take them off."""

    __slots__ = ()

    add = staticmethod(hash)  # type: ignore[assignment]  # only sees that it can be a key

    def update(self, *keys: Iterable[object]) -> None:
        """Do nothing."""

    def __contains__(self, key: object) -> bool:
        return True


DEAF = Deaf()


class _Handed(dict[Any, Any]):
    """What a dict has handed out by ``[]``: the next time it is read in C.

    Args:
        owner: the dict. A root holds it for good; one that none holds any more is not kept by this one.
    """

    __slots__ = ("_owner",)

    def __init__(self, owner: TrackedDict[Any, Any]) -> None:
        self._owner = weakref.ref(owner)

    def __missing__(self, key: Any) -> Any:
        owner = self._owner()
        if owner is None:
            raise ReferenceError("the dict that this method was taken from is gone")
        value = _get(owner, key)
        if type(value) not in PLAIN:  # as ``_hand_out``
            notes = owner._notes
            if key not in notes and not is_settled(value):
                notes.add(key)
        if len(self) >= _MOST:
            self.clear()
        self[key] = value
        if dict.get(owner, key, _MISSING) is not value:  # written meanwhile
            self.pop(key, None)
        return value


_NOTHING: dict[Any, Any] = {}


class TrackedDict(dict[K, V]):
    """A dict that notes which keys are written."""

    __slots__ = ("__weakref__", "_can_change", "_handed", "_journal", "_notes", "_read")

    _can_change: bool
    _handed: dict[Any, Any]
    _journal: Journal | None
    _notes: set[Any]
    _read: Any

    def __new__(cls, *args: Any, **kwargs: Any) -> TrackedDict[K, V]:
        """Make an empty one; nobody listens to it yet."""
        self: TrackedDict[K, V] = dict.__new__(WatchedDict)
        self._can_change = False
        self._handed = _NOTHING
        self._read = None
        self._journal = None
        self._notes = DEAF
        return self

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.update(*args, **kwargs)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        if cls.__module__ != __name__:
            raise TypeError("preserve.dict() cannot be subclassed: keep one in an attribute of your class")
        super().__init_subclass__(**kwargs)

    # -- writing ------------------------------------------------------------------------------------

    def __setitem__(self, key: K, value: V) -> None:
        self._notes.add(key)
        if type(value) not in PLAIN:
            self._admit(value)
        handed = self._handed
        if handed:
            handed.pop(key, None)
        try:
            _set(self, key, value)
        finally:
            if handed:
                handed.pop(key, None)
            self._notes.add(key)

    def __delitem__(self, key: K) -> None:
        self._notes.add(key)
        handed = self._handed
        if handed:
            handed.pop(key, None)
        try:
            _delete(self, key)
        finally:
            if handed:
                handed.pop(key, None)
            self._notes.add(key)

    def update(self, *args: Any, **kwargs: Any) -> None:
        """As of ``dict``."""
        more: dict[Any, Any] = {}
        try:
            more.update(*args, **kwargs)
        finally:
            if more:  # where it fails, what came before that is in
                self._let_in(more)

    def _let_in(self, more: dict[Any, Any]) -> None:
        self._notes.update(more)
        for cls in set(map(type, more.values())) - PLAIN:
            for value in more.values():
                if type(value) is cls and self._admit(value):
                    break
        self._forget(more)
        try:
            dict.update(self, more)
        finally:
            self._forget(more)
            self._notes.update(more)

    def __ior__(self, other: Any) -> TrackedDict[K, V]:  # type: ignore[override,misc]
        self.update(other)
        return self

    def setdefault(self, key: K, default: Any = None) -> Any:
        """As of ``dict``."""
        value = dict.get(self, key, _MISSING)
        if value is not _MISSING:
            if type(value) not in PLAIN:
                self._hand_out(key, value)
            return value
        self._notes.add(key)
        if type(default) not in PLAIN:
            self._admit(default)
        try:
            return dict.setdefault(self, key, default)
        finally:
            self._notes.add(key)

    def pop(self, key: K, default: Any = _MISSING) -> Any:
        """As of ``dict``."""
        if key in self:
            self._notes.add(key)
        handed = self._handed
        if handed:
            handed.pop(key, None)
        value = _pop(self, key, _MISSING)
        if handed:
            handed.pop(key, None)
        if value is not _MISSING:  # else nothing was changed, and such calls may be many
            self._notes.add(key)
            return value
        if default is _MISSING:
            raise KeyError(key)
        return default

    def popitem(self) -> tuple[K, V]:
        """As of ``dict``: the last one."""
        notes = self._notes
        for key in dict.__reversed__(self):
            notes.add(key)
            break
        item = dict.popitem(self)  # by its place: a key whose hash has changed is not found any more
        handed = self._handed
        if handed and handed.pop(item[0], _MISSING) is _MISSING and type(item[0]) not in PLAIN:
            handed.clear()
        self._notes.add(item[0])  # where another thread was faster it is another one
        return item

    def clear(self) -> None:
        """As of ``dict``."""
        journal = self._journal
        if journal is not None:
            journal.begin_anew(self)
        dict.clear(self)
        self._handed.clear()
        if journal is not None:
            journal.begin_anew(self)

    def _forget(self, keys: Any) -> None:
        """Remember these as handed out no more."""
        handed = self._handed
        if len(keys) > len(handed):
            handed.clear()
        else:
            for key in keys:
                handed.pop(key, None)

    def _attach(self, journal: Journal) -> None:
        """A root holds it: from now on somebody asks for the notes."""
        handed = _Handed(self)
        self._handed, self._read = handed, handed.__getitem__
        self._journal = journal
        if type(self) is WatchedDict:
            self.__class__ = RememberingDict

    def _admit(self, value: object) -> bool:
        """Watch from now on what is handed out, if there is need to; returns whether there is."""
        if is_settled(value):
            return False
        self._can_change = True
        self._watch()
        return True

    def _watch(self) -> None:
        if self._can_change and type(self) is TrackedDict:
            self.__class__ = WatchedDict if self._journal is None else RememberingDict

    def _relax(self) -> None:
        """Watch no more what is handed out, if nothing in it can change.

        To be called by whoever takes notes off, so that none is taken off meanwhile.
        """
        if dict.__len__(self) and not self._can_change:
            self.__class__ = TrackedDict
            self._watch()  # another thread may have let in a value meanwhile; it is noted
            self._handed.clear()

    def _hand_out(self, key: object, value: object) -> None:
        """Note a key whose value is handed out, if it can change."""
        notes = self._notes
        if key not in notes and not is_settled(value):
            notes.add(key)

    def _raw(self) -> tuple[Any, Any]:
        """Return where the entries are, and whose methods reach them past those here."""
        return self, dict

    def _take(self, entries: dict[Any, Any]) -> None:
        """Let in what comes from another generation; nothing is noted."""
        for cls in set(map(type, entries.values())) - PLAIN:
            for value in entries.values():
                if type(value) is cls and self._admit(value):
                    break
        dict.update(self, entries)
        self._handed.clear()  # whoever lets this in may have taken out other entries as well

    def _extra(self) -> dict[str, Any]:
        """Return what else is to be known on the other side."""
        return {}

    def _arrived(self, extra: dict[str, Any]) -> None:
        """All is there."""

    # -- copies ---------------------------------------------------------------------------------------

    def __reduce_ex__(self, protocol: Any) -> Any:
        return TrackedDict, (), None, None, iter(self.items())


class WatchedDict(TrackedDict[K, V]):
    """The same where a value can change: its key is noted where it is handed out, too."""

    __slots__ = ()

    def __getitem__(self, key: K) -> V:
        value = _get(self, key)
        if type(value) not in PLAIN:  # as ``_hand_out``, without a call: a hit costs that
            notes = self._notes
            if key not in notes and not is_settled(value):
                notes.add(key)
        return value

    def get(self, key: K, default: Any = None) -> Any:
        """As of ``dict``."""
        value = dict.get(self, key, default)
        if type(value) not in PLAIN and value is not default:
            notes = self._notes
            if key not in notes and not is_settled(value):
                notes.add(key)
        return value

    def __iter__(self) -> Iterator[K]:
        # Being there is what counts: with an ``__iter__`` of its own, C code that would read past the methods
        # (``dict(x)``, ``{**x}``, ``other.update(x)``) asks ``__getitem__`` for each value.
        return dict.__iter__(self)

    def values(self) -> Any:
        """As of ``dict``."""
        return WatchedValues(self)

    def items(self) -> Any:
        """As of ``dict``."""
        return WatchedItems(self)

    def copy(self) -> dict[K, V]:
        """As of ``dict``."""
        return dict(self.items())

    def __or__(self, other: Any) -> Any:
        return dict(self.items()) | other if isinstance(other, dict) else NotImplemented

    def __ror__(self, other: Any) -> Any:
        return other | dict(self.items()) if isinstance(other, dict) else NotImplemented


class RememberingDict(WatchedDict[K, V]):
    """The same where a root holds it: what ``[]`` has handed out is remembered, and read in C."""

    __slots__ = ()

    __getitem__ = vars(TrackedDict)["_read"]
