"""numpy: arrays that share memory still do, and mapped files are mapped again.

Plain arrays are left to numpy's own reduction.
"""

from __future__ import annotations

from typing import Any

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
            return NotImplemented
        offset = obj.__array_interface__["data"][0] - base.__array_interface__["data"][0]
        return _view, (base, offset, obj.dtype, obj.shape, obj.strides, obj.flags.writeable)


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
