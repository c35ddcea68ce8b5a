"""What a student's process may read: computed from what is installed, so that nothing else is.

Not the packages of this project, and no other package that happens to be on the machine.
"""

from __future__ import annotations

import os
import re
import sys
import sysconfig
from collections.abc import Collection, Iterable, Iterator
from importlib.machinery import PathFinder, all_suffixes
from importlib.util import cache_from_source, find_spec
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import msgspec

from grading.confined.spawner import SpawnerError

if TYPE_CHECKING:
    from importlib.metadata import Distribution

PACKAGE_ROOT = Path(__file__).resolve().parents[2]
# What students use, and what the warm process also needs to lock them down.
STUDENTS = ("torch", "numpy")
OWN = ("msgspec", "landlockpy")
# All of this project that the warm process imports. It holds no reference, formula, sampler,
# point, label or seed: a file added there can be imported where a student's code runs.
INNER_ROOM = ("grading/confined", "grading/parsing", "harness/candidate")
SYSTEM = (
    "/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/usr/local/lib64",
    "/etc/ld.so.cache",
)  # fmt: skip
CACHE = Path("/etc/ld.so.cache")
LOCALES = "locale"
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*")
_LIBRARY = re.compile(rb"(/[^\0]+)/[^/\0]+\.so\b")


class MissingPackage(SpawnerError):
    """A package that an assignment names is not installed."""


class Software(msgspec.Struct, frozen=True):
    """The software that a student's process is given.

    ``folders`` are where distributions lie, ``names`` the modules of those that can be imported,
    ``metadata`` their dist-info folders. ``packages`` and ``libraries`` can be read, what is in
    ``closed`` below the latter excepted; ``own`` is for the warm process only.
    """

    folders: list[str]
    names: list[str]
    metadata: list[str]
    packages: list[str]
    own: list[str]
    libraries: list[str]
    closed: list[str]

    @classmethod
    def installed(cls, packages: Iterable[str] = ()) -> Software:
        """Find torch, numpy and ``packages``, with all that they require.

        Raise MissingPackage if one is not installed.
        """
        found = [_Installed(each) for each in _with_requirements([*STUDENTS, *packages])]
        own = [_Installed(each) for each in _with_requirements(OWN, optional=True)]
        libraries = _libraries()
        return cls(
            sorted({str(each.folder) for each in (*found, *own)}),
            sorted({name for each in found for name in each.names}),
            sorted(str(each.metadata) for each in found),
            sorted({str(path) for each in found for path in each.paths()}),
            sorted({str(path) for each in own for path in each.paths()}),
            list(map(str, libraries)),
            sorted({str(path) for path in _closed(libraries)}),
        )

    def readable(self) -> list[Path]:
        """Return what a locked child may read, in folders as large as possible."""
        libraries, closed = list(map(Path, self.libraries)), list(map(Path, self.closed))
        if linked := linked_folders():
            # Programs keep all they have in /usr/lib, whole environments of Python among them.
            wanted = [path.resolve() for path in standard_library()]
            wanted += [each for each in linked if each not in libraries]
            wanted += [each / LOCALES for each in libraries]
            closed += [path for each in libraries for path in without(each, wanted)]
        roots = [path for each in libraries for path in all_but(each, closed)]
        return [*roots, *map(Path, self.packages)]


def link_outside(software: Software) -> str:
    """Describe a link in a package whose target a process in bubblewrap cannot see, if any."""
    seen = list(map(Path, (*software.libraries, *software.packages, *software.own)))
    for top in (*software.packages, *software.own):
        for folder, folders, files in os.walk(top):
            for path in (Path(folder, name) for name in (*folders, *files)):
                real = path.resolve()
                if path.is_symlink() and not any(real.is_relative_to(each) for each in seen):
                    return f"{path} leads to {real}, which students' processes cannot see"
    return ""


def all_but(folder: Path, closed: Collection[Path]) -> Iterator[Path]:
    """Yield what is in ``folder`` and not in a closed one, in as few paths as that takes."""
    inside = [each for each in closed if each.is_relative_to(folder)]
    if folder in inside:
        return
    if not inside or not folder.is_dir():
        yield folder
    else:
        for entry in sorted(folder.iterdir()):
            # The target of a link is either in the folder too, or not to be read.
            if not entry.is_symlink():
                yield from all_but(entry, inside)


def linked_folders(cache: Path = CACHE) -> list[Path]:
    """Return the folders that the linker's cache names; none where a system has no cache."""
    try:
        found = _LIBRARY.findall(cache.read_bytes())
    except OSError:
        return []
    return sorted({Path(os.fsdecode(each)).resolve() for each in found})


def without(folder: Path, wanted: Collection[Path]) -> Iterator[Path]:
    """Yield the folders in ``folder`` that neither lie in a ``wanted`` one nor hold one."""
    if any(folder.is_relative_to(path) for path in wanted) or not folder.is_dir():
        return
    with os.scandir(folder) as entries:
        for path in (Path(each) for each in entries if each.is_dir(follow_symlinks=False)):
            if not any(each.is_relative_to(path) for each in wanted):
                yield path


