"""Facts that every layer names: what failed, and what became of preserved objects.

They stand below ``core`` and ``wire`` because both speak of them and neither may know the other.
"""

from __future__ import annotations

import dataclasses
import enum

__all__ = ["CODEC_ENTRY_POINTS", "ENTRY_POINTS", "Failure", "RootFate", "RootReport"]

CODEC_ENTRY_POINTS = "livereload_core.codecs"
"""The group of codecs of third-party types."""

ENTRY_POINTS = "livereload_core.targets"
"""The group of entry points of adapters; the parent finds them, a child loads them."""


class RootFate(enum.Enum):
    """What became of one preserved object."""

    KEPT = "kept"
    MIGRATED = "migrated"
    RESET = "reset"
    LOST = "lost"
    PARKED = "parked"
    NEW = "new"


@dataclasses.dataclass(frozen=True, slots=True)
class RootReport:
    """The fate of one preserved object.

    Attributes:
        key: ``module:name``.
        fate: what became of it.
        detail: why, for everything but a plain ``kept``; with the path, as in ``rooms["lobby"].lock``.
        remedy: what to write so that it is kept next time, or ``""``.
    """

    key: str
    fate: RootFate
    detail: str = ""
    remedy: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Failure:
    """Why new code was not taken, or why running code stopped.

    Attributes:
        phase: the state of the machine in which it happened, lower case (``check``, ``prepare`` ...).
        reason: one sentence without a final full stop.
        traceback: the user's traceback, our own frames cut away; ``""`` when there is none.
        files: absolute paths of user files that the failure names; they are watched from now on.
    """

    phase: str
    reason: str
    traceback: str = ""
    files: tuple[str, ...] = ()
