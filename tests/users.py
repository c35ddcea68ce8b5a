"""Runs the real commands as another user, and says so where a machine cannot."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parent.parent
ORDINARY = 12345
SEARCHABLE = 0o005


def needs(program: str) -> None:
    """Skips a test that needs a program of the system's, or fails it in CI, which installs it."""
    if shutil.which(program) is None:
        reason = f"needs {program}, which this machine does not have"
        if os.environ.get("CI", "").lower() in ("1", "true"):
            pytest.fail(reason)
        pytest.skip(reason)


def as_ordinary_user() -> list[str]:
    """What to put before a command line to run it as a user who may do nothing special.

    Where root runs the tests that is another user, in a mount namespace of its own in which it can
    read the interpreter and this project, wherever they lie.
    """
    if os.geteuid():
        return []
    needs("bwrap")
    needs("setpriv")
    line = ["bwrap", "--dev-bind", "/", "/"]
    for closed, needed in closed_folders().items():
        line += ["--perms", "0755", "--tmpfs", str(closed)]
        for path in needed:
            for parent in reversed(path.parents):
                if parent.is_relative_to(closed) and parent != closed:
                    line += ["--perms", "0755", "--dir", str(parent)]
            line += ["--ro-bind", str(path), str(path)]
    line += ["--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID", "--die-with-parent"]
    user = str(ORDINARY)
    drop = ["--clear-groups", "--inh-caps=-all", "--bounding-set=-all"]
    return [*line, "setpriv", "--reuid", user, "--regid", user, *drop, "--"]


def closed_folders() -> dict[Path, list[Path]]:
    """The folders that another user cannot look into, with what it needs from each."""
    closed: dict[Path, list[Path]] = {}
    for path in sorted({Path(sys.base_prefix), Path(sys.prefix), PROJECT}):
        for folder in reversed(path.parents):
            if folder.stat().st_mode & SEARCHABLE != SEARCHABLE:
                closed.setdefault(folder, []).append(path)
                break
    return closed


def run_permissions(arguments: list[str]) -> int:
    """Runs the tests that are marked `permissions` as an ordinary user, where root tests.

    Anybody else has run them with all others.
    """
    if os.geteuid():
        return 0
    modules = sorted((PROJECT / "tests").glob("test_*.py"))
    marked = [path for path in modules if "mark.permissions" in path.read_text(encoding="utf-8")]
    try:
        prefix = as_ordinary_user()
    except (pytest.skip.Exception, pytest.fail.Exception) as reason:
        print(f"Tests of permissions did not run: {reason}")
        return int(isinstance(reason, pytest.fail.Exception))
    with tempfile.TemporaryDirectory(prefix="ordinary-") as name:
        os.chown(name, ORDINARY, ORDINARY)
        options = ["-m", "permissions", "-p", "no:cacheprovider", "--basetemp", f"{name}/tests"]
        done = subprocess.run(
            [*prefix, sys.executable, "-B", "-m", "pytest", *options, *arguments, *marked],
            cwd=PROJECT,
            env=os.environ
            | {"HOME": name, "TMPDIR": name, "HYPOTHESIS_STORAGE_DIRECTORY": f"{name}/hypothesis"},
            check=False,
        )
    return done.returncode


if __name__ == "__main__":
    sys.exit(run_permissions(sys.argv[1:]))
