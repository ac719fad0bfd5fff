"""The messages between the parent and one child, as frozen dataclasses that become JSON.

Direction and answers (``+fd``: one file descriptor travels along)::

    parent                                   child
      │ ◀──────────────────────────── Hello ── │   exec'd, idle: a spare
      │ ── Warm ─────────────────────────────▶ │   third-party modules to import ahead
      │ ── Activate (+fd sources) ───────────▶ │   becomes the candidate: import the user's code
      │ ◀──────────── Prepared +fd | Failed ─── │
      │ ── Export ──────────▶ active            │   PRECOPY, while it serves
      │ ◀── Exported +fd | Failed ── active     │
      │ ── Precopy +fd ──────────────────────▶ │   decode, migrate, validate on trial
      │ ◀──────────────── Precopied | Failed ── │
      │ ── Quiesce ─▶ active ── Quiesced ──▶    │
      │ ── Freeze ──▶ active ── Frozen +fd ─▶   │   blocked until Resume or Retire
      │ ── Rehydrate (+fd) ──────────────────▶ │   fill the state, run the user's start-up
      │ ◀── Adopted, then Ready | Failed ────── │
      │ ── Commit ───────────────────────────▶ │   accept from now on
      │ ◀─────── Serving, Sources +fd, Proved ── │
      │ ── Retire ──▶ old, which drains and exits

    at any time from the child: FindListener → ListenerFound, OpenListeners → ListenersOpened,
    NewListener +fd, Checkpoint +fd, Finished (+fd), LateImport, Modules, ReloadRequest, Terminal, Warn,
    FindExit → ExitFound, Closed

Beside a snapshot travel the fds of sockets and files in it. What one frame cannot take goes ahead, with
``MoreFds``, which the channels put in and take out.

``attempt`` numbers the attempt to reload that a message belongs to, so that an answer that comes after
its attempt was given up is recognised and dropped.
"""

from __future__ import annotations

import dataclasses
import json
from typing import Any, ClassVar

from livereload_core.errors import ProtocolViolationError
from livereload_core.facts import Failure, RootFate, RootReport

__all__ = [
    "Activate",
    "Adopted",
    "Checkpoint",
    "Closed",
    "Commit",
    "ExitFound",
    "Export",
    "Exported",
    "Failed",
    "FindExit",
    "FindListener",
    "Finished",
    "Freeze",
    "Frozen",
    "Hello",
    "LateImport",
    "ListenerFound",
    "ListenersOpened",
    "Message",
    "Modules",
    "MoreFds",
    "NewListener",
    "OpenListeners",
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
    "Sources",
    "Spoiled",
    "Terminal",
    "TerminalGranted",
    "Warm",
    "Warn",
    "decode",
    "encode",
]

Json = dict[str, Any]


class Message:
    """Base of all messages; every subclass is a frozen dataclass and registers itself by name."""

    __slots__ = ()
    kinds: ClassVar[dict[str, type[Message]]] = {}

    def __init_subclass__(cls) -> None:
        # dataclass(slots=True) makes the class a second time: the later one of a name is the real one
        Message.kinds[cls.__name__] = cls


