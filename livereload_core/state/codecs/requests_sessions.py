"""requests: a session keeps all of its attributes, those of subclasses too.

Its own ``__getstate__`` keeps a fixed list of names and forgets the others without a word.
"""

from __future__ import annotations

import copyreg
from typing import Any

__all__ = ["RequestsCodec"]


class RequestsCodec:
    """Carries sessions."""

    types = ("requests.sessions:Session",)

    def reduce(self, obj: Any) -> Any:
        """Reduce a session to its attributes, unless a subclass has a say of its own."""
        from requests import Session

        own: Any = type(obj).__getstate__
        if own is not Session.__getstate__:
            return NotImplemented
        new: Any = vars(copyreg)["__newobj__"]
        return new, (type(obj),), dict(vars(obj))
