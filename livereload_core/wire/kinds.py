"""What a kind of message is: a frozen record of its annotations, known by its name.

Invariant: a kind is made by its class statement alone, and costs no more than that: each interpreter makes
all of them while it boots.
"""

from __future__ import annotations

from typing import Any, ClassVar, dataclass_transform

__all__ = ["Json", "Message", "values_of"]

Json = dict[str, Any]
"""What is JSON already, in a field."""


@dataclass_transform(frozen_default=True)
class Message:
    """Base of all messages; a subclass is a frozen record of its annotations and registers itself by name.

    To type checkers these are frozen dataclasses. They are none, because each interpreter makes all of them
    while it boots: ``dataclasses`` compiles six methods for every class, which takes as long as a tenth of
    everything else that a spare imports.

    Attributes:
        kinds: every message by its name.
        field_names: of this kind, in order.
    """

    kinds: ClassVar[dict[str, type[Message]]] = {}
    field_names: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls) -> None:
        cls.field_names = tuple(cls.__annotations__)
        Message.kinds[cls.__name__] = cls

    def __init__(self, *values: Any, **named: Any) -> None:
        names = self.field_names
        if len(values) > len(names):
            raise TypeError(f"{type(self).__name__} has {len(names)} fields, not {len(values)}")
        given = dict(zip(names, values, strict=False))
        twice = given.keys() & named.keys()
        unknown = named.keys() - set(names)
        # A default is an attribute of the class, where an instance without a value of its own finds it.
        missing = [name for name in names if name not in given | named and not hasattr(type(self), name)]
        if twice or unknown or missing:
            wrong = ", ".join(sorted({*twice, *unknown, *missing}))
            raise TypeError(f"{type(self).__name__} cannot be made: {wrong} missing, unknown or given twice")
        self.__dict__.update(given, **named)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"messages are frozen: {type(self).__name__}.{name} cannot be set")

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and values_of(other) == values_of(self)

    __hash__ = None  # type: ignore[assignment]  # some fields are dicts

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={value!r}" for name, value in values_of(self).items())
        return f"{type(self).__name__}({fields})"


def values_of(message: Message) -> dict[str, Any]:
    """Return the fields by name, in order."""
    return {name: getattr(message, name) for name in message.field_names}
