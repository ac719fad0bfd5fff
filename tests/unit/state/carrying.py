"""Values with fds through a stream and back, within one process: two owners of each open file."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from livereload_core.state.codec import Dumper, load
from livereload_core.state.descriptors import Handed, Incoming, receiving

__all__ = ["Carried", "carry", "census", "refuse", "send"]


class Carried:
    """A value on its way.

    Attributes:
        handed: what travels beside the stream.
    """

    def __init__(self, stream: bytes, handed: Handed) -> None:
        self.stream = stream
        self.handed = handed

    def receive(self, *, scratch: bool = False) -> tuple[Any, Incoming]:
        """Read it, once more if need be."""
        incoming = Incoming(list(self.handed.fds), scratch=scratch)
        with receiving(incoming):
            return load(self.stream, 0, (), {}), incoming


def send(value: Any) -> Carried:
    """Write a value; the duplicates are the caller's to close."""
    dumper = Dumper((), lambda name: True)
    stream, _ = dumper.dump(value)
    return Carried(stream, dumper.outgoing.hand_over([dumper.outgoing.end()]))


def carry(value: Any) -> Any:
    """Send a value and return what arrives, as after a commit."""
    carried = send(value)
    try:
        back, incoming = carried.receive()
    finally:
        carried.handed.close()
    for act in incoming.at_commit:
        act()
    return back


def refuse(value: Any, error: type[Exception], check: Callable[[Any], object]) -> None:
    """Expect that a value is refused, without a trace in the table of open files."""
    before = census()
    try:
        carry(value)
    except error as found:
        check(found)
    else:
        raise AssertionError("was carried")
    assert census() == before


def census() -> dict[str, str]:
    """Return what the open fds of this process lead to."""
    found = {}
    for number in os.listdir("/proc/self/fd"):
        try:
            found[number] = os.readlink(f"/proc/self/fd/{number}")
        except OSError:
            continue  # that of the listing itself
    return {number: link for number, link in found.items() if not Path(link).name.startswith("fd")}
