"""What the parent says to a child: what it shall do next, and answers to what it asked for.

The order of it all, and which one answers which, is told in ``messages``.
"""

from __future__ import annotations

from livereload_core.wire.kinds import Json, Message

__all__ = [
    "Activate",
    "Ahead",
    "Commit",
    "Connections",
    "ExitFound",
    "Export",
    "Freeze",
    "ListenerFound",
    "ListenersOpened",
    "Precopy",
    "Quiesce",
    "Rehydrate",
    "Resume",
    "Retire",
    "TerminalGranted",
    "Warm",
]


class Warm(Message):
    """Get ready for this run: import these modules ahead, in this order, and set everything else up.

    Sent again when more modules are known. The next ``Activate`` ends it, warm or not.

    Attributes:
        settings: of the run.
        roots: folders whose Python files are the user's own code.
        adapters: entry points of the kinds of target, each as ``name = module:attribute``.
        codecs: those of codecs of third-party types.
        modules: what to import ahead, in order.
        environ: variables that the user's code is known to change: the modules were imported before that.
    """

    settings: Json
    roots: tuple[str, ...]
    adapters: tuple[str, ...]
    codecs: tuple[str, ...]
    modules: tuple[str, ...]
    environ: tuple[str, ...] = ()


class Activate(Message):
    """Become the candidate of ``generation``: import the user's code and answer ``Prepared``.

    The first fd is the file of marks (``child.conn_marks``); the second, if any, a bundle of compiled code by
    digest; the third a bundle of sources (``wire.bundle``) that take precedence over the files on disk.

    Attributes:
        connections: how many established connections the parent can hold.
        awaits: whether state may come for it.
    """

    attempt: int
    generation: int
    connections: int = 0
    awaits: bool = False


class Export(Message):
    """Export the state while serving; answer ``Exported`` with a snapshot, or ``Failed``.

    Attributes:
        attempt: 0 asks for a ``Checkpoint`` now, which is sent even if nothing has changed.
        reset: keys of roots whose contents the user has given up.
        allowed: as of the candidate's ``Prepared``.
    """

    attempt: int
    reset: tuple[str, ...] = ()
    allowed: Json = {}  # noqa: RUF012 -- as all of a message it is not written to


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
        allowed: as of ``Export``.
    """

    attempt: int
    timeout: float
    export: bool
    reset: tuple[str, ...] = ()
    needed: bool = True
    allowed: Json = {}  # noqa: RUF012 -- as all of a message it is not written to


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


class TerminalGranted(Message):
    """The parent has let go of the keyboard."""
