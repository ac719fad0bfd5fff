"""What is told to people and programs: one terminal record per attempt, and notices between them.

Invariants:
    * Records are plain data: only ``str``, ``int``, ``float``, ``bool``, ``None``, tuples and records.
    * Every attempt to reload ends in exactly one :class:`ReloadRecord`.
    * Seconds are floats; only the renderers turn them into milliseconds.
"""

from __future__ import annotations

import dataclasses
import enum
from typing import Any

from livereload_core.facts import Failure, RootFate, RootReport

__all__ = [
    "RECORD_VERSION",
    "Failure",
    "Notice",
    "NoticeKind",
    "Outcome",
    "Record",
    "ReloadRecord",
    "RootFate",
    "RootReport",
    "as_json",
]

RECORD_VERSION = 1
"""The ``v`` field of every JSON object; raised only when a field changes its meaning."""


class Outcome(enum.Enum):
    """How an attempt to reload ended."""

    COMMITTED = "committed"
    REJECTED = "rejected"
    ROLLED_BACK = "rolled-back"


@dataclasses.dataclass(frozen=True, slots=True)
class ReloadRecord:
    """The terminal record of one attempt.

    Attributes:
        outcome: committed, rejected or rolled back.
        generation: the generation that serves now.
        files: paths that changed, relative to the project root where they lie below it.
        total: seconds from the noticed change to the commit (or to the rejection).
        pause: seconds during which nobody accepted connections; 0.0 when nothing was paused.
        phases: seconds per phase in order, as ``(name, seconds)`` pairs; they sum up to ``total``.
        roots: the fate of every preserved object; empty when there is none.
        failure: why, unless committed.
        foreign: third-party modules that the new code had to import itself; none when the spare was warm.
        notes: further sentences, as ``"2 requests in flight drain in generation 3"``.
        connections: how many established connections went over to the new generation.
        kept_back: why others did not, with how many for each reason.
    """

    outcome: Outcome
    generation: int
    files: tuple[str, ...]
    total: float
    pause: float = 0.0
    phases: tuple[tuple[str, float], ...] = ()
    roots: tuple[RootReport, ...] = ()
    failure: Failure | None = None
    foreign: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    connections: int = 0
    kept_back: tuple[tuple[str, int], ...] = ()


class NoticeKind(enum.Enum):
    """The kinds of notice between reloads."""

    STARTING = "starting"  # livecore itself: target, root
    LISTENING = "listening"  # a listening address: url
    STARTED = "started"  # the first generation serves
    REFUSED = "refused"  # the run cannot begin and ends: wrong call, port busy
    HOLD = "hold"  # nothing serves: the hold page answers 503; failure says why
    DIED = "died"  # the serving generation died; failure says how
    RECOVERED = "recovered"  # last good code and newest state serve again
    FINISHED = "finished"  # the program returned by itself; waits for an edit
    WAITING = "waiting"  # a reload waits (debugger open, git checkout under way)
    WARNING = "warning"  # something works less well than it could, with the reason
    INFO = "info"
    STOPPING = "stopping"
    STOPPED = "stopped"


@dataclasses.dataclass(frozen=True, slots=True)
class Notice:
    """Something worth one line that is not the end of a reload.

    Attributes:
        kind: what happened.
        text: one sentence without a final full stop.
        generation: the generation it is about, 0 when none.
        failure: the reason for HOLD and DIED.
        roots: for RECOVERED, the fate of every preserved object.
        seconds: how long it took, for STARTED and RECOVERED; 0.0 otherwise.
    """

    kind: NoticeKind
    text: str
    generation: int = 0
    failure: Failure | None = None
    roots: tuple[RootReport, ...] = ()
    seconds: float = 0.0


Record = ReloadRecord | Notice


def as_json(record: Record) -> dict[str, Any]:
    """Turn a record into what ``--log-format json`` prints, one object per record.

    Returns:
        a dict of JSON types: ``v`` (:data:`RECORD_VERSION`), ``event`` (``"reload"`` or the kind of
        the notice), then the fields of the record with enums as their values, ``phases`` as an object,
        and times in milliseconds under names that end in ``_ms``.
    """
    if isinstance(record, ReloadRecord):
        return {
            "v": RECORD_VERSION,
            "event": "reload",
            "outcome": record.outcome.value,
            "generation": record.generation,
            "files": list(record.files),
            "total_ms": _ms(record.total),
            "pause_ms": _ms(record.pause),
            "phases_ms": {name: _ms(seconds) for name, seconds in record.phases},
            "roots": [_root(root) for root in record.roots],
            "failure": _failure(record.failure),
            "foreign": list(record.foreign),
            "notes": list(record.notes),
            "connections": {"kept": record.connections, "left": dict(record.kept_back)},
        }
    return {
        "v": RECORD_VERSION,
        "event": record.kind.value,
        "text": record.text,
        "generation": record.generation,
        "failure": _failure(record.failure),
        "roots": [_root(root) for root in record.roots],
        "took_ms": _ms(record.seconds),
    }


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)


def _root(root: RootReport) -> dict[str, str]:
    return {"key": root.key, "fate": root.fate.value, "detail": root.detail, "remedy": root.remedy}


def _failure(failure: Failure | None) -> dict[str, Any] | None:
    if failure is None:
        return None
    return {**dataclasses.asdict(failure), "files": list(failure.files)}
