"""From what a stream would make to what people read: a tree of lines, or of JSON.

::

    app:users  dict, 2 entries
      'ann'  app.User
        name      'Ann'
        password  <hidden>
        friends   list, 1 item
          0  app.User
            name     'Bob'
            friends  list, 1 item
              0  → ['ann']                     shown there already
      'bob'  → ['ann'].friends[0]

Invariants:
    * Each object is shown once; where it is met again, the path says where. So a cycle ends.
    * What is left out is counted: nothing is cut off in silence.
    * A secret is hidden before anything is shortened.
"""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Mapping
from typing import Any

from livereload_core.ui.secrets import HIDDEN, is_secret_name, without_secrets
from livereload_core.ui.style import safe
from livereload_core.wire.pickles import Call, Items, Name, Pairs, Ref

__all__ = ["Limits", "Shapes", "View", "Viewer", "children_of", "kind_of", "lines", "scalar"]

Shapes = Mapping[str, Mapping[str, Any]]
"""``module:qualname`` -> shape, as the index of a snapshot has it."""

DEEPEST = 200
"""Levels that are shown at most, whatever is asked for: each takes a few frames of Python."""


@dataclasses.dataclass(frozen=True, slots=True)
class Limits:
    """How much is shown.

    Attributes:
        depth: levels of containers.
        items: of each container.
        text: characters of each text.
        reveal: secrets, too.
    """

    depth: int = 4
    items: int = 20
    text: int = 120
    reveal: bool = False


@dataclasses.dataclass(slots=True)
class View:
    """One line of the tree, and what is below it.

    Attributes:
        label: the key, the attribute or the place.
        text: what is there.
        json: the same for programs, without its children.
        children: what is in it.
        left: how many more there are.
    """

    label: str
    text: str
    json: dict[str, Any]
    children: list[View] = dataclasses.field(default_factory=list)
    left: int = 0

    def as_json(self) -> dict[str, Any]:
        """Return JSON types."""
        data = dict(self.json)
        if self.label:
            data["label"] = self.label
        if self.children:
            data["children"] = [child.as_json() for child in self.children]
        if self.left:
            data["left_out"] = self.left
        return data


class Viewer:
    """Makes the view of one root.

    Args:
        limits: how much is shown.
        shapes: the fields of the classes in it, which name what crosses by position.
    """

    def __init__(self, limits: Limits, shapes: Shapes | None = None) -> None:
        self._limits = limits
        self._shapes = shapes or {}
        self._shown: dict[int, str] = {}
        self._keep: list[Any] = []  # ids are of living objects only

    def view(self, node: Any, key: str = "") -> View:
        """Return the view of a root with this key."""
        return self._view(node, "", "", 0, hidden=is_secret_name(key.partition(":")[2]))

    def _view(self, node: Any, label: str, path: str, depth: int, *, hidden: bool) -> View:
        limits = self._limits
        if hidden and not limits.reveal and node is not None and not isinstance(node, bool):
            return View(label, HIDDEN, {"kind": "hidden"})
        if not isinstance(node, (Items, Pairs, Call)):
            text, data = scalar(node, limits)
            return View(label, text, data)
        known = self._shown.get(id(node))
        if known is not None:
            return View(label, f"→ {known or 'the root itself'}", {"kind": "shown", "at": known})
        children = children_of(node, self._shapes)
        plain = None if fields_of(node, self._shapes) else special(node)
        if plain is not None:
            if not limits.reveal:
                plain = f"{kind_of(node)}({HIDDEN})" if is_secret_type(node) else without_secrets(plain)
            data = {"kind": "object", "type": kind_of(node), "text": _short(plain, limits.text)}
            return View(label, safe(_short(plain, limits.text)), data)
        self._shown[id(node)] = path
        self._keep.append(node)
        shown = View(label, _headline(node, children), {"kind": _json_kind(node), "type": kind_of(node)})
        if depth >= min(limits.depth, DEEPEST):
            shown.left = len(children)
            return shown
        pair = not limits.reveal and _named_pair(node)
        for name, step, child in children[: limits.items]:
            secret = is_secret_name(name) or (pair and step == "[1]")
            shown_name = name if limits.reveal else without_secrets(name)
            at = f"{path}{step if limits.reveal else without_secrets(step)}"
            shown.children.append(
                self._view(child, safe(_short(shown_name, limits.text)), at, depth + 1, hidden=bool(secret))
            )
        shown.left = max(0, len(children) - limits.items)
        return shown


def _named_pair(node: Any) -> bool:
    """Whether this is (name, value) with a name that says not to show the value: a header."""
    if not isinstance(node, Items) or len(node.values) != 2:
        return False
    name = node.values[0]
    if isinstance(name, bytes):
        name = name.decode("latin-1")
    return isinstance(name, str) and len(name) < 100 and is_secret_name(name)


