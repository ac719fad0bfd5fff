"""The benchmark behind ``make bench``: livecore beside its peers and beside what the machine allows.

Not part of the package and never shipped. The parts, from facts to the table:

    plan        how much is measured, from ``BENCH_*`` variables
    model       what was measured, as plain data; ``table`` and ``goals`` read nothing else
    contenders  livecore and its peers: which command serves which app
    sources     the apps, and how a save is made and timed
    serving     one contender as a process, from its start to its certain end
    latency, outage, steady, connections, idle, floors, state, exporting   the measures

Invariants:
    * All traffic stays on 127.0.0.1, and every wait has a limit.
    * Every process that is started carries a mark and has ended when its measure ends.
    * A peer that is missing, does not start or never shows an edit is a row that says so, never a crash.
    * Nothing here passes or fails: a benchmark reports.
"""

from __future__ import annotations
