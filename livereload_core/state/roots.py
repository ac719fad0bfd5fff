"""What was declared: roots, their options, and the places they were declared at.

Invariants:
    * A key (``module:name``) belongs to one place; the same place may be executed again.
    * ``value`` is the very object that the user holds, or :data:`UNSET` while nobody got one.
"""

from __future__ import annotations

import dataclasses
import enum
import os
import sys
import time
import weakref
from collections.abc import Callable, Mapping
from types import CodeType, FrameType
from typing import Any, Final, TypedDict

from livereload_core.errors import UsageError

__all__ = ["UNSET", "Allowed", "Form", "Options", "Place", "Root", "class_key", "global_of", "space_of"]


class _Unset(enum.Enum):
    UNSET = "unset"


UNSET: Final = _Unset.UNSET
"""Stands for "no value yet": ``None`` is a value like any other."""


class Form(enum.Enum):
    """How a root was declared."""

    VALUE = "value"
    FACTORY = "factory"
    CLASS = "class"


class Allowed(TypedDict):
    """What a declaration need not be given by the generation before it.

    Attributes:
        transient: attributes that it makes itself.
        resets: it can begin without the object.
    """

    transient: tuple[str, ...]
    resets: bool


@dataclasses.dataclass(frozen=True, slots=True)
class Options:
    """The options of a declaration; see :func:`livereload_core.preserve`."""

    name: str | None = None
    version: int = 1
    migrate: Callable[[Any, int], Any] | Mapping[int, Callable[[Any], Any]] | None = None
    transient: tuple[str, ...] = ()
    on_error: str = "reject"
    renamed: Mapping[str, str | None] = dataclasses.field(default_factory=dict)
    aliases: tuple[str, ...] = ()
    validate: Callable[[Any], object] | None = None
    group: str = ""
    ttl: float | None = None

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Options:
        """Build from what the user wrote, which :mod:`declare` has checked."""
        fields = dict(options)
        for name in ("transient", "aliases"):
            fields[name] = tuple(fields.get(name) or ())
        fields["group"] = fields.get("group") or ""
        fields["renamed"] = dict(fields.get("renamed") or {})
        return cls(**fields)

    @property
    def resets(self) -> bool:
        """Whether the user would rather start anew than keep the old code."""
        return self.on_error == "reset"

    @property
    def allowed(self) -> Allowed | None:
        """What need not be written for it, if there is something."""
        if not (self.transient or self.resets):
            return None
        return Allowed(transient=self.transient, resets=self.resets)


@dataclasses.dataclass(frozen=True, slots=True)
class Place:
    """Where a declaration stands.

    Attributes:
        file: as in the traceback.
        line: of the call or decorator.
        scope: the qualified name of the code that executes it.
        code: that code; another object with the same scope means that the module was executed again
            (``importlib.reload``), in which case the line may have moved. Held weakly, so that code which
            is gone cannot be mistaken for code that took its address.
    """

    file: str
    line: int
    scope: str
    code: weakref.ref[CodeType]

    @classmethod
    def of(cls, frame: FrameType) -> Place:
        """The place at which ``frame`` stands now."""
        code = frame.f_code
        return cls(code.co_filename, frame.f_lineno, code.co_qualname, weakref.ref(code))

    def is_again(self, other: Place) -> bool:
        """Whether this is the same declaration as ``other``, executed once more."""
        if self.file != other.file or self.scope != other.scope:
            return False
        return self.line == other.line or self.code() is not other.code()

    def __str__(self) -> str:
        return f"{os.path.relpath(self.file) if os.path.isabs(self.file) else self.file}:{self.line}"


@dataclasses.dataclass(slots=True)
class Root:
    """One preserved object.

    Attributes:
        key: ``module:name``.
        form: how it was declared.
        options: as declared.
        place: where; ``None`` for the instances of a class form, which are found, not declared.
        factory: makes a fresh object; ``None`` for the class form.
        value: the object that the user holds, or :data:`UNSET`.
        slot: the value is immutable, so that what is kept is the module global of the key's name.
        initial: the key of the type that the factory made, for slots.
        bound: the module global of the key's name was seen to be ``value``.
        born: when its value was first made, in seconds since the epoch: it may outlive a restart.
        given_up: the export that is under way leaves its contents out.
        allowed: what it need not write, beside what its own options say: those of the next generation.
    """

    key: str
    form: Form
    options: Options
    place: Place | None = None
    factory: Callable[[], Any] | None = None
    value: Any = UNSET
    slot: bool = False
    initial: str = ""
    bound: bool = False
    born: float = dataclasses.field(default_factory=lambda: time.time())
    given_up: bool = False
    allowed: Allowed | None = None

    @property
    def transient(self) -> tuple[str, ...]:
        """Attributes that are not written."""
        return (*self.options.transient, *(self.allowed["transient"] if self.allowed else ()))

    @property
    def resets(self) -> bool:
        """Whether it may be lost where it cannot be written."""
        return self.options.resets or (self.allowed is not None and self.allowed["resets"])

    @property
    def name(self) -> str:
        """The key without its module: how error paths begin."""
        return self.key.partition(":")[2]

    def refuse_other_place(self, place: Place) -> None:
        """Raise unless ``place`` is where this root was declared.

        Raises:
            UsageError: another place took the key.
        """
        if self.place is None or not place.is_again(self.place):
            form = "@preserve(name=...)" if self.form is Form.FACTORY else 'preserve("...")'
            raise UsageError(
                f"state name {self.name!r} is taken (registered at {self.place}, wanted at {place})",
                advice=f"pass another one: {form}",
            )

    def follow_rebinding(self) -> str:
        """Take over the module global of the root's name if it once was the root and is another object now.

        ``global users; users = {}`` leaves the declared object orphaned; keeping that one would silently
        bring old data back.

        Returns:
            why it cannot be followed, or ``""``.
        """
        if self.form is not Form.VALUE or self.slot or self.value is UNSET:
            return ""
        now = global_of(self.key)
        if now is self.value:
            self.bound = True
        elif self.bound and now is not UNSET:
            if type(now) is not type(self.value):
                return f"was {type(self.value).__name__} and is bound to {type(now).__name__} now"
            self.value = now
        return ""


def class_key(cls: type) -> str:
    """Return ``module:qualname``."""
    return f"{cls.__module__}:{cls.__qualname__}"


def global_of(key: str) -> Any:
    """Return the module global that ``module:name`` names, or :data:`UNSET`."""
    module, _, name = key.partition(":")
    return space_of(module).get(name, UNSET)


def space_of(module: str) -> dict[str, Any]:
    """Return the globals of a loaded module; nothing for what merely poses as one in ``sys.modules``."""
    space = getattr(sys.modules.get(module), "__dict__", None)
    return space if isinstance(space, dict) else {}
