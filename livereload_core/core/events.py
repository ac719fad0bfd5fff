"""What can happen to a run, in the past tense; what the machine wants done then is in ``commands``.

A child is named by an ``int`` that the machine gives out when it asks for a process; it is never reused.
``attempt`` numbers attempts; an event that carries the number of one that was given up is dropped.
"""

from __future__ import annotations

import dataclasses

from livereload_core.core.settings import Settings
from livereload_core.facts import Failure, RootReport

__all__ = [
    "ActiveFailed",
    "Adopted",
    "Checked",
    "Child",
    "ChildExited",
    "ChildFailed",
    "Collected",
    "Configured",
    "Event",
    "Exported",
    "FilesTouched",
    "Frozen",
    "Precopied",
    "Prepared",
    "ProgramFinished",
    "Proved",
    "Quiesced",
    "Ready",
    "ReloadRequested",
    "Serving",
    "Settled",
    "Started",
    "StopRequested",
    "TerminalChanged",
    "Tick",
]

Child = int


class Event:
    """Base of all events."""

    __slots__ = ()


# --- from people, files and the clock --------------------------------------------------------------


@dataclasses.dataclass(frozen=True, slots=True)
class Started(Event):
    """livecore itself is up: run the program for the first time.

    Attributes:
        resume: with the state that was saved when the last run ended.
    """

    resume: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class FilesTouched(Event):
    """The watcher saw these absolute paths; whether their content changed is not known yet.

    Attributes:
        noticed: seconds from the save to this event, 0.0 when that is not known.
    """

    files: frozenset[str]
    noticed: float = 0.0


@dataclasses.dataclass(frozen=True, slots=True)
class Collected(Event):
    """Answer to ``Collect``: the files whose content differs from what was last tried.

    Attributes:
        waited: seconds that were waited on purpose, for git or for files that were missing or empty.
    """

    changed: frozenset[str]
    waited: float = 0.0


@dataclasses.dataclass(frozen=True, slots=True)
class Checked(Event):
    """Answer to ``Check``.

    Attributes:
        failures: why files do not compile, empty when all do.
        more: files that were saved meanwhile, and were checked with the others.
        waited: seconds that were waited on purpose, for these files.
    """

    failures: tuple[Failure, ...]
    more: frozenset[str] = frozenset()
    waited: float = 0.0


@dataclasses.dataclass(frozen=True, slots=True)
class ReloadRequested(Event):
    """A key, the command line or the program asks for a reload without an edit.

    Attributes:
        reset: start without the preserved state.
        keys: start without the contents of these preserved objects alone.
        earlier: start with the earlier state that was chosen, in the place of today's.
        note: what the record of the reload says of it.
    """

    reset: bool = False
    keys: tuple[str, ...] = ()
    earlier: bool = False
    note: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Configured(Event):
    """Other settings hold from now on; an attempt under way keeps the limits of its present state."""

    settings: Settings


@dataclasses.dataclass(frozen=True, slots=True)
class StopRequested(Event):
    """Stop everything in order; the second one at once.

    Attributes:
        code: the exit code of livecore.
    """

    code: int = 0


@dataclasses.dataclass(frozen=True, slots=True)
class TerminalChanged(Event):
    """The program took the keyboard (a debugger, ``input()``) or gave it back."""

    taken: bool


@dataclasses.dataclass(frozen=True, slots=True)
class Tick(Event):
    """The time that ``Machine.deadline`` named has come."""


# --- from children ---------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, slots=True)
class Prepared(Event):
    """The candidate has imported the user's code.

    Attributes:
        seconds: what the import took, as measured in the child.
        foreign: third-party modules that it had to import itself.
    """

    child: Child
    attempt: int
    seconds: float = 0.0
    foreign: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class ChildFailed(Event):
    """A candidate says that its phase failed.

    Attributes:
        usage: the call of livecore itself is at fault.
        port_busy: the address belongs to another program.
    """

    child: Child
    attempt: int
    failure: Failure
    usage: bool = False
    port_busy: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class ActiveFailed(Event):
    """The serving generation could not do what was asked: its state cannot be carried, a hook failed."""

    child: Child
    attempt: int
    failure: Failure


@dataclasses.dataclass(frozen=True, slots=True)
class Exported(Event):
    """The serving generation has exported its state while serving."""

    child: Child
    attempt: int


@dataclasses.dataclass(frozen=True, slots=True)
class Precopied(Event):
    """The candidate decoded, migrated and validated that state on trial."""

    child: Child
    attempt: int


@dataclasses.dataclass(frozen=True, slots=True)
class Quiesced(Event):
    """Nobody accepts; ``lingering`` requests would not finish in time."""

    child: Child
    attempt: int
    lingering: int


@dataclasses.dataclass(frozen=True, slots=True)
class Frozen(Event):
    """The old generation stands still, its decisive snapshot is held.

    Attributes:
        connections: accepted connections that are still open in it.
        moved: how many go over to the new generation.
        kept_back: why others stay, with how many stay for that reason.
    """

    child: Child
    attempt: int
    connections: int
    moved: int = 0
    kept_back: tuple[tuple[str, int], ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Adopted(Event):
    """The decisive state is in place; the user's start-up begins.

    Attributes:
        seconds: what filling it in took, as measured in the child.
    """

    child: Child
    attempt: int
    seconds: float = 0.0


@dataclasses.dataclass(frozen=True, slots=True)
class Ready(Event):
    """The candidate is verified: state in place, started, hooks run; it has accepted nothing."""

    child: Child
    attempt: int
    roots: tuple[RootReport, ...] = ()
    notes: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Serving(Event):
    """The candidate accepts."""

    child: Child
    attempt: int


@dataclasses.dataclass(frozen=True, slots=True)
class Settled(Event):
    """What became of connections that a generation took over.

    Attributes:
        adopted: how many go on.
        declined: why others were closed, with how many.
        seconds: from COMMIT until the last one went on.
    """

    child: Child
    adopted: int
    declined: tuple[tuple[str, int], ...]
    seconds: float


@dataclasses.dataclass(frozen=True, slots=True)
class Proved(Event):
    """A first answer has left the serving generation."""

    child: Child


@dataclasses.dataclass(frozen=True, slots=True)
class ProgramFinished(Event):
    """The program came to its end by itself; the exit of its process follows.

    Attributes:
        code: its exit code.
        failure: the exception that ended it, if one did.
        server: whether it had been listening on anything.
    """

    child: Child
    code: int
    failure: Failure | None
    server: bool


@dataclasses.dataclass(frozen=True, slots=True)
class ChildExited(Event):
    """A process has ended and was reaped.

    Attributes:
        how: ``exit code 3`` or ``killed by SIGSEGV``.
    """

    child: Child
    how: str
