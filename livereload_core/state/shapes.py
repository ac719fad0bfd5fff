"""Fields of user classes, then and now: what changes when a class is edited and its instances are kept.

Only declared fields can be compared: those of dataclasses, of classes with slots, and of named tuples.
They travel beside the data. Classes whose fields are still the same load at full speed; for the others
(and for those under ``renamed=``) loading goes by name through :func:`set_fields`:

    added      filled with the default that the new code declares; refused when it declares none
    removed    kept in ``__dict__`` where there is one, in case it returns; else dropped, and reported
    renamed    as ``renamed=`` says

Invariant: named tuples cross by position, so a named tuple whose fields changed is refused: any guess
would be silently wrong for a reordering.
"""

from __future__ import annotations

import contextlib
import copyreg
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from livereload_core.state.inplace import attributes, set_attributes
from livereload_core.state.refusals import RefusedError

__all__ = ["Conversion", "converting", "fields_of", "set_fields"]

_VERSION = "raise version= and pass migrate="


def fields_of(cls: type) -> list[str] | None:
    """Return the declared fields of a class in order, or ``None`` when it declares none."""
    if dataclasses.is_dataclass(cls):
        return [field.name for field in dataclasses.fields(cls)]
    if issubclass(cls, tuple):
        fields = getattr(cls, "_fields", None)
        return list(fields) if isinstance(fields, tuple) else None
    if any("__slots__" in vars(base) for base in cls.__mro__[:-1]):
        return list(copyreg._slotnames(cls))  # type: ignore[attr-defined]
    return None


@dataclasses.dataclass(slots=True)
class Conversion:
    """One load in which some classes are not what they were.

    Attributes:
        renamed: class -> {old field: new field}.
        notes: what happened to fields, in the user's terms; each once.
    """

    renamed: Mapping[type, Mapping[str, str]] = dataclasses.field(default_factory=dict)
    notes: dict[str, None] = dataclasses.field(default_factory=dict)


_current = Conversion()


@contextlib.contextmanager
def converting(
    then: Mapping[str, list[str]],
    renamed: Mapping[type, Mapping[str, str]],
    find: Callable[[str], type | None],
) -> Iterator[Conversion]:
    """Load by name what has changed, while the block runs.

    The unpickler asks each object for ``__setstate__``; classes that changed are given one for the time
    of the block. That is how one class can be converted while all others load in C.

    Args:
        then: ``module:qualname`` -> fields when the data was written.
        renamed: class -> {old field: new field}.
        find: returns the class of that name, or ``None`` when it is gone.

    Raises:
        RefusedError: a named tuple has changed.
    """
    global _current
    changed = {cls for key, old in then.items() if (cls := find(key)) and _has_changed(key, cls, old)}
    patched = [cls for cls in changed | set(renamed) if not hasattr(cls, "__setstate__")]
    outer, _current = _current, Conversion(renamed)
    for cls in patched:
        cls.__setstate__ = _set_state  # type: ignore[attr-defined]
    try:
        yield _current
    finally:
        for cls in patched:
            del cls.__setstate__  # type: ignore[attr-defined]
        _current = outer


def _has_changed(key: str, cls: type, old: list[str]) -> bool:
    new = fields_of(cls)
    if new == old:
        return False
    if issubclass(cls, tuple):
        raise RefusedError(
            f"fields of {key} were {', '.join(old)} and are {', '.join(new or ())} now", _VERSION
        )
    return True


def _set_state(obj: object, state: Any) -> None:
    in_dict, in_slots = state if isinstance(state, tuple) else (state, None)
    set_fields(obj, {**(in_dict or {}), **(in_slots or {})})


def set_fields(obj: object, fields: dict[str, Any]) -> None:
    """Set fields by name, frozen or not, renaming and filling in what the new code wants.

    Raises:
        RefusedError: the new code has a field without a value and without a default.
    """
    cls = type(obj)
    for base in cls.__mro__:
        for old, new in _current.renamed.get(base, {}).items():
            if old in fields and new not in fields:
                fields[new] = fields.pop(old)
                _note(f"field {old!r} of {cls.__name__} is {new!r} now")
    for name in set_attributes(obj, fields):
        _note(f"field {name!r} of {cls.__name__} is gone")
    if dataclasses.is_dataclass(cls):
        _fill_in(obj, cls)


def _fill_in(obj: object, cls: type) -> None:
    present = attributes(obj)
    for field in dataclasses.fields(cls):
        if field.name in present:
            continue
        if field.default is not dataclasses.MISSING:
            value = field.default
        elif field.default_factory is not dataclasses.MISSING:
            value = field.default_factory()
        else:
            raise RefusedError(
                f"{cls.__name__} has a new field {field.name!r} without a default",
                f"give it one, or {_VERSION}",
            )
        set_attributes(obj, {field.name: value})
        _note(f"field {field.name!r} of {cls.__name__} is new")


def _note(text: str) -> None:
    _current.notes[text] = None
