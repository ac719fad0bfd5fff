"""Code in the documents runs, commands parse, links lead somewhere, tables are whole."""

from __future__ import annotations

import re
import shlex
import sys
import tomllib
from collections.abc import Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

from livereload_core.child.adapter import TargetAdapter
from livereload_core.cli.docs import COMMAND, PARTS, fill
from livereload_core.cli.options import COMMANDS, OPTIONS
from livereload_core.cli.parser import Control, Run, settings_from
from livereload_core.cli.statewords import StateCommand
from livereload_core.core import states
from livereload_core.core.records import Failure, Notice, NoticeKind, Outcome, ReloadRecord, as_json
from livereload_core.facts import RootFate
from livereload_core.state.declare import _OPTIONS
from livereload_core.state.hooks import KINDS
from livereload_core.wire import messages as wire
from tests.docs.blocks import DOCS, DOCUMENTS, ROOT, Block, blocks

PYTHON = [block for document in DOCUMENTS for block in blocks(document, "python")]
COMMAND_LINES = [
    pytest.param(line[2:], id=f"{block.name}-{number}")
    for document in DOCUMENTS
    for block in blocks(document, "console")
    for number, line in enumerate(block.text.splitlines())
    if line.startswith("$ livecore ")
]


@pytest.fixture
def module_name() -> Iterator[str]:
    """A name in ``sys.modules`` that is free again afterwards."""
    name = "a_block_of_the_documentation"
    yield name
    sys.modules.pop(name, None)


@pytest.mark.parametrize("block", PYTHON, ids=lambda block: block.name)
def test_python_in_the_documents_runs(
    block: Block, module_name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if block.mark == "fragment":
        compile(block.text, block.name, "exec")
        return
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "block.py"
    file.write_text(block.text)
    spec = spec_from_file_location(module_name, file)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[module_name] = module
    spec.loader.exec_module(module)
    for value in vars(module).values():
        if isinstance(value, type) and value.__name__.endswith("Adapter"):
            assert isinstance(value(), TargetAdapter)


@pytest.mark.parametrize("line", COMMAND_LINES)
def test_commands_in_the_documents_are_understood(line: str, tmp_path: Path) -> None:
    words = shlex.split(line, comments=True)[1:]
    ours = words[: words.index("--")] if "--" in words else words
    for word in ours:
        # Whatever could be a target has to be there: its absence is another mistake than the one looked for.
        if word.endswith(".py"):
            (tmp_path / word).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / word).touch()
        elif word.partition(":")[0].isidentifier():
            (tmp_path / f"{word.partition(':')[0]}.py").touch()
    assert isinstance(settings_from(words, {}, str(tmp_path)), Run | Control | StateCommand)


def test_the_example_of_the_configuration_is_taken(tmp_path: Path) -> None:
    (example,) = blocks(DOCS / "configuration.md", "toml")
    (tmp_path / "pyproject.toml").write_text(example.text)
    (tmp_path / ".env").touch()
    (tmp_path / "app.py").touch()
    command = settings_from(["run", "app:app"], {}, str(tmp_path))
    assert isinstance(command, Run)
    written = tomllib.loads(example.text)["tool"]["livecore"]
    fields = {option.name: option.field for option in OPTIONS}
    for key, value in written.items():
        taken = getattr(command.settings, fields[key])
        if key == "env-file":
            assert taken == str(tmp_path / value)
        else:
            assert taken == (tuple(value) if isinstance(value, list) else value)


# --- links ---------------------------------------------------------------------------------------------


