"""Which modules a warm interpreter imports ahead, and why some are left to the program.

Importing a module ahead is right only where nothing that the program does before its own ``import`` could
change what the module becomes. So these are left out:

    * everything, when the program patches the standard library (gevent, eventlet): the patch comes first;
    * parts of matplotlib that fix the backend, which ``matplotlib.use()`` chooses before they are imported;
    * what the program imported after its own code had changed ``os.environ``;
    * what the user excludes (``--preload-exclude``), and modules that pulled the user's own code in, or would
      have if they had been imported by the program (``child.hiding``).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

__all__ = ["AUTO", "OFF", "PATCHERS", "choose"]

AUTO = "auto"
OFF = "off"

PATCHERS = ("gevent.monkey", "eventlet.patcher")
"""Modules whose presence says that the standard library may be patched at run time."""
_FIXES_A_CHOICE = (
    "matplotlib.pyplot",
    "matplotlib.backends",
    "matplotlib.backend_bases",
    "mpl_toolkits",
    "pylab",
)


def choose(
    learned: Sequence[str], wanted: Sequence[str], excluded: Iterable[str]
) -> tuple[tuple[str, ...], str]:
    """Decide what to import ahead.

    Args:
        learned: the modules that the last generation had imported, in that order.
        wanted: ``("auto",)``, ``("off",)`` or names of modules.
        excluded: names of modules or packages that are left to the program.

    Returns:
        the modules in order, and a sentence when there is a reason to import none, else ``""``.
    """
    if tuple(wanted) == (OFF,):
        return (), "importing ahead is switched off (--preload off)"
    left_out = (*excluded, *_FIXES_A_CHOICE)
    if tuple(wanted) != (AUTO,):
        return tuple(name for name in wanted if not _is_one_of(name, excluded)), ""
    for patcher in PATCHERS:
        if patcher in learned:
            return (), f"nothing is imported ahead, because the program uses {patcher}"
    return tuple(name for name in learned if not _is_one_of(name, left_out)), ""


def _is_one_of(name: str, packages: Iterable[str]) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)
