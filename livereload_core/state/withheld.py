"""Files that new code opens to write them anew, before it is known whether the kept one takes their place.

``preserve("log", lambda: open("log.txt", "w"))`` runs its factory in each generation, before the state is
there, and so does a module-level instance of a class under ``@preserve``. At that moment the file is still
that of the program that serves, and the new code may yet be turned down. So what is there is opened without
being emptied, and what the program writes goes into an anonymous file first::

    open(path, "w") ──▶ file object ──fd──▶ anonymous file          the file at path: open, and untouched
                             │
           the state has come: is the file at path part of it?
                 ├─ yes ─────▶ the fresh file object is of no use: what it was given is forgotten
                 └─ no ──────▶ the file at path is emptied, given what was written, and put under the object

Invariants:
    * A file that came over with the state is not touched, whatever the new code's factories do with its path.
    * What the factory itself closes or drops was no part of its object: it is written at once, as ever.
    * A file that was not there before, a pipe or a device is opened as ever: there is nothing to lose.
    * The file object is an ordinary one, and nothing of this module is left on it once it is decided.
"""

from __future__ import annotations

import builtins
import contextlib
import errno
import io
import os
import stat
import sys
import threading
from collections.abc import Callable, Collection, Iterator
from types import FrameType
from typing import Any

__all__ = ["Withheld"]

_CONSTRUCTORS = ("__init__", "__new__", "__post_init__")
_CHUNK = 1 << 20


class Withheld:
    """Those of this process that are not decided yet.

    Args:
        is_kept: whether instances of a class are kept by their class's declaration.
    """

    def __init__(self, is_kept: Callable[[type], bool]) -> None:
        self._is_kept = is_kept
        self._here = threading.local()
        self._files: list[_File] = []
        self._stand_ins: list[tuple[Any, _Open]] = []
        self._users = 0
        self._watches = False

    @contextlib.contextmanager
    def making(self, key: str) -> Iterator[None]:
        """Withhold what this thread opens in the block: it makes the object of a root that is awaited."""
        before = getattr(self._here, "key", None)
        self._here.key = key
        self._install()
        known = len(self._files)
        try:
            yield
        except BaseException:
            self._forget(self._made_for(key, known))  # there is no object that they would belong to
            raise
        finally:
            self._here.key = before
            self._uninstall()
        for file in self._made_for(key, known):
            if file.is_unheld:  # as in open(path, "w").write(text): nobody has closed it, but it was meant
                self._files.remove(file)
                file.write()

    def _made_for(self, key: str, known: int) -> list[_File]:
        return [file for file in self._files[known:] if file.key == key]

    def watch(self) -> None:
        """Withhold what instances of kept classes open as they are made, till :meth:`unwatch`. Idempotent."""
        if not self._watches:
            self._watches = True
            self._install()

    def unwatch(self) -> None:
        """Let every file be opened as ever. Idempotent."""
        if self._watches:
            self._watches = False
            self._uninstall()

    def decide(self, carried: Callable[[], Collection[int]], is_awaited: Callable[[str], bool]) -> None:
        """The state has come, or more of it: decide on every file whose root is not awaited any more.

        Args:
            carried: returns the fds that came over with it.
            is_awaited: whether a root may still be filled; asked with ``""`` for what no factory has made.

        Raises:
            OSError: what was written does not fit on the disk.
        """
        decided = [file for file in self._files if not is_awaited(file.key)]
        if not decided:
            return
        kept = {_identity(fd) for fd in carried()}
        for file in decided:
            self._files.remove(file)
            if file.is_unheld or _identity(file.real) in kept:
                file.forget()
            else:
                file.write()

    def forget(self) -> None:
        """This process will never serve: leave every file as it is. Idempotent."""
        self._forget(self._files)

    def _forget(self, files: list[_File]) -> None:
        for file in list(files):
            self._files.remove(file)
            file.forget()

    # -- opening ------------------------------------------------------------------------------------

    def _install(self) -> None:
        self._users += 1
        if self._users == 1:
            self._stand_ins = [(module, _Open(self, module.open)) for module in (builtins, io)]
            for module, stand_in in self._stand_ins:
                module.open = stand_in

    def _uninstall(self) -> None:
        self._users -= 1
        if self._users:
            return
        for module, stand_in in self._stand_ins:
            if module.open is stand_in:  # nobody else has put another one there meanwhile
                module.open = stand_in.usual

    def concerns(self, mode: object, frame: FrameType | None) -> str | None:
        """Return for which root a file is opened, ``""`` for an instance of a class; ``None`` for neither."""
        if not isinstance(mode, str) or "w" not in mode or not hasattr(os, "memfd_create"):
            return None
        key: str | None = getattr(self._here, "key", None)
        if key is not None or not self._watches:
            return key
        while frame is not None:
            code = frame.f_code
            if code.co_name in _CONSTRUCTORS and code.co_argcount:
                made = frame.f_locals.get(code.co_varnames[0])
                if self._is_kept(made if isinstance(made, type) else type(made)):
                    return ""
            frame = frame.f_back
        return None

    def add(self, file: _File) -> None:
        """Decide on a file later."""
        self._files.append(file)

    def closes(self, file: _File) -> None:
        """A file is closed before it was decided on."""
        if file not in self._files:
            return
        self._files.remove(file)
        if sys.is_finalizing():  # not by the program
            file.forget()
        else:
            file.write()


