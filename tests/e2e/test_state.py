"""Preserved state over real edits: kept, migrated, reset, refused; and never silently anything else."""

from __future__ import annotations

from livereload_core.testing import ask_http, free_port, until
from tests.e2e.launching import PLAYGROUND_APP, Launcher

ROOMS = """
from aiohttp import web

from livereload_core import preserve

VERSION = "1"


class Room:
    def __init__(self) -> None:
        self.visits = 0
        self.ticker = None

    def greet(self) -> str:
        return f"hello {self.visits}"


rooms = preserve("rooms", dict[str, Room])


async def show(request):
    room = rooms.setdefault("lobby", Room())
    room.visits += 1
    return web.json_response({"version": VERSION, "greeting": room.greet()})


async def poison(request):
    rooms["lobby"].ticker = (number for number in range(3))
    return web.json_response({"version": VERSION})


app = web.Application()
app.router.add_get("/", show)
app.router.add_get("/poison", poison)
"""


def test_kept_objects_get_the_methods_of_the_new_code(livecore: Launcher) -> None:
    run = livecore.app(source=ROOMS)
    assert run.get().json()["greeting"] == "hello 1"
    run.edit("app.py", 'f"hello {self.visits}"', 'f"welcome back, {self.visits}"')
    run.wait_reload("committed")
    assert run.get().json()["greeting"] == "welcome back, 2"


def test_state_that_cannot_be_carried_rejects_with_its_path_and_a_remedy(livecore: Launcher) -> None:
    run = livecore.app(source=ROOMS)
    run.get()
    run.get("/poison")
    run.edit("app.py", 'VERSION = "1"', 'VERSION = "2"')
    record = run.wait_reload("rejected")
    assert 'rooms["lobby"].ticker' in record["failure"]["reason"]
    assert record["pause_ms"] == 0, "the active one found out while it served"
    assert run.get().json() == {"version": "1", "greeting": "hello 2"}


def test_edit_that_names_what_it_can_do_without_goes_live(livecore: Launcher) -> None:
    run = livecore.app(source=ROOMS)
    run.get()
    run.get("/poison")
    run.edit("app.py", 'VERSION = "1"', 'VERSION = "2"')
    assert "livecore reset rooms" in run.wait_reload("rejected")["failure"]["reason"]
    run.edit("app.py", '"rooms", dict[str, Room]', '"rooms", dict[str, Room], on_error="reset"')
    run.wait_reload("committed")
    assert run.get().json() == {"version": "2", "greeting": "hello 1"}


def test_state_that_may_be_reset_is_reset_and_reported(livecore: Launcher) -> None:
    run = livecore.app(source=ROOMS.replace("dict[str, Room])", 'dict[str, Room], on_error="reset")'))
    run.get()
    run.get("/poison")
    run.edit("app.py", 'VERSION = "1"', 'VERSION = "2"')
    roots = run.wait_reload("committed")["roots"]
    assert [(root["key"], root["fate"]) for root in roots] == [("app:rooms", "reset")]
    assert 'rooms["lobby"].ticker' in roots[0]["detail"]
    assert run.get().json() == {"version": "2", "greeting": "hello 1"}


def test_raised_version_migrates_what_was_kept(livecore: Launcher) -> None:
    run = livecore.app()
    run.get("/hit")
    run.edit(
        "app.py",
        'tally = preserve("tally", dict[str, int])',
        "def upgrade(old, old_version):\n"
        "    return {'hits': old['hits'] + 1000 * old_version}\n\n"
        'tally = preserve("tally", dict[str, int], version=2, migrate=upgrade)',
    )
    record = run.wait_reload("committed")
    assert [(root["key"], root["fate"]) for root in record["roots"]] == [("app:tally", "migrated")]
    assert run.get().json()["count"] == 1001


def test_migration_that_raises_rejects_and_the_old_state_is_untouched(livecore: Launcher) -> None:
    run = livecore.app()
    run.get("/hit")
    run.edit(
        "app.py",
        'tally = preserve("tally", dict[str, int])',
        "def upgrade(old, old_version):\n"
        "    old.clear()\n"
        "    raise RuntimeError('no way up')\n\n"
        'tally = preserve("tally", dict[str, int], version=2, migrate=upgrade)',
    )
    record = run.wait_reload("rejected", "rolled-back")
    assert "no way up" in record["failure"]["reason"] + record["failure"]["traceback"]
    assert run.get("/hit").json()["count"] == 2


def test_deleted_declaration_is_parked_and_comes_back_with_its_state(livecore: Launcher) -> None:
    run = livecore.app()
    run.get("/hit")
    declared = 'tally = preserve("tally", dict[str, int])'
    run.edit("app.py", declared, "tally: dict[str, int] = {}")
    record = run.wait_reload("committed")
    assert [(root["key"], root["fate"]) for root in record["roots"]] == [("app:tally", "parked")]
    assert run.get().json()["count"] == 0
    run.edit("app.py", "tally: dict[str, int] = {}", declared)
    run.wait_reload("committed")
    assert run.get().json()["count"] == 1


def test_instances_of_classes_in_main_are_carried_and_run_the_new_methods(livecore: Launcher) -> None:
    source = ROOMS.replace("app = web.Application()", "import sys\napp = web.Application()")
    source += "\nif __name__ == '__main__':\n    web.run_app(app, port=int(sys.argv[1]), print=None)\n"
    port = free_port()
    run = livecore.program("main.py", files={"main.py": source}, args=[str(port)], serves=False)
    assert until(lambda: ask_http(port)).json()["greeting"] == "hello 1"
    run.edit("main.py", 'f"hello {self.visits}"', 'f"welcome back, {self.visits}"')
    run.wait_reload("committed")
    assert ask_http(port).json()["greeting"] == "welcome back, 2"


def test_state_is_kept_over_many_generations_with_a_rejection_in_between(livecore: Launcher) -> None:
    run = livecore.app()
    for version in range(1, 5):
        assert run.get("/hit").json()["count"] == version
        run.write("app.py", "def broken(:\n")
        run.wait_reload("rejected")
        run.write("app.py", PLAYGROUND_APP.replace('VERSION = "1"', f'VERSION = "{version + 1}"'))
        run.wait_reload("committed")
    assert run.get().json()["count"] == 4
