"""What the user's code declares: roots by key, and classes whose instances are roots.

A declaration is answered at once, with a fresh object; whoever restores fills it, before or after (see
``engine``). What new code opens for a fresh object is withheld meanwhile (see ``withheld``).

Invariant: one place declares a key. The same place may do it again, and gets what is there.
"""

from __future__ import annotations

import functools
import sys
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from types import FrameType
from typing import Any

from livereload_core.state.carried import Carried
from livereload_core.state.classforms import ClassForms
from livereload_core.state.inplace import is_immutable
from livereload_core.state.roots import UNSET, Form, Options, Place, Root, class_key, global_of
from livereload_core.state.snapshot import Entry
from livereload_core.state.store import Store
from livereload_core.state.tracked.family import kind_of
from livereload_core.state.tracked.journal import attached, is_container
from livereload_core.state.withheld import Withheld

__all__ = ["Declaring"]


class Declaring(ABC):
    """The declarations of this process.

    Attributes:
        awaits: state may come for what is declared. Whoever leads the process sets it, before user code is
            imported.
    """

    def __init__(self) -> None:
        self.awaits = False
        self._lock = threading.RLock()
        self._roots: dict[str, Root] = {}
        self._aliases: dict[str, str] = {}
        self._classes = ClassForms()
        self._held: dict[str, Entry] = {}
        self._ready: dict[str, Any] = {}
        self._store = Store()
        self._carried = Carried()
        self._withheld = Withheld(self._classes.declares)
        self._settled = False
        self._committed = False

    @abstractmethod
    def _claim(self, root: Root) -> None:
        """Give a root that was just declared what is held for it."""

    @abstractmethod
    def _restore_found(self) -> None:
        """Fill what can be filled by now."""

    def declare_value(
        self, name: str, factory: Callable[[], Any], options: Mapping[str, Any], frame: FrameType
    ) -> Any:
        """Declare ``preserve(name, factory)``; return the object."""
        key = f"{frame.f_globals.get('__name__', '__main__')}:{name}"
        with self._lock:
            root, again = self._declared(key, Form.VALUE, factory, Options.of(options), Place.of(frame))
            if again:
                value = global_of(key) if root.slot else UNSET
                return root.value if value is UNSET else value
            try:
                root.value = self._fresh(root, factory)
            except BaseException:
                del self._roots[key]
                raise
            ready = self._ready.pop(key, None)
            if ready is not None and kind_of(ready) is kind_of(root.value):
                root.value = ready  # filled on trial, with what belongs into the fresh one
            if is_container(root.value):
                attached(root.value)
            root.slot = is_immutable(root.value)
            root.initial = class_key(type(root.value))
            self._claim(root)
            self._decide()
            return root.value

    def share(self, array: Any) -> Any:
        """Let an array of zeroes lie in shared memory from the start; return it, or one that does."""
        from livereload_core.state.codecs.numpy_arrays import shared

        return shared(array, self._store)

    def keep(self, key: str, factory: Callable[[], Any]) -> Any:
        """Declare a root of our own under a whole ``key``; return the object."""
        with self._lock:
            root, again = self._declared(key, Form.VALUE, factory, Options.of({}), Place.of(sys._getframe()))
            if not again:
                root.value = factory()
                root.initial = class_key(type(root.value))
                self._claim(root)
            return root.value

    def declare_factory(
        self, function: Callable[[], Any], options: Mapping[str, Any], frame: FrameType
    ) -> Any:
        """Declare a factory; return what the user calls instead."""
        chosen = Options.of(options)
        key = f"{function.__module__}:{chosen.name or function.__qualname__}"
        with self._lock:
            root, again = self._declared(key, Form.FACTORY, function, chosen, Place.of(frame))
            if not again:
                self._claim(root)

        @functools.wraps(function)
        def kept() -> Any:
            return self._made(root) if root.value is UNSET else root.value

        return kept

    def declare_class(self, cls: type, options: Mapping[str, Any], frame: FrameType) -> type:
        """Declare a class whose module-level instances are kept; return the class."""
        with self._lock:
            self._classes.declare(cls, Options.of(options))
            self._restore_found()
        return cls

    def _declared(
        self, key: str, form: Form, factory: Callable[[], Any], options: Options, place: Place
    ) -> tuple[Root, bool]:
        """Register a declaration; return its root, and whether it was there already."""
        root = self._roots.get(key)
        if root is not None:
            root.refuse_other_place(place)
            root.place, root.factory, root.options = place, factory, options
            return root, True
        root = self._roots[key] = Root(key, form, options, place, factory)
        module = key.partition(":")[0]
        for alias in options.aliases:
            self._aliases[alias if ":" in alias else f"{module}:{alias}"] = key
        return root, False

    def _made(self, root: Root) -> Any:
        with self._lock:
            if root.value is UNSET and root.factory is not None:
                root.value = self._fresh(root, root.factory)
                if is_container(root.value):
                    attached(root.value)
            return root.value

    def _fresh(self, root: Root, factory: Callable[[], Any]) -> Any:
        """Return what a factory makes: before the state is there, or where it has none for the root."""
        if not self._is_awaited(root.key):
            return factory()
        with self._withheld.making(root.key):
            return factory()

    def _is_awaited(self, key: str) -> bool:
        """Whether a root may still be filled; ``""``: any instance of a class."""
        if self.awaits:
            return True
        if not key:
            return bool(self._held) and not self._settled
        names = {key, *(alias for alias, target in self._aliases.items() if target == key)}
        return not names.isdisjoint(self._held)

    def _decide(self) -> None:
        """Let what was opened for roots that are filled by now, or never will be, be what it is."""
        self._withheld.decide(self._carried.open_fds, self._is_awaited)
        if self._committed:
            self._withheld.write()
        if not self._is_awaited(""):
            self._withheld.unwatch()

    def _find(self, key: str, type_key: str = "") -> Root | None:
        """Return today's root for a key of then: declared, under another key, or found as an instance."""
        root = self._roots.get(key) or self._roots.get(self._aliases.get(key, ""))
        return root or self._classes.find(key, type_key)
