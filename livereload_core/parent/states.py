"""What the control socket says and does about state: what is kept, a copy of it, and the way back.

    =========  =================================  =========================================================
    request    fields                             answer
    =========  =================================  =========================================================
    states     none                               ``states`` (newest first), ``saved``, ``too_large``
    copy       ``generation`` or null, ``path``   writes a file as it is saved; ``generation``, ``taken``,
                                                   ``stale``: why it is not the state of now, if so
    restore    ``generation`` or ``file``         ``record``: how the reload ended
    rollback   none                               the same, with the state that was kept last
    reset      ``keys``, none for all             the same, without these objects
    =========  =================================  =========================================================

Invariants:
    * State is bytes here: whoever wants to see what is in it asks for a copy and looks by himself.
    * Going back is a reload like any other: a fresh process takes the state, or today's code serves on.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import TYPE_CHECKING, Any

from livereload_core.core import events as ev
from livereload_core.core.records import as_json
from livereload_core.core.states import REST, State
from livereload_core.errors import LivecoreError, SnapshotError, UsageError
from livereload_core.parent.kept import Kept
from livereload_core.parent.saving import clock, load
from livereload_core.parent.snapshots import HeldSnapshot, Stored
from livereload_core.posix import memfd
from livereload_core.posix.private import write_private
from livereload_core.wire import messages as wire
from livereload_core.wire import saved, snapshots

if TYPE_CHECKING:
    from livereload_core.parent.supervisor import Supervisor

__all__ = ["OPERATIONS", "States"]

OPERATIONS = frozenset({"states", "copy", "restore", "rollback", "reset"})
_LOOK = 0.05
"""Seconds between two looks at whether an attempt that is under way has ended."""
_FRESH = 10.0
"""Seconds for an attempt to end, and then for the program to hand its state over as it is now; after that the
newest that is held serves."""


class States:
    """Answers for one run."""

    def __init__(self, run: Supervisor) -> None:
        self._run = run
        self._fresh: list[asyncio.Future[str]] = []
        self._turn = asyncio.Lock()

    async def answer(self, operation: str, request: dict[str, Any]) -> dict[str, Any]:
        """Answer one request.

        Raises:
            UsageError: it cannot be done as asked.
            LivecoreError: it failed.
        """
        if operation == "states":
            return await self._list()
        if operation == "copy":
            return await self._copy(request)
        async with self._turn:
            if operation == "restore":
                return await self._restore(request)
            if operation == "rollback":
                return await self._go_back(self._newest_kept())
            return await self._reset(tuple(map(str, request.get("keys") or ())))

    def arrived(self, refused: str) -> None:
        """The program has handed its state over, or has said why it cannot."""
        fresh, self._fresh = self._fresh, []
        for future in fresh:
            if not future.done():
                future.set_result(refused)

    # -- looking --------------------------------------------------------------------------------------

    async def _now(self) -> tuple[HeldSnapshot | None, str]:
        """Return the state as it is now; else the newest that is held, and why it is not that of now."""
        machine = self._run.machine
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._rest(), _FRESH)
        refused = "the program is not serving"
        handle = self._run.children.get(machine.active or 0)
        if handle is not None and machine.state in (State.IDLE, State.PROBATION):
            future: asyncio.Future[str] = self._run.loop.create_future()
            self._fresh.append(future)
            handle.send(wire.Export(0))
            done, _ = await asyncio.wait([future], timeout=_FRESH)
            refused = future.result() if done else "the program does not answer"
        return self._run.messages.states.newest, refused

    async def _list(self) -> dict[str, Any]:
        now, _ = await self._now()
        kept = reversed(list(self._run.messages.states.kept))
        rows = [] if now is None else [await self._row(now.stored(), now.generation, "now")]
        rows += [await self._row(one.stored, one.generation, one.why) for one in kept]
        return {
            "states": rows,
            "saved": self._run.saving.path if self._run.settings.save else "",
            "too_large": self._run.messages.states.kept.too_large,
        }

    async def _row(self, stored: Stored, generation: int, why: str) -> dict[str, Any]:
        roots = await asyncio.to_thread(_roots, stored)
        row = {"generation": generation, "taken": stored.taken, "size": stored.size}
        return {**row, "why": why, "roots": roots}

    async def _copy(self, request: dict[str, Any]) -> dict[str, Any]:
        path, generation = str(request.get("path", "")), request.get("generation")
        if not os.path.isabs(path):
            raise UsageError(f"the copy has no absolute path but {path!r}")
        refused = ""
        if generation is None:
            now, refused = await self._now()
            if now is None:
                raise LivecoreError(f"there is no state: {refused}")
            stored = now.stored()
        else:
            stored = self._kept(generation).stored
        about = self._run.saving.about(stored.taken, "copy")
        try:
            await asyncio.to_thread(_write, path, stored, about)
        except OSError as error:
            raise LivecoreError(f"{path} cannot be written: {error.strerror or error}") from error
        return {"generation": stored.generation, "taken": stored.taken, "stale": refused}

    # -- going back -------------------------------------------------------------------------------------

    async def _restore(self, request: dict[str, Any]) -> dict[str, Any]:
        file = request.get("file")
        if file is None:
            return await self._go_back(self._kept(request.get("generation")))
        path = str(file)
        try:
            about, held = await asyncio.to_thread(load, path)
        except SnapshotError as error:
            raise LivecoreError(f"{path}: {error}") from error
        except OSError as error:
            raise UsageError(f"{path}: {error.strerror or error}") from error
        return await self._take_up(held, f"with the state of {path} ({clock(about.saved)})")

    async def _go_back(self, kept: Kept) -> dict[str, Any]:
        held = await asyncio.to_thread(HeldSnapshot.alone, kept.stored)
        whose = f"of generation {kept.generation}" if kept.generation else "of the run before"
        return await self._take_up(held, f"with the state {whose} ({clock(kept.stored.taken)})")

    async def _take_up(self, held: HeldSnapshot, note: str) -> dict[str, Any]:
        await self._rest()
        self._run.messages.states.earlier = held
        try:
            return await self._reload(ev.ReloadRequested(earlier=True, note=note))
        finally:
            self._run.messages.states.earlier = None

    async def _reset(self, keys: tuple[str, ...]) -> dict[str, Any]:
        await self._rest()
        newest, _ = await self._now()  # what is given up is kept, as it is now
        if not keys:
            return await self._reload(ev.ReloadRequested(reset=True, note="without the state before"))
        held = await asyncio.to_thread(_roots, newest.stored()) if newest is not None else []
        # Where one of them cannot be written there is no snapshot, and a reset of that one is the way out.
        known = dict.fromkeys(
            [str(root["key"]) for root in held] + [root.key for root in self._run.last_roots]
        )
        whole = tuple(snapshots.whole_key(key, list(known)) for key in keys)
        self._run.messages.states.whole = newest
        try:
            return await self._reload(ev.ReloadRequested(keys=whole))
        finally:
            self._run.messages.states.whole = None

    async def _rest(self) -> None:
        """Wait until no attempt is under way, so that the next record is the one that is asked for."""
        while self._run.machine.state not in REST:
            if self._run.machine.state in (State.STOPPING, State.STOPPED):
                raise LivecoreError("the run is ending")
            await asyncio.sleep(_LOOK)

    async def _reload(self, request: ev.ReloadRequested) -> dict[str, Any]:
        record = self._run.next_record()
        self._run.dispatch(request)
        return {"record": as_json(await record)}

    def _kept(self, generation: object) -> Kept:
        kept = self._run.messages.states.kept
        found = kept.find(generation) if isinstance(generation, int) else None
        if found is None:
            listed = ", ".join(str(one.generation) for one in kept)
            raise UsageError(
                f"no state of generation {generation} is kept",
                advice=f"there are those of {listed}" if listed else self._why_none(),
            )
        return found

    def _newest_kept(self) -> Kept:
        newest = self._run.messages.states.kept.newest
        if newest is None:
            raise UsageError("no earlier state is kept", advice=self._why_none())
        return newest

    def _why_none(self) -> str:
        if not self._run.settings.keep_generations:
            return "keep-generations is 0"
        if self._run.messages.states.kept.too_large:
            return "it is too large to be kept in memory; `livecore state export` writes it to a file"
        return "one is kept with each reload"


def _write(path: str, stored: Stored, about: saved.About) -> None:
    with stored.opened() as contents:
        write_private(path, saved.parts(contents.pieces, about, contents.segments))


def _roots(stored: Stored) -> list[dict[str, Any]]:
    """Return key, size and fate of each root in a snapshot."""
    with memfd.mapped(stored.memory.fd) as view:
        head = snapshots.read(view, any_python=True)
        pieces = head.index["pieces"]
        return [
            {
                "key": root["key"],
                "size": root["length"] + sum(pieces[number][0] for number in root["pieces"]),
                "type": root["type"],
                "lost": root["lost"],
            }
            for root in head.roots
        ]
