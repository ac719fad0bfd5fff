"""Classes that were edited while their instances are kept: the tolerant reader.

The shapes of the user's classes travel beside the data (see ``fields``). Classes whose shape is still the
same load at full speed; for the others, and for those under ``renamed=``, loading goes by name:

    added      filled with the default that the new code declares; refused when it declares none
    removed    kept in ``__dict__`` where there is one, else put aside (see ``parking``), until it returns
    renamed    as ``renamed=`` says
    retyped    kept where the value fits the new annotation, else refused
    one removed and one added that it could be the new name of: refused until ``renamed=`` says so, or not

Invariant: where the new code could mean two things, the reload is refused; nothing is guessed.
"""

from __future__ import annotations

import builtins
import contextlib
import copyreg
import dataclasses
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from livereload_core.state import parking
from livereload_core.state.fields import (
    LITERAL,
    NO_DEFAULT,
    Shape,
    declared_fields,
    default_of,
    hint_of,
    is_same,
    kind_of,
    shape_of,
)
from livereload_core.state.fitting import fits
from livereload_core.state.inplace import attributes, set_attributes
from livereload_core.state.refusals import RefusedError
from livereload_core.state.roots import class_key
from livereload_core.state.shortcuts import Shortcut, shortcut_of

__all__ = [
    "Conversion",
    "build",
    "converting",
    "enum_flags",
    "enum_member",
    "is_trial",
    "keep_aside",
    "set_fields",
]

_VERSION = "raise version= and pass migrate="
_NUMBERS = frozenset(LITERAL + name for name in ("bool", "int", "float", "complex"))


@dataclasses.dataclass(slots=True)
class Conversion:
    """One load in which some classes are not what they were.

    Attributes:
        renamed: class -> {old field: new field, or ``None`` for "it is gone"}.
        notes: what happened to fields, in the user's terms; each once.
        trial: nothing that the new code has made may be touched.
        edits: what changed in a class.
        lacking: objects without a value for a new field; a root may have it from its fresh object.
        aside: objects with values that have no place any more.
        slots: all that an instance has, of unchanged classes without a ``__dict__``; else None.
        shortcuts: for instances of a class that were written with the same fields; None: there is none.
    """

    renamed: Mapping[type, Mapping[str, str | None]] = dataclasses.field(default_factory=dict)
    notes: dict[str, None] = dataclasses.field(default_factory=dict)
    trial: bool = False
    edits: dict[type, Edit] = dataclasses.field(default_factory=dict)
    lacking: list[tuple[Any, str, RefusedError]] = dataclasses.field(default_factory=list)
    aside: list[tuple[Any, dict[str, Any]]] = dataclasses.field(default_factory=list)
    slots: dict[type, frozenset[str] | None] = dataclasses.field(default_factory=dict)
    shortcuts: dict[tuple[type, tuple[str, ...]], Shortcut | None] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(slots=True)
class Edit:
    """What changed in a class: fields by name."""

    added: list[str]
    retyped: dict[str, tuple[str, str]]


_current = Conversion()


@contextlib.contextmanager
def converting(
    then: Mapping[str, Shape],
    renamed: Mapping[type, Mapping[str, str | None]],
    find: Callable[[str], type | None],
    *,
    trial: bool = False,
) -> Iterator[Conversion]:
    """Load by name what has changed, while the block runs.

    The unpickler asks each object for ``__setstate__``; classes that changed are given one for the time
    of the block. That is how one class can be converted while all others load in C. Named tuples, which cross
    by position, are given a ``__new__``.

    Args:
        then: ``module:qualname`` -> shape when the data was written.
        renamed: class -> {old field: new field}.
        find: returns the class of that name, or ``None`` when it is gone.
        trial: what is loaded is thrown away.

    Raises:
        RefusedError: what became of a field, or of a kind of class, cannot be told.
    """
    global _current
    outer, _current = _current, Conversion(renamed, trial=trial)
    changed: dict[Any, Shape] = {}
    for key, old in then.items():
        cls: Any = find(key)
        if cls is None:
            continue
        names = _renamed(cls)
        if kind_of(cls) == "msgspec" != old["kind"]:
            raise RefusedError(
                f"{class_key(cls)} was no msgspec.Struct and is one now, which its __init__ alone can make",
                'keep the old class beside it until migrate= has made the new ones, or say on_error="reset"',
            )
        if names or not is_same(shape_of(cls), old):
            _current.edits[cls] = _edit(cls, old, names)
            changed[cls] = old
    try:
        if not (changed or renamed):
            yield _current
            return
        with contextlib.ExitStack() as patches:
            for cls in {*changed, *renamed}:
                if issubclass(cls, tuple):
                    _patch(patches, cls, "__new__", _positional(cls, changed.get(cls)))
                elif _may_patch(cls):
                    _patch(patches, cls, "__setstate__", _set_state)
            yield _current
    finally:
        _current = outer


