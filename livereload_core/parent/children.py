"""One child as the parent sees it: process, control channel, and the end of both.

Invariants:
    * A handle is closed exactly once, after its process was reaped; then no fd of it is left here.
    * The exit of a process is reported after every message that it had sent, so that "I failed because ..."
      always comes before "it ended".
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence

from livereload_core.errors import ProtocolViolationError
from livereload_core.posix import process
from livereload_core.posix.channel import ChannelClosedError, StreamChannel
from livereload_core.wire.messages import Message

__all__ = ["CHILD_MODULE", "GenerationHandle"]

CHILD_MODULE = "livereload_core.child"

OnMessage = Callable[["GenerationHandle", Message, list[int]], None]
OnExit = Callable[["GenerationHandle", int], None]


class GenerationHandle:
    """A running child.

    Args:
        number: the name that the machine gave it.
        env: its environment.
        on_message: called in the loop for each message; it owns the fds.
        on_exit: called once, in the loop, with the return code (negative: the signal).

    Attributes:
        wanted, warmed: how many modules it was to import ahead, and how many it has; -1 before it said so.
        begun: whether it may have run some of the user's code.
        spared: processes that it started and that go on with the state when it ends.

    Raises:
        OSError: no process, memory or fd left to start it.
    """

    def __init__(
        self,
        number: int,
        *,
        cwd: str,
        env: Mapping[str, str],
        loop: asyncio.AbstractEventLoop,
        on_message: OnMessage,
        on_exit: OnExit,
    ) -> None:
        self.number = number
        self.env = env
        self.wanted, self.warmed = 0, -1
        self.begun = False
        self._loop = loop
        self._on_message = on_message
        self._on_exit = on_exit
        self.spared: frozenset[int] = frozenset()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            with theirs:
                self._process = process.spawn(CHILD_MODULE, theirs, cwd=cwd, env=env)
        except BaseException:
            ours.close()
            raise
        self.pid = self._process.pid
        self._channel: StreamChannel | None = StreamChannel(ours, self._stalled)
        loop.add_reader(ours.fileno(), self._readable)
        self._pidfd = process.pidfd_open(self.pid)
        if self._pidfd is not None:
            loop.add_reader(self._pidfd, self._ended)
        else:
            threading.Thread(target=self._wait_in_thread, daemon=True).start()

    def send(self, message: Message, fds: Sequence[int] = ()) -> None:
        """Send without blocking; to a child that is gone it is a no-op, its exit tells."""
        if self._channel is not None:
            self._channel.send(message, fds)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, unless the process was reaped already."""
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill_tree(self, *, spare: bool = True) -> None:
        """SIGKILL the child and everything that it started, save (unless told so) what goes on without it."""
        pids = process.descendants(self.pid, self.spared if spare else frozenset())
        self.signal(signal.SIGKILL)
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def abandon(self) -> None:
        """End a child that nobody waits for any more; its messages and its exit are not reported."""
        self._on_message = _ignore_message
        self._on_exit = _ignore_exit
        self.kill_tree()

    # -- loop callbacks -----------------------------------------------------------------------------

    def _stalled(self, stalled: bool) -> None:
        assert self._channel is not None
        if stalled:
            self._loop.add_writer(self._channel.fileno(), self._channel.flush)
        else:
            self._loop.remove_writer(self._channel.fileno())

    def _readable(self) -> bool:
        """Read once; returns whether there may be more."""
        if self._channel is None:
            return False
        try:
            received = self._channel.read()
        except ChannelClosedError:
            # The program closed its fds, or is ending: without a channel it cannot be led any more.
            self._close_channel()
            self.kill_tree()
            return False
        except ProtocolViolationError:
            self._close_channel()
            self.kill_tree()
            raise
        for message, fds in received:
            self._on_message(self, message, fds)
        return bool(received)

    def _ended(self) -> None:
        with contextlib.suppress(ProtocolViolationError):  # the exit that follows is what tells of it
            while self._readable():
                pass
        self._finish(self._process.wait())

    def _wait_in_thread(self) -> None:
        code = self._process.wait()
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is left to be told
            self._loop.call_soon_threadsafe(self._finish, code)

    def _finish(self, code: int) -> None:
        self._close_channel()
        if self._pidfd is not None:
            self._loop.remove_reader(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = None
        self._on_exit(self, code)

    def _close_channel(self) -> None:
        if self._channel is not None:
            self._loop.remove_reader(self._channel.fileno())
            self._loop.remove_writer(self._channel.fileno())
            self._channel.close()
            self._channel = None


def _ignore_message(handle: GenerationHandle, message: Message, fds: list[int]) -> None:
    for fd in fds:
        os.close(fd)


def _ignore_exit(handle: GenerationHandle, code: int) -> None:
    pass


def end_all(handles: Sequence[GenerationHandle], timeout: float = 2.0) -> None:
    """Last resort when the loop is gone: kill what is left and reap it."""
    for handle in handles:
        handle.kill_tree(spare=False)
    for handle in handles:
        with contextlib.suppress(subprocess.TimeoutExpired):
            handle._process.wait(timeout)
