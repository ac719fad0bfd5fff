"""pandas: frames and series cross as pandas carries them; what holds an open file is refused with advice."""

from __future__ import annotations

from typing import Any

from livereload_core.state.refusals import RefusedError

__all__ = ["PandasCodec"]


class PandasCodec:
    """Carries frames, and turns readers and stores down."""

    types = (
        "pandas.io.parsers.readers:TextFileReader",
        "pandas.io.excel._base:ExcelFile",
        "pandas.io.excel._base:ExcelWriter",
        "pandas.io.pytables:HDFStore",
    )

    def reduce(self, obj: Any) -> Any:
        """Refuse what stands in the midst of a file."""
        raise RefusedError(
            f"a {type(obj).__name__} of pandas stands in the midst of a file",
            "keep the path and how far it came, and open it in an on_ready hook",
        )
