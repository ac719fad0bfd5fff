"""How things look: colour, durations, counts, and text from elsewhere made safe for a line.

Invariants:
    * Without colour a text is exactly what it says: no escape sequence of ours, none of anybody else's.
    * A number is written once, here, so that it looks the same in every line.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping

__all__ = ["Palette", "duration", "one_line", "safe", "size", "wants_colour"]

_CODES = {
    "dim": "2",
    "bold": "1",
    "good": "32",
    "bad": "31",
    "worse": "1;31",
    "care": "33",
    "link": "4;36",
}
# C0 and C1 controls, DEL, lone surrogates of undecodable file names; tab and newline are the caller's matter.
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


def wants_colour(terminal: bool, environ: Mapping[str, str]) -> bool:
    """Decide about colour as Python itself does for its tracebacks.

    Args:
        terminal: whether the stream is one.
        environ: ``NO_COLOR`` (https://no-color.org), ``FORCE_COLOR`` and ``TERM`` are looked at, in that
            order; an empty variable counts as absent.
    """
    if environ.get("NO_COLOR"):
        return False
    if environ.get("FORCE_COLOR"):
        return True
    return terminal and environ.get("TERM") != "dumb"


@dataclasses.dataclass(frozen=True, slots=True)
class Palette:
    """Paints, or leaves alone.

    Attributes:
        on: whether anything is painted.
    """

    on: bool

    def __call__(self, style: str, text: str) -> str:
        """Return ``text`` in ``style``: dim, bold, good, bad, worse, care or link."""
        return f"\x1b[{_CODES[style]}m{text}\x1b[0m" if self.on and text else text


def safe(text: str) -> str:
    """Return ``text`` with control characters spelt out: nobody's file name may steer the terminal."""
    return _CONTROLS.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def one_line(text: str) -> str:
    """Return ``text`` on one line, whole: line breaks become blanks."""
    return safe(" ".join(text.split("\n")).replace("\t", " ")).strip()


def duration(seconds: float) -> str:
    """Return a duration as people say it: ``23 ms``, ``1.2 s``, ``3 min 12 s``, ``2 h 05 min``."""
    ms = seconds * 1000
    if ms < 0.95:
        return f"{ms:.1f} ms"
    if ms < 999.5:
        return f"{ms:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"


def size(count: float) -> str:
    """Return a number of bytes in the unit that fits: ``0 kB``, ``41 MB``, ``1.2 GB``."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6)):
        if count >= scale:
            return f"{count / scale:.1f} {unit}" if unit == "GB" else f"{count / scale:.0f} {unit}"
    return f"{count / 1e3:.0f} kB"