class _Open:
    """Stands in the place of ``open`` while kept objects are made; pickled as ``open``, for some keep it.

    Args:
        withheld: decides.
        usual: what it stands in the place of.
    """

    def __init__(self, withheld: Withheld, usual: Callable[..., Any]) -> None:
        self._withheld = withheld
        self.usual = usual

    def __reduce__(self) -> tuple[Callable[[], Any], tuple[()]]:
        return _usual_open, ()

    def __call__(
        self,
        file: Any,
        mode: str = "r",
        buffering: int = -1,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
        closefd: bool = True,
        opener: Callable[[Any, int], int] | None = None,
    ) -> Any:
        key = self._withheld.concerns(mode, sys._getframe(1))
        rest = buffering, encoding, errors, newline, closefd
        if key is None or isinstance(file, int):
            return self.usual(file, mode, *rest, opener)
        withheld = _File(key, self._withheld, opener)
        try:
            made = self.usual(file, mode, *rest, withheld.open)
        except BaseException:
            withheld.forget()
            raise
        if withheld.is_open:
            withheld.attach(made)
        return made


def _usual_open() -> Any:
    return open


class _File:
    """One file that was opened to be written anew.

    Args:
        key: of the root, ``""`` if a class made it.
        owner: decides on it.
        opener: of the program, if it has one of its own.

    Attributes:
        real: fd of the file at its path; -1 if there is nothing to withhold.
    """

    def __init__(self, key: str, owner: Withheld, opener: Callable[[Any, int], int] | None) -> None:
        self.key = key
        self.real = -1
        self._owner = owner
        self._opener = opener
        self._fd = -1
        self._made: Any = None

    @property
    def is_open(self) -> bool:
        """Whether there is something to decide on."""
        return self.real >= 0

    @property
    def is_unheld(self) -> bool:
        """Whether the program has let go of the file object."""
        return sys.getrefcount(self._made) <= _UNHELD

    def open(self, path: Any, flags: int) -> int:
        """Open what is at a path without emptying it; return the fd for the file object."""
        flags &= ~os.O_TRUNC
        if self._opener is not None:
            fd = self._opener(path, flags)
            found = os.fstat(fd)
            is_new = not found.st_size
        else:
            try:
                return os.open(path, flags | os.O_EXCL, 0o666)  # nothing is there yet
            except FileExistsError:
                fd = os.open(path, flags, 0o666)
            found, is_new = os.fstat(fd), False
        if is_new or not stat.S_ISREG(found.st_mode):
            return fd
        self.real = fd
        self._fd = os.memfd_create(f"livecore-withheld-{found.st_ino}", os.MFD_CLOEXEC)
        return self._fd

    def attach(self, made: Any) -> None:
        """Learn of the file object, and hear when it is closed."""
        self._made = made
        vars(self._raw)["close"] = self._close
        self._owner.add(self)

    @property
    def _raw(self) -> Any:
        buffer = getattr(self._made, "buffer", self._made)
        return getattr(buffer, "raw", buffer)

    def _close(self) -> None:
        raw = self._raw
        try:
            self._owner.closes(self)
        finally:
            self._detach()
            raw.close()

    def _detach(self) -> None:
        made, raw, self._made = self._made, self._raw, None
        if made is not None:
            vars(raw).pop("close", None)

    def forget(self) -> None:
        """Leave the file at its path as it is. Idempotent."""
        if self.real >= 0:
            os.close(self.real)
            self.real = -1
        if self._made is not None and self.is_unheld:
            with contextlib.suppress(OSError):  # no memory for what nobody reads
                self._made.close()
        self._detach()

    def write(self) -> None:
        """Do to the file at its path what the program has done, and put it under the object.

        Raises:
            OSError: it does not fit on the disk.
        """
        real, self.real = self.real, -1
        try:
            os.ftruncate(real, 0)
            offset = 0
            while chunk := os.pread(self._fd, _CHUNK, offset):
                offset += len(chunk)
                _write_all(real, chunk)
            os.lseek(real, os.lseek(self._fd, 0, os.SEEK_CUR), os.SEEK_SET)
            os.dup2(real, self._fd, inheritable=False)
        finally:
            os.close(real)
            self._detach()


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def _unheld() -> int:
    class Owner:
        made = object()

    return sys.getrefcount(Owner().made)


_UNHELD = _unheld()
"""What ``sys.getrefcount`` says of an object that only one attribute holds."""


def _identity(fd: int) -> tuple[int, int] | None:
    try:
        found = os.fstat(fd)
    except OSError as error:
        if error.errno != errno.EBADF:
            raise
        return None
    return found.st_dev, found.st_ino
