"""Importing the user's files from exactly the bytes that are told to the parent.

Python takes a cached .pyc for current when size and whole second of the source agree with it, so that the
second of two quick saves may never run. The user's modules are therefore compiled from their source each
time, and the digest of those very bytes is what :meth:`UserImports.loaded` reports. All other modules are
imported as ever.

How: one path hook in front, which takes the user's folders only; extension modules, sourceless modules and
namespace packages go Python's own way from there. Finders that stand behind the path finder (those of
editable installs) are asked through :class:`_Behind`.

An *overlay* (the last good sources, by path) goes before the disk, also where the disk has nothing any more.

Invariants:
    * A digest in ``loaded()`` is of bytes that were given to the compiler, never of a later look at the file.
    * ``linecache`` holds the same text, so that tracebacks show what runs, whatever the file says by now.
"""

from __future__ import annotations

import ast
import importlib.machinery
import importlib.util
import io
import linecache
import marshal
import os
import sys
from collections.abc import Callable, Container, Mapping, Sequence
from importlib.machinery import ModuleSpec
from types import CodeType, ModuleType
from typing import Any

from livereload_core.child.failures import files_of_failure, user_traceback
from livereload_core.child.paths import UserPaths
from livereload_core.wire import bundle

__all__ = ["UserImports", "UserLoader", "names_for_failure", "user_traceback"]

_installed: UserImports | None = None


