"""Keys from a real terminal: a child process with a pseudo-terminal of its own."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import signal
import sys
import termios
import textwrap
import time
from collections.abc import Callable, Iterator

import pytest

PROGRAM = textwrap.dedent(
    """
    import asyncio, signal, sys
    from livereload_core.ui.keys import Keys

    async def main():
        loop = asyncio.get_running_loop()
        keys = Keys()
        done = loop.create_future()
        def on_key(key):
            print("key", key, flush=True)
            if key == "R":
                keys.release()
                print("line", sys.stdin.readline().strip(), flush=True)
                keys.reclaim()
                print("reclaimed", keys.reading, flush=True)
            if key == "q":
                done.set_result(None)
        loop.add_signal_handler(signal.SIGINT, lambda: print("interrupted", flush=True))
        keys.start(loop, on_key)
        print("reading", keys.reading, flush=True)
        await done
        if "leave" not in sys.argv:
            keys.close()
            keys.close()
            print("handler", signal.getsignal(signal.SIGTSTP) == signal.SIG_DFL, flush=True)

    asyncio.run(main())
    print("bye", flush=True)
    """
)

# A job-control shell in miniature. Without one, SIGTSTP stops nobody: an orphaned process group is spared.
SHELL = textwrap.dedent(
    """
    import os, signal, subprocess, sys, termios, time

    WAIT = "import os, time\\nwhile os.tcgetpgrp(0) != os.getpgrp(): time.sleep(0.005)\\n"
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    # SIG_IGN would be inherited; a shell gives its jobs the defaults back.
    job = subprocess.Popen(
        [sys.executable, "-c", WAIT + sys.argv[1]], process_group=0, restore_signals=True,
        preexec_fn=lambda: signal.signal(signal.SIGTTOU, signal.SIG_DFL),
    )
    os.tcsetpgrp(0, job.pid)
    _, status = os.waitpid(job.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status), status
    os.tcsetpgrp(0, os.getpgrp())
    flags = termios.tcgetattr(0)[3]
    print("stopped", (bool(flags & termios.ICANON), bool(flags & termios.ECHO)), flush=True)
    os.killpg(job.pid, signal.SIGCONT)
    os.waitid(os.P_PID, job.pid, os.WCONTINUED)
    # Whatever it does to the terminal in the background would stop it within this time.
    deadline = time.monotonic() + 0.3
    while time.monotonic() < deadline:
        assert os.waitpid(job.pid, os.WNOHANG | os.WUNTRACED) == (0, 0)
        time.sleep(0.02)
    assert termios.tcgetattr(0)[3] & termios.ICANON, "a background job changed the terminal"
    print("in the background: still running", flush=True)
    os.tcsetpgrp(0, job.pid)
    os.killpg(job.pid, signal.SIGCONT)
    print("in the foreground", flush=True)
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(job.pid, 0)[1]))
    """
)


class Terminal:
    """A pseudo-terminal with a program in its foreground."""

    def __init__(self, *args: str, program: str = PROGRAM) -> None:
        self.seen = ""
        # A spare handle on the terminal's own side keeps its modes readable after the program has gone.
        self.master, self.slave = pty.openpty()
        environ = {**os.environ, "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}
        argv = [sys.executable, "-c", _LEADER, os.ttyname(self.slave), program, *(args or (PROGRAM,))]
        self.pid = os.posix_spawn(sys.executable, argv, environ, setsid=True)
        self.status: int | None = None

    def modes(self) -> tuple[bool, bool]:
        """Whether the terminal is line-wise, and whether it echoes."""
        flags = termios.tcgetattr(self.slave)[3]
        return bool(flags & termios.ICANON), bool(flags & termios.ECHO)

    def press(self, keys: str) -> None:
        os.write(self.master, keys.encode())

    def expect(self, text: str, timeout: float = 15.0) -> None:
        deadline = time.monotonic() + timeout
        while text not in self.seen:
            ready, _, _ = select.select([self.master], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, f"no {text!r} in {self.seen!r}"
            self.seen += os.read(self.master, 4096).decode()
        self.seen = self.seen.partition(text)[2]

    def wait_until(self, fact: Callable[[], bool], timeout: float = 15.0) -> None:
        deadline = time.monotonic() + timeout
        while not fact():
            assert time.monotonic() < deadline, self.seen
            select.select([], [], [], 0.005)

    def stopped(self) -> bool:
        pid, status = os.waitpid(self.pid, os.WNOHANG | os.WUNTRACED)
        return pid == self.pid and os.WIFSTOPPED(status)

    def wait(self) -> int:
        self.expect("bye")
        _, status = os.waitpid(self.pid, 0)
        self.status = os.waitstatus_to_exitcode(status)
        return self.status

    def close(self) -> None:
        """Leave no process behind: closing the terminal sends SIGHUP to a job that is still there."""
        if self.status is None:
            with contextlib.suppress(ProcessLookupError, ChildProcessError):
                os.kill(self.pid, signal.SIGKILL)
                os.waitpid(self.pid, 0)
        os.close(self.master)
        os.close(self.slave)


# The first terminal that a session leader opens becomes its controlling one, its group the foreground.
_LEADER = textwrap.dedent(
    """
    import os, sys
    fd = os.open(sys.argv[1], os.O_RDWR)
    for target in (0, 1, 2):
        os.dup2(fd, target)
    os.execv(sys.executable, [sys.executable, "-c", *sys.argv[2:]])
    """
)


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    found = Terminal()
    try:
        found.expect("reading True")
        yield found
    finally:
        found.close()


def test_keys_arrive_without_enter_and_others_are_ignored(terminal: Terminal) -> None:
    assert terminal.modes() == (False, False)
    terminal.press("r")
    terminal.expect("key r")
    terminal.press("x\n\x1b[A\u00fch")
    terminal.press("h")
    terminal.expect("key h")
    terminal.press("q")
    terminal.expect("handler True")
    assert terminal.wait() == 0
    assert terminal.modes() == (True, True)


def test_ctrl_c_keeps_its_meaning(terminal: Terminal) -> None:
    terminal.press("\x03")
    terminal.expect("interrupted")


def test_the_program_can_read_a_line_while_the_terminal_is_released(terminal: Terminal) -> None:
    terminal.press("R")
    terminal.expect("key R")
    terminal.wait_until(lambda: terminal.modes() == (True, True))
    terminal.press("hq rR\n")
    terminal.expect("line hq rR")
    terminal.expect("reclaimed True")
    assert terminal.modes() == (False, False)


def test_the_terminal_is_restored_at_exit_even_if_nobody_closes() -> None:
    terminal = Terminal("leave")
    try:
        terminal.expect("reading True")
        terminal.press("q")
        assert terminal.wait() == 0
        terminal.wait_until(lambda: terminal.modes() == (True, True))
    finally:
        terminal.close()


def test_being_stopped_from_outside_is_survived(terminal: Terminal) -> None:
    os.kill(terminal.pid, signal.SIGSTOP)
    terminal.wait_until(terminal.stopped)
    modes = termios.tcgetattr(terminal.slave)
    modes[3] |= termios.ICANON | termios.ECHO  # as a shell does when a job stops
    termios.tcsetattr(terminal.slave, termios.TCSANOW, modes)
    os.kill(terminal.pid, signal.SIGCONT)
    terminal.wait_until(lambda: terminal.modes() == (False, False))
    terminal.press("r")
    terminal.expect("key r")


def test_ctrl_z_then_bg_then_fg_behaves_as_in_a_shell() -> None:
    terminal = Terminal(program=SHELL)
    try:
        terminal.expect("reading True")
        terminal.press("\x1a")
        terminal.expect("stopped (True, True)")  # what the shell finds
        terminal.expect("in the background: still running")
        terminal.expect("in the foreground")
        terminal.wait_until(lambda: terminal.modes() == (False, False))
        terminal.press("r")
        terminal.expect("key r")
        terminal.press("q")
        terminal.expect("handler True")
        assert terminal.wait() == 0
    finally:
        terminal.close()
