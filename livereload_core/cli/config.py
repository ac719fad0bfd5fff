"""Where settings come from: flags over ``LIVECORE_*`` over ``[tool.livecore]`` over defaults.

Invariants:
    * Every value keeps the place where it was written, so that a refusal names what to touch.
    * Relative paths of flags and variables start at the working directory, those of the file at the file.
    * Files are read here and nowhere else in ``cli``; environment and directory are arguments.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from typing import Any

from livereload_core.cli.options import (
    ENV_PREFIX,
    OPTIONS,
    Kind,
    Option,
    Value,
    closest,
    read_text,
    read_toml,
)
from livereload_core.cli.targets import check_target, script_path
from livereload_core.core.dotenv import parse_env
from livereload_core.core.settings import LogFormat, Settings, Target, TargetKind
from livereload_core.errors import UsageError

__all__ = [
    "Given",
    "build_settings",
    "config_files",
    "from_environ",
    "from_flags",
    "project_root",
    "suspicious_variables",
]

_UNIX_PATH_LIMIT = 107  # sun_path holds 108 bytes with its final null (unix(7))


@dataclasses.dataclass(frozen=True, slots=True)
class Given:
    """A value, and who said it.

    Attributes:
        value: what was read.
        where: the flag, the variable, or the key and its file.
        base: the folder at which a relative path starts.
        rank: 0 for flags, 1 for variables, 2 for the file; the lowest wins.
    """

    value: Value
    where: str
    base: str
    rank: int


Layer = Mapping[str, Given]
"""What one place says, by the name of the option."""


def from_flags(flags: Mapping[str, str | bool | list[str] | None], cwd: str) -> Layer:
    """Read what the command line gave; ``None`` stands for a flag that was not there."""
    layer: dict[str, Given] = {}
    for option in OPTIONS:
        raw = flags.get(option.name)
        if raw is None:
            continue
        where = option.flag
        value: Value
        if isinstance(raw, bool):
            value = raw != option.inverted
        elif isinstance(raw, list):
            for item in raw:
                if not item.strip():
                    raise UsageError(f"{where} is {item!r}", advice=f"it takes a value: {option.help}")
            value = tuple(raw)
        else:
            value = read_text(option, raw, where)
        layer[option.name] = Given(value, where, cwd, 0)
    return layer


def from_environ(environ: Mapping[str, str], cwd: str) -> Layer:
    """Read ``LIVECORE_*``; an empty variable counts as absent, as is the custom."""
    return {
        option.name: Given(read_text(option, environ[option.env], option.env), option.env, cwd, 1)
        for option in OPTIONS
        if environ.get(option.env)
    }


def suspicious_variables(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Return one sentence for each ``LIVECORE_*`` that looks like a misspelt option.

    They are only warned about: variables under this prefix may be meant for other eyes.
    """
    known = [option.env for option in OPTIONS]
    sentences = []
    for name in sorted(environ):
        if name.startswith(ENV_PREFIX) and name not in known:
            # Nearer than usual: a faint resemblance is not worth a line in every run.
            like = closest(
                name.removeprefix(ENV_PREFIX), [env.removeprefix(ENV_PREFIX) for env in known], cutoff=0.75
            )
            if like:
                sentences.append(f"variable {name} is unknown and ignored; did you mean {ENV_PREFIX}{like}?")
    return tuple(sentences)


def _from_file(start: str, fallback: str) -> Layer:
    """Read ``[tool.livecore]`` of the nearest pyproject.toml above ``start``, else above ``fallback``."""
    path = _above(start, ("pyproject.toml",)) or _above(fallback, ("pyproject.toml",))
    if not path:
        return {}
    file = os.path.join(path, "pyproject.toml")
    table = _livecore_table(file)
    names = {option.name: option for option in OPTIONS}
    layer: dict[str, Given] = {}
    for key, value in table.items():
        option = names.get(key)
        if option is None:
            like = closest(key.replace("_", "-"), names)
            advice = f"did you mean {like!r}?" if like else "remove it; `livecore run --help` lists the keys"
            raise UsageError(f"unknown key {key!r} in [tool.livecore] of {file}", advice=advice)
        where = f"key {key!r} in [tool.livecore] of {file}"
        layer[key] = Given(read_toml(option, value, where), where, path, 2)
    return layer


def config_files(settings: Settings) -> tuple[str, ...]:
    """Return the files, existing or not, whose change may change what ``[tool.livecore]`` says."""
    target, cwd = settings.target, settings.cwd
    usual = os.path.dirname(script_path(target, cwd)) if target.kind is TargetKind.SCRIPT else cwd
    folders = [settings.app_dir, usual, cwd, settings.root]
    folders += [found for folder in folders if (found := _above(folder, ("pyproject.toml",)))]
    return tuple(os.path.join(folder, "pyproject.toml") for folder in dict.fromkeys(folders))


