"""Adapters are found through entry points; a broken one is named, and so is what nobody takes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from livereload_core.child.adapter import PreparingAdapter, RunContext, TargetAdapter, choose, load_adapters
from livereload_core.errors import UsageError
from livereload_core.facts import ENTRY_POINTS
from livereload_core.parent.plugins import registered


def discover() -> list[TargetAdapter]:
    """What the parent finds, as the child loads it."""
    return load_adapters(registered(sys.path)[0])


class Takes:
    """An adapter for objects of one type."""

    def __init__(self, name: str = "takes", kind: type = object, priority: int = 0) -> None:
        self.name = name
        self.priority = priority
        self._kind = kind

    def matches(self, target: object) -> bool:
        return isinstance(target, self._kind)

    def run(self, target: Any, context: RunContext) -> None:
        raise NotImplementedError


PLUGIN = """
class Good:
    name = "good"
    priority = 1000
    def matches(self, target): return target == "mine"
    def run(self, target, context): pass

class NoRun:
    name = "no run"
    priority = 1
    def matches(self, target): return False

class Raises(Good):
    def __init__(self): raise RuntimeError("no licence")

class WantsMore(Good):
    def __init__(self, what): pass

number = 3
"""


def _install(folder: Path, monkeypatch: pytest.MonkeyPatch, **points: str) -> None:
    """Put a distribution with these entry points on ``sys.path``, as an installed plug-in is."""
    module = f"livecore_plugin_{abs(hash(str(folder)))}"
    (folder / f"{module}.py").write_text(PLUGIN)
    info = folder / f"{module}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
    lines = [f"{name} = {value.format(module)}" for name, value in points.items()]
    (info / "entry_points.txt").write_text("\n".join([f"[{ENTRY_POINTS}]", *lines, ""]))
    monkeypatch.syspath_prepend(folder)


def test_our_own_adapters_are_registered_and_the_more_special_ones_are_asked_first() -> None:
    names = [adapter.name for adapter in discover()]
    ours = [name for name in names if name in {"aiohttp", "asgi", "wsgi", "coroutine", "function"}]
    assert ours == ["aiohttp", "asgi", "wsgi", "coroutine", "function"]


def test_finding_adapters_imports_no_framework() -> None:
    for adapter in discover():
        assert isinstance(adapter, TargetAdapter)
        source = sys.modules[type(adapter).__module__].__dict__
        assert not {"aiohttp", "uvicorn", "fastapi", "flask", "web"} & source.keys()


def test_an_installed_adapter_is_found_and_stands_where_its_priority_puts_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _install(tmp_path, monkeypatch, mine="{}:Good")
    adapters = discover()
    assert adapters[0].name == "good"
    assert choose(adapters, "mine", "app:app") is adapters[0]


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("{}_missing:Good", "No module named"),
        ("{}:Missing", "Missing"),
        ("{}:Raises", "no licence"),
        ("{}:WantsMore", "what"),
        ("{}:number", "not callable"),
    ],
)
def test_an_adapter_that_cannot_be_made_is_named_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str, reason: str
) -> None:
    _install(tmp_path, monkeypatch, broken=value)
    with pytest.raises(UsageError) as raised:
        discover()
    text = str(raised.value)
    assert "the target adapter 'broken'" in text
    assert "cannot be loaded" in text
    assert reason in text
    assert ENTRY_POINTS in raised.value.advice


def test_an_object_that_is_no_adapter_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _install(tmp_path, monkeypatch, half="{}:NoRun")
    with pytest.raises(UsageError, match=r"'half' \(.*:NoRun\) lacks name, priority, matches\(\) or run\(\)"):
        discover()


def test_the_first_adapter_that_takes_the_target_gets_it() -> None:
    first, second, third = Takes("a", str), Takes("b", int), Takes("c", int)
    assert choose([first, second, third], 3, "app:number") is second


@pytest.mark.parametrize(
    ("target", "described"),
    [(3.5, "a float"), (None, "a NoneType"), (Path, "the type 'Path'"), (len, "len'")],
)
def test_what_nobody_takes_is_said_with_what_it_is_and_what_could_be(target: object, described: str) -> None:
    with pytest.raises(UsageError) as raised:
        choose([Takes("asgi", str), Takes("wsgi", bytes)], target, "shop:thing")
    text = str(raised.value)
    assert text.startswith("'shop:thing' is ")
    assert described in text
    assert "(asgi, wsgi)" in text
    assert "--factory" in raised.value.advice


def test_uvicorn_is_configured_before_the_pause() -> None:
    (asgi,) = [adapter for adapter in discover() if adapter.name == "asgi"]
    assert isinstance(asgi, PreparingAdapter)
    assert not any(
        isinstance(adapter, PreparingAdapter) for adapter in discover() if adapter.name == "aiohttp"
    )
