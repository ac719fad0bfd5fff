"""dill's coverage at C speed: its savers are asked for a reduction, the C pickler runs it.

dill's ``Pickler`` is pure Python and dumps many times slower than the C pickler, but nearly all of its
registered savers end in one call of ``pickler.save_reduce(func, args, state, ..., obj=obj)``. So a saver
gets a stand-in pickler that only notes that call. One memo, identity and cycles stay those of the C
pickler, and the stream needs nothing of dill but the functions that it names.

Only savers of kinds that plain pickle refuses are asked; those of functions, classes, modules and dicts
never are, because dill carries them by value.
"""

from __future__ import annotations

from typing import Any

__all__ = ["dill_reduction", "has_saver"]


class _NotedError(Exception):
    """Ends a saver as soon as it said what it would save: some write further opcodes after that."""


class _NotePad:
    """A pickler that notes the first reduction.

    Its class must not derive from dill's, nor its module be named after it: savers ask, and would then
    expect its private stacks.
    """

    _byref = True
    _recurse = False
    proto = 5

    def __init__(self) -> None:
        self.memo: dict[int, Any] = {}
        self.reduction: Any = None

    def save_reduce(
        self,
        func: Any,
        args: Any,
        state: Any = None,
        listitems: Any = None,
        dictitems: Any = None,
        state_setter: Any = None,
        *,
        obj: Any = None,
    ) -> None:
        self.reduction = (func, args, state, listitems, dictitems, state_setter)
        raise _NotedError


def _dispatch() -> dict[type, Any]:
    import dill._dill

    dispatch: dict[type, Any] = dill._dill.Pickler.dispatch
    return dispatch


def has_saver(cls: type) -> bool:
    """Whether dill registered a saver for exactly this type (or for classes of its metaclass)."""
    try:
        saver = _dispatch().get(cls)
    except ImportError:
        # dill is a dependency, but the user's interpreter may lack it: plain pickle's refusal stands,
        # and names the object by its path.
        return False
    return saver is not None and saver.__module__.partition(".")[0] == "dill"


def dill_reduction(obj: object) -> Any:
    """Return dill's reduction of ``obj``; ``NotImplemented`` when its saver offers none."""
    pad = _NotePad()
    try:
        _dispatch()[type(obj)](pad, obj)
    except _NotedError:
        return tuple(pad.reduction)
    except AttributeError:
        # The saver wrote opcodes by hand, which the note pad has no method for: plain pickle's own
        # refusal will name the object.
        return NotImplemented
    return NotImplemented