def _may_patch(cls: Any) -> bool:
    """Whether a class has no say of its own; one that a library generated by position or name is none."""
    own = getattr(cls, "__setstate__", None)
    name, module = getattr(own, "__name__", ""), getattr(own, "__module__", "")
    return own is None or module == "pydantic.main" or name in ("slots_setstate", "_dataclass_setstate")


def _patch(patches: contextlib.ExitStack, cls: Any, name: str, value: Any) -> None:
    before = vars(cls).get(name, NO_DEFAULT)
    setattr(cls, name, value)
    if before is NO_DEFAULT:
        patches.callback(delattr, cls, name)
    else:
        patches.callback(setattr, cls, name, before)


def _edit(cls: type, written: Shape, renamed: Mapping[str, str | None]) -> Edit:
    """Compare the fields of then with those of now.

    Raises:
        RefusedError: one that is new could be one that is gone.
    """
    shape = shape_of(cls) or {"fields": {}}
    now, then = shape["fields"], written["fields"]
    carried = {renamed.get(name) or name: note for name, note in then.items()}
    added = [name for name in now if name not in carried]
    gone = [name for name in then if name not in now and name not in renamed]
    for name in added:
        for other in gone:
            if _is_vague(now[name]) or _is_vague(then[other]) or now[name] == then[other]:
                raise RefusedError(
                    f"{class_key(cls)} has lost {other!r} and has {name!r} now, which may be its new name",
                    f'say @preserve(renamed={{"{other}": "{name}"}}) on the class, or {{"{other}": None}}',
                )
    retyped = {
        name: (note, now[name])
        for name, note in carried.items()
        if note and now.get(name) and _is_another(note, now[name])
    }
    return Edit(added, retyped)


def _is_vague(note: str) -> bool:
    """Whether the code does not say what type a field has: a literal is but one of its values."""
    return not note or note.startswith(LITERAL)


def _is_another(then: str, now: str) -> bool:
    """Whether two notes of a field's type are of two types; of two numbers nobody can tell."""
    return then != now and _is_vague(then) == _is_vague(now) and not _NUMBERS.issuperset((then, now))


def _renamed(cls: type) -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    for base in cls.__mro__:
        found = {**_current.renamed.get(base, {}), **found}
    return found


def _set_state(obj: Any, state: Any) -> None:
    if type(state) is dict:
        shortcut = _current.shortcuts.get((type(obj), tuple(state)))
        if shortcut is not None and shortcut.take(obj, state):
            _current.notes.update(shortcut.notes)
            return
    if isinstance(state, dict) and "__pydantic_fields_set__" in state:
        set_fields(obj, dict(state["__dict__"]), state)
        return
    in_dict, in_slots = state if isinstance(state, tuple) else (state, None)
    set_fields(obj, {**(in_dict or {}), **(in_slots or {})})


def set_fields(obj: Any, fields: dict[str, Any], pydantic: dict[str, Any] | None = None) -> None:
    """Set fields by name, frozen or not, renaming and filling in what the new code wants.

    Raises:
        RefusedError: a value does not fit its new annotation.
    """
    cls = type(obj)
    try:
        slots = _current.slots[cls]
    except KeyError:
        slots = _current.slots[cls] = _slots_of_unchanged(cls)
    if slots == fields.keys():
        for name, value in fields.items():
            object.__setattr__(obj, name, value)
        return
    shortcut = _shortcut(cls, tuple(fields))
    if shortcut is not None and shortcut.take(obj, fields):
        _current.notes.update(shortcut.notes)
        return
    if kind_of(cls) == "pydantic":
        object.__setattr__(obj, "__dict__", {})
        names = set((pydantic or {}).get("__pydantic_fields_set__", fields))
        more = {**(pydantic or {}), "__pydantic_fields_set__": {_renamed(cls).get(n) or n for n in names}}
        more["__pydantic_private__"] = _private(cls, more.get("__pydantic_private__"))
        more["__pydantic_extra__"] = _without_declared(cls, more.get("__pydantic_extra__"), fields)
        for name in ("__pydantic_fields_set__", "__pydantic_extra__", "__pydantic_private__"):
            object.__setattr__(obj, name, more.get(name))
    homeless = _apply(obj, cls, fields, lambda values: _placed(obj, cls, values))
    if homeless:
        _current.aside.append((obj, homeless))


