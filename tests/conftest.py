"""What every test of this project may use."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from livereload_core.testing import LivecoreProcess, free_port
from tests.e2e.launching import Launcher

_RUNS = pytest.StashKey[list[LivecoreProcess]]()


@pytest.fixture(scope="session", autouse=True)
def cache_of_the_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What the runs of the tests keep for the next time does not belong into the user's own cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def port() -> int:
    """A port that nobody listens on."""
    return free_port()


@pytest.fixture
def livecore(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Launcher]:
    """Starts real livecore processes, which have all ended when the test has, however it ended."""
    runs: list[LivecoreProcess] = []
    request.node.stash[_RUNS] = runs
    with ExitStack() as stack:
        yield Launcher(tmp_path, stack, runs)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show with a failure everything that the livecore processes of the test have printed."""
    report = yield
    if report.failed:
        for run in item.stash.get(_RUNS, []):
            report.sections.append(("livecore", run.transcript()))
    return report
