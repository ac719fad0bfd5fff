"""The messages between the parent and one child: frozen records that become JSON.

Direction and answers (``+fd``: one file descriptor travels along)::

    parent                                   child
      │ ◀──────────────────────────── Hello ── │   exec'd, idle: a spare
      │ ── Warm ─────────────────────────────▶ │   third-party modules to import ahead
      │ ◀─────────────────────────── Warmed ── │   it has
      │ ── Activate (+fd sources) ───────────▶ │   becomes the candidate: import the user's code
      │ ◀──────────── Prepared +fd | Failed ─── │
      │ ── Export ──────────▶ active            │   PRECOPY, while it serves
      │ ◀── Exported +fd | Failed ── active     │
      │ ── Precopy +fd, Ahead +fds ──────────▶ │   decode, migrate, validate on trial
      │ ◀──────────────── Precopied | Failed ── │
      │ ── Quiesce ─▶ active ── Quiesced ──▶    │
      │ ── Freeze ──▶ active ── Frozen +fd ─▶   │   blocked until Resume or Retire
      │ ── Rehydrate (+fd) ──────────────────▶ │   fill the state, run the user's start-up
      │ ── Connections +fds ─────────────────▶ │   established ones, to adopt after Commit
      │ ◀── Adopted, then Ready | Failed ────── │
      │ ── Commit ───────────────────────────▶ │   accept from now on
      │ ◀─────── Serving, Sources +fd, Proved ── │
      │ ── Retire ──▶ old, which drains and exits

    at any time from the child: FindListener → ListenerFound, OpenListeners → ListenersOpened,
    NewListener +fd, Checkpoint +fd, Finished (+fd), LateImport, Modules, ReloadRequest, Terminal, Warn,
    Opened +fd, Ended, HandedOver +fd, Settled, FindExit → ExitFound, Closed

Beside a snapshot travel the fds of sockets and files in it. What one frame cannot take goes ahead, with
``MoreFds``, which the channels put in and take out.

``attempt`` numbers the attempt to reload that a message belongs to, so that an answer that comes after
its attempt was given up is recognised and dropped.
"""

from __future__ import annotations

import json
from typing import Any, ClassVar, dataclass_transform

from livereload_core.errors import ProtocolViolationError
from livereload_core.facts import Failure, RootFate, RootReport

__all__ = [
    "Activate",
    "Adopted",
    "Ahead",
    "Checkpoint",
    "Closed",
    "Commit",
    "Connections",
    "Ended",
    "ExitFound",
    "Export",
    "Exported",
    "Failed",
    "FindExit",
    "FindListener",
    "Finished",
    "Freeze",
    "Frozen",
    "HandedOver",
    "Hello",
    "LateImport",
    "ListenerFound",
    "ListenersOpened",
    "Message",
    "Modules",
    "MoreFds",
    "NewListener",
    "OpenListeners",
    "Opened",
    "Precopied",
    "Precopy",
    "Prepared",
    "Proved",
    "Quiesce",
    "Quiesced",
    "Ready",
    "Rehydrate",
    "ReloadRequest",
    "Resume",
    "Retire",
    "Serving",
    "Settled",
    "Sources",
    "Spoiled",
    "Terminal",
    "TerminalGranted",
    "Warm",
    "Warmed",
    "Warn",
    "decode",
    "encode",
]

Json = dict[str, Any]


@dataclass_transform(frozen_default=True)
class Message:
    """Base of all messages; a subclass is a frozen record of its annotations and registers itself by name.

    To type checkers these are frozen dataclasses. They are none, because each interpreter makes all of them
    while it boots: ``dataclasses`` compiles six methods for every class, which takes as long as a tenth of
    everything else that a spare imports.

    Attributes:
        kinds: every message by its name.
        field_names: of this kind, in order.
    """

    kinds: ClassVar[dict[str, type[Message]]] = {}
    field_names: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls) -> None:
        cls.field_names = tuple(cls.__annotations__)
        Message.kinds[cls.__name__] = cls

    def __init__(self, *values: Any, **named: Any) -> None:
        names = self.field_names
        if len(values) > len(names):
            raise TypeError(f"{type(self).__name__} has {len(names)} fields, not {len(values)}")
        given = dict(zip(names, values, strict=False))
        twice = given.keys() & named.keys()
        unknown = named.keys() - set(names)
        # A default is an attribute of the class, where an instance without a value of its own finds it.
        missing = [name for name in names if name not in given | named and not hasattr(type(self), name)]
        if twice or unknown or missing:
            wrong = ", ".join(sorted({*twice, *unknown, *missing}))
            raise TypeError(f"{type(self).__name__} cannot be made: {wrong} missing, unknown or given twice")
        self.__dict__.update(given, **named)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"messages are frozen: {type(self).__name__}.{name} cannot be set")

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and _values(other) == _values(self)

    __hash__ = None  # type: ignore[assignment]  # some fields are dicts

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={value!r}" for name, value in _values(self).items())
        return f"{type(self).__name__}({fields})"


