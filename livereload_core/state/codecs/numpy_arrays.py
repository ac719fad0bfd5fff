"""numpy: arrays that share memory still do, mapped files are mapped again, large arrays cross without a copy.

Other plain arrays are left to numpy's own reduction.
"""

from __future__ import annotations

import ctypes
import weakref
from typing import Any

from livereload_core.state.areas import Claim
from livereload_core.state.descriptors import incoming, outgoing
from livereload_core.state.inplace import ArrayMemory
from livereload_core.state.memory import PAGE
from livereload_core.state.segments import LARGE, PHASE, Piece, Segment
from livereload_core.state.store import Store

__all__ = ["NumpyCodec"]


class NumpyCodec:
    """Carries views and memory maps."""

    types = ("numpy:ndarray",)

    def reduce(self, obj: Any) -> Any:
        """Reduce a view to its base, and a memory map to its file."""
        import numpy as np

        if type(obj) is np.memmap and obj.filename is not None and isinstance(vars(obj)["_mmap"], _mapping()):
            mode = "r+" if obj.mode == "w+" else obj.mode
            if obj.mode != "c":
                obj.flush()
            elif isinstance(obj.base, np.ndarray):
                return NotImplemented
            return _map, (str(obj.filename), obj.dtype, mode, obj.offset, obj.shape, _order(obj))
        base = obj.base
        shares = type(obj) is np.ndarray and type(base) is np.ndarray and not obj.dtype.hasobject
        if not shares or not (base.flags.c_contiguous or base.flags.f_contiguous):
            return _large(obj)
        offset = obj.__array_interface__["data"][0] - base.__array_interface__["data"][0]
        return _view, (base, offset, obj.dtype, obj.shape, obj.strides, obj.flags.writeable)


def _large(obj: Any) -> Any:
    """Let a large array cross beside the stream."""
    import numpy as np

    flags = obj.flags
    plain = type(obj) is np.ndarray and not obj.dtype.hasobject and (flags.c_contiguous or flags.f_contiguous)
    if not plain or obj.nbytes < LARGE or not outgoing().takes_buffers:
        return NotImplemented
    number = outgoing().claim(_claim(obj))
    return _array, (number, obj.dtype, obj.shape, _order(obj), flags.writeable)


def _claim(obj: Any) -> Claim:
    # What is pickled in the place of a root is gone at once, and the root is there.
    owner = obj.base.owner if type(obj.base) is ArrayMemory else obj
    return Claim(weakref.ref(owner), _locate, *_locate(obj))


def _locate(obj: Any) -> tuple[int, int]:
    return obj.__array_interface__["data"][0], obj.nbytes


def zeroes(shape: Any, dtype: Any) -> Any:
    """Make an array of zeroes."""
    import numpy as np

    return np.zeros(shape, dtype)


def shared(fresh: Any, store: Store) -> Any:
    """Return an array of zeroes in place of another, of which only what is written will have to be copied."""
    if fresh.nbytes < LARGE or fresh.dtype.hasobject:
        return fresh
    array = _placed(fresh.shape, fresh.dtype, "C")
    segment = Segment.new(fresh.nbytes + PAGE)  # takes no memory: nobody writes it
    segment.seal()
    piece, claim = Piece(fresh.nbytes, segment, PHASE), _claim(array)
    piece.fill(claim.address)
    store.adopt(claim, piece)
    return array


def _array(number: int, dtype: Any, shape: tuple[int, ...], order: Any, writeable: bool) -> Any:
    array = _placed(shape, dtype, order)
    incoming().fill(number, array, _claim)
    array.flags.writeable = writeable
    return array


def _placed(shape: tuple[int, ...], dtype: Any, order: Any) -> Any:
    """Make an array that pages can be laid under."""
    import numpy as np

    array: Any = np.empty(shape, dtype, order)
    if array.nbytes >= _IN_PLACE and _locate(array)[0] % PAGE != PHASE:
        # malloc has recycled a block that begins elsewhere, and pages fit at one place only.
        block: Any = np.empty(array.nbytes + PAGE, np.uint8)
        offset = (PHASE - _locate(block)[0]) % PAGE
        # Through what is no array: the next generation shall not take it for a slice of the block. A
        # memoryview would not do: numpy looks through it.
        between = (ctypes.c_char * block.nbytes).from_buffer(block)
        array = np.ndarray(shape, dtype, between, offset, order=order)
    return array


_IN_PLACE = 1024 * 1024
"""Bytes from which on the place of an array in its page is worth a detour."""


def _mapping() -> type:
    import mmap

    return mmap.mmap


def _order(array: Any) -> str:
    return "F" if array.flags.f_contiguous and not array.flags.c_contiguous else "C"


def _map(name: str, dtype: Any, mode: Any, offset: int, shape: tuple[int, ...], order: Any) -> Any:
    import numpy as np

    return np.memmap(name, dtype, mode, offset, shape, order)


def _view(
    base: Any, offset: int, dtype: Any, shape: tuple[int, ...], strides: tuple[int, ...], writeable: bool
) -> Any:
    import numpy as np

    buffer = base.reshape(-1, order="A")  # a view again, as the base lies in one piece
    view: Any = np.ndarray(shape, dtype, buffer, offset, strides)
    view.flags.writeable = writeable and base.flags.writeable
    return view