class UserImports:
    """The import of the user's code in this process.

    Args:
        roots: folders that hold the user's code.
        exclude: folders and files below them that do not.
        overlay: path to source; goes before the disk.

    Attributes:
        on_late_import: called with the real path of each user module that is loaded after :meth:`mark`, in
            the thread that imports it and before its code runs; it must not raise.
        known_environ: the variables of ``os.environ`` that the user's code was known to change when modules
            were imported ahead; None if none were.
    """

    def __init__(
        self, *, roots: Sequence[str], exclude: Sequence[str] = (), overlay: Mapping[str, bytes] | None = None
    ) -> None:
        prefix = sys.prefix if sys.prefix != sys.base_prefix else ""
        self.paths = UserPaths(roots, exclude, prefix=prefix)
        self.on_late_import: Callable[[str], None] | None = None
        self._overlay = dict(overlay or {})
        self._loaded: dict[str, str] = {}
        self._sources: dict[str, bytes] = {}
        self._code: dict[str, bytes] = {}
        self._compiled: dict[str, CodeType] = {}
        self._marked = False
        self._before_change: frozenset[str] | None = None
        self._at_first: dict[Any, Any] = {}
        self.known_environ: frozenset[str] | None = None
        self._executing: list[tuple[dict[Any, Any], frozenset[str]]] = []

    # --- set-up -------------------------------------------------------------

    def install(self) -> None:
        """Import the user's modules from now on; those that are imported already are forgotten."""
        global _installed
        sys.path_hooks.insert(0, self._hook)
        place = (
            sys.meta_path.index(importlib.machinery.PathFinder) + 1
            if _has_path_finder()
            else len(sys.meta_path)
        )
        sys.meta_path.insert(place, _Behind(self))
        for folder, finder in tuple(sys.path_importer_cache.items()):
            if finder is None or self.paths.is_user_folder(folder):
                del sys.path_importer_cache[folder]
        # A warm interpreter imports installed modules only, but one of these may have imported the user's,
        # at a time when the file said something else.
        for name in tuple(sys.modules):
            if name != "__main__" and self.is_user_module(name):
                del sys.modules[name]
        _installed = self

    def take_overlay(self, overlay: Mapping[str, bytes]) -> None:
        """Let these sources (absolute path to content) take precedence over the files on disk."""
        self._overlay = dict(overlay)

    def take_code(self, code: Mapping[str, bytes]) -> None:
        """Use this code (:meth:`compiled` of another process) for sources that are the same."""
        self._code = dict(code)

    def compiled(self) -> dict[str, bytes]:
        """Return the code of everything compiled or taken over so far, by digest and path, marshalled.

        For the next generation only: same interpreter, same options. It spares it the compilation of files
        that did not change, without a file on disk that could be stale.
        """
        return {key: marshal.dumps(code) for key, code in self._compiled.items()}

    def code_of(self, path: str) -> CodeType:
        """Return the code of a source file as it is now, and record it as loaded."""
        data = self.take(path)
        key = f"{bundle.content_digest(data)} {path}"
        marshalled = self._code.get(key)
        code: CodeType
        if marshalled is not None:
            code = marshal.loads(marshalled)
        else:
            code = compile(data, path, "exec", dont_inherit=True)
        self._compiled[key] = code
        return code

    def begin(self) -> None:
        """From now on the user's code runs."""
        self._at_first = _environment()

    @property
    def changed_environ(self) -> tuple[str, ...]:
        """The variables of ``os.environ`` that have changed since the user's code began."""
        now, then = _environment(), self._at_first
        return tuple(
            sorted(os.fsdecode(key) for key in now.keys() | then.keys() if now.get(key) != then.get(key))
        )

    @property
    def unforeseen_environ(self) -> tuple[str, ...]:
        """Those of them of which nothing was known when modules were imported ahead.

        These may have been meant to see the change.
        """
        known = self.known_environ
        return () if known is None else tuple(name for name in self.changed_environ if name not in known)

    def executing(self) -> Callable[[], None]:
        """A module or function of the user's begins to run; call what is returned when it has ended."""
        self._look_at_environ()
        began = (_environment(), frozenset(sys.modules))
        self._executing.append(began)

        def ended() -> None:
            self._look_at_environ()
            self._executing.remove(began)

        return ended

    def _look_at_environ(self) -> None:
        """Note what was loaded before the user's code changed the environment, if it did.

        Every begin and end of a module looks, so a change is younger than the last begin: what was loaded by
        then, the newest entry, was loaded before the change.
        """
        if self._before_change is None and self._executing:
            before, names = self._executing[-1]
            if before != _environment():
                self._before_change = names

    def uninstall(self) -> None:
        """Leave the import system as it was; what was imported stays."""
        global _installed
        sys.path_hooks[:] = [hook for hook in sys.path_hooks if hook != self._hook]
        sys.meta_path[:] = [
            finder for finder in sys.meta_path if not (isinstance(finder, _Behind) and finder.imports is self)
        ]
        for folder, finder in tuple(sys.path_importer_cache.items()):
            if isinstance(finder, UserFinder) and finder.imports is self:
                del sys.path_importer_cache[folder]
        if _installed is self:
            _installed = None

    def mark(self) -> None:
        """The import of the target is done: what is loaded from now on is a late import."""
        self._marked = True

    def _hook(self, folder: str) -> UserFinder:
        if not self.paths.is_user_folder(folder):
            raise ImportError("not a folder of the user's code", path=folder)
        if not os.path.isdir(folder) and not self.overlay_below(folder):
            raise ImportError("only directories are supported", path=folder)
        return UserFinder(self, folder)

    # --- questions ----------------------------------------------------------

    def is_user_path(self, path: str) -> bool:
        """Whether a file is the user's: below a root, and not installed. It need not exist."""
        return self.paths.is_user_path(path)

    def is_user_module(self, name: str) -> bool:
        """Whether a loaded module is the user's; ``__main__`` always is."""
        if name == "__main__":
            return True
        module = sys.modules.get(name)
        file = getattr(module, "__file__", None)
        if isinstance(file, str):
            return self.paths.is_user_path(file)
        search = getattr(module, "__path__", None)
        if search is None or isinstance(search, str):
            return False
        return any(isinstance(folder, str) and self.paths.is_user_folder(folder) for folder in search)

    def loaded(self) -> dict[str, str]:
        """Return the user's files that were loaded so far: absolute path to digest.

        A file that was reached through a symlink is there under its real path and under that of the link.
        """
        return dict(self._loaded)

    def bundle(self) -> bytes:
        """Return the sources of everything loaded, as ``wire.bundle`` has them."""
        return bundle.pack(dict(self._sources))

    def third_party(self, *, beyond: Container[str] = ()) -> list[str]:
        """Return the loaded modules of the standard library and of installed distributions, in import order.

        These may be imported ahead, before it is known what the user's code says by then. Modules of
        editable installs, and those whose origin is not known, are left out; so is what was imported after
        the user's code had changed ``os.environ``, because it may have been meant to see the change.

        Args:
            beyond: names that are of no interest.
        """
        names: list[str] = []
        self._look_at_environ()
        for name, module in tuple(sys.modules.items()):
            if name in beyond or (self._before_change is not None and name not in self._before_change):
                continue
            spec = getattr(module, "__spec__", None)
            origin = getattr(spec, "origin", None)
            if getattr(spec, "name", None) != name or not isinstance(origin, str) or origin == "built-in":
                continue
            if name.partition(".")[0] == "livereload_core":
                continue
            if origin == "frozen" or self.paths.is_third_party(origin):
                names.append(name)
        return names

    # --- sources ------------------------------------------------------------

    def overlay_holds(self, path: str) -> bool:
        """Whether the overlay has a source for ``path``."""
        return bool(self._overlay) and any(name in self._overlay for name in self.paths.names(path))

    def overlay_below(self, folder: str) -> bool:
        """Whether the overlay has a source in ``folder`` or below."""
        if not self._overlay:
            return False
        starts = tuple(f"{name}/" for name in self.paths.names(folder))
        return any(path.startswith(starts) for path in self._overlay)

    def read(self, path: str) -> bytes:
        """Return the source that is to run: from the overlay, else from the disk.

        Raises:
            OSError: neither has it.
        """
        if self._overlay:
            for name in self.paths.names(path):
                if name in self._overlay:
                    return self._overlay[name]
        with io.open_code(path) as file:
            return file.read()

    def take(self, path: str) -> bytes:
        """Read a source in order to compile it, and record it as loaded."""
        data = self.read(path)
        names = self.paths.names(path)
        digest = bundle.content_digest(data)
        for name in names:
            self._sources[name] = data
            self._loaded[name] = digest
        _pin_lines(path, data)
        self._tell(names[0])
        return data

    def take_binary(self, path: str) -> None:
        """Record an extension or a sourceless module as loaded; it is not carried in the bundle."""
        with open(path, "rb") as file:
            digest = bundle.content_digest(file.read())
        names = self.paths.names(path)
        self._loaded.update(dict.fromkeys(names, digest))
        self._tell(names[0])

    def taken(self, path: str) -> bytes | None:
        """Return the bytes that were compiled for ``path``, if it was loaded."""
        return self._sources.get(self.paths.names(path)[0])

    def compile_script(
        self, path: str, transform: Callable[[ast.Module], ast.Module] | None = None
    ) -> CodeType:
        """Compile the file that is to run as ``__main__``, and record it as loaded.

        Args:
            path: the script; also the file name in its code.
            transform: changes the syntax tree before it is compiled.

        Raises:
            OSError: it cannot be read.
            SyntaxError: it cannot be compiled.
        """
        data = self.take(path)
        if transform is None:
            return compile(data, path, "exec", dont_inherit=True)
        tree = compile(data, path, "exec", ast.PyCF_ONLY_AST, dont_inherit=True)
        assert isinstance(tree, ast.Module)
        return compile(transform(tree), path, "exec", dont_inherit=True)

    def _tell(self, path: str) -> None:
        if self._marked and self.on_late_import is not None:
            self.on_late_import(path)


