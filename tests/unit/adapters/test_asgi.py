"""What the adapter for ASGI does beside serving."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from livereload_core.adapters.asgi import spare_silent_access_log


@pytest.fixture
def access_log() -> Iterator[logging.Logger]:
    log = logging.getLogger("uvicorn.access")
    before = log.level, log.handlers, log.propagate
    log.handlers, log.propagate = [logging.NullHandler()], True
    yield log
    log.level, log.handlers, log.propagate = before


def test_access_log_that_says_nothing_costs_no_request_a_line(access_log: logging.Logger) -> None:
    access_log.setLevel(logging.WARNING)
    spare_silent_access_log()
    assert not access_log.hasHandlers()  # what uvicorn asks for each connection


def test_access_log_that_the_program_lets_speak_speaks(access_log: logging.Logger) -> None:
    access_log.setLevel(logging.INFO)
    spare_silent_access_log()
    assert access_log.hasHandlers()
