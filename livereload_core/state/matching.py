"""Code of then, found again in the source of now.

A module's source is compiled, and all code in it is known by its qualified name. Many lambdas share
one. Which of them is meant is told in this order, and never guessed:

    1. exactly one                      that one
    2. several, some unchanged          the nearest unchanged one (identical twins do the same)
    3. one between unchanged neighbours  where exactly one stood between them before
    4. one with the same arguments, captured names, or else the same everything but constants

Invariant: only the source that the module really runs is looked at, on both sides.
"""

from __future__ import annotations

import ast
import dataclasses
import difflib
import functools
import os
import types
import zlib
from collections.abc import Callable
from typing import Any

__all__ = ["Mark", "class_statement", "codes_of", "find", "fingerprint", "mark_of", "source_of"]


@dataclasses.dataclass(frozen=True, slots=True)
class Mark:
    """What is written down of code, to find it again.

    Attributes:
        line: the first line.
        print: its fingerprint.
        signature: what it takes and captures.
        skeleton: a fingerprint of everything but its constants.
        all: fingerprints of all code of that name, in the order of the source.
    """

    line: int
    print: int
    signature: tuple[Any, ...]
    skeleton: int
    all: tuple[int, ...]


def mark_of(module: types.ModuleType, qualname: str, code: types.CodeType) -> tuple[Any, ...]:
    """Return the fields of a :class:`Mark`."""
    everyone = _prints(codes_of(module, qualname))
    return code.co_firstlineno, fingerprint(code), _signature(code), _skeleton(code), everyone


def find(module: types.ModuleType, qualname: str, mark: Mark) -> list[types.CodeType]:
    """Return the one code that is meant; several or none when that cannot be told."""
    found = list(codes_of(module, qualname))
    if len(found) < 2:
        return found
    same = [code for code in found if fingerprint(code) == mark.print]
    if same:
        return [min(same, key=lambda code: abs(code.co_firstlineno - mark.line))]
    between = _between_neighbours(_prints(tuple(found)), mark)
    if between is not None and _signature(found[between]) == mark.signature:
        return [found[between]]
    others = [code for code in found if fingerprint(code) not in mark.all] or found
    alike: list[Callable[[types.CodeType], bool]] = [
        lambda code: _signature(code) == mark.signature,
        lambda code: _skeleton(code) == mark.skeleton,
    ]
    for is_alike in alike:
        others = [code for code in others if is_alike(code)]
        if len(others) == 1:
            return others
    return found


def _between_neighbours(now: tuple[int, ...], mark: Mark) -> int | None:
    if mark.all.count(mark.print) != 1:
        return None
    at = mark.all.index(mark.print)
    for tag, i1, i2, j1, j2 in difflib.SequenceMatcher(None, mark.all, now, autojunk=False).get_opcodes():
        if tag == "replace" and (i1, i2) == (at, at + 1) and j2 - j1 == 1:
            return j1
    return None


def _signature(code: types.CodeType) -> tuple[Any, ...]:
    takes = (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags & 0xC)
    return *takes, code.co_freevars


@functools.lru_cache(maxsize=1024)
def _prints(codes: tuple[types.CodeType, ...]) -> tuple[int, ...]:
    return tuple(fingerprint(code) for code in codes)


def codes_of(module: types.ModuleType, qualname: str) -> tuple[types.CodeType, ...]:
    """Return all code of a qualified name in the source that a module runs; none without a source."""
    path = getattr(module, "__file__", None)
    if not path:
        return ()
    try:
        return _index(os.fspath(path), source_of(module, os.fspath(path))).get(qualname, ())
    except (OSError, SyntaxError, ValueError):
        return ()  # no source to look into: the caller refuses by name


def source_of(module: types.ModuleType, path: str) -> str | bytes:
    """Return the source that a module runs.

    Raises:
        OSError: it cannot be read.
    """
    # The loader knows the source that is running; the file may have been saved again by now.
    get_source = getattr(getattr(module, "__loader__", None), "get_source", None)
    if get_source is not None:
        try:
            source = get_source(module.__name__)
        except ImportError:
            source = None  # a loader for another name, as that of a script may be
        if isinstance(source, str):
            return source
    with open(path, "rb") as file:
        return file.read()


@functools.lru_cache(maxsize=64)
def _index(path: str, source: str | bytes) -> dict[str, tuple[types.CodeType, ...]]:
    found: dict[str, list[types.CodeType]] = {}

    def visit(code: types.CodeType) -> None:
        found.setdefault(code.co_qualname, []).append(code)
        for const in code.co_consts:
            if isinstance(const, types.CodeType):
                visit(const)

    visit(compile(source, path, "exec", dont_inherit=True))
    return {name: tuple(codes) for name, codes in found.items()}


@functools.lru_cache(maxsize=4096)
def fingerprint(code: types.CodeType) -> int:
    """Return a number that is equal for equal code, wherever it stands."""

    def parts(code: types.CodeType) -> tuple[Any, ...]:
        consts = tuple(parts(c) if isinstance(c, types.CodeType) else _stable(c) for c in code.co_consts)
        return code.co_code, code.co_names, code.co_varnames, code.co_freevars, consts

    return zlib.crc32(repr(parts(code)).encode("utf-8", "surrogatepass"))


def _skeleton(code: types.CodeType) -> int:
    return zlib.crc32(repr((code.co_code, code.co_names, code.co_varnames, code.co_freevars)).encode())


def _stable(const: object) -> str:
    # Strings hash differently in each process, and so the repr of a frozenset changes its order.
    return repr(sorted(map(repr, const))) if isinstance(const, frozenset) else repr(const)


def class_statement(module: types.ModuleType, qualname: str) -> ast.ClassDef | None:
    """Return the statement of a class in the source that a module runs; ``None`` without a source."""
    path = getattr(module, "__file__", None)
    if not path:
        return None
    try:
        return _statements(source_of(module, os.fspath(path))).get(qualname)
    except (OSError, SyntaxError, ValueError):
        return None


@functools.lru_cache(maxsize=16)
def _statements(source: str | bytes) -> dict[str, ast.ClassDef]:
    found: dict[str, ast.ClassDef] = {}

    def visit(node: ast.AST, prefix: str) -> None:
        for child in ast.iter_child_nodes(node):
            inner = prefix
            if isinstance(child, ast.ClassDef):
                found[prefix + child.name] = child
                inner = f"{prefix}{child.name}."
            elif isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)):
                inner = f"{prefix}{child.name}.<locals>."
            visit(child, inner)

    visit(ast.parse(source), "")
    return found