def _livecore_table(file: str) -> dict[str, Any]:
    import tomllib  # most runs have no file to read, and --help should be quick

    try:
        with open(file, "rb") as stream:
            data = tomllib.load(stream)
    except OSError as error:
        raise UsageError(
            f"{file} cannot be read: {error.strerror}", advice="check its permissions"
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{file} is not valid TOML: {error}", advice="correct it there") from error
    tool = data.get("tool", {})
    table = tool.get("livecore", {}) if isinstance(tool, dict) else {}
    if not isinstance(table, dict):
        raise UsageError(
            f"key 'livecore' in [tool] of {file} is {table!r}", advice="make it a table: [tool.livecore]"
        )
    return table


def _above(folder: str, marks: tuple[str, ...]) -> str:
    """Return the nearest folder from ``folder`` upwards that holds one of ``marks``, or ``""``."""
    while True:
        if any(os.path.exists(os.path.join(folder, mark)) for mark in marks):
            return folder
        parent = os.path.dirname(folder)
        if parent == folder:
            return ""
        folder = parent


def project_root(folder: str) -> str:
    """Return the nearest folder upwards with pyproject.toml, .git or setup.py, else ``folder`` itself."""
    return _above(folder, ("pyproject.toml", ".git", "setup.py")) or folder


# --- putting it together ---------------------------------------------------------------------------


def build_settings(target: Target, flags: Layer, environ: Layer, *, cwd: str, tty: bool) -> Settings:
    """Merge all places into the settings of one run, and refuse what cannot work.

    Args:
        target: what to run, as :func:`~livereload_core.cli.targets.parse_target` read it.
        flags: what the command line said.
        environ: what the environment said.
        cwd: the working directory, absolute.
        tty: whether records go to a terminal.

    Raises:
        UsageError: a file or folder is missing, values exclude each other, the target stands for nothing.
    """
    script = target.kind is TargetKind.SCRIPT
    usual = os.path.dirname(script_path(target, cwd)) if script else cwd
    early = {**environ, **flags}
    start = _folder(early["app-dir"]) if "app-dir" in early else usual
    given = {**_from_file(start, cwd), **early}
    app_dir = _folder(given["app-dir"]) if "app-dir" in given else usual
    values: dict[str, Any] = {}
    for option in OPTIONS:
        if option.name in given and option.name != "app-dir":
            values[option.field] = _resolve(option, given[option.name])
    _choose_address(values, given)
    env = _read_env_file(given["env-file"]) if "env-file" in given else ()
    search = [
        entry for key, value in env if key == "PYTHONPATH" for entry in value.split(os.pathsep) if entry
    ]
    check_target(target, cwd=cwd, app_dir=app_dir, extra_path=search)
    values.setdefault("log_format", LogFormat.PRETTY if tty else LogFormat.PLAIN)
    return Settings(target=target, cwd=cwd, root=project_root(app_dir), app_dir=app_dir, env=env, **values)


def _resolve(option: Option, given: Given) -> Value | LogFormat:
    if option.kind is Kind.FOLDERS:
        assert isinstance(given.value, tuple)
        return tuple(_folder(dataclasses.replace(given, value=item)) for item in given.value)
    if option.kind is Kind.MODULES:
        return _modules(given, alone=option.alone)
    if option.kind in (Kind.FILE, Kind.SOCKET):
        return _path(given)
    return LogFormat(given.value) if option.kind is Kind.CHOICE else given.value


def _modules(given: Given, *, alone: tuple[str, ...]) -> tuple[str, ...]:
    """Refuse what can be no module: importing it ahead would fail, of which nobody hears."""
    assert isinstance(given.value, tuple)
    for name in given.value:
        if not all(part.isidentifier() for part in name.split(".")):
            raise UsageError(
                f"{given.where}: {name!r} is no name of a module",
                advice="name one at a time" if "," in name or " " in name else "write it as an import would",
            )
    for word in alone:
        if word in given.value and len(given.value) > 1:
            raise UsageError(
                f"{given.where}: {word!r} and names of modules exclude each other", advice="leave out one"
            )
    return given.value


def _path(given: Given) -> str:
    return os.path.normpath(os.path.join(given.base, os.path.expanduser(str(given.value))))


def _folder(given: Given) -> str:
    path = _path(given)
    if os.path.isdir(path):
        return path
    parent = os.path.dirname(path)
    what = "is a file" if os.path.exists(path) else "does not exist"
    siblings = [entry.name for entry in os.scandir(parent) if entry.is_dir()] if os.path.isdir(parent) else []
    like = closest(os.path.basename(path), siblings)
    advice = f"did you mean {os.path.join(parent, like)}?" if like else "create it or name another folder"
    raise UsageError(f"{given.where}: {path!r} {what}", advice=advice)


def _choose_address(values: dict[str, Any], given: Layer) -> None:
    """Let a Unix socket and host or port exclude each other: the higher place wins, a tie is refused."""
    names = [name for name in ("host", "port") if name in given]
    values["port_given"] = bool(names) or "uds" in given
    if "uds" not in given:
        return
    rival = min((given[name] for name in names), key=lambda one: one.rank, default=None)
    if rival is not None and rival.rank == given["uds"].rank:
        raise UsageError(
            f"{given['uds'].where} and {rival.where} exclude each other",
            advice="serve on a Unix socket or on an address",
        )
    if rival is not None and rival.rank < given["uds"].rank:
        del values["uds"]
        return
    for name in names:
        del values[name]
    _check_socket(given["uds"].where, values["uds"])


def _check_socket(where: str, path: str) -> None:
    if len(os.fsencode(path)) > _UNIX_PATH_LIMIT:
        raise UsageError(
            f"{where}: the path {path!r} is too long for a Unix socket",
            advice=f"use one of at most {_UNIX_PATH_LIMIT} bytes",
        )
    if not os.path.isdir(os.path.dirname(path)):
        raise UsageError(
            f"{where}: the folder {os.path.dirname(path)!r} does not exist",
            advice="create it or name another path",
        )


def _read_env_file(given: Given) -> tuple[tuple[str, str], ...]:
    path = _path(given)
    try:
        with open(path, encoding="utf-8") as stream:
            text = stream.read()
    except OSError as error:
        reason = (
            "does not exist" if isinstance(error, FileNotFoundError) else f"cannot be read: {error.strerror}"
        )
        raise UsageError(
            f"{given.where}: {path!r} {reason}", advice="create it or name another file"
        ) from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{given.where}: {path!r} is not UTF-8", advice="save it as UTF-8") from error
    return parse_env(text, path)
