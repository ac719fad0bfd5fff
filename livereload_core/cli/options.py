"""The one table of options: flags, environment variables, pyproject keys and the reference come from it.

Invariants:
    * An option is written once, in :data:`OPTIONS`; nothing else knows a flag, a variable or a key.
    * Its default is the default of its field in :class:`~livereload_core.core.settings.Settings`.
    * A value means the same, and fails with the same sentence, wherever it was written; ``where``
      in every message is the flag, the variable, or the file and key that the user has to touch.
    * Nothing here touches the file system: whether a folder exists is decided in ``config``.
"""

from __future__ import annotations

import dataclasses
import enum
import math
from collections.abc import Iterable, Mapping

from livereload_core.core.preload import AUTO, OFF
from livereload_core.core.settings import LogFormat, Settings
from livereload_core.errors import UsageError

__all__ = [
    "COMMANDS",
    "ENV_PREFIX",
    "EXIT_CODES",
    "OPTIONS",
    "Kind",
    "Option",
    "Value",
    "closest",
    "read_text",
    "read_toml",
    "render_reference",
]

ENV_PREFIX = "LIVECORE_"

Value = str | int | float | bool | tuple[str, ...]
"""What an option can hold once it was read."""


class Kind(enum.Enum):
    """How an option is read, and how the reference names what it takes."""

    TEXT = "TEXT"
    HOST = "HOST"
    PORT = "PORT"
    SECONDS = "SECONDS"  # more than zero
    SECONDS_OR_ZERO = "SECONDS, 0 for none"
    COUNT = "NUMBER, 0 for none"
    FOLDER = "FOLDER"
    FILE = "FILE"
    SOCKET = "PATH"
    FOLDERS = "FOLDER ..."
    PATTERNS = "PATTERN ..."
    MODULES = "MODULE ..."
    CHOICE = "NAME"
    SWITCH = ""

    @property
    def is_list(self) -> bool:
        """Whether the flag may be repeated and the key holds an array."""
        return self in (Kind.FOLDERS, Kind.PATTERNS, Kind.MODULES)

    @property
    def metavar(self) -> str:
        """The word behind the flag in ``--help``."""
        return self.value.split()[0].rstrip(",") if self.value else ""


@dataclasses.dataclass(frozen=True, slots=True)
class Option:
    """One option, in all the places where it can be written.

    Attributes:
        name: as in ``--name``; also the key in ``[tool.livecore]``.
        field: the field of ``Settings`` that it fills.
        kind: how it is read.
        help: one phrase for ``--help`` and the reference.
        group: the heading under which it is listed.
        inverted: a ``no-`` switch: switched on, it makes the field false.
        choices: the words that it takes, for ``Kind.CHOICE``.
        shown_default: what stands for the default where the bare value says little.
        antonym: what a switch's opposite is called, where ``no-`` does not say it.
        alone: words that stand for a whole list; in the file they may stand as a string.
    """

    name: str
    field: str
    kind: Kind
    help: str
    group: str
    inverted: bool = False
    choices: tuple[str, ...] = ()
    shown_default: str = ""
    antonym: str = ""
    alone: tuple[str, ...] = ()

    @property
    def flag(self) -> str:
        """The flag on the command line."""
        return f"--{self.name}"

    @property
    def opposite(self) -> str:
        """The flag that takes a switch of the environment or the file back, or ``""``."""
        if self.kind is not Kind.SWITCH:
            return ""
        if self.antonym:
            return f"--{self.antonym}"
        return f"--{self.name.removeprefix('no-')}" if self.inverted else f"--no-{self.name}"

    @property
    def env(self) -> str:
        """The environment variable."""
        return ENV_PREFIX + self.name.replace("-", "_").upper()

    @property
    def default(self) -> str:
        """The default, as people read it; ``none`` where there is none."""
        if self.shown_default:
            return self.shown_default
        value = _DEFAULTS[self.field]
        if isinstance(value, bool):
            return "on" if value != self.inverted else "off"
        if isinstance(value, tuple):
            return ", ".join(value) or "none"
        return f"{value:g}" if isinstance(value, float) else str(value) or "none"


