"""Settings cross to the child as JSON and come back equal; targets are shown as they were typed."""

from __future__ import annotations

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livereload_core.core.settings import LogFormat, Settings, Target, TargetKind

_TEXT = st.text(max_size=8)
_TEXTS = st.lists(_TEXT, max_size=3).map(tuple)
_SECONDS = st.floats(min_value=0, max_value=1e6)
_TARGETS = st.builds(Target, st.sampled_from(TargetKind), name=_TEXT, attribute=_TEXT, args=_TEXTS)
_STRATEGIES = {
    "Target": _TARGETS,
    "str": _TEXT,
    "int": st.integers(0, 65535),
    "bool": st.booleans(),
    "float": _SECONDS,
    "tuple[tuple[str, str], ...]": st.lists(st.tuples(_TEXT, _TEXT), max_size=3).map(tuple),
    "tuple[str, ...]": _TEXTS,
    "LogFormat": st.sampled_from(LogFormat),
}
# A field of a type that is not listed fails here, so that a new setting cannot be left out of the round trip.
_SETTINGS = st.builds(
    Settings, **{field.name: _STRATEGIES[str(field.type)] for field in dataclasses.fields(Settings)}
)


@given(_SETTINGS)
def test_settings_come_back_from_json_as_they_were(settings: Settings) -> None:
    restored = Settings.from_json(json.loads(json.dumps(settings.to_json())))
    assert restored == settings
    assert hash(restored) == hash(settings)  # tuples again, not the lists of JSON


@pytest.mark.parametrize("kind", TargetKind)
def test_every_kind_of_target_comes_back(kind: TargetKind) -> None:
    settings = Settings(Target(kind, "shop.web", "app", ("--fast", "")), cwd="/a", root="/a", app_dir="/a")
    assert Settings.from_json(json.loads(json.dumps(settings.to_json()))) == settings


def test_what_is_read_is_not_changed() -> None:
    data = Settings(Target(TargetKind.SCRIPT, "a.py"), cwd="/a", root="/a", app_dir="/a").to_json()
    before = json.dumps(data)
    Settings.from_json(data)
    assert json.dumps(data) == before


def test_a_setting_that_this_version_does_not_know_is_refused() -> None:
    data = Settings(Target(TargetKind.SCRIPT, "a.py"), cwd="/a", root="/a", app_dir="/a").to_json()
    with pytest.raises(TypeError, match="colour"):
        Settings.from_json({**data, "colour": "blue"})


@pytest.mark.parametrize(
    ("target", "shown"),
    [
        (Target(TargetKind.ATTRIBUTE, "shop.web", "site.app"), "shop.web:site.app"),
        (Target(TargetKind.MODULE, "shop.web"), "shop.web"),
        (Target(TargetKind.SCRIPT, "tools/run.py"), "tools/run.py"),
        (Target(TargetKind.PACKAGE, "shop"), "-m shop"),
    ],
)
def test_a_target_is_shown_as_it_was_typed(target: Target, shown: str) -> None:
    assert str(target) == shown
    assert str(dataclasses.replace(target, args=("x",))) == shown