# -- what is in a node --------------------------------------------------------------------------------------


def children_of(node: Items | Pairs | Call, shapes: Shapes) -> list[tuple[str, str, Any]]:
    """Return (label, step of a path, child) of everything in a container or object."""
    if isinstance(node, Items):
        return [(str(place), f"[{place}]", value) for place, value in enumerate(node.values)]
    if isinstance(node, Pairs):
        return [_entry(key, value) for key, value in node.values]
    found: list[tuple[str, str, Any]] = []
    # copyreg._reconstructor(class, its built-in base, the contents of that): as a rule (cls, object, None)
    args = [] if _is_rebuilt(node) else node.args
    fields = fields_of(node, shapes)
    for place, arg in enumerate(args):
        name = fields[place] if len(fields) == len(args) else f"({place})"
        found.append((name, f".{name}", arg))
    if isinstance(node.kwargs, Pairs):
        found += [_field(key, value) for key, value in node.kwargs.values]
    for state in node.states:
        found += _state(state)
    found += [(str(place), f"[{place}]", value) for place, value in enumerate(node.items)]
    found += [_entry(key, value) for key, value in node.pairs]
    return found


def fields_of(node: Any, shapes: Shapes) -> list[str]:
    """Return the names of the fields of an object's class, where its shape is known."""
    if not isinstance(node, Call) or not isinstance(node.function, Name):
        return []
    shape = shapes.get(f"{node.function.module}:{node.function.name}")
    fields = shape.get("fields") if isinstance(shape, dict) else None
    return [str(name) for name in fields] if isinstance(fields, (dict, list)) else []


def is_secret_type(node: Any) -> bool:
    """Whether an object's class is called like a secret."""
    return isinstance(node, Call) and is_secret_name(kind_of(node).rpartition(".")[2])


def _is_rebuilt(node: Call) -> bool:
    return isinstance(node.function, Name) and node.function.name == "_reconstructor"


def _state(state: Any) -> list[tuple[str, str, Any]]:
    if isinstance(state, Pairs):
        return [_field(key, value) for key, value in state.values]
    if isinstance(state, Items) and len(state.values) == 2:
        parts = state.values
        if all(part is None or isinstance(part, Pairs) for part in parts):  # (__dict__, slots)
            return [entry for part in parts if part is not None for entry in _state(part)]
    return [] if state is None else [("(state)", ".(state)", state)]


def _field(key: Any, value: Any) -> tuple[str, str, Any]:
    name = key if isinstance(key, str) else _key(key)
    return name, f".{name}", value


def _entry(key: Any, value: Any) -> tuple[str, str, Any]:
    name = _key(key)
    return name, f"[{name}]", value


def _key(key: Any) -> str:
    if isinstance(key, (Items, Call)):
        inner = key.values if isinstance(key, Items) else key.args
        if len(inner) <= 4 and not any(isinstance(value, (Items, Pairs, Call)) for value in inner):
            text = ", ".join(scalar(value, Limits(reveal=True))[0] for value in inner)
            return f"({text})" if isinstance(key, Items) else f"{kind_of(key)}({text})"
    return scalar(key, Limits(reveal=True))[0] if not isinstance(key, (Items, Pairs, Call)) else kind_of(key)


# -- how a node is called -----------------------------------------------------------------------------------


def kind_of(node: Any) -> str:
    """Return the name of the type of a container or object."""
    if isinstance(node, Items):
        return node.kind
    if isinstance(node, Pairs):
        return "dict"
    function = node.function
    if isinstance(function, Call):
        return f"{function.function}(...)" if isinstance(function.function, Name) else "?"
    if _is_rebuilt(node) and node.args and isinstance(node.args[0], Name):
        function = node.args[0]
    return str(function) if isinstance(function, Name) else "?"


def _json_kind(node: Any) -> str:
    return kind_of(node) if isinstance(node, (Items, Pairs)) else "object"


def _headline(node: Any, children: list[Any]) -> str:
    if isinstance(node, Pairs):
        return _counted("dict", len(children), "entry", "entries")
    if isinstance(node, Items):
        return _counted(node.kind, len(children), "item", "items")
    name = safe(kind_of(node))
    if node.pairs:
        return _counted(name, len(node.pairs), "entry", "entries")
    return _counted(name, len(node.items), "item", "items") if node.items else name


def _counted(name: str, count: int, one: str, many: str) -> str:
    return f"{name}, {count} {one if count == 1 else many}" if count else f"{name}, empty"


