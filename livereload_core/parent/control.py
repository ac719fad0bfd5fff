r"""The control socket of a run: how ``livecore status``, ``reload`` and ``stop`` reach the parent.

One JSON object per line each way, one request per connection::

    client ── {"op": "status"}\n ──▶ parent
    client ◀── {"v": 1, ...}\n ──── parent          or {"v": 1, "error": "one sentence"}

What the handler of a run answers; ``v`` and ``pid`` (the parent's) are added to every answer:

    ========  ==================================================================================
    status    ``generation state target uptime listeners children last roots watching``
    reload    ``{"record": <as_json of the terminal record>}``, once there is one
    stop      ``{}``, before the run ends
    ...       those about state: see ``parent.states``
    ========  ==================================================================================

``hello`` is answered by the server itself: ``pid root cwd label`` tell runs apart.

Invariants:
    * The socket lies in a folder of mode 0700 that is ours, has mode 0600, and a peer of another user is
      turned away all the same (SO_PEERCRED): whoever may write here may run code as us.
    * A socket file appears only once somebody listens, so a refused connection proves that its run is dead;
      process ids prove nothing, they are reused and differ between containers that share a /tmp.
    * Nothing that a client does or fails to do raises into the parent.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import socket
import stat
import struct
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from livereload_core.errors import LivecoreError, UsageError

# `livecore status` is a client only and should not pay the 40 ms that asyncio takes to import.
if TYPE_CHECKING:
    import asyncio

__all__ = ["ControlServer", "RunInfo", "find_runs", "request", "socket_folder"]

CONTROL_VERSION = 1
_REQUEST_TIMEOUT = 5.0  # seconds a client has to say what it wants
_HELLO_TIMEOUT = 1.0  # seconds a run has to say who it is before it counts as silent
_FAREWELL = 0.25  # seconds that answers under way have to leave when the run ends
_UNIX_PATH_LIMIT = 107  # sun_path holds 108 bytes with its final null (unix(7))
_LONGEST_NAME = len(".0123456789abcdef-4194304.sock.new") + len("/livecore/")

Message = dict[str, Any]
Handler = Callable[[Message], Awaitable[Message]]


# --- where the sockets lie -------------------------------------------------------------------------


def socket_folder(environ: Mapping[str, str] = os.environ) -> str:
    """Return the folder for the sockets of our runs, made and checked.

    Raises:
        UsageError: it is not ours alone, or cannot be made.
    """
    runtime = environ.get("XDG_RUNTIME_DIR", "")
    fits = len(os.fsencode(runtime)) + _LONGEST_NAME <= _UNIX_PATH_LIMIT
    if os.path.isabs(runtime) and fits and os.path.isdir(runtime) and os.access(runtime, os.W_OK):
        return _make_private(os.path.join(runtime, "livecore"))
    return _make_private(f"/tmp/livecore-{os.getuid()}")  # checked right there


def _make_private(folder: str) -> str:
    try:
        with contextlib.suppress(FileExistsError):
            os.mkdir(folder, 0o700)
        # lstat: in /tmp another user may have planted a link under our name.
        found = os.lstat(folder)
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
            raise UsageError(
                f"control folder {folder!r} belongs to somebody else",
                advice="remove it or point XDG_RUNTIME_DIR at a folder of your own",
            )
        if stat.S_IMODE(found.st_mode) != 0o700:
            os.chmod(folder, 0o700)
    except OSError as error:
        raise UsageError(
            f"control folder {folder!r} cannot be made: {error.strerror}",
            advice="point XDG_RUNTIME_DIR at a writable folder of your own",
        ) from error
    return folder


def _key(root: str) -> str:
    identity = os.fsencode(os.path.realpath(root)) + b"\0%d" % os.getuid()
    return hashlib.blake2b(identity, digest_size=8).hexdigest()


def _sockets(environ: Mapping[str, str]) -> Iterator[tuple[str, str, int]]:
    """Yield ``(path, key, pid)`` of every socket file that a run of ours may have left anywhere.

    All folders are searched: the run may have been started with another environment (ssh, sudo, cron).
    """
    uid = os.getuid()
    bases = (environ.get("XDG_RUNTIME_DIR", ""), f"/run/user/{uid}")
    folders = [os.path.join(base, "livecore") for base in bases if os.path.isabs(base)]
    for folder in dict.fromkeys([*folders, f"/tmp/livecore-{uid}"]):
        try:
            if os.lstat(folder).st_uid != uid:
                continue
            names = sorted(os.listdir(folder))
        except OSError:  # no such folder, no runs in it
            continue
        for name in names:
            key, _, pid = name.removesuffix(".sock").partition("-")
            if name.endswith(".sock") and not name.startswith(".") and pid.isdecimal():
                yield os.path.join(folder, name), key, int(pid)


# --- the server, in the parent ---------------------------------------------------------------------


class ControlServer:
    """Answers the clients of one run.

    Args:
        root: the project root; clients find the run by it.
        handle: turns a request into its answer. A LivecoreError that it raises becomes the client's error.
        label: what tells this run from others of the project, usually its target.
    """

    def __init__(self, root: str, handle: Handler, *, label: str = "") -> None:
        self._root = os.path.realpath(root)
        self._handle = handle
        self._label = label
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._inode = 0
        self.path = ""
        """The socket file while the server runs."""

    async def start(self) -> None:
        """Begin to listen, and clear away what dead runs left.

        Raises:
            UsageError: there is no safe place for the socket. The run itself can go on without.
        """
        import asyncio

        folder = socket_folder()
        for path, _, _ in list(_sockets(os.environ)):
            if os.path.dirname(path) == folder:
                _connects(path)
        path = os.path.join(folder, f"{_key(self._root)}-{os.getpid()}.sock")
        try:
            sock = _listen(path)
        except OSError as error:
            raise UsageError(
                f"control socket {path!r} cannot be made: {error.strerror}",
                advice="point XDG_RUNTIME_DIR at a writable folder of your own",
            ) from error
        self._inode = os.stat(path).st_ino
        self.path = path
        self._server = await asyncio.start_unix_server(self._serve, sock=sock)

    async def close(self) -> None:
        """Stop listening, let answers under way leave, remove the file. Safe to call twice."""
        import asyncio

        server, self._server = self._server, None
        if server is None:
            return
        server.close()
        with contextlib.suppress(OSError):
            # Only our own file: a later run with our process id may have put its own there.
            if os.stat(self.path).st_ino == self._inode:
                os.unlink(self.path)
        others = {task for task in self._tasks if task is not asyncio.current_task()}
        if others:
            _, late = await asyncio.wait(others, timeout=_FAREWELL)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late, timeout=_FAREWELL)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        import asyncio

        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            if not _is_ours(writer.get_extra_info("socket")):
                return
            async with asyncio.timeout(_REQUEST_TIMEOUT):
                line = await reader.readline()
            if line.endswith(b"\n"):
                answer = await self._answer(line)
                writer.write(
                    json.dumps({"v": CONTROL_VERSION, "pid": os.getpid(), **answer}).encode() + b"\n"
                )
                await writer.drain()
        except (OSError, ValueError, TimeoutError):
            # It went away, sent megabytes without a newline, or said nothing: its own loss, it sees the EOF.
            pass
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _answer(self, line: bytes) -> Message:
        import asyncio

        try:
            message = json.loads(line)
        except ValueError:
            return {"error": "the request is not JSON"}
        if not isinstance(message, dict) or not isinstance(message.get("op"), str):
            return {"error": 'the request has no "op"'}
        if message["op"] == "hello":
            return {"root": self._root, "cwd": os.getcwd(), "label": self._label}
        try:
            return await self._handle(message)
        except LivecoreError as error:
            return {"error": str(error)}
        except Exception as error:
            # A bug of ours: the loop's exception handler reports it, the client learns that there is one.
            asyncio.get_running_loop().call_exception_handler(
                {"message": f"control request {message['op']!r} failed", "exception": error}
            )
            return {"error": f"livecore failed at {message['op']!r}: {error!r}; its own output tells more"}


def _listen(path: str) -> socket.socket:
    """Bind under another name and move the file once it is private and somebody listens."""
    fresh = os.path.join(os.path.dirname(path), f".{os.path.basename(path)}.new")
    with contextlib.suppress(FileNotFoundError):
        os.unlink(fresh)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.bind(fresh)
        os.chmod(fresh, 0o600)
        sock.listen(16)
        sock.setblocking(False)
        os.rename(fresh, path)
    except OSError:
        sock.close()
        raise
    return sock


def _is_ours(sock: Any) -> bool:
    """Tell whether the peer runs as us (or as root, who may do anything anyway)."""
    if not hasattr(socket, "SO_PEERCRED"):  # not Linux: the folder's mode keeps others out
        return True
    try:
        raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    except OSError:
        return False
    _pid, uid, _gid = struct.unpack("3i", raw)
    return uid in (os.getuid(), 0)


# --- the client, in `livecore status` and its like -------------------------------------------------


@dataclasses.dataclass(frozen=True, slots=True)
class RunInfo:
    """A run that is alive.

    Attributes:
        pid: its parent process.
        root: its project root, ``""`` while it is too busy to answer.
        cwd: where it was started.
        label: its target.
        path: its control socket.
        exact: whether it belongs to the project that was asked for, by its very root.
    """

    pid: int
    root: str
    cwd: str
    label: str
    path: str
    exact: bool

    def __str__(self) -> str:
        return (
            f"pid {self.pid}"
            + (f" ({self.label})" * bool(self.label))
            + (f" in {self.root}" * bool(self.root))
        )


def find_runs(root: str, environ: Mapping[str, str] = os.environ) -> list[RunInfo]:
    """Return all live runs of this user, those of the project at ``root`` first; dead sockets are removed."""
    mine = _key(root)
    runs = []
    for path, key, pid in _sockets(environ):
        if not _connects(path):
            continue
        try:
            hello = _ask(path, {"op": "hello"}, _HELLO_TIMEOUT)
        except (LivecoreError, OSError):  # busy or just ending: it is listed, the request itself will tell
            hello = {}
        told = {name: str(hello.get(name, "")) for name in ("root", "cwd", "label")}
        runs.append(RunInfo(pid=pid, path=path, exact=key == mine, **told))
    return sorted(runs, key=lambda run: (not run.exact, run.pid))


def request(
    root: str, message: Message, *, pid: int | None = None, timeout: float | None = 10.0, cwd: str = ""
) -> Message:
    """Ask the run of a project and wait for its answer.

    Args:
        root: the project root.
        message: the request; ``op`` says which.
        pid: the run that is meant, needed where the project has several.
        timeout: seconds to wait for the answer; ``None`` waits as long as it takes.
        cwd: also takes the run that was started in this folder, when the project itself has none.

    Returns:
        the answer, without ``error``.

    Raises:
        UsageError: no run, or several, and no ``pid`` to choose.
        LivecoreError: the run refused, ended or did not answer in time.
    """
    run = _choose(find_runs(root), root, pid, cwd)
    try:
        answer = _ask(run.path, message, timeout)
    except TimeoutError as error:
        raise LivecoreError(f"the run with {run} did not answer within {timeout:g} seconds") from error
    except OSError as error:
        raise LivecoreError(f"the run with {run} cannot be reached: {error.strerror or error}") from error
    if "error" in answer:
        raise LivecoreError(str(answer["error"]))
    return answer


def _choose(runs: list[RunInfo], root: str, pid: int | None, cwd: str) -> RunInfo:
    if pid is not None:
        found = [run for run in runs if run.pid == pid]
    else:
        # A script in a folder of its own has that folder as its root: look from where it was started, too.
        found = [run for run in runs if run.exact] or [run for run in runs if cwd and run.cwd == cwd]
    if len(found) == 1:
        return found[0]
    listed = "; ".join(map(str, found or runs))
    if found:
        raise UsageError(
            f"{len(found)} runs belong to this project: {listed}", advice="choose one with --pid"
        )
    what = f"no run has pid {pid}" if pid is not None else f"nothing runs in {root}"
    if runs:
        raise UsageError(f"{what}; elsewhere: {listed}", advice="choose one with --pid")
    raise UsageError(what, advice="start it with `livecore run TARGET`")


def _connects(path: str) -> bool:
    """Tell whether somebody listens at ``path``; if not, remove the file."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.setblocking(False)
        try:
            sock.connect(path)
        except ConnectionRefusedError:
            with contextlib.suppress(OSError):
                os.unlink(path)
            return False
        except BlockingIOError:  # its backlog is full: alive, and very busy
            return True
        except OSError:  # gone in the meantime, or not a socket of ours
            return False
    return True


def _ask(path: str, message: Message, timeout: float | None) -> Message:
    """Send one request and read one answer.

    Raises:
        OSError: the socket failed, TimeoutError included.
        LivecoreError: the run ended first, or spoke something else.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    received = bytearray()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(timeout)
        sock.connect(path)
        sock.sendall(json.dumps(message).encode() + b"\n")
        while not received.endswith(b"\n"):
            if deadline is not None:
                # A zero would mean non-blocking.
                sock.settimeout(max(deadline - time.monotonic(), 0.001))
            chunk = sock.recv(65536)
            if not chunk:
                raise LivecoreError("the run ended before it answered")
            received += chunk
    try:
        answer = json.loads(received)
    except ValueError as error:
        raise LivecoreError(f"{path} answered what is not JSON: is this another program's socket?") from error
    if not isinstance(answer, dict):
        raise LivecoreError(f"{path} answered {answer!r}, which is no answer of livecore")
    return answer
