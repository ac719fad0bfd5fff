r"""The reader of ``--env-file``: ``KEY=VALUE`` lines, and nothing that needs a shell to understand.

Invariants:
    * What is written is what the program gets: no variables are expanded, no commands run.
    * Every refusal names file and line; a line is never skipped silently.

Grammar, per line::

    [export] KEY = value      # a comment behind a blank
    KEY='literal'             single quotes: nothing is special
    KEY="a\n\"b\""             double quotes: \n \r \t \" \\ \$ are escapes
"""

from __future__ import annotations

import re

from livereload_core.errors import UsageError

__all__ = ["parse_env"]

_LINE = re.compile(r"(?:export\s+)?(?P<key>[^=\s]+)\s*=\s*(?P<value>.*)", re.DOTALL)
_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_ESCAPE = re.compile(r"\\(.)")
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\", "$": "$"}


def parse_env(text: str, path: str) -> tuple[tuple[str, str], ...]:
    """Read an environment file.

    Args:
        text: its content.
        path: its name, for messages.

    Returns:
        the variables in the order of their first line; a later line of the same key wins.

    Raises:
        UsageError: a line is no assignment, a quote is not closed.
    """
    found: dict[str, str] = {}
    for number, raw in enumerate(text.removeprefix("\ufeff").split("\n"), start=1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        where = f"{path}, line {number}"
        match = _LINE.fullmatch(line)
        if match is None:
            raise UsageError(
                f"{where}: {line!r} is no assignment", advice="write KEY=VALUE or start it with #"
            )
        key = match["key"]
        if not _KEY.fullmatch(key):
            raise UsageError(
                f"{where}: {key!r} is no name for a variable", advice="use letters, digits and underscores"
            )
        found[key] = _value(match["value"], where)
    return tuple(found.items())


def _value(text: str, where: str) -> str:
    if "\0" in text:
        raise UsageError(f"{where}: a null byte cannot stand in a variable", advice="remove it")
    quote = text[:1]
    if quote not in ("'", '"'):
        # Only a # behind a blank begins a comment: colours and URL fragments hold one too.
        return re.split(r"\s+#|^#", text, maxsplit=1)[0].strip()
    end = _closing(text, quote)
    if end < 0:
        raise UsageError(f"{where}: the quote {quote} is not closed", advice="close it on the same line")
    rest = text[end + 1 :].strip()
    if rest and not rest.startswith("#"):
        raise UsageError(
            f"{where}: {rest!r} follows the closing quote",
            advice="quote the whole value or put a # before it",
        )
    inner = text[1:end]
    return inner if quote == "'" else _ESCAPE.sub(lambda found: _ESCAPES.get(found[1], found[0]), inner)


def _closing(text: str, quote: str) -> int:
    at = 1
    while at < len(text):
        if text[at] == "\\" and quote == '"':
            at += 1
        elif text[at] == quote:
            return at
        at += 1
    return -1
