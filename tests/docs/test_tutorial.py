"""The tutorial is followed as a newcomer would: files saved, commands typed, answers compared."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from livereload_core.testing import LivecoreProcess, free_port
from livereload_core.ui.decode import record_from_json
from livereload_core.ui.render import render
from livereload_core.ui.style import Palette
from tests.docs.blocks import DOCS, Block, blocks

CURL = "import sys, urllib.request as u; print(u.urlopen(sys.argv[-1]).read().decode(), end=str())"
"""Stands in for curl on a machine that has none."""
NUMBER = re.compile(r"\d+(?:\.\d+)?(?: ms| s)?")


def plain(line: str, folder: str) -> str:
    """Return a line of the terminal without what differs between two runs: times, pids, folders, the port."""
    line = re.sub(r"^\d\d:\d\d:\d\d ", " " * 9, line).replace(folder, "/home/ann/guestbook")
    return NUMBER.sub("#", line)


class Follower:
    """Sits at the two terminals of the tutorial."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.run = LivecoreProcess("app:app", cwd=folder, port=self.port)
        self.said: Iterator[str] = self._lines()
        self._commands = folder.parent / "bin"
        self._commands.mkdir()
        self._command("livecore", f'exec "{sys.executable}" -m livereload_core "$@"')
        self._command("python", f'exec "{sys.executable}" "$@"')
        if shutil.which("curl") is None:
            self._command("curl", f'exec "{sys.executable}" -c \'{CURL}\' "$@"')

    def _command(self, name: str, body: str) -> None:
        path = self._commands / name
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)

    def _lines(self) -> Iterator[str]:
        """Everything that the run reports, as the terminal would show it; waits for what is yet to come."""
        number = 0
        while True:
            record = record_from_json(self.run.wait_for(lambda _: True, since=number))
            number += 1
            if record is not None:
                first, *rest = render(record, Palette(False))
                if "an answer was under way when the program died" in first:
                    continue  # only if the connection was a few moments old by then
                yield " " * 9 + first
                # Only a slow machine says where the time went.
                yield from (line for line in rest if not line.lstrip().startswith("most of it: "))

    def follow(self, block: Block) -> None:
        """Do what one block says."""
        match block.mark.split():
            case ["save:", name]:
                self.run.write(name, block.text)
            case ["change:", name]:
                self._change(self.folder / name, block.text)
            case ["terminal", "1"]:
                self._read(block.text)
            case ["terminal", "2"]:
                self._type(block.text)
            case _:
                assert block.language == "console", f"line {block.line}: nobody follows this block"

    def _change(self, path: Path, text: str) -> None:
        """Apply the hunks of a diff, which are separated by ``@@``, in one save."""
        source = path.read_text()
        for hunk in text.split("@@\n"):
            lines = hunk.splitlines(keepends=True)
            old = "".join(line[1:] for line in lines if line.startswith("-"))
            new = "".join(line[1:] for line in lines if line.startswith("+"))
            assert source.count(old) == 1, f"{old!r} is not there once"
            source = source.replace(old, new)
        self.run.write(path.name, source)

    def _read(self, text: str) -> None:
        expected = text.splitlines()
        if expected[0].startswith("$ "):
            assert expected.pop(0) == "$ livecore run app:app"
            self.run.__enter__()
        for line in expected:
            shown = plain(next(self.said), str(self.folder)).replace(str(self.port), "8000")
            assert shown == plain(line, str(self.folder))

    def _type(self, text: str) -> None:
        for command, expected in re.findall(r"^\$ (.*)\n((?:[^$].*\n)*)", text, re.MULTILINE):
            done = subprocess.run(
                ["sh", "-c", re.sub("(http://)?localhost:8000", f"http://127.0.0.1:{self.port}", command)],
                cwd=self.folder,
                env={**os.environ, "PATH": f"{self._commands}:{os.environ['PATH']}"},
                capture_output=True,
                text=True,
                timeout=30,
                check=False,
            )
            shown = NUMBER.sub("#", done.stdout) if command.startswith("livecore") else done.stdout
            wanted = NUMBER.sub("#", expected) if command.startswith("livecore") else expected
            assert shown == wanted, f"$ {command}\n{done.stdout}{done.stderr}"


@pytest.fixture
def follower(tmp_path: Path) -> Iterator[Follower]:
    """Somebody with an empty folder."""
    folder = tmp_path / "guestbook"
    folder.mkdir()
    follower = Follower(folder)
    try:
        yield follower
    finally:
        follower.run.close()


def test_every_block_of_the_tutorial_works_as_written(follower: Follower) -> None:
    for block in blocks(DOCS / "tutorial.md"):
        try:
            follower.follow(block)
        except AssertionError as error:
            error.add_note(f"in line {block.line} of the tutorial\n{follower.run.transcript()}")
            raise
    assert follower.run.wait_exit() == 0
