"""livereload_core: save a file, and the new code runs with its state and its port.

What a user's program imports lives here, and nothing is loaded before it is used (PEP 562):
``from livereload_core import preserve`` costs a few milliseconds and loads the standard library only,
so that production code can keep the line. Without ``livecore`` every name here is a plain no-op.
"""

from __future__ import annotations

# Not ``typing.TYPE_CHECKING``: importing typing alone would be half of what this package costs.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from livereload_core.state.connection import connection, reload_policy
    from livereload_core.state.declare import preserve
    from livereload_core.state.hooks import after_reload, before_reload, dispose, on_ready, prepare
    from livereload_core.state.runtime import generation, reload
    from livereload_core.state.tracked.lru import Lru

__version__ = "0.1.0"

__all__ = [
    "Lru",
    "__version__",
    "after_reload",
    "before_reload",
    "connection",
    "dispose",
    "generation",
    "on_ready",
    "prepare",
    "preserve",
    "reload",
    "reload_policy",
]

_HOMES = {
    "Lru": "tracked.lru",
    "after_reload": "hooks",
    "before_reload": "hooks",
    "connection": "connection",
    "dispose": "hooks",
    "generation": "runtime",
    "on_ready": "hooks",
    "prepare": "hooks",
    "preserve": "declare",
    "reload": "runtime",
    "reload_policy": "connection",
}


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # ``__import__`` with a fromlist rather than importlib.import_module: importlib may not be loaded yet.
    module = __import__(f"{__name__}.state.{home}", fromlist=[name])
    value = getattr(module, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