def anchors(document: Path) -> set[str]:
    """Return what can stand behind ``#``, as the usual renderers make it from headings."""
    text = re.sub(r"^```.*?^```$", "", document.read_text(), flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_links_between_documents_lead_somewhere(document: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", document.read_text(), flags=re.DOTALL | re.MULTILINE)
    for link in re.findall(r"\]\(([^)]+)\)", text):
        path, _, anchor = link.partition("#")
        if path.startswith("https://"):
            continue
        target = (document.parent / path).resolve() if path else document
        assert target.is_file(), f"{link} leads nowhere"
        assert not anchor or anchor in anchors(target), f"{link}: no such heading"


def test_every_document_can_be_reached_from_the_readme_or_the_index() -> None:
    linked = "".join(document.read_text() for document in (ROOT / "README.md", DOCS / "index.md"))
    for document in DOCS.glob("*.md"):
        if document.stem != "index":
            assert f"({document.name})" in linked or f"(docs/{document.name})" in linked


def test_the_readme_names_the_two_commands() -> None:
    text = (ROOT / "README.md").read_text()
    assert "make demo" in text
    assert "make test" in text


# --- generated parts, and lists that have to be whole --------------------------------------------------


@pytest.mark.parametrize("name", PARTS)
def test_generated_parts_are_current(name: str) -> None:
    text = (DOCS / name).read_text(encoding="utf-8")
    assert fill(text, PARTS[name], name) == text, f"docs/{name} is stale; write it again: {COMMAND}"


def table(text: str, after: str) -> set[str]:
    """Return the first cells of the first table behind a sentence or heading; each name in them by itself."""
    rows = re.findall(r"^\|(.*?)\|", text[text.index(after) + len(after) :].split("|\n\n")[0], re.MULTILINE)
    return {name for row in rows[2:] for name in re.findall(r"`([\w ]+)[^`]*`", row)}


def test_the_reference_names_every_option_of_preserve() -> None:
    assert table((DOCS / "api.md").read_text(), "### Options\n") == _OPTIONS


def test_the_reference_names_every_hook() -> None:
    assert table((DOCS / "api.md").read_text(), "## Hooks\n") == set(KINDS)


def test_the_reference_names_every_fate() -> None:
    assert table((DOCS / "api.md").read_text(), "### Fates\n") == {fate.value for fate in RootFate}


def test_the_reference_names_every_field_of_the_records() -> None:
    text = (DOCS / "api.md").read_text()
    failure = Failure("check", "a reason")
    reload = as_json(ReloadRecord(Outcome.REJECTED, 1, (), 0.0, failure=failure))
    assert table(text, 'has `"event": "reload"`:') == set(reload)
    assert table(text, "Everything else is a notice:") == set(as_json(Notice(NoticeKind.INFO, "")))
    assert table(text, "A failure:") == set(reload["failure"])
    for kind in NoticeKind:
        assert f"`{kind.value}`" in text


def test_the_reference_and_the_design_name_every_phase() -> None:
    parts = {part for both in states.PARTS.values() for part in both}
    reference, design = ((DOCS / name).read_text() for name in ("api.md", "design.md"))
    row = next(line for line in reference.splitlines() if line.startswith("| `phases_ms`"))
    told = design[design.index("## Phases\n") : design.index("## Messages\n")]
    for phase in {"notice", *states.PHASES.values(), *parts}:
        assert f"`{phase}`" in row
        assert f"`{phase}`" in told
    for state, (first, second) in states.PARTS.items():
        assert f"| `{state.name}` | `{first}`, `{second}` |" in told


def test_the_command_line_reference_shows_every_command() -> None:
    usage = blocks(DOCS / "cli.md", "text")[0].text
    assert {line.split()[1] for line in usage.splitlines()} == set(COMMANDS)


def test_no_document_says_where_it_was_written() -> None:
    for document in DOCUMENTS:
        assert not re.search(r"/(work|tmp|root)/", document.read_text()), document


def test_the_messages_of_the_design_are_those_of_the_wire() -> None:
    text = (DOCS / "design.md").read_text()
    section = text[text.index("## Messages") : text.index("## State\n")]
    named = set(re.findall(r"`([A-Z]\w+)`", section))
    assert named
    assert named <= set(wire.__all__)
