"""The usual edits of a class, worked out once for all of its instances that were written alike.

Hundreds of thousands of objects may be converted in one load. What has to be found out of the class (which
fields are new, what makes their values, what values of the others have to fit) is the same for each::

    class, fields of then ──▶ Shortcut: makes, checks ──▶ each instance: check, make, set

Where anything is out of the ordinary there is no shortcut, and each instance goes through all of ``shapes``,
which also says what is wrong.
"""

from __future__ import annotations

import builtins
import copyreg
from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Any, NamedTuple

from livereload_core.state.fields import (
    LITERAL,
    NO_DEFAULT,
    declared_fields,
    default_of,
    hint_of,
    kind_of,
    shape_of,
)
from livereload_core.state.fitting import fits
from livereload_core.state.inplace import set_attributes

__all__ = ["Shortcut", "shortcut_of"]

_KINDS = ("plain", "slots", "dataclass", "attrs")


class Shortcut(NamedTuple):
    """What to do with an instance.

    Attributes:
        makes: new fields, with what makes their values.
        checks: fields with another type, with whether a value fits it.
        in_dict: all fields lie in the ``__dict__``.
        notes: what happens to fields, in the user's terms.
    """

    makes: tuple[tuple[str, Callable[[], Any]], ...]
    checks: tuple[tuple[str, Callable[[Any], bool]], ...]
    in_dict: bool
    notes: dict[str, None]

    def take(self, obj: Any, fields: dict[str, Any]) -> bool:
        """Set all fields of an instance; ``False`` if it needs more than that, and nothing is done yet."""
        for name, does_fit in self.checks:
            if not does_fit(fields[name]):
                return False
        made = [(name, make()) for name, make in self.makes]
        for _, value in made:
            if value is NO_DEFAULT:
                return False
        if self.in_dict:
            space = object.__getattribute__(obj, "__dict__")
            space.update(fields)
            space.update(made)
        else:
            set_attributes(obj, {**fields, **dict(made)})
        return True


def shortcut_of(
    cls: Any, names: Collection[str], added: Collection[str], retyped: Mapping[str, tuple[str, str]]
) -> Shortcut | None:
    """Return how instances that were written with some fields are filled, ``None`` if by looking at each.

    Args:
        cls: of today.
        names: fields of then; none of them has another name today.
        added: fields that are new.
        retyped: fields with another type, then and now, as ``fields`` notes them.
    """
    kind = kind_of(cls)
    if kind not in _KINDS or cls.__new__ is not object.__new__:
        return None
    slots = vars(copyreg)["_slotnames"](cls)
    makes = []
    for name in _wanted(cls, kind, names, added):
        make = default_of(cls, name)
        if make is None:
            return None
        makes.append((name, make))
    everything = {*names, *(name for name, _ in makes)}
    if not cls.__dictoffset__ and not everything.issubset(slots):
        return None
    checks = []
    for name, (_, now) in retyped.items():
        if name in names:
            check = _check(cls, name, now)
            if check is None:
                return None
            checks.append((name, check))
    notes = dict.fromkeys(f"field {name!r} of {cls.__name__} is new" for name, _ in makes)
    return Shortcut(tuple(makes), tuple(checks), not slots and bool(cls.__dictoffset__), notes)


def _wanted(cls: Any, kind: str, names: Collection[str], added: Collection[str]) -> list[str]:
    """Return the fields that have to be made."""
    if kind in ("plain", "slots"):
        return [name for name in added if name not in names and not _has(cls, name)]
    declared = declared_fields(cls) if shape_of(cls) is not None else ()
    return [name for name in dict.fromkeys((*declared, *added)) if name not in names]


def _has(cls: Any, name: str) -> bool:
    """Whether instances have it of their class. A slot is an attribute of that too, but no value."""
    return hasattr(cls, name) and not hasattr(getattr(cls, name), "__objclass__")


def _check(cls: Any, name: str, note: str) -> Callable[[Any], bool] | None:
    if note.startswith(LITERAL):  # None is what many begin with, or end with
        return partial(_fits_literal, getattr(builtins, note.removeprefix(LITERAL)))
    hint = hint_of(cls, name)
    return None if hint is NO_DEFAULT else lambda value: fits(value, hint)


def _fits_literal(kind: Any, value: Any) -> bool:
    return value is None or fits(value, kind)
