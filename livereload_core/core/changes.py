"""Settings that change during a run: what is taken over at once, and what has to wait for a restart."""

from __future__ import annotations

import dataclasses

from livereload_core.core.settings import Settings

__all__ = ["AT_RUN_TIME", "Change", "compare"]

AT_RUN_TIME = frozenset(
    {
        *("factory", "env", "env_file"),
        *("reload_dirs", "reload_include", "reload_exclude"),
        *("timeout_prepare", "timeout_start", "timeout_hook", "timeout_quiesce", "timeout_graceful"),
        *("probation", "checkpoint", "keep_generations"),
        *("spare", "preload", "preload_exclude"),
    }
)
"""Fields of ``Settings`` that a run can take over. The rest was decided with the first listener, the
terminal, the root of the project, or (``reload``) with whether anybody watches at all."""

_DERIVED = frozenset({"env", "port_given", "root"})
"""Fields that no option fills by itself: they follow from others, or from the content of a file."""
_NEEDS_A_RELOAD = frozenset({"factory", "env_file"})


@dataclasses.dataclass(frozen=True, slots=True)
class Change:
    """What becomes of a run whose configuration was read again.

    Attributes:
        settings: what holds from now on.
        taken: fields that hold from now on.
        waiting: fields that hold after a restart.
    """

    settings: Settings
    taken: tuple[str, ...]
    waiting: tuple[str, ...]

    @property
    def needs_reload(self) -> bool:
        """Whether the program itself has to start anew for what was taken."""
        return not _NEEDS_A_RELOAD.isdisjoint(self.taken)


def compare(running: Settings, before: Settings, wanted: Settings) -> Change:
    """Decide what to take over.

    Args:
        running: what holds now.
        before: what the configuration said when it was read last.
        wanted: what it says now.
    """
    names = [field.name for field in dataclasses.fields(Settings)]
    differing = [name for name in names if getattr(running, name) != getattr(wanted, name)]
    taken = [name for name in differing if name in AT_RUN_TIME]
    told = [name for name in names if getattr(before, name) != getattr(wanted, name)]
    return Change(
        dataclasses.replace(running, **{name: getattr(wanted, name) for name in taken}),
        tuple(name for name in taken if name not in _DERIVED),
        tuple(name for name in differing if name not in AT_RUN_TIME | _DERIVED and name in told),
    )
