"""Lets instances cross while their class is edited; see ``crossing`` for how.

python -c "from editing import main; main()" dump|load FOLDER
"""

from __future__ import annotations

import functools
import importlib
import json
import pickle
import sys
import warnings
from pathlib import Path
from typing import Any

import dill
from crossing import in_child  # type: ignore[import-not-found]
from edits import EDITS, HEAD, Edit  # type: ignore[import-not-found]

CODECS = ("pickle", "dill", "ours")


def write(folder: Path) -> None:
    for phase in ("dump", "load"):
        (folder / phase).mkdir()
        for number, edit in enumerate(EDITS):
            source = edit.before if phase == "dump" else edit.after
            (folder / phase / f"edited{number}.py").write_text(HEAD + source)


def main() -> None:
    phase, name = sys.argv[1:]
    folder = Path(name)
    sys.path.insert(0, str(folder / phase))
    sys.dont_write_bytecode = True
    warnings.simplefilter("ignore")
    import attrs  # noqa: F401 - once here, and not in each fork
    import msgspec  # noqa: F401
    import pydantic  # noqa: F401

    import livereload_core.state.engine  # noqa: F401

    results: dict[str, dict[str, str]] = {}
    for number, edit in enumerate(EDITS):
        results[edit.name] = {}
        for codec in CODECS:
            file = folder / f"{number}.{codec}"
            if phase == "dump" or file.exists():
                work = functools.partial(_dump if phase == "dump" else _load, edit, number, codec, file)
                results[edit.name][codec] = in_child(work, folder / f"{number}.{codec}-why")
    (folder / f"{phase}.json").write_text(json.dumps(results))


def _engine() -> Any:
    from livereload_core.state.engine import Engine

    engine = Engine(is_user_module=lambda name: name.startswith("edited"))
    engine.activate()
    return engine


def _dump(edit: Edit, number: int, codec: str, file: Path) -> Any:
    engine = _engine()
    app = importlib.import_module(f"edited{number}")
    app.box["v"] = value = eval(edit.make, vars(app))
    dumps = {"pickle": pickle.dumps, "dill": dill.dumps, "ours": lambda value: engine.export().data}
    file.write_bytes(dumps[codec](value))
    return lambda: True


def _load(edit: Edit, number: int, codec: str, file: Path) -> Any:
    engine = _engine()
    app = importlib.import_module(f"edited{number}")
    data = file.read_bytes()
    if codec == "ours":
        engine.trial(data)
        engine.adopt(data)
        engine.settle()
        value = app.box["v"]
    else:
        value = {"pickle": pickle.loads, "dill": dill.loads}[codec](data)
    return lambda: eval(edit.check, {**vars(app), "v": value})
