"""The good path: from a prepared candidate to a serving one, and what becomes of the old generation."""

from __future__ import annotations

from livereload_core.core import commands as cmd
from livereload_core.core import events as ev
from livereload_core.core.attempt import Attempt, Kind
from livereload_core.core.decider import STOP_GRACE, Decider
from livereload_core.core.records import NoticeKind, Outcome
from livereload_core.core.states import PARTS, State
from livereload_core.facts import RootFate

__all__ = ["MAX_DRAINING", "Switching"]

PROOF = 2.0
"""Seconds of service after which a generation counts as proven without an answer."""
MAX_DRAINING = 4
"""Old generations that may finish their requests at once; beyond it the oldest is killed."""


class Switching(Decider):
    """Leads an attempt through its states."""

    def _on_prepared(self, event: ev.Prepared) -> None:
        attempt = self._current(event.child, event.attempt, self.candidate, State.PREPARE)
        if attempt is None:
            return
        attempt.mark_parts(PARTS[State.PREPARE], self._now, second=event.seconds)
        attempt.foreign = event.foreign
        if self.active is None:
            self._rehydrate(attempt)
        elif attempt.reset:
            self._quiesce(attempt)
        else:
            self._enter(State.PRECOPY)
            if attempt.earlier:
                # What is to be proved is that today's code takes that state; today's state is given up.
                self._do(cmd.AskPrecopy(event.child, attempt.number, attempt.keys, attempt.earlier))
            else:
                self._do(cmd.AskExport(self.active, attempt.number, attempt.keys))

    def _on_exported(self, event: ev.Exported) -> None:
        attempt = self._current(event.child, event.attempt, self.active, State.PRECOPY)
        if attempt is not None and self.candidate is not None:
            attempt.mark("export", self._now)
            self._do(cmd.AskPrecopy(self.candidate, attempt.number, attempt.keys))

    def _on_precopied(self, event: ev.Precopied) -> None:
        attempt = self._current(event.child, event.attempt, self.candidate, State.PRECOPY)
        if attempt is not None:
            self._quiesce(attempt)

    def _quiesce(self, attempt: Attempt) -> None:
        assert self.active is not None
        if self.frozen is not None:
            # An edit came during the probation of the one before: one old generation stands still at most.
            self._retire_frozen()
        self._enter(State.QUIESCE)
        attempt.old = self.active
        self._do(cmd.AskQuiesce(self.active, attempt.number))

    def _on_quiesced(self, event: ev.Quiesced) -> None:
        attempt = self._current(event.child, event.attempt, self.active, State.QUIESCE)
        if attempt is None:
            return
        attempt.lingering = event.lingering
        self._enter(State.FREEZE)
        self._do(
            cmd.AskFreeze(
                event.child,
                attempt.number,
                export=not attempt.reset,
                keys=attempt.keys,
                needed=not attempt.earlier,
            )
        )

    def _on_frozen(self, event: ev.Frozen) -> None:
        attempt = self._current(event.child, event.attempt, self.active, State.FREEZE)
        if attempt is None:
            return
        attempt.connections = event.connections
        attempt.moved, attempt.kept_back = event.moved, event.kept_back
        self._rehydrate(attempt)

    def _rehydrate(self, attempt: Attempt) -> None:
        assert self.candidate is not None
        self._enter(State.REHYDRATE)
        with_state = (attempt.kind is not Kind.START or attempt.resume) and not attempt.reset
        self._do(cmd.AskRehydrate(self.candidate, attempt.number, with_state, attempt.keys, attempt.earlier))

    def _on_adopted(self, event: ev.Adopted) -> None:
        attempt = self._current(event.child, event.attempt, self.candidate, State.REHYDRATE)
        if attempt is not None:
            attempt.mark_parts(PARTS[State.REHYDRATE], self._now, second=event.seconds)
            self._enter(State.VERIFY)

    def _on_ready(self, event: ev.Ready) -> None:
        attempt = self._current(event.child, event.attempt, self.candidate, State.VERIFY)
        if attempt is None:
            return
        attempt.roots = event.roots
        attempt.notes += event.notes
        self._enter(State.COMMIT)
        self._do(cmd.HideHold(), cmd.AskCommit(event.child, attempt.number))

    def _on_serving(self, event: ev.Serving) -> None:
        attempt = self._current(event.child, event.attempt, self.candidate, State.COMMIT)
        if attempt is None:
            return
        self._deadlines.pop(("spare", 0), None)
        old, old_generation = self.active, self.generation
        self._last_generation += 1
        self.generation = self._last_generation
        self.active, self.candidate = self.candidate, None
        self._failure = None
        self._proved = False
        self._retries = 0
        self._spare_deaths = 0
        if attempt.kind is not Kind.RECOVER:
            self._unproven_deaths = 0
        self._has_before = attempt.kind is Kind.RELOAD and old is not None
        self._recovered = attempt.kind is Kind.RECOVER
        self._deadlines["proof", 0] = self._now + PROOF
        self._settle_old(old, old_generation, attempt)
        self._enter(State.PROBATION if self.frozen is not None else State.IDLE)
        self._report_commit(attempt)
        self.attempt = None
        self._warm_spare()

    def _settle_old(self, old: ev.Child | None, generation: int, attempt: Attempt) -> None:
        """Keep the old one frozen for the probation, unless clients wait for it."""
        if old is None or old not in self._alive:
            return
        if attempt.lingering:
            requests = _count(attempt.lingering, "request")
            drain = "drains" if attempt.lingering == 1 else "drain"
            attempt.notes.append(f"{requests} in flight {drain} in generation {generation}")
        for reason, count in attempt.kept_back:
            attempt.notes.append(f"{_count(count, 'connection')} not handed over: {reason}")
        # With connections gone over, the old one has nothing to come back to: their bytes flow already.
        open_ones = attempt.connections or attempt.moved or attempt.kept_back
        if open_ones or not self._settings.probation:
            self._retire(old)
        else:
            self.frozen, self._frozen_generation = old, generation
            self._deadlines["probation", 0] = self._now + self._settings.probation

    def _report_commit(self, attempt: Attempt) -> None:
        took = self._now - attempt.since
        if attempt.kind is Kind.START:
            self._tell(NoticeKind.STARTED, "serving", roots=attempt.roots, seconds=took)
        elif attempt.kind is Kind.RECOVER:
            text = "the last good code serves again"
            if any(root.fate is not RootFate.NEW for root in attempt.roots):
                text += " with the newest state held"
            elif attempt.roots:
                text += "; no state was held"
            self._tell(NoticeKind.RECOVERED, text, roots=attempt.roots, seconds=took)
        else:
            self._do(cmd.Emit(self._record(attempt, Outcome.COMMITTED, None)))

    def _on_settled(self, event: ev.Settled) -> None:
        """Tell what became of connections, where the record of the reload could not know it."""
        if event.child != self.active:
            return
        if event.adopted and self._recovered:
            self._tell(NoticeKind.INFO, f"{_count(event.adopted, 'connection')} kept over the death")
        for reason, count in event.declined:
            self._tell(NoticeKind.INFO, f"{_count(count, 'connection')} closed: {reason}")

    def _has_lasted(self, child: ev.Child) -> None:
        """It has served for a while: as good as an answer, for programs whose answers nobody sees."""
        if self.active is not None:
            self._proved = True
            self._has_before = False
            self._unproven_deaths = 0

    def _on_proved(self, event: ev.Proved) -> None:
        if event.child != self.active:
            return
        self._deadlines.pop(("proof", 0), None)
        self._proved = True
        self._has_before = False
        self._unproven_deaths = 0
        if self.frozen is not None:
            self._probation_over(0)

    def _probation_over(self, child: ev.Child) -> None:
        self._retire_frozen()
        if self.state is State.PROBATION:
            self._enter(State.IDLE)

    def _retire_frozen(self) -> None:
        self._deadlines.pop(("probation", 0), None)
        if self.frozen is not None:
            old, self.frozen = self.frozen, None
            self._retire(old)

    def _retire(self, child: ev.Child) -> None:
        while len(self.draining) >= MAX_DRAINING:
            oldest = self.draining.pop(0)
            self._do(cmd.Kill(oldest))
        self.draining.append(child)
        self._do(cmd.AskRetire(child, final=False))
        self._deadlines["drain", child] = self._now + self._settings.timeout_graceful + STOP_GRACE


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
