"""The states of a run as a literal table: what happens in each, and where it may lead.

``Machine`` refuses any step that is not in the table; the documentation's table is printed from it.
"""

from __future__ import annotations

import dataclasses
import enum

__all__ = [
    "DOING",
    "PARTS",
    "PAUSED",
    "PAUSE_PHASES",
    "PHASES",
    "REST",
    "STATES",
    "SUPERSEDABLE",
    "State",
    "StateInfo",
]


class State(enum.Enum):
    """Where a run is."""

    NEW = "new"
    IDLE = "idle"
    COLLECT = "collect"
    CHECK = "check"
    PREPARE = "prepare"
    PRECOPY = "precopy"
    QUIESCE = "quiesce"
    FREEZE = "freeze"
    REHYDRATE = "rehydrate"
    VERIFY = "verify"
    COMMIT = "commit"
    PROBATION = "probation"
    HOLD = "hold"
    FINISHED = "finished"
    STOPPING = "stopping"
    STOPPED = "stopped"


@dataclasses.dataclass(frozen=True, slots=True)
class StateInfo:
    """One row of the state table.

    Attributes:
        does: what happens in it.
        success: where it goes when that worked, with the words for the documentation.
        failure: where it goes on failure or when the deadline passes.
        on_failure: what is done on that way.
        deadline: the setting that limits it, or ``""``.
    """

    does: str
    success: tuple[State, ...] = ()
    failure: tuple[State, ...] = ()
    on_failure: str = ""
    deadline: str = ""


REST = (State.IDLE, State.PROBATION, State.HOLD, State.FINISHED)
"""States in which no attempt is under way."""

STATES: dict[State, StateInfo] = {
    State.NEW: StateInfo("nothing runs yet", (State.PREPARE,)),
    State.IDLE: StateInfo(
        "the active generation serves; a spare is kept warm; files are watched",
        (State.COLLECT, State.CHECK, State.PREPARE),
        (State.PREPARE, State.HOLD, State.FINISHED),
        "active dies: recover with the last good code and the newest state; crash loop: hold",
    ),
    State.COLLECT: StateInfo(
        "wait while git works in the tree; hash what was touched",
        (State.CHECK,),
        (*REST, State.PREPARE),
        "same content as before: back to rest",
    ),
    State.CHECK: StateInfo(
        "compile the changed files in the parent",
        (State.PREPARE,),
        (*REST, State.CHECK, State.PREPARE),
        "reject; no process was touched",
    ),
    State.PREPARE: StateInfo(
        "the candidate imports the user's code; it neither binds nor accepts",
        (State.PRECOPY, State.QUIESCE, State.REHYDRATE),
        (*REST, State.CHECK, State.PREPARE),
        "kill the candidate, reject",
        "timeout_prepare",
    ),
    State.PRECOPY: StateInfo(
        "the active one exports its state while it serves; the candidate decodes, migrates and validates it",
        (State.QUIESCE,),
        (*REST, State.CHECK, State.PREPARE),
        "kill the candidate, reject; the pause was 0",
        "timeout_prepare",
    ),
    State.QUIESCE: StateInfo(
        "the active one stops accepting; requests in flight finish or are left to drain",
        (State.FREEZE,),
        (*REST, State.CHECK, State.PREPARE),
        "resume the old one, kill the candidate",
        "timeout_quiesce",
    ),
    State.FREEZE: StateInfo(
        "before_reload hooks, then the decisive snapshot; the old one stands still",
        (State.REHYDRATE,),
        (*REST, State.PREPARE),
        "resume the old one, kill the candidate",
        "timeout_hook",
    ),
    State.REHYDRATE: StateInfo(
        "the state is filled into the candidate's objects, in place",
        (State.VERIFY,),
        (*REST, State.PREPARE),
        "resume the old one, kill the candidate",
        "timeout_start",
    ),
    State.VERIFY: StateInfo(
        "the user's start-up, up to listening on what the old one listened on; after_reload hooks",
        (State.COMMIT,),
        (*REST, State.PREPARE),
        "resume the old one, kill the candidate",
        "timeout_start",
    ),
    State.COMMIT: StateInfo(
        "one step in the parent; the candidate accepts and says so",
        (State.PROBATION, State.IDLE),
        (*REST, State.PREPARE),
        "resume the old one, which is still frozen",
        "timeout_hook",
    ),
    State.PROBATION: StateInfo(
        "the new one serves; the old one stays frozen until a first good answer",
        (State.IDLE, State.COLLECT, State.CHECK, State.PREPARE),
        (State.IDLE, State.PREPARE, State.HOLD, State.FINISHED),
        "the new one dies: the old one resumes",
        "probation",
    ),
    State.HOLD: StateInfo(
        "nothing serves: the parent answers 503 with the reason and waits for an edit",
        (State.COLLECT, State.CHECK, State.PREPARE),
    ),
    State.FINISHED: StateInfo(
        "the program came to its end by itself; its state is held, an edit runs it again",
        (State.COLLECT, State.CHECK, State.PREPARE),
    ),
    State.STOPPING: StateInfo("every child shuts down in order; the second request kills", (State.STOPPED,)),
    State.STOPPED: StateInfo("no child is left"),
}

SUPERSEDABLE = (State.CHECK, State.PREPARE, State.PRECOPY, State.QUIESCE)
PAUSED = (State.QUIESCE, State.FREEZE, State.REHYDRATE, State.VERIFY, State.COMMIT)

PHASES = {
    State.COLLECT: "hash",
    State.CHECK: "compile",
    State.PREPARE: "activate",
    State.PRECOPY: "decode",
    State.QUIESCE: "quiesce",
    State.FREEZE: "freeze",
    State.REHYDRATE: "refresh",
    State.VERIFY: "start",
    State.COMMIT: "commit",
}
"""What the time that a state took is called in reports; ``notice`` comes before."""

PARTS = {
    State.COLLECT: ("debounce", "hash"),
    State.CHECK: ("debounce", "compile"),
    State.PREPARE: ("activate", "import"),
    State.PRECOPY: ("export", "decode"),
    State.REHYDRATE: ("transfer", "refresh"),
}
"""States whose time is told in two parts, once an answer tells them apart. A state that ends without it (a
failure, a death) has all of its time under the name in ``PHASES``."""

PAUSE_PHASES = tuple(part for state in PAUSED for part in PARTS.get(state, (PHASES[state],)))
"""Phases in which nobody accepts."""

DOING = {
    State.PREPARE: "was imported",
    State.PRECOPY: "took the state over on trial",
    State.QUIESCE: "finished its requests",
    State.FREEZE: "ran its hooks and exported its state",
    State.REHYDRATE: "took the state over",
    State.VERIFY: "started up",
    State.COMMIT: "began to serve",
}
"""What the slow side was doing, for the sentence that says so."""
