"""Between the machine's words and the wire: which message a command becomes, which event a message is.

Holds what travels by fd: the newest snapshot, the snapshot on trial, the last good sources.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from livereload_core.core import commands as cmd
from livereload_core.core import events as ev
from livereload_core.core.records import Notice, NoticeKind
from livereload_core.core.settings import Settings
from livereload_core.core.states import PAUSED, State
from livereload_core.errors import PortBusyError, UsageError
from livereload_core.parent.children import GenerationHandle
from livereload_core.parent.holding import Holding
from livereload_core.parent.snapshots import HeldSnapshot
from livereload_core.parent.vault import Vault
from livereload_core.parent.warmth import Warmth
from livereload_core.posix import memfd
from livereload_core.posix.addresses import Address
from livereload_core.wire import links as wire_links
from livereload_core.wire import messages as wire

if TYPE_CHECKING:
    from livereload_core.parent.supervisor import Supervisor

__all__ = ["ChildMessages"]


class _Slot:
    """Owns one fd at most."""

    def __init__(self) -> None:
        self.fd: int | None = None

    def put(self, fd: int | None) -> None:
        if self.fd is not None:
            os.close(self.fd)
        self.fd = fd

    def fds(self) -> tuple[int, ...]:
        return () if self.fd is None else (self.fd,)


class _Held:
    """A dup of an fd that closes with its last reference."""

    def __init__(self, fd: int) -> None:
        self.fd = os.dup(fd)

    def __del__(self) -> None:
        os.close(self.fd)


def _taken(fds: list[int]) -> list[int]:
    taken = list(fds)
    fds.clear()
    return taken


def _held(fd: int | None) -> _Held | None:
    return None if fd is None else _Held(fd)


class ChildMessages:
    """Speaks with all children on behalf of one supervisor."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._run = supervisor
        self.states = Holding(supervisor.settings.keep_generations)
        self._sources = _Slot()
        self._prepared = _Slot()
        self._code = _Slot()
        self._links = _Slot()
        self._moved: tuple[int, ...] = ()
        self.vault = Vault()
        self.warmth = Warmth(supervisor.settings)
        self._generations: dict[ev.Child, int] = {}
        self._required: tuple[dict[str, Any], ...] = ()
        self._reason_told = False
        self._servers: set[ev.Child] = set()
        self._activation: cmd.Activate | None = None
        self._allowed: dict[str, Any] = {}
        self._before: tuple[_Held | None, HeldSnapshot | None, int, tuple[dict[str, Any], ...]] | None = None

    def configure(self, settings: Settings) -> None:
        """Go by other settings from now on."""
        self.warmth.configure(settings)
        self.states.kept.configure(settings.keep_generations)
        self._reason_told = self._reason_told and settings.preload == self._run.settings.preload

    def close(self) -> None:
        """Let go of every fd."""
        self._before = None
        self.states.close()
        for slot in (self._prepared, self._sources, self._code, self._links):
            slot.put(None)
        self.vault.close()

    def forget(self, child: ev.Child) -> None:
        """A child was reaped."""
        if child == self._run.machine.active:
            self.vault.orphan(child)
        else:
            self.vault.abandoned(child)
        self._generations.pop(child, None)
        self._servers.discard(child)

    def generation_of(self, child: ev.Child) -> int:
        """The generation that a child is or wants to become; 0 for a spare."""
        return self._generations.get(child, 0)

    # -- to the children ----------------------------------------------------------------------------

    def warm(self, handle: GenerationHandle) -> None:
        """Tell a fresh interpreter of the run, and what to import ahead."""
        adapters, codecs = self.warmth.plugins(handle.env)
        modules, reason = self.warmth.modules() if self._run.settings.spare else ((), "")
        if reason and not self._reason_told:
            self._reason_told = True
            self._run.emit(Notice(NoticeKind.INFO, reason))
        settings, roots = self._run.settings.to_json(), self._run.user_roots()
        handle.wanted = len(modules)
        handle.send(wire.Warm(settings, roots, adapters, codecs, modules, self.warmth.environ))

    def activate(self, command: cmd.Activate) -> None:
        """Let a child import the user's code."""
        self._activation, self._allowed = command, {}
        self._generations[command.child] = command.generation
        fds = self._code.fds()
        if command.last_good and self._sources.fd is not None:
            fds = (self._code.fd or self._sources.fd, self._sources.fd)
        marks = self.vault.marks_for(command.generation)
        awaits = command.generation > 1 or self.states.newest is not None
        order = wire.Activate(command.attempt, command.generation, self.vault.most, awaits)
        self._send(command.child, order, (marks, *fds))

    def activate_again(self, child: ev.Child) -> None:
        """Another interpreter has taken the place of a candidate that was still getting warm."""
        if self._activation is not None and self._activation.child == child:
            self.activate(self._activation)

    def ask(self, command: Any) -> None:
        """Send what an ``Ask...`` command means."""
        number = getattr(command, "attempt", 0)
        settings = self._run.settings
        match command:
            case cmd.AskExport():
                self._send(command.child, wire.Export(number, command.keys, self._allowed))
            case cmd.AskPrecopy():
                held = self.states.take_trial(earlier=command.earlier)
                precopy = wire.Precopy(number, command.keys, held is not None and held.resumed)
                self._send(command.child, precopy, held.fds if held else ())
                if self._run.machine.active is not None:
                    for message, fds in self.vault.send_ahead(command.child, self._run.machine.active):
                        self._send(command.child, message, tuple(fds))
            case cmd.AskQuiesce():
                self._send(command.child, wire.Quiesce(number, settings.timeout_quiesce))
            case cmd.AskFreeze():
                freeze = wire.Freeze(
                    *(number, settings.timeout_hook, command.export, command.keys, command.needed),
                    self._allowed,
                )
                self._send(command.child, freeze)
            case cmd.AskResume():
                self._links.put(None)
                if not number:
                    self.fall_back()
                self._send(command.child, wire.Resume(number))
            case cmd.AskRehydrate():
                held = self.states.take_up(with_state=command.with_state, earlier=command.earlier)
                gone, resumed = (held.gone, held.resumed) if held else ((), False)
                rehydrate = wire.Rehydrate(number, self._required, gone, command.keys, resumed)
                self._send(command.child, rehydrate, held.fds if held else ())
                self._promise(command.child)
            case cmd.AskCommit():
                self._send(command.child, wire.Commit(number))
            case cmd.AskRetire():
                if command.final:
                    self._before = None
                    if self.states.newest is not None:
                        self._run.saving.note(self.states.newest)
                    self.states.newest = (
                        None  # nothing comes after, and what the program closes now shall end
                    )
                self._drop_unused()
                self._send(command.child, wire.Retire(settings.timeout_graceful, command.final))

    def _send(self, child: ev.Child, message: wire.Message, fds: tuple[int, ...] = ()) -> None:
        handle = self._run.children.get(child)
        if handle is not None:  # else its exit is on the way to the machine
            handle.send(message, fds)

    # -- from the children --------------------------------------------------------------------------

    def receive(self, handle: GenerationHandle, message: wire.Message, fds: list[int]) -> None:
        """Take one message; it owns the fds, and whatever nobody takes is closed."""
        try:
            self._receive(handle, message, fds)
        finally:
            for fd in fds:
                os.close(fd)

    def _receive(self, handle: GenerationHandle, message: wire.Message, fds: list[int]) -> None:
        child, dispatch = handle.number, self._run.dispatch
        active = child == self._run.machine.active
        match message:
            case wire.Prepared():
                self._prepared.put(fds.pop())
                self._allowed = message.allowed
                self._run.edits.loaded(child, message.loaded)
                dispatch(ev.Prepared(child, message.attempt, message.seconds, message.foreign))
            case wire.Failed():
                self._run.edits.loaded(child, message.loaded)
                if active and not message.attempt:
                    self._run.state_arrived(message.failure.reason)
                elif active:
                    dispatch(ev.ActiveFailed(child, message.attempt, message.failure))
                else:
                    dispatch(
                        ev.ChildFailed(
                            child, message.attempt, message.failure, message.usage, message.port_busy
                        )
                    )
            case wire.Exported():
                if active:
                    self.states.trial = HeldSnapshot(_taken(fds), generation=self.generation_of(child))
                    dispatch(ev.Exported(child, message.attempt))
            case wire.Precopied():
                dispatch(ev.Precopied(child, message.attempt))
            case wire.Quiesced():
                dispatch(ev.Quiesced(child, message.attempt, message.lingering))
            case wire.Frozen():
                if active:
                    self._links.put(fds.pop() if message.moved else None)
                    self._hold(handle, message, fds)
                    self._required = message.listening
                    self._moved = message.moved
                    attempt = self._run.machine.attempt
                    if attempt is None or attempt.number != message.attempt:
                        # Given up meanwhile: it goes on, and should it die, its marks tell, not this table.
                        self._links.put(None)
                    dispatch(
                        ev.Frozen(
                            child,
                            message.attempt,
                            message.connections,
                            len(message.moved),
                            tuple(message.kept_back.items()),
                        )
                    )
            case wire.Adopted():
                dispatch(ev.Adopted(child, message.attempt, message.seconds))
            case wire.Ready():
                dispatch(ev.Ready(child, message.attempt, message.roots, message.notes))
            case wire.Serving():
                self._serving(child, message)
            case wire.Proved():
                dispatch(ev.Proved(child))
            case _:
                self._receive_other(handle, message, fds, active=active)

    def _serving(self, child: ev.Child, message: wire.Serving) -> None:
        machine = self._run.machine
        before = self.states.committed(machine.attempt, machine.generation)
        if machine.active is not None:
            serial = before.serial if before else 0
            self._before = (_held(self._sources.fd), before, serial, self._required)
        if self.states.newest is not None:
            self.states.newest.serial = 0  # the one that this generation began with
        self._sources.put(self._prepared.fd)
        self._prepared.fd = None
        self._required = message.listening
        if message.listening:
            self._servers.add(child)
        self.vault.committed(child)
        self._links.put(None)
        self._run.dispatch(ev.Serving(child, message.attempt))
        if self._run.machine.frozen is None:
            self._drop_unused()
        self._run.edits.committed(child)

    def _receive_other(
        self, handle: GenerationHandle, message: wire.Message, fds: list[int], *, active: bool
    ) -> None:
        child, dispatch = handle.number, self._run.dispatch
        match message:
            case wire.Sources():
                if active:
                    self._code.put(fds.pop())
                    self._sources.put(fds.pop())
            case wire.Checkpoint():
                if active:
                    self._hold(handle, message, fds)
                    if message.asked:
                        self._run.state_arrived()
            case wire.Closed():
                held = self.states.newest
                if active and held is not None and held.serial == message.serial:
                    held.drop(message.places)
            case wire.FindExit():
                status = self._run.exits.status_of(message.pid)
                handle.send(wire.ExitFound(message.request, status))
            case wire.Finished():
                if active:
                    self._hold(handle, message, fds)
                server = child in self._servers
                dispatch(ev.ProgramFinished(child, message.code, message.failure, server))
            case wire.LateImport():
                self._run.edits.loaded(child, message.loaded)
            case wire.Modules():
                if active and self.warmth.learn(message.names, message.environ):
                    self._run.warm_again(anew=not message.names)
            case wire.Warmed():
                handle.warmed = message.modules
            case wire.Begun():
                handle.begun = True
            case wire.Spoiled():
                if message.name:
                    self.warmth.exclude(message.name)
                else:
                    self.warmth.forget()
                self._run.spares.spoiled(child)
            case wire.Opened():
                link = wire_links.from_json(message.number, message.link)
                self.vault.opened(child, message.number, link, fds.pop() if fds else None)
            case wire.Ended():
                self.vault.closed(child, message.numbers)
            case wire.HandedOver():
                self.vault.handed_over(child, message.numbers, memfd.read(fds[0]))
                if self._run.machine.state in (State.HOLD, State.FINISHED):
                    self.vault.nobody_serves(finished=self._run.machine.state is State.FINISHED)
                self._pass_on_connections()
            case wire.Settled():
                dispatch(ev.Settled(child, message.adopted, tuple(message.declined.items()), message.seconds))
            case wire.FindListener():
                self._find_listener(handle, message)
            case wire.OpenListeners():
                self._open_listeners(handle, message)
            case wire.NewListener():
                self._new_listener(child, message, fds.pop())
            case wire.ReloadRequest():
                dispatch(ev.ReloadRequested())
            case wire.Terminal():
                self._run.on_terminal(handle, message.taken)
            case wire.Warn():
                self._run.warn(message.text)
            case _:
                pass  # Hello: a spare is up; what it is sent before waits in its socket

    def _hold(
        self,
        handle: GenerationHandle,
        message: wire.Frozen | wire.Checkpoint | wire.Finished,
        fds: list[int],
    ) -> None:
        """Keep a snapshot in the place of the one before."""
        if not fds:
            return
        generation = self.generation_of(handle.number)
        held = HeldSnapshot(_taken(fds), message.serial, generation=generation)
        # What such a snapshot lacks ended with its process; for a living one it is asked again.
        held.resumed = not isinstance(message, wire.Frozen)
        handle.spared = frozenset(message.processes)
        if self._run.machine.state is State.STOPPING:
            self._run.saving.note(held)
            self.states.newest = None  # nothing comes after, and what the program closes now shall end
        else:
            self._run.loop.call_soon(self._run.saving.note, held)  # in a reload: after what it waits for
            self.states.newest = held

    # -- connections --------------------------------------------------------------------------------

    def _promise(self, child: ev.Child) -> None:
        """Give the candidate what will be its own at COMMIT: the active one's, or those of the dead."""
        alive = self._run.machine.active is not None
        table = self._links.fd if alive or self._links.fd is not None else None
        moved = self._moved if table is not None else ()
        if alive and table is None:
            return
        if table is None:
            self._survey()
        for message, fds in self.vault.promise(child, moved, table):
            self._send(child, message, tuple(fds))

    def _survey(self) -> None:
        """End those connections of the dead that cannot go on, and say so."""
        for what, count in self.vault.survey().items():
            noun = "connection" if count == 1 else "connections"
            self._run.emit(Notice(NoticeKind.INFO, f"{count} {noun} {what}"))

    def decided(self) -> None:
        """The machine has decided something: do what follows from the state that it is in."""
        if self._before is not None and not self._run.machine.may_fall_back:
            self._before = None
        if self._run.machine.attempt is None:
            self.states.give_up()
        self._pass_on_connections()

    def _pass_on_connections(self) -> None:
        """Give connections without an owner to the generation that serves, unless a switch is under way."""
        machine = self._run.machine
        if machine.active is None or machine.state in PAUSED:
            return
        self._survey()  # of one that died after its last word: what it kept for itself
        for message, fds in self.vault.waiting(machine.active):
            self._send(machine.active, message, tuple(fds))

    def fall_back(self) -> None:
        """The generation before serves again: its code and its state are the good ones."""
        if self._before is not None:
            sources, self.states.newest, serial, self._required = self._before
            if self.states.newest is not None:
                self.states.newest.serial = serial
            self._sources.put(None if sources is None else os.dup(sources.fd))
            self._before = None

    # -- listeners ----------------------------------------------------------------------------------

    def _drop_unused(self) -> None:
        """Close listeners that the program has given up, once no older generation can come back to them."""
        if self._run.machine.active is not None:
            self._run.listeners.keep_only(Address.from_json(address) for address in self._required)

    def _find_listener(self, handle: GenerationHandle, message: wire.FindListener) -> None:
        sock = self._run.listeners.find(handle.number, Address.from_json(message.address))
        handle.send(wire.ListenerFound(message.request), () if sock is None else (sock.fileno(),))
        if sock is not None:
            self._require(handle.number, Address.of(sock))

    def _open_listeners(self, handle: GenerationHandle, message: wire.OpenListeners) -> None:
        known = set(self._run.listeners.addresses)
        try:
            opened = self._run.listeners.configured()
        except PortBusyError as error:
            handle.send(wire.ListenersOpened(message.request, (), f"port-busy:{error}"))
            return
        except UsageError as error:
            handle.send(wire.ListenersOpened(message.request, (), f"usage:{error}"))
            return
        addresses = tuple(address.to_json() for address, _ in opened)
        handle.send(wire.ListenersOpened(message.request, addresses), [sock.fileno() for _, sock in opened])
        for address, _ in opened:
            if address not in known:
                self._announce(address)

    def _new_listener(self, child: ev.Child, message: wire.NewListener, fd: int) -> None:
        address = Address.from_json(message.address)
        if self._run.listeners.add(child, address, fd, requested_port=message.requested_port):
            self._announce(address)
        self._servers.add(child)
        self._require(child, address)

    def _require(self, child: ev.Child, address: Address) -> None:
        """A listener that the serving generation opened late is as much its own as the first ones."""
        if child == self._run.machine.active and address.to_json() not in self._required:
            self._required = (*self._required, address.to_json())

    def _announce(self, address: Address) -> None:
        self._run.emit(Notice(NoticeKind.LISTENING, address.url, self._run.machine.generation))
