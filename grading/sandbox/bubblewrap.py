"""One bubblewrap around the warm process: namespaces of its own, and nothing to write to."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from grading.sandbox.nursery import NurseryError
from grading.sandbox.software import PACKAGE_ROOT, packages, system_libraries

NOBODY = "65534"


def around_all(environment: Mapping[str, str]) -> list[str]:
    """What to put before a command line to run it inside bubblewrap: no network, no other
    processes, the interpreter and its packages read-only, and nothing else of this machine.

    Raises NurseryError where bubblewrap is not installed.
    """
    program = shutil.which("bwrap")
    if program is None:
        raise NurseryError(
            "bubblewrap is not installed: on Debian or Ubuntu, `apt install bubblewrap`"
        )
    line = [program, "--unshare-all", "--unshare-user", "--die-with-parent", "--new-session"]
    line += ["--cap-drop", "ALL", "--uid", NOBODY, "--gid", NOBODY, "--clearenv"]
    for name, value in environment.items():
        line += ["--setenv", name, value]
    line += ["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"]
    for path in _outermost(_needed()):
        line += ["--ro-bind", str(path), str(path)]
    return [*line, "--chdir", "/", "--remount-ro", "/", "--"]


def _needed() -> list[Path]:
    """The interpreter, its packages, the system's libraries, and this project's two packages."""
    own = [PACKAGE_ROOT / "harness", PACKAGE_ROOT / "grading"]
    interpreter = [Path(sys.executable), Path(sys.executable).resolve()]
    for prefix in (Path(sys.prefix), Path(sys.base_prefix)):
        interpreter += [prefix / "lib", prefix / "bin", prefix / "pyvenv.cfg"]
    every = [*system_libraries(), *interpreter, *packages(), *own]
    return [path for path in every if path.exists()]


def _outermost(paths: Iterable[Path]) -> list[Path]:
    """The paths without those that lie inside another."""
    kept: list[Path] = []
    for path in sorted(set(paths)):
        if not any(path.is_relative_to(outer) for outer in kept):
            kept.append(path)
    return kept
