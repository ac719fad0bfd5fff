"""The table of options: it fits the settings, reads all places alike, and documents itself."""

from __future__ import annotations

import dataclasses

import pytest

from livereload_core.cli.options import (
    EXIT_CODES,
    OPTIONS,
    Kind,
    closest,
    read_text,
    read_toml,
    render_reference,
)
from livereload_core.core.settings import Settings
from livereload_core.errors import UsageError

BY_NAME = {option.name: option for option in OPTIONS}
DERIVED = {"target", "cwd", "root", "port_given", "env"}


def test_every_setting_has_exactly_one_option() -> None:
    fields = {field.name for field in dataclasses.fields(Settings)} - DERIVED
    assert sorted(option.field for option in OPTIONS) == sorted(fields)


def test_flags_variables_and_keys_are_derived_from_the_name() -> None:
    option = BY_NAME["timeout-graceful-shutdown"]
    assert option.flag == "--timeout-graceful-shutdown"
    assert option.env == "LIVECORE_TIMEOUT_GRACEFUL_SHUTDOWN"
    assert BY_NAME["no-reload"].opposite == "--reload"
    assert BY_NAME["factory"].opposite == "--no-factory"
    assert BY_NAME["port"].opposite == ""


def test_shown_defaults_are_those_of_the_settings() -> None:
    assert BY_NAME["port"].default == "8000"
    assert BY_NAME["timeout-quiesce"].default == "0.1"
    assert BY_NAME["no-reload"].default == "off"
    assert BY_NAME["env-file"].default == "none"


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("port", "0", 0),
        ("port", "65535", 65535),
        ("host", "localhost", "localhost"),
        ("host", "[::1]", "::1"),
        ("host", "::1", "::1"),
        ("probation", "0", 0.0),
        ("timeout-hook", "2.5", 2.5),
        ("no-reload", "1", False),
        ("no-reload", "off", True),
        ("factory", "yes", True),
        ("reload-include", "*.yaml, *.toml\n data/ ,", ("*.yaml", "*.toml", "data/")),
        ("log-format", "json", "json"),
    ],
)
def test_text_is_read_as_the_option_says(name: str, text: str, value: object) -> None:
    assert read_text(BY_NAME[name], text, "here") == value


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("port", "65536", "from 0 to 65535"),
        ("port", "-1", "from 0 to 65535"),
        ("port", "٨٠", "from 0 to 65535"),
        ("host", "http://x", "a bare address"),
        ("host", "0.0.0.0:80", "--host 0.0.0.0 --port 80"),
        ("host", " ", "address to serve on"),
        ("timeout-hook", "0", "more than 0"),
        ("timeout-hook", "soon", "a number of seconds"),
        ("probation", "nan", "0 or more"),
        ("probation", "inf", "0 or more"),
        ("no-reload", "maybe", "1 or 0"),
        ("log-format", "jsno", "did you mean json?"),
        ("uds", "a\0b", "Unix socket"),
    ],
)
def test_text_that_does_not_fit_names_place_value_and_remedy(name: str, text: str, expected: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_text(BY_NAME[name], text, "HERE")
    assert str(caught.value).startswith(f"HERE is {text!r}; ")
    assert expected in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("port", "8000"),
        ("port", True),
        ("port", 8000.0),
        ("host", 1),
        ("no-reload", 1),
        ("timeout-hook", "5"),
        ("timeout-hook", False),
        ("reload-dir", "src"),
        ("reload-dir", ["src", 1]),
    ],
)
def test_toml_of_the_wrong_type_is_refused(name: str, value: object) -> None:
    with pytest.raises(UsageError, match="it takes"):
        read_toml(BY_NAME[name], value, "HERE")


def test_toml_of_the_right_type_is_taken() -> None:
    assert read_toml(BY_NAME["port"], 80, "") == 80
    assert read_toml(BY_NAME["timeout-hook"], 2, "") == 2.0
    assert read_toml(BY_NAME["no-reload"], True, "") is False
    assert read_toml(BY_NAME["reload-dir"], ["a", "b"], "") == ("a", "b")


def test_look_alikes_are_found_whatever_the_case() -> None:
    assert closest("App.py", ["map.py", "app.py"]) == "app.py"
    assert closest("prot", ["host", "port"]) == "port"
    assert closest("zzz", ["host", "port"]) == ""


def test_reference_lists_every_option_and_exit_code() -> None:
    text = render_reference()
    for option in OPTIONS:
        row = next(line for line in text.splitlines() if line.startswith(f"| `{option.flag}`"))
        assert f"`{option.env}`" in row
        assert f"`{option.name}`" in row
        assert row.count("|") - row.count("\\|") == 7
    for code in EXIT_CODES:
        assert f"| {code} |" in text


def test_kinds_have_short_names_for_help() -> None:
    assert Kind.FOLDERS.metavar == "FOLDER"
    assert Kind.SECONDS_OR_ZERO.metavar == "SECONDS"


@pytest.mark.parametrize("word", ["auto", "off"])
def test_words_that_stand_for_a_whole_list_may_stand_as_a_string_in_the_file(word: str) -> None:
    assert read_toml(BY_NAME["preload"], word, "") == read_toml(BY_NAME["preload"], [word], "") == (word,)
    with pytest.raises(UsageError, match='it takes "auto", "off", or a list'):
        read_toml(BY_NAME["preload"], "numpy", "HERE")
    with pytest.raises(UsageError, match="it takes a list"):
        read_toml(BY_NAME["preload-exclude"], word, "HERE")
