"""Every other path: candidates that fail, generations that die, and how the run goes on from there."""

from __future__ import annotations

from livereload_core.core import commands as cmd
from livereload_core.core import events as ev
from livereload_core.core.attempt import Kind
from livereload_core.core.records import NoticeKind, Outcome
from livereload_core.core.states import DOING, PAUSED, State
from livereload_core.core.switching import Switching
from livereload_core.facts import Failure

__all__ = ["MAX_RETRIES", "MAX_UNPROVEN_DEATHS", "RETRY_DELAY", "Failing"]

MAX_UNPROVEN_DEATHS = 3
"""Deaths in a row without one good answer between them that make a crash loop."""
RETRY_DELAY = 1.0
"""Seconds until a reload is tried again that failed because the *old* code was busy."""
MAX_RETRIES = 3


class Failing(Switching):
    """Ends attempts, and answers deaths."""

    def _on_child_failed(self, event: ev.ChildFailed) -> None:
        attempt = self.attempt
        if attempt is None or event.child != self.candidate or event.attempt != attempt.number:
            return
        first = attempt.kind is Kind.START
        if first and (event.port_busy or event.usage):
            self._refuse_start(event)
        else:
            self._fail(event.failure)

    def _refuse_start(self, event: ev.ChildFailed) -> None:
        self._tell(NoticeKind.REFUSED, event.failure.reason, failure=event.failure)
        self._exit_code = 4 if event.port_busy else 2
        self._stop()

    def _on_active_failed(self, event: ev.ActiveFailed) -> None:
        if self.attempt is not None and event.child == self.active and event.attempt == self.attempt.number:
            self._fail(event.failure)

    def _fail(self, failure: Failure, *, retry: bool = False) -> None:
        """End the attempt: the old code serves on, or nothing does and the hold page says why."""
        attempt = self.attempt
        assert attempt is not None
        paused = self.state in PAUSED
        self._mark_phase()
        self._give_up_candidate()
        self._failure = failure
        self.attempt = None
        if attempt.kind is Kind.RECOVER:
            self._recovery_failed(failure)
            return
        if attempt.kind is Kind.RELOAD:
            outcome = Outcome.ROLLED_BACK if paused and attempt.old is not None else Outcome.REJECTED
            self._do(cmd.Emit(self._record(attempt, outcome, failure)))
        if self.active is None and attempt.old is not None:
            self._lost_both(failure)
            return
        if self.active is None:
            self._hold(failure, tell=attempt.kind is Kind.START)
            return
        self._rest()
        if retry and self._retries < MAX_RETRIES:
            self._retries += 1
            self._deadlines["retry", 0] = self._now + RETRY_DELAY

    def _lost_both(self, failure: Failure) -> None:
        """The old one died while it stood still, and the new one failed: the last good code comes back."""
        self._tell(NoticeKind.DIED, f"generation {self.generation} died during the reload", failure=failure)
        self._begin_recovery()

    def _give_up_candidate(self) -> None:
        """Kill the candidate and let the old one go on where it stands."""
        attempt = self.attempt
        self._deadlines.pop(("phase", 0), None)
        if self.candidate is not None:
            self._do(cmd.Kill(self.candidate))
            self.candidate = None
        if attempt is not None and attempt.old is not None and attempt.old == self.active:
            self._do(cmd.AskResume(attempt.old, attempt.number))
            if self.state is not State.QUIESCE and self.state is not State.FREEZE:
                attempt.notes.append("the old generation resumed where it stood")

    def _hold(self, failure: Failure, *, tell: bool) -> None:
        if not self._settings.reload:
            self._tell(NoticeKind.REFUSED, failure.reason, failure=failure)
            self._exit_code = 3
            self._stop()
            return
        self._enter(State.HOLD)
        self._failure = failure
        self._do(cmd.ShowHold(failure))
        if tell:
            self._tell(NoticeKind.HOLD, failure.reason, failure=failure)
        self._warm_spare()

    def _on_program_finished(self, event: ev.ProgramFinished) -> None:
        if event.child == self.active:
            self._finished = event

    def _on_child_exited(self, event: ev.ChildExited) -> None:
        child = event.child
        self._alive.discard(child)
        for what in ("drain", "term", "kill"):
            self._deadlines.pop((what, child), None)
        if child in self.draining:
            self.draining.remove(child)
        if self.state is State.STOPPING:
            if not self._alive:
                self._leave()
        elif child == self.spare:
            self._spare_died()
        elif child == self.frozen:
            self.frozen = None
            self._deadlines.pop(("probation", 0), None)
            if self.state is State.PROBATION:
                self._enter(State.IDLE)
        elif child == self.candidate:
            self.candidate = None
            self._fail(
                Failure(self.state.value, f"the new code ended while it {DOING[self.state]}: {event.how}")
            )
        elif child == self.active:
            self._active_died(event)

    def _spare_died(self) -> None:
        self.spare = None
        self._spare_deaths += 1
        self._warm_spare()
        if self.spare is None:
            self._tell(
                NoticeKind.WARNING,
                "the warm interpreter keeps dying; reloads start cold until the next commit",
            )

    def _active_died(self, event: ev.ChildExited) -> None:
        finished, self._finished = self._finished, None
        if finished is not None and finished.child != event.child:
            finished = None
        self.active = None
        self._deadlines.pop(("proof", 0), None)
        attempt = self.attempt
        if attempt is not None and attempt.old == event.child and self.state in PAUSED[2:]:
            # Its decisive snapshot is held and the candidate is on its way: nothing is lost yet.
            attempt.notes.append(f"the old generation died while it stood still ({event.how})")
            return
        if attempt is not None:
            attempt.old = None
            self._give_up_candidate()
            self.attempt = None
            self._owe(attempt.files)
        failure = (finished.failure if finished else None) or Failure(
            "serving", f"the program died: {event.how}"
        )
        if finished is not None and finished.failure is None and finished.code == 0:
            self._retire_frozen()
            self._program_ended(finished)
        elif self.frozen is not None:
            self._fall_back(failure)
        elif finished is not None and finished.failure is None:
            self._program_ended(finished)
        else:
            self._crashed(failure, deterministic=finished is not None and not finished.server)

    def _fall_back(self, failure: Failure) -> None:
        """The new one died in its probation: the old one is still there, frozen."""
        assert self.frozen is not None
        self._deadlines.pop(("probation", 0), None)
        self._tell(NoticeKind.DIED, f"generation {self.generation} died in its probation", failure=failure)
        self.active, self.frozen = self.frozen, None
        self.generation = self._frozen_generation
        self._failure = failure
        self._proved = True
        self._do(cmd.AskResume(self.active, 0))
        self._tell(
            NoticeKind.RECOVERED, "rolled back: the generation before serves on; fix the code and save"
        )
        self._rest()

    def _program_ended(self, finished: ev.ProgramFinished) -> None:
        if not self._settings.reload:
            self._exit_code = finished.code
            self._stop()
            return
        self._tell(
            NoticeKind.FINISHED,
            f"the program ended (exit code {finished.code}); its state is held, save a file to run it again",
        )
        self._enter(State.FINISHED)
        self._do(cmd.ShowHold(Failure("finished", f"the program ended with exit code {finished.code}")))

    def _crashed(self, failure: Failure, *, deterministic: bool) -> None:
        if not self._proved:
            self._unproven_deaths += 1
        if deterministic or self._unproven_deaths >= MAX_UNPROVEN_DEATHS:
            self._unproven_deaths = 0
            self._hold(failure, tell=True)
        else:
            self._tell(
                NoticeKind.DIED, f"generation {self.generation} died: {failure.reason}", failure=failure
            )
            if self._has_before and not self._proved:
                # It has died before it gave one answer: the edit is the likely culprit.
                self._has_before = False
                self._do(cmd.FallBack())
                self._tell(
                    NoticeKind.INFO,
                    "it had not given one answer: the code of the generation before comes back;"
                    " fix the code and save",
                )
            self._begin_recovery()

    def _begin_recovery(self) -> None:
        self._proved = False
        self._begin(Kind.RECOVER)

    def _recovery_failed(self, failure: Failure) -> None:
        self._unproven_deaths += 1
        if failure.traceback or self._unproven_deaths >= MAX_UNPROVEN_DEATHS:
            self._unproven_deaths = 0
            self._hold(failure, tell=True)
        else:
            self._begin_recovery()
