"""Writes the generated parts of the documentation: ``python -m livereload_core.cli.docs [FOLDER]``.

A document marks the place of a part with two comments, and everything between them is replaced::

    <!-- generated: reference -->
    ...
    <!-- end -->

Invariants:
    * What is outside of the marks is never touched.
    * A mark without a part, and a part without a mark, are errors: neither can go stale unnoticed.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from livereload_core.cli.options import render_reference
from livereload_core.errors import UsageError
from livereload_core.ui.statetable import render_diagram, render_table

__all__ = ["COMMAND", "PARTS", "fill", "main"]

COMMAND = "python -m livereload_core.cli.docs"

PARTS: Mapping[str, Mapping[str, Callable[[], str]]] = {
    "cli.md": {"reference": render_reference},
    "design.md": {"states": render_table, "diagram": render_diagram},
}
"""Document to its parts."""

_MARKED = re.compile(r"(<!-- generated: (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)


def fill(text: str, parts: Mapping[str, Callable[[], str]], document: str) -> str:
    """Return a document with its parts made anew.

    Args:
        text: the document.
        parts: what it has to contain, by name.
        document: its name, for the message.

    Raises:
        UsageError: marks and parts do not agree.
    """
    marked = [match[1] for match in _MARKED.findall(text)]
    if sorted(marked) != sorted(parts):
        raise UsageError(
            f"{document} has marks for {', '.join(marked) or 'nothing'}, expected {', '.join(parts)}",
            advice="write each once: <!-- generated: NAME --> and <!-- end -->",
        )
    return _MARKED.sub(lambda match: f"{match[1]}\n{parts[match[2]]().strip()}\n\n{match[3]}", text)


def main(argv: Sequence[str]) -> int:
    """Bring the documents of a folder (``docs`` by default) up to date; returns the exit code."""
    folder = Path(argv[0] if argv else "docs")
    try:
        for name, parts in PARTS.items():
            document = folder / name
            if not document.is_file():
                raise UsageError(f"there is no {document}", advice=f"name the folder: {COMMAND} FOLDER")
            old = document.read_text(encoding="utf-8")
            new = fill(old, parts, str(document))
            if new != old:
                document.write_text(new, encoding="utf-8")
                print(f"wrote {document}")
    except UsageError as error:
        print(f"livecore: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
