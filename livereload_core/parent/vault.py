"""The connections that the parent holds for its generations: a dup of each, and what is known of it.

A dup keeps a connection alive when the process that served it dies. It also pins it: the client sees no end
while anybody holds one. So whoever ends a connection shuts it down and says so, and here the dup is closed.

Invariants:
    * Each connection belongs to exactly one child, the one that may touch it. Ownership moves at COMMIT, or
      when an old generation hands a connection over.
    * What belonged to a child that has died waits for the next one that serves; what nobody can take is shut
      down, never forgotten. Nobody gets it before its mark was looked at, unless the dead had told all of it.
    * An fd here is closed exactly once.
"""

from __future__ import annotations

import collections
import dataclasses
import os
import resource
import socket
from collections.abc import Iterable, Iterator, Sequence

from livereload_core.core import events as ev
from livereload_core.posix import memfd
from livereload_core.posix.tcp import read_bytes, traffic_of, unread_bytes
from livereload_core.wire import links as wire_links
from livereload_core.wire.frames import MAX_FDS
from livereload_core.wire.links import (
    BROKEN,
    CLEAN,
    COUNT_BYTES,
    ENDS,
    ID_BYTES,
    LOSES,
    SPAN,
    Kind,
    count_at,
    id_at,
    unpack_count,
    unpack_id,
)
from livereload_core.wire.messages import Ahead, Connections

__all__ = ["Vault"]

_OTHER_FDS = 512
"""Of the parent's limit of open files, what is left for listeners, snapshots, files in state and the rest."""
_UNMARKED = {Kind.HTTP: ENDS, Kind.WEBSOCKET: BROKEN, Kind.RAW: LOSES}
"""What it means that something of a client's was read of which the mark does not speak; of a WebSocket nobody
knows whether it was whole frames."""
_MOST = MAX_FDS - 1
"""Connections in one message: its first fd is the table."""


@dataclasses.dataclass(slots=True)
class _Entry:
    fd: int
    link: wire_links.Link
    owner: ev.Child | None
    """None: its owner has died or handed it over, and it waits for a new one."""
    unseen: bool = False
    """Its owner has died, and what was under way is not known here."""


