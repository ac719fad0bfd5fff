"""A look at the processes of one run, through /proc.

A run is known by a variable in its environment, not by its parent: so a process is found too after
its parent was killed, or when it made itself a session of its own.

Invariants:
    * A process that ends while it is looked at counts as ended; nothing here raises because of it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import signal
from collections import Counter
from pathlib import Path

__all__ = ["RUN_VARIABLE", "ProcessCensus", "census", "descendants_of_run", "fds", "kill_run", "rss"]

RUN_VARIABLE = "LIVECORE_TEST_RUN"
"""Environment variable that marks every process of one run."""

_PROC = Path("/proc")
_NUMBER = re.compile(r"\d+")


@dataclasses.dataclass(frozen=True)
class ProcessCensus:
    """What one process holds.

    Attributes:
        fds: how many file descriptors of each kind (``socket``, ``pipe``, ``memfd:...``, a path).
        threads: how many threads.
    """

    fds: dict[str, int]
    threads: int

    def beyond(self, earlier: ProcessCensus) -> dict[str, int]:
        """Return what there is more of than earlier, by kind: empty unless something has leaked.

        What comes and goes (the thread that writes a snapshot to the disk) may have been there earlier and
        be gone now, so that fewer are as good as equally many.
        """
        more = Counter({**self.fds, "threads": self.threads})
        more.subtract({**earlier.fds, "threads": earlier.threads})
        return dict(+more)


def descendants_of_run(mark: str) -> dict[int, str]:
    """Return pid and command line of every living process that carries the mark; zombies do not live."""
    wanted = f"{RUN_VARIABLE}={mark}".encode()
    found: dict[int, str] = {}
    for entry in _PROC.iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            if wanted not in (entry / "environ").read_bytes().split(b"\0"):
                continue
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
            found[int(entry.name)] = command
    return found


def zombies_of(pid: int) -> list[int]:
    """Return the direct children of ``pid`` that have ended and were not waited for."""
    found: list[int] = []
    for entry in _PROC.iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            # The name in parentheses may hold spaces and parentheses itself.
            state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
            if int(parent) == pid and state == "Z":
                found.append(int(entry.name))
    return found


def fds(pid: int) -> dict[int, str]:
    """Return what every file descriptor of a process points at."""
    found: dict[int, str] = {}
    with contextlib.suppress(OSError):
        for entry in (_PROC / str(pid) / "fd").iterdir():
            with contextlib.suppress(OSError):
                found[int(entry.name)] = os.readlink(entry)
    return found


def census(pid: int) -> ProcessCensus:
    """Count what a process holds, without the numbers that differ from one object to the next."""
    kinds: Counter[str] = Counter()
    for target in fds(pid).values():
        # socket:[123] and pipe:[456] count by kind, "/memfd:gen-7 (deleted)" without its generation.
        kinds[_NUMBER.sub("#", target) if not target.startswith("/dev/") else target] += 1
    threads = 0
    with contextlib.suppress(OSError):
        threads = len(list((_PROC / str(pid) / "task").iterdir()))
    return ProcessCensus(fds=dict(kinds), threads=threads)


def rss(pid: int) -> int:
    """Return the resident memory of a process in bytes, 0 when it has ended."""
    with contextlib.suppress(OSError):
        return int((_PROC / str(pid) / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0


def kill_run(mark: str) -> None:
    """Kill every process of a run, also those that are born while the others are killed."""
    for _ in range(20):
        living = descendants_of_run(mark)
        if not living:
            return
        for pid in living:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
