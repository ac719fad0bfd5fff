"""The command ``livecore``: understands its words, hands over, turns results into exit codes.

Invariants:
    * Importing this module is quick: what a command needs is imported when the command is known.
    * Answers go to stdout, everything else to stderr with the prefix ``livecore: ``.
    * A user's mistake is one sentence and its exit code, never a traceback; a mistake of ours is a traceback.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from livereload_core.cli.parser import Control, Run, Text, settings_from
from livereload_core.cli.statewords import StateCommand
from livereload_core.core.settings import Settings
from livereload_core.errors import LivecoreError, UsageError

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``livecore``.

    Args:
        argv: the words behind the command's name; those of this process by default.

    Returns:
        the exit code: see ``EXIT_CODES`` in :mod:`livereload_core.cli.options`.
    """
    words = tuple(sys.argv[1:] if argv is None else argv)
    try:
        cwd, tty = _cwd(), _is_terminal(sys.stdout)
        command = settings_from(words, os.environ, cwd, tty=tty, version=_version())
        if isinstance(command, Text):
            _print(command.text)
            return 0
        _require_posix()
        if isinstance(command, StateCommand):
            return _state(command)
        return _run(command, words, tty=tty) if isinstance(command, Run) else _control(command)
    except UsageError as error:
        _complain(str(error))
        return error.exit_code
    except LivecoreError as error:
        _complain(str(error))
        return 1
    except KeyboardInterrupt:
        return 130


def _run(command: Run, words: Sequence[str], *, tty: bool) -> int:
    from livereload_core.cli.config import config_files
    from livereload_core.cli.options import OPTIONS
    from livereload_core.parent import supervisor
    from livereload_core.parent.configuration import ConfigSource
    from livereload_core.ui.render import make_printer, wants_colour

    for sentence in command.warnings:
        _complain(f"warning: {sentence}")
    settings = command.settings

    def read_again() -> Settings:
        again = settings_from(words, os.environ, settings.cwd, tty=tty)
        assert isinstance(again, Run), "the same words are the same command"
        return again.settings

    names = {option.field: option.name for option in OPTIONS}
    source = ConfigSource(config_files(settings), read_again, names)
    interactive = _is_terminal(sys.stdin) and _is_terminal(sys.stdout)
    console = None
    if interactive and settings.keys:
        from livereload_core.ui.keys import Keys

        console = Keys()
    printer = make_printer(
        settings.log_format,
        sys.stdout,
        colour=wants_colour(_is_terminal(sys.stdout), os.environ),
        watching=settings.reload,
    )
    try:
        return supervisor.run(settings, printer, interactive=interactive, console=console, source=source)
    finally:
        printer.close()


def _control(command: Control) -> int:
    from livereload_core.cli.client import perform

    return perform(command, os.getcwd(), print_=_print)


def _state(command: StateCommand) -> int:
    from livereload_core.cli.states import perform

    return perform(command, os.getcwd(), print_=_print, warn=_complain)


def _print(text: str) -> None:
    """Write an answer; a reader who has gone (``livecore status | head``) is no error."""
    if sys.stdout is None:
        return
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        # Python flushes again at exit and would complain there.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except UnicodeEncodeError:
        sys.stdout.write(text.encode("ascii", "backslashreplace").decode("ascii"))


def _complain(sentence: str) -> None:
    if sys.stderr is not None:  # pythonw and closed descriptors: the exit code still tells
        print(f"livecore: {sentence}", file=sys.stderr, flush=True)


def _is_terminal(stream: object) -> bool:
    try:
        return bool(stream is not None and stream.isatty())  # type: ignore[attr-defined]
    except ValueError:  # closed: nothing to show, and certainly no terminal
        return False


def _cwd() -> str:
    try:
        return os.getcwd()
    except FileNotFoundError as error:
        raise UsageError("the working directory was deleted", advice="cd into an existing one") from error


def _require_posix() -> None:
    if sys.platform == "win32":
        raise UsageError(
            "livecore cannot run on Windows: it passes sockets between processes, as only POSIX systems can",
            advice="use it inside WSL, on Linux or on macOS",
        )


def _version() -> str:
    import livereload_core

    found = getattr(livereload_core, "__version__", "")
    if not found:
        import importlib.metadata

        try:
            found = importlib.metadata.version("livereload_core")
        except importlib.metadata.PackageNotFoundError:  # run from a checkout
            found = "(not installed)"
    return str(found)