def special(node: Any) -> str | None:
    """Return the text of an object that one line says all of, ``None`` for others."""
    if not isinstance(node, Call) or not isinstance(node.function, Name) or node.items or node.pairs:
        return None
    function, args = node.function, node.args
    if function.name == "enum_member" and len(args) >= 2 and isinstance(args[0], Name):
        return f"{args[0]}.{args[1]}" if isinstance(args[1], str) else None
    if function.module == "datetime" and args and isinstance(args[0], bytes):
        return _moment(function.name, args)
    if function.module.startswith("livereload_core.state.code") and len(args) >= 2:
        module, name = args[:2]
        return f"function {module}.{name}" if isinstance(module, str) and isinstance(name, str) else None
    array = _array(node)
    if array:
        return array
    flat = not node.states and not isinstance(node.kwargs, Pairs)
    if flat and 1 <= len(args) <= 3 and all(_is_small(arg) for arg in args):
        return f"{function}({', '.join(scalar(arg, Limits(reveal=True))[0] for arg in args)})"
    return None


def _array(node: Call, depth: int = 3) -> str:
    """Describe an array of numpy, however it was written: by its kind and shape.

    Args:
        node: what may make one.
        depth: calls around the array itself that are looked through.
    """
    function, parts = node.function, [*node.args]
    if "numpy" not in function.module and function.name != "ndarray":
        return ""
    for state in node.states:
        parts += state.values if isinstance(state, Items) else []
    inner = [part for part in parts if isinstance(part, Call)]
    kinds = [part for part in inner if isinstance(part.function, Name) and part.function.name == "dtype"]
    shapes = [
        part.values
        for part in parts
        if isinstance(part, Items) and part.kind == "tuple" and all(isinstance(n, int) for n in part.values)
    ]
    if not kinds or not shapes or not kinds[0].args:
        if len(inner) != 1 or not depth or not isinstance(inner[0].function, Name) or inner[0].states:
            return ""
        return _array(inner[0], depth - 1)
    shape = shapes[-1] if node.states else shapes[0]
    return f"array of {kinds[0].args[0]}, shape ({', '.join(map(str, shape))})"


def _is_small(node: Any) -> bool:
    return not isinstance(node, (Items, Pairs, Call)) and (
        not isinstance(node, (str, bytes, bytearray)) or len(node) <= 60
    )


def _moment(name: str, args: list[Any]) -> str | None:
    """Read what ``datetime`` packs into bytes."""
    try:
        made = {"datetime": datetime.datetime, "date": datetime.date, "time": datetime.time}[name](args[0])
    except (KeyError, TypeError, ValueError):
        return None
    return f"{name} {made}" + (" with its time zone" if len(args) > 1 else "")


# -- single values ------------------------------------------------------------------------------------------


def scalar(node: Any, limits: Limits) -> tuple[str, dict[str, Any]]:
    """Return how a single value is shown, to people and to programs."""
    if isinstance(node, str):
        text = node if limits.reveal else without_secrets(node)
        data: dict[str, Any] = {"kind": "str", "value": _short(text, limits.text)}
        return safe(repr(_short(text, limits.text))), data | _length(text, limits)
    if isinstance(node, (bytes, bytearray)):
        text = bytes(node[: 4 * limits.text]).decode("latin-1")
        text = text if limits.reveal else without_secrets(text)
        shown = repr(_short(text, limits.text).encode("latin-1", "replace"))
        kind = type(node).__name__
        data = {"kind": kind, "value": shown, "length": len(node)}
        return f"{shown}, {len(node)} bytes" if len(node) > limits.text else shown, data
    if isinstance(node, Name):
        return str(safe(str(node))), {"kind": "name", "value": str(node)}
    if isinstance(node, Ref):
        return f"→ {node.key}", {"kind": "root", "value": node.key}
    if isinstance(node, int) and not isinstance(node, bool) and node.bit_length() > 1000:
        text = f"an integer of {node.bit_length()} bits"
        return text, {"kind": "int", "value": text}
    if isinstance(node, float) and (node != node or node in (float("inf"), float("-inf"))):
        return repr(node), {"kind": "float", "value": repr(node)}  # JSON has none of these
    return repr(node), {"kind": type(node).__name__, "value": node}


def _length(text: str, limits: Limits) -> dict[str, int]:
    return {"length": len(text)} if len(text) > limits.text else {}


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


# -- lines --------------------------------------------------------------------------------------------------


def lines(view: View, indent: int = 0) -> list[str]:
    """Return the tree as lines of text."""
    found: list[str] = []
    _write(view, indent, 0, found)
    return found


def _write(view: View, indent: int, width: int, out: list[str]) -> None:
    label = f"{view.label:<{width}}  " if view.label else ""
    tail = f"  … {view.left} more" if view.left and not view.children else ""
    out.append(f"{' ' * indent}{label}{view.text}{tail}")
    below = max((len(child.label) for child in view.children if not child.children), default=0)
    for child in view.children:
        _write(child, indent + 2, 0 if child.children else min(below, 24), out)
    if view.left and view.children:
        out.append(f"{' ' * (indent + 2)}… {view.left} more")
