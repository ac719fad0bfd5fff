"""The chat: a page in a real browser stays connected over edits and over the death of the serving process."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.sync.client import ClientConnection, connect

from livereload_core.testing import LivecoreProcess, until
from tests.e2e.launching import PLAYGROUND, Launcher
from tests.playground.chromium import CHROMIUM, Page

EDITS = 20

needs_chromium = pytest.mark.skipif(
    CHROMIUM is None, reason="there is no Chromium here; on Debian: apt-get install chromium"
)


@pytest.fixture
def chat(livecore: Launcher) -> LivecoreProcess:
    """The chat under livecore, in a copy."""
    shutil.copytree(PLAYGROUND / "chat", livecore.folder / "program")
    return livecore.program("app:app", files={})


@pytest.fixture
def page(chat: LivecoreProcess, tmp_path: Path) -> Iterator[Page]:
    """The chat in a browser, connected."""
    with Page(f"http://127.0.0.1:{chat.port}/", tmp_path / "browser") as page:
        _shows(page, state="connected", greetings="1")
        yield page


class Person:
    """Another one in the chat, without a browser."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self.greetings = 0
        self.numbers: list[int] = []
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        """Say something."""
        self._socket.send(json.dumps({"text": text}))

    def listen(self, text: str) -> None:
        """Read until this line comes."""
        while not self.lines or not self.lines[-1].endswith(f": {text}"):
            said = json.loads(self._socket.recv(30))
            if said["kind"] == "message":
                self.numbers.append(said["number"])
                self.lines.append(f"{said['name']}: {said['text']}")
            self.greetings += said["kind"] == "welcome"


@pytest.fixture
def bob(chat: LivecoreProcess) -> Iterator[Person]:
    """Somebody else."""
    with connect(f"ws://127.0.0.1:{chat.port}/chat", proxy=None) as socket:
        yield Person(socket)


def _shows(page: Page, **facts: str) -> None:
    """Wait until the elements of the page have these texts."""
    until(
        lambda: {name: page.text(name) for name in facts} == facts,
        timeout=30,
        what=f"a page that shows {facts}",
        context=lambda: page.run("document.body.innerText"),
    )


def _retitle(chat: LivecoreProcess, title: str) -> None:
    source = (PLAYGROUND / "chat" / "app.py").read_text()
    old = 'TITLE = "A chat that survives its code"'
    assert source.count(old) == 1
    chat.write("app.py", source.replace(old, f"TITLE = {title!r}"))
    chat.wait_reload("committed")


@needs_chromium
@pytest.mark.slow
@pytest.mark.timeout(300)  # twenty edits, each of which may have to wait for a spare to get warm
def test_page_in_a_browser_stays_connected_over_edits_and_a_kill(
    chat: LivecoreProcess, page: Page, bob: Person
) -> None:
    page.submit("naming", "name", "ada")
    page.submit("saying", "text", "hello")
    bob.listen("hello")
    total = 1
    for edit in range(1, EDITS + 1):
        # Both speak into the edit: who takes it, the old code or the new, is left to chance.
        page.submit("saying", "text", f"ada in {edit}")
        bob.say(f"bob in {edit}")
        _retitle(chat, f"Edit {edit}")
        bob.say(f"bob after {edit}")
        bob.listen(f"bob after {edit}")
        total += 3
        _shows(page, title=f"Edit {edit}", generation=str(edit + 1), received=str(total))

    # A kill loses what changed since the last snapshot in the background, which is not what is asked here.
    chat.wait_settled()
    until(lambda: chat.holds(f"bob after {EDITS}"), what="a snapshot of all that was said")
    (active,) = [child for child in chat.status()["children"] if child["role"] == "active"]
    os.kill(active["pid"], signal.SIGKILL)
    page.submit("saying", "text", "anybody there?")  # perhaps while nobody serves
    chat.wait_event("recovered")
    bob.listen("anybody there?")
    bob.say("yes")
    bob.listen("yes")
    total += 2
    _shows(page, generation=str(EDITS + 2), received=str(total))

    facts = ("state", "reconnects", "greetings", "missing", "twice", "last")
    assert {fact: page.text(fact) for fact in facts} == {
        "state": "connected",
        "reconnects": "0",
        "greetings": "1",
        "missing": "0",
        "twice": "0",
        "last": str(total),
    }
    lines = page.run("[...document.querySelectorAll('#messages li')].map(line => line.textContent)")
    assert lines == bob.lines
    assert lines[-2] == "ada: anybody there?"
    assert bob.numbers == list(range(1, total + 1))
    assert bob.greetings == 1


def test_new_code_of_the_chat_dresses_what_is_said_and_keeps_names(
    chat: LivecoreProcess, bob: Person
) -> None:
    bob.say("before")
    bob.listen("before")
    chat.edit("app.py", "return text  #", "return text.upper()  #")
    chat.wait_reload("committed")
    bob.say("after")
    bob.listen("AFTER")
    assert bob.lines == ["guest 1: before", "guest 1: AFTER"]
    assert bob.greetings == 1
