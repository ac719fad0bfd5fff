"""A program goes on while its containers are written in the background: nothing is lost, nor out of order."""

from __future__ import annotations

import random
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from livereload_core.state.tracked import journal
from tests.unit.state.tracked.generations import Generations
from tests.unit.state.tracked.test_model import small

ROUNDS = 4
STEPS = 4000


@pytest.fixture(autouse=True)
def _busy(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    small(monkeypatch)
    monkeypatch.setattr(journal, "_DUTY", 0)
    monkeypatch.setattr(journal, "_SLACK", 3000)
    monkeypatch.setattr(journal, "_EXCESS", 200)
    monkeypatch.setattr(journal, "_FLOOD", 2000)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


class Program:
    """Does the same to a tracked dict and to a plain one."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.kept: Any = None
        self.model: dict[Any, Any] = {}
        self.held: list[tuple[Any, Any]] = []

    def step(self, number: int) -> None:
        key = self.random.randrange(120)
        match self.random.choice(["set", "change", "change", "delete", "move", "held", "all"]):
            case "set":
                value = self.random.choice([list, dict, int])
                for target in (self.kept, self.model):
                    made: Any = value()
                    target[key] = {"deep": [number]} if value is dict else made
            case "change" if key in self.model:
                self.change(self.kept[key], self.model[key], number)
                if self.random.random() < 0.2:
                    self.held.append((self.kept[key], self.model[key]))
            case "delete" if self.random.random() < 0.7:
                assert self.kept.pop(key, None) == self.model.pop(key, None)
            case "move" if key in self.model:
                for target in (self.kept, self.model):
                    target[key] = target.pop(key)
            case "held" if self.held:
                self.change(*self.held.pop(self.random.randrange(len(self.held))), -number)
            case "all" if self.random.random() < 0.02:
                for (_, one), (_, other) in zip(self.kept.items(), self.model.items(), strict=True):
                    self.change(one, other, 0)

    @staticmethod
    def change(one: Any, other: Any, number: int) -> None:
        for value in (one, other):
            if isinstance(value, list):
                value.append(number)
            elif isinstance(value, dict):
                value["deep"].append(number)


class Turns:
    """Whoever leads a generation does one thing at a time: writes ahead, or exports."""

    def __init__(self) -> None:
        self._next = threading.Lock()
        self._turn = threading.Lock()

    def __enter__(self) -> None:
        with self._next:
            self._turn.acquire()

    def __exit__(self, *_: object) -> None:
        self._turn.release()


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_program_that_goes_on_meanwhile_finds_everything_in_place(seed: int) -> None:
    generations, program, turns = Generations(), Program(seed), Turns()
    for round_ in range(ROUNDS):
        program.kept = generations.kept
        stop = threading.Event()
        failures: list[BaseException] = []

        def write(stop: threading.Event = stop, failures: list[BaseException] = failures) -> None:
            try:
                while not stop.is_set():
                    with turns:
                        generations.catch_up()
            except BaseException as error:
                failures.append(error)

        thread = threading.Thread(target=write)
        thread.start()
        try:
            for number in range(STEPS):
                program.step(number)
                if number % 400 == 399:
                    with turns:
                        copy = generations.copy()
                    assert list(dict.items(copy)) == list(program.model.items())
        finally:
            stop.set()
            thread.join()
        assert not failures
        program.held.clear()
        generations.reload(patient=bool(round_ % 2))
        assert list(dict.items(generations.kept)) == list(program.model.items())
    generations.close()
