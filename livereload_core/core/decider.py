"""What every decision of the machine stands on: its memory, its steps from state to state, its words.

``_enter`` is the only way from one state to another; it refuses what the table of states does not allow.
"""

from __future__ import annotations

from livereload_core.core import commands as cmd
from livereload_core.core import events as ev
from livereload_core.core.attempt import Attempt, Kind
from livereload_core.core.records import Notice, NoticeKind, Outcome, ReloadRecord
from livereload_core.core.settings import Settings
from livereload_core.core.states import PHASES, REST, STATES, State
from livereload_core.facts import Failure, RootReport

__all__ = ["MAX_SPARE_DEATHS", "SPARE_DELAY", "STOP_GRACE", "Decider"]

MAX_SPARE_DEATHS = 3
"""Spares in a row that died idle; beyond it reloads start cold until the next commit."""
STOP_GRACE = 5.0
"""Seconds from the request to stop until SIGTERM; from the deadline of a drain likewise."""
SPARE_DELAY = 0.05
"""Seconds of an import after which the next interpreter is warmed. A warm candidate is through by then. A
cold one is not, and if the next spare began only after it, edits in a row would find each spare cold."""


class Decider:
    """The memory of one run, and the moves that all parts of the machine make."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._now = 0.0
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
        self._has_before = False
        self._recovered = False
        self._unproven_deaths = 0
        self._spare_deaths = 0
        self._retries = 0
        self._terminal_taken = False
        self._exit_code = 0
        self._last_child = 0
        self._last_attempt = 0
        self._alive: set[ev.Child] = set()
        self._deadlines: dict[tuple[str, ev.Child], float] = {}
        self._out: list[cmd.Command] = []

    @property
    def deadline(self) -> float | None:
        """Monotonic seconds at which ``Tick`` is due, None when nothing is waited for."""
        return min(self._deadlines.values(), default=None)

    @property
    def may_fall_back(self) -> bool:
        """Whether the generation before may be wanted again: the newest one has not proved itself."""
        return self._has_before or self.frozen is not None

    def _new_attempt(
        self,
        kind: Kind,
        *,
        files: frozenset[str] = frozenset(),
        noticed: float | None = None,
    ) -> None:
        self._last_attempt += 1
        self._deadlines.pop(("retry", 0), None)
        self.attempt = Attempt(kind, self._last_attempt, self._now, files, entered=self._now)
        if noticed is not None:
            self.attempt.since -= noticed
            self.attempt.phases.append(("notice", noticed))

    def _renumber(self) -> None:
        assert self.attempt is not None
        self._last_attempt += 1
        self.attempt.number = self._last_attempt

    def _begin(self, kind: Kind, *, request: ev.ReloadRequested | None = None, resume: bool = False) -> None:
        self._new_attempt(kind)
        assert self.attempt is not None
        self.attempt.resume = resume
        if request is not None:
            self.attempt.reset, self.attempt.keys = request.reset, request.keys
            self.attempt.earlier = request.earlier
            if request.note:
                self.attempt.notes.append(request.note)
        self._prepare(last_good=kind is Kind.RECOVER)

    def _check(self) -> None:
        assert self.attempt is not None
        self._enter(State.CHECK)
        self._do(cmd.Check(self.attempt.files))

    def _prepare(self, *, last_good: bool) -> None:
        assert self.attempt is not None
        self._enter(State.PREPARE)
        if self.spare is not None:
            self.candidate, self.spare = self.spare, None
        else:
            self.candidate = self._spawn()
        self._deadlines["spare", 0] = self._now + SPARE_DELAY
        self._do(cmd.Activate(self.candidate, self.attempt.number, self._last_generation + 1, last_good))

    def _spawn(self) -> ev.Child:
        self._last_child += 1
        self._alive.add(self._last_child)
        self._do(cmd.Spawn(self._last_child))
        return self._last_child

    def _warm_spare(self) -> None:
        if self._settings.spare and self.spare is None and self._spare_deaths < MAX_SPARE_DEATHS:
            self.spare = self._spawn()

    def _current(self, child: ev.Child, number: int, role: ev.Child | None, state: State) -> Attempt | None:
        """The attempt, if an answer belongs to it and to where it stands now."""
        attempt = self.attempt
        if attempt is None or attempt.number != number or child != role or self.state is not state:
            return None
        return attempt

    def _owe(self, files: frozenset[str]) -> None:
        """Files whose change was collected and then not tried: they are taken up again."""
        if files:
            self._pending |= files
            self._do(cmd.GiveBack())

    def _rest(self) -> None:
        """Go where a run is when nothing is tried, then take up what waited."""
        if self.active is None:
            target = State.FINISHED if self.state is State.FINISHED else State.HOLD
        else:
            target = State.PROBATION if self.frozen is not None else State.IDLE
        if self.state is not target:
            self._enter(target)
        self._warm_spare()

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

    def _stop(self) -> None:
        self.attempt = None
        self._deadlines.clear()
        self.state = State.STOPPING
        self._tell(NoticeKind.STOPPING, "stopping")
        self._do(cmd.HideHold())
        graceful = {child for child in (self.active, *self.draining) if child is not None}
        for child in sorted(self._alive):
            if child == self.frozen or child not in graceful:
                self._do(cmd.Kill(child))
            elif child == self.active:
                self._do(cmd.AskRetire(child, final=True))
                self._deadlines["drain", child] = self._now + STOP_GRACE
            else:
                self._deadlines["term", child] = self._now
        if not self._alive:
            self._leave()

    def _leave(self) -> None:
        self.state = State.STOPPED
        self._deadlines.clear()
        self._tell(NoticeKind.STOPPED, "stopped")
        self._do(cmd.Exit(self._exit_code))

    def _do(self, *commands: cmd.Command) -> None:
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
        self._do(cmd.Emit(Notice(kind, text, self.generation, failure, roots, seconds)))

    def _record(self, attempt: Attempt, outcome: Outcome, failure: Failure | None) -> ReloadRecord:
        return attempt.record(outcome, self.generation, self._settings.root, self._now, failure)
