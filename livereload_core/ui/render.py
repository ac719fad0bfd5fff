"""Records as lines: what a developer sees after each save.

::

    12:04:31 reload  app.py  gen 7  23 ms (pause 8 ms)  kept 3: sessions, cache, world
    12:04:40 reject  app.py  gen 7 serves on  syntax error in app.py, line 3: invalid syntax
               File "/home/ann/shop/app.py", line 3
                 def x(:
                       ^
             SyntaxError: invalid syntax
             save a fix and it goes live by itself; until then the old code keeps serving

Invariants:
    * One line per record says it all; what needs an explanation has it below, indented under the line.
    * No reason is ever shortened. Only lists of names are, with the count of what is left out.
    * Lines differ between ``pretty`` and ``plain`` by colour alone; ``json`` is ``as_json`` and nothing else.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TextIO

from livereload_core.core.records import Notice, NoticeKind, Outcome, Record, ReloadRecord, as_json
from livereload_core.core.settings import LogFormat
from livereload_core.facts import Failure, RootFate, RootReport
from livereload_core.ui.outlet import Outlet
from livereload_core.ui.style import Palette, duration, one_line, safe, wants_colour

__all__ = ["Printer", "make_printer", "render", "wants_colour"]

_GAP = "  "
_INDENT = " " * len("12:04:31 ")
_NAMES_WIDTH = 56  # characters for a list of names before it ends in "+N"
_SLOW = 1.0  # seconds from which a reload also says where the time went
_WORTH_TELLING = 0.1  # share of the total from which a phase is named then

_VERBS = {
    Outcome.COMMITTED: ("reload", "good"),
    Outcome.REJECTED: ("reject", "worse"),
    Outcome.ROLLED_BACK: ("rollback", "worse"),
}
_NOTICE_VERBS = {
    NoticeKind.STARTING: ("start", "dim"),
    NoticeKind.LISTENING: ("listen", "dim"),
    NoticeKind.STARTED: ("ready", "good"),
    NoticeKind.HOLD: ("hold", "worse"),
    NoticeKind.REFUSED: ("refuse", "worse"),
    NoticeKind.DIED: ("died", "worse"),
    NoticeKind.RECOVERED: ("back", "good"),
    NoticeKind.FINISHED: ("done", "bold"),
    NoticeKind.WAITING: ("wait", "care"),
    NoticeKind.WARNING: ("warn", "care"),
    NoticeKind.INFO: ("info", "dim"),
    NoticeKind.STOPPING: ("stop", "dim"),
    NoticeKind.STOPPED: ("stop", "dim"),
}
_FATE_STYLES = {
    RootFate.KEPT: "good",
    RootFate.NEW: "dim",
    RootFate.MIGRATED: "care",
    RootFate.PARKED: "care",
    RootFate.RESET: "bad",
    RootFate.LOST: "worse",
}


class Printer:
    """Writes records to a stream, one after the other; never raises and never waits.

    Args:
        log_format: how.
        stream: where to.
        colour: whether ``pretty`` is coloured.
        clock: the wall clock, in seconds since the epoch.
        watching: whether saved files are noticed; without it no line promises that a fix goes live.
    """

    def __init__(
        self,
        log_format: LogFormat,
        stream: TextIO | None,
        *,
        colour: bool,
        clock: Callable[[], float] = time.time,
        watching: bool = True,
    ) -> None:
        self._format = log_format
        self._outlet = Outlet(stream)
        self._palette = Palette(colour and log_format is LogFormat.PRETTY)
        self._clock = clock
        self._watching = watching

    def __call__(self, record: Record) -> None:
        """Write one record."""
        if self._format is LogFormat.JSON:
            # ASCII: half a surrogate from a file name would be no valid UTF-8.
            self._outlet.write(json.dumps(as_json(record)) + "\n")
            return
        stamp = time.strftime("%H:%M:%S", time.localtime(self._clock()))
        lines = render(record, self._palette, watching=self._watching)
        first = f"{self._palette('dim', stamp)} {lines[0]}"
        self._outlet.write("".join(f"{line}\n" for line in [first, *lines[1:]]))

    def close(self, timeout: float = 0.5) -> None:
        """Let out what waits; a blocked stream is given up after ``timeout`` seconds."""
        self._outlet.close(timeout)


def make_printer(
    log_format: LogFormat,
    stream: TextIO | None,
    *,
    colour: bool,
    clock: Callable[[], float] = time.time,
    watching: bool = True,
) -> Printer:
    """Return what writes records to ``stream``; see :class:`Printer`."""
    return Printer(log_format, stream, colour=colour, clock=clock, watching=watching)


def render(record: Record, paint: Palette, *, watching: bool = True) -> list[str]:
    """Return the lines of a record: the first without the time of day, the rest indented under it."""
    if isinstance(record, ReloadRecord):
        return _reload(record, paint, watching)
    return _notice(record, paint, watching)


# --- the terminal record of an attempt -------------------------------------------------------------


def _reload(record: ReloadRecord, paint: Palette, watching: bool) -> list[str]:
    verb, style = _VERBS[record.outcome]
    parts = [_verb(verb, style, paint), paint("bold", _files(record.files))]
    if record.outcome is Outcome.COMMITTED:
        parts += [
            paint("dim", f"gen {record.generation}"),
            _times(record, paint),
            *_fates(record.roots, paint),
            _connections(record, paint),
        ]
    else:
        serves = f"gen {record.generation} serves on" if record.generation else "nothing serves yet"
        parts += [paint("good" if record.generation else "bad", serves)]
        if record.pause:
            parts.append(paint("dim", f"(pause {duration(record.pause)})"))
        if record.failure is not None:
            parts.append(one_line(record.failure.reason))
    below = _details(record.roots, paint)
    if record.failure is not None:
        below += _traceback(record.failure, paint)
    below += [_INDENT + paint("dim", one_line(note)) for note in record.notes]
    if record.outcome is Outcome.COMMITTED:
        below += _where_time_went(record, paint)
    else:
        below.append(_INDENT + paint("dim", _outlook(bool(record.generation), watching)))
    return [_GAP.join(part for part in parts if part), *below]


def _connections(record: ReloadRecord, paint: Palette) -> str:
    if not record.connections:
        return ""
    return f"{paint('good', str(record.connections))} connection{'s' if record.connections != 1 else ''}"


def _outlook(serves: bool, watching: bool) -> str:
    """Say what happens next after a refusal: the question in the developer's head."""
    fix = "save a fix and it goes live by itself" if watching else "fix it and run `livecore reload`"
    return f"{fix}; until then {'the old code keeps serving' if serves else 'requests are answered with 503'}"


