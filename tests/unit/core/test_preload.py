"""What is imported ahead, and what is left to the program."""

from __future__ import annotations

import pytest

from livereload_core.core.preload import AUTO, OFF, PATCHERS, choose

LEARNED = ("json", "numpy", "numpy.linalg", "fastapi", "fastapi.routing", "fastapi_users")


def test_everything_learned_is_imported_in_its_order() -> None:
    assert choose(LEARNED, (AUTO,), ()) == (LEARNED, "")


def test_nothing_learned_gives_nothing_and_needs_no_reason() -> None:
    assert choose((), (AUTO,), ()) == ((), "")


def test_switched_off_imports_nothing_and_says_so() -> None:
    modules, reason = choose(LEARNED, (OFF,), ())
    assert modules == ()
    assert "--preload off" in reason


def test_an_excluded_package_goes_with_its_modules_and_leaves_its_namesakes() -> None:
    modules, reason = choose(LEARNED, (AUTO,), ("fastapi",))
    assert modules == ("json", "numpy", "numpy.linalg", "fastapi_users")
    assert reason == ""


def test_an_excluded_module_leaves_its_package() -> None:
    modules, _ = choose(LEARNED, (AUTO,), ("numpy.linalg", "fastapi.routing"))
    assert modules == ("json", "numpy", "fastapi", "fastapi_users")


def test_named_modules_take_the_place_of_the_learned_ones() -> None:
    assert choose(LEARNED, ("pandas", "scipy.stats"), ()) == (("pandas", "scipy.stats"), "")


def test_named_modules_too_are_left_out_when_excluded() -> None:
    assert choose(LEARNED, ("pandas", "scipy.stats"), ("scipy",)) == (("pandas",), "")


@pytest.mark.parametrize("patcher", PATCHERS)
def test_a_program_that_patches_the_library_gets_nothing_ahead_and_the_reason_names_the_patcher(
    patcher: str,
) -> None:
    modules, reason = choose((*LEARNED, patcher), (AUTO,), ())
    assert modules == ()
    assert patcher in reason


def test_named_modules_are_imported_although_the_program_patches_the_library() -> None:
    assert choose((*LEARNED, *PATCHERS), ("json",), ()) == (("json",), "")


def test_the_package_of_a_patcher_alone_is_no_patch() -> None:
    assert choose(("gevent", "gevent.hub"), (AUTO,), ()) == (("gevent", "gevent.hub"), "")


def test_the_choice_of_a_matplotlib_backend_is_left_to_the_program() -> None:
    learned = ("matplotlib", "matplotlib.backends.backend_agg", "matplotlib.pyplot", "pylab", "numpy")
    assert choose(learned, (AUTO,), ()) == (("matplotlib", "numpy"), "")


def test_a_choice_that_the_user_names_is_imported() -> None:
    assert choose((), ("matplotlib.pyplot",), ()) == (("matplotlib.pyplot",), "")
