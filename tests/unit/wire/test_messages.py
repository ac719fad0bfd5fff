"""Messages: each type comes back equal; anything else is refused."""

from __future__ import annotations

import dataclasses
import typing
from typing import Any

import pytest

from livereload_core.errors import ProtocolViolationError
from livereload_core.facts import Failure, RootFate, RootReport
from livereload_core.wire import messages
from livereload_core.wire.messages import Message, decode, encode

SAMPLES: dict[Any, Any] = {
    int: 7,
    float: 0.25,
    str: 'an "Ä" \udc80',
    bool: True,
    tuple[str, ...]: ("a", "b"),
    tuple[int, ...]: (3, 1),
    typing.Optional[int]: 9,  # noqa: UP045
    tuple[dict[str, Any], ...]: ({"port": 1},),
    dict[str, str]: {"/a.py": "00"},
    dict[str, Any]: {"target": {"args": [1]}},
    tuple[RootReport, ...]: (RootReport("app:hits", RootFate.LOST, "why", "what to do"),),
    Failure: Failure("check", "reason", "Traceback", ("/a.py",)),
    typing.Optional[Failure]: Failure("check", "reason", "Traceback", ("/a.py",)),  # noqa: UP045
}


def sample(kind: type[Message]) -> Message:
    hints = typing.get_type_hints(kind)
    fields = dataclasses.fields(kind)  # type: ignore[arg-type]
    return kind(**{field.name: SAMPLES[hints[field.name]] for field in fields})


@pytest.mark.parametrize("name", sorted(Message.kinds))
def test_every_message_comes_back_equal(name: str) -> None:
    message = sample(Message.kinds[name])
    assert decode(encode(message)) == message


def test_every_message_is_exported() -> None:
    assert set(Message.kinds) <= set(messages.__all__)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"{}",
        b"[]",
        b'["Hello"]',
        b'["Unknown",{}]',
        b'["Hello",{"pid":1}]',
        b'["Hello",{"x":1}]',
        b"\xff",
    ],
)
def test_anything_else_is_refused(payload: bytes) -> None:
    with pytest.raises(ProtocolViolationError):
        decode(payload)
