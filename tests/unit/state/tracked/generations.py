"""Generations of one tracked container inside of the test's own process."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Mapping
from typing import Any

from livereload_core.state.engine import Engine, Export
from livereload_core.state.store import BehindError
from livereload_core.state.tracked.containers import TrackedDict

__all__ = ["Generations"]

_PATIENCE = 3

_collect = gc.collect  # tests may take it away from the code that they test


class Generations:
    """One container over its generations.

    Args:
        factory: makes it.
        **options: of its declaration.

    Attributes:
        engine: that of the generation that serves.
        kept: its container.
    """

    def __init__(self, factory: Callable[[], Any] = TrackedDict, **options: Any) -> None:
        self.factory = factory
        self.options: Mapping[str, Any] = options
        self.engine = self._new_engine()
        self.kept = self._declared(self.engine)

    def _new_engine(self) -> Engine:
        engine = Engine(is_user_module=lambda name: name.startswith("tests."))
        engine.activate()
        return engine

    def _declared(self, engine: Engine) -> Any:
        return engine.declare_value("kept", self.factory, self.options, sys._getframe())

    def catch_up(self) -> None:
        """Do what is done in the background."""
        self.engine.catch_up(hurry=True)

    def export(self) -> Export:
        """Export as before a reload: after catching up."""
        for _ in range(_PATIENCE):
            try:
                return self.engine.export(patient=True)
            except BehindError:
                self.catch_up()
        return self.engine.export()

    def copy(self) -> Any:
        """Export, and return what another generation would have; this one goes on."""
        export = self.engine.export()
        engine = self._new_engine()
        made = self._declared(engine)
        engine.adopt(export.data, export.handed.fds)
        export.close()
        engine.deactivate()
        self.engine.activate()
        return made

    def reload(
        self,
        between: Callable[[], None] = lambda: None,
        *,
        late: bool = False,
        tried: bool = True,
        patient: bool = True,
    ) -> Any:
        """Go through a reload; returns the new container.

        Args:
            between: what the program does between the trial and the decisive export.
            late: the new code declares it in its start-up, after the state has come.
            patient: whether parts are written ahead.
            tried: whether there is a trial; there is none after a death.
        """
        first = self.export() if patient else self.engine.export()
        engine = self._new_engine()
        made = None if late else self._declared(engine)
        if tried:
            engine.trial(first.data, first.handed.fds)
        first.close()
        between()
        decisive = self.engine.export()
        engine.adopt(decisive.data, decisive.handed.fds)
        decisive.close()
        if made is None:
            made = self._declared(engine)
        engine.settle()
        engine.commit()
        self.engine.deactivate()
        engine.activate()
        self.engine = engine
        self.kept = engine._roots[next(key for key in engine._roots)].value
        assert self.kept is made
        return made

    def close(self) -> None:
        """End the last one."""
        self.engine.deactivate()
        gc.unfreeze()  # a process has one generation; in this one those before are garbage by now
        _collect()
