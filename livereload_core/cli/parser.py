"""From words to a command: what ``livecore`` was asked to do, as plain data.

Invariants:
    * Nothing is started and nothing is printed here; a test needs no process.
    * What stands behind the first ``--`` belongs to the user's program and is never looked at.
    * Every refusal is a UsageError: argparse's own messages never reach the user.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Mapping, Sequence
from typing import NoReturn

from livereload_core.cli.config import build_settings, from_environ, from_flags, suspicious_variables
from livereload_core.cli.options import COMMANDS, OPTIONS, Kind, closest
from livereload_core.cli.statewords import STATE_COMMANDS, StateCommand, add_words, read_words
from livereload_core.cli.targets import parse_target
from livereload_core.core.settings import Settings
from livereload_core.errors import UsageError

__all__ = ["Command", "Control", "Run", "Text", "settings_from"]


@dataclasses.dataclass(frozen=True, slots=True)
class Run:
    """``livecore run``.

    Attributes:
        settings: the run, fully resolved.
        warnings: sentences for stderr.
    """

    settings: Settings
    warnings: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Control:
    """``livecore status``, ``reload`` or ``stop``: a word to a run that is under way.

    Attributes:
        op: which of them.
        pid: the run that is meant, or ``None`` where the project has only one.
        json: whether the answer is printed as it came.
    """

    op: str
    pid: int | None = None
    json: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Text:
    """``--help`` or ``--version``: something to print."""

    text: str


Command = Run | Control | StateCommand | Text


def settings_from(
    argv: Sequence[str], environ: Mapping[str, str], cwd: str, *, tty: bool = False, version: str = ""
) -> Command:
    """Understand a command line.

    Args:
        argv: the words behind ``livecore``.
        environ: the environment.
        cwd: the working directory, absolute.
        tty: whether stdout is a terminal, which decides the default of ``--log-format``.
        version: what ``--version`` answers.

    Raises:
        UsageError: it cannot be understood or cannot work.
    """
    ours, theirs = _split(argv)
    name = ours[0] if ours else ""
    if name in ("-V", "--version"):
        return Text(f"livecore {version}\n")
    if name in ("-h", "--help", "help"):
        return Text(_overview())
    _require_command(name)
    if name == "state":
        name, ours = _state_command(ours)
        if not name:
            return Text(_state_overview())
    parser = _parser(name)
    if "-h" in ours or "--help" in ours:
        return Text(parser.format_help())
    if theirs is not None and name != "run":
        raise UsageError(f"{parser.prog} runs no program", advice="leave out -- and what follows it")
    parsed = _parse(parser, name, ours[1:])
    if name in STATE_COMMANDS or name in ("reset", "rollback"):
        return read_words(name, parsed, _pid(parsed.pid))
    if name != "run":
        return Control(name, _pid(parsed.pid), json=bool(getattr(parsed, "json", False)))
    target = parse_target(parsed.target, parsed.module, theirs or (), cwd)
    flags = from_flags({option.name: getattr(parsed, option.field) for option in OPTIONS}, cwd)
    settings = build_settings(target, flags, from_environ(environ, cwd), cwd=cwd, tty=tty)
    return Run(settings, suspicious_variables(environ))


def _split(argv: Sequence[str]) -> tuple[list[str], list[str] | None]:
    words = list(argv)
    if "--" not in words:
        return words, None
    at = words.index("--")
    return words[:at], words[at + 1 :]


def _require_command(name: str) -> None:
    if name in COMMANDS:
        return
    commands = ", ".join(COMMANDS)
    if not name:
        raise UsageError(
            "there is no command", advice="write `livecore run TARGET`, or see `livecore --help`"
        )
    if name.startswith("-"):
        raise UsageError(f"{name!r} comes before the command", advice=f"write the command first: {commands}")
    like = f"state {name}" if name in STATE_COMMANDS else closest(name, COMMANDS)
    if like:
        advice = f"did you mean `livecore {like}`?"
    elif ":" in name or "." in name or "/" in name:
        advice = f"did you mean `livecore run {name}`?"
    else:
        advice = f"the commands are {commands}"
    raise UsageError(f"unknown command {name!r}", advice=advice)


def _state_command(words: list[str]) -> tuple[str, list[str]]:
    """Return what is to be done with state, and the words from there on; ``""`` for a look at the list."""
    name = words[1] if len(words) > 1 else ""
    if name in STATE_COMMANDS:
        return name, words[1:]
    if name in ("", "-h", "--help"):
        return "", words
    like = closest(name, STATE_COMMANDS)
    if name in COMMANDS:
        advice = f"did you mean `livecore {name}`?"
    elif like:
        advice = f"did you mean `livecore state {like}`?"
    else:
        advice = f"there are {', '.join(STATE_COMMANDS)}"
    raise UsageError(f"unknown command 'state {name}'", advice=advice)


def _pid(text: str | None) -> int | None:
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal()) or int(text) == 0:
        raise UsageError(f"--pid is {text!r}", advice="it takes the process id that `livecore status` shows")
    return int(text)


# --- argparse, tamed -------------------------------------------------------------------------------


class _Parser(argparse.ArgumentParser):
    """An argparse parser whose complaints become UsageErrors."""

    def error(self, message: str) -> NoReturn:
        text = message.removeprefix("argument ")
        raise UsageError(text, advice=f"`{self.prog} --help` tells more")


def _parse(parser: argparse.ArgumentParser, name: str, words: list[str]) -> argparse.Namespace:
    parsed, extra = parser.parse_known_args(words)
    if not extra:
        return parsed
    if extra[0].startswith("-"):
        raise _unknown_option(parser, extra[0].partition("=")[0])
    if name == "run":
        written = f"-m {parsed.module}" if parsed.module else parsed.target
        raise UsageError(
            f"unexpected argument {extra[0]!r}",
            advice=f"arguments for the program go behind --: livecore run {written} -- {' '.join(extra)}",
        )
    takes = "one file" if name == "export" else "options only"
    raise UsageError(f"unexpected argument {extra[0]!r}", advice=f"{parser.prog} takes {takes}")


def _unknown_option(parser: argparse.ArgumentParser, word: str) -> UsageError:
    known = [text for action in parser._actions for text in action.option_strings]
    like = closest(word, known)
    if like:
        return UsageError(f"unknown option {word!r}", advice=f"did you mean {like}?")
    behind = "; options for the program go behind --" if parser.prog.endswith(" run") else ""
    return UsageError(f"unknown option {word!r}", advice=f"`{parser.prog} --help` lists all{behind}")


def _parser(name: str) -> argparse.ArgumentParser:
    meaning = COMMANDS.get(name) or STATE_COMMANDS[name]
    parser = _Parser(
        prog=f"livecore state {name}" if name in STATE_COMMANDS else f"livecore {name}",
        description=f"{meaning[0].upper()}{meaning[1:]}.",
        formatter_class=_Formatter,
        allow_abbrev=False,
        add_help=False,
    )
    if name == "run":
        _add_run(parser)
    else:
        parser.add_argument(
            "--pid", metavar="PID", help="the run that is meant, where the project has several"
        )
        add_words(parser, name)
        if name == "status":
            parser.add_argument("--json", action="store_true", help="print the answer as one JSON object")
    group = parser.add_argument_group("more")
    group.add_argument("-h", "--help", action="store_true", help="show this text")
    return parser


def _add_run(parser: argparse.ArgumentParser) -> None:
    parser.usage = "livecore run TARGET [options] [-- ARGS]"
    parser.epilog = (
        "Each option is also a LIVECORE_* variable and a key of [tool.livecore] in pyproject.toml: "
        "--reload-dir is LIVECORE_RELOAD_DIR and reload-dir. A flag wins over a variable, that over the file."
    )
    target = parser.add_argument_group("target")
    target.add_argument(
        "target", nargs="?", metavar="TARGET", help="pkg.mod:attr, pkg.mod or path/script.py; see also -m"
    )
    target.add_argument(
        "-m", dest="module", metavar="MODULE", help="run a module or package as python -m does"
    )
    groups: dict[str, argparse._ArgumentGroup] = {}
    for option in OPTIONS:
        group = groups.get(option.group) or parser.add_argument_group(option.group)
        groups[option.group] = group
        if option.kind is Kind.SWITCH:
            group.add_argument(
                option.flag, dest=option.field, action="store_true", default=None, help=option.help
            )
            # Only there to overrule the environment and the file; listing it would double the page.
            group.add_argument(
                option.opposite, dest=option.field, action="store_false", default=None, help=argparse.SUPPRESS
            )
            continue
        group.add_argument(
            option.flag,
            dest=option.field,
            metavar="|".join(option.choices) or option.kind.metavar,
            action="append" if option.kind.is_list else "store",
            help=option.help + (f" ({option.default})" if option.default != "none" else ""),
        )


def _state_overview() -> str:
    width = max(map(len, STATE_COMMANDS))
    lines = ["usage: livecore state COMMAND ...", ""]
    lines += [f"  livecore state {name:<{width}}  {help_}" for name, help_ in STATE_COMMANDS.items()]
    lines += ["", "`livecore state COMMAND --help` tells more."]
    return "\n".join(lines) + "\n"


class _Formatter(argparse.HelpFormatter):
    """Help with room for the longest flag, so that most options take one line."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=34)


def _overview() -> str:
    width = max(map(len, COMMANDS))
    lines = [
        "usage: livecore COMMAND ...",
        "",
        "Save, and the new code runs: state and connections stay.",
        "",
    ]
    lines += [f"  livecore {name:<{width}}  {help_}" for name, help_ in COMMANDS.items()]
    lines += [
        "",
        "  livecore run app:app              an app in a module (ASGI, WSGI, aiohttp) or a function",
        "  livecore run path/script.py       a script; its arguments go behind --",
        "  livecore run -m package           as python -m package",
        "",
        "`livecore COMMAND --help` tells more, `livecore --version` the version.",
    ]
    return "\n".join(lines) + "\n"