def _values(message: Any) -> dict[str, Any]:
    return {name: getattr(message, name) for name in message.field_names}


# --- parent to child -------------------------------------------------------------------------------


class Warm(Message):
    """Get ready for this run: import these modules ahead, in this order, and set everything else up.

    Sent again when more modules are known. The next ``Activate`` ends it, warm or not.

    Attributes:
        settings: of the run.
        roots: folders whose Python files are the user's own code.
        adapters: entry points of the kinds of target, each as ``name = module:attribute``.
        codecs: those of codecs of third-party types.
        modules: what to import ahead, in order.
    """

    settings: Json
    roots: tuple[str, ...]
    adapters: tuple[str, ...]
    codecs: tuple[str, ...]
    modules: tuple[str, ...]


class Activate(Message):
    """Become the candidate of ``generation``: import the user's code and answer ``Prepared``.

    The first fd is the file of marks (``child.conn_marks``); the second, if any, a bundle of compiled code by
    digest; the third a bundle of sources (``wire.bundle``) that take precedence over the files on disk.

    Attributes:
        connections: how many established connections the parent can hold.
    """

    attempt: int
    generation: int
    connections: int = 0


class Export(Message):
    """Export the state while serving; answer ``Exported`` with a snapshot, or ``Failed``.

    Attributes:
        attempt: 0 asks for a ``Checkpoint`` now, which is sent even if nothing has changed.
        reset: keys of roots whose contents the user has given up.
    """

    attempt: int
    reset: tuple[str, ...] = ()


class Precopy(Message):
    """Decode on trial a snapshot (fds: it, those of its contents); answer ``Precopied`` or ``Failed``.

    Attributes:
        reset, resumed: as of ``Rehydrate``.
    """

    attempt: int
    reset: tuple[str, ...] = ()
    resumed: bool = False


class Quiesce(Message):
    """Stop accepting; let requests in flight finish for ``grace`` seconds; answer ``Quiesced``."""

    attempt: int
    grace: float


class Freeze(Message):
    """Run the before_reload hooks, export decisively, answer ``Frozen`` and stand still.

    Attributes:
        timeout: seconds each hook may take.
        export: whether a snapshot is wanted; without, the state is given up on the user's word.
        reset: keys of roots whose contents the user has given up.
        needed: whether there is no going on without the snapshot; else it is left out if it cannot be made.
    """

    attempt: int
    timeout: float
    export: bool
    reset: tuple[str, ...] = ()
    needed: bool = True


class Resume(Message):
    """The attempt was given up: go on serving as if nothing had happened."""

    attempt: int


class Rehydrate(Message):
    """Fill the state from this snapshot (fds: it, and those of its contents; none: a fresh start), start up.

    Attributes:
        required: addresses that the old generation listened on; listening on all of them means ready.
        gone: places of fds of the contents that are not there any more: the program had closed them.
        reset: keys of roots whose contents the user has given up.
        resumed: the snapshot was kept beyond the process that wrote it: what it lacks turns nothing down.
    """

    attempt: int
    required: tuple[Json, ...]
    gone: tuple[int, ...] = ()
    reset: tuple[str, ...] = ()
    resumed: bool = False


class Commit(Message):
    """Accept from now on; answer ``Serving``."""

    attempt: int


class Ahead(Message):
    """Established connections that may have to be adopted: so they need not travel while clients wait.

    The first fd is a table of what the parent knows of them, then comes one fd for each of ``numbers``.
    """

    numbers: tuple[int, ...]


