"""A conformance check for codecs of third-party types."""

from __future__ import annotations

import operator
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from livereload_core.state.codec import Dumper, load
from livereload_core.state.refusals import RefusedError
from livereload_core.state.thirdparty import StateCodec

__all__ = ["check_codec"]


def check_codec(
    codec: StateCodec,
    make: Callable[[], Any],
    same: Callable[[Any, Any], object] = operator.eq,
    *,
    library: str = "",
) -> None:
    """Check that a codec carries an object as livecore needs it.

    Args:
        codec: an instance; it must be registered, as that is how it is found.
        make: makes an object that the codec carries.
        same: tells whether what came back is right; called with the object and with its copy.
        library: the top-level module of the library, to check that it is not imported in vain.

    Raises:
        AssertionError: says which rule is broken.
    """
    assert isinstance(codec, StateCodec), "a codec has types and reduce(); see the reference"
    assert all(":" in name for name in codec.types), "types are written module:qualname"
    original = make()
    _check_reduction(codec, original)
    first, back = _carried([original, original, {"again": original}])
    assert back[0] is back[1] is back[2]["again"], "one object came back as several"
    assert same(original, back[0]), "what came back is not the same"
    assert type(back[0]) is type(original) or isinstance(back[0], type(original)), "it has another type"
    assert _carried([original, original, {"again": original}])[0] == first, (
        "writing it changed it: a second stream differs"
    )
    _, again = _carried([back[0]])
    assert same(original, again[0]), "it does not survive a second reload"
    if library:
        _check_laziness(type(codec), library)


def _check_reduction(codec: StateCodec, original: Any) -> None:
    try:
        reduction = codec.reduce(original)
    except RefusedError as refused:
        raise AssertionError(f"reduce() refused it: {refused.message}; {refused.remedy}") from refused
    if reduction is NotImplemented:
        return
    assert isinstance(reduction, tuple), "reduce() returns a tuple or NotImplemented"
    assert 2 <= len(reduction) <= 6, "a reduction has two to six parts"
    for part in (reduction[0], *reduction[5:]):
        name = getattr(part, "__qualname__", "")
        assert part is None or "<" not in name, (
            f"{name} cannot be named by the stream: move it to module level"
        )


def _carried(value: Any) -> tuple[bytes, Any]:
    stream, _ = Dumper((), lambda name: False).dump(value)
    return stream, load(stream, 0, lambda number: None, {})


def _check_laziness(cls: type, library: str) -> None:
    source = f"import sys, {cls.__module__}; sys.exit({library!r} in sys.modules)"
    done = subprocess.run([sys.executable, "-c", source], timeout=60, check=False)
    assert done.returncode == 0, f"importing {cls.__module__} imports {library}; import it inside of reduce()"