def _shortcut(cls: type, names: tuple[str, ...]) -> Shortcut | None:
    known = _current.shortcuts
    try:
        return known[cls, names]
    except KeyError:
        edit = _current.edits.get(cls)
        added, retyped = (edit.added, edit.retyped) if edit else ([], {})
        known[cls, names] = None if _renamed(cls) else shortcut_of(cls, names, added, retyped)
        return known[cls, names]


def _private(cls: Any, kept: dict[str, Any] | None) -> dict[str, Any] | None:
    """Return the private attributes of a model of pydantic: the kept ones, and what the others begin with."""
    attributes_ = cls.__private_attributes__
    if not attributes_:
        return None
    private = {name: value for name, value in (kept or {}).items() if name in attributes_}
    for name, attribute in attributes_.items():
        if name not in private:
            make = getattr(attribute, "default_factory", None) or attribute.get_default
            value = make()
            if type(value).__name__ != "PydanticUndefinedType":
                private[name] = value
                _note(f"private attribute {name!r} of {cls.__name__} is new")
    return private


def _without_declared(
    cls: Any, extra: dict[str, Any] | None, fields: dict[str, Any]
) -> dict[str, Any] | None:
    """Make fields of what a model of pydantic had as extra values, and declares now; return the others.

    Raises:
        RefusedError: one does not fit its field.
    """
    for name in [name for name in extra or () if name in cls.model_fields and name not in fields]:
        assert extra is not None
        if not fits(extra[name], cls.model_fields[name].annotation):
            raise RefusedError(
                f"field {name!r} of {cls.__name__} is new, and its instances have an extra value of that name"
                f" of type {type(extra[name]).__name__}, which does not fit",
                _VERSION,
            )
        fields[name] = extra[name]
        extra = {key: value for key, value in extra.items() if key != name}
    return extra


def _slots_of_unchanged(cls: type) -> frozenset[str] | None:
    """Return the slots of a class for whose instances nothing is to be converted, ``None`` for others."""
    if cls in _current.edits or _renamed(cls) or cls.__dictoffset__:
        return None
    return frozenset(vars(copyreg)["_slotnames"](cls))


def _placed(obj: Any, cls: type, values: dict[str, Any]) -> dict[str, Any]:
    if kind_of(cls) == "pydantic":
        # Its ``__dict__`` is what it shows and compares: only declared fields may be in there.
        shape = shape_of(cls) or {"fields": {}}
        homeless = [name for name in values if name not in shape["fields"]]
        vars(obj).update({name: value for name, value in values.items() if name not in homeless})
    else:
        homeless = set_attributes(obj, values)
    return {name: values[name] for name in homeless}


def _apply(
    obj: Any, cls: type, fields: dict[str, Any], place: Callable[[dict[str, Any]], dict[str, Any]]
) -> dict[str, Any]:
    """Bring fields of then to what the class wants now; return those that have no place."""
    known = (shape_of(cls) or {"fields": {}})["fields"]
    for old, new in _renamed(cls).items():
        if new is not None and old in fields and new not in fields:
            fields[new] = fields.pop(old)
            _note(f"field {old!r} of {cls.__name__} is {new!r} now")
        elif new is not None and old in fields and old in known:
            raise RefusedError(
                f"renamed= says that field {old!r} of {cls.__name__} is {new!r} now, and there are both",
                f"take it out of renamed=, or {_VERSION}",
            )
    edit = _current.edits.get(cls)
    for name, (then, now) in edit.retyped.items() if edit else ():
        if name in fields and not _fits(fields[name], cls, name, now):
            raise RefusedError(
                f"field {name!r} of {cls.__name__} was {then.removeprefix(LITERAL)}"
                f" and is {now.removeprefix(LITERAL)} now,"
                f" which a value of type {type(fields[name]).__name__} does not fit",
                _VERSION,
            )
    homeless = place(fields)
    for name in homeless:
        _note(f"field {name!r} of {cls.__name__} is gone")
    _fill_in(obj, cls, fields, place)
    return homeless


def _fits(value: Any, cls: type, name: str, note: str) -> bool:
    if note.startswith(LITERAL):  # None is what many begin with, or end with
        return value is None or fits(value, getattr(builtins, note.removeprefix(LITERAL)))
    hint = hint_of(cls, name)
    return hint is not NO_DEFAULT and fits(value, hint)


