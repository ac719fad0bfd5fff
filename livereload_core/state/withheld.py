"""Files that new code opens to write them anew, before it is known whether the kept one takes their place.

``preserve("log", lambda: open("log.txt", "w"))`` runs its factory in each generation, before the state is
there, and so does a module-level instance of a class under ``@preserve``. At that moment the file is still
that of the program that serves, and the new code may yet be turned down. So what is there is opened without
being emptied, and what the program writes goes into an anonymous file first::

    open(path, "w") ──▶ file object ──fd──▶ anonymous file          the file at path: open, and untouched
                             │
           the state has come: is the file at path part of it?
                 ├─ yes ─────▶ an object that is in use goes on in the kept file, where that is
                 └─ no ──────▶ at COMMIT the file at path is emptied, given what was written, and put under
                               the object, if that is in use

Invariants:
    * A file that came over with the state is not emptied, whatever the new code's factories do with its path.
    * No other one is before COMMIT, or the old program may come back to it.
    * What the factory itself closes or drops was no part of its object: it is written at once, as ever.
    * A file that was not there before, a pipe or a device is opened as ever: there is nothing to lose.
    * The file object is an ordinary one, and nothing of this module is left on it once it is decided.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
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
_NAMES = (("builtins", "open"), ("io", "open"), ("tarfile", "bltn_open"), ("bz2", "_builtin_open"))
"""Where programs and the standard library find ``open``."""


class Withheld:
    """Those of this process that are not decided yet.

    Args:
        is_kept: whether instances of a class are kept by their class's declaration.
    """

    def __init__(self, is_kept: Callable[[type], bool]) -> None:
        self._is_kept = is_kept
        self._here = threading.local()
        self._files: list[_File] = []
        self._wanted: list[_File] = []
        self._stand_ins: list[tuple[Any, str, _Open]] = []
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
            if not file.is_held:  # as in open(path, "w").write(text): nobody has closed it, but it was meant
                self._files.remove(file)
                file.write()

    def _made_for(self, key: str, known: int) -> list[_File]:
        return [file for file in self._files[known:] if file.key == key]

    def watch(self) -> None:
        """State is awaited: withhold what instances of kept classes open as they are made. Idempotent."""
        if not self._watches:
            self._watches = True
            self._install()

    def unwatch(self) -> None:
        """None is any more. Idempotent."""
        if self._watches:
            self._watches = False
            self._uninstall()

    def decide(self, carried: Callable[[], Collection[int]], is_awaited: Callable[[str], bool]) -> None:
        """The state has come, or more of it: decide on every file whose root is not awaited any more.

        Args:
            carried: returns the fds that came over with it.
            is_awaited: whether a root may still be filled; asked with ``""`` for what no factory has made.
        """
        decided = [file for file in self._files if not is_awaited(file.key)]
        if not decided:
            return
        kept = {_identity(fd): fd for fd in carried()}
        for file in decided:
            self._files.remove(file)
            fd = kept.get(_identity(file.real))
            if fd is not None and file.is_held:
                file.join(fd)
            elif fd is not None or not (file.is_held or file.has_content):
                file.forget()
            else:
                self._wanted.append(file)

    def write(self) -> None:
        """This generation serves: do what was wanted of the files that it has not got from the one before.

        Raises:
            OSError: what was written does not fit on the disk.
        """
        wanted, self._wanted = self._wanted, []
        for file in wanted:
            file.write()

    def forget(self) -> None:
        """This process will never serve: leave every file as it is. Idempotent."""
        self._forget([*self._files, *self._wanted])

    def _forget(self, files: list[_File]) -> None:
        for file in files:
            self._drop(file)
            file.forget()

    def _drop(self, file: _File) -> None:
        for known in (self._files, self._wanted):
            if file in known:
                known.remove(file)

    # -- opening ------------------------------------------------------------------------------------

    def _install(self) -> None:
        self._users += 1
        if self._users > 1:
            return
        for name, attribute in _NAMES:
            module: Any = sys.modules.get(name)
            if module is not None:
                stand_in = _Open(self, getattr(module, attribute))
                self._stand_ins.append((module, attribute, stand_in))
                setattr(module, attribute, stand_in)

    def _uninstall(self) -> None:
        self._users -= 1
        while self._stand_ins and not self._users:
            module, attribute, stand_in = self._stand_ins.pop()
            if getattr(module, attribute) is stand_in:  # nobody else has put another one there meanwhile
                setattr(module, attribute, stand_in.usual)

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

    def closes(self, file: _File) -> bool:
        """A file is about to be closed before it was decided on; returns whether it is decided by that.

        Raises:
            OSError: what was written does not fit on the disk.
        """
        if sys.is_finalizing():  # not by the program
            self._forget([file])
        elif self.concerns("w", sys._getframe(2)) is not None:
            self._drop(file)
            file.write()
        else:
            return False
        return True


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
        self._fd = self._own = -1  # of the file object; our own once that is closed
        self._made: Any = None

    @property
    def is_open(self) -> bool:
        """Whether there is something to decide on."""
        return self.real >= 0

    @property
    def is_held(self) -> bool:
        """Whether the program has the file object, and has not closed it."""
        return self._made is not None and sys.getrefcount(self._made) > _UNHELD

    @property
    def has_content(self) -> bool:
        """Whether something was written, by one that was closed."""
        return self._own >= 0 and os.fstat(self._own).st_size > 0

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
            if not self._owner.closes(self):
                self._own = os.dup(self._fd)  # what was written is needed still
        finally:
            self._detach()
            raw.close()

    def _detach(self) -> None:
        made, raw, self._made = self._made, self._raw, None
        if made is not None:
            vars(raw).pop("close", None)

    def _end(self) -> None:
        """Let go of everything but the file object."""
        self._detach()
        for fd in (self.real, self._own):
            if fd >= 0:
                os.close(fd)
        self.real = self._own = -1

    def forget(self) -> None:
        """Leave the file at its path as it is. Idempotent."""
        unheld = None if self.is_held else self._made
        self._end()
        if unheld is not None:
            with contextlib.suppress(OSError):  # no memory for what nobody reads
                unheld.close()

    def join(self, fd: int) -> None:
        """Let the object go on in the file that was kept; what it was given before is forgotten.

        Args:
            fd: of that file. Where it cannot be written to, the object is left with what it has.
        """
        access = fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE
        if access == os.O_RDWR or (access == os.O_WRONLY and not self._made.readable()):
            with contextlib.suppress(OSError, ValueError):
                self._made.flush()
                os.dup2(fd, self._fd, inheritable=False)
                self._made.seek(os.lseek(fd, 0, os.SEEK_CUR))  # its layers remember where they were
        self._end()

    def write(self) -> None:
        """Do to the file at its path what the program has done, and put it under the object.

        Raises:
            OSError: it does not fit on the disk.
        """
        try:
            os.ftruncate(self.real, 0)
            offset = 0
            content = self._fd if self._own < 0 else self._own
            while chunk := os.pread(content, _CHUNK, offset):
                offset += len(chunk)
                _write_all(self.real, chunk)
            if self._made is not None:
                os.lseek(self.real, os.lseek(self._fd, 0, os.SEEK_CUR), os.SEEK_SET)
                os.dup2(self.real, self._fd, inheritable=False)
        finally:
            self._end()


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
