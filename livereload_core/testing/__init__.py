"""What tests of a reload need: a ``livecore`` process, load on it, its processes; and a check for codecs.

Invariants:
    * Everything here waits for facts (a record, an answer, the end of a process), never for time.
    * What cannot be shown in time fails with everything that was seen so far.
    * Whatever a test starts is ended when its ``with`` block ends, however the block ends.
"""

from __future__ import annotations

from livereload_core.testing.codecs import check_codec
from livereload_core.testing.editing import EditStyle, edit, write
from livereload_core.testing.harness import LivecoreProcess
from livereload_core.testing.load import Answer, Load, ask_http, ask_line
from livereload_core.testing.ports import free_port, port_is_free
from livereload_core.testing.processes import ProcessCensus, census, descendants_of_run
from livereload_core.testing.waiting import scaled, until

__all__ = [
    "Answer",
    "EditStyle",
    "LivecoreProcess",
    "Load",
    "ProcessCensus",
    "ask_http",
    "ask_line",
    "census",
    "check_codec",
    "descendants_of_run",
    "edit",
    "free_port",
    "port_is_free",
    "scaled",
    "until",
    "write",
]
