"""The one place that knows whether this process runs under ``livecore``.

Both names are ``None`` in a plain Python process. The child's start-up installs them before the
user's code is imported, and nothing else writes to them.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from livereload_core.state.engine import Engine

__all__ = ["current", "generation", "reload", "request_reload"]

current: Engine | None = None
"""The engine of this generation, from :meth:`Engine.activate` on."""

request_reload: Callable[[], bool] | None = None
"""Asks the parent for a reload; returns whether the request was sent."""


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
