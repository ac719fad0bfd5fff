"""Whether the interpreter in reserve is still good: made for this installation, free of the user's code."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from livereload_core.core import events as ev
from livereload_core.core.states import State

if TYPE_CHECKING:
    from livereload_core.parent.children import GenerationHandle
    from livereload_core.parent.supervisor import Supervisor

__all__ = ["Spares"]

CARE = 1.0
"""Seconds between two looks at the installation. A dozen calls of stat, 0.005 % of a core."""


class Spares:
    """Remembers what each interpreter was made for, and replaces those that are out of date.

    A replacement takes the name of the one before it, so that nobody else need know.
    """

    def __init__(self, run: Supervisor) -> None:
        self._run = run
        self._made_for: dict[ev.Child, object] = {}
        self._seen: object = None
        self._taken_over = 0
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Look after the spare from now on."""
        self._look()

    def close(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def about_to_start(self, child: ev.Child) -> None:
        """What changes from now on is later than this interpreter."""
        self._made_for[child] = self._run.messages.warmth.fingerprint()

    def forget(self, child: ev.Child) -> None:
        """A child was reaped."""
        self._made_for.pop(child, None)

    def refresh(self, child: ev.Child) -> None:
        """Replace an interpreter that was made for another installation or environment."""
        if self._made_for.get(child) != self._run.messages.warmth.fingerprint():
            self.renew(child)

    def renew(self, child: ev.Child) -> None:
        """A new interpreter takes the place of one that has not begun with the user's code."""
        outdated = self._run.children.pop(child, None)
        if outdated is not None:
            outdated.abandon()
            self._run.start_child(child)

    def spoiled(self, child: ev.Child) -> None:
        """A spare has imported the user's code; what made it do so is left to the program from now on.

        That is no death of a spare: each one excludes one more module, so there is an end to it. One that
        was activated in the meantime has not looked at its orders yet, so its successor gets them.
        """
        if child in (self._run.machine.spare, self._run.machine.candidate):
            self.renew(child)
            self._run.messages.activate_again(child)

    def takes_over(self, dead: GenerationHandle) -> bool:
        """Whether another interpreter takes the place of one that died before it had begun with its order.

        A spare may be killed in the moment of a save (for want of memory): that says nothing of the new code.
        Once for each attempt, so that one whose interpreter cannot live at all comes to an end.
        """
        machine = self._run.machine
        attempt = machine.attempt
        if (
            dead.begun
            or dead.number != machine.candidate
            or machine.state is not State.PREPARE
            or attempt is None
            or attempt.number == self._taken_over
        ):
            return False
        self._taken_over = attempt.number
        self._run.start_child(dead.number)
        self._run.messages.activate_again(dead.number)
        return True

    def _look(self) -> None:
        # An installation takes a while: it has come to rest when two looks see the same.
        found, before = self._run.messages.warmth.fingerprint(), self._seen
        self._seen = found
        spare = self._run.machine.spare
        if spare in self._run.children and found == before:
            self.refresh(spare)
        self._timer = self._run.loop.call_later(CARE, self._look)
