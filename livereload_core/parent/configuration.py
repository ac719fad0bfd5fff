"""The configuration of a run, read again when its file is saved.

What can be taken over is (``core.changes``), the spare is made anew with it, and what has to wait for a
restart is named. A file that cannot be read, or says something impossible, changes nothing.
"""

from __future__ import annotations

import asyncio
import dataclasses
import os
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from livereload_core.core.changes import compare
from livereload_core.core.records import Notice, NoticeKind
from livereload_core.core.settings import Settings
from livereload_core.errors import UsageError
from livereload_core.parent.sources import digest

if TYPE_CHECKING:
    from livereload_core.parent.supervisor import Supervisor

__all__ = ["ConfigSource", "Configuration"]

SETTLE = 0.05
"""Seconds after which a file that was touched is read: a save in place may be seen half-way."""


@dataclasses.dataclass(frozen=True, slots=True)
class ConfigSource:
    """Where the settings of a run came from.

    Attributes:
        files: absolute paths, existing or not, whose change may change the settings.
        read: resolves the settings again from everywhere (flags, variables, file); raises UsageError.
        names: what people call each field of the settings.
    """

    files: tuple[str, ...]
    read: Callable[[], Settings]
    names: Mapping[str, str]


class Configuration:
    """Keeps one run to what its configuration says."""

    def __init__(self, run: Supervisor, source: ConfigSource | None) -> None:
        self._run = run
        self._source = source
        self.files = frozenset(os.path.realpath(file) for file in source.files) if source else frozenset()
        self._wanted = run.settings
        self._failed = False
        self._digests = self._look()
        self._timer: asyncio.TimerHandle | None = None

    def touched(self, files: Iterable[str]) -> None:
        """These files were saved: read the configuration again soon if it is among them."""
        if self._timer is None and not self.files.isdisjoint(files):
            self._timer = self._run.loop.call_later(SETTLE, self.read_again)

    def close(self) -> None:
        """Read no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def read_again(self) -> None:
        """Take over what the files say, if their content has changed."""
        self.close()
        found = self._look()
        if self._source is None or found == self._digests:
            return
        self._digests = found
        try:
            wanted = self._source.read()
        except UsageError as error:
            self._failed = True
            self._run.warn(f"the configuration was not taken over: {error}")
            return
        self._take(wanted, self._source.names)

    def _take(self, wanted: Settings, names: Mapping[str, str]) -> None:
        before, self._wanted = self._wanted, wanted
        change = compare(self._run.settings, before, wanted)
        failed, self._failed = self._failed, False
        # Also where no option has changed: a spare is made for one content of these files.
        try:
            self._run.configure(change)
        except UsageError as error:  # a pattern that is none
            self._failed = True
            self._run.warn(f"the configuration was not taken over: {error}")
            return
        if change.taken:
            self._tell(f"the configuration has changed: {_listed(change.taken, names)}")
        elif failed:
            self._tell("the configuration can be read again; nothing in it has changed")
        if change.waiting:
            self._tell(f"takes effect after a restart: {_listed(change.waiting, names)}")

    def _tell(self, text: str) -> None:
        self._run.emit(Notice(NoticeKind.INFO, text))

    def _look(self) -> dict[str, str | None]:
        return {file: digest(file) for file in self.files}


def _listed(fields: Iterable[str], names: Mapping[str, str]) -> str:
    return ", ".join(names.get(field, field) for field in fields)
