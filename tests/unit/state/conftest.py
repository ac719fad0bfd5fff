"""Generations of a small program inside of the test's own process."""

from __future__ import annotations

import importlib
import sys
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from livereload_core.core.records import RootReport
from livereload_core.state import hooks
from livereload_core.state.engine import Engine
from livereload_core.state.roots import Allowed


class Program:
    """A program whose source is edited; each start is a new generation with fresh modules.

    Attributes:
        engine: that of the current generation.
        reports: what the last :meth:`reload` said.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.engine = Engine(is_user_module=self.is_user_module)
        self.reports: dict[str, RootReport] = {}

    def is_user_module(self, name: str) -> bool:
        file = getattr(sys.modules.get(name), "__file__", None)
        return file is not None and Path(file).parent == self.folder

    def write(self, **sources: str) -> None:
        for name, source in sources.items():
            (self.folder / f"{name}.py").write_text(textwrap.dedent(source), encoding="utf-8")

    def start(self, **sources: str) -> Any:
        """Begin a generation: an engine without state, the modules imported anew; returns ``app``."""
        return self.begin(sources, awaits=False)

    def begin(self, sources: dict[str, str], *, awaits: bool) -> Any:
        """The same, where state may come."""
        self.forget()
        self.write(**sources)
        self.engine = Engine(is_user_module=self.is_user_module)
        self.engine.awaits = awaits
        self.engine.activate()
        importlib.invalidate_caches()
        return importlib.import_module("app")

    def reload(self, **sources: str) -> Any:
        """Go through a whole reload into edited sources; returns the new ``app``."""
        return self._reload(sources, {})

    def reload_allowing(self, **sources: str) -> Any:
        """The same, where the old code heeds what the new one can do without."""
        old, modules = self.engine, {name: sys.modules[name] for name in self.modules()}
        self.begin(sources, awaits=True)
        allowed = self.engine.allowed()
        self.forget()
        sys.modules.update(modules)
        self.engine = old
        return self._reload(sources, allowed)

    def _reload(self, sources: dict[str, str], allowed: Mapping[str, Allowed]) -> Any:
        export = self.engine.export(allowed=allowed)
        app = self.begin(sources, awaits=True)
        self.engine.trial(export.data, export.handed.fds)
        self.engine.adopt(export.data, export.handed.fds)
        export.handed.close()
        self.settle()
        self.engine.commit()
        return app

    def settle(self) -> None:
        self.reports = {report.key: report for report in self.engine.settle()}

    def forget(self) -> None:
        self.engine.deactivate()
        hooks.clear()
        for name in self.modules():
            del sys.modules[name]

    def modules(self) -> list[str]:
        """Return the names of the modules of the program."""
        return [name for name in sys.modules if self.is_user_module(name)]


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Program]:
    monkeypatch.syspath_prepend(tmp_path)
    # Two edits in the same second and of the same size: Python would take the stale .pyc.
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    program = Program(tmp_path)
    yield program
    program.forget()
