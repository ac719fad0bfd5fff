"""``connection()``: what a handler may know and say of the connection that it serves.

    async def chat(request):
        link = connection()
        room = link.state.setdefault("room", "lobby")     # kept with the connection, over every edit
        if not link.resumed:
            await greet(room)

    @reload_policy("drain")
    async def upload(request): ...

Without ``livecore`` there is no other generation: a connection is never resumed, and its state is a dict that
lives as long as the task that asks for it.

Invariants:
    * Importing this module loads nothing but ``contextvars``.
    * The current connection follows the context: tasks that a handler starts see the same one.
"""

from __future__ import annotations

from contextvars import ContextVar

from livereload_core.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Literal, TypeVar

    F = TypeVar("F", bound=Callable[..., Any])
    Policy = Literal["resume", "drain", "close"]

__all__ = ["POLICIES", "Connection", "connection", "current", "reload_policy"]

POLICIES = ("resume", "drain", "close")


class Connection:
    """One connection of a client, the same over all generations.

    Attributes:
        resumed: whether an earlier generation served it, and this handler was entered again from the top.
        generation: the number of the generation that accepted it; 0 without ``livecore``.
        has_chosen: whether :attr:`policy` was set, be it to what it is by default.
    """

    __slots__ = ("__weakref__", "_keep", "_policy", "_state", "generation", "has_chosen", "resumed")

    def __init__(
        self,
        *,
        resumed: bool = False,
        generation: int = 0,
        policy: Policy = "resume",
        keep: Callable[[], dict[str, Any]] = dict,
    ) -> None:
        self.resumed = resumed
        self.generation = generation
        self.has_chosen = False
        self._policy: Policy = policy
        self._keep = keep
        self._state: dict[str, Any] | None = None

    @property
    def state(self) -> dict[str, Any]:
        """Kept with the connection over edits, and over deaths of the program as far as preserved state is.

        What it holds must be fit for ``preserve``.
        """
        if self._state is None:
            self._state = self._keep()
        return self._state

    @property
    def policy(self) -> Policy:
        """What becomes of the connection at an edit.

        ``"resume"``: the new code goes on with it, its handler entered again from the top. ``"drain"``: the
        old code keeps it as long as an old generation may last, then it is closed. ``"close"``: it is closed
        at once (a WebSocket with code 1012, "service restart"), so that the client connects anew.

        Raises:
            UsageError: set to anything else.
        """
        return self._policy

    @policy.setter
    def policy(self, value: Policy) -> None:
        if value not in POLICIES:
            raise UsageError(f"policy is {value!r}", advice='pass "resume", "drain" or "close"')
        self.has_chosen = True
        self._policy = value

    def __repr__(self) -> str:
        return f"<connection of generation {self.generation}{', resumed' if self.resumed else ''}>"


current: ContextVar[Any] = ContextVar("livecore_connection")
"""Something with an attribute ``connection``: what the child's runtime put there, or a holder of ours."""


class _Plain:
    """The holder where no runtime put one."""

    __slots__ = ("connection",)

    def __init__(self) -> None:
        self.connection = Connection()


def connection() -> Connection:
    """Return the connection that the running handler serves.

    Called outside of any handler it returns a connection of its own, which is never resumed.
    """
    holder = current.get(None)
    if holder is None:
        holder = _Plain()
        current.set(holder)
    found: Connection = holder.connection
    return found


def reload_policy(policy: Policy, /) -> Callable[[F], F]:
    """Choose for all connections of a handler what becomes of them at an edit; see :attr:`Connection.policy`.

    The decorated function may be a coroutine function or a plain one.

    Raises:
        UsageError: there is no such policy.
    """
    if policy not in POLICIES:
        raise UsageError(f"policy is {policy!r}", advice='pass "resume", "drain" or "close"')

    def decorate(handler: F) -> F:
        from functools import wraps

        code = getattr(handler, "__code__", None)
        if code is not None and code.co_flags & 0x80:  # CO_COROUTINE

            @wraps(handler)
            async def wrapped(*args: Any, **kwargs: Any) -> Any:
                connection().policy = policy
                return await handler(*args, **kwargs)

        else:

            @wraps(handler)
            def wrapped(*args: Any, **kwargs: Any) -> Any:
                connection().policy = policy
                return handler(*args, **kwargs)

        return wrapped  # type: ignore[return-value]

    return decorate
