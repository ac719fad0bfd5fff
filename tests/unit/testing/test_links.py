"""The ledger must see every kind of fault, or the tests that rely on it show nothing."""

from __future__ import annotations

import asyncio

import pytest

from livereload_core.testing.links import Client, Crowd, Ledger, Said, read_answer


def _ledger(*numbers: int, served: list[int] | None = None) -> Ledger:
    ledger = Ledger("test")
    for at, number in enumerate(numbers):
        count = served[at] if served is not None else at + 1
        ledger.hears(Said(number, "1", False, count), now=0.0)
    return ledger


def test_numbers_in_order_are_flawless() -> None:
    assert _ledger(1, 2, 3).flawless


def test_a_number_that_is_passed_over_is_a_gap() -> None:
    assert _ledger(1, 3).gaps == {2}
    assert _ledger(2).gaps == {1}


def test_a_number_that_comes_late_is_reordered_and_no_gap() -> None:
    ledger = _ledger(1, 3, 2)
    assert (ledger.gaps, ledger.reordered, ledger.flawless) == (set(), 1, False)


def test_a_number_that_comes_again_is_a_duplicate() -> None:
    ledger = _ledger(1, 2, 2)
    assert (ledger.duplicates, ledger.flawless) == (1, False)


def test_a_count_of_the_program_that_jumps_or_stands_is_seen() -> None:
    assert _ledger(1, 2, served=[1, 1]).miscounted == 1
    assert _ledger(1, 2, served=[1, 3]).miscounted == 1


def test_the_longest_round_trip_is_kept() -> None:
    ledger = Ledger("test")
    for number, took in ((1, 0.5), (2, 2.0), (3, 1.0)):
        ledger.says(number, now=10.0)
        assert ledger.outstanding == 1
        ledger.hears(Said(number, "1", True, number), now=10.0 + took)
    assert (ledger.longest, ledger.resumed, ledger.outstanding) == (2.0, 3, 0)


@pytest.mark.parametrize("line", ["", "1 1 0", "x 1 0 1", "1 1 0 1 1"])
def test_a_line_that_is_no_answer_is_refused(line: str) -> None:
    with pytest.raises(ValueError):
        read_answer(line)


class _Parrot(Client):
    """Answers itself; hangs up after some answers."""

    def __init__(self, lasts: int) -> None:
        super().__init__("parrot")
        self._lasts = lasts
        self._said: asyncio.Queue[int] = asyncio.Queue()
        self.left = False

    async def open(self) -> None:
        pass

    async def say(self, number: int) -> None:
        self._said.put_nowait(number)

    async def hear(self) -> Said:
        number = await self._said.get()
        if number > self._lasts:
            raise ConnectionError("the parrot has left")
        return Said(number, "1", False, number)

    async def close(self) -> None:
        self.left = True


def test_a_crowd_talks_rests_and_goes_on() -> None:
    parrot = _Parrot(lasts=1_000_000)
    with Crowd(pace=0.0) as crowd:
        crowd.join([parrot])
        crowd.exchanged(5)
        crowd.rest()
        at_rest = parrot.ledger.received
        assert parrot.ledger.outstanding == 0
        assert parrot.ledger.received == parrot.ledger.sent
        crowd.go_on()
        crowd.exchanged(5)
        assert parrot.ledger.received >= at_rest + 5
        crowd.all_heard("1")
    crowd.assert_flawless()
    assert parrot.left


def test_a_connection_that_ends_before_its_time_is_no_flawless_crowd() -> None:
    with Crowd(pace=0.0) as crowd:
        crowd.join([_Parrot(lasts=3)])
        crowd.exchanged(100)
    with pytest.raises(AssertionError, match="the parrot has left"):
        crowd.assert_flawless()