def _files(files: Sequence[str]) -> str:
    if not files:
        return "on request"
    more = f" +{len(files) - 1}" if len(files) > 1 else ""
    return one_line(files[0]) + more


def _times(record: ReloadRecord, paint: Palette) -> str:
    pause = paint("dim", f" (pause {duration(record.pause)})") if record.pause else ""
    return duration(record.total) + pause


def _where_time_went(record: ReloadRecord, paint: Palette) -> list[str]:
    if record.total < _SLOW:
        return []
    slowest = sorted(record.phases, key=lambda phase: -phase[1])
    named = [f"{name} {duration(took)}" for name, took in slowest if took >= _WORTH_TELLING * record.total]
    return [_INDENT + paint("dim", f"most of it: {', '.join(named)}")] if named else []


# --- preserved objects -----------------------------------------------------------------------------


def _fates(roots: Sequence[RootReport], paint: Palette) -> list[str]:
    """Count the preserved objects by fate; name those that need no explanation below."""
    names = _short_names(roots)
    parts = []
    for fate, style in _FATE_STYLES.items():
        of_fate = [name for name, root in zip(names, roots, strict=True) if root.fate is fate]
        if not of_fate:
            continue
        listed = f": {_listed(of_fate)}" if fate in (RootFate.KEPT, RootFate.NEW) else ""
        parts.append(paint(style, f"{fate.value} {len(of_fate)}") + listed)
    return parts


def _details(roots: Sequence[RootReport], paint: Palette) -> list[str]:
    """Explain everything that was not plainly kept or is not plainly new."""
    lines = []
    width = max(len(fate.value) for fate in RootFate)
    for name, root in zip(_short_names(roots), roots, strict=True):
        if root.fate in (RootFate.KEPT, RootFate.NEW) and not (root.detail or root.remedy):
            continue
        fate = paint(_FATE_STYLES[root.fate], f"{root.fate.value:<{width}}")
        detail = f": {one_line(root.detail)}" if root.detail else ""
        lines.append(f"{_INDENT}{fate}{_GAP}{name}{detail}")
        if root.remedy:
            lines.append(_INDENT + " " * width + _GAP + f"→ {one_line(root.remedy)}")
    return lines


def _short_names(roots: Sequence[RootReport]) -> list[str]:
    """Return ``name`` of ``module:name``, or the whole key where two modules use the same name."""
    short = [root.key.rpartition(":")[2] for root in roots]
    seen = Counter(short)
    return [one_line(name if seen[name] == 1 else root.key) for name, root in zip(short, roots, strict=True)]


def _listed(names: Sequence[str]) -> str:
    shown = list(names)
    while len(shown) > 1 and len(", ".join(shown)) > _NAMES_WIDTH:
        shown.pop()
    more = f" +{len(names) - len(shown)}" if len(shown) < len(names) else ""
    return ", ".join(shown) + more


# --- notices ---------------------------------------------------------------------------------------


def _notice(record: Notice, paint: Palette, watching: bool) -> list[str]:
    verb, style = _NOTICE_VERBS[record.kind]
    text = one_line(record.text)
    if record.kind is NoticeKind.LISTENING:
        text = paint("link", text)
    parts = [_verb(verb, style, paint), text]
    if record.failure is not None and one_line(record.failure.reason) not in text:
        parts.append(one_line(record.failure.reason))
    if record.generation and record.kind in (NoticeKind.STARTED, NoticeKind.RECOVERED):
        parts.append(paint("dim", f"gen {record.generation}"))
    if record.seconds:
        parts.append(duration(record.seconds))
    parts += _fates(record.roots, paint)
    below = _details(record.roots, paint)
    if record.failure is not None:
        below += _traceback(record.failure, paint)
    if record.kind is NoticeKind.HOLD and watching:
        below.append(_INDENT + paint("dim", _outlook(serves=False, watching=True)))
    return [_GAP.join(part for part in parts if part), *below]


def _verb(verb: str, style: str, paint: Palette) -> str:
    # The padding stays outside of the colour, or an underline would run on.
    return paint(style, verb) + " " * (len("reload") - len(verb))


def _traceback(failure: Failure, paint: Palette) -> list[str]:
    """Return the user's traceback as Python prints it, the line that names the error standing out."""
    lines = [safe(line) for line in failure.traceback.expandtabs().splitlines()]
    last = max((at for at, line in enumerate(lines) if line and not line.startswith((" ", "|"))), default=-1)
    return [
        (_INDENT + (paint("bad", line) if at == last else line)).rstrip() for at, line in enumerate(lines)
    ]
