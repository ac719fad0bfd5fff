"""What a child says to the parent: how far it has come, what happens in it, and what it asks for.

The order of it all, and which one answers which, is told in ``messages``.
"""

from __future__ import annotations

from livereload_core.facts import Failure, RootReport
from livereload_core.wire.kinds import Json, Message

__all__ = [
    "Adopted",
    "Begun",
    "Checkpoint",
    "Closed",
    "Ended",
    "Exported",
    "Failed",
    "FindExit",
    "FindListener",
    "Finished",
    "Frozen",
    "HandedOver",
    "Hello",
    "LateImport",
    "Modules",
    "NewListener",
    "OpenListeners",
    "Opened",
    "Precopied",
    "Prepared",
    "Proved",
    "Quiesced",
    "Ready",
    "ReloadRequest",
    "Serving",
    "Settled",
    "Sources",
    "Spoiled",
    "Terminal",
    "Warmed",
    "Warn",
]


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
        allowed: what its declarations need not be given by whoever exports (``state.waiving.Allowed``).
    """

    attempt: int
    kind: str
    loaded: dict[str, str]
    seconds: float
    foreign: tuple[str, ...] = ()
    allowed: Json = {}  # noqa: RUF012 -- as all of a message it is not written to


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
    """The state is in place; the user's start-up begins.

    Attributes:
        seconds: what filling it in took, as seen from inside, from the order at hand on.
    """

    attempt: int
    seconds: float


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
    """Modules that are not the user's and are safe to import ahead, in import order.

    Attributes:
        names: the modules.
        environ: variables that the user's own code has changed in ``os.environ``.
    """

    names: tuple[str, ...]
    environ: tuple[str, ...] = ()


class Warmed(Message):
    """A spare has done all that ``Warm`` asked for.

    Attributes:
        modules: how many modules that named.
    """

    modules: int


class Begun(Message):
    """The order to be the candidate has come: from now on the user's code may be why it dies."""


class Spoiled(Message):
    """A spare gives itself up: importing ``name`` ahead pulled the user's own ``module`` in.

    Or it loaded one in the place of that, or did without it. Also said when it is activated; then another one
    gets the order. Without a name: nothing may be imported ahead, because the user's code has changed a
    variable (``module``) of ``os.environ`` that was not known to be changed.
    """

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