def _environment() -> dict[Any, Any]:
    """A copy of the environment, for comparison: of the undecoded values, which is 30 times faster.

    ``_data`` is an implementation detail of ``os.environ``; without it the public mapping is copied.
    """
    return dict(getattr(os.environ, "_data", os.environ))


class UserFinder(importlib.machinery.FileFinder):
    """Finds the modules in one folder of the user's: first those of the overlay, then those on disk."""

    def __init__(self, imports: UserImports, folder: str) -> None:
        self.imports = imports
        super().__init__(
            folder,
            (_maker(_UserExtension, imports), importlib.machinery.EXTENSION_SUFFIXES),
            (_maker(UserLoader, imports), importlib.machinery.SOURCE_SUFFIXES),
            (_maker(_UserBytecode, imports), importlib.machinery.BYTECODE_SUFFIXES),
        )

    def find_spec(self, fullname: str, target: ModuleType | None = None) -> ModuleSpec | None:
        """Return the spec of a module in this folder, or None."""
        return self._from_overlay(fullname) or uncached(super().find_spec(fullname, target))

    def _from_overlay(self, fullname: str) -> ModuleSpec | None:
        base = os.path.join(self.path, fullname.rpartition(".")[2])
        if not self.imports.overlay_below(self.path):
            return None
        for path, search in ((f"{base}/__init__.py", [base]), (f"{base}.py", None)):
            if self.imports.overlay_holds(path):
                loader = UserLoader(fullname, path, self.imports)
                return uncached(
                    importlib.util.spec_from_file_location(
                        fullname, path, loader=loader, submodule_search_locations=search
                    )
                )
        if not os.path.isdir(base) and self.imports.overlay_below(base):
            # Was a namespace package: its folder is gone from the disk.
            spec = ModuleSpec(fullname, None)
            spec.submodule_search_locations = [base]
            return spec
        return None