def _fill_in(obj: Any, cls: type, fields: dict[str, Any], place: Callable[[dict[str, Any]], Any]) -> None:
    shape, edit = shape_of(cls), _current.edits.get(cls)
    strict = shape is not None and shape["kind"] not in ("plain", "slots", "")
    wanted = list(declared_fields(cls)) if strict else []
    wanted += [name for name in edit.added if name not in wanted] if edit else []
    for name in wanted:
        if name in fields or (not strict and _has(obj, cls, name)):
            continue
        make = default_of(cls, name)
        value = NO_DEFAULT if make is None else make()
        if value is NO_DEFAULT:
            refused = RefusedError(
                f"{cls.__name__} has a new field {name!r} without a default",
                f"give it one, or {_VERSION}",
            )
            if obj is None:
                raise refused
            _current.lacking.append((obj, name, refused))
            continue
        place({name: value})
        _note(f"field {name!r} of {cls.__name__} is new")


def _has(obj: Any, cls: type, name: str) -> bool:
    if name in attributes(obj):
        return True
    # A slot is a class attribute too, but no value.
    return not hasattr(getattr(cls, name, NO_DEFAULT), "__objclass__") and hasattr(cls, name)


# -- by position: named tuples and structs ---------------------------------------------------------------


def _positional(cls: Any, old: Shape | None) -> Any:
    """Return a ``__new__`` that takes the values of then, if it is the unpickler that calls."""
    original = cls.__new__
    names = list((old or shape_of(cls) or {"fields": {}})["fields"])

    def new(actual: Any, *args: Any, **kwargs: Any) -> Any:
        # The unpickler has no frame of its own: its caller's is ours.
        if kwargs or sys._getframe(1).f_globals.get("__name__") != "livereload_core.state.codec":
            return original(actual, *args, **kwargs)
        return build(actual, dict(zip(names, args, strict=False)), original)

    return staticmethod(new)


def build(cls: Any, fields: dict[str, Any], original: Any = None) -> Any:
    """Make an instance that cannot be filled later: of a named tuple, or of a struct.

    Raises:
        RefusedError: it lacks a value, or one does not fit.
    """
    values: dict[str, Any] = {}
    known = (shape_of(cls) or {"fields": {}})["fields"]

    def place(more: dict[str, Any]) -> dict[str, Any]:
        values.update({name: value for name, value in more.items() if name in known})
        return {name: value for name, value in more.items() if name not in known}

    if kind_of(cls) == "msgspec":
        homeless = _renamed_only(cls, fields, place)
        try:
            made = cls(**values)
        except TypeError as error:
            raise RefusedError(f"{cls.__name__} cannot be made anew ({error})", _VERSION) from None
    elif kind_of(cls) == "tuple":
        homeless = _apply(None, cls, fields, place)
        made = (original or cls.__new__)(cls, **values)
    else:  # it was one, and is another kind of class now
        made = cls.__new__(cls)
        set_fields(made, fields)
        return made
    if homeless:
        _current.aside.append((made, homeless))
    return made


def _renamed_only(cls: Any, fields: dict[str, Any], place: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
    """As :func:`_apply`, but leave defaults to the class."""
    edit = _current.edits.get(cls)
    added, retyped = (edit.added, edit.retyped) if edit else ([], {})
    for old, new in _renamed(cls).items():
        if new is not None and old in fields:
            fields[new] = fields.pop(old)
            _note(f"field {old!r} of {cls.__name__} is {new!r} now")
    for name, (then, now) in retyped.items():
        hint = hint_of(cls, name)
        if name in fields and (hint is NO_DEFAULT or not fits(fields[name], hint)):
            raise RefusedError(
                f"field {name!r} of {cls.__name__} was {then} and is {now} now, which its value does not fit",
                _VERSION,
            )
    for name in added:
        if name not in fields:
            _note(f"field {name!r} of {cls.__name__} is new")
    homeless: dict[str, Any] = place(fields)
    for name in homeless:
        _note(f"field {name!r} of {cls.__name__} is gone")
    return homeless


# -- enums -------------------------------------------------------------------------------------------------


def enum_member(cls: Any, name: str) -> Any:
    """Return the member that a name of then stands for.

    Raises:
        RefusedError: it is gone.
    """
    now = _renamed(cls).get(name) or name
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


def is_trial() -> bool:
    """Whether what is loaded now is thrown away: live objects of the new code are to be left alone."""
    return _current.trial


def keep_aside() -> None:
    """Keep what has no place in the new code, for the code in which it has one again."""
    for obj, fields in _current.aside:
        parking.park(obj, fields)


def _note(text: str) -> None:
    _current.notes[text] = None