_DEFAULTS: Mapping[str, object] = {
    field.name: field.default
    for field in dataclasses.fields(Settings)
    if field.default is not dataclasses.MISSING
}

_SERVE, _CODE, _WATCH, _STATE = "serving", "code", "watching", "state"
_TIMES, _FACE = "times, in seconds", "terminal"

OPTIONS: tuple[Option, ...] = (
    Option("host", "host", Kind.HOST, "address to serve on", _SERVE),
    Option("port", "port", Kind.PORT, "port to serve on; 0 picks a free one and keeps it", _SERVE),
    Option("uds", "uds", Kind.SOCKET, "serve on this Unix socket instead", _SERVE),
    Option(
        "app-dir",
        "app_dir",
        Kind.FOLDER,
        "folder that comes first on sys.path",
        _CODE,
        shown_default="the working directory; for a script, its folder",
    ),
    Option("factory", "factory", Kind.SWITCH, "call the attribute: it returns the app", _CODE),
    Option(
        "env-file",
        "env_file",
        Kind.FILE,
        "KEY=VALUE lines for the program's environment; what is already set there wins",
        _CODE,
    ),
    Option(
        "reload-dir",
        "reload_dirs",
        Kind.FOLDERS,
        "watch this folder instead of the project's root",
        _WATCH,
        shown_default="the project's root",
    ),
    Option(
        "reload-include",
        "reload_include",
        Kind.PATTERNS,
        "files that reload although they are no modules, as in .gitignore",
        _WATCH,
    ),
    Option("reload-exclude", "reload_exclude", Kind.PATTERNS, "files that never reload", _WATCH),
    Option("no-reload", "reload", Kind.SWITCH, "do not watch files", _WATCH, inverted=True),
    Option("no-spare", "spare", Kind.SWITCH, "keep no warm interpreter in reserve", _WATCH, inverted=True),
    Option(
        "preload",
        "preload",
        Kind.MODULES,
        "what the warm interpreter imports ahead: auto, off, or names of modules",
        _WATCH,
        shown_default="auto",
        alone=(AUTO, OFF),
    ),
    Option(
        "preload-exclude",
        "preload_exclude",
        Kind.MODULES,
        "modules and packages that the program shall import itself",
        _WATCH,
    ),
    Option(
        "resume",
        "resume",
        Kind.SWITCH,
        "start with the state that the last run of this target has saved; --fresh starts without",
        _STATE,
        antonym="fresh",
    ),
    Option("no-save", "save", Kind.SWITCH, "do not save the state on disk", _STATE, inverted=True),
    Option(
        "keep-generations",
        "keep_generations",
        Kind.COUNT,
        "of how many earlier generations the last state is kept, for rollback",
        _STATE,
    ),
    Option("timeout-prepare", "timeout_prepare", Kind.SECONDS, "longest import of new code", _TIMES),
    Option(
        "timeout-start", "timeout_start", Kind.SECONDS, "longest start-up of new code at the switch", _TIMES
    ),
    Option("timeout-hook", "timeout_hook", Kind.SECONDS, "longest run of one hook", _TIMES),
    Option(
        "timeout-quiesce",
        "timeout_quiesce",
        Kind.SECONDS_OR_ZERO,
        "how long requests in flight may finish before the switch goes on without them",
        _TIMES,
    ),
    Option(
        "timeout-graceful-shutdown",
        "timeout_graceful",
        Kind.SECONDS_OR_ZERO,
        "how long the old code may finish its requests after the switch",
        _TIMES,
    ),
    Option(
        "probation",
        "probation",
        Kind.SECONDS_OR_ZERO,
        "how long the old code stands by after the switch unless a good answer comes first",
        _TIMES,
    ),
    Option(
        "checkpoint",
        "checkpoint",
        Kind.SECONDS_OR_ZERO,
        "shortest time between two background snapshots for crashes; 0 turns them off",
        _TIMES,
    ),
    Option(
        "log-format",
        "log_format",
        Kind.CHOICE,
        "how reloads are reported",
        _FACE,
        choices=tuple(item.value for item in LogFormat),
        shown_default="pretty on a terminal, else plain",
    ),
    Option("no-keys", "keys", Kind.SWITCH, "do not read keys from the terminal", _FACE, inverted=True),
)

