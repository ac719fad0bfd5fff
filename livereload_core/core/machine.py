"""The life of a run: one pure state machine that decides everything.

Theory
======
A reload is a race that only the old code may win by default. New code has to prove itself, step by step,
while the old code serves; every failure, exit, garbage or silence on the way leaves the old code where it
was. Only COMMIT moves the right to serve, and it is one step in one process (the parent).

    * ``handle(event, now) -> commands`` is the only entrance. No clock, no I/O: ``now`` is an argument and
      ``deadline`` says when to come back with ``Tick``.
    * ``STATES`` is the literal table: what happens in a state, and where it may go. ``_enter`` refuses any
      other step, and the table in the documentation is printed from it.
    * Until FREEZE a further edit supersedes the attempt; from FREEZE on it waits for its end.
    * An attempt ends in exactly one record. A failure before QUIESCE is a rejection (the pause was 0), one
      after it is a roll-back.

Roles: *active* serves; *candidate* is to replace it; *spare* waits, exec'd in advance; *frozen* is the old
one after COMMIT, standing still in case that the new one dies at once; *draining* ones finish what they had
begun. RECOVER is no state of its own: it is an attempt whose code is the last committed one and whose
state is the newest that is held.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from livereload_core.core import events as ev
from livereload_core.core.attempt import Attempt, Kind
from livereload_core.core.records import Notice, NoticeKind, Outcome, ReloadRecord
from livereload_core.core.settings import Settings
from livereload_core.core.states import DOING, PAUSED, PHASES, REST, STATES, SUPERSEDABLE, State
from livereload_core.facts import Failure, RootReport

__all__ = ["STATES", "Machine", "State"]

MAX_UNPROVEN_DEATHS = 3
"""Deaths in a row without one good answer between them that make a crash loop."""
MAX_DRAINING = 4
"""Old generations that may finish their requests at once; beyond it the oldest is killed."""
MAX_SPARE_DEATHS = 3
"""Spares in a row that died idle; beyond it reloads start cold until the next commit."""
STOP_GRACE = 5.0
"""Seconds from the request to stop until SIGTERM; from the deadline of a drain likewise."""
TERM_GRACE = 2.0
"""Seconds from SIGTERM to SIGKILL."""
RETRY_DELAY = 1.0
"""Seconds until a reload is tried again that failed because the *old* code was busy."""
MAX_RETRIES = 3
SPARE_DELAY = 0.25
"""Seconds of an import after which the next interpreter is warmed: the edit that ends a long import, or an
endless one, shall not have to wait for a cold start."""


class Machine:
    """Decides; see the head of the module. One instance per run."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.state = State.NEW
        self.generation = 0
        self._last_generation = 0
        self._frozen_generation = 0
        self.active: ev.Child | None = None
        self.candidate: ev.Child | None = None
        self.spare: ev.Child | None = None
        self.frozen: ev.Child | None = None
        self.draining: list[ev.Child] = []
        self.attempt: Attempt | None = None
        self._pending: frozenset[str] = frozenset()
        self._pending_reload: ev.ReloadRequested | None = None
        self._failure: Failure | None = None
        self._finished: ev.ProgramFinished | None = None
        self._proved = False
        self._unproven_deaths = 0
        self._spare_deaths = 0
        self._retries = 0
        self._terminal_taken = False
        self._exit_code = 0
        self._last_child = 0
        self._last_attempt = 0
        self._alive: set[ev.Child] = set()
        self._deadlines: dict[tuple[str, ev.Child], float] = {}
        self._out: list[ev.Command] = []

    # -- entrance -----------------------------------------------------------------------------------

    def handle(self, event: ev.Event, now: float) -> list[ev.Command]:
        """Take one event in and return what is to be done, in order.

        Args:
            event: what happened.
            now: monotonic seconds; never smaller than at the call before.
        """
        self._now = now
        self._HANDLERS[type(event)](self, event)
        out, self._out = self._out, []
        return out

    @property
    def deadline(self) -> float | None:
        """Monotonic seconds at which ``Tick`` is due, None when nothing is waited for."""
        return min(self._deadlines.values(), default=None)

    # -- people, files, clock -----------------------------------------------------------------------

    def _on_started(self, event: ev.Started) -> None:
        self._begin(Kind.START)

    def _on_files_touched(self, event: ev.FilesTouched) -> None:
        if self.state in (State.STOPPING, State.STOPPED):
            return
        if self.state in REST:
            if self._terminal_taken:
                self._wait_for_terminal(event.files)
                return
            self._new_attempt(Kind.RELOAD, noticed=event.noticed)
            self._enter(State.COLLECT)
            self._do(ev.Collect(event.files))
        elif self.state is State.COLLECT or self.state in SUPERSEDABLE:
            self._do(ev.Collect(event.files))
        else:
            self._pending |= event.files

    def _wait_for_terminal(self, files: frozenset[str]) -> None:
        if not self._pending:
            self._tell(
                NoticeKind.WAITING,
                "the program is waiting at the keyboard; the reload follows when it goes on",
            )
        self._pending |= files

    def _on_collected(self, event: ev.Collected) -> None:
        attempt = self.attempt
        if attempt is None or self.state in (State.STOPPING, State.STOPPED):
            return
        if self.state is State.COLLECT:
            if not event.changed:
                self.attempt = None
                self._rest()
                return
            attempt.files |= event.changed
            self._check()
        elif event.changed and self.state in SUPERSEDABLE:
            attempt.files |= event.changed
            if attempt.kind is Kind.RECOVER:
                # The last good code comes back first: it is known to serve, the edit is not.
                self._pending |= event.changed
                return
            self._give_up_candidate()
            attempt.old = None
            self._renumber()
            self._check()
        elif event.changed:
            self._pending |= event.changed

    def _on_checked(self, event: ev.Checked) -> None:
        if self.state is not State.CHECK:
            return
        if event.failures:
            self._fail(event.failures[0])
        else:
            self._prepare(last_good=False)

    def _on_reload_requested(self, event: ev.ReloadRequested) -> None:
        if self.state in REST:
            self._begin(Kind.RELOAD, reset=event.reset)
        elif self.state not in (State.STOPPING, State.STOPPED):
            self._pending_reload = event

    def _on_terminal_changed(self, event: ev.TerminalChanged) -> None:
        self._terminal_taken = event.taken
        if not event.taken and self.state in REST:
            self._next()

    def _on_stop_requested(self, event: ev.StopRequested) -> None:
        if self.state is State.STOPPED:
            return
        if self.state is State.STOPPING:
            self._exit_code = event.code or self._exit_code
            for child in sorted(self._alive):
                self._do(ev.Kill(child))
            return
        self._exit_code = event.code
        self._stop()

    def _stop(self) -> None:
        self.attempt = None
        self._deadlines.clear()
        self.state = State.STOPPING
        self._tell(NoticeKind.STOPPING, "stopping")
        self._do(ev.HideHold())
        graceful = {child for child in (self.active, *self.draining) if child is not None}
        for child in sorted(self._alive):
            if child == self.frozen or child not in graceful:
                self._do(ev.Kill(child))
            elif child == self.active:
                self._do(ev.AskRetire(child, final=True))
                self._deadlines["drain", child] = self._now + STOP_GRACE
            else:
                self._deadlines["term", child] = self._now
        if not self._alive:
            self._leave()

    def _leave(self) -> None:
        self.state = State.STOPPED
        self._deadlines.clear()
        self._tell(NoticeKind.STOPPED, "stopped")
        self._do(ev.Exit(self._exit_code))

    def _on_tick(self, event: ev.Tick) -> None:
        due = sorted((at, key) for key, at in self._deadlines.items() if at <= self._now)
        for _, (what, child) in due:
            if self._deadlines.pop((what, child), None) is not None:
                self._DEADLINES[what](self, child)

    def _phase_overdue(self, child: ev.Child) -> None:
        state = self.state
        old_is_slow = state in (State.QUIESCE, State.FREEZE)
        who = "the old code" if old_is_slow else "the new code"
        limit = STATES[state].deadline
        self._fail(
            Failure(
                state.value,
                f"{who} did not answer in time while it {DOING[state]} (--{limit.replace('_', '-')})",
            ),
            retry=old_is_slow,
        )

    def _probation_over(self, child: ev.Child) -> None:
        self._retire_frozen()
        if self.state is State.PROBATION:
            self._enter(State.IDLE)

    def _drain_overdue(self, child: ev.Child) -> None:
        self._do(ev.Terminate(child))
        self._deadlines["kill", child] = self._now + TERM_GRACE

    def _kill_overdue(self, child: ev.Child) -> None:
        self._do(ev.Kill(child))

    def _spare_due(self, child: ev.Child) -> None:
        if self.active is not None and self.state not in (State.STOPPING, State.STOPPED):
            self._warm_spare()

    def _retry_due(self, child: ev.Child) -> None:
        if self.state in REST:
            self._begin(Kind.RELOAD)

    # -- the attempt --------------------------------------------------------------------------------

    def _new_attempt(
        self,
        kind: Kind,
        *,
        files: frozenset[str] = frozenset(),
        reset: bool = False,
        noticed: float = 0.0,
    ) -> None:
        self._last_attempt += 1
        self._deadlines.pop(("retry", 0), None)
        self.attempt = Attempt(kind, self._last_attempt, self._now, files, reset, entered=self._now)
        if noticed:
            self.attempt.since -= noticed
            self.attempt.phases.append(("notice", noticed))

    def _renumber(self) -> None:
        assert self.attempt is not None
        self._last_attempt += 1
        self.attempt.number = self._last_attempt

    def _begin(self, kind: Kind, *, reset: bool = False) -> None:
        self._new_attempt(kind, reset=reset)
        self._prepare(last_good=kind is Kind.RECOVER)

    def _check(self) -> None:
        assert self.attempt is not None
        self._enter(State.CHECK)
        self._do(ev.Check(self.attempt.files))

    def _prepare(self, *, last_good: bool) -> None:
        assert self.attempt is not None
        self._enter(State.PREPARE)
        if self.spare is not None:
            self.candidate, self.spare = self.spare, None
        else:
            self.candidate = self._spawn()
        self._deadlines["spare", 0] = self._now + SPARE_DELAY
        self._do(ev.Activate(self.candidate, self.attempt.number, self._last_generation + 1, last_good))

    def _spawn(self) -> ev.Child:
        self._last_child += 1
        self._alive.add(self._last_child)
        self._do(ev.Spawn(self._last_child))
        return self._last_child

    def _current(self, child: ev.Child, number: int, role: ev.Child | None, state: State) -> Attempt | None:
        """The attempt, if an answer belongs to it and to where it stands now."""
        attempt = self.attempt
        if attempt is None or attempt.number != number or child != role or self.state is not state:
            return None
        return attempt

    def _on_prepared(self, event: ev.Prepared) -> None:
        attempt = self._current(event.child, event.attempt, self.candidate, State.PREPARE)
        if attempt is None:
            return
        attempt.split_prepare(event.seconds, self._now)
        attempt.foreign = event.foreign
        if self.active is None:
            self._rehydrate(attempt)
        elif attempt.reset:
            self._quiesce(attempt)
        else:
            self._enter(State.PRECOPY)
            self._do(ev.AskExport(self.active, attempt.number))

    def _on_exported(self, event: ev.Exported) -> None:
        attempt = self._current(event.child, event.attempt, self.active, State.PRECOPY)
        if attempt is not None and self.candidate is not None:
            attempt.mark("export", self._now)
            self._do(ev.AskPrecopy(self.candidate, attempt.number))

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
        self._do(ev.AskQuiesce(self.active, attempt.number))

    def _on_quiesced(self, event: ev.Quiesced) -> None:
        attempt = self._current(event.child, event.attempt, self.active, State.QUIESCE)
        if attempt is None:
            return
        attempt.lingering = event.lingering
        self._enter(State.FREEZE)
        self._do(ev.AskFreeze(event.child, attempt.number, export=not attempt.reset))

    def _on_frozen(self, event: ev.Frozen) -> None:
        attempt = self._current(event.child, event.attempt, self.active, State.FREEZE)
        if attempt is None:
            return
        attempt.connections = event.connections
        self._rehydrate(attempt)

    def _rehydrate(self, attempt: Attempt) -> None:
        assert self.candidate is not None
        self._enter(State.REHYDRATE)
        with_state = attempt.kind is not Kind.START and not attempt.reset
        self._do(ev.AskRehydrate(self.candidate, attempt.number, with_state))

    def _on_adopted(self, event: ev.Adopted) -> None:
        if self._current(event.child, event.attempt, self.candidate, State.REHYDRATE):
            self._enter(State.VERIFY)

    def _on_ready(self, event: ev.Ready) -> None:
        attempt = self._current(event.child, event.attempt, self.candidate, State.VERIFY)
        if attempt is None:
            return
        attempt.roots = event.roots
        attempt.notes += event.notes
        self._enter(State.COMMIT)
        self._do(ev.HideHold(), ev.AskCommit(event.child, attempt.number))

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
        self._settle_old(old, old_generation, attempt)
        self._enter(State.PROBATION if self.frozen is not None else State.IDLE)
        self._report_commit(attempt)
        self.attempt = None
        self._warm_spare()
        self._next()

    def _warm_spare(self) -> None:
        if self._settings.spare and self.spare is None and self._spare_deaths < MAX_SPARE_DEATHS:
            self.spare = self._spawn()

    def _settle_old(self, old: ev.Child | None, generation: int, attempt: Attempt) -> None:
        """Keep the old one frozen for the probation, unless clients wait for it."""
        if old is None or old not in self._alive:
            return
        if attempt.lingering:
            requests = _count(attempt.lingering, "request")
            attempt.notes.append(f"{requests} in flight drain in generation {generation}")
        if attempt.connections or not self._settings.probation:
            self._retire(old)
        else:
            self.frozen, self._frozen_generation = old, generation
            self._deadlines["probation", 0] = self._now + self._settings.probation

    def _on_proved(self, event: ev.Proved) -> None:
        if event.child != self.active:
            return
        self._proved = True
        self._unproven_deaths = 0
        if self.frozen is not None:
            self._probation_over(0)

    def _retire_frozen(self) -> None:
        self._deadlines.pop(("probation", 0), None)
        if self.frozen is not None:
            old, self.frozen = self.frozen, None
            self._retire(old)

    def _retire(self, child: ev.Child) -> None:
        while len(self.draining) >= MAX_DRAINING:
            oldest = self.draining.pop(0)
            self._do(ev.Kill(oldest))
        self.draining.append(child)
        self._do(ev.AskRetire(child, final=False))
        self._deadlines["drain", child] = self._now + self._settings.timeout_graceful + STOP_GRACE

    # -- failure ------------------------------------------------------------------------------------

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
            self._do(ev.Emit(self._record(attempt, outcome, failure)))
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
            self._do(ev.Kill(self.candidate))
            self.candidate = None
        if attempt is not None and attempt.old is not None and attempt.old == self.active:
            self._do(ev.AskResume(attempt.old, attempt.number))
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
        self._do(ev.ShowHold(failure))
        if tell:
            self._tell(NoticeKind.HOLD, failure.reason, failure=failure)
        self._warm_spare()
        self._next()

    # -- deaths -------------------------------------------------------------------------------------

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
        self.active = None
        attempt = self.attempt
        if attempt is not None and attempt.old == event.child and self.state in PAUSED[2:]:
            # Its decisive snapshot is held and the candidate is on its way: nothing is lost yet.
            attempt.notes.append(f"the old generation died while it stood still ({event.how})")
            return
        if attempt is not None:
            attempt.old = None
            self._give_up_candidate()
            self.attempt = None
            self._pending |= attempt.files
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
        self._do(ev.AskResume(self.active, 0))
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
        self._do(ev.ShowHold(Failure("finished", f"the program ended with exit code {finished.code}")))
        self._next()

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

    # -- moving and telling -------------------------------------------------------------------------

    def _rest(self) -> None:
        """Go where a run is when nothing is tried, then take up what waited."""
        if self.active is None:
            target = State.FINISHED if self.state is State.FINISHED else State.HOLD
        else:
            target = State.PROBATION if self.frozen is not None else State.IDLE
        if self.state is not target:
            self._enter(target)
        self._warm_spare()
        self._next()

    def _next(self) -> None:
        """Take up what had to wait for the end of an attempt."""
        if self._terminal_taken or self.state not in REST:
            return
        request, self._pending_reload = self._pending_reload, None
        files, self._pending = self._pending, frozenset()
        if files:
            self._on_files_touched(ev.FilesTouched(files))
            self._pending_reload = request
        elif request is not None:
            self._on_reload_requested(request)

    def _enter(self, state: State) -> None:
        info = STATES[self.state]
        if state not in info.success and state not in info.failure:
            raise AssertionError(f"{self.state.name} does not lead to {state.name}: a bug in the machine")
        self._mark_phase()
        self.state = state
        seconds = self._limit(state)
        if seconds is None:
            self._deadlines.pop(("phase", 0), None)
        else:
            self._deadlines["phase", 0] = self._now + seconds

    def _limit(self, state: State) -> float | None:
        name = STATES[state].deadline
        if not name or state is State.PROBATION:
            return None
        seconds = float(getattr(self._settings, name))
        # The child keeps the limit of a quiesce and of each hook itself: the parent only catches silence.
        return seconds + 1.0 if state in (State.QUIESCE, State.FREEZE, State.COMMIT) else seconds

    def _mark_phase(self) -> None:
        if self.attempt is not None and self.state not in REST and self.state is not State.NEW:
            self.attempt.mark(PHASES[self.state], self._now)
        elif self.attempt is not None:
            self.attempt.entered = self._now

    def _do(self, *commands: ev.Command) -> None:
        self._out += commands

    def _tell(
        self,
        kind: NoticeKind,
        text: str,
        *,
        failure: Failure | None = None,
        roots: tuple[RootReport, ...] = (),
        seconds: float = 0.0,
    ) -> None:
        self._do(ev.Emit(Notice(kind, text, self.generation, failure, roots, seconds)))

    def _report_commit(self, attempt: Attempt) -> None:
        took = self._now - attempt.since
        if attempt.kind is Kind.START:
            self._tell(NoticeKind.STARTED, "serving", roots=attempt.roots, seconds=took)
        elif attempt.kind is Kind.RECOVER:
            text = "the last good code serves again with the newest state held"
            self._tell(NoticeKind.RECOVERED, text, roots=attempt.roots, seconds=took)
        else:
            self._do(ev.Emit(self._record(attempt, Outcome.COMMITTED, None)))

    def _record(self, attempt: Attempt, outcome: Outcome, failure: Failure | None) -> ReloadRecord:
        return attempt.record(outcome, self.generation, self._settings.root, self._now, failure)

    _HANDLERS: ClassVar[dict[type[ev.Event], Callable[..., None]]] = {
        ev.Started: _on_started,
        ev.FilesTouched: _on_files_touched,
        ev.Collected: _on_collected,
        ev.Checked: _on_checked,
        ev.ReloadRequested: _on_reload_requested,
        ev.TerminalChanged: _on_terminal_changed,
        ev.StopRequested: _on_stop_requested,
        ev.Tick: _on_tick,
        ev.Prepared: _on_prepared,
        ev.ChildFailed: _on_child_failed,
        ev.ActiveFailed: _on_active_failed,
        ev.Exported: _on_exported,
        ev.Precopied: _on_precopied,
        ev.Quiesced: _on_quiesced,
        ev.Frozen: _on_frozen,
        ev.Adopted: _on_adopted,
        ev.Ready: _on_ready,
        ev.Serving: _on_serving,
        ev.Proved: _on_proved,
        ev.ProgramFinished: _on_program_finished,
        ev.ChildExited: _on_child_exited,
    }
    _DEADLINES: ClassVar[dict[str, Callable[..., None]]] = {
        "phase": _phase_overdue,
        "probation": _probation_over,
        "drain": _drain_overdue,
        "term": _drain_overdue,
        "kill": _kill_overdue,
        "retry": _retry_due,
        "spare": _spare_due,
    }


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
