"""The words of ``livecore state``, ``reset`` and ``rollback``.

A *source* is a state: the number of a generation, ``now`` (the default), ``saved`` (what the disk holds),
``before`` (what the first write of this run has moved aside), or a file that ``livecore state export`` wrote.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Mapping

from livereload_core.errors import UsageError

__all__ = ["STATE_COMMANDS", "Source", "StateCommand", "add_words", "read_words"]

STATE_COMMANDS: Mapping[str, str] = {
    "ls": "list the states that are kept",
    "show": "show what is in a state, or in one object of it",
    "diff": "show what differs between two states",
    "export": "write a state to a file",
    "restore": "go on with an earlier state, in today's code",
}

NOW, SAVED, BEFORE = "now", "saved", "before"


@dataclasses.dataclass(frozen=True, slots=True)
class Source:
    """Which state is meant.

    Attributes:
        word: ``now``, ``saved``, ``before``, or ``""``.
        generation: its number, or ``None``.
        file: its path as written, or ``""``.
    """

    word: str = ""
    generation: int | None = None
    file: str = ""

    def __str__(self) -> str:
        if self.generation is not None:
            return f"generation {self.generation}"
        return self.word or self.file


@dataclasses.dataclass(frozen=True, slots=True)
class StateCommand:
    """What is to be done with state.

    Attributes:
        op: ``ls``, ``show``, ``diff``, ``export``, ``restore``, ``reset`` or ``rollback``.
        sources: which states.
        keys: which objects, none for all.
        file: where to write.
        depth: how deep to look; ``None`` for the default.
        all: nothing is left out.
        reveal: secrets are shown.
        json: for programs.
        pid: the run that is meant, or ``None`` where the project has only one.
    """

    op: str
    sources: tuple[Source, ...] = ()
    keys: tuple[str, ...] = ()
    file: str = ""
    depth: int | None = None
    all: bool = False
    reveal: bool = False
    json: bool = False
    pid: int | None = None


def add_words(parser: argparse.ArgumentParser, op: str) -> None:
    """Let a parser understand the words of one command."""
    add = parser.add_argument
    source = "a generation, now, saved, before, or a file"
    if op == "show":
        add("keys", nargs="*", metavar="KEY", help="module:name, or the name alone; all without one")
        add("--depth", metavar="N", help="levels that are shown (4)")
    if op == "diff":
        add("sources", nargs="*", metavar="STATE", help=f"two of them: {source}")
    if op in ("show", "diff"):
        add("--all", action="store_true", help="leave nothing out")
        add("--reveal", action="store_true", help="show what looks like a secret, too")
    if op == "export":
        add("file", nargs="?", metavar="FILE", help="where to write")
    if op in ("show", "export"):
        add("--generation", metavar="STATE", help=f"{source} (now)")
    if op == "restore":
        add("sources", nargs="*", metavar="STATE", help="a generation, saved, before, or a file")
    if op == "rollback":
        add("sources", nargs="*", metavar="GENERATION", help="whose last state (the one that was kept last)")
    if op == "reset":
        add("keys", nargs="*", metavar="KEY", help="module:name, or the name alone; all without one")
    if op in ("ls", "show", "diff"):
        add("--json", action="store_true", help="print the answer as one JSON object")


def read_words(op: str, parsed: argparse.Namespace, pid: int | None) -> StateCommand:
    """Return what was asked for.

    Raises:
        UsageError: words are missing, too many, or mean nothing.
    """
    given = [*(getattr(parsed, "sources", None) or ())]
    if getattr(parsed, "generation", None):
        given.append(parsed.generation)
    sources = tuple(read_source(word) for word in given)
    _count(op, sources)
    if op == "export" and not parsed.file:
        raise UsageError("no file is named", advice="livecore state export FILE")
    depth = getattr(parsed, "depth", None)
    if depth is not None and not (depth.isascii() and depth.isdecimal() and len(depth) < 5):
        raise UsageError(f"--depth is {depth!r}", advice="it takes a number of levels such as 4")
    return StateCommand(
        op,
        sources,
        tuple(getattr(parsed, "keys", None) or ()),
        getattr(parsed, "file", None) or "",
        None if depth is None else int(depth),
        bool(getattr(parsed, "all", False)),
        bool(getattr(parsed, "reveal", False)),
        bool(getattr(parsed, "json", False)),
        pid,
    )


def read_source(word: str) -> Source:
    """Understand how a state was named."""
    if word in (NOW, SAVED, BEFORE):
        return Source(word=word)
    if word.isascii() and word.isdecimal():
        return Source(generation=int(word))
    if not word.strip():
        raise UsageError(f"a state is named {word!r}", advice="name a generation, now, saved or a file")
    return Source(file=word)


def _written(op: str) -> str:
    return f"livecore state {op}" if op in STATE_COMMANDS else f"livecore {op}"


def _count(op: str, sources: tuple[Source, ...]) -> None:
    most = {"diff": 2, "restore": 1, "rollback": 1, "show": 1, "export": 1}.get(op, 0)
    if len(sources) > most:
        raise UsageError(f"{len(sources)} states are named", advice=f"{_written(op)} takes {most}")
    if op == "diff" and not sources:
        raise UsageError("no states are named", advice="livecore state diff 3 now")
    if op == "restore":
        if not sources:
            raise UsageError(
                "no state is named",
                advice="livecore state restore 3, or a file; `livecore state ls` lists the generations",
            )
        if sources[0].word == NOW:
            raise UsageError("the state of now is what serves", advice="name an earlier one")
    if op == "rollback" and sources and sources[0].generation is None:
        raise UsageError(
            f"{sources[0]} is no generation", advice=f"did you mean `livecore state restore {sources[0]}`?"
        )