COMMANDS: Mapping[str, str] = {
    "run": "run TARGET and put every edit live",
    "status": "tell what the run of this project is doing",
    "reload": "reload now, as if a file had been saved",
    "stop": "stop the run of this project",
    "state": "list, show, compare, export and restore the preserved state",
    "reset": "start the preserved state, or objects of it, anew",
    "rollback": "go back to an earlier state, in today's code",
}

EXIT_CODES: Mapping[int, str] = {
    0: "quit",
    1: "`livecore reload`, `reset`, `rollback`, `state restore`: it was not taken; the old code serves on",
    2: "usage: a wrong option, target or setting, or no run to talk to",
    3: "the first start failed and files are not watched (--no-reload)",
    4: "the port is busy",
    130: "Ctrl-C",
}


# --- reading one value -----------------------------------------------------------------------------


def read_text(option: Option, text: str, where: str) -> Value:
    """Read a value that was written as text: on the command line or in the environment.

    Args:
        option: what it is for.
        text: one value; for a list, items separated by commas or newlines.
        where: the flag or variable, for the message.

    Raises:
        UsageError: the text does not fit the option.
    """
    if option.kind.is_list:
        items = (item.strip() for item in text.replace("\n", ",").split(","))
        return tuple(item for item in items if item)
    if option.kind is Kind.SWITCH:
        return _switch(text, where) != option.inverted
    if option.kind is Kind.PORT:
        return _port(text, where)
    if option.kind is Kind.COUNT:
        return _count(text, where)
    if option.kind in (Kind.SECONDS, Kind.SECONDS_OR_ZERO):
        return _seconds(option, text, where)
    return _word(option, text, where)


def read_toml(option: Option, value: object, where: str) -> Value:
    """Read a value of ``[tool.livecore]``, which must have the type of the option.

    Raises:
        UsageError: type or value do not fit the option.
    """
    if option.kind.is_list:
        if isinstance(value, str) and value in option.alone:
            return (value,)
        if not isinstance(value, list) or not all(isinstance(item, str) and item for item in value):
            words = "".join(f'"{word}", ' for word in option.alone)
            raise _wrong(where, value, f'{words and f"{words}or "}a list of strings such as ["a", "b"]')
        return tuple(value)
    if option.kind is Kind.SWITCH:
        if not isinstance(value, bool):
            raise _wrong(where, value, "true or false")
        return value != option.inverted
    # bool is an int to Python, and `port = true` is a slip that must not mean port 1.
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if option.kind is Kind.PORT:
        if not isinstance(value, int) or not number:
            raise _wrong(where, value, "a whole number such as 8000")
        return _port(str(value), where)
    if option.kind is Kind.COUNT:
        return _count(str(value) if number else "", where)
    if option.kind in (Kind.SECONDS, Kind.SECONDS_OR_ZERO):
        if not number:
            raise _wrong(where, value, "a number of seconds such as 2.5")
        return _seconds(option, str(value), where)
    if not isinstance(value, str):
        raise _wrong(where, value, "a string")
    return _word(option, value, where)


def _wrong(where: str, value: object, wanted: str) -> UsageError:
    return UsageError(f"{where} is {value!r}", advice=f"it takes {wanted}")


def _switch(text: str, where: str) -> bool:
    word = text.strip().lower()
    if word in ("1", "true", "yes", "on"):
        return True
    if word in ("0", "false", "no", "off"):
        return False
    raise _wrong(where, text, "1 or 0")


