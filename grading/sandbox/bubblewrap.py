"""One bubblewrap around the warm process: namespaces of its own, and nothing to write to."""

import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from grading.confined.software import SYSTEM, Software, inner_room, outermost, standard_library
from grading.confined.spawner import SpawnerError

NOBODY = "65534"
SCRATCH = "/tmp"


def around_all(environment: Mapping[str, str], software: Software) -> list[str]:
    """Return what to put before a command line to run it inside bubblewrap.

    There it has no network and no other processes, the interpreter, ``software`` and the inner
    room read-only, and nothing else of this machine. Raise SpawnerError if bubblewrap is not
    installed.
    """
    if (program := shutil.which("bwrap")) is None:
        raise SpawnerError(
            "bubblewrap is not installed: on Debian or Ubuntu, `apt install bubblewrap`"
        )
    line = [program, "--unshare-all", "--unshare-user", "--die-with-parent", "--new-session"]
    line += ["--cap-drop", "ALL", "--uid", NOBODY, "--gid", NOBODY, "--clearenv"]
    for name, value in environment.items():
        line += ["--setenv", name, value]
    line += ["--proc", "/proc", "--dev", "/dev", "--tmpfs", SCRATCH]
    # Links such as /lib are made again.
    for path in filter(Path.is_symlink, map(Path, SYSTEM)):
        line += ["--symlink", str(path.readlink()), str(path)]
    masks = []
    for path in outermost((*map(Path, software.libraries), *_prefixes())):
        line += ["--ro-bind", str(path), str(path)]
        masks += list(_masked(path, software.closed))
    # An empty folder covers what is hidden; the packages that are wanted are bound in it.
    line += [each for mask in masks for each in ("--tmpfs", mask)]
    wanted = (*_interpreter(), *map(Path, (*software.packages, *software.own)), *inner_room())
    for path in outermost(wanted):
        line += ["--ro-bind", str(path), str(path)]
    line += [each for mask in ("/", *masks) for each in ("--remount-ro", mask)]
    return [*line, "--chdir", "/", "--"]


def _prefixes() -> list[Path]:
    """Return where Python looks for its own modules, with links unresolved."""
    prefix = Path(sys.base_prefix)
    return [path for path in (prefix / "lib", *standard_library()) if path.exists()]


def _masked(path: Path, closed: Iterable[str]) -> Iterator[str]:
    """Yield the closed folders that would be visible in a folder that is bound."""
    real = path.resolve()
    for each in outermost(map(Path, closed)):
        if each.is_relative_to(real):
            yield str(path / each.relative_to(real))


def _interpreter() -> list[Path]:
    executable = Path(sys.executable)
    every = [executable, executable.resolve(), Path(sys.prefix) / "pyvenv.cfg"]
    return [path for path in every if path.exists()]
