"""How a restorer lets tracked containers fill themselves while a stream is read."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from livereload_core.state.codec import load
from livereload_core.state.descriptors import Incoming
from livereload_core.state.shapes import Conversion
from livereload_core.state.tracked.applying import Steps
from livereload_core.state.tracked.compared import Compared
from livereload_core.state.tracked.containers import TrackedDict
from livereload_core.state.tracked.family import kind_of
from livereload_core.state.tracked.journal import attached, is_container
from livereload_core.state.tracked.parts import Layer, Part

__all__ = ["filling", "fitted", "undo"]


@contextlib.contextmanager
def filling(
    received: Incoming,
    find: Callable[[str], Any],
    steps: Callable[[str], Steps | None],
    classes: Mapping[str, Any],
    conversion: Conversion,
    aliases: dict[tuple[str, str], type],
) -> Iterator[None]:
    """Let the stream that is read in the block fill containers.

    Args:
        received: what comes beside it. It leads to the restorer in the block, and no longer: whoever restores
            holds it, and in a cycle the fds that it knows would stay open.
        find: returns the container of this generation for the key of a root.
        steps: returns what migrates each value of a root, nothing if that needs all of them, and None where
            there is nothing to migrate.
        classes: shapes of the classes in the stream and the parts.
        conversion: which of them have changed.
        aliases: (module, qualname) of then -> class of today.
    """
    moved = any(tuple(key.split(":", 1)) in aliases for key in classes)

    def read(data: memoryview) -> Part:
        found: Part = load(data, 0, (), aliases)
        return found

    # What lies in segments can be handed on as it is where the classes in it are as they were.
    def fill(layer: Layer) -> Any:
        container = find(layer.key)
        inherits = not conversion.edits and not moved
        if isinstance(container, Compared):
            fresh = container.receive(layer, read, inherits=inherits, classes=classes)
            received.parts += bool(container.rows)
            return fresh
        received.filled.append(container)
        each = steps(layer.key)
        received.parts += attached(container).receive(
            container,
            layer,
            read,
            each or (),
            trial=received.scratch,
            inherits=inherits and each is None,
            again=each == (),
            classes=dict(classes),
        )
        if each:
            received.migrated.add(layer.key)
        return container

    received.fill_container = fill
    try:
        yield
    except BaseException:
        undo(received.filled)
        raise
    finally:
        received.fill_container = None


def undo(found: Iterable[Any]) -> None:
    """Make the containers among these what the new code had made them."""
    for container in found:
        if is_container(container):
            attached(container).undo(container)


def fitted(live: Any, new: Any) -> Any:
    """Let a dict become a tracked one, or the other way, where the declaration has become so."""
    if type(live) is dict and kind_of(new) is TrackedDict:
        return dict(new)
    if type(new) is dict and kind_of(live) is TrackedDict:
        return TrackedDict(new)
    return new
