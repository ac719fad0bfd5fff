"""Classes under ``@preserve``: their module-level instances are roots that nobody declared one by one.

Invariant: an instance has one key, ``module:variable``, and the same in each generation: the module of
its class comes first, then the others by name, wherever it was imported to.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping

from livereload_core.errors import CannotCarryError
from livereload_core.state.roots import UNSET, Form, Options, Root, class_key, global_of, space_of

__all__ = ["ClassForms"]


class ClassForms:
    """The classes that were declared.

    Attributes:
        aliases: (module, qualname) of then -> class of today.
        renamed: class -> {old field: new field}.
    """

    def __init__(self) -> None:
        self._options: dict[str, tuple[type, Options]] = {}
        self._by_class: dict[type, Options | None] = {}
        self.aliases: dict[tuple[str, str], type] = {}
        self.renamed: dict[type, Mapping[str, str | None]] = {}

    def declare(self, cls: type, options: Options) -> None:
        """Add a class; one of the same name replaces the earlier one."""
        earlier = self._options.get(class_key(cls))
        if earlier is not None:
            self.renamed.pop(earlier[0], None)
        self._options[class_key(cls)] = (cls, options)
        self._by_class.clear()
        for alias in options.aliases:
            module, _, name = alias.rpartition(":")
            self.aliases[(module or cls.__module__, name)] = cls
        if options.renamed:
            self.renamed[cls] = options.renamed

    def declared(self) -> list[tuple[str, Options]]:
        """Return the keys of the classes, with their options."""
        return [(key, options) for key, (_, options) in self._options.items()]

    def declares(self, cls: type) -> bool:
        """Whether instances of a class are kept."""
        return bool(self._options) and self._of(cls) is not None

    def find(self, key: str, type_key: str = "") -> Root | None:
        """Return the instance under ``module:variable`` as a root, if there is one.

        Args:
            key: as it was written.
            type_key: the class that it had; when that one has moved, the variable is looked for there.
        """
        value, options = self._at(key)
        moved = self.aliases.get((type_key.partition(":")[0], type_key.partition(":")[2]))
        if options is None and moved is not None:
            key = f"{moved.__module__}:{key.partition(':')[2]}"
            value, options = self._at(key)
        return None if options is None else Root(key, Form.CLASS, options, value=value)

    def instances(
        self, declared: Mapping[str, Root], is_user_module: Callable[[str], bool]
    ) -> Iterator[Root]:
        """Find all instances, but those that were declared in another form.

        Raises:
            CannotCarryError: a declaration has the key of an instance.
        """
        if not self._options:
            return
        homes = {cls.__module__ for cls, _ in self._options.values()}
        names = homes | {name for name in list(sys.modules) if is_user_module(name)}
        seen = {id(root.value) for root in declared.values()}
        for module in sorted(names, key=lambda name: (name not in homes, name)):
            for name, value in list(space_of(module).items()):
                options = self._of(type(value))
                if options is None or id(value) in seen:
                    continue
                seen.add(id(value))
                key = f"{module}:{name}"
                if key in declared:
                    raise CannotCarryError(
                        f"has the name of the state that is registered at {declared[key].place}",
                        path=name,
                        remedy="rename the variable, or pass another name to preserve()",
                    )
                yield Root(key, Form.CLASS, options, value=value)

    def _at(self, key: str) -> tuple[object, Options | None]:
        value = global_of(key)
        return value, None if value is UNSET else self._of(type(value))

    def _of(self, cls: type) -> Options | None:
        try:
            return self._by_class[cls]
        except KeyError:
            keys = (class_key(base) for base in cls.__mro__)
            found = next((self._options[key][1] for key in keys if key in self._options), None)
            self._by_class[cls] = found
            return found
