"""What has no meaning in another process, and what to do about it.

Kinds are named, not imported: a program that never loaded ssl must not load it because of us.
"""

from __future__ import annotations

__all__ = ["EndlessError", "EndlessItemsError", "RefusedError", "is_refused", "refusal_of"]


class RefusedError(Exception):
    """A value cannot be carried; whoever knows the root and the path turns this into CannotCarryError.

    Attributes:
        message: what and why, without the path.
        remedy: what to do next, or ``""``.
        later: the name may yet appear, because its module is still being executed.
    """

    def __init__(self, message: str, remedy: str = "", *, later: bool = False) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy
        self.later = later


class EndlessError(RefusedError):
    """An object makes up others like itself while it is written, each of which makes up more.

    Attributes:
        culprits: the object, after those that it is in; the last ones may have been made up themselves.
    """

    def __init__(self, culprits: list[object], depth: int) -> None:
        cls = type(culprits[-1])
        super().__init__(
            f"{cls.__module__}.{cls.__qualname__} names others like itself, {depth:,} and more deep",
            "let its __reduce__ or __getstate__ name objects that exist; keep a long chain as a list",
        )
        self.culprits = culprits


class EndlessItemsError(EndlessError):
    """An object names items without end.

    Attributes:
        culprits: the object.
    """

    def __init__(self, culprit: object, count: int) -> None:
        cls = type(culprit)
        RefusedError.__init__(
            self,
            f"{cls.__module__}.{cls.__qualname__} names {count:,} items and more, without an end in sight",
            "let the iterator that its __reduce__, __iter__ or items() returns come to an end, or name it in"
            " transient=",
        )
        self.culprits = [culprit]


_ITERATE = "keep the data it works on and how far it came, and make a new one"
_TASK = "keep what it works on, and start it again in an on_ready hook"
_SOCKET = "keep the address, and connect in an on_ready hook"
_POPEN = "use subprocess.Popen, which runs on and can be waited for, or start it in an on_ready hook"
_OWNER = "name it in transient=, or make it in an on_ready hook"

_REFUSED = {
    "builtins:generator": ("a generator stands in the middle of old code", _ITERATE),
    "builtins:async_generator": ("an async generator stands in the middle of old code", _ITERATE),
    "builtins:coroutine": ("a coroutine stands in the middle of old code", _ITERATE),
    "builtins:frame": ("a frame belongs to running code", "keep the values instead"),
    "builtins:traceback": ("a traceback belongs to running code", "keep traceback.format_exc() instead"),
    "threading:Thread": ("a thread cannot cross into another process", _TASK),
    "_thread:_ThreadHandle": ("a thread cannot cross into another process", _TASK),
    "_asyncio:Task": ("a running task cannot cross into another process", _TASK),
    "_asyncio:Future": ("a future is awaited by code of this process", _TASK),
    "asyncio.tasks:Task": ("a running task cannot cross into another process", _TASK),
    "asyncio.futures:Future": ("a future is awaited by code of this process", _TASK),
    "asyncio.events:AbstractEventLoop": ("an event loop belongs to this process", _OWNER),
    "asyncio.events:Handle": ("a scheduled call belongs to this process", _TASK),
    "asyncio.transports:BaseTransport": ("a connection belongs to this process", _SOCKET),
    "asyncio.trsock:TransportSocket": ("a connection of an event loop belongs to this process", _SOCKET),
    "asyncio.subprocess:Process": ("a process of asyncio belongs to its event loop", _POPEN),
    "asyncio.streams:StreamReader": ("a connection belongs to this process", _SOCKET),
    "asyncio.streams:StreamWriter": ("a connection belongs to this process", _SOCKET),
    "asyncio.base_events:Server": ("a server belongs to this process", _OWNER),
    "concurrent.futures._base:Future": ("a future is awaited by code of this process", _TASK),
    "concurrent.futures._base:Executor": ("an executor owns threads or processes", _OWNER),
    "_socket:socket": ("a socket of the C module alone cannot be carried", "use socket.socket"),
    "ssl:SSLSocket": ("a TLS session cannot cross into another process", _SOCKET),
    "_ssl:_SSLSocket": ("a TLS session cannot cross into another process", _SOCKET),
    "_ssl:MemoryBIO": ("a TLS session cannot cross into another process", _SOCKET),
    "_ssl:_SSLContext": ("a TLS context holds keys of this process", _OWNER),
    "ssl:SSLObject": ("a TLS session cannot cross into another process", _SOCKET),
    "multiprocessing.process:BaseProcess": ("a child process belongs to this process", _OWNER),
    "_contextvars:Token": ("a context token belongs to this process", _OWNER),
    "_contextvars:Context": ("a context belongs to this process", _OWNER),
    "builtins:Context": ("a context belongs to this process", _OWNER),
    "builtins:Token": ("a context token belongs to this process", _OWNER),
    "builtins:PyCapsule": ("a capsule is an address in this process", _OWNER),
}


def is_refused(name: str) -> bool:
    """Whether the class ``module:qualname`` is refused, and with it what derives from it."""
    return name in _REFUSED


def refusal_of(cls: type) -> tuple[str, str] | None:
    """Return (why, advice) when instances of ``cls`` are refused, else ``None``."""
    for base in cls.__mro__:
        found = _REFUSED.get(f"{base.__module__}:{base.__qualname__}")
        if found is not None:
            return found
    return None
