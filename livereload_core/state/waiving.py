"""Roots that may be lost: their user has given them up, or no process holds them any more.

Invariant: what is waived says why, and turns nothing down.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from livereload_core.facts import RootFate
from livereload_core.state.roots import Allowed, Form, Options, Root, class_key
from livereload_core.state.snapshot import Entry

__all__ = ["WITHOUT_CONTENTS", "Waive", "allow", "allowed_by", "give_up"]

WITHOUT_CONTENTS: Mapping[str, Any] = {
    "lost": "was reset on request",
    "remedy": "",
    "stream": b"",
    "fds": (),
    "pieces": (),
    "group": "",
}
"""What an entry says of a root that its user has given up; its kind stays, for those that refer to it."""


@dataclasses.dataclass(frozen=True, slots=True)
class Waive:
    """Roots that may be lost without turning the new code down.

    Attributes:
        reset: keys whose contents the user has given up.
        resumed: no process holds the state any more: what it could not keep is lost whatever the code says.
    """

    reset: Collection[str] = ()
    resumed: bool = False

    def sort(self, entries: dict[str, Entry]) -> dict[str, RootFate]:
        """Take the contents of ``reset`` out of the entries; return the fates of what is waived."""
        fates = {key: RootFate.LOST for key, entry in entries.items() if entry.lost and self.resumed}
        for key in self.reset:
            if key in entries:
                entries[key] = dataclasses.replace(entries[key], **WITHOUT_CONTENTS)
                fates[key] = RootFate.RESET
        return fates


def give_up(roots: Iterable[Root], held: Mapping[str, Entry], reset: Collection[str]) -> Mapping[str, Entry]:
    """Mark the roots whose contents an export leaves out; return what is held for others, likewise."""
    for root in roots:
        root.given_up = root.key in reset
    if not reset:
        return held
    left = dict(held)
    Waive(reset).sort(left)
    return left


def allowed_by(declared: Iterable[tuple[str, Options]]) -> dict[str, Allowed]:
    """Return what declarations need not be given, by each key that they have or had.

    Args:
        declared: whole keys (of classes: ``module:Class``) and options.
    """
    found: dict[str, Allowed] = {}
    for key, options in declared:
        allowed = options.allowed
        if allowed is not None:
            module = key.partition(":")[0]
            aliases = (alias if ":" in alias else f"{module}:{alias}" for alias in options.aliases)
            found.update(dict.fromkeys((key, *aliases), allowed))
    return found


def allow(roots: Iterable[Root], allowed: Mapping[str, Allowed]) -> None:
    """Let roots leave out, in the export that begins, what the next generation does without."""
    for root in roots:
        keys = [root.key]
        if root.form is Form.CLASS:
            keys += map(class_key, type(root.value).__mro__)
        root.allowed = next((allowed[key] for key in keys if key in allowed), None) if allowed else None
