"""Runs the program and lets each kind cross, in a process of its own that may hang, crash or exit.

    python -c "from crossing import main; main()" dump|load FOLDER

Writes ``FOLDER/<phase>.json``: kind -> codec -> how it went. A file per kind and codec carries the bytes.
"""

from __future__ import annotations

import dataclasses
import json
import os
import pickle
import signal
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cloudpickle
import dill
from keeper import put, take  # type: ignore[import-not-found]

RIGHT, WRONG, REFUSED, ABSENT = "right", "wrong", "refused", "absent"
PATIENCE = 10
"""Seconds until a child that hangs is killed: a safety net, which no kind that works comes near."""


def main() -> None:
    phase, name = sys.argv[1:]
    folder = Path(name)
    sys.path.insert(0, str(folder))
    sys.dont_write_bytecode = True
    warnings.simplefilter("ignore")
    from livereload_core.state.engine import Engine

    def is_user_module(name: str) -> bool:
        return name in ("__main__", "app", "opened", "libraries")

    engine = Engine(is_user_module=is_user_module)
    engine.activate()
    import app  # type: ignore[import-not-found]
    import libraries  # type: ignore[import-not-found]  # noqa: F401
    import opened  # type: ignore[import-not-found]  # noqa: F401

    space = vars(sys.modules["__main__"])
    space["__file__"] = str(folder / "main.py")
    exec(compile((folder / "main.py").read_text(), space["__file__"], "exec"), space)
    results: dict[str, dict[str, str]] = {}
    for number, (kind, (make, check)) in enumerate(app.KINDS.items()):
        results[kind] = {}
        for codec, (dump, load) in codecs(engine, app, str(number)).items():
            if kind in app.ABSENT:
                results[kind][codec] = ABSENT
                continue
            crossing = Crossing(folder / f"{number}.{codec}", make, check, dump, load)
            if phase == "dump" or crossing.file.exists():
                results[kind][codec] = in_child(
                    getattr(crossing, phase), crossing.file.with_suffix(f".{codec}-why")
                )
    (folder / f"{phase}.json").write_text(json.dumps(results))


@dataclasses.dataclass
class Crossing:
    """One kind through one codec."""

    file: Path
    make: Callable[[], Any]
    check: Callable[[Any], Any]
    dump_with: Callable[[Any], bytes]
    load_with: Callable[[bytes], Any]

    def dump(self) -> Callable[[], bool]:
        self.file.write_bytes(self.dump_with(self.make()))
        return lambda: True

    def load(self) -> Callable[[], Any]:
        value = self.load_with(self.file.read_bytes())
        return lambda: self.check(value)


def codecs(
    engine: Any, app: Any, number: str
) -> dict[str, tuple[Callable[[Any], bytes], Callable[[bytes], Any]]]:
    def our_dump(value: Any) -> bytes:
        app.box["value"] = value
        export = engine.export()
        put(number, export.handed.fds)
        return bytes(export.data)

    def our_load(data: bytes) -> Any:
        fds = take(number)
        engine.trial(data, fds)
        engine.adopt(data, fds)
        engine.settle()
        engine.commit()
        return app.box["value"]

    return {
        "pickle": (lambda value: pickle.dumps(value, 5), pickle.loads),
        "cloudpickle": (lambda value: bytes(cloudpickle.dumps(value)), cloudpickle.loads),
        "dill": (lambda value: bytes(dill.dumps(value)), dill.loads),
        "ours": (our_dump, our_load),
    }


def in_child(work: Callable[[], Callable[[], Any]], why: Path) -> str:
    """Do work in a fork; a refusal is an exception before there is a value to look at."""
    pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(PATIENCE)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        os._exit(_outcome(work, why))
    _, status = os.waitpid(pid, 0)
    return {0: RIGHT, 2: REFUSED}.get(os.waitstatus_to_exitcode(status), WRONG)


def _outcome(work: Callable[[], Callable[[], Any]], why: Path) -> int:
    try:
        check = work()
    except BaseException as error:
        why.write_text(str(error))
        return 2
    try:
        return 0 if check() else 1
    except BaseException:
        return 1
