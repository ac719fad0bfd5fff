"""What makes a spare worth having: the modules it imports ahead, and the world it was made for.

The list of modules is learned from what serves, and kept in the user's cache folder, so that the first edit
of the next run is warm too. A spare is made for one state of the installation: when an installed
distribution, a lock file, the interpreter or the environment file has changed since, it is thrown away.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path

from livereload_core.core import preload
from livereload_core.core.dotenv import parse_env
from livereload_core.core.settings import Settings
from livereload_core.errors import UsageError
from livereload_core.parent.plugins import registered, search_path
from livereload_core.posix.private import project_folder, write_private

__all__ = ["LOCK_FILES", "Warmth", "environment"]

LOCK_FILES = (
    "uv.lock",
    "poetry.lock",
    "pdm.lock",
    "Pipfile.lock",
    "pylock.toml",
    "requirements.txt",
)
"""Files of a project whose change means that the installation is about to change."""


_MOST_SPOILING = 3
"""Modules of a package that pull the user's code in, from which on the package counts as one that does."""


class Warmth:
    """The modules of one project, and the fingerprint of its installation.

    Attributes:
        environ: variables that the user's code changes, when the modules have been imported.
    """

    def __init__(self, settings: Settings) -> None:
        self._path = os.path.join(project_folder(settings.root), "modules.json")
        self.environ: tuple[str, ...] = ()
        self._learned: tuple[str, ...] = self._read()
        self._spoiling: set[str] = set()
        self._plugins: tuple[object, tuple[tuple[str, ...], tuple[str, ...]]] = (None, ((), ()))
        self.configure(settings)

    def configure(self, settings: Settings) -> None:
        """Go by other settings of the same project from now on."""
        self._settings = settings
        self._places = [
            *_installations(),
            os.path.join(sys.prefix, "pyvenv.cfg"),
            sys.executable,
            os.path.join(settings.root, "pyproject.toml"),
            # what a library may read by itself while it is imported
            *(os.path.join(folder, ".env") for folder in dict.fromkeys((settings.cwd, settings.root))),
            *self.files,
        ]

    @property
    def files(self) -> tuple[str, ...]:
        """Files of the project whose change calls for a new interpreter."""
        locks = [os.path.join(self._settings.root, name) for name in LOCK_FILES]
        return (*locks, self._settings.env_file) if self._settings.env_file else tuple(locks)

    def modules(self) -> tuple[tuple[str, ...], str]:
        """What to import ahead now, and why nothing if nothing."""
        excluded = (*self._settings.preload_exclude, *sorted(self._spoiling))
        return preload.choose(self._learned, self._settings.preload, excluded)

    def plugins(self, env: Mapping[str, str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The entry points of a child with this environment: its kinds of target, and its codecs."""
        world = (self.fingerprint(), env.get("PYTHONPATH"))
        if self._plugins[0] != world:
            self._plugins = (world, registered(search_path(env)))
        return self._plugins[1]

    def learn(self, names: tuple[str, ...], environ: tuple[str, ...] = ()) -> bool:
        """Take the list of the serving generation over; returns whether it says anything new.

        Args:
            names: the modules.
            environ: variables that the user's code changes, behind the import of these.
        """
        if (names, environ) == (self._learned, self.environ):
            return False
        self._learned, self.environ = names, environ
        self._write()
        return True

    def forget(self) -> None:
        """What was learned is not right any more: nothing is imported ahead until it is learned anew."""
        self._learned, self.environ = (), ()

    def exclude(self, name: str) -> None:
        """Importing ``name`` ahead pulled the user's code in: leave it to the program.

        When it was so for some modules of a package, the whole package is left to it: each costs a spare.
        """
        self._spoiling.add(name)
        package = name.partition(".")[0]
        if sum(other.partition(".")[0] == package for other in self._spoiling) >= _MOST_SPOILING:
            self._spoiling.add(package)

    def fingerprint(self) -> tuple[tuple[str, int], ...]:
        """What a spare depends on, as modification times; equal before and after means that it is good."""
        found = []
        for place in self._places:
            try:
                found.append((place, os.stat(place).st_mtime_ns))
            except OSError:
                found.append((place, 0))
        return tuple(found)

    def _read(self) -> tuple[str, ...]:
        # A cache: whatever is wrong with it (missing, foreign, damaged) means that it is cold.
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
            if os.stat(self._path).st_uid != os.getuid():
                return ()
            data = json.loads(Path(self._path).read_text(encoding="utf-8"))
            if data["python"] == sys.version and data["prefix"] == sys.prefix:
                self.environ = tuple(str(name) for name in data["environ"])
                return tuple(str(name) for name in data["modules"])
        return ()

    def _write(self) -> None:
        data = {"python": sys.version, "prefix": sys.prefix, "modules": list(self._learned)}
        data["environ"] = list(self.environ)
        with contextlib.suppress(OSError):  # a read-only home: the next run starts cold, nothing else
            write_private(self._path, [json.dumps(data).encode()])


def _installations() -> list[str]:
    """Folders whose modification time says that a distribution has come, gone or changed its version."""
    known = [sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]
    names = ("site-packages", "dist-packages")
    return list(dict.fromkeys([*known, *(path for path in sys.path if os.path.basename(path) in names)]))


def environment(settings: Settings, base: Mapping[str, str]) -> dict[str, str]:
    """The variables of a child: ``--env-file`` as it is now below the environment of the run.

    Raises:
        UsageError: the file cannot be read any more.
    """
    found = dict(settings.env)
    if settings.env_file:
        try:
            text = Path(settings.env_file).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(
                f"{settings.env_file} cannot be read ({error})", advice="restore the file"
            ) from error
        found = dict(parse_env(text, settings.env_file))
    return {**found, **base}
