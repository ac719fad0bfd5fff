"""``livecore status``, ``reload`` and ``stop``: asks the run of this project and prints what it says."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Callable

from livereload_core.cli.config import project_root
from livereload_core.cli.parser import Control
from livereload_core.core.records import Notice, NoticeKind, Outcome
from livereload_core.errors import LivecoreError
from livereload_core.parent.control import Message, request
from livereload_core.ui.decode import record_from_json
from livereload_core.ui.render import render, wants_colour
from livereload_core.ui.status import render_status
from livereload_core.ui.style import Palette

__all__ = ["palette", "perform", "tell_reload"]

_STOP_TIMEOUT = 30.0  # seconds; a run gives its program 5 by default to finish what it is doing


def perform(command: Control, cwd: str, *, print_: Callable[[str], None]) -> int:
    """Carry out a command that talks to a run.

    Args:
        command: what was asked for.
        cwd: the working directory: the run is found from here.
        print_: writes the answer.

    Returns:
        the exit code.

    Raises:
        LivecoreError: there is no such run, or it refused.
    """
    # A reload may wait for a person at a debugger; the run has deadlines of its own for everything else.
    timeout = None if command.op == "reload" else 10.0
    answer = request(project_root(cwd), {"op": command.op}, pid=command.pid, timeout=timeout, cwd=cwd)
    if command.op == "reload":
        return tell_reload(answer, print_)
    if command.op == "stop":
        return _stopped(answer, print_)
    print_(json.dumps(answer) + "\n" if command.json else render_status(answer, palette()))
    return 0


def palette() -> Palette:
    """The colours that stdout wants."""
    return Palette(wants_colour(sys.stdout is not None and sys.stdout.isatty(), os.environ))


def tell_reload(answer: Message, print_: Callable[[str], None]) -> int:
    """Print how a reload ended; returns the exit code."""
    data = answer.get("record")
    record = record_from_json(data)
    if record is None:
        raise LivecoreError(
            f"the run answered {data!r} to a reload; it may be of another version: restart it"
        )
    print_("".join(f"{line}\n" for line in render(record, palette())))
    # An attempt that was under way anyway (a first start, a recovery) ends in a notice instead.
    if isinstance(record, Notice):
        return 0 if record.kind in (NoticeKind.STARTED, NoticeKind.RECOVERED) else 1
    return 0 if record.outcome is Outcome.COMMITTED else 1


def _stopped(answer: Message, print_: Callable[[str], None]) -> int:
    """Wait until the run is gone, so that `livecore stop && livecore run ...` finds the port free."""
    pid = answer.get("pid")
    if not isinstance(pid, int):
        raise LivecoreError(f"the run answered {answer!r} to a stop, without its pid")
    if not _gone(pid):
        raise LivecoreError(
            f"pid {pid} has not stopped within {_STOP_TIMEOUT:g} seconds; `kill {pid}` insists"
        )
    print_(f"stopped pid {pid}\n")
    return 0


def _gone(pid: int) -> bool:
    deadline = time.monotonic() + _STOP_TIMEOUT
    if hasattr(os, "pidfd_open"):
        import select

        try:
            fd = os.pidfd_open(pid)
        except ProcessLookupError:
            return True
        except OSError:  # an old kernel or a sandbox: look again and again instead
            pass
        else:
            try:
                poller = select.poll()
                poller.register(fd, select.POLLIN)
                return bool(poller.poll(_STOP_TIMEOUT * 1000))
            finally:
                os.close(fd)
    while time.monotonic() < deadline:
        with contextlib.suppress(PermissionError):
            try:
                os.kill(pid, 0)
            except ProcessLookupError:
                return True
        time.sleep(0.02)
    return False
