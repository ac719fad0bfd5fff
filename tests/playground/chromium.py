"""A real page in a headless Chromium, driven through the DevTools protocol.

Invariants:
    * The browser has a profile of its own, and has ended with all its processes when the ``with`` block ends.
    * Nothing is asked of the network but the page.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from websockets.sync.client import ClientConnection, connect

from livereload_core.testing import until

__all__ = ["CHROMIUM", "Page"]

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
"""The program; None where there is none."""

_OPTIONS = (
    "--headless",
    "--no-sandbox",  # it refuses to run as root with it
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",  # /dev/shm is small in containers
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-background-timer-throttling",
    "--remote-debugging-port=0",
)
_PATIENCE = 60.0
"""Seconds for the start of the browser on a busy machine."""


class Page:
    """One page.

    Args:
        url: what is opened.
        folder: an empty folder for the profile of the browser.
    """

    def __init__(self, url: str, folder: Path) -> None:
        self._url = url
        self._folder = folder
        self._log = folder / "chromium.log"
        self._browser: subprocess.Popen[bytes] | None = None
        self._stack = ExitStack()
        self._tools: ClientConnection | None = None
        self._asked = 0

    def __enter__(self) -> Self:
        assert CHROMIUM is not None, "there is no Chromium"
        self._folder.mkdir(parents=True, exist_ok=True)
        with self._log.open("wb") as log:
            self._browser = subprocess.Popen(
                [CHROMIUM, *_OPTIONS, f"--user-data-dir={self._folder / 'profile'}", "about:blank"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            self._open()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the browser at once."""
        self._stack.close()
        if self._browser is not None:
            try:
                os.killpg(self._browser.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass  # it has ended by itself
            self._browser.wait(10)
            self._browser = None

    def run(self, script: str) -> Any:
        """Run JavaScript in the page and return its value, once it is there if it is a promise.

        Raises:
            AssertionError: the script threw.
        """
        said = self._ask("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in said, said["exceptionDetails"]
        return said["result"].get("value")

    def text(self, element: str) -> str:
        """Return the text of the element with this id."""
        found = self.run(f"document.getElementById({json.dumps(element)}).textContent")
        assert isinstance(found, str)
        return found

    def submit(self, form: str, field: str, value: str) -> None:
        """Fill a field and send its form, as a person does."""
        self.run(
            f"document.getElementById({json.dumps(field)}).value = {json.dumps(value)};"
            f"document.getElementById({json.dumps(form)}).requestSubmit()"
        )

    def _open(self) -> None:
        # The browser writes the port that the kernel gave it, and the path of its own target.
        said = self._folder / "profile" / "DevToolsActivePort"
        port, path = until(
            lambda: said.read_text().split() if said.exists() else [],
            timeout=_PATIENCE,
            what="a browser that can be driven",
            context=lambda: self._log.read_text(errors="replace")[-2000:],
        )
        with connect(f"ws://127.0.0.1:{port}{path}", proxy=None) as browser:
            browser.send(json.dumps({"id": 1, "method": "Target.createTarget", "params": {"url": self._url}}))
            target = json.loads(browser.recv(_PATIENCE))["result"]["targetId"]
        self._tools = self._stack.enter_context(
            connect(f"ws://127.0.0.1:{port}/devtools/page/{target}", proxy=None, max_size=None)
        )
        until(
            lambda: self.run("document.readyState") == "complete" and self.run("location.href") == self._url,
            timeout=_PATIENCE,
            what="a page that is loaded",
        )

    def _ask(self, method: str, **parameters: Any) -> Any:
        assert self._tools is not None, "the page is not open"
        self._asked += 1
        self._tools.send(json.dumps({"id": self._asked, "method": method, "params": parameters}))
        while True:
            said = json.loads(self._tools.recv(_PATIENCE))
            if said.get("id") == self._asked:
                assert "error" not in said, said["error"]
                return said["result"]
