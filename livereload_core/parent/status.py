"""What ``livecore status`` answers: the run, its processes and what became of the last edit."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from livereload_core.core.records import as_json
from livereload_core.posix.process import resident_bytes

if TYPE_CHECKING:
    from livereload_core.parent.supervisor import Supervisor

__all__ = ["status"]


def status(run: Supervisor, *, uptime: float) -> dict[str, Any]:
    """Return JSON types; memory in bytes, ``uptime`` in seconds."""
    machine = run.machine
    roles = {machine.active: "active", machine.candidate: "candidate", machine.spare: "spare"}
    roles |= {machine.frozen: "frozen"} | dict.fromkeys(machine.draining, "draining")
    return {
        "v": 1,
        "pid": os.getpid(),
        "generation": machine.generation,
        "state": machine.state.value,
        "target": str(run.settings.target),
        "root": run.settings.root,
        "uptime": round(uptime, 3),
        "rss": resident_bytes(os.getpid()),
        "listeners": [address.url for address in run.listeners.addresses],
        "children": [
            {
                "role": roles.get(number, "leaving"),
                "pid": handle.pid,
                "generation": run.messages.generation_of(number),
                "rss": resident_bytes(handle.pid),
                **({"warm": handle.warmed == handle.wanted} if number == machine.spare else {}),
            }
            for number, handle in sorted(run.children.items())
        ],
        "connections": len(run.messages.vault),
        "last": as_json(run.last_record) if run.last_record is not None else None,
        "roots": [{"key": r.key, "fate": r.fate.value, "detail": r.detail} for r in run.last_roots],
        "watching": run.edits.describe(),
    }
