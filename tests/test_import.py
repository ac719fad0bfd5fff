"""What ``from livereload_core import preserve`` costs a program, and what the parent never loads."""

from __future__ import annotations

import json
import os
import subprocess
import sys

MEASURE = """
import json, sys, time
before = set(sys.modules)
began = time.perf_counter()
from livereload_core import preserve
took = time.perf_counter() - began
print(json.dumps({"took": took, "loaded": sorted(set(sys.modules) - before)}))
"""


def _python(source: str) -> str:
    # Where nothing may be cached, each interpreter would compile anew: no program's usual case.
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(
        [sys.executable, "-c", source], capture_output=True, text=True, timeout=30, check=True, env=env
    )
    return done.stdout


def test_import_of_preserve_loads_the_standard_library_only() -> None:
    loaded = json.loads(_python(MEASURE))["loaded"]
    foreign = {name.partition(".")[0] for name in loaded} - sys.stdlib_module_names - {"livereload_core"}
    assert not foreign
    assert not {"asyncio", "dill", "dataclasses", "logging"} & set(loaded)


def test_import_of_preserve_takes_less_than_ten_milliseconds() -> None:
    # The least of several: whatever else the machine does only ever adds.
    assert min(json.loads(_python(MEASURE))["took"] for _ in range(7)) < 0.010


def test_parent_loads_neither_dill_nor_the_state_engine() -> None:
    source = "import livereload_core.parent.supervisor, sys; print(*sys.modules)"
    loaded = _python(source).split()
    assert not [name for name in loaded if name == "dill" or name.startswith("livereload_core.state")]
