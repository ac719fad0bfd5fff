"""Streams in pieces: the state after some bytes must not depend on how they were cut."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeVar

from hypothesis import settings, strategies

__all__ = ["assert_cuts_do_not_matter", "cut_lengths", "few", "pieces"]


class Framer(Protocol):
    def feed(self, data: bytes, /) -> object: ...


FramerT = TypeVar("FramerT", bound=Framer)

cut_lengths = strategies.lists(strategies.integers(1, 40), max_size=30)

few = settings(deadline=None, max_examples=25)
"""For tests that look at every cut of each example: there are hundreds in one."""


def pieces(stream: bytes, lengths: Iterable[int]) -> Iterator[bytes]:
    """Cut a stream into pieces of these lengths, and the rest."""
    for length in lengths:
        piece, stream = stream[:length], stream[length:]
        if piece:
            yield piece
    if stream:
        yield stream


def assert_cuts_do_not_matter(
    stream: bytes,
    lengths: list[int],
    fresh: Callable[[], FramerT],
    state: Callable[[FramerT], object],
) -> None:
    """Compare, after each byte of a stream, the state by bytes with that by one chunk; and once by pieces."""
    by_bytes = fresh()
    for end in range(1, len(stream) + 1):
        by_bytes.feed(stream[end - 1 : end])
        whole = fresh()
        whole.feed(stream[:end])
        assert state(by_bytes) == state(whole), stream[:end]
    by_pieces, whole = fresh(), fresh()
    whole.feed(stream)
    for piece in pieces(stream, lengths):
        by_pieces.feed(piece)
    assert state(by_pieces) == state(whole)
