"""What became of one root: its fate, its migration, the user's own check of it.

Invariant: a root that is refused says why in the user's terms; whether that turns the new code down is its
declaration's affair.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from livereload_core.errors import CannotCarryError
from livereload_core.facts import RootFate, RootReport
from livereload_core.state.blame import is_from_elsewhere, told
from livereload_core.state.descriptors import Incoming
from livereload_core.state.refusals import RefusedError
from livereload_core.state.roots import UNSET, Root
from livereload_core.state.snapshot import Entry

__all__ = ["MIGRATE", "Outcome", "is_migrated", "migrated", "noted", "validate"]

MIGRATE = 'raise version= and pass migrate=, or say on_error="reset"'


@dataclasses.dataclass(slots=True)
class Outcome:
    """What became of one root.

    Attributes:
        root: as declared now.
        entry: as written then.
        new: its decoded contents.
        notes: what was converted on the way; makes it "migrated" instead of "kept".
        refused: why it could not be restored.
        expired: it was kept for as long as its declaration says.
        waived: its fate, where its loss turns nothing down: the user asked for it, or no process has it.
        received: what its stream brought along.
    """

    root: Root
    entry: Entry
    new: Any = UNSET
    notes: list[str] = dataclasses.field(default_factory=list)
    refused: RefusedError | None = None
    expired: bool = False
    waived: RootFate | None = None
    received: Incoming | None = None

    @property
    def rejects(self) -> bool:
        """Whether the new code is to be turned down because of this root."""
        return self.refused is not None and not (self.expired or self.waived or self.root.options.resets)

    @property
    def later(self) -> bool:
        """Whether it may still work, once more of the user's module has been executed."""
        return self.refused is not None and self.refused.later

    def error(self) -> CannotCarryError:
        """Return the refusal as the error that the user sees."""
        assert self.refused is not None
        error = CannotCarryError(self.refused.message, path=self.root.name, remedy=self.refused.remedy)
        error.__cause__ = self.refused.__cause__
        return error

    def report(self) -> RootReport:
        """Return the fate of the root."""
        key = self.root.key
        if self.refused is not None:
            return RootReport(key, self.waived or RootFate.RESET, self.refused.message, self.refused.remedy)
        if self.notes:
            return RootReport(key, RootFate.MIGRATED, "; ".join(self.notes))
        return RootReport(key, RootFate.KEPT)


def is_migrated(outcome: Outcome) -> bool:
    """Whether the declaration has another version than the value."""
    return outcome.entry.version != outcome.root.options.version


def migrated(outcome: Outcome) -> Any:
    """Return the value of today's version.

    Raises:
        RefusedError: there is no way, or it fails.
    """
    old, now = outcome.entry.version, outcome.root.options.version
    migrate = outcome.root.options.migrate
    if now < old and not callable(migrate):  # an edit was undone; steps lead upwards only
        raise RefusedError(
            f"is kept in version {old}, the code declares version {now}, which is older",
            "raise it again, take an earlier state with `livecore rollback`, "
            "or pass migrate= as one function, which is told the old version",
        )
    if migrate is None:
        raise RefusedError(f"is kept in version {old}, the code declares version {now}", "pass migrate=")
    try:
        new = (
            _chained(migrate, outcome.new, old, now)
            if isinstance(migrate, Mapping)
            else migrate(outcome.new, old)
        )
    except RefusedError:
        raise
    except BaseException as error:
        if is_from_elsewhere(error):
            raise
        reason = told(error)
        raise RefusedError(f"migrate() raised {reason}", "correct it; the old value is untouched") from error
    if new is None and outcome.new is not None:
        raise RefusedError("migrate() returned None", "return the new value")
    noted(outcome)
    return new


def noted(outcome: Outcome) -> Any:
    """Note that a value has been migrated; return it."""
    outcome.notes.append(f"version {outcome.entry.version} to {outcome.root.options.version}")
    return outcome.new


def _chained(steps: Mapping[int, Callable[[Any], Any]], value: Any, version: int, now: int) -> Any:
    """Migrate step by step, upwards; each makes the next version of a value."""
    while version != now:
        step = steps.get(version)
        if step is None:
            raise RefusedError(
                f"migrate has no step from version {version}, on the way to {now}",
                f"add it: {{{version}: ...}}",
            )
        value, version = step(value), version + 1
        if value is None and version != now:
            raise RefusedError(f"the step to version {version} returned None", "return the new value")
    return value


def validate(root: Root, value: Any) -> None:
    """Ask the user's ``validate`` what it thinks of a value.

    Raises:
        RefusedError: it turns it down, or fails.
    """
    if root.options.validate is None:
        return
    try:
        verdict = root.options.validate(value)
    except BaseException as error:
        if is_from_elsewhere(error):
            raise
        reason = told(error)
        raise RefusedError(f"validate() raised {reason}", MIGRATE) from error
    if verdict is False:
        raise RefusedError("validate() turned it down", MIGRATE)