class Vault:
    """Established connections by number.

    Attributes:
        most: how many may be held; further ones end at an edit, as without us.
    """

    def __init__(self) -> None:
        self.most = max(0, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - _OTHER_FDS)
        self._marks = memfd.growing("livecore-marks")
        self._entries: dict[int, _Entry] = {}
        self._promised: tuple[int, ...] = ()
        self._recipient: ev.Child | None = None
        self._ahead: set[int] = set()
        self._prepared: ev.Child | None = None

    def __len__(self) -> int:
        return len(self._entries)

    def marks_for(self, generation: int) -> int:
        """Return the fd of the marks, with room for ``generation``; it stays ours."""
        os.truncate(self._marks, (generation + 1) * SPAN)
        return self._marks

    def survey(self) -> dict[str, int]:
        """Look at what was under way on the connections of the dead, and end what cannot go on.

        A table that the dead had written tells more than the marks: what it speaks of is to be promised and
        committed before.

        Returns:
            what has happened to how many of them.
        """
        found: collections.Counter[str] = collections.Counter()
        for number, entry in tuple(self._entries.items()):
            if not entry.unseen:
                continue
            entry.unseen = False
            mark = self._mark_of(entry)
            if mark == ENDS:
                self._drop(number)
                found["closed: an answer was under way when the program died"] += 1
            elif mark == BROKEN:
                entry.link = dataclasses.replace(entry.link, policy="close")
            elif mark == LOSES:
                found["lost what the dead process had read and not answered"] += 1
            elif entry.link.kind == Kind.EVENTS and entry.link.mark >= 0:
                name = unpack_id(os.pread(self._marks, ID_BYTES, id_at(entry.link.mark)))
                if name is not None:
                    entry.link = dataclasses.replace(entry.link, event_id=name)
        return dict(found)

    def _mark_of(self, entry: _Entry) -> int:
        """What the dead had marked, or would have, had it not died between reading and marking."""
        kind, at = entry.link.kind, entry.link.mark
        if at < 0:
            return ENDS if kind == Kind.HTTP and _is_owed_an_answer(entry.fd) else CLEAN
        mark = os.pread(self._marks, 1, at)[0]
        read = read_bytes(entry.fd)
        if read is None or read == unpack_count(os.pread(self._marks, COUNT_BYTES, count_at(at))):
            return mark
        return max(mark, _UNMARKED.get(kind, CLEAN))

    def opened(self, child: ev.Child, number: int, link: wire_links.Link, fd: int | None) -> None:
        """A child tells of a connection, or of more about one; owns the fd."""
        known = self._entries.get(number)
        if known is None and fd is not None:
            self._entries[number] = _Entry(fd, link, child)
            return
        if fd is not None:
            os.close(fd)
        if known is not None and known.owner == child:
            known.link = link
            self._ahead.discard(number)  # what was sent ahead is out of date

    def closed(self, child: ev.Child, numbers: Iterable[int]) -> None:
        """A child has ended connections of its own."""
        for number in numbers:
            entry = self._entries.get(number)
            if entry is not None and entry.owner == child:
                self._drop(number)

    def send_ahead(self, child: ev.Child, owner: ev.Child) -> Iterator[tuple[Ahead, list[int]]]:
        """Yield what gives ``child`` the connections of ``owner`` that it may have to adopt.

        What happens to them until then is told by :meth:`promise`; one that ends meanwhile is shut down, so
        that its client sees the end although the candidate still holds it.
        """
        numbers = [number for number, entry in self._entries.items() if entry.owner == owner]
        for start in range(0, len(numbers), _MOST):
            part = tuple(numbers[start : start + _MOST])
            table = memfd.create(
                wire_links.pack(self._entries[number].link for number in part), "livecore-links"
            )
            try:
                yield Ahead(part), [table, *(self._entries[number].fd for number in part)]
            finally:
                os.close(table)
        self._ahead, self._prepared = set(numbers), child

    def promise(
        self, child: ev.Child, numbers: Sequence[int], table_fd: int | None
    ) -> Iterator[tuple[Connections, list[int]]]:
        """Yield what tells ``child`` of the connections that will be its own at COMMIT.

        Args:
            child: the candidate.
            numbers: those that the old generation gives over.
            table_fd: the old generation's table of those of which there is news; None to tell what is known
                here, with the connections of the dead in place of ``numbers``.
        """
        if table_fd is None:
            numbers = [number for number, entry in self._entries.items() if entry.owner is None]
        held = tuple(number for number in numbers if number in self._entries)
        self._promised, self._recipient = held, child
        own = None
        if table_fd is None and held:
            table_fd = own = memfd.create(
                wire_links.pack(self._entries[number].link for number in held), "livecore-links"
            )
        ahead = self._ahead if self._prepared == child else set[int]()
        known = tuple(number for number in held if number in ahead)
        new = tuple(number for number in held if number not in ahead) if known else held
        try:
            for start in range(0, len(new), _MOST) or (range(1) if known else ()):
                part = new[start : start + _MOST]
                entries = [self._entries[number] for number in part]
                facts = () if own is not None else tuple(wire_links.to_json(entry.link) for entry in entries)
                assert table_fd is not None
                message = Connections(False, part, facts, () if start else known)
                yield message, [table_fd, *(entry.fd for entry in entries)]
        finally:
            if own is not None:
                os.close(own)

    def committed(self, child: ev.Child) -> int:
        """COMMIT: what was promised to ``child`` is its own; returns how many."""
        if self._recipient != child:
            return 0
        promised = [number for number in self._promised if number in self._entries]
        for number in promised:
            entry = self._entries[number]
            entry.owner, entry.unseen = child, False
            if entry.link.inbound or entry.link.outbound:  # as in waiting()
                entry.link = dataclasses.replace(entry.link, inbound=b"", outbound=b"")
        self._promised, self._recipient = (), None
        return len(promised)

    def handed_over(self, child: ev.Child, numbers: Iterable[int], table: bytes) -> None:
        """An old generation is done with connections: they wait for the one that serves."""
        links = wire_links.unpack(table)
        for number in numbers:
            entry = self._entries.get(number)
            if entry is not None and entry.owner == child and number in links:
                entry.owner, entry.link = None, links[number]

    def waiting(self, child: ev.Child) -> Iterator[tuple[Connections, list[int]]]:
        """Yield what gives every connection without an owner to ``child``, which serves."""
        numbers = [number for number, entry in self._entries.items() if entry.owner is None]
        for start in range(0, len(numbers), _MOST):
            part = numbers[start : start + _MOST]
            table = memfd.create(
                wire_links.pack(self._entries[number].link for number in part), "livecore-links"
            )
            try:
                yield Connections(True, tuple(part)), [table, *(self._entries[number].fd for number in part)]
            finally:
                os.close(table)
            for number in part:
                entry = self._entries[number]
                # What was on its way has arrived with this message; should the child die, it is gone with it.
                entry.owner, entry.link = child, dataclasses.replace(entry.link, inbound=b"", outbound=b"")

    def orphan(self, child: ev.Child) -> int:
        """The serving child has died: its connections wait for the next one; returns how many."""
        orphans = [entry for entry in self._entries.values() if entry.owner == child]
        for entry in orphans:
            entry.owner, entry.unseen = None, True
        return len(orphans)

    def nobody_serves(self, *, finished: bool) -> None:
        """No code serves for a while: end what would only hang.

        A client that sends a request on a kept-alive connection shall come anew and read why it is not
        answered.
        A WebSocket, or a protocol of the program's own, waits for the fix, unless the program has ended by
        itself.
        """
        for number, entry in tuple(self._entries.items()):
            if entry.owner is None and (finished or entry.link.kind == Kind.HTTP):
                self._drop(number)

    def abandoned(self, child: ev.Child) -> None:
        """An old generation is gone: what it still had has come to its end with it."""
        for number in [number for number, entry in self._entries.items() if entry.owner == child]:
            self._drop(number)

    def close(self) -> None:
        """Nobody will serve again: every connection ends."""
        for number in tuple(self._entries):
            self._drop(number)
        if self._marks >= 0:
            os.close(self._marks)
            self._marks = -1

    def _drop(self, number: int) -> None:
        """End a connection: while a dup is open, the client does not see that the child has closed it."""
        with socket.socket(fileno=self._entries.pop(number).fd) as sock:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # the client was faster


def _is_owed_an_answer(fd: int) -> bool:
    """Whether the last word on a connection was the client's, and somebody has read it."""
    try:
        traffic = traffic_of(fd)
        return (
            traffic is not None
            and traffic.received > 0
            and (not traffic.sent or traffic.received_ago < traffic.sent_ago)
            and not unread_bytes(fd)
        )
    except OSError:
        return False  # no TCP connection: nobody tells
