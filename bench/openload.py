"""A program: steady load on a port from a process of its own, with what came of it as JSON on stdout.

``python -m bench.openload PORT [SECONDS]``; without SECONDS until stdin ends. In a process of its own, so
that edits and measurements do not hold up its clients.
"""

from __future__ import annotations

import json
import sys
import time
from collections import Counter

from livereload_core.testing import Load

__all__ = ["RATE", "TIMEOUT", "main"]

RATE = 200.0
"""Requests per second, each on a connection of its own."""

TIMEOUT = 2.0
"""Seconds after which a request has failed: who waits longer in front of a browser has given up."""


def main(port: int, seconds: float | None) -> None:
    """Load the port and print ``{"good", "failed", "kinds", "latencies", "began"}``.

    Latencies are seconds, and each request began at a moment of ``time.monotonic``.
    """
    with Load(port, rate=RATE, timeout=TIMEOUT) as load:
        # The starter counts its edits from this line on.
        print("started", flush=True)
        if seconds is None:
            sys.stdin.read()
        else:
            time.sleep(seconds)
    kinds = Counter(failed.kind for failed in load.failures)
    print(
        json.dumps(
            {
                "good": load.answers,
                "failed": len(load.failures),
                "kinds": dict(kinds),
                "latencies": load.latencies,
                "began": load.began,
            }
        )
    )


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]) if len(sys.argv) > 2 else None)
