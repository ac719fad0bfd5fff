"""Facts about the machine and what is installed: numbers mean little without them."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Sequence
from pathlib import Path

from bench.contenders import Contender

__all__ = ["facts", "load"]


def facts(contenders: Sequence[Contender]) -> dict[str, str]:
    """Return what is printed above the tables."""
    versions = {contender.distribution: contender.version() or "not installed" for contender in contenders}
    return {
        "processor": _processor(),
        "cores": str(len(os.sched_getaffinity(0))),
        "system": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "versions": ", ".join(f"{name} {version}" for name, version in versions.items()),
        "load before": load(),
    }


def load() -> str:
    """Return the load averages in words."""
    one, five, fifteen = os.getloadavg()
    return f"{one:.2f} {five:.2f} {fifteen:.2f} (1, 5 and 15 minutes)"


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        text = ""
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return found[1] if found else platform.machine()
