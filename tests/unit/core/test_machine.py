"""The state machine as dialogues of events and commands: every state, every failure, no process, no clock."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given, settings, strategies

from livereload_core.core import commands as cmd
from livereload_core.core import events as ev
from livereload_core.core.machine import (
    MAX_DRAINING,
    MAX_SPARE_DEATHS,
    MAX_UNPROVEN_DEATHS,
    STATES,
    Machine,
    State,
)
from livereload_core.core.records import Notice, NoticeKind, Outcome, ReloadRecord
from livereload_core.core.settings import Settings, Target, TargetKind
from livereload_core.core.states import PAUSE_PHASES, PHASES
from livereload_core.facts import Failure, RootFate, RootReport

APP = "/project/app.py"
SETTINGS = Settings(
    Target(TargetKind.ATTRIBUTE, "app", "app"), cwd="/project", root="/project", app_dir="/project"
)
BROKEN = Failure("prepare", "ImportError: no module named nowhere", "Traceback ...", (APP,))


class Play:
    """A machine, a clock that only the test moves, and everything that was commanded."""

    def __init__(self, **changes: Any) -> None:
        self.machine = Machine(dataclasses.replace(SETTINGS, **changes))
        self.now = 100.0
        self.log: list[cmd.Command] = []

    def say(self, event: ev.Event) -> list[cmd.Command]:
        commands = self.machine.handle(event, self.now)
        self.log += commands
        for command in commands:
            if isinstance(command, cmd.Check):
                self.checks = command.files
        return commands

    def tick(self) -> list[cmd.Command]:
        deadline = self.machine.deadline
        assert deadline is not None
        self.now = max(self.now, deadline)
        return self.say(ev.Tick())

    def at(self, state: State) -> bool:
        return self.machine.state is state

    @property
    def number(self) -> int:
        assert self.machine.attempt is not None
        return self.machine.attempt.number

    @property
    def candidate(self) -> int:
        assert self.machine.candidate is not None
        return self.machine.candidate

    @property
    def active(self) -> int:
        assert self.machine.active is not None
        return self.machine.active

    def records(self) -> list[Any]:
        return [command.record for command in self.log if isinstance(command, cmd.Emit)]

    def reloads(self) -> list[ReloadRecord]:
        return [record for record in self.records() if isinstance(record, ReloadRecord)]

    def notices(self) -> list[NoticeKind]:
        return [record.kind for record in self.records() if isinstance(record, Notice)]

    # the good path, step by step

    def step(self) -> None:
        """Answer what the machine waits for, as a healthy child would."""
        state, machine = self.machine.state, self.machine
        if state is State.COLLECT:
            self.say(ev.Collected(frozenset({APP})))
        elif state is State.CHECK:
            self.say(ev.Checked(()))
        elif state is State.PREPARE:
            self.say(ev.Prepared(self.candidate, self.number))
        elif state is State.PRECOPY:
            self.say(ev.Exported(self.active, self.number))
            self.say(ev.Precopied(self.candidate, self.number))
        elif state is State.QUIESCE:
            self.say(ev.Quiesced(self.active, self.number, 0))
        elif state is State.FREEZE:
            self.say(ev.Frozen(self.active, self.number, 0))
        elif state is State.REHYDRATE:
            self.say(ev.Adopted(self.candidate, self.number))
        elif state is State.VERIFY:
            self.say(ev.Ready(self.candidate, self.number, (RootReport("app:hits", RootFate.KEPT),)))
        elif state is State.COMMIT:
            self.say(ev.Serving(self.candidate, self.number))
        else:
            raise AssertionError(f"nothing to answer in {machine.state}")

    def reach(self, state: State) -> Play:
        while self.machine.state is not state:
            self.step()
        return self

    def started(self) -> Play:
        self.say(ev.Started())
        self.reach(State.IDLE)
        self.say(ev.Proved(self.active))
        return self

    def edited(self) -> Play:
        self.say(ev.FilesTouched(frozenset({APP})))
        return self

    def reloaded(self) -> Play:
        self.edited()
        while self.machine.attempt is not None:
            self.step()
        return self


ATTEMPT_STATES = (
    State.PREPARE,
    State.PRECOPY,
    State.QUIESCE,
    State.FREEZE,
    State.REHYDRATE,
    State.VERIFY,
    State.COMMIT,
)
PAUSED = ATTEMPT_STATES[2:]


def test_first_start_serves_and_warms_a_spare() -> None:
    play = Play().started()
    assert play.machine.generation == 1
    assert play.machine.spare is not None
    assert play.notices() == [NoticeKind.STARTED]
    assert not any(isinstance(command, cmd.AskExport | cmd.AskFreeze) for command in play.log)


def test_a_good_edit_commits_in_order_and_with_phases_that_sum_up() -> None:
    play = Play().started()
    spare = play.machine.spare
    play.edited()
    while play.machine.attempt is not None:
        play.now += 0.001
        play.step()
    (record,) = play.reloads()
    assert record.outcome is Outcome.COMMITTED
    assert record.generation == 2
    assert record.files == ("app.py",)
    assert play.active == spare
    assert record.total == pytest.approx(sum(seconds for _, seconds in record.phases))
    assert 0 < record.pause < record.total
    asked = [type(command).__name__ for command in play.log if type(command).__name__.startswith("Ask")]
    assert asked[2:] == [
        "AskExport",
        "AskPrecopy",
        "AskQuiesce",
        "AskFreeze",
        "AskRehydrate",
        "AskCommit",
    ]


def test_an_edit_of_a_program_with_state_has_each_phase_of_its_own() -> None:
    play = Play().started()
    play.say(ev.FilesTouched(frozenset({APP}), noticed=0.5))
    while play.machine.attempt is not None:
        play.now += 1.0
        state = play.machine.state
        if state is State.COLLECT:
            play.say(ev.Collected(frozenset({APP}), waited=0.75))
        elif state is State.CHECK:
            play.say(ev.Checked((), waited=0.25))
        elif state is State.PREPARE:
            play.say(ev.Prepared(play.candidate, play.number, seconds=0.25))
        elif state is State.PRECOPY:
            play.say(ev.Exported(play.active, play.number))
            play.now += 1.0
            play.say(ev.Precopied(play.candidate, play.number))
        elif state is State.REHYDRATE:
            play.say(ev.Adopted(play.candidate, play.number, seconds=0.75))
        else:
            play.step()
    (record,) = play.reloads()
    assert record.phases == (
        ("notice", 0.5),
        ("debounce", 1.0),
        ("hash", 0.25),
        ("compile", 0.75),
        ("activate", 0.75),
        ("import", 0.25),
        ("export", 1.0),
        ("decode", 1.0),
        ("quiesce", 1.0),
        ("freeze", 1.0),
        ("transfer", 0.25),
        ("refresh", 0.75),
        ("start", 1.0),
        ("commit", 1.0),
    )
    assert sum(seconds for _, seconds in record.phases) == record.total == 10.5
    assert record.pause == 5.0


def test_an_edit_that_nobody_waited_for_and_whose_age_is_not_known_has_zeros() -> None:
    play = Play().started().reloaded()
    phases = dict(play.reloads()[0].phases)
    assert phases["notice"] == phases["debounce"] == 0.0


def test_phases_of_a_superseded_attempt_add_up_and_what_was_waited_beside_it_is_its_own() -> None:
    play = Play().started()
    play.edited()
    play.now += 1.0
    play.say(ev.Collected(frozenset({APP}), waited=0.75))
    play.now += 1.0
    play.say(ev.Checked((), waited=0.5))
    other = frozenset({"/project/other.py"})
    play.say(ev.FilesTouched(other))
    play.now += 1.0  # the candidate imports, while these files are waited for
    play.say(ev.Collected(other, waited=1.0))
    play.now += 1.0
    play.say(ev.Checked((), waited=0.25))
    play.reach(State.PROBATION)
    (record,) = play.reloads()
    phases = {name: seconds for name, seconds in record.phases if seconds}
    assert phases == {"debounce": 1.5, "hash": 0.25, "compile": 1.25, "activate": 1.0}
    assert sum(phases.values()) == record.total == 4.0


@pytest.mark.parametrize("state", [State.PREPARE, State.PRECOPY, State.REHYDRATE])
def test_a_state_that_ends_without_the_answer_that_parts_its_time_has_it_under_one_name(state: State) -> None:
    play = Play().started().edited().reach(state)
    play.now += 1.0
    play.say(ev.ChildFailed(play.candidate, play.number, BROKEN))
    (record,) = play.reloads()
    assert {name: seconds for name, seconds in record.phases if seconds} == {PHASES[state]: 1.0}
    assert record.total == 1.0
    assert record.pause == (1.0 if PHASES[state] in PAUSE_PHASES else 0.0)


def test_the_old_one_stays_frozen_until_a_first_good_answer() -> None:
    play = Play().started()
    old = play.active
    play.reloaded()
    assert play.at(State.PROBATION)
    assert play.machine.frozen == old
    commands = play.say(ev.Proved(play.active))
    assert commands == [cmd.AskRetire(old, final=False)]
    assert play.at(State.IDLE)


def test_probation_ends_by_time_when_nobody_asks() -> None:
    play = Play().started().reloaded()
    old = play.machine.frozen
    assert cmd.AskRetire(old, final=False) in play.tick()  # type: ignore[arg-type]
    assert play.at(State.IDLE)


@pytest.mark.parametrize(("requests", "verb"), [("1 request", "drains"), ("3 requests", "drain")])
def test_open_connections_do_not_wait_for_the_probation(requests: str, verb: str) -> None:
    play = Play().started()
    old = play.active
    play.edited().reach(State.QUIESCE)
    play.say(ev.Quiesced(play.active, play.number, int(requests[0])))
    play.say(ev.Frozen(play.active, play.number, 3))
    play.reach(State.IDLE)
    assert cmd.AskRetire(old, final=False) in play.log
    (record,) = play.reloads()
    assert record.notes == (f"{requests} in flight {verb} in generation 1",)


def test_identical_content_touches_no_process() -> None:
    play = Play().started()
    before = len(play.log)
    play.edited()
    play.say(ev.Collected(frozenset()))
    assert play.at(State.IDLE)
    assert [type(command) for command in play.log[before:]] == [cmd.Collect]


def test_syntax_error_is_rejected_without_a_process() -> None:
    play = Play().started()
    before = len(play.log)
    play.edited()
    play.step()
    play.say(ev.Checked((Failure("check", "syntax error", "", (APP,)),)))
    assert play.at(State.IDLE)
    assert not any(isinstance(command, cmd.Activate | cmd.Spawn | cmd.Kill) for command in play.log[before:])
    (record,) = play.reloads()
    assert record.outcome is Outcome.REJECTED
    assert record.pause == 0.0


def test_what_is_saved_while_an_edit_is_compiled_is_a_part_of_it() -> None:
    play = Play().started()
    play.edited()
    play.step()
    number = play.number
    play.say(ev.Checked((), frozenset({"/project/other.py"})))
    assert play.at(State.PREPARE)
    assert play.number == number
    play.reach(State.PROBATION)
    (record,) = play.reloads()
    assert set(record.files) == {"app.py", "other.py"}


@pytest.mark.parametrize("state", ATTEMPT_STATES)
@pytest.mark.parametrize("how", ["says so", "dies", "is silent"])
def test_a_candidate_that_fails_leaves_the_old_one_serving(state: State, how: str) -> None:
    play = Play().started()
    old = play.active
    play.edited().reach(state)
    number, candidate = play.number, play.candidate
    if how == "says so":
        play.say(ev.ChildFailed(candidate, number, BROKEN))
    elif how == "dies":
        play.say(ev.ChildExited(candidate, "killed by SIGSEGV"))
    else:
        while play.machine.candidate is not None:
            play.tick()
    assert play.machine.active == old
    assert play.at(State.IDLE)
    assert play.machine.candidate is None
    assert play.machine.generation == 1
    assert (cmd.Kill(candidate) in play.log) == (how != "dies")
    assert (cmd.AskResume(old, number) in play.log) == (state in PAUSED)
    (record,) = play.reloads()
    assert record.outcome is (Outcome.ROLLED_BACK if state in PAUSED else Outcome.REJECTED)
    assert record.failure is not None
    play.reloaded()
    assert play.reloads()[-1].outcome is Outcome.COMMITTED


@pytest.mark.parametrize("state", [State.PRECOPY, State.FREEZE])
def test_state_that_cannot_be_carried_keeps_the_old_one(state: State) -> None:
    play = Play().started()
    old = play.active
    play.edited().reach(state)
    failure = Failure(state.value, 'rooms["lobby"].lock: a thread cannot be carried')
    play.say(ev.ActiveFailed(old, play.number, failure))
    (record,) = play.reloads()
    assert record.failure == failure
    assert play.machine.active == old


@pytest.mark.parametrize(
    "state", [State.COLLECT, State.CHECK, State.PREPARE, State.PRECOPY, State.QUIESCE, State.FREEZE]
)
def test_active_that_dies_before_it_is_frozen_is_recovered_and_the_edit_tried_again(state: State) -> None:
    play = Play().started()
    play.edited().reach(state)
    play.say(ev.ChildExited(play.active, "killed by SIGKILL"))
    activated = [command for command in play.log if isinstance(command, cmd.Activate)]
    assert activated[-1].last_good
    assert play.machine.active is None
    while play.machine.generation < 2:
        play.step()
    assert NoticeKind.RECOVERED in play.notices()
    if state is not State.COLLECT:
        assert play.at(State.COLLECT), "the edit that was under way is taken up again"


@pytest.mark.parametrize("state", [State.REHYDRATE, State.VERIFY, State.COMMIT])
def test_old_one_that_dies_frozen_does_not_stop_the_switch(state: State) -> None:
    play = Play().started()
    play.edited().reach(state)
    play.say(ev.ChildExited(play.active, "killed by SIGKILL"))
    play.reach(State.IDLE)
    (record,) = play.reloads()
    assert record.outcome is Outcome.COMMITTED
    assert play.machine.generation == 2


def test_both_die_and_the_last_good_code_comes_back() -> None:
    play = Play().started()
    play.edited().reach(State.VERIFY)
    play.say(ev.ChildExited(play.active, "killed by SIGKILL"))
    play.say(ev.ChildFailed(play.candidate, play.number, BROKEN))
    assert play.at(State.PREPARE)
    play.reach(State.IDLE)
    assert NoticeKind.RECOVERED in play.notices()
    rehydrated = [command for command in play.log if isinstance(command, cmd.AskRehydrate)]
    assert rehydrated[-1].with_state


def test_kill_of_a_proven_generation_recovers_any_number_of_times() -> None:
    play = Play().started()
    for _ in range(20):
        play.say(ev.ChildExited(play.active, "killed by SIGKILL"))
        play.reach(State.IDLE)
        play.say(ev.Proved(play.active))
    assert NoticeKind.HOLD not in play.notices()
    assert play.machine.generation == 21


def test_crash_loop_ends_in_the_hold_page_and_an_edit_ends_the_hold() -> None:
    play = Play().started()
    play.say(ev.ChildExited(play.active, "killed by SIGSEGV"))
    for _ in range(MAX_UNPROVEN_DEATHS):
        play.reach(State.IDLE)
        play.say(ev.ChildExited(play.active, "killed by SIGSEGV"))
    assert play.at(State.HOLD)
    assert any(isinstance(command, cmd.ShowHold) for command in play.log)
    play.reloaded()
    assert play.at(State.IDLE)
    assert any(isinstance(command, cmd.HideHold) for command in play.log)
    assert play.reloads()[-1].outcome is Outcome.COMMITTED


def test_first_start_broken_holds_and_waits_for_the_fix() -> None:
    play = Play()
    play.say(ev.Started())
    play.say(ev.ChildFailed(play.candidate, play.number, BROKEN))
    assert play.at(State.HOLD)
    assert cmd.ShowHold(BROKEN) in play.log
    play.edited().reach(State.PREPARE)
    play.say(ev.ChildFailed(play.candidate, play.number, BROKEN))
    assert play.at(State.HOLD)
    assert [record.outcome for record in play.reloads()] == [Outcome.REJECTED]
    play.reloaded()
    assert play.machine.active is not None


def test_first_start_broken_without_watching_exits_3() -> None:
    play = Play(reload=False)
    play.say(ev.Started())
    candidate = play.candidate
    play.say(ev.ChildFailed(candidate, play.number, BROKEN))
    play.say(ev.ChildExited(candidate, "exit code 1"))
    assert play.log[-1] == cmd.Exit(3)


@pytest.mark.parametrize(("flag", "code"), [("usage", 2), ("port_busy", 4)])
def test_first_start_that_cannot_work_exits(flag: str, code: int) -> None:
    play = Play()
    play.say(ev.Started())
    candidate = play.candidate
    play.say(ev.ChildFailed(candidate, play.number, BROKEN, **{flag: True}))
    play.say(ev.ChildExited(candidate, "exit code 1"))
    assert play.log[-1] == cmd.Exit(code)


def test_new_one_that_dies_in_its_probation_gives_way_to_the_frozen_one() -> None:
    play = Play().started()
    old = play.active
    play.reloaded()
    play.say(ev.ChildExited(play.active, "killed by SIGSEGV"))
    assert play.machine.active == old
    assert play.at(State.IDLE)
    assert play.machine.generation == 1
    assert any(isinstance(command, cmd.AskResume) and command.child == old for command in play.log)
    assert play.notices()[-2:] == [NoticeKind.DIED, NoticeKind.RECOVERED]
    play.reloaded()
    assert play.machine.generation == 3, "numbers are never used twice"


def test_frozen_one_that_dies_ends_the_probation() -> None:
    play = Play().started()
    old = play.active
    play.reloaded()
    play.say(ev.ChildExited(old, "killed by SIGKILL"))
    assert play.at(State.IDLE)
    assert play.machine.frozen is None


@pytest.mark.parametrize("state", [State.CHECK, State.PREPARE, State.PRECOPY, State.QUIESCE])
def test_an_edit_supersedes_what_is_under_way(state: State) -> None:
    play = Play().started()
    old = play.active
    play.edited().reach(state)
    stale = play.number
    candidate = play.machine.candidate
    play.say(ev.FilesTouched(frozenset({"/project/other.py"})))
    play.say(ev.Collected(frozenset({"/project/other.py"})))
    assert play.at(State.CHECK)
    assert play.number > stale
    assert play.checks == {APP, "/project/other.py"}
    if candidate is not None:
        assert cmd.Kill(candidate) in play.log
        before = play.machine.state
        play.say(ev.Prepared(candidate, stale))
        assert play.at(before), "an answer of the superseded attempt is dropped"
    play.reach(State.PROBATION)
    (record,) = play.reloads()
    assert record.files == ("app.py", "other.py")
    assert play.machine.frozen == old


@pytest.mark.parametrize("state", [State.FREEZE, State.REHYDRATE, State.VERIFY, State.COMMIT])
def test_an_edit_from_freeze_on_waits_and_then_follows(state: State) -> None:
    play = Play().started()
    play.edited().reach(state).edited()
    while not play.reloads():
        play.step()
    assert play.at(State.COLLECT)
    while len(play.reloads()) < 2:
        play.step()
    assert play.machine.generation == 3


def test_an_edit_during_the_probation_retires_the_frozen_one() -> None:
    play = Play().started()
    oldest = play.active
    play.reloaded().reloaded()
    assert cmd.AskRetire(oldest, final=False) in play.log
    assert play.machine.generation == 3


def test_old_code_that_is_busy_is_tried_again_by_itself() -> None:
    play = Play().started()
    play.edited().reach(State.FREEZE)
    while not play.reloads():
        play.tick()
    assert play.reloads()[-1].outcome is Outcome.ROLLED_BACK
    play.tick()
    assert play.at(State.PREPARE)
    play.reach(State.PROBATION)
    assert play.reloads()[-1].outcome is Outcome.COMMITTED


def test_a_long_import_warms_the_next_interpreter() -> None:
    play = Play().started()
    play.edited().reach(State.PREPARE)
    assert play.machine.spare is None
    play.tick()
    assert play.at(State.PREPARE)
    assert play.machine.spare is not None


def test_without_a_spare_from_now_on_the_one_that_waits_is_ended_and_none_takes_its_place() -> None:
    play = Play().started()
    spare = play.machine.spare
    commands = play.say(ev.Configured(dataclasses.replace(SETTINGS, spare=False)))
    assert commands == [cmd.Kill(spare or 0)]
    play.say(ev.ChildExited(spare or 0, "killed by SIGKILL"))
    assert play.machine.spare is None
    assert NoticeKind.WARNING not in play.notices()


def test_with_a_spare_from_now_on_one_is_warmed_at_once() -> None:
    play = Play(spare=False).started()
    assert play.machine.spare is None
    play.say(ev.Configured(SETTINGS))
    assert play.machine.spare is not None


def test_limits_that_change_hold_for_the_next_state() -> None:
    play = Play().started()
    play.say(ev.Configured(dataclasses.replace(SETTINGS, timeout_prepare=3.0, spare=False)))
    play.edited().reach(State.PREPARE)
    assert play.machine.deadline is not None
    play.now += 2.9
    play.say(ev.Tick())
    assert play.at(State.PREPARE)
    play.now += 0.2
    play.say(ev.Tick())
    failure = play.reloads()[-1].failure
    assert failure is not None
    assert "--timeout-prepare" in failure.reason


@pytest.mark.parametrize("spare", [True, False])
def test_settings_that_change_while_it_stops_start_nothing(spare: bool) -> None:
    play = Play().started()
    play.say(ev.StopRequested())
    assert play.say(ev.Configured(dataclasses.replace(SETTINGS, spare=spare))) == []


def test_reset_takes_no_state_over() -> None:
    play = Play().started()
    play.say(ev.ReloadRequested(reset=True))
    play.reach(State.PROBATION)
    (freeze,) = [command for command in play.log if isinstance(command, cmd.AskFreeze)]
    assert not freeze.export
    assert not any(isinstance(command, cmd.AskExport) for command in play.log)
    assert not [command for command in play.log if isinstance(command, cmd.AskRehydrate)][-1].with_state


def test_a_reload_waits_while_a_person_is_at_the_debugger() -> None:
    play = Play().started()
    play.say(ev.TerminalChanged(taken=True))
    play.edited().edited()
    assert play.at(State.IDLE)
    assert play.notices().count(NoticeKind.WAITING) == 1
    play.say(ev.TerminalChanged(taken=False))
    assert play.at(State.COLLECT)


def test_a_program_that_returns_is_run_again_by_an_edit() -> None:
    play = Play().started()
    play.say(ev.ProgramFinished(play.active, 0, None, server=False))
    play.say(ev.ChildExited(play.active, "exit code 0"))
    assert play.at(State.FINISHED)
    play.reloaded()
    assert play.at(State.IDLE)
    assert [command for command in play.log if isinstance(command, cmd.AskRehydrate)][-1].with_state


def test_a_program_that_returns_without_watching_ends_the_run_with_its_code() -> None:
    play = Play(reload=False)
    play.started()
    spare = play.machine.spare
    play.say(ev.ProgramFinished(play.active, 7, None, server=False))
    play.say(ev.ChildExited(play.active, "exit code 7"))
    play.say(ev.ChildExited(spare or 0, "killed by SIGKILL"))
    assert play.log[-1] == cmd.Exit(7)


def test_a_program_without_listeners_that_raises_is_not_run_again_and_again() -> None:
    play = Play().started()
    play.say(ev.ProgramFinished(play.active, 1, BROKEN, server=False))
    play.say(ev.ChildExited(play.active, "exit code 1"))
    assert play.at(State.HOLD)


def test_recovery_whose_code_raises_holds_at_once() -> None:
    play = Play().started()
    play.say(ev.ChildExited(play.active, "killed by SIGKILL"))
    play.say(ev.ChildFailed(play.candidate, play.number, BROKEN))
    assert play.at(State.HOLD)


def test_spares_that_keep_dying_are_given_up_with_a_warning() -> None:
    play = Play().started()
    for _ in range(MAX_SPARE_DEATHS):
        assert play.machine.spare is not None
        play.say(ev.ChildExited(play.machine.spare, "killed by SIGKILL"))
    assert play.machine.spare is None
    assert NoticeKind.WARNING in play.notices()
    play.reloaded()
    assert play.machine.spare is not None


def test_a_drain_that_does_not_end_is_terminated_then_killed() -> None:
    play = Play(probation=0.0).started()
    old = play.active
    play.reloaded()
    while cmd.Terminate(old) not in play.log:
        play.tick()
    assert cmd.Kill(old) not in play.log
    play.tick()
    assert cmd.Kill(old) in play.log


def test_a_generation_that_lasts_is_proven_without_an_answer() -> None:
    play = Play(probation=0.0).started()
    for _ in range(MAX_UNPROVEN_DEATHS + 2):
        play.say(ev.ChildExited(play.active, "killed by SIGKILL"))
        play.reach(State.IDLE)
        play.tick()
    assert NoticeKind.HOLD not in play.notices()


def test_an_edit_that_was_under_way_when_the_active_one_died_counts_again() -> None:
    play = Play().started()
    play.edited().reach(State.PREPARE)
    play.say(ev.ProgramFinished(play.active, 1, BROKEN, server=False))
    commands = play.say(ev.ChildExited(play.active, "exit code 1"))
    assert cmd.GiveBack() in commands
    assert commands.index(cmd.GiveBack()) < commands.index(cmd.Collect(frozenset({APP})))


def test_files_collected_after_their_attempt_ended_are_taken_up_again() -> None:
    play = Play().started()
    play.edited()
    play.say(ev.ProgramFinished(play.active, 1, BROKEN, server=False))
    play.say(ev.ChildExited(play.active, "exit code 1"))
    commands = play.say(ev.Collected(frozenset({APP})))
    assert cmd.GiveBack() in commands
    assert cmd.Collect(frozenset({APP})) in commands


def test_old_generations_that_drain_are_limited() -> None:
    play = Play(probation=0.0).started()
    first = play.active
    for _ in range(MAX_DRAINING + 1):
        play.reloaded()
    assert cmd.Kill(first) in play.log


def test_stop_ends_everything_in_order() -> None:
    play = Play().started().reloaded()
    active, frozen, spare = play.active, play.machine.frozen, play.machine.spare
    commands = play.say(ev.StopRequested(130))
    assert cmd.AskRetire(active, final=True) in commands
    assert cmd.Kill(frozen or 0) in commands
    assert cmd.Kill(spare or 0) in commands
    for child in (active, frozen, spare):
        play.say(ev.ChildExited(child or 0, "exit code 0"))
    assert play.log[-1] == cmd.Exit(130)


def test_second_stop_kills_at_once() -> None:
    play = Play().started()
    play.say(ev.StopRequested(130))
    assert cmd.Kill(play.active) in play.say(ev.StopRequested(130))


def test_stop_that_is_not_followed_is_enforced() -> None:
    play = Play().started()
    active = play.active
    play.say(ev.StopRequested())
    assert cmd.Terminate(active) in play.tick()
    assert cmd.Kill(active) in play.tick()


@pytest.mark.parametrize("state", [State.COLLECT, State.CHECK, *ATTEMPT_STATES])
def test_stop_in_every_state_leaves_no_child(state: State) -> None:
    play = Play().started()
    play.edited().reach(state)
    alive = {command.child for command in play.log if isinstance(command, cmd.Spawn)}
    play.say(ev.StopRequested())
    for child in alive:
        play.say(ev.ChildExited(child, "exit code 0"))
    assert play.log[-1] == cmd.Exit(0)


def test_every_state_of_the_table_is_reachable_and_leads_somewhere() -> None:
    assert set(STATES) == set(State)
    targets = {target for info in STATES.values() for target in (*info.success, *info.failure)}
    assert targets | {State.NEW, State.STOPPING} == set(State)


EVENTS = strategies.sampled_from(
    [
        "good",
        "fail",
        "die candidate",
        "die active",
        "die frozen",
        "die spare",
        "tick",
        "edit",
        "same",
        "proved",
        "reload",
        "finish",
    ]
)


@settings(max_examples=150, deadline=None)
@given(strategies.lists(EVENTS, max_size=60))
def test_no_order_of_events_serves_twice_or_promotes_the_unready(words: list[str]) -> None:
    play = Play()
    play.say(ev.Started())
    dead: set[int] = set()

    def die(child: int | None) -> None:
        if child is not None:
            dead.add(child)
            play.say(ev.ChildExited(child, "killed by SIGKILL"))

    for word in words:
        play.now += 0.05
        machine = play.machine
        before, committed = machine.active, machine.state is State.COMMIT
        if word == "good" and machine.attempt is not None:
            play.step()
        elif word == "fail" and machine.candidate is not None:
            play.say(ev.ChildFailed(machine.candidate, play.number, BROKEN))
        elif word.startswith("die"):
            die(getattr(machine, word.removeprefix("die ")))
        elif word == "tick" and machine.deadline is not None:
            play.tick()
        elif word == "edit":
            play.edited()
        elif word == "same":
            play.say(ev.Collected(frozenset()))
        elif word == "proved" and machine.active is not None:
            play.say(ev.Proved(machine.active))
        elif word == "reload":
            play.say(ev.ReloadRequested())
        elif word == "finish" and machine.active is not None:
            play.say(ev.ProgramFinished(machine.active, 0, None, server=True))
            die(machine.active)
        roles = [machine.active, machine.candidate, machine.spare, machine.frozen, *machine.draining]
        living = [role for role in roles if role is not None]
        assert len(living) == len(set(living)), "one child, one role"
        assert not dead & set(living), "the dead have no role"
        if machine.active != before and machine.active is not None:
            fell_back = before is not None and before in dead
            assert (committed and word == "good") or fell_back, "only COMMIT promotes"
    commits = [record for record in play.reloads() if record.outcome is Outcome.COMMITTED]
    for record in commits:
        assert sum(seconds for _, seconds in record.phases) == pytest.approx(record.total)


# --- established connections ------------------------------------------------------------------------


def switched(moved: int = 0, kept_back: tuple[tuple[str, int], ...] = ()) -> Play:
    play = Play().started().edited().reach(State.FREEZE)
    play.say(ev.Frozen(play.active, play.number, 0, moved, kept_back))
    while not play.reloads():
        play.step()
    return play


def test_with_connections_gone_over_the_old_generation_retires_at_once() -> None:
    play = switched(moved=3)
    assert play.at(State.IDLE)
    assert any(isinstance(command, cmd.AskRetire) for command in play.log)
    assert play.reloads()[-1].connections == 3


def test_connections_that_stay_are_in_the_record_with_their_reasons() -> None:
    play = switched(moved=1, kept_back=(("a request in flight", 2),))
    record = play.reloads()[-1]
    assert record.kept_back == (("a request in flight", 2),)
    assert "2 connections not handed over: a request in flight" in record.notes


def test_new_code_that_dies_before_its_first_answer_gives_way_to_the_code_before() -> None:
    play = switched(moved=1)
    before = len(play.log)
    play.say(ev.ChildExited(play.active, "killed by SIGSEGV"))
    said = play.log[before:]
    assert any(isinstance(command, cmd.FallBack) for command in said)
    fall_back = next(i for i, command in enumerate(said) if isinstance(command, cmd.FallBack))
    activate = next(i for i, command in enumerate(said) if isinstance(command, cmd.Activate))
    assert fall_back < activate
    assert play.at(State.PREPARE)
    assert NoticeKind.DIED in play.notices()


def test_code_that_has_given_an_answer_comes_back_itself_after_its_death() -> None:
    play = switched(moved=1)
    play.say(ev.Proved(play.active))
    assert not play.machine.may_fall_back
    before = len(play.log)
    play.say(ev.ChildExited(play.active, "killed by SIGKILL"))
    assert not any(isinstance(command, cmd.FallBack) for command in play.log[before:])
    assert play.at(State.PREPARE)


def test_what_the_new_code_declined_is_told() -> None:
    play = switched(moved=2)
    play.say(ev.Settled(play.active, 1, (("the new code answers with status 404", 1),), 0.01))
    texts = [record.text for record in play.records() if isinstance(record, Notice)]
    assert texts[-1] == "1 connection closed: the new code answers with status 404"


# --- earlier states, objects that are reset, and the state of the run before -----------------------------


def test_first_start_takes_the_saved_state_up_only_if_there_is_one() -> None:
    for resume in (False, True):
        play = Play()
        play.say(ev.Started(resume=resume))
        (asked,) = play.say(ev.Prepared(play.candidate, play.number))
        assert asked == cmd.AskRehydrate(play.candidate, play.number, with_state=resume)


def test_a_start_that_cannot_take_the_saved_state_up_tries_it_again_with_the_fix() -> None:
    play = Play()
    play.say(ev.Started(resume=True))
    play.reach(State.REHYDRATE)
    play.say(ev.ChildFailed(play.candidate, play.number, BROKEN))
    assert play.at(State.HOLD)
    play.edited().reach(State.PREPARE)
    asked = play.say(ev.Prepared(play.candidate, play.number))
    assert asked == [cmd.AskRehydrate(play.candidate, play.number, with_state=True)]


def test_an_earlier_state_is_proved_while_the_old_code_serves_and_not_exported_over() -> None:
    play = Play().started()
    play.say(ev.ReloadRequested(earlier=True, note="with the state of generation 1"))
    asked = play.say(ev.Prepared(play.candidate, play.number))
    assert asked == [cmd.AskPrecopy(play.candidate, play.number, earlier=True)]
    play.say(ev.Precopied(play.candidate, play.number))
    frozen = play.say(ev.Quiesced(play.active, play.number, 0))
    assert frozen == [cmd.AskFreeze(play.active, play.number, export=True, needed=False)], "to be kept"
    (asked_again,) = play.say(ev.Frozen(play.active, play.number, 0))
    assert asked_again == cmd.AskRehydrate(play.candidate, play.number, with_state=True, earlier=True)
    play.reach(State.PROBATION)
    assert play.reloads()[-1].outcome is Outcome.COMMITTED
    assert play.reloads()[-1].notes == ("with the state of generation 1",)


def test_an_earlier_state_that_todays_code_cannot_take_costs_no_pause() -> None:
    play = Play().started()
    play.say(ev.ReloadRequested(earlier=True))
    play.reach(State.PRECOPY)
    play.say(ev.ChildFailed(play.candidate, play.number, BROKEN))
    record = play.reloads()[-1]
    assert (record.outcome, record.pause) == (Outcome.REJECTED, 0)
    assert play.at(State.IDLE)


def test_an_edit_on_the_way_back_goes_along() -> None:
    play = Play().started()
    play.say(ev.ReloadRequested(earlier=True, keys=("app:a",)))
    play.reach(State.PRECOPY)
    play.say(ev.FilesTouched(frozenset({APP})))
    play.say(ev.Collected(frozenset({APP})))
    play.reach(State.PREPARE)
    asked = play.say(ev.Prepared(play.candidate, play.number))
    assert asked == [cmd.AskPrecopy(play.candidate, play.number, keys=("app:a",), earlier=True)]
    play.reach(State.PROBATION)
    assert play.reloads()[-1].files == ("app.py",)


def test_objects_that_are_reset_are_left_out_at_every_step() -> None:
    play = Play().started()
    play.say(ev.ReloadRequested(keys=("app:a",)))
    play.reach(State.PROBATION)
    given = [
        command.keys
        for command in play.log
        if isinstance(command, (cmd.AskExport, cmd.AskPrecopy, cmd.AskFreeze, cmd.AskRehydrate))
    ]
    assert given[-4:] == [("app:a",)] * 4


def test_the_next_reload_is_an_ordinary_one_again() -> None:
    play = Play().started()
    play.say(ev.ReloadRequested(earlier=True, keys=("app:a",), note="a note"))
    play.reach(State.PROBATION)
    play.say(ev.Proved(play.active))
    play.edited().reach(State.IDLE if play.at(State.IDLE) else State.PRECOPY)
    play.reach(State.PRECOPY)
    assert play.log[-1] == cmd.AskExport(play.active, play.number)
    play.reach(State.PROBATION)
    assert play.reloads()[-1].notes == ()


def test_from_a_hold_an_earlier_state_starts_at_once() -> None:
    play = Play()
    play.say(ev.Started())
    play.say(ev.ChildFailed(play.candidate, play.number, BROKEN))
    assert play.at(State.HOLD)
    play.say(ev.ReloadRequested(earlier=True))
    (asked,) = play.say(ev.Prepared(play.candidate, play.number))
    assert asked == cmd.AskRehydrate(play.candidate, play.number, with_state=True, earlier=True)
