"""From JSON back to a record: ``livecore reload`` and ``status`` show what a run tells like any other line.

Invariants:
    * ``record_from_json(as_json(record))`` renders to the same lines as ``record``.
    * What a newer version adds is skipped; what cannot be understood at all is ``None``, never an exception.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from livereload_core.core.records import Notice, NoticeKind, Outcome, Record, ReloadRecord
from livereload_core.facts import Failure, RootFate, RootReport

__all__ = ["record_from_json"]


def record_from_json(data: object) -> Record | None:
    """Turn what :func:`~livereload_core.core.records.as_json` wrote into a record again.

    Returns:
        the record, or ``None`` for ``null`` and for what this version does not know.
    """
    if not isinstance(data, Mapping):
        return None
    try:
        return _reload(data) if data["event"] == "reload" else _notice(data)
    except (KeyError, TypeError, ValueError, AttributeError):  # another version's; the caller prints it raw
        return None


def _reload(data: Mapping[str, Any]) -> ReloadRecord:
    return ReloadRecord(
        outcome=Outcome(data["outcome"]),
        generation=int(data["generation"]),
        files=tuple(map(str, data["files"])),
        total=data["total_ms"] / 1000,
        pause=data["pause_ms"] / 1000,
        phases=tuple((str(name), ms / 1000) for name, ms in data["phases_ms"].items()),
        roots=_roots(data["roots"]),
        failure=_failure(data["failure"]),
        foreign=tuple(map(str, data["foreign"])),
        notes=tuple(map(str, data["notes"])),
        connections=int(data["connections"]["kept"]),
        kept_back=tuple((str(why), int(count)) for why, count in data["connections"]["left"].items()),
    )


def _notice(data: Mapping[str, Any]) -> Notice:
    return Notice(
        kind=NoticeKind(data["event"]),
        text=str(data["text"]),
        generation=int(data["generation"]),
        failure=_failure(data["failure"]),
        roots=_roots(data["roots"]),
        seconds=data["took_ms"] / 1000,
    )


def _roots(data: list[Mapping[str, Any]]) -> tuple[RootReport, ...]:
    return tuple(
        RootReport(str(root["key"]), RootFate(root["fate"]), str(root["detail"]), str(root["remedy"]))
        for root in data
    )


def _failure(data: Mapping[str, Any] | None) -> Failure | None:
    if data is None:
        return None
    return Failure(
        str(data["phase"]), str(data["reason"]), str(data["traceback"]), tuple(map(str, data["files"]))
    )
