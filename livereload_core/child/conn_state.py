"""What a handler keeps in ``connection().state``, for a connection that is handed over after the snapshot.

The snapshot was written at the switch. A request that outlasted it went on with the old generation's copy.
What it changed there comes with the connection, as far as that can be: values that have no identity. An
object may be part of other preserved state as well, and a copy of it would no longer be; of such the new
generation keeps its own.

Invariants:
    * :func:`apply` leaves the objects that the new generation has in place.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from typing import Any

__all__ = ["apply", "changes"]

_PLAIN = (type(None), bool, int, float, complex, str, bytes)


def changes(state: Mapping[str, Any]) -> bytes:
    """Return what :func:`apply` needs."""
    plain = {key: value for key, value in state.items() if _is_plain(value)}
    return pickle.dumps((plain, [key for key in state if key not in plain]))


def apply(data: bytes, state: dict[str, Any]) -> None:
    """Bring ``state``, as it was in the snapshot, up to date."""
    plain, others = pickle.loads(data)
    for key in [key for key in state if key not in plain and key not in others]:
        del state[key]
    state.update(plain)


def _is_plain(value: object) -> bool:
    return type(value) in _PLAIN or (type(value) is tuple and all(map(_is_plain, value)))
