"""``preserve.lru()``: a mapping that keeps what was used last, and forgets the rest.

Its own lock makes each operation one step for threads. Signal handlers may use it in the midst of one.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, MutableMapping
from threading import RLock
from typing import TYPE_CHECKING, Any, TypeVar

from livereload_core.errors import UsageError
from livereload_core.state.tracked.containers import DEAF
from livereload_core.state.tracked.settled import PLAIN, is_settled

if TYPE_CHECKING:
    from livereload_core.state.tracked.journal import Journal

__all__ = ["Lru"]

K = TypeVar("K")
V = TypeVar("V")


class Lru(MutableMapping[K, V]):
    """A cache with an end: entries in the order of their last use, the oldest first.

    Reading or writing an entry makes it the newest; ``in``, ``len`` and iterating do not.

    Args:
        maxsize: entries; from the next one on the oldest goes. None: no limit.

    Attributes:
        hits: reads that found their key.
        misses: reads that did not.

    Raises:
        UsageError: ``maxsize`` is no number of entries.
    """

    __slots__ = ("__weakref__", "_entries", "_journal", "_lock", "_maxsize", "_notes", "hits", "misses")

    def __init__(self, maxsize: int | None = 128) -> None:
        if not (maxsize is None or (type(maxsize) is int and maxsize > 0)):
            raise UsageError(
                f"maxsize is {maxsize!r}", advice="pass a number of entries, or None for no limit"
            )
        self._entries: OrderedDict[Any, Any] = OrderedDict()
        self._journal: Journal | None = None
        self._lock = RLock()
        self._maxsize = maxsize
        self._notes: set[Any] = DEAF
        self.hits = 0
        self.misses = 0

    def __init_subclass__(cls, **kwargs: Any) -> None:
        raise TypeError("preserve.lru() cannot be subclassed: keep one in an attribute of your class")

    @property
    def maxsize(self) -> int | None:
        """The number of entries at most; None: no limit."""
        return self._maxsize

    def __getitem__(self, key: K) -> V:
        with self._lock:
            entries = self._entries
            try:
                value: V = entries[key]
            except KeyError:
                self.misses += 1
                raise
            self._notes.add(key)
            try:
                entries.move_to_end(key)
            finally:
                self._notes.add(key)
            self.hits += 1
            return value

    def get(self, key: K, default: Any = None) -> Any:
        """As of ``dict``; a hit makes the entry the newest."""
        try:
            return self[key]
        except KeyError:
            return default

    def __setitem__(self, key: K, value: V) -> None:
        with self._lock:
            entries = self._entries
            self._notes.add(key)
            try:
                entries[key] = value
                entries.move_to_end(key)
            finally:
                self._notes.add(key)
            self._trim()

    def _trim(self) -> None:
        while self._maxsize is not None and len(self._entries) > self._maxsize:
            del self[next(iter(self._entries))]

    def __delitem__(self, key: K) -> None:
        with self._lock:
            self._notes.add(key)
            try:
                del self._entries[key]
            finally:
                self._notes.add(key)

    def pop(self, key: K, *default: Any) -> Any:
        """As of ``dict``."""
        with self._lock:
            if default and key not in self._entries:
                return default[0]
            value = self._entries[key]
            del self[key]
            return value

    def popitem(self, last: bool = True) -> tuple[K, V]:
        """Remove the newest entry, or the oldest; return it."""
        with self._lock:
            if not self._entries:
                raise KeyError("popitem(): the cache is empty")
            key = next(reversed(self._entries) if last else iter(self._entries))
            return key, self.pop(key)

    def setdefault(self, key: K, default: Any = None) -> Any:
        """As of ``dict``."""
        with self._lock:
            if key not in self._entries:
                self[key] = default
                return default
            return self[key]

    def peek(self, key: K, default: Any = None) -> Any:
        """Read without making the entry the newest, and without counting."""
        with self._lock:
            if key not in self._entries:
                return default
            value = self._entries[key]
            if type(value) not in PLAIN and not is_settled(value):
                self._notes.add(key)
            return value

    def clear(self) -> None:
        """Forget everything; the counts stay."""
        with self._lock:
            if self._journal is not None:
                self._journal.begin_anew(self)
            self._entries.clear()

    def copy(self) -> Lru[K, V]:
        """Return another one with the same entries, in the same order."""
        made: Lru[K, V] = Lru(self._maxsize)
        with self._lock:
            made._entries.update(self._entries)
            self._hand_out(made._entries)
        return made

    def __contains__(self, key: object) -> bool:
        return key in self._entries

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[K]:
        """Iterate over the keys as they are now, the oldest first."""
        with self._lock:
            return iter(list(self._entries))

    def __reversed__(self) -> Iterator[K]:
        with self._lock:
            return iter(list(reversed(self._entries)))

    def items(self) -> Any:
        """As of ``dict``, of the entries as they are now; none becomes the newest."""
        with self._lock:
            made = dict(self._entries)
            self._hand_out(made)
            return made.items()

    def values(self) -> Any:
        """As of ``dict``, of the entries as they are now; none becomes the newest."""
        with self._lock:
            made = dict(self._entries)
            self._hand_out(made)
            return made.values()

    def _hand_out(self, entries: dict[Any, Any]) -> None:
        """Note what can change of that which somebody gets; its place stays the same."""
        self._notes.update(
            key for key, value in entries.items() if type(value) not in PLAIN and not is_settled(value)
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, (Lru, dict)):
            return NotImplemented
        mine = dict(self._entries)
        return mine == (dict(other._entries) if isinstance(other, Lru) else other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"lru({dict(self._entries)!r}, maxsize={self._maxsize})"

    def __reduce_ex__(self, protocol: Any) -> Any:
        # Without the lock: whoever has it may have been stopped, so that this can be written.
        items = list(self._entries.items())
        self._hand_out(dict(items))
        return _made, (self._maxsize, self.hits, self.misses), None, None, iter(items)

    def __copy__(self) -> Lru[K, V]:
        return self.copy()

    def _attach(self, journal: Journal) -> None:
        """A root holds it: from now on somebody asks for the notes."""
        self._journal = journal

    def _forget(self, keys: Any) -> None:
        """Nothing to do: each use is noted."""

    def _raw(self) -> tuple[Any, Any]:
        return self._entries, OrderedDict

    def _take(self, entries: dict[Any, Any]) -> None:
        """Let in what comes from another generation; nothing is noted."""
        self._entries.update(entries)

    def _relax(self) -> None:
        """Nothing to do: reading is noted for its order."""

    def _extra(self) -> dict[str, Any]:
        """Return what else is to be known on the other side."""
        return {"hits": self.hits, "misses": self.misses}

    def _arrived(self, extra: dict[str, Any]) -> None:
        """All is there: the new code may leave less room for it."""
        self.hits, self.misses = extra["hits"], extra["misses"]
        with self._lock:
            self._trim()


def _made(maxsize: int | None, hits: int, misses: int) -> Lru[Any, Any]:
    made: Lru[Any, Any] = Lru(maxsize)
    made.hits, made.misses = hits, misses
    return made
