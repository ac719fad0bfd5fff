"""Functions that no name leads to come back as the new code, or not at all."""

from __future__ import annotations

import pytest

from livereload_core.errors import CannotCarryError
from tests.unit.state.conftest import Program

HEAD = "from livereload_core import preserve\nfunctions = preserve('functions', list)\n"


def test_named_functions_run_the_new_code(program: Program) -> None:
    source = (
        HEAD + "def f():\n    return 'old'\nclass C:\n    @staticmethod\n    def g():\n        return 'old'\n"
    )
    app = program.start(app=source)
    app.functions += [app.f, app.C.g]
    after = program.reload(app=source.replace("'old'", "'new'"))
    assert after.functions == [after.f, after.C.g]
    assert [function() for function in after.functions] == ["new", "new"]


def test_lambda_runs_the_new_code(program: Program) -> None:
    source = HEAD + "f = lambda x=2: ('old', x)\n"
    app = program.start(app=source)
    app.functions.append(app.f)
    after = program.reload(app=source.replace("'old'", "'new'"))
    assert after.functions[0]() == ("new", 2)


def test_default_factory_that_is_a_lambda_runs_the_new_code(program: Program) -> None:
    source = (
        HEAD + "from collections import defaultdict\ncounts = preserve('counts', dict)\n"
        "def make():\n    return defaultdict(lambda: 'old')\n"
    )
    app = program.start(app=source)
    app.counts["a"] = app.make()
    after = program.reload(app=source.replace("'old'", "'new'"))
    assert after.counts["a"]["x"] == "new"


def test_closure_keeps_what_it_captured_and_shares_it(program: Program) -> None:
    source = HEAD + (
        "def counter():\n"
        "    n = 0\n"
        "    def up():\n"
        "        nonlocal n\n"
        "        n += 1\n"
        "        return 'old', n\n"
        "    def read():\n"
        "        return n\n"
        "    return up, read\n"
    )
    app = program.start(app=source)
    up, read = app.counter()
    up()
    app.functions += [up, read]
    up, read = program.reload(app=source.replace("'old'", "'new'")).functions
    assert read() == 1
    assert up() == ("new", 2)
    assert read() == 2


def test_closure_that_captures_itself_is_carried(program: Program) -> None:
    source = HEAD + (
        "def make():\n    def fact(n):\n        return 1 if n < 2 else n * fact(n - 1)\n    return fact\n"
    )
    app = program.start(app=source)
    app.functions.append(app.make())
    assert program.reload(app=source).functions[0](5) == 120


def test_decorated_function_is_found_below_its_decorator(program: Program) -> None:
    source = HEAD + (
        "import functools\n"
        "def twice(f):\n"
        "    functions.append(f)\n"
        "    @functools.wraps(f)\n"
        "    def wrapper():\n"
        "        return f() * 2\n"
        "    return wrapper\n"
        "@twice\n"
        "def word():\n"
        "    return 'old'\n"
    )
    app = program.start(app=source)
    assert len(app.functions) == 1
    app.functions.append(app.word)
    raw, wrapped = program.reload(app=source.replace("'old'", "'new'")).functions
    assert raw() == "new"
    assert wrapped() == "newnew"


def test_unchanged_lambda_among_changed_ones_is_recognised(program: Program) -> None:
    source = HEAD + "fs = [lambda: 1, lambda: 2, lambda: 3]\n"
    app = program.start(app=source)
    app.functions.append(app.fs[1])
    after = program.reload(app=HEAD + "fs = [lambda: 0, lambda: 10, lambda: 2, lambda: 30]\n")
    assert after.functions[0]() == 2


def test_changed_lambda_is_recognised_by_its_arguments(program: Program) -> None:
    app = program.start(app=HEAD + "fs = [lambda: 1, lambda x: 2]\n")
    app.functions.append(app.fs[1])
    assert program.reload(app=HEAD + "fs = [lambda: 1, lambda x: 20]\n").functions[0](0) == 20


@pytest.mark.parametrize(
    ("edited", "says"),
    [
        ("fs = [lambda: 10, lambda: 20]", "app:<lambda> is there 2 times, all of them changed"),
        ("fs = []", "app:<lambda> is no longer there"),
    ],
)
def test_lambda_that_cannot_be_told_apart_is_refused_instead_of_guessed(
    program: Program, edited: str, says: str
) -> None:
    app = program.start(app=HEAD + "fs = [lambda: 1, lambda: 2]\n")
    app.functions.append(app.fs[1])
    data = program.engine.export().data
    program.start(app=HEAD + edited + "\n")
    with pytest.raises(CannotCarryError, match=f"functions: function {says}; give it a name"):
        program.engine.trial(data)


def test_closure_that_captures_something_new_is_refused(program: Program) -> None:
    source = HEAD + "def make(a, b):\n    return lambda: {body}\n"
    app = program.start(app=source.format(body="a"))
    app.functions.append(app.make(1, 2))
    data = program.engine.export().data
    program.start(app=source.format(body="a + b"))
    with pytest.raises(CannotCarryError, match="captures 'b' now, and the kept one did not"):
        program.engine.trial(data)


def test_function_of_no_module_is_refused(program: Program) -> None:
    app = program.start(app=HEAD)
    space: dict[str, object] = {"__name__": "nowhere"}
    exec("f = lambda: 1", space)
    app.functions.append(space["f"])
    with pytest.raises(CannotCarryError, match=r"functions\[0\]: function '<lambda>' belongs to no module"):
        program.engine.export()