def _port(text: str, where: str) -> int:
    # isdecimal alone would let through digits of other scripts, which int() reads and nobody means.
    if not (text.isascii() and text.isdecimal()) or len(text) > 5 or int(text) > 65535:
        raise _wrong(where, text, "a port from 0 to 65535 (0 picks a free one)")
    return int(text)


def _count(text: str, where: str) -> int:
    if not (text.isascii() and text.isdecimal()) or len(text) > 4:
        raise _wrong(where, text, "a whole number such as 5, 0 for none")
    return int(text)


def _seconds(option: Option, text: str, where: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    least_excluded = option.kind is Kind.SECONDS
    if not math.isfinite(seconds) or seconds < 0 or (least_excluded and seconds == 0):
        least = "more than 0" if least_excluded else "0 or more"
        raise _wrong(where, text, f"a number of seconds, {least}, such as {option.default}")
    return seconds


def _word(option: Option, text: str, where: str) -> str:
    if not text.strip() or "\0" in text:
        raise _wrong(where, text, f"a value: {option.help}")
    if option.kind is Kind.HOST:
        return _host(text, where)
    if option.kind is Kind.CHOICE and text not in option.choices:
        hint = closest(text, option.choices)
        raise _wrong(
            where, text, f"one of {', '.join(option.choices)}" + (f" (did you mean {hint}?)" * bool(hint))
        )
    return text


def _host(text: str, where: str) -> str:
    host = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    name, colon, port = host.partition(":")
    if "/" in host or any(char.isspace() for char in host):
        raise _wrong(where, text, "a bare address or name such as 127.0.0.1 or localhost")
    if colon and name and port.isdecimal() and host.count(":") == 1:
        raise _wrong(where, text, f"the address alone: write --host {name} --port {port}")
    return host


def closest(word: str, among: Iterable[str], *, cutoff: float = 0.6) -> str:
    """Return the look-alike of ``word``, or ``""`` when nothing is near.

    Args:
        word: what was written.
        among: what could have been meant.
        cutoff: how near it must be, from 0 to 1; 0.6 is the usual choice for slips of the hand.
    """
    import difflib  # only a mistake pays for this import

    candidates = list(among)
    exact = [item for item in candidates if item.lower() == word.lower()]
    return (exact or difflib.get_close_matches(word, candidates, n=1, cutoff=cutoff) or [""])[0]


# --- the reference ---------------------------------------------------------------------------------


def render_reference() -> str:
    """Return the reference of the command line and the configuration, in Markdown."""
    lines = ["## Commands", "", "| command | what it does |", "|---|---|"]
    lines += [f"| `livecore {name}` | {help_} |" for name, help_ in COMMANDS.items()]
    lines += [
        "",
        "## Options of `livecore run`",
        "",
        "Each option can be given as a flag, as an environment variable, or as a key of `[tool.livecore]` in",
        "the nearest `pyproject.toml`. A flag wins over a variable, a variable over the file.",
        "In a variable, lists are separated by commas or newlines and a switch is `1` or `0`; in the file,",
        "lists are arrays and a switch is `true` or `false`. Paths in the file are relative to the file.",
    ]
    for group in dict.fromkeys(option.group for option in OPTIONS):
        lines += ["", f"### {group[0].upper()}{group[1:]}", ""]
        lines += ["| flag | variable | key | takes | default | meaning |", "|---|---|---|---|---|---|"]
        for option in OPTIONS:
            if option.group == group:
                lines.append(_reference_row(option))
    lines += ["", "## Exit codes", "", "| code | meaning |", "|---|---|"]
    lines += [f"| {code} | {meaning} |" for code, meaning in EXIT_CODES.items()]
    return "\n".join(lines) + "\n"


def _reference_row(option: Option) -> str:
    flags = f"`{option.flag}`"
    if option.opposite:
        flags += f", `{option.opposite}`"
    takes = ", ".join(option.choices) or option.kind.value or "switch"
    cells = (flags, f"`{option.env}`", f"`{option.name}`", takes, option.default, option.help)
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
