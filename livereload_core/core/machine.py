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

from livereload_core.core import commands as cmd
from livereload_core.core import events as ev
from livereload_core.core.attempt import Kind
from livereload_core.core.decider import MAX_SPARE_DEATHS
from livereload_core.core.failing import MAX_UNPROVEN_DEATHS, Failing
from livereload_core.core.records import NoticeKind
from livereload_core.core.states import DOING, REST, STATES, SUPERSEDABLE, State
from livereload_core.core.switching import MAX_DRAINING, Switching
from livereload_core.facts import Failure

__all__ = ["MAX_DRAINING", "MAX_SPARE_DEATHS", "MAX_UNPROVEN_DEATHS", "STATES", "Machine", "State"]

TERM_GRACE = 2.0
"""Seconds from SIGTERM to SIGKILL."""


class Machine(Failing):
    """Decides; see the head of the module. One instance per run."""

    def handle(self, event: ev.Event, now: float) -> list[cmd.Command]:
        """Take one event in and return what is to be done, in order.

        Args:
            event: what happened.
            now: monotonic seconds; never smaller than at the call before.
        """
        self._now = now
        self._HANDLERS[type(event)](self, event)
        self._next()
        out, self._out = self._out, []
        return out

    def _on_started(self, event: ev.Started) -> None:
        self._begin(Kind.START, resume=event.resume)

    def _on_files_touched(self, event: ev.FilesTouched) -> None:
        if self.state in (State.STOPPING, State.STOPPED):
            return
        if self.state in REST:
            if self._terminal_taken:
                self._wait_for_terminal(event.files)
                return
            self._new_attempt(Kind.RELOAD, noticed=event.noticed)
            self._enter(State.COLLECT)
            self._do(cmd.Collect(event.files))
        elif self.state is State.COLLECT or self.state in SUPERSEDABLE:
            self._do(cmd.Collect(event.files))
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
        if self.state in (State.STOPPING, State.STOPPED):
            return
        if attempt is None:
            # Its attempt ended while the files were waited for (a death, during a git checkout).
            self._owe(event.changed)
        elif self.state is State.COLLECT:
            if not event.changed:
                self.attempt = None
                self._rest()
                return
            attempt.mark_wait(event.waited, self._now)
            attempt.files |= event.changed
            self._retries = 0
            self._check()
        elif event.changed and self.state in SUPERSEDABLE:
            # What was waited for these files was time of the attempt that they put an end to.
            attempt.files |= event.changed
            if attempt.kind is Kind.RECOVER:
                # The last good code comes back first: it is known to serve, the edit is not.
                self._owe(event.changed)
                return
            self._give_up_candidate()
            attempt.old = None
            self._renumber()
            self._check()
        else:
            self._owe(event.changed)

    def _on_checked(self, event: ev.Checked) -> None:
        if self.state is not State.CHECK:
            return
        if self.attempt is not None:
            self.attempt.mark_wait(event.waited, self._now)
            self.attempt.files |= event.more
        if event.failures:
            self._fail(event.failures[0])
        else:
            self._prepare(last_good=False)

    def _on_reload_requested(self, event: ev.ReloadRequested) -> None:
        if self.state in REST:
            self._begin(Kind.RELOAD, request=event)
        elif self.state not in (State.STOPPING, State.STOPPED):
            self._pending_reload = event

    def _on_terminal_changed(self, event: ev.TerminalChanged) -> None:
        self._terminal_taken = event.taken

    def _on_configured(self, event: ev.Configured) -> None:
        self._settings = event.settings
        if self.state in (State.NEW, State.STOPPING, State.STOPPED):
            return
        if event.settings.spare:
            if self.state in REST:
                self._warm_spare()
        elif self.spare is not None:
            spare, self.spare = self.spare, None
            self._do(cmd.Kill(spare))

    def _on_stop_requested(self, event: ev.StopRequested) -> None:
        if self.state is State.STOPPED:
            return
        if self.state is State.STOPPING:
            self._exit_code = event.code or self._exit_code
            for child in sorted(self._alive):
                self._do(cmd.Kill(child))
            return
        self._exit_code = event.code
        self._stop()

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

    def _drain_overdue(self, child: ev.Child) -> None:
        self._do(cmd.Terminate(child))
        self._deadlines["kill", child] = self._now + TERM_GRACE

    def _kill_overdue(self, child: ev.Child) -> None:
        self._do(cmd.Kill(child))

    def _spare_due(self, child: ev.Child) -> None:
        if self.active is not None and self.state not in (State.STOPPING, State.STOPPED):
            self._warm_spare()

    def _retry_due(self, child: ev.Child) -> None:
        if self.state in REST:
            self._begin(Kind.RELOAD)

    _HANDLERS: ClassVar[dict[type[ev.Event], Callable[..., None]]] = {
        ev.Started: _on_started,
        ev.FilesTouched: _on_files_touched,
        ev.Collected: _on_collected,
        ev.Checked: _on_checked,
        ev.ReloadRequested: _on_reload_requested,
        ev.TerminalChanged: _on_terminal_changed,
        ev.Configured: _on_configured,
        ev.StopRequested: _on_stop_requested,
        ev.Tick: _on_tick,
        ev.Prepared: Switching._on_prepared,
        ev.ChildFailed: Failing._on_child_failed,
        ev.ActiveFailed: Failing._on_active_failed,
        ev.Exported: Switching._on_exported,
        ev.Precopied: Switching._on_precopied,
        ev.Quiesced: Switching._on_quiesced,
        ev.Frozen: Switching._on_frozen,
        ev.Adopted: Switching._on_adopted,
        ev.Ready: Switching._on_ready,
        ev.Serving: Switching._on_serving,
        ev.Proved: Switching._on_proved,
        ev.Settled: Switching._on_settled,
        ev.ProgramFinished: Failing._on_program_finished,
        ev.ChildExited: Failing._on_child_exited,
    }

    _DEADLINES: ClassVar[dict[str, Callable[..., None]]] = {
        "phase": _phase_overdue,
        "probation": Switching._probation_over,
        "proof": Switching._has_lasted,
        "drain": _drain_overdue,
        "term": _drain_overdue,
        "kill": _kill_overdue,
        "retry": _retry_due,
        "spare": _spare_due,
    }
