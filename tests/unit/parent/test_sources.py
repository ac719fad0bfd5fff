"""Hashing, checking and keeping sources."""

from __future__ import annotations

import time
import warnings
from pathlib import Path

import pytest

from livereload_core.facts import Failure
from livereload_core.parent.sources import check, digest
from livereload_core.wire import bundle


def _check(path: Path, data: bytes | str) -> tuple[Failure, ...]:
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return check([str(path)], root=str(path.parent))


def test_digest_is_of_the_content_and_none_without_a_file(tmp_path: Path) -> None:
    file = tmp_path / "a.py"
    file.write_bytes(b"x = 1\n")
    assert digest(str(file)) == bundle.content_digest(b"x = 1\n")
    assert digest(str(tmp_path / "b.py")) is None
    assert digest(str(tmp_path)) is None
    assert digest("/nul\0byte") is None


def test_good_file_and_missing_file_are_no_failure(tmp_path: Path) -> None:
    assert _check(tmp_path / "a.py", "x = 1\n") == ()
    assert check([str(tmp_path / "gone.py"), str(tmp_path / "data.yaml")]) == ()


def test_script_that_is_gone_is_a_failure(tmp_path: Path) -> None:
    script = str(tmp_path / "run")
    (failure,) = check([script], root=str(tmp_path), required=[script])
    assert failure.reason == "run is gone; put it back, or name another target"


def test_syntax_error_is_told_as_python_prints_it(tmp_path: Path) -> None:
    file = tmp_path / "app.py"
    (failure,) = _check(file, "a = 1\nb = 2\nc = (\n")
    assert failure.phase == "check"
    assert failure.reason == "syntax error in app.py, line 3: '(' was never closed"
    assert (
        failure.traceback
        == f"  File \"{file}\", line 3\n    c = (\n        ^\nSyntaxError: '(' was never closed\n"
    )
    assert failure.files == (str(file),)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"x = 1\n  y = 2\n", "indentation error in app.py, line 2: unexpected indent"),
        (b"x = '\xff'\n", "encoding error in app.py"),
        (b"# coding: klingon\n", "encoding error in app.py: unknown encoding: klingon"),
        (b"# coding: ascii\nx = '\xc3'\n", "encoding error in app.py: 'ascii' codec can't decode"),
        (b"x = 'C:\\Users'\n", "syntax error in app.py, line 1: (unicode error) 'unicodeescape'"),
        (b"x = 1\ny = '\0'\n", "null byte in app.py, line 2"),
        (b"return 1\n", "syntax error in app.py, line 1: 'return' outside function"),
        (b"def f():\n    x = 1\n    global x\n", "syntax error in app.py, line 3: name 'x' is assigned to"),
    ],
)
def test_what_cannot_be_compiled_is_told_with_its_place(tmp_path: Path, data: bytes, reason: str) -> None:
    (failure,) = _check(tmp_path / "app.py", data)
    assert failure.reason.startswith(reason)
    assert failure.traceback


def test_half_written_file_of_two_megabytes_is_simply_a_syntax_error(tmp_path: Path) -> None:
    (failure,) = _check(tmp_path / "big.py", "TABLE = [\n" + "    'some text in a line',\n" * 80_000)
    assert "was never closed" in failure.reason


def test_file_too_deep_to_compile_is_left_to_the_candidate(tmp_path: Path) -> None:
    assert _check(tmp_path / "deep.py", "x = " + "-" * 50_000 + "1\n") == ()


def test_file_that_may_not_be_read_is_a_failure(tmp_path: Path) -> None:
    (tmp_path / "folder.py").mkdir()
    (failure,) = check([str(tmp_path / "folder.py")], root=str(tmp_path))
    assert failure.reason == "folder.py cannot be read: Is a directory"


def test_warnings_of_the_compiler_are_left_to_the_candidate(
    tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    warnings.simplefilter("always")
    assert _check(tmp_path / "app.py", "x = '\\d'\nassert (1, 'always')\n") == ()
    assert not list(recwarn)


def test_our_own_future_imports_do_not_leak_into_the_users_files(tmp_path: Path) -> None:
    (failure,) = _check(tmp_path / "app.py", "from __future__ import braces\n")
    assert "not a chance" in failure.reason


def test_many_files_stop_at_the_budget_and_one_is_always_looked_at(tmp_path: Path) -> None:
    body = "def f(a, b):\n    return [a + b for a in range(b)]\n" * 150
    for number in range(300):
        (tmp_path / f"m{number:03}.py").write_text(body)
    paths = [str(path) for path in tmp_path.iterdir()]
    began = time.process_time()
    assert check(paths, budget=0.02) == ()
    assert time.process_time() - began < 0.5, "all three hundred take seconds"
    (tmp_path / "m000.py").write_text("(")
    assert len(check(paths, budget=0.0)) == 1
