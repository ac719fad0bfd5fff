"""Messages: each type comes back equal; anything else is refused."""

from __future__ import annotations

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
    tuple[int, ...]: (1, 2**40),
    dict[str, int]: {"a request in flight": 2},
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
    return kind(**{name: SAMPLES[hints[name]] for name in kind.field_names})


@pytest.mark.parametrize("name", sorted(Message.kinds))
def test_every_message_comes_back_equal(name: str) -> None:
    message = sample(Message.kinds[name])
    assert decode(encode(message)) == message


def test_a_message_is_a_frozen_record_of_what_it_was_given() -> None:
    message = messages.ListenersOpened(3, addresses=())
    assert (message.request, message.addresses, message.error) == (3, (), "")
    assert message == messages.ListenersOpened(3, (), "")
    assert message != messages.ListenersOpened(4, ())
    assert repr(message) == "ListenersOpened(request=3, addresses=(), error='')"
    with pytest.raises(AttributeError, match="frozen"):
        message.request = 4  # type: ignore[misc]


@pytest.mark.parametrize(
    ("values", "named", "wrong"),
    [
        ((1, ()), {"request": 2}, "request"),
        ((1,), {}, "addresses"),
        ((1, ()), {"colour": "red"}, "colour"),
        ((1, (), "", 4), {}, "3 fields, not 4"),
    ],
)
def test_a_message_refuses_what_it_does_not_have(values: Any, named: Any, wrong: str) -> None:
    with pytest.raises(TypeError, match=wrong):
        messages.ListenersOpened(*values, **named)


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
