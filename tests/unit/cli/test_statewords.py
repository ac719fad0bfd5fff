"""The words of ``livecore state``, ``reset`` and ``rollback``."""

from __future__ import annotations

import pytest

from livereload_core.cli.parser import Text, settings_from
from livereload_core.cli.statewords import STATE_COMMANDS, Source, StateCommand
from livereload_core.errors import UsageError


def understand(*words: str) -> object:
    return settings_from(words, {}, "/project")


@pytest.mark.parametrize(
    ("words", "command"),
    [
        ("state ls", StateCommand("ls")),
        ("state ls --json --pid 7", StateCommand("ls", json=True, pid=7)),
        ("state show", StateCommand("show")),
        ("state show users app:n --depth 2", StateCommand("show", keys=("users", "app:n"), depth=2)),
        ("state show --all --reveal", StateCommand("show", all=True, reveal=True)),
        ("state show --generation 3", StateCommand("show", (Source(generation=3),))),
        ("state show --generation saved", StateCommand("show", (Source("saved"),))),
        ("state show --generation ./x", StateCommand("show", (Source(file="./x"),))),
        ("state diff 3", StateCommand("diff", (Source(generation=3),))),
        ("state diff 3 now --json", StateCommand("diff", (Source(generation=3), Source("now")), json=True)),
        ("state diff before x.state", StateCommand("diff", (Source("before"), Source(file="x.state")))),
        ("state export x", StateCommand("export", file="x")),
        ("state export x --generation 2", StateCommand("export", (Source(generation=2),), file="x")),
        ("state restore 3", StateCommand("restore", (Source(generation=3),))),
        ("state restore before", StateCommand("restore", (Source("before"),))),
        ("reset", StateCommand("reset")),
        ("reset users n", StateCommand("reset", keys=("users", "n"))),
        ("rollback", StateCommand("rollback")),
        ("rollback 3 --pid 9", StateCommand("rollback", (Source(generation=3),), pid=9)),
    ],
)
def test_what_is_said_is_understood(words: str, command: StateCommand) -> None:
    assert understand(*words.split()) == command


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("state lss", "unknown command 'state lss'; did you mean `livecore state ls`?"),
        ("state frobnicate", "there are ls, show, diff, export, restore"),
        ("state ls x", "unexpected argument 'x'; livecore state ls takes options only"),
        ("state export x y", "unexpected argument 'y'; livecore state export takes one file"),
        ("state show --depth deep", "--depth is 'deep'; it takes a number of levels"),
        ("state show --dept 3", "did you mean --depth?"),
        ("state diff", "no states are named; livecore state diff 3 now"),
        ("state diff 1 2 3", "3 states are named; livecore state diff takes 2"),
        ("state export", "no file is named; livecore state export FILE"),
        ("state restore", "no state is named; livecore state restore 3, or a file"),
        ("state restore 1 2", "2 states are named"),
        ("state restore now", "the state of now is what serves"),
        ("rollback saved", "saved is no generation; did you mean `livecore state restore saved`?"),
        ("rollback x.state", "did you mean `livecore state restore x.state`?"),
        ("reset --pid x", "--pid is 'x'"),
        ("reset -- x", "runs no program"),
        ("state ls -- x", "livecore state ls runs no program"),
        ("rollback 3 4", "2 states are named; livecore rollback takes 1"),
        ("restore 3", "unknown command 'restore'; did you mean `livecore state restore`?"),
        ("ls", "unknown command 'ls'; did you mean `livecore state ls`?"),
        ("state reset", "unknown command 'state reset'; did you mean `livecore reset`?"),
    ],
)
def test_a_mistake_gets_one_sentence(words: str, sentence: str) -> None:
    with pytest.raises(UsageError) as caught:
        understand(*words.split())
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_help_lists_every_command_and_what_it_takes() -> None:
    for words in (["state"], ["state", "--help"]):
        overview = understand(*words)
        assert isinstance(overview, Text)
        assert all(f"livecore state {name} " in overview.text for name in STATE_COMMANDS)
    for name in STATE_COMMANDS:
        text = understand("state", name, "--help")
        assert isinstance(text, Text)
        assert text.text.startswith(f"usage: livecore state {name}")