class Connections(Message):
    """Established connections to adopt once this generation serves.

    The first fd is a table (``wire.links``) by the generation before, then comes one fd for each of
    ``numbers``. Whoever is not in the table is as the parent knows it.

    Attributes:
        late: an older generation hands them over only now, because it had to finish something on them.
        facts: what the parent knows of each of ``numbers``; empty where the table tells of all.
        known: further ones, whose fds came with ``Ahead``.
    """

    late: bool
    numbers: tuple[int, ...]
    facts: tuple[Json, ...] = ()
    known: tuple[int, ...] = ()


class Retire(Message):
    """Leave: drain for at most ``grace`` seconds, run the dispose hooks and the user's shutdown, exit.

    Attributes:
        final: livecore itself stops, so a last snapshot is wanted first.
    """

    grace: float
    final: bool = False


class ListenerFound(Message):
    """Answer to ``FindListener`` number ``request``; one fd when the parent holds such a listener."""

    request: int


class ListenersOpened(Message):
    """Answer to ``OpenListeners`` number ``request``: one fd per address, or why not."""

    request: int
    addresses: tuple[Json, ...]
    error: str = ""


class ExitFound(Message):
    """Answer to ``FindExit`` number ``request``: a status as of ``os.waitpid``, or None when nobody knows."""

    request: int
    status: int | None = None


class MoreFds(Message):
    """Fds of the message that follows, in either direction."""


class TerminalGranted(Message):
    """The parent has let go of the keyboard."""


# --- child to parent -------------------------------------------------------------------------------


class Hello(Message):
    """A fresh interpreter is up and idle."""

    pid: int
    python: str


class Prepared(Message):
    """The user's code is imported; one fd, the bundle of its sources.

    Attributes:
        kind: name of the adapter that takes the target.
        loaded: absolute path to digest of the bytes that were compiled.
        seconds: what the import took, as seen from inside.
        foreign: third-party modules that it had to import itself: none when the spare was warm.
    """

    attempt: int
    kind: str
    loaded: dict[str, str]
    seconds: float
    foreign: tuple[str, ...] = ()


class Failed(Message):
    """The phase that was asked for did not work; the child exits if it is a candidate.

    Attributes:
        usage: the user's call of livecore itself is at fault (wrong attribute, missing extra).
        port_busy: the address is taken by another program.
    """

    attempt: int
    failure: Failure
    loaded: dict[str, str]
    usage: bool = False
    port_busy: bool = False


class Exported(Message):
    """Answer to ``Export``, with a snapshot."""

    attempt: int
    roots: tuple[RootReport, ...]


class Precopied(Message):
    """The snapshot was decoded, migrated and validated on trial."""

    attempt: int
    roots: tuple[RootReport, ...]


class Quiesced(Message):
    """Nobody accepts; ``lingering`` requests are still in flight."""

    attempt: int
    lingering: int


class Frozen(Message):
    """The decisive snapshot (one fd, unless none was asked for); every thread stands still now.

    Attributes:
        connections: accepted connections that stay open in the old generation.
        listening: addresses that it listens on.
        moved: numbers of the connections that go over; the last fd is their table (``wire.links``), if any.
        kept_back: reason -> how many connections stay for it.
        serial: number of the snapshot in this generation.
        processes: child processes that go on with the state.
    """

    attempt: int
    connections: int
    listening: tuple[Json, ...]
    moved: tuple[int, ...] = ()
    kept_back: dict[str, int] = {}  # noqa: RUF012 - frozen like every field, and never written to
    serial: int = 0
    processes: tuple[int, ...] = ()


class Adopted(Message):
    """The state is in place; the user's start-up begins."""

    attempt: int


class Ready(Message):
    """Verified: started, hooks run, nothing accepted yet."""

    attempt: int
    roots: tuple[RootReport, ...]
    notes: tuple[str, ...] = ()


class Serving(Message):
    """The candidate accepts.

    Attributes:
        listening: addresses that it listens on; the parent closes listeners that nobody uses any more.
    """

    attempt: int
    listening: tuple[Json, ...] = ()


class Proved(Message):
    """A first answer has left the new generation."""


class Sources(Message):
    """Two fds: the bundle of all sources that this generation runs, and that of their compiled code."""


class Modules(Message):
    """Modules that are not the user's and are safe to import ahead, in import order."""

    names: tuple[str, ...]


