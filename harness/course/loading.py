"""Runs declarations of assignments, each with modules of its own.

A declaration imports modules beside it by their names, as ``import layers``. They are loaded under
a package of its folder's own, so that those of two assignments do not mix.
"""

import builtins
import hashlib
import importlib
import sys
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

from harness.course.assignment import Assignment
from harness.course.assignments import VARIABLE, declared_files
from harness.errors import UserError

_PREFIX = "_backprop_"
Stamp = tuple[tuple[Path, int, int], ...]
_loaded: dict[Path, tuple[Stamp, Assignment]] = {}


def load_declaration(file: Path, name: str) -> Assignment:
    """Return the assignment that ``file`` declares, under the name ``name``.

    It is run once, and again where a file beside it has changed. Raise UserError, with file and
    line, if that fails.
    """
    file = file.absolute()
    stamp = _stamp(file)
    known = _loaded.get(file)
    if known is None or known[0] != stamp:
        known = _loaded[file] = stamp, replace(_declared(file), name=name)
    return known[1]


def _stamp(file: Path) -> Stamp:
    found = ((path, path.stat()) for path in {file, *declared_files(file.parent)})
    return tuple(sorted((path, stat.st_mtime_ns, stat.st_size) for path, stat in found))


def _declared(file: Path) -> Assignment:
    module = _run(file)
    if VARIABLE not in vars(module):
        raise UserError(f"{file} does not set {VARIABLE}: end it with {VARIABLE} = ….")
    found = getattr(module, VARIABLE)
    if not isinstance(found, Assignment):
        kind = type(found).__name__
        raise UserError(f"{file}: {VARIABLE} is a {kind}, not an assignment.")
    return found


def _run(file: Path) -> ModuleType:
    """Run a declaration in a fresh package for the modules in its folder."""
    package = _PREFIX + hashlib.sha256(str(file.parent).encode()).hexdigest()[:16]
    for name in [each for each in sys.modules if each.partition(".")[0] == package]:
        del sys.modules[name]
    if _LocalModules not in map(type, sys.meta_path):
        sys.meta_path.insert(0, _LocalModules())
    importlib.invalidate_caches()
    root = ModuleType(package)
    root.__path__ = [str(file.parent)]
    sys.modules[package] = root
    try:
        return importlib.import_module(f"{package}.{file.stem}")
    except (Exception, SystemExit) as error:
        raise UserError(_said(error, file)) from None


def _said(error: BaseException, file: Path) -> str:
    """Return what is wrong with a declaration, and the file and the line of its own."""
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, SyntaxError):
        return f"{error.filename}, line {error.lineno}: {error.msg}."
    where = str(file)
    for frame in traceback.extract_tb(error.__traceback__):
        if Path(frame.filename).is_relative_to(file.parent):
            where = f"{frame.filename}, line {frame.lineno}"
    return f"{where}: {type(error).__name__}: {error}".rstrip(": .") + "."


class _LocalModules(MetaPathFinder):
    """Finds the modules beside a declaration, which import each other as it imports them."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, _target: object = None
    ) -> ModuleSpec | None:
        """Return the spec of a module in a declaration's package, None for others."""
        if not fullname.startswith(_PREFIX):
            return None
        spec = PathFinder.find_spec(fullname, path)
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = _Loader(fullname, spec.loader.path)
        return spec


class _Loader(SourceFileLoader):
    """Runs a module whose imports prefer what lies beside the declaration, and caches nothing."""

    def exec_module(self, module: ModuleType) -> None:
        """Run the module."""
        package = module.__name__.partition(".")[0]
        importing = {"__import__": partial(_import, package)}
        module.__dict__["__builtins__"] = {**vars(builtins), **importing}
        super().exec_module(module)

    def set_data(self, path: str, data: object, *, _mode: int = 0o666) -> None:
        """Write no compiled file into the course."""


def _import(
    package: str,
    name: str,
    scope: Mapping[str, Any] | None = None,
    inner: Mapping[str, Any] | None = None,
    fromlist: Sequence[str] | None = (),
    level: int = 0,
) -> ModuleType:
    """Stand for ``__import__`` in the modules of a declaration's package."""
    top = f"{package}.{name.partition('.')[0]}"
    if level or not _is_local(top, package):
        return __import__(name, scope, inner, fromlist or (), level)
    if fromlist:
        return __import__(f"{package}.{name}", scope, inner, fromlist, 0)
    importlib.import_module(f"{package}.{name}")
    return sys.modules[top]


def _is_local(name: str, package: str) -> bool:
    if name in sys.modules:
        return True
    # A folder without code, such as one of data, hides no package of its name.
    spec = PathFinder.find_spec(name, sys.modules[package].__path__)
    return spec is not None and spec.origin is not None
