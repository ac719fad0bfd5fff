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
from livereload_core.state.roots import class_key

__all__ = ["Conversion", "converting", "enum_flags", "enum_member", "fields_of", "is_trial", "set_fields"]

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
        trial: nothing that the new code has made may be touched.
    """

    renamed: Mapping[type, Mapping[str, str]] = dataclasses.field(default_factory=dict)
    notes: dict[str, None] = dataclasses.field(default_factory=dict)
    trial: bool = False


_current = Conversion()


@contextlib.contextmanager
def converting(
    then: Mapping[str, list[str]],
    renamed: Mapping[type, Mapping[str, str]],
    find: Callable[[str], type | None],
    *,
    trial: bool = False,
) -> Iterator[Conversion]:
    """Load by name what has changed, while the block runs.

    The unpickler asks each object for ``__setstate__``; classes that changed are given one for the time
    of the block. That is how one class can be converted while all others load in C.

    Args:
        then: ``module:qualname`` -> fields when the data was written.
        renamed: class -> {old field: new field}.
        find: returns the class of that name, or ``None`` when it is gone.
        trial: what is loaded is thrown away.

    Raises:
        RefusedError: a named tuple has changed.
    """
    global _current
    changed = {cls for key, old in then.items() if (cls := find(key)) and _has_changed(key, cls, old)}
    patched = [cls for cls in changed | set(renamed) if not hasattr(cls, "__setstate__")]
    outer, _current = _current, Conversion(renamed, trial=trial)
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


def is_trial() -> bool:
    """Whether what is loaded now is thrown away: live objects of the new code are to be left alone."""
    return _current.trial


def enum_member(cls: Any, name: str) -> Any:
    """Return the member that a name of then stands for.

    Raises:
        RefusedError: it is gone.
    """
    now = _current.renamed.get(cls, {}).get(name, name)
    member = cls.__members__.get(now)
    if member is None:
        names = ", ".join(cls.__members__)
        raise RefusedError(
            f"member {name!r} of {class_key(cls)} is gone; there are {names}",
            f'put it back, or name what replaces it: @preserve(renamed={{"{name}": "..."}}) on the class',
        )
    if now != name:
        _note(f"member {name!r} of {cls.__name__} is {now!r} now")
    return member


def enum_flags(cls: Any, names: list[str], rest: int) -> Any:
    """Return a combination of flags by their names, and bits that had none.

    Raises:
        RefusedError: one of them is gone.
    """
    value = rest
    for name in names:
        value |= enum_member(cls, name).value
    return cls(value)


def _note(text: str) -> None:
    _current.notes[text] = None
