"""While an interpreter gets warm nothing is collected; what a module decides about the collector counts."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from livereload_core.child.warming import GC_WHILE_WARMING, collect_normally


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)


def test_after_the_warm_up_objects_are_collected_as_ever() -> None:
    before = gc.get_threshold()
    gc.set_threshold(*GC_WHILE_WARMING)
    collect_normally()
    assert gc.get_threshold() == before
    assert gc.isenabled()


def test_a_module_that_sets_the_collector_at_import_is_left_alone() -> None:
    gc.set_threshold(*GC_WHILE_WARMING)
    gc.set_threshold(50_000, 20, 20)
    collect_normally()
    assert gc.get_threshold() == (50_000, 20, 20)