class Warmed(Message):
    """A spare has done all that ``Warm`` asked for.

    Attributes:
        modules: how many modules that named.
    """

    modules: int


class Spoiled(Message):
    """A spare gives itself up: importing ``name`` ahead pulled the user's own ``module`` in."""

    name: str
    module: str


class Checkpoint(Message):
    """A snapshot taken in the background, for the case that this generation dies.

    Attributes:
        serial, processes: as of ``Frozen``.
        asked: it answers ``Export`` of attempt 0.
    """

    serial: int = 0
    processes: tuple[int, ...] = ()
    asked: bool = False


class Closed(Message):
    """The program has closed what the snapshot with this number took along, at these places."""

    serial: int
    places: tuple[int, ...]


class FindExit(Message):
    """How did this process end, whose parent the child is not? The answer is ``ExitFound``."""

    request: int
    pid: int


class Finished(Message):
    """The program came to its end by itself, with a last snapshot where one could be made.

    Attributes:
        code: what ``sys.exit`` was given, 0 for a plain return.
        failure: the exception that ended it.
        serial, processes: as of ``Frozen``.
    """

    code: int
    failure: Failure | None = None
    serial: int = 0
    processes: tuple[int, ...] = ()


class LateImport(Message):
    """User modules that were imported after the start: path to digest."""

    loaded: dict[str, str]


class FindListener(Message):
    """Does the parent hold a listener of this address? The answer is ``ListenerFound``."""

    request: int
    address: Json


class OpenListeners(Message):
    """Listeners on the configured host and port, please; the answer is ``ListenersOpened``."""

    request: int


class NewListener(Message):
    """The program listens on an address of its own; one fd, a dup of the listener."""

    address: Json
    requested_port: int


class Opened(Message):
    """A connection that another generation could take over; one fd, a dup for the parent to hold.

    Sent again without an fd when more is known of it (``link`` as in ``wire.links``, bytes as latin-1 text).
    """

    number: int
    link: Json


class Ended(Message):
    """These connections have come to their end: the parent lets go of them."""

    numbers: tuple[int, ...]


class HandedOver(Message):
    """An old generation is done with these connections; one fd, their table (``wire.links``)."""

    numbers: tuple[int, ...]


class Settled(Message):
    """What became of adopted connections, in groups as they are settled.

    Attributes:
        adopted: how many go on in this generation.
        declined: reason -> how many were closed because the new code would not go on with them.
        seconds: from COMMIT until the last of them went on.
    """

    adopted: int
    declined: dict[str, int]
    seconds: float


class ReloadRequest(Message):
    """The program asks for a reload of itself."""


class Terminal(Message):
    """The program needs the keyboard (``input()``, a debugger), or gives it back."""

    taken: bool


class Warn(Message):
    """One sentence for the user."""

    text: str


# --- JSON ------------------------------------------------------------------------------------------


def _default(value: object) -> Any:
    if isinstance(value, RootReport):
        return [value.key, value.fate.value, value.detail, value.remedy]
    if isinstance(value, Failure):
        return [value.phase, value.reason, value.traceback, list(value.files)]
    raise TypeError(f"no JSON for {type(value).__name__}")


def encode(message: Message) -> bytes:
    """Return the payload of a frame for ``message``."""
    # surrogateescape'd paths are legal file names: ensure_ascii keeps them through UTF-8
    return json.dumps(
        [type(message).__name__, _values(message)], default=_default, separators=(",", ":")
    ).encode()


def decode(payload: bytes) -> Message:
    """Return the message that ``payload`` holds.

    Raises:
        ProtocolViolationError: not JSON, an unknown type, or fields that the type does not have.
    """
    try:
        name, fields = json.loads(payload)
        kind = Message.kinds[name]
        if fields.get("failure"):
            phase, reason, traceback, files = fields["failure"]
            fields["failure"] = Failure(phase, reason, traceback, tuple(files))
        if name in _WITH_ROOTS:
            fields["roots"] = tuple(RootReport(k, RootFate(f), d, r) for k, f, d, r in fields["roots"])
        for key, value in fields.items():
            if isinstance(value, list):
                fields[key] = tuple(value)
        return kind(**fields)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ProtocolViolationError(f"not a message of this version: {payload[:80]!r} ({error})") from error


_WITH_ROOTS = frozenset({"Exported", "Precopied", "Ready"})
