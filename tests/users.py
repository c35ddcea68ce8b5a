"""Run commands as another user, and say so where a machine cannot."""

from __future__ import annotations

import os
import shutil
import sys
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
