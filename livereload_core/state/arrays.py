"""Large arrays of the standard library, and what they have in common with those of numpy.

In the stream stands the number of a claim. The maker on the other side allocates as the program itself would,
and lays the pages under that: what comes back is an ordinary object that owns its memory.
"""

from __future__ import annotations

import array
import weakref
from typing import Any

from livereload_core.state.areas import Claim
from livereload_core.state.descriptors import incoming, outgoing
from livereload_core.state.segments import LARGE

__all__ = ["reduce_array"]


def reduce_array(obj: Any) -> Any:
    """Reduce an ``array.array``."""
    if len(obj) * obj.itemsize < LARGE or not outgoing().takes_buffers:
        return NotImplemented
    return _make_array, (obj.typecode, len(obj), outgoing().claim(_claim(obj)))


def _claim(obj: Any) -> Claim:
    reference = weakref.ref(obj)

    def find() -> Any:
        found = reference()
        # A view keeps it from being resized as long as it is looked at.
        return None if found is None else (found, memoryview(found))

    def locate(found: Any) -> tuple[int, int]:
        address, count = found[0].buffer_info()
        return address, count * found[0].itemsize

    return Claim(find, locate, *locate((obj,)))


def _make_array(typecode: str, length: int, number: int) -> Any:
    made = array.array(typecode, (0,)) * length
    incoming().fill(number, made, _claim)
    return made
