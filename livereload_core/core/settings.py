"""What one run was asked to do: target and settings, as plain data, already checked.

Who fills them (command line, ``LIVECORE_*``, ``[tool.livecore]``) lives in ``cli``; the parent and
the child only read them. They cross to the child as JSON.
"""

from __future__ import annotations

import dataclasses
import enum
from typing import Any

__all__ = ["LogFormat", "Settings", "Target", "TargetKind"]


class TargetKind(enum.Enum):
    """How the target was written."""

    ATTRIBUTE = "attribute"  # pkg.mod:attr
    MODULE = "module"  # pkg.mod, an attribute is looked for
    SCRIPT = "script"  # path/script.py
    PACKAGE = "package"  # -m pkg.mod


@dataclasses.dataclass(frozen=True, slots=True)
class Target:
    """What to run.

    Attributes:
        kind: how it was written.
        name: the module (``pkg.mod``), or for a script its path as written.
        attribute: the dotted path behind ``:``, or ``""``.
        args: what the program sees as ``sys.argv[1:]``.
    """

    kind: TargetKind
    name: str
    attribute: str = ""
    args: tuple[str, ...] = ()

    def __str__(self) -> str:
        if self.kind is TargetKind.PACKAGE:
            return f"-m {self.name}"
        return f"{self.name}:{self.attribute}" if self.attribute else self.name


class LogFormat(enum.Enum):
    """How records are written."""

    PRETTY = "pretty"
    PLAIN = "plain"
    JSON = "json"


@dataclasses.dataclass(frozen=True, slots=True)
class Settings:
    """One run, fully resolved. Paths are absolute; times are seconds.

    Attributes:
        target: what to run.
        cwd: the working directory of the run.
        root: the project root (the nearest parent of ``app_dir`` with pyproject.toml, .git or setup.py, else
            ``app_dir`` itself).
        app_dir: the folder that comes first on ``sys.path`` for modules.
        host: address for targets that are served for the user; ``127.0.0.1`` by default.
        port: its port; 8000 by default, 0 picks one and keeps it.
        port_given: whether host, port or uds were asked for explicitly.
        uds: path of a Unix socket to serve on instead, or ``""``.
        factory: the attribute is called and returns the app.
        env: variables of ``--env-file``, as pairs; they do not override the environment.
        env_file: its path, or ``""``.
        reload: whether files are watched.
        reload_dirs: folders watched besides ``root``'s usual ones; when given, instead of ``root``.
        reload_include: patterns (gitignore syntax, relative to the watched folder) of files that reload
            although they are no modules.
        reload_exclude: patterns that never reload.
        log_format: how records are written.
        timeout_prepare: the longest import of new code before it is turned down.
        timeout_start: the longest start-up (lifespan, ``main()`` up to listening) inside the pause.
        timeout_hook: the longest run of one hook.
        timeout_quiesce: how long requests in flight may finish before the switch leaves them to drain.
        timeout_graceful: how long the old generation may drain after the switch.
        probation: how long the old generation stays frozen after the switch unless a good answer comes first.
        checkpoint: the shortest time between two background snapshots for crashes; 0.0 turns them off.
        resume: whether the first generation starts with the state that an earlier run has saved.
        save: whether the state is saved for the time after this run.
        keep_generations: of how many earlier generations the last state is kept.
        keys: whether keys are read from the terminal.
        spare: whether the next interpreter is kept warm.
        preload: what it imports ahead: ``("auto",)``, ``("off",)`` or names of modules.
        preload_exclude: modules and packages that it leaves to the program.
    """

    target: Target
    cwd: str
    root: str
    app_dir: str
    host: str = "127.0.0.1"
    port: int = 8000
    port_given: bool = False
    uds: str = ""
    factory: bool = False
    env: tuple[tuple[str, str], ...] = ()
    env_file: str = ""
    reload: bool = True
    reload_dirs: tuple[str, ...] = ()
    reload_include: tuple[str, ...] = ()
    reload_exclude: tuple[str, ...] = ()
    log_format: LogFormat = LogFormat.PRETTY
    timeout_prepare: float = 30.0
    timeout_start: float = 10.0
    timeout_hook: float = 5.0
    timeout_quiesce: float = 0.1
    timeout_graceful: float = 5.0
    probation: float = 2.0
    checkpoint: float = 0.25
    resume: bool = False
    save: bool = True
    keep_generations: int = 5
    keys: bool = True
    spare: bool = True
    preload: tuple[str, ...] = ("auto",)
    preload_exclude: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return a dict of JSON types from which :meth:`from_json` restores an equal object."""
        data = dataclasses.asdict(self)
        data["target"] = {**dataclasses.asdict(self.target), "kind": self.target.kind.value}
        data["log_format"] = self.log_format.value
        return data

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Settings:
        """Restore what :meth:`to_json` wrote."""
        fields = dict(data)
        target = dict(fields.pop("target"))
        fields["target"] = Target(
            kind=TargetKind(target["kind"]),
            name=target["name"],
            attribute=target["attribute"],
            args=tuple(target["args"]),
        )
        fields["log_format"] = LogFormat(fields["log_format"])
        fields["env"] = tuple((str(k), str(v)) for k, v in fields["env"])
        for name in ("reload_dirs", "reload_include", "reload_exclude", "preload", "preload_exclude"):
            fields[name] = tuple(fields[name])
        return cls(**fields)
