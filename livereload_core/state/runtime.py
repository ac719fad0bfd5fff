"""The one place that knows whether this process runs under ``livecore``.

All names are ``None`` in a plain Python process. The child's start-up installs them before the
user's code is imported, and nothing else writes to them.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from livereload_core.state.engine import Engine

__all__ = ["current", "exit_status", "generation", "on_listener", "reload", "request_reload"]

current: Engine | None = None
"""The engine of this generation, from :meth:`Engine.activate` on."""

request_reload: Callable[[], bool] | None = None
"""Asks the parent for a reload; returns whether the request was sent."""

exit_status: Callable[[int], int | None] | None = None
"""Tells how a process ended that this one is not the parent of: a status as of ``os.waitpid``, or None when
nobody knows. Called once it has ended."""

on_listener: Callable[[socket.socket], None] | None = None
"""Told of each listening socket that came back with the state."""


def generation() -> int:
    """Return the number of the running generation: 1 for the first, 0 without ``livecore``."""
    return 0 if current is None else current.generation


def reload() -> bool:
    """Ask for a reload, as if a file had been saved.

    Returns:
        ``True`` when the request was sent, ``False`` without ``livecore``. The reload itself comes
        later; the caller goes on running in the old generation until then.
    """
    return False if request_reload is None else request_reload()
