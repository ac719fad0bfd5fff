r"""Single keys from the terminal: r, R, h and q, without Enter.

The terminal is shared: with the shell, with other jobs, and with the user's program, whose ``input()`` and
``breakpoint()`` must find it as they would without us.

Invariants:
    * Whoever else gets the terminal gets it as we found it: at release, suspension, exit and close.
    * It is read and changed only while we are in its foreground: a background job that tries is stopped by
      the kernel (SIGTTIN, SIGTTOU), and with it everything that is being served.
    * Ctrl-C, Ctrl-Z and Ctrl-\ keep their meaning (ISIG stays on).
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import termios
from collections.abc import Callable
from types import FrameType
from typing import Any, Protocol

__all__ = ["KEYS", "Keys"]

KEYS = {
    "r": "reload now",
    "R": "reset the preserved state and reload",
    "h": "this help",
    "q": "quit",
}

_LFLAG, _CC = 3, 6  # indices of termios.tcgetattr()


class Loop(Protocol):
    """What is needed of an asyncio loop."""

    def add_reader(self, fd: int, callback: Callable[..., Any], *args: Any) -> None:
        """Call back whenever ``fd`` can be read."""

    def remove_reader(self, fd: int) -> bool:
        """Stop that."""


class Keys:
    """Reads single keys while nobody else needs the terminal.

    Args:
        stdin: the descriptor that is read.
        stdout: the descriptor that shows the answers; both must be terminals.

    Use from the main thread: it handles SIGTSTP and SIGCONT.
    """

    def __init__(self, *, stdin: int = 0, stdout: int = 1) -> None:
        self._loop: Loop | None = None
        self._on_key: Callable[[str], None] = _nobody
        self._stdin = stdin
        self._stdout = stdout
        self._found: list[Any] | None = None  # the terminal as it was before us
        self._previous: dict[int, Any] = {}
        self._owner = os.getpid()
        self._released = False
        self.reading = False
        """Whether keys are being read at this moment."""

    def start(self, loop: Loop, on_key: Callable[[str], None]) -> None:
        """Begin to read keys, if there is a terminal; in the background not before ``fg``.

        Args:
            loop: watches the terminal.
            on_key: called in the loop with one of :data:`KEYS`.
        """
        self._loop, self._on_key = loop, on_key
        if not (_is_terminal(self._stdin) and _is_terminal(self._stdout)):
            return
        if not self._previous:
            self._previous = {
                signal.SIGTSTP: signal.signal(signal.SIGTSTP, self._on_suspend),
                signal.SIGCONT: signal.signal(signal.SIGCONT, self._on_continue),
            }
            atexit.register(self._restore)
        self._released = False
        self._enter()

    def release(self) -> None:
        """Leave the terminal to the program, as we found it."""
        self._released = True
        self._leave()

    def reclaim(self) -> None:
        """Read keys again after :meth:`release`; not while we are in the background or closed."""
        self._released = False
        if self._previous:
            self._enter()

    def close(self) -> None:
        """Give the terminal and the signals back for good. Safe to call twice."""
        self._leave()
        for number, handler in self._previous.items():
            # None: installed by somebody's C code, which Python cannot put back.
            with contextlib.suppress(ValueError):
                signal.signal(number, signal.SIG_DFL if handler is None else handler)
        self._previous = {}
        atexit.unregister(self._restore)

    # -- the terminal -------------------------------------------------------------------------------

    def _in_foreground(self) -> bool:
        try:
            return os.tcgetpgrp(self._stdin) == os.getpgrp()
        except OSError:  # the terminal is gone, or not our controlling one
            return False

    def _enter(self) -> None:
        if self.reading or self._loop is None or not self._in_foreground():
            return
        try:
            now = termios.tcgetattr(self._stdin)
            # A program that was killed in raw mode leaves the terminal so; that is not how we found it.
            if self._found is None or now[_LFLAG] & termios.ICANON:
                self._found = now
            single = [*self._found[:_CC], list(self._found[_CC])]
            single[_LFLAG] &= ~(termios.ICANON | termios.ECHO)
            single[_CC][termios.VMIN] = 1
            single[_CC][termios.VTIME] = 0
            self._set(single)
        except termios.error:
            return
        self._loop.add_reader(self._stdin, self._on_readable)
        self.reading = True

    def _leave(self) -> None:
        if not self.reading:
            return
        self.reading = False
        # A loop that is closed already watches nothing; its registration needs no undoing.
        with contextlib.suppress(RuntimeError, OSError, ValueError):
            assert self._loop is not None
            self._loop.remove_reader(self._stdin)
        self._set_as_found()

    def _restore(self) -> None:
        """At exit, however it came: the loop may be gone, the terminal is not."""
        if self.reading and os.getpid() == self._owner:
            self.reading = False
            self._set_as_found()

    def _set_as_found(self) -> None:
        # In the background the terminal belongs to another job, with modes of its own: hands off.
        if self._found is None or not self._in_foreground():
            return
        try:
            self._set(self._found)
        except termios.error:
            pass  # closed terminal: nobody is there to miss it

    def _set(self, modes: list[Any]) -> None:
        # The terminal may be taken from us between the question and the act: then SIGTTOU would stop us.
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTOU})
        try:
            # TCSANOW: TCSADRAIN waits for the output, for ever after Ctrl-S, and TCSAFLUSH eats early keys.
            termios.tcsetattr(self._stdin, termios.TCSANOW, modes)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)

    # -- events -------------------------------------------------------------------------------------

    def _on_readable(self) -> None:
        if not self._in_foreground():
            self._leave()  # SIGCONT or reclaim() brings us back
            return
        try:
            data = os.read(self._stdin, 256)
        except BlockingIOError:
            return
        except OSError:  # the terminal was closed; SIGHUP tells the supervisor
            data = b""
        if not data:
            self._leave()
            return
        if data.startswith(b"\x1b"):  # an arrow, a function key, a paste bracket: none of ours
            return
        for char in data.decode("ascii", "replace"):
            # A key may release or close us; what was typed after it was meant for others, and is lost.
            if char in KEYS and self.reading:
                self._on_key(char)

    def _on_suspend(self, number: int, frame: FrameType | None) -> None:
        """Ctrl-Z: put the terminal in order, then really stop, here, until SIGCONT."""
        self._leave()
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTSTP)
        # Continued. With other threads kill() may return before the stop; SIGCONT's handler enters again.
        signal.signal(signal.SIGTSTP, self._on_suspend)
        self._on_continue(signal.SIGCONT, frame)

    def _on_continue(self, number: int, frame: FrameType | None) -> None:
        """After SIGTSTP or SIGSTOP: the shell has set the terminal to its own liking meanwhile."""
        if self._previous and not self._released:
            self._leave()
            self._enter()


def _nobody(key: str) -> None:
    """Stand in for who listens, before there is anybody."""


def _is_terminal(fd: int) -> bool:
    try:
        return os.isatty(fd)
    except OSError:
        return False
