"""The answers of ``livecore state``, for people.

::

    gen  taken     size   objects  ended by
      7  12:03:05  1 kB         3  (serves)
      6  12:02:51  1 kB         3  edit of shop.py
    saved   12:03:04  1 kB  3 objects  app:app  /home/ann/.cache/livecore/.../....state
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from livereload_core.ui.statediff import Difference
from livereload_core.ui.statetree import View, lines
from livereload_core.ui.style import Palette, one_line, safe, size

__all__ = ["render_differences", "render_list", "render_root"]

Clock = Callable[[float], str]


def render_list(
    states: Sequence[Mapping[str, Any]],
    files: Sequence[Mapping[str, Any]],
    too_large: int,
    clock: Clock,
    paint: Palette,
) -> str:
    """Return the list of states.

    Args:
        states: what a run keeps, newest first.
        files: what the disk holds.
        too_large: bytes of the last state that found no room, 0 if it did.
        clock: writes a time.
        paint: the colours.
    """
    rows = [("gen", "taken", "size", "objects", "ended by")] if states else []
    for state in states:
        number = str(state["generation"])
        why = str(state["why"])
        if why == "now":  # that of the run before has no number, and waits for code that takes it
            why = "(serves)" if state["generation"] else "(not taken up yet)"
        roots = [root for root in state["roots"] if not root["lost"]]
        rows.append((number, clock(state["taken"]), size(state["size"]), str(len(roots)), one_line(why)))
    widths = [max((len(row[at]) for row in rows), default=0) for at in range(4)]
    out = []
    for place, row in enumerate(rows):
        cells = [f"{row[at]:>{widths[at]}}" for at in range(4)]
        line = f"{'  '.join(cells)}  {row[4]}".rstrip()
        out.append(paint("dim", line) if place == 0 else line)
    if too_large:
        out.append(f"the last state ({size(too_large)}) is too large to be kept in memory")
    for file in files:
        count = len(file["roots"])
        parts = [paint("bold", f"{file['word']:<6}"), clock(file["taken"]), size(file["size"])]
        parts += [f"{count} object{'s' * (count != 1)}", one_line(str(file["target"]))]
        out.append("  ".join([*parts, paint("dim", one_line(str(file["path"])))]))
    return "".join(f"{line}\n" for line in out)


def render_root(fields: Mapping[str, Any], view: View | None, title: str, paint: Palette) -> str:
    """Return one object of a state."""
    version = f"  version {fields['version']}" if fields["version"] != 1 else ""
    head = f"{paint('bold', safe(str(fields['key'])))}{version}  {paint('dim', safe(title))}\n"
    if view is None:
        return f"{head}  {paint('care', 'not shown')}: {one_line(str(fields['lost']))}\n"
    return head + "".join(f"{line}\n" for line in lines(view, 2))


def render_differences(
    was: str,
    now: str,
    roots: Sequence[Mapping[str, str]],
    found: Sequence[Difference],
    most: int,
    paint: Palette,
) -> str:
    """Return what differs, at most so many lines."""
    out = [f"{paint('dim', '-')} {safe(was)}", f"{paint('dim', '+')} {safe(now)}"]
    for root in roots:
        before, after = root["was"] or "not there", root["now"] or "not there"
        out.append(f"{paint('bold', safe(root['key']))}  {one_line(before)} → {one_line(after)}")
    for difference in found[:most]:
        path = paint("bold", difference.path)
        if not difference.was:
            out.append(f"{path}  {paint('good', '+')} {difference.now}")
        elif not difference.now:
            out.append(f"{path}  {paint('bad', '-')} {difference.was}")
        else:
            out.append(f"{path}  {difference.was} → {difference.now}")
    if len(found) > most:
        out.append(f"… {len(found) - most} more; --all shows them")
    if not roots and not found:
        out.append("no difference")
    return "".join(f"{line}\n" for line in out)
