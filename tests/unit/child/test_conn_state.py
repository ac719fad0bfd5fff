"""What is kept with a connection that goes over after the snapshot, and with one that never does."""

from __future__ import annotations

from typing import Any

from livereload_core.child.conn_hub import Connections
from livereload_core.child.conn_state import apply, changes


def test_values_without_identity_are_brought_up_to_date() -> None:
    shared: list[int] = []
    snapshot: dict[str, Any] = {"served": 1, "gone": "x", "shared": shared, "place": (1, "a")}
    later = {"served": 2, "shared": [5], "place": (2, "b"), "new": b"bytes", "thing": object()}
    apply(changes(later), snapshot)
    assert snapshot == {"served": 2, "shared": [], "place": (2, "b"), "new": b"bytes"}
    assert snapshot["shared"] is shared, "an object may be part of other state and stays what it is"


def test_a_tuple_that_holds_an_object_is_left_as_it_was() -> None:
    snapshot: dict[str, Any] = {"pair": (1, [])}
    apply(changes({"pair": (2, [])}), snapshot)
    assert snapshot == {"pair": (1, [])}


def test_a_state_that_was_emptied_is_empty() -> None:
    snapshot: dict[str, Any] = {"served": 1}
    apply(changes({}), snapshot)
    assert snapshot == {}


def test_states_of_connections_that_never_came_are_forgotten_at_the_second_edit() -> None:
    hub = Connections()
    hub.states = {1: {"served": 1}, 2: {"served": 2}}
    hub._forget_states()
    assert set(hub.states) == {1, 2}, "they may still come, handed over late"
    hub.states[3] = {}
    hub._forget_states()
    assert set(hub.states) == {3}
