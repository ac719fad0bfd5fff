"""Decoded contents into the object that the user holds: migrated, checked, poured, validated.

Invariants:
    * In a trial no live object is touched: scratch ones are poured into instead.
    * Contents that the declaration of today has no room for are refused before its object is touched.
    * An object whose contents ``validate`` turns down has its old ones back if the declaration says
      ``on_error="reset"``: else the new code is turned down, and the object with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from livereload_core.state.husks import disarm
from livereload_core.state.inplace import attributes, family_of, is_immutable, set_attributes
from livereload_core.state.outcome import MIGRATE, Outcome, is_migrated, migrated, noted, validate
from livereload_core.state.refusals import RefusedError
from livereload_core.state.roots import UNSET, Form, Root, class_key, space_of
from livereload_core.state.shells import Absent
from livereload_core.state.snapshot import Kind
from livereload_core.state.tracked.arriving import fitted
from livereload_core.state.tracked.family import kind_of
from livereload_core.state.tracked.journal import is_container

__all__ = ["pour"]


def pour(outcome: Outcome, objects: Mapping[str, Any], filled: set[str], *, scratch: bool) -> None:
    """Let the user's object have the decoded contents of its root.

    Args:
        outcome: of a root that was decoded; notes are added to it.
        objects: this process's objects for roots, by key.
        filled: keys of those that are filled; the root's is added once its object is.
        scratch: a trial: leave live objects alone.

    Raises:
        RefusedError: the declaration of today cannot take them, or the user turns them down.
    """
    root, new = outcome.root, outcome.new
    if outcome.received is not None and not _moves(outcome, objects):
        outcome.received.complete()
    if is_migrated(outcome):
        received = outcome.received
        by_value = received is not None and outcome.entry.key in received.migrated
        new = noted(outcome) if by_value else migrated(outcome)
    new = fitted(root.value, new)
    _check(outcome, new)
    backup = None
    family = family_of(root.value)
    if (
        root.options.resets
        and root.options.validate
        and family
        and not scratch
        and not root.slot
        and not is_container(root.value)
    ):
        backup = family.clone(root.value)
    target = _poured(outcome, new, objects, filled, scratch=scratch)
    try:
        validate(root, target)
    except RefusedError:
        if backup is not None and family is not None:
            family.become(root.value, backup)
        raise
    finally:
        disarm(backup)
    if not scratch:
        root.born = outcome.entry.born or root.born
        _hand_over(root, target)
    if target is not new and not is_migrated(outcome):  # a migration may return what the program has
        disarm(new)


def _check(outcome: Outcome, new: Any) -> None:
    """Refuse what the declaration of today has no room for."""
    root, entry = outcome.root, outcome.entry
    if root.slot:
        nothing = "builtins:NoneType"
        if (
            not is_migrated(outcome)
            and nothing not in (entry.type, root.initial)
            and entry.type != root.initial
        ):
            raise RefusedError(f"was declared as {_name(entry.type)}, is {_name(root.initial)} now", MIGRATE)
        return
    if root.value is UNSET:
        return
    family = family_of(root.value)
    if family is None or is_immutable(root.value):
        raise RefusedError(
            f"{class_key(type(root.value))} cannot be refilled in place,"
            " and the new code has made one already",
            "use the factory form, and call it in functions only",
        )
    if kind_of(new) is not kind_of(root.value):
        raise RefusedError(f"was {type(new).__name__}, is {type(root.value).__name__} now", MIGRATE)
    why_not = family.why_not(root.value, new)
    if why_not:
        raise RefusedError(why_not, MIGRATE)


def _poured(
    outcome: Outcome, new: Any, objects: Mapping[str, Any], filled: set[str], *, scratch: bool
) -> Any:
    """Return the object that holds the value from now on."""
    root, entry = outcome.root, outcome.entry
    if root.slot or (entry.kind != Kind.SHELL and (root.value is UNSET or scratch)):
        return new
    target = objects[entry.key]
    family = family_of(target)
    if type(target) is Absent or family is None or kind_of(target) is not kind_of(new):
        return new  # migrated to another type, before anybody got hold of it
    if _moves(outcome, objects) and outcome.received is not None and outcome.received.move(target, new):
        homeless = []
    else:
        homeless = family.become(target, new)
    outcome.notes.extend(f"attribute {name!r} has no place any more" for name in homeless)
    filled.add(entry.key)
    return target


def _moves(outcome: Outcome, objects: Mapping[str, Any]) -> bool:
    """Whether the memory of what was made for a root only leads to that of the object that it becomes.

    Not if it is migrated: what the segment says is not what that makes of it then.
    """
    root, entry, new = outcome.root, outcome.entry, outcome.new
    if root.slot or entry.kind != Kind.SHELL or is_migrated(outcome) or outcome.received is None:
        return False
    target = objects[entry.key]
    family = family_of(target)
    if type(target) is Absent or family is None or kind_of(target) is not kind_of(new):
        return False
    return not family.why_not(target, new) and family.has_place(target, new)


def _hand_over(root: Root, target: Any) -> None:
    if root.slot:
        module, _, name = root.key.partition(":")
        space = space_of(module)
        if name in space:
            space[name] = target
    elif root.value is UNSET and root.form is Form.FACTORY:
        _add_transient(root, target)
    root.value = target


def _add_transient(root: Root, target: Any) -> None:
    """Give a factory's kept object the attributes that do not cross, from a fresh one."""
    present = attributes(target)
    missing = [
        name for name in root.options.transient if name not in present and not hasattr(type(target), name)
    ]
    if missing and root.factory is not None:
        fresh = attributes(root.factory())
        set_attributes(target, {name: fresh[name] for name in missing if name in fresh})


def _name(type_key: str) -> str:
    return type_key.removeprefix("builtins:")
