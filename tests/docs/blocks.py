"""The fenced blocks of the documentation, with the comment above them that says how they are meant.

<!-- fragment -->        the Python below is part of something larger: it is compiled, not run
<!-- save: app.py -->    the tutorial: the block is the whole file
<!-- change: app.py -->  the tutorial: the block is a diff of it; hunks are separated by ``@@``
<!-- terminal 1 -->      the tutorial: typed and shown there
"""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

__all__ = ["DOCS", "DOCUMENTS", "ROOT", "Block", "blocks"]

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
DOCUMENTS = (ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted(DOCS.glob("*.md")))

_BLOCK = re.compile(
    r"^(?:<!-- (?P<mark>[^\n]*?) -->\n)?```(?P<language>[a-z]*)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE
)


@dataclasses.dataclass(frozen=True)
class Block:
    """One fenced block.

    Attributes:
        document: the file.
        line: where it begins.
        language: behind the fence.
        mark: the comment above, or ``""``.
        text: what is inside, with its final newline.
    """

    document: Path
    line: int
    language: str
    mark: str
    text: str

    @property
    def name(self) -> str:
        """For test ids and tracebacks."""
        return f"{self.document.name}:{self.line}"


def blocks(document: Path, language: str = "") -> list[Block]:
    """Return the blocks of a document in order, or those of one language."""
    source = document.read_text(encoding="utf-8")
    found = [
        Block(
            document,
            source.count("\n", 0, match.start("text")) + 1,
            match["language"],
            match["mark"] or "",
            match["text"],
        )
        for match in _BLOCK.finditer(source)
    ]
    return [block for block in found if language in ("", block.language)]
