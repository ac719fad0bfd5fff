"""The gate stands before the first statement of a script's main block, and nowhere else."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

from livereload_core.child import gate


@pytest.fixture
def entered() -> Iterator[list[str]]:
    """What the gate and the script have noted; the script calls ``note``."""
    notes: list[str] = []
    gate.install(lambda: notes.append("gate"))
    yield notes
    gate.install(_let_pass)


def _let_pass() -> None:
    """A gate that is open."""


def _run(source: str, notes: list[str], name: str = "__main__") -> bool:
    tree = ast.parse(source)
    found = gate.insert(tree)
    exec(compile(tree, "script.py", "exec"), {"__name__": name, "note": notes.append})
    return found


@pytest.mark.parametrize(
    "test", ['__name__ == "__main__"', '"__main__" == __name__', "(__name__) == ('__main__')"]
)
def test_the_gate_is_passed_after_the_definitions_and_before_the_main_block(
    entered: list[str], test: str
) -> None:
    assert _run(f"note('define')\nif {test}:\n    note('main')\nnote('after')\n", entered)
    assert entered == ["define", "gate", "main", "after"]


def test_a_module_that_is_imported_does_not_pass_it(entered: list[str]) -> None:
    source = "note('define')\nif __name__ == '__main__':\n    note('main')\nelse:\n    note('imported')\n"
    assert _run(source, entered, name="script")
    assert entered == ["define", "imported"]


def test_every_main_block_has_its_gate(entered: list[str]) -> None:
    block = "if __name__ == '__main__':\n    note('main')\n"
    assert _run(block * 2, entered)
    assert entered == ["gate", "main", "gate", "main"]


@pytest.mark.parametrize(
    "source",
    [
        "",
        "note('main')\n",
        "if __name__ != '__main__': pass\n",
        "if __name__ == 'main': pass\n",
        "if __name__ == '__main__' == __name__: pass\n",
        "if __name__ == '__main__' and True: pass\n",
        "if __file__ == '__main__': pass\n",
        "if '__name__' == '__main__': pass\n",
        "if __name__ is '__main__': pass\n",
        "if True:\n    if __name__ == '__main__': pass\n",
        "def main():\n    if __name__ == '__main__': pass\n",
        "while __name__ == '__main__': break\n",
    ],
)
def test_what_is_no_main_block_of_the_script_is_left_as_it_is(source: str) -> None:
    tree = ast.parse(source)
    before = ast.dump(tree, include_attributes=True)
    assert not gate.insert(tree)
    assert ast.dump(tree, include_attributes=True) == before


def test_lines_of_a_traceback_stay_those_of_the_script(entered: list[str]) -> None:
    with pytest.raises(ZeroDivisionError) as raised:
        _run("\n\nif __name__ == '__main__':\n\n    1 / 0\n", entered)
    assert raised.traceback[-1].lineno + 1 == 5
    assert entered == ["gate"]


def test_what_the_gate_raises_stops_the_script_at_the_line_behind_it() -> None:
    def refuse() -> None:
        raise KeyboardInterrupt

    gate.install(refuse)
    try:
        notes: list[str] = []
        with pytest.raises(KeyboardInterrupt) as raised:
            _run("note('define')\nif __name__ == '__main__':\n    note('main')\n", notes)
    finally:
        gate.install(_let_pass)
    assert notes == ["define"]
    (script,) = (entry for entry in raised.traceback if str(entry.path).endswith("script.py"))
    assert script.lineno + 1 == 3


def test_the_names_of_the_script_may_be_anything(entered: list[str]) -> None:
    source = "enter = gate = livereload_core = None\nif __name__ == '__main__':\n    note('main')\n"
    assert _run(source, entered)
    assert entered == ["gate", "main"]


@pytest.mark.parametrize(
    ("source", "modules"),
    [
        ("", []),
        ("import a\nimport b.c, d as e\nfrom f.g import h\n", ["a", "b.c", "d", "f.g"]),
        ('"""Text."""\nfrom __future__ import annotations\nimport a\n', ["__future__", "a"]),
        ("import a\nx = 1\nimport b\n", ["a"]),
        ("import os\nos.environ['A'] = 'b'\nimport numpy\n", ["os"]),
        ("import matplotlib\nmatplotlib.use('agg')\nimport matplotlib.pyplot\n", ["matplotlib"]),
        ("import a\nfrom . import b\nimport c\n", ["a"]),
        ("import a\nfrom .b import c\nimport d\n", ["a"]),
        ("import a\ntry:\n    import b\nexcept ImportError:\n    pass\n", ["a"]),
        ("'text'\n1\nimport a\n'more'\nimport b\n", ["a", "b"]),
        ("print()\nimport a\n", []),
        ("def f(): import a\n", []),
    ],
)
def test_only_imports_before_anything_else_is_done_are_safe_to_make_ahead(
    source: str, modules: list[str]
) -> None:
    assert gate.leading_imports(ast.parse(source)) == modules