class UserLoader(importlib.machinery.SourceFileLoader):
    """Compiles a module from its source as it is now; reads and writes no .pyc."""

    def __init__(self, fullname: str, path: str, imports: UserImports) -> None:
        super().__init__(fullname, path)
        self._imports = imports

    def get_code(self, fullname: str) -> CodeType | None:
        """Compile the source as it is now."""
        return self._imports.code_of(self.get_filename(fullname))

    def exec_module(self, module: ModuleType) -> None:
        """Execute it, and note what it does to the environment."""
        ended = self._imports.executing()
        try:
            super().exec_module(module)
        finally:
            ended()

    def get_source(self, fullname: str) -> str | None:
        """Return the source that was compiled, or else the one that would be."""
        path = self.get_filename(fullname)
        data = self._imports.taken(path)
        try:
            return importlib.util.decode_source(self._imports.read(path) if data is None else data)
        except OSError as error:
            raise ImportError("source not available through get_data()", name=fullname) from error


class _UserExtension(importlib.machinery.ExtensionFileLoader):
    """Records an extension module, so that building it anew is a change."""

    def __init__(self, fullname: str, path: str, imports: UserImports) -> None:
        super().__init__(fullname, path)
        self._imports = imports

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        self._imports.take_binary(self.path)
        return super().create_module(spec)


class _UserBytecode(importlib.machinery.SourcelessFileLoader):
    """Records a module that comes as a .pyc only."""

    def __init__(self, fullname: str, path: str, imports: UserImports) -> None:
        super().__init__(fullname, path)
        self._imports = imports

    def get_code(self, fullname: str) -> CodeType | None:
        self._imports.take_binary(self.path)
        return super().get_code(fullname)


class _Behind:
    """A finder that asks those behind it and gives the user's modules a loader of ours.

    Editable installs append a finder of their own to ``sys.meta_path``; it makes plain source loaders.
    """

    def __init__(self, imports: UserImports) -> None:
        self.imports = imports

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if self not in sys.meta_path:
            return None
        for finder in sys.meta_path[sys.meta_path.index(self) + 1 :]:
            find: Callable[..., ModuleSpec | None] | None = getattr(finder, "find_spec", None)
            spec = find(fullname, path, target) if find is not None else None
            if spec is None:
                continue
            loader = spec.loader
            if type(loader) is importlib.machinery.SourceFileLoader and self.imports.is_user_path(
                loader.path
            ):
                spec.loader = UserLoader(fullname, loader.path, self.imports)
                return uncached(spec)
            return spec
        return None


class _UncachedSpec(ModuleSpec):
    """A spec without a .pyc, so that the module gets no ``__cached__``."""

    @property
    def cached(self) -> str | None:
        return None

    @cached.setter
    def cached(self, value: str | None) -> None:
        """Ignored: there is no cache."""


def uncached(spec: ModuleSpec | None) -> ModuleSpec | None:
    """Return ``spec`` without a .pyc if its module is compiled by us."""
    if spec is not None and isinstance(spec.loader, UserLoader):
        spec.__class__ = _UncachedSpec
    return spec


def names_for_failure(exc: BaseException) -> tuple[str, ...]:
    """Return the user's files that ``exc`` names, existing or not: an edit of one of them may mend it."""
    return files_of_failure(exc, _installed.paths) if _installed is not None else ()


def _maker(kind: Callable[..., Any], imports: UserImports) -> Any:
    # FileFinder calls what it takes for a loader class with name and path.
    return lambda fullname, path: kind(fullname, path, imports)


def _has_path_finder() -> bool:
    return importlib.machinery.PathFinder in sys.meta_path


def _pin_lines(path: str, data: bytes) -> None:
    """Let ``linecache`` show these bytes; as they have no time of change, it never looks at the file."""
    try:
        text = importlib.util.decode_source(data)
    except (SyntaxError, UnicodeDecodeError):
        linecache.cache.pop(path, None)
        return  # the compiler is about to say the same, with more detail
    lines = io.StringIO(text).readlines()
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += "\n"
    linecache.cache[path] = (len(data), None, lines, path)
