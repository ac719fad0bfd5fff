"""What the documentation shows is what happens.

A fenced block takes part by the words after its language:

    ```python run           is executed, in a process of its own
    ```python file=app.py   is written to a file, for the blocks after it
    ```console run          each line after "$ " is executed, and the lines below it are what it prints;
                            a line of three dots stands for anything

The blocks of one document share one temporary folder, in order. All others are only shown.
"""

from __future__ import annotations

import dataclasses
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FENCE = re.compile(
    r"^```(?P<language>\w+)[ ]+(?P<what>run|file=\S+)[ ]*\n(?P<body>.*?)^```[ ]*$", re.MULTILINE | re.DOTALL
)


@dataclasses.dataclass(frozen=True)
class Block:
    """One block that takes part."""

    line: int
    language: str
    what: str
    body: str


def _blocks(text: str) -> list[Block]:
    return [
        Block(text.count("\n", 0, found.start()) + 1, found["language"], found["what"], found["body"])
        for found in FENCE.finditer(text)
    ]


DOCUMENTS = {
    str(path.relative_to(ROOT)): blocks
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    if (blocks := _blocks(path.read_text()))
}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_blocks_of_a_document_do_what_they_say(document: str, tmp_path: Path) -> None:
    for block in DOCUMENTS[document]:
        _try(block, f"{document}:{block.line}", tmp_path)


def _try(block: Block, where: str, folder: Path) -> None:
    if block.what.startswith("file="):
        path = folder / block.what.removeprefix("file=")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block.body)
    elif block.language == "python":
        _output([sys.executable, "-c", block.body], where, folder)
    elif block.language == "console":
        for command, expected in _commands(block.body):
            printed = _output(["sh", "-c", command], f"{where}: {command}", folder)
            assert re.fullmatch(_pattern(expected), printed.rstrip() + "\n"), f"{where}: {command}\n{printed}"
    else:
        raise AssertionError(f"{where}: nothing is known about running {block.language!r}")


def _output(command: list[str], where: str, folder: Path) -> str:
    """Run a command with this interpreter's ``livecore`` and ``python`` first, and return what it prints."""
    tools = str(Path(sys.executable).parent)
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}", "NO_COLOR": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, f"{where} ended with exit code {done.returncode}:\n{done.stdout}"
    return done.stdout


def _commands(body: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for line in body.splitlines():
        if line.startswith("$ "):
            found.append((line.removeprefix("$ "), ""))
        else:
            assert found, f"the first line of a console block must begin with '$ ': {line!r}"
            command, expected = found.pop()
            found.append((command, f"{expected}{line}\n"))
    return found


def _pattern(expected: str) -> str:
    lines = [r"(?:.*\n)*" if line == "..." else re.escape(line) + r"\n" for line in expected.splitlines()]
    return "".join(lines) if lines else r"(?:.*\n)*"


def test_blocks_are_found_with_their_lines() -> None:
    text = (
        "# Title\n\n```python\nshown = 1\n```\n\n"
        "```console run\n$ echo a\na\n```\n"
        "```python file=x/y.py\nb\n```\n"
    )
    assert _blocks(text) == [
        Block(7, "console", "run", "$ echo a\na\n"),
        Block(11, "python", "file=x/y.py", "b\n"),
    ]


@pytest.mark.parametrize(
    ("body", "what"),
    [("$ echo a\nb\n", "echo a"), ("$ exit 3\n", "exit code 3"), ("$ printf 'a\\nb\\n'\na\n", "printf")],
    ids=["other output", "exit code", "more output"],
)
def test_block_that_does_not_do_what_it_says_is_named(body: str, what: str, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=rf"(?s)guide.md:7.*{what}"):
        _try(Block(7, "console", "run", body), "guide.md:7", tmp_path)


def test_three_dots_stand_for_any_lines(tmp_path: Path) -> None:
    _try(Block(1, "console", "run", "$ printf 'a\\nb\\nc\\n'\na\n...\nc\n"), "guide.md:1", tmp_path)