# --- parent to child -------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, slots=True)
class Warm(Message):
    """Get ready for this run: import these modules ahead, in this order, and set everything else up.

    Sent again when more modules are known. The next ``Activate`` ends it, warm or not.
    """

    settings: Json
    roots: tuple[str, ...]
    modules: tuple[str, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Activate(Message):
    """Become the candidate of ``generation``: import the user's code and answer ``Prepared``.

    The first fd, if any, is a bundle of compiled code by digest; the second one a bundle of sources
    (``wire.bundle``) that take precedence over the files on disk.
    """

    attempt: int
    generation: int


@dataclasses.dataclass(frozen=True, slots=True)
class Export(Message):
    """Export the state while serving; answer ``Exported`` with a snapshot, or ``Failed``."""

    attempt: int


@dataclasses.dataclass(frozen=True, slots=True)
class Precopy(Message):
    """Decode on trial a snapshot (fds: it, those of its contents); answer ``Precopied`` or ``Failed``."""

    attempt: int


@dataclasses.dataclass(frozen=True, slots=True)
class Quiesce(Message):
    """Stop accepting; let requests in flight finish for ``grace`` seconds; answer ``Quiesced``."""

    attempt: int
    grace: float


@dataclasses.dataclass(frozen=True, slots=True)
class Freeze(Message):
    """Run the before_reload hooks, export decisively, answer ``Frozen`` and stand still.

    Attributes:
        timeout: seconds each hook may take.
        export: whether a snapshot is wanted; without, the state is given up on the user's word.
    """

    attempt: int
    timeout: float
    export: bool


@dataclasses.dataclass(frozen=True, slots=True)
class Resume(Message):
    """The attempt was given up: go on serving as if nothing had happened."""

    attempt: int


@dataclasses.dataclass(frozen=True, slots=True)
class Rehydrate(Message):
    """Fill the state from this snapshot (fds: it, and those of its contents; none: a fresh start), start up.

    Attributes:
        required: addresses that the old generation listened on; listening on all of them means ready.
        gone: places of fds of the contents that are not there any more: the program had closed them.
    """

    attempt: int
    required: tuple[Json, ...]
    gone: tuple[int, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Commit(Message):
    """Accept from now on; answer ``Serving``."""

    attempt: int


@dataclasses.dataclass(frozen=True, slots=True)
class Retire(Message):
    """Leave: drain for at most ``grace`` seconds, run the dispose hooks and the user's shutdown, exit.

    Attributes:
        final: livecore itself stops, so a last snapshot is wanted first.
    """

    grace: float
    final: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class ListenerFound(Message):
    """Answer to ``FindListener`` number ``request``; one fd when the parent holds such a listener."""

    request: int


@dataclasses.dataclass(frozen=True, slots=True)
class ListenersOpened(Message):
    """Answer to ``OpenListeners`` number ``request``: one fd per address, or why not."""

    request: int
    addresses: tuple[Json, ...]
    error: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class ExitFound(Message):
    """Answer to ``FindExit`` number ``request``: a status as of ``os.waitpid``, or None when nobody knows."""

    request: int
    status: int | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class MoreFds(Message):
    """Fds of the message that follows, in either direction."""


@dataclasses.dataclass(frozen=True, slots=True)
class TerminalGranted(Message):
    """The parent has let go of the keyboard."""


# --- child to parent -------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, slots=True)
class Hello(Message):
    """A fresh interpreter is up and idle."""

    pid: int
    python: str


@dataclasses.dataclass(frozen=True, slots=True)
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


@dataclasses.dataclass(frozen=True, slots=True)
class Failed(Message):
    """The phase that was asked for did not work; the child exits if it is a candidate.

    Attributes:
        usage: the user's call of livecore itself is at fault (wrong attribute, missing extra).
        port_busy: the address is taken by another program.
    """

    attempt: int
    failure: Failure
    loaded: dict[str, str] = dataclasses.field(default_factory=dict)
    usage: bool = False
    port_busy: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Exported(Message):
    """Answer to ``Export``, with a snapshot."""

    attempt: int
    roots: tuple[RootReport, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Precopied(Message):
    """The snapshot was decoded, migrated and validated on trial."""

    attempt: int
    roots: tuple[RootReport, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Quiesced(Message):
    """Nobody accepts; ``lingering`` requests are still in flight."""

    attempt: int
    lingering: int


@dataclasses.dataclass(frozen=True, slots=True)
class Frozen(Message):
    """The decisive snapshot (one fd, unless none was asked for); every thread stands still now.

    Attributes:
        connections: accepted connections still open in the old generation.
        listening: addresses that it listens on.
        serial: number of the snapshot in this generation.
        processes: child processes that go on with the state.
    """

    attempt: int
    connections: int
    listening: tuple[Json, ...]
    serial: int = 0
    processes: tuple[int, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Adopted(Message):
    """The state is in place; the user's start-up begins."""

    attempt: int


@dataclasses.dataclass(frozen=True, slots=True)
class Ready(Message):
    """Verified: started, hooks run, nothing accepted yet."""

    attempt: int
    roots: tuple[RootReport, ...]
    notes: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Serving(Message):
    """The candidate accepts.

    Attributes:
        listening: addresses that it listens on; the parent closes listeners that nobody uses any more.
    """

    attempt: int
    listening: tuple[Json, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Proved(Message):
    """A first answer has left the new generation."""


@dataclasses.dataclass(frozen=True, slots=True)
class Sources(Message):
    """Two fds: the bundle of all sources that this generation runs, and that of their compiled code."""


@dataclasses.dataclass(frozen=True, slots=True)
class Modules(Message):
    """Modules that are not the user's and are safe to import ahead, in import order."""

    names: tuple[str, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Spoiled(Message):
    """A spare gives itself up: importing ``name`` ahead pulled the user's own ``module`` in."""

    name: str
    module: str


@dataclasses.dataclass(frozen=True, slots=True)
class Checkpoint(Message):
    """A snapshot taken in the background, for the case that this generation dies.

    Attributes:
        serial, processes: as of ``Frozen``.
    """

    serial: int = 0
    processes: tuple[int, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Closed(Message):
    """The program has closed what the snapshot with this number took along, at these places."""

    serial: int
    places: tuple[int, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class FindExit(Message):
    """How did this process end, whose parent the child is not? The answer is ``ExitFound``."""

    request: int
    pid: int


@dataclasses.dataclass(frozen=True, slots=True)
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


@dataclasses.dataclass(frozen=True, slots=True)
class LateImport(Message):
    """User modules that were imported after the start: path to digest."""

    loaded: dict[str, str]


@dataclasses.dataclass(frozen=True, slots=True)
class FindListener(Message):
    """Does the parent hold a listener of this address? The answer is ``ListenerFound``."""

    request: int
    address: Json


@dataclasses.dataclass(frozen=True, slots=True)
class OpenListeners(Message):
    """Listeners on the configured host and port, please; the answer is ``ListenersOpened``."""

    request: int


@dataclasses.dataclass(frozen=True, slots=True)
class NewListener(Message):
    """The program listens on an address of its own; one fd, a dup of the listener."""

    address: Json
    requested_port: int


@dataclasses.dataclass(frozen=True, slots=True)
class ReloadRequest(Message):
    """The program asks for a reload of itself."""


@dataclasses.dataclass(frozen=True, slots=True)
class Terminal(Message):
    """The program needs the keyboard (``input()``, a debugger), or gives it back."""

    taken: bool


@dataclasses.dataclass(frozen=True, slots=True)
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
    fields = {f.name: getattr(message, f.name) for f in dataclasses.fields(message)}  # type: ignore[arg-type]
    # surrogateescape'd paths are legal file names: ensure_ascii keeps them through UTF-8
    return json.dumps([type(message).__name__, fields], default=_default, separators=(",", ":")).encode()


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