def standard_library() -> list[Path]:
    """Return the folders of Python's own modules."""
    base = {"platbase": sys.base_exec_prefix}
    pure, platform = sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib", vars=base)
    return sorted({Path(pure), Path(platform)})


def inner_sources() -> list[Path]:
    """Return the source files of the inner room."""
    outer = [PACKAGE_ROOT / name / "__init__.py" for name in ("grading", "harness")]
    return [*outer, *(path for name in INNER_ROOM for path in (PACKAGE_ROOT / name).rglob("*.py"))]


def inner_room() -> list[Path]:
    """Return the files of the inner room, with what Python has compiled of them."""
    sources = inner_sources()
    compiled = [Path(cache_from_source(str(path))) for path in sources]
    return [*sources, *filter(Path.is_file, compiled)]


def normalized(name: str) -> str:
    """Return a distribution's name in the one spelling that all its spellings have in common."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _with_requirements(names: Iterable[str], *, optional: bool = False) -> list[Distribution]:
    """Return the distributions with these names and all that they require, without extras."""
    from importlib.metadata import PackageNotFoundError, distribution

    found: dict[str, Distribution] = {}
    waiting = [(name, optional) for name in names]
    while waiting:
        name, may_lack = waiting.pop()
        key = normalized(name)
        if key in found:
            continue
        try:
            found[key] = distribution(name)
        except PackageNotFoundError:
            # Some are required on other systems only.
            if may_lack:
                continue
            raise MissingPackage(
                f"{name} is not installed, but the assignment's packages name it: install it "
                "with pip, or remove it from assignment.toml."
            ) from None
        for line in found[key].requires or ():
            required = _NAME.match(line)
            if required and not re.search(r";.*\bextra\b", line):
                waiting.append((required[0], True))
    return list(found.values())


class _Installed:
    """Where the files of a distribution are."""

    def __init__(self, made: Distribution) -> None:
        self.folder = Path(str(made.locate_file("")))
        self.metadata = Path(str(made._path))  # type: ignore[attr-defined]
        record = made.read_text("RECORD") or ""
        named = (line.split(",")[0].strip('"') for line in record.splitlines())
        # torch has ten thousand files; the first two levels of their paths are enough.
        paths = map(PurePosixPath, {"/".join(each.split("/", 2)[:2]) for each in named})
        self._tops = {_top(path) for path in paths if path.parts[:1] not in ((), ("..",), ("/",))}
        self.names = {name for name in map(_module_name, self._tops) if name}
        if not self.names:  # a distribution's package, or one that is developed elsewhere
            told = made.read_text("top_level.txt") or made.metadata["Name"].replace("-", "_")
            self.names = set(told.split())

    def paths(self) -> Iterator[Path]:
        """Yield the files and folders, and the folders that links in them lead to."""
        found = {self.folder / top for top in self._tops} | {self.metadata}
        for name in self.names:
            spec = PathFinder.find_spec(name, [str(self.folder)]) or find_spec(name)
            if spec and spec.submodule_search_locations:
                found |= set(map(Path, spec.submodule_search_locations))
            elif spec and spec.origin:
                found.add(Path(spec.origin))
        for path in filter(Path.exists, found):
            yield path
            if path.is_dir():
                # An installer that links every file keeps the files of a package together.
                links = (each.resolve().parent for each in path.iterdir() if each.is_symlink())
                yield from islice(links, 1)


def _top(path: PurePosixPath) -> str:
    """Return the first folder of a path, or the file itself."""
    return str(path) if path.parts[0] == "__pycache__" else path.parts[0]


def _module_name(top: str) -> str:
    """Return which module a file or folder among packages is, "" for other things."""
    for suffix in sorted(all_suffixes(), key=len, reverse=True):
        if top.endswith(suffix):
            top = top.removesuffix(suffix)
            break
    return top if top.isidentifier() and top != "__pycache__" else ""


def outermost(paths: Iterable[Path]) -> list[Path]:
    """Return the paths without those inside another."""
    kept: list[Path] = []
    for path in sorted(set(paths)):
        if not any(path.is_relative_to(outer) for outer in kept):
            kept.append(path)
    return kept


def _libraries() -> list[Path]:
    """Return the outermost folders of shared libraries and of Python's own modules."""
    prefix = Path(sys.base_prefix)
    every = [*map(Path, SYSTEM), prefix / "lib", prefix / "lib64", *standard_library()]
    return outermost(path.resolve() for path in every if path.exists())


def _closed(libraries: Iterable[Path]) -> Iterator[Path]:
    """Yield the folders of packages, and this project."""
    yield PACKAGE_ROOT
    own = {path.resolve() for path in standard_library()}
    for each in (*sys.path, *(sysconfig.get_path(name) for name in ("purelib", "platlib"))):
        place = Path(each).resolve()
        packages = place.is_dir() and place.name != "lib-dynload"
        if each and packages and not any(path.is_relative_to(place) for path in own):
            yield place
    for folder in libraries:
        yield from folder.glob("*/*-packages")
