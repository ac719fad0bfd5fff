"""What a run takes over from a configuration that was read again."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from livereload_core.core.changes import AT_RUN_TIME, Change, compare
from livereload_core.core.settings import LogFormat, Settings, Target, TargetKind

RUNNING = Settings(
    Target(TargetKind.ATTRIBUTE, "app", "app"), cwd="/project", root="/project", app_dir="/project"
)


def changed(**fields: Any) -> Change:
    return compare(RUNNING, RUNNING, dataclasses.replace(RUNNING, **fields))


def test_the_same_configuration_changes_nothing() -> None:
    assert changed() == Change(RUNNING, (), ())


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("reload_include", ("*.html",)),
        ("reload_dirs", ("/elsewhere",)),
        ("timeout_prepare", 3.0),
        ("checkpoint", 0.0),
        ("spare", False),
        ("preload", ("off",)),
        ("factory", True),
        ("env_file", "/project/.env"),
    ],
)
def test_what_can_change_while_the_program_runs_is_taken_over(field: str, value: object) -> None:
    change = changed(**{field: value})
    assert getattr(change.settings, field) == value
    assert (change.taken, change.waiting) == ((field,), ())


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("host", "0.0.0.0"),
        ("port", 9000),
        ("uds", "/run/app"),
        ("app_dir", "/project/src"),
        ("reload", False),
        ("log_format", LogFormat.JSON),
        ("keys", False),
    ],
)
def test_what_cannot_is_named_and_left_as_it_is(field: str, value: object) -> None:
    change = changed(**{field: value})
    assert change.settings == RUNNING
    assert (change.taken, change.waiting) == ((), (field,))


def test_what_waits_for_a_restart_is_told_once() -> None:
    wanted = dataclasses.replace(RUNNING, host="::1")
    later = dataclasses.replace(wanted, checkpoint=1.0)
    change = compare(RUNNING, wanted, later)
    assert (change.taken, change.waiting) == (("checkpoint",), ())


def test_what_goes_back_to_what_runs_waits_for_nothing() -> None:
    assert compare(RUNNING, dataclasses.replace(RUNNING, host="::1"), RUNNING) == Change(RUNNING, (), ())


def test_what_follows_from_other_fields_is_not_named() -> None:
    change = changed(env_file="/project/.env", env=(("A", "1"),), port_given=True, root="/")
    assert change.taken == ("env_file",)
    assert change.waiting == ()
    assert change.settings.env == (("A", "1"),)
    assert change.settings.root == "/project"


def test_only_what_makes_another_program_of_it_calls_for_a_reload() -> None:
    assert changed(factory=True).needs_reload
    assert changed(env_file="/project/.env").needs_reload
    assert not changed(checkpoint=1.0, reload_include=("*.html",)).needs_reload


def test_what_can_be_taken_over_are_fields_of_the_settings() -> None:
    assert {field.name for field in dataclasses.fields(Settings)} >= AT_RUN_TIME
